"""`python -m temporal_hmr.evaluate` from end to end: datasets and results written by the tests."""

import csv
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_trees import person_shaped_body
from evaluated import (
    FRAMES,
    Data,
    answer,
    emdb_data,
    leave,
    overall,
    predict_all,
    run,
    scores,
    threedpw_data,
    wham,
)
from interchange_files import dump
from toy_mocap import write_mocap

from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.detector_noise import CLEAN, DetectorNoise
from temporal_hmr.data.emdb import read_emdb
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.evaluation import tracked
from temporal_hmr.evaluation.benchmark import read_predictions
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.own import OwnSettings
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.npz import Provenance, save_motion
from temporal_hmr.pickles import load_pickle
from temporal_hmr.skeleton import COCO23


@pytest.fixture(scope="module")
def threedpw(tmp_path_factory) -> Data:
    return threedpw_data(tmp_path_factory.mktemp("threedpw"))


@pytest.fixture(scope="module")
def emdb(tmp_path_factory) -> Data:
    return emdb_data(tmp_path_factory.mktemp("emdb"))


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


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
def test_world_metrics_say_whose_cameras(emdb: Data, tmp_path: Path, capsys) -> None:
    folder, name = tmp_path / "results", "P6_49_outdoor_big_stairs_down"
    wham(folder / f"demo_{name}.pkl", answer(emdb, name))
    words = ("--predictions", folder, "--sequences", name)
    assert run(emdb, "emdb2", tmp_path / "own", *words) == 2, "no landmarks of feet"
    assert "leave foot_sliding out with --set metrics=" in capsys.readouterr().err
    switches = ("--set", "metrics=w_mpjpe,wa_mpjpe,rte,jitter_world,erve")
    assert run(emdb, "emdb2", tmp_path / "own", *words, *switches) == 0
    captured = capsys.readouterr()
    assert "camera motion: the system's own world frame" in captured.out
    assert "warning: emdb2 unchanged is left out: the body" in captured.err
    out = tmp_path / "out"
    assert run(emdb, "emdb1", out, *words) == 0
    (only,) = scores(out)["runs"]
    assert only["overall"]["metrics"]["jitter"]["count"] == 1


def vibe(data: Data, name: str, folder: Path) -> None:
    """As VIBE writes results: without a translation."""
    person = {**answer(data, name), "pred_cam": np.ones((FRAMES, 3))}
    del person["trans"]
    dump({1: person}, folder / name / "vibe_output.pkl")


@pytest.mark.usefixtures("undrawn")
def test_what_has_no_depth_is_scored_before_the_camera(emdb: Data, tmp_path: Path, capsys) -> None:
    folder, name = tmp_path / "results", "P6_49_outdoor_big_stairs_down"
    vibe(emdb, name, folder)
    words = ("--predictions", folder, "--sequences", name, "--set")
    assert run(emdb, "emdb2", tmp_path / "out", *words, "metrics=rte,erve") == 2
    assert "no prediction has a translation; choose metrics of the" in capsys.readouterr().err
    assert run(emdb, "emdb2", tmp_path / "out", *words, "metrics=mpjpe,rte") == 0
    assert "has no translation, so nothing of it is scored" in capsys.readouterr().err
    (only,) = scores(tmp_path / "out")["runs"]
    assert list(only["overall"]["metrics"]) == ["mpjpe"]


def test_somebody_without_depth_does_not_end_the_dataset(emdb: Data, tmp_path: Path) -> None:
    out, folder = tmp_path / "out", tmp_path / "results"
    placed, flat = read_emdb(emdb.root, 2)
    data = Data(emdb.root, emdb.smpl, {each.name: each for each in (placed, flat)})
    vibe(data, flat.name, folder)
    wham(folder / placed.name / "wham_output.pkl", answer(data, placed.name))
    assert run(data, "emdb2", out, "--predictions", folder, "--set", "metrics=rte,erve") == 0
    (only,) = scores(out)["runs"]
    rows = {row["name"]: row["metrics"] for row in only["sequences"]}
    assert rows[flat.name] == {} and rows[placed.name]["rte"]["value"] is not None
    alone = pytest.approx(rows[placed.name]["rte"]["value"])
    assert only["overall"]["metrics"]["rte"]["value"] == alone
    assert ">no value</td>" in (out / "report.html").read_text()


