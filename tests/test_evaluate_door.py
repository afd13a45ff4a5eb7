"""`python -m temporal_hmr.evaluate` from end to end: datasets and results written by the tests."""

import csv
import json
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from dataset_trees import person_shaped_body, write_bodies, write_emdb, write_threedpw
from interchange_files import dump

from temporal_hmr import evaluate
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.command_line import run_door
from temporal_hmr.data.emdb import read_emdb
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.threedpw import read_threedpw
from temporal_hmr.evaluation.benchmark import read_predictions
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.npz import Provenance, save_motion
from temporal_hmr.pickles import load_pickle
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import COCO23

FRAMES = 40


@dataclass
class Data:
    root: Path
    smpl: Path
    sequences: dict[str, LabelledSequence]
    extra: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def smpl(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("smpl")
    write_bodies(folder, 200)
    return folder


def genders(smpl: Path) -> dict[str, Any]:
    bodies = Bodies(smpl)
    return {gender: bodies.of(gender) for gender in ("male", "female", "neutral")}


@pytest.fixture(scope="module")
def threedpw(smpl: Path, tmp_path_factory) -> Data:
    root = tmp_path_factory.mktemp("3dpw")
    write_threedpw(root, genders(smpl), frames=FRAMES)
    return Data(root, smpl, {each.name: each for each in read_threedpw(root, "test")})


@pytest.fixture(scope="module")
def emdb(smpl: Path, tmp_path_factory) -> Data:
    root = tmp_path_factory.mktemp("emdb")
    write_emdb(root, genders(smpl), frames=FRAMES)
    return Data(root, smpl, {each.name: each for each in read_emdb(root, 1)})


def answer(data: Data, name: str, turn: float = 0.1) -> dict[str, np.ndarray]:
    """The true parameters in the camera, with the left elbow bent too far (radians)."""
    sequence = data.sequences[name]
    smpl = sequence.in_camera(Bodies(data.smpl).of(sequence.gender))
    pose = smpl.poses().numpy()
    pose[:, 3 * 18] += turn
    return {
        "pose": pose, "trans": smpl.transl.numpy(), "betas": smpl.betas.numpy(),
        "frame_ids": np.arange(len(sequence)),
    }  # fmt: skip


def wham(path: Path, *people: dict[str, np.ndarray]) -> None:
    everybody = {
        number: {**person, "pose_world": person["pose"], "trans_world": person["trans"]}
        for number, person in enumerate(people)
    }
    dump(everybody, path)


def predict_all(data: Data, folder: Path) -> None:
    videos: dict[str, list[str]] = {}
    for name, sequence in data.sequences.items():
        videos.setdefault(sequence.video, []).append(name)
    for video, names in videos.items():
        wham(folder / video / "wham_output.pkl", *(answer(data, name) for name in names))


def leave(*words: object) -> int:
    with pytest.raises(SystemExit) as ending:
        run_door(lambda: evaluate.main([str(word) for word in words]))
    code = ending.value.code
    assert isinstance(code, int)
    return code


def run(data: Data, dataset: str, out: Path, *words: object) -> int:
    common = ("--dataset", dataset, "--data", data.root, "--smpl", data.smpl, "-o", out)
    return leave(*common, *words)


def scores(out: Path) -> dict[str, Any]:
    return json.loads((out / "scores.json").read_text())


def overall(out: Path) -> float:
    return scores(out)["runs"][0]["overall"]["metrics"]["mpjpe"]["value"]


def test_anyones_results_on_3dpw(threedpw: Data, tmp_path: Path, capsys) -> None:
    predict_all(threedpw, tmp_path / "results")
    out = tmp_path / "out"
    assert run(threedpw, "3dpw", out, "--predictions", tmp_path / "results") == 0
    shown = capsys.readouterr().out
    found = scores(out)
    (only,) = found["runs"]
    assert [row["name"] for row in only["sequences"]] == sorted(threedpw.sequences)
    assert only["overall"]["coverage"] == 1.0
    # A bent elbow, and gendered betas on the neutral body.
    assert 0 < overall(out) < 80
    for switch in ("joints lsp14", "root hips", "truth_body gendered", "gaps crossing"):
        assert switch in shown, "the protocol is printed with every result"
    assert "gap-safe" in shown and "downtown_talk_00_1" in shown
    with (out / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["sequence"] for row in rows] == [*sorted(threedpw.sequences), "overall"]
    assert float(rows[-1]["mpjpe"]) == pytest.approx(overall(out))
    page = (out / "report.html").read_text()
    assert "downtown_talk_00_1" in page and "<svg" in page and "data:image/jpeg" in page


def test_one_switch_changed_prints_both(threedpw: Data, tmp_path: Path, capsys) -> None:
    predict_all(threedpw, tmp_path / "results")
    out = tmp_path / "out"
    words = ("--predictions", tmp_path / "results", "--protocol", "vibe")
    assert run(threedpw, "3dpw", out, *words, "--set", "truth_body=gendered") == 0
    first, second = scores(out)["runs"]
    assert first["label"] == "vibe" and second["label"] == "vibe with truth_body=gendered"
    assert first["protocol"]["truth_body"] == "neutral"
    values = [each["overall"]["metrics"]["mpjpe"]["value"] for each in (first, second)]
    assert values[0] != values[1]
    assert "== overall" in capsys.readouterr().out


def test_world_metrics_say_whose_cameras(emdb: Data, tmp_path: Path, capsys) -> None:
    folder, name = tmp_path / "results", "P6_49_outdoor_big_stairs_down"
    wham(folder / f"demo_{name}.pkl", answer(emdb, name))
    words = ("--predictions", folder, "--sequences", name)
    switches = ("--set", "metrics=w_mpjpe,wa_mpjpe,rte,jitter_world,erve")
    assert run(emdb, "emdb2", tmp_path / "own", *words, *switches) == 2, "no landmarks of feet"
    assert "foot" in capsys.readouterr().err
    out = tmp_path / "out"
    assert run(emdb, "emdb1", out, *words) == 0
    (only,) = scores(out)["runs"]
    assert only["overall"]["metrics"]["jitter"]["count"] == 1


def test_emdb_folder_names_without_participant(emdb: Data, tmp_path: Path) -> None:
    folder = tmp_path / "results"
    wham(folder / "14_outdoor_climb" / "wham_output.pkl", answer(emdb, "P1_14_outdoor_climb"))
    words = ("--predictions", folder, "--sequences", "P1_14_outdoor_climb")
    assert run(emdb, "emdb1", tmp_path / "out", *words) == 0


def test_our_results_on_the_open_body_keep_their_skeleton(threedpw: Data, tmp_path: Path) -> None:
    """Betas of the open body mean nothing to SMPL: the nearest shape takes over."""
    sequence = threedpw.sequences["courtyard_walk_01_0"]
    body = load_body()
    seen = sequence.in_camera(Bodies(threedpw.smpl).of("female")).map(lambda each: each.float())
    betas = torch.linspace(-1, 1, 10).expand(FRAMES, 10)
    smpl = SmplParams(seen.global_orient, seen.body_pose, betas, seen.transl)
    joints = body.joints(smpl)
    motion = BodyMotion(
        0, np.arange(FRAMES), np.arange(FRAMES) / 30, 30.0, smpl, joints.numpy(), sequence.camera,
        np.zeros((FRAMES, 4)), np.zeros((FRAMES, 23, 3)), COCO23, np.ones(FRAMES, bool),
        np.ones(FRAMES),
    )  # fmt: skip
    path = tmp_path / "results" / "courtyard_walk_01.npz"
    path.parent.mkdir()
    (tmp_path / "smpl").mkdir()
    contents = pickle.dumps(person_shaped_body("male", 200), 2)
    (tmp_path / "smpl" / "SMPL_NEUTRAL.pkl").write_bytes(contents)
    bodies = Bodies(tmp_path / "smpl")
    for name, far in ((body.name, False), ("SMPL_NEUTRAL", True)):
        save_motion(motion, path, Provenance("", "", name, "", "", "", ""))
        found = read_predictions(path.parent, None, [sequence], bodies)
        moved = found.motions[sequence.name]
        assert moved is not None
        posed = bodies.of("neutral").joints(moved.smpl)
        bones = (posed - posed[:, :1]) - (joints - joints[:, :1])
        assert (float(torch.linalg.vector_norm(bones, dim=-1).mean()) > 0.01) == far


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

    def test_numbers_that_are_none(self, threedpw: Data, tmp_path: Path, capsys) -> None:
        broken = answer(threedpw, "courtyard_walk_01_0")
        broken["pose"][15, 8] = np.nan
        wham(tmp_path / "results" / "courtyard_walk_01.pkl", broken)
        words = ("--predictions", tmp_path / "results", "--sequences", "courtyard_walk_01")
        assert run(threedpw, "3dpw", tmp_path / "out", *words) == 0
        captured = capsys.readouterr()
        assert "courtyard_walk_01_0: predictions are not numbers in frames 15: and" in captured.err
        assert scores(tmp_path / "out")["runs"][0]["overall"]["metrics"]["mpjpe"]["value"] is None
        assert run(threedpw, "3dpw", tmp_path / "skip", *words, "--skip-nan") == 0
        metrics = scores(tmp_path / "skip")["runs"][0]["overall"]["metrics"]
        assert metrics["mpjpe"]["value"] > 0 and metrics["mpjpe"]["num_nan"] == 1

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


def test_sequences_without_images_are_named(smpl: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "3dpw"
    write_threedpw(root, genders(smpl), frames=FRAMES, images=False)
    data = Data(root, smpl, {})
    assert run(data, "3dpw", tmp_path / "out") == 2
    err = capsys.readouterr().err
    assert "courtyard_walk_01_0 lacks 40 of its 40 images" in err


def test_broken_trees_are_told_file_by_file(smpl: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "3dpw"
    labels = write_threedpw(root, genders(smpl), frames=FRAMES, images=False)
    folder = root / "sequenceFiles" / "test"
    contents = dict(labels["downtown_talk_00"])
    del contents["cam_poses"]
    (folder / "downtown_talk_00.pkl").write_bytes(pickle.dumps(contents, 2))
    (folder / "ruin.pkl").write_bytes(b"\x80")
    data = Data(root, smpl, {})
    words = ("--keypoints", "dataset")
    assert run(data, "3dpw", tmp_path / "out", *words) == 2
    err = capsys.readouterr().err
    assert "cam_poses" in err and "ruin.pkl" in err and "downtown_talk_00.pkl" in err
    assert run(data, "3dpw", tmp_path / "out", *words, "--skip-broken") == 0
    assert "skipped" in capsys.readouterr().err


def test_labels_that_contradict_themselves(smpl: Path, tmp_path: Path, capsys) -> None:
    root = tmp_path / "emdb"
    labels = write_emdb(root, genders(smpl), frames=FRAMES, images=False)
    name = "P1_14_outdoor_climb"
    labels[name]["kp2d"] = labels[name]["kp2d"] + 30
    (root / "P1" / "14_outdoor_climb" / f"{name}_data.pkl").write_bytes(pickle.dumps(labels[name]))
    data = Data(root, smpl, {})
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


def test_our_tracker_is_run_once_and_continues(threedpw: Data, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    words = ("--keypoints", "dataset")
    assert run(threedpw, "3dpw", out, *words) == 0
    first = overall(out)
    kept = sorted((out / "predictions").rglob("person_*.npz"))
    assert len(kept) == len(threedpw.sequences)
    times = [path.stat().st_mtime_ns for path in kept]
    assert run(threedpw, "3dpw", out, *words) == 0
    assert [path.stat().st_mtime_ns for path in kept] == times
    assert overall(out) == pytest.approx(first, abs=1e-3), "files keep float32"
    labels = threedpw.root / "sequenceFiles" / "test" / "courtyard_walk_01.pkl"
    before = labels.read_bytes()
    changed = load_pickle(labels)
    assert isinstance(changed, dict)
    changed["poses2d"][0][:, :2, 3] += 5
    labels.write_bytes(pickle.dumps(changed, 2))
    assert run(threedpw, "3dpw", out, *words) == 0
    labels.write_bytes(before)
    anew = [path.stat().st_mtime_ns != time for path, time in zip(kept, times, strict=True)]
    assert sum(anew) == 1, "a video whose labels changed is tracked again, and no other"
    assert run(threedpw, "3dpw", out, *words) == 0
    assert run(threedpw, "3dpw", out, *words, "--focal", "assumed") == 2
    assert "made with other settings" in capsys.readouterr().err
    assert run(threedpw, "3dpw", tmp_path / "b", "--predictions", out / "predictions") == 0
    assert overall(tmp_path / "b") == pytest.approx(first, abs=1e-3)


def test_mocap_goes_the_same_way(tmp_path: Path, capsys) -> None:
    random = np.random.default_rng(0)
    for subject in ("01", "02"):
        (tmp_path / "mocap" / subject).mkdir(parents=True)
        poses = 0.05 * random.normal(size=(1, 156)).repeat(24, 0)
        poses[:, 0] += np.pi / 2
        np.savez(
            tmp_path / "mocap" / subject / f"{subject}_01_poses.npz",
            poses=poses, trans=np.tile([0, 0, 0.9], (24, 1)), betas=np.zeros(16),
            gender="neutral", mocap_framerate=30.0,
        )  # fmt: skip
    words = ("--dataset", "mocap", "--data", tmp_path / "mocap", "-o", tmp_path / "out")
    assert leave(*words, "--subjects", "03") == 2
    assert "there is no subject 03; the data has 01, 02" in capsys.readouterr().err
    assert leave(*words, "--subjects", "01") == 0
    labels = [each["label"] for each in scores(tmp_path / "out")["runs"]]
    assert labels == [
        "clean keypoints, temporal", "clean keypoints, per frame",
        "noisy keypoints, temporal", "noisy keypoints, per frame",
    ]  # fmt: skip
    assert (tmp_path / "out" / "report.html").exists()
    assert torch.get_default_dtype() == torch.float32
