"""What is wrong or missing is told: bad data, bad results, and options that cannot be."""

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_trees import write_emdb, write_threedpw
from evaluated import FRAMES, Data, answer, genders, run, scores, threedpw_data, wham
from interchange_files import dump

from temporal_hmr.data.emdb import read_emdb
from temporal_hmr.rotation import axis_angle_to_matrix

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture(scope="module")
def threedpw(tmp_path_factory) -> Data:
    return threedpw_data(tmp_path_factory.mktemp("threedpw"))


class TestNothingIsScoredSilently:
    def test_missing_frames_and_people(self, threedpw: Data, tmp_path: Path, capsys) -> None:
        short = {key: value[:20] for key, value in answer(threedpw, "downtown_talk_00_0").items()}
        wham(tmp_path / "results" / "downtown_talk_00_0.pkl", short)
        out = tmp_path / "out"
        assert run(threedpw, "3dpw", out, "--predictions", tmp_path / "results") == 0
        err = capsys.readouterr().err
        assert "downtown_talk_00_1: no prediction at all" in err
        assert "courtyard_walk_01_0: no prediction at all" in err
        assert "downtown_talk_00_0: 19 of" in err and "frames 20, 21" in err
        found = scores(out)
        assert len(found["warnings"]) == 3
        rows = {row["name"]: row for row in found["runs"][0]["sequences"]}
        assert 0 < rows["downtown_talk_00_0"]["coverage"] < 1
        assert rows["courtyard_walk_01_0"]["coverage"] == 0
        assert rows["courtyard_walk_01_0"]["metrics"] == {}
        page = (out / "report.html").read_text()
        assert page.count(">no prediction</td>") == 2 * len(found["runs"][0]["protocol"]["metrics"])
        assert ">not a number<" not in page

    def test_numbers_that_are_none(self, threedpw: Data, tmp_path: Path, capsys) -> None:
        broken = answer(threedpw, "courtyard_walk_01_0")
        broken["pose"][15, 8] = np.nan
        wham(tmp_path / "results" / "courtyard_walk_01.pkl", broken)
        words = ("--predictions", tmp_path / "results", "--sequences", "courtyard_walk_01")
        assert run(threedpw, "3dpw", tmp_path / "out", *words) == 0
        captured = capsys.readouterr()
        assert (
            "courtyard_walk_01_0: predictions are not numbers for MPJPE, PA-MPJPE, PVE in frames "
            "15; accel. error in frames 14, 15, 16; jitter (all joints) in frames 13, 14, 15, 16: "
            "and neither are the means"
        ) in captured.err
        assert scores(tmp_path / "out")["runs"][0]["overall"]["metrics"]["mpjpe"]["value"] is None
        assert run(threedpw, "3dpw", tmp_path / "skip", *words, "--skip-nan") == 0
        metrics = scores(tmp_path / "skip")["runs"][0]["overall"]["metrics"]
        assert metrics["mpjpe"]["value"] > 0 and metrics["mpjpe"]["num_nan"] == 1

    def test_a_place_that_is_none_matters_to_no_metric(
        self, threedpw: Data, tmp_path: Path, capsys
    ) -> None:
        """All of this protocol's are of the body about its root."""
        lost = answer(threedpw, "courtyard_walk_01_0")
        lost["trans"][15] = np.nan
        lost["pose"][15, 3 * 18] += 1
        wham(tmp_path / "results" / "courtyard_walk_01.pkl", lost)
        words = ("--predictions", tmp_path / "results", "--sequences", "courtyard_walk_01")
        assert run(threedpw, "3dpw", tmp_path / "out", *words) == 0
        assert "not numbers" not in capsys.readouterr().err
        assert all(
            metric["value"] is not None and not metric["num_nan"]
            for metric in scores(tmp_path / "out")["runs"][0]["overall"]["metrics"].values()
        )

    def test_a_world_that_is_no_number_is_told_by_frame(
        self, threedpw: Data, tmp_path: Path, capsys
    ) -> None:
        root, name = tmp_path / "emdb", "P0_09_outdoor_walk"
        write_emdb(root, genders(threedpw.smpl), frames=FRAMES, images=False)
        data = Data(root, threedpw.smpl, {each.name: each for each in read_emdb(root)})
        lost = answer(data, name)
        lost["trans"][20] = np.nan
        wham(tmp_path / "results" / f"{name}.pkl", lost)
        words = ("--predictions", tmp_path / "results", "--sequences", name)
        switches = ("--set", "metrics=rte,erve")
        assert run(data, "emdb2", tmp_path / "out", *words, *switches) == 0
        assert (
            f"{name}: predictions are not numbers for RTE in frames 20; ERVE in frames 19, 20: and"
        ) in capsys.readouterr().err

    def test_two_for_one(self, threedpw: Data, tmp_path: Path, capsys) -> None:
        person = answer(threedpw, "downtown_talk_00_0")
        other = answer(threedpw, "downtown_talk_00_1")
        wham(tmp_path / "results" / "downtown_talk_00.pkl", person, person, other)
        assert run(threedpw, "3dpw", tmp_path / "out", "--predictions", tmp_path / "results") == 0
        assert (
            "person 1 claims downtown_talk_00_0 as well and is left out" in capsys.readouterr().err
        )

    def test_two_files_for_one(self, threedpw: Data, tmp_path: Path, capsys) -> None:
        person = answer(threedpw, "courtyard_walk_01_0")
        for folder in ("a", "b"):
            wham(tmp_path / "results" / folder / "courtyard_walk_01_0.pkl", person)
        assert run(threedpw, "3dpw", tmp_path / "out", "--predictions", tmp_path / "results") == 2
        assert "two files claim courtyard_walk_01_0" in capsys.readouterr().err

    def test_files_of_no_sequence(self, threedpw: Data, tmp_path: Path, capsys) -> None:
        wham(tmp_path / "results" / "holiday.pkl", answer(threedpw, "courtyard_walk_01_0"))
        words = ("--predictions", tmp_path / "results")
        assert run(threedpw, "3dpw", tmp_path / "out", *words) == 2
        assert "no result of any of these videos" in capsys.readouterr().err
        wham(
            tmp_path / "results" / "courtyard_walk_01.pkl", answer(threedpw, "courtyard_walk_01_0")
        )
        assert run(threedpw, "3dpw", tmp_path / "out", *words) == 0
        assert "left aside" in capsys.readouterr().err

    def test_frames_beyond_the_video(self, threedpw: Data, tmp_path: Path, capsys) -> None:
        person = answer(threedpw, "courtyard_walk_01_0")
        person["frame_ids"] = person["frame_ids"] + 1
        path = tmp_path / "results" / "courtyard_walk_01.pkl"
        wham(path, person)
        words = ("--predictions", tmp_path / "results")
        assert run(threedpw, "3dpw", tmp_path / "out", *words) == 0
        assert "1 frame beyond the video left out" in capsys.readouterr().err
        person["frame_ids"] = person["frame_ids"] + 10
        wham(path, person)
        assert run(threedpw, "3dpw", tmp_path / "out", *words) == 2
        assert "is this another video" in capsys.readouterr().err

    def test_the_other_actor_is_never_scored_instead(
        self, threedpw: Data, tmp_path: Path, capsys
    ) -> None:
        """Who else is in the video tells who is who, also where only one is asked for."""
        wham(tmp_path / "results" / "downtown_talk_00.pkl", answer(threedpw, "downtown_talk_00_0"))
        words = ("--predictions", tmp_path / "results", "--sequences", "downtown_talk_00_1")
        assert run(threedpw, "3dpw", tmp_path / "out", *words) == 2
        assert "not one frame both counts and has a prediction" in capsys.readouterr().err

    def test_guesses_are_told(self, threedpw: Data, tmp_path: Path, capsys) -> None:
        name = "courtyard_walk_01_0"
        person = answer(threedpw, name)
        turns = axis_angle_to_matrix(torch.from_numpy(person["pose"]).unflatten(1, (24, 3))).numpy()
        frames = {}
        for frame in range(FRAMES):
            kept = min(frame, 29)
            smpl = {
                "global_orient": turns[kept, :1], "body_pose": turns[kept, 1:],
                "betas": person["betas"][kept],
            }  # fmt: skip
            frames[f"{frame:06d}.jpg"] = {
                "time": frame, "tid": [1], "tracked_time": [frame - kept], "smpl": [smpl],
                "bbox": [np.array([10.0, 10, 50, 90])], "size": [[192, 108]],
                "camera": [np.array([0, 0, 9.0])],
            }  # fmt: skip
        dump(frames, tmp_path / "results" / "demo_courtyard_walk_01.pkl", compress=3)
        words = ("--predictions", tmp_path / "results", "--sequences", name)
        assert run(threedpw, "3dpw", tmp_path / "out", *words) == 0
        assert "9 of 35 scored frames are filled in" in capsys.readouterr().err
        assert run(threedpw, "3dpw", tmp_path / "b", *words, "--set", "guesses=skip") == 0
        second = scores(tmp_path / "b")["runs"][1]["overall"]
        assert second["frames"] == 26 and second["coverage"] == pytest.approx(26 / 35)
        skipping = [line for line in scores(tmp_path / "b")["warnings"] if "have no pred" in line]
        assert [line.split(" [")[1] for line in skipping] == ["3dpw with guesses=skip]"]

    def test_unknown_files_beside_results(self, threedpw: Data, tmp_path: Path, capsys) -> None:
        folder = tmp_path / "results" / "courtyard_walk_01"
        wham(folder / "wham_output.pkl", answer(threedpw, "courtyard_walk_01_0"))
        dump({"trajectory": np.zeros((4, 7))}, folder / "slam_results.pkl")
        assert run(threedpw, "3dpw", tmp_path / "out", "--predictions", tmp_path / "results") == 0
        assert "of no known format: courtyard_walk_01/slam_results.pkl" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--split", "tst"], "tst"),
        (["--protocol", "wahm"], "did you mean wham"),
        (["--protocol", "emdb1"], "protocol emdb1 scores emdb1, not 3dpw"),
        (["--set", "rot=hips"], "did you mean root"),
        (["--sequences", "downtown_tlk_00"], "did you mean downtown_talk_00"),
        (["--predictions", "nowhere"], "nowhere"),
        (["--weights", "nowhere.safetensors", "--keypoints", "dataset"], "nowhere.safetensors"),
        (["--smpl", "nowhere"], "SMPL"),
        (["--keypoints", "nowhere"], "nowhere"),
        (["--predictions", "nowhere", "--boxes", "tracked"], "--boxes does nothing with --pred"),
        (["--subjects", "09"], "--subjects does nothing with --dataset 3dpw"),
        (["--set", "joints=["], "is no value"),
        (["--set", "rte_root=translation"], "would change nothing"),
    ],
)
def test_mistakes_are_one_line(words, said, threedpw: Data, tmp_path: Path, capsys) -> None:
    assert run(threedpw, "3dpw", tmp_path / "out", *words) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_sequences_without_images_are_named(threedpw: Data, tmp_path: Path, capsys) -> None:
    root = tmp_path / "3dpw"
    write_threedpw(root, genders(threedpw.smpl), frames=FRAMES, images=False)
    data = Data(root, threedpw.smpl, {})
    assert run(data, "3dpw", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert "courtyard_walk_01_0 lacks 40 of its 40 images" in err


def test_broken_trees_are_told_file_by_file(threedpw: Data, tmp_path: Path, capsys) -> None:
    root = tmp_path / "3dpw"
    labels = write_threedpw(root, genders(threedpw.smpl), frames=FRAMES, images=False)
    folder = root / "sequenceFiles" / "test"
    contents = dict(labels["downtown_talk_00"])
    del contents["cam_poses"]
    (folder / "downtown_talk_00.pkl").write_bytes(pickle.dumps(contents, 2))
    (folder / "ruin.pkl").write_bytes(b"\x80")
    data = Data(root, threedpw.smpl, {})
    words = ("--keypoints", "dataset")
    assert run(data, "3dpw", tmp_path / "out", *words) == 2
    err = capsys.readouterr().err
    assert "cam_poses" in err and "ruin.pkl" in err and "downtown_talk_00.pkl" in err
    assert run(data, "3dpw", tmp_path / "out", *words, "--skip-broken") == 0
    assert "skipped" in capsys.readouterr().err


def test_labels_that_contradict_themselves(threedpw: Data, tmp_path: Path, capsys) -> None:
    root = tmp_path / "emdb"
    labels = write_emdb(root, genders(threedpw.smpl), frames=FRAMES, images=False)
    name = "P1_14_outdoor_climb"
    labels[name]["kp2d"] = labels[name]["kp2d"] + 30
    (root / "P1" / "14_outdoor_climb" / f"{name}_data.pkl").write_bytes(pickle.dumps(labels[name]))
    data = Data(root, threedpw.smpl, {})
    words = ("--keypoints", "dataset", "--sequences", name)
    assert run(data, "emdb1", tmp_path / "out", *words, "--strict") == 2
    assert f"labels of {name}" in capsys.readouterr().err
    assert run(data, "emdb1", tmp_path / "out", *words) == 0
    assert f"labels of {name}" in capsys.readouterr().err


def test_missing_bodies_are_told_before_anything_is_tracked(
    threedpw: Data, tmp_path: Path, capsys
) -> None:
    (tmp_path / "smpl").mkdir()
    neutral = (threedpw.smpl / "SMPL_NEUTRAL.pkl").read_bytes()
    (tmp_path / "smpl" / "SMPL_NEUTRAL.pkl").write_bytes(neutral)
    alone = Data(threedpw.root, tmp_path / "smpl", threedpw.sequences)
    words = ("--keypoints", "dataset")
    assert run(alone, "3dpw", tmp_path / "out", *words, "--protocol", "3dpw-challenge") == 2
    assert "no female SMPL body" in capsys.readouterr().err
    assert run(alone, "3dpw", tmp_path / "out", *words, "--protocol", "vibe") == 2
    assert "needs J_regressor_h36m.npy" in capsys.readouterr().err
    assert not (tmp_path / "out" / "predictions").exists()
    regressor = (threedpw.smpl / "J_regressor_h36m.npy").read_bytes()
    (tmp_path / "smpl" / "J_regressor_h36m.npy").write_bytes(regressor)
    assert run(alone, "3dpw", tmp_path / "out", *words, "--protocol", "vibe") == 0
    assert "labels of female people are not checked" in capsys.readouterr().err