@pytest.mark.usefixtures("undrawn")
def test_what_only_one_of_both_protocols_can_score(threedpw: Data, tmp_path: Path, capsys) -> None:
    predict_all(threedpw, tmp_path / "results")
    shutil.copytree(threedpw.smpl, tmp_path / "smpl")
    (tmp_path / "smpl" / "J_regressor_h36m.npy").unlink()
    without = Data(threedpw.root, tmp_path / "smpl", threedpw.sequences)
    words = ("--predictions", tmp_path / "results", "--set")
    assert run(without, "3dpw", tmp_path / "a", *words, "joints=lsp14") == 2
    assert "choose joints with --set joints=" in capsys.readouterr().err
    assert run(without, "3dpw", tmp_path / "a", *words, "joints=smpl24") == 0
    assert "3dpw unchanged is left out: this protocol needs J_reg" in capsys.readouterr().err
    assert run(threedpw, "3dpw", tmp_path / "b", *words, "window=100") == 0
    told = capsys.readouterr().err
    assert "3dpw with window=100 is left out: not one frame both counts" in told
    assert "35 frames beyond whole windows of 100" in told
    found = [scores(tmp_path / out)["runs"] for out in "ab"]
    assert [[each["label"] for each in runs] for runs in found] == [
        ["3dpw with joints=smpl24"], ["3dpw"],
    ]  # fmt: skip


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
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


@pytest.mark.usefixtures("undrawn")
def test_changed_keypoint_files_and_bodies_are_computed_anew(threedpw: Data, tmp_path) -> None:
    smpl, keypoints, out = tmp_path / "smpl", tmp_path / "keypoints", tmp_path / "out"
    shutil.copytree(threedpw.smpl, smpl)
    data, name = Data(threedpw.root, smpl, threedpw.sequences), "courtyard_walk_01_0"
    keypoints.mkdir()
    words = ("--keypoints", keypoints, "--sequences", name)

    def error_with(shift: float) -> float:
        sequence = data.sequences[name]
        places = sequence.keypoints + np.array([shift, 0, 0])
        np.savez(
            keypoints / f"{name}.npz", keypoints2d=places, frame_ids=np.arange(len(places)),
            skeleton=sequence.skeleton.name,
        )  # fmt: skip
        assert run(data, "3dpw", out, *words) == 0
        return overall(out)

    first = error_with(0.0)
    assert error_with(0.0) == pytest.approx(first, abs=1e-3)
    moved = error_with(40.0)
    assert moved != pytest.approx(first, abs=1e-3)
    before = (out / "predictions" / "courtyard_walk_01" / "people.json").read_text()
    (smpl / "SMPL_NEUTRAL.pkl").write_bytes((smpl / "SMPL_MALE.pkl").read_bytes())
    error_with(40.0)
    assert (out / "predictions" / "courtyard_walk_01" / "people.json").read_text() != before


@pytest.mark.usefixtures("undrawn")
@pytest.mark.parametrize(
    ("file", "contents"),
    [("people.json", b""), ("people.json", b'[1, "a"]'), ("person_000.npz", b"PK\x03\x04"),
     ("person_000.npz", None)],
)  # fmt: skip
def test_damaged_predictions_are_computed_anew(
    file: str, contents: bytes | None, threedpw: Data, tmp_path: Path, capsys
) -> None:
    out = tmp_path / "out"
    words = ("--keypoints", "dataset", "--sequences", "courtyard_walk_01_0")
    assert run(threedpw, "3dpw", out, *words) == 0
    first = overall(out)
    path = out / "predictions" / "courtyard_walk_01" / file
    path.unlink() if contents is None else path.write_bytes(contents)
    capsys.readouterr()
    assert run(threedpw, "3dpw", out, *words) == 0
    assert capsys.readouterr().err.count("is computed anew, being damaged") == 1
    assert overall(out) == pytest.approx(first, abs=1e-3)
    assert run(threedpw, "3dpw", out, *words) == 0
    assert "damaged" not in capsys.readouterr().err, "it is kept once more"


@pytest.mark.parametrize("whose", ["image", "package"])
def test_changed_images_and_packages_are_computed_anew(
    whose: str, threedpw: Data, tmp_path: Path, monkeypatch
) -> None:
    """Another time or size of a file is enough to be another image."""
    sequence = threedpw.sequences["courtyard_walk_01_0"]
    made = []

    def recover_video(people: list[LabelledSequence], *_: object) -> dict[str, BodyMotion]:
        made.append(people[0].name)
        return {}

    monkeypatch.setattr(tracked, "recover_video", recover_video)
    bodies, folder = Bodies(threedpw.smpl), tmp_path / "predictions"

    def track() -> int:
        tracked.track_sequences([sequence], bodies, None, OwnSettings(), folder)
        return len(made)

    assert [track(), track()] == [1, 1]
    if whose == "image":
        state = sequence.images[3].stat()
        os.utime(sequence.images[3], ns=(state.st_atime_ns, state.st_mtime_ns + 1_000_000_000))
    else:
        monkeypatch.setattr(tracked, "package_version", lambda: "another")
    assert [track(), track()] == [2, 2]


@pytest.mark.usefixtures("undrawn")
def test_mocap_goes_the_same_way(tmp_path: Path, capsys) -> None:
    write_mocap(tmp_path / "mocap", ("01", "02"), frames=24)
    words = ("--dataset", "mocap", "--data", tmp_path / "mocap", "-o", tmp_path / "out")
    assert leave(*words, "--subjects", "03") == 2
    assert "there is no subject 03; the data has 01, 02" in capsys.readouterr().err
    assert leave(*words, "--subjects", "01") == 0
    labels = [each["label"] for each in scores(tmp_path / "out")["runs"]]
    assert labels == [
        "clean keypoints, temporal", "clean keypoints, per frame",
        "simply noisy keypoints, temporal", "simply noisy keypoints, per frame",
        "noisy keypoints, temporal", "noisy keypoints, per frame",
    ]  # fmt: skip
    assert (tmp_path / "out" / "report.html").exists()
    assert torch.get_default_dtype() == torch.float32
    with_baselines = ("-o", tmp_path / "more", "--subjects", "01", "--baselines")
    assert leave(*words[:-2], *with_baselines) == 0
    labels = [each["label"] for each in scores(tmp_path / "more")["runs"]]
    assert len(labels) == 18
    assert {
        "noisy keypoints, per frame, one-euro",
        "clean keypoints, mean pose of the sequence",
    } < {*labels}


def test_how_mocap_is_read_can_be_said(tmp_path: Path, capsys) -> None:
    folder = write_mocap(tmp_path / "mocap", ("01", "02"), frames=24)
    (folder / "01" / "broken.npz").write_bytes(b"")
    words = ("--data", folder, "-o", tmp_path / "out", "--up-axis", "z")
    nobody = ("--dataset", "mocap", "--subjects", "03")
    assert leave(*nobody, *words) == 2
    assert "broken.npz" in capsys.readouterr().err
    assert leave(*nobody, *words, "--skip-broken") == 2
    told = capsys.readouterr().err
    assert "warning: skipped: " in told and "no subject 03; the data has 01, 02" in told
    assert leave("--dataset", "clips", *words) == 2
    assert "--up-axis does nothing with --dataset clips" in capsys.readouterr().err


@pytest.mark.usefixtures("undrawn")
def test_what_noisy_detections_lose_is_told(tmp_path: Path, monkeypatch, capsys) -> None:
    """Also what only a later run lacks: the first sees clean keypoints and lacks nothing."""
    blind = DetectorNoise(clean_share=0, blackout_share=1)
    monkeypatch.setattr("temporal_hmr.evaluation.mocap.DETECTORS", {"clean": CLEAN, "noisy": blind})
    write_mocap(tmp_path / "mocap", ("01", "02"), frames=24)
    assert leave("--dataset", "mocap", "--data", tmp_path / "mocap", "-o", tmp_path / "out") == 0
    warnings = scores(tmp_path / "out")["warnings"]
    told = capsys.readouterr().err
    assert len(warnings) == 2
    for warning in warnings:
        assert "no prediction" in warning or "filled in" in warning
        assert warning.endswith("[noisy keypoints, temporal; noisy keypoints, per frame]")
        assert warning in told
