"""The check door: what it prints and writes, and the status it leaves with."""

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from interchange_files import dump, phalp_contents, vibe_contents, wham_contents, write_gvhmr
from walking import moved, predicted, walk

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.check import main
from temporal_hmr.command_line import run_door
from temporal_hmr.errors import InputError
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.folder import SUMMARY, write_results
from temporal_hmr.output.npz import Provenance
from temporal_hmr.skeleton import COCO23
from temporal_hmr.track import SAMPLE

ROOT = Path(__file__).parents[1]
COUNT, FPS = 60, 30.0


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


def body_motion(body: BodyModel, smpl: SmplParams, person_id: int = 0) -> BodyMotion:
    """As our tracker would give it, seen without error."""
    seen = predicted(body, smpl).smpl
    camera = Camera.with_focal(800.0, 640, 480)
    regressor = body.point_regressor(body.regressors["coco_feet"])
    pixels = camera.project(body.regress(seen, regressor).float()).numpy()
    keypoints = np.concatenate([pixels, np.ones((COUNT, 23, 1))], -1)
    return BodyMotion(
        person_id=person_id,
        frames=np.arange(COUNT),
        times=np.arange(COUNT) / FPS,
        fps=FPS,
        smpl=seen,
        joints=body.joints(seen).numpy(),
        camera=camera,
        boxes=np.concatenate([pixels.min(1), pixels.max(1)], -1),
        keypoints=keypoints,
        skeleton=COCO23,
        observed=np.ones(COUNT, bool),
        confidence=np.ones(COUNT),
    )


def write(folder: Path, *motions: BodyMotion, body: str = "open") -> Path:
    provenance = Provenance("walk.mp4", "ab" * 32, body, "CC0", "w.safetensors", "cd" * 32, "0.0")
    write_results(folder, motions, {"fps": FPS}, provenance)
    return folder


@pytest.fixture
def good(tmp_path: Path, body: BodyModel) -> Path:
    """Two people walking side by side."""
    people = [
        body_motion(body, moved(walk(body, COUNT, FPS), np.array([side, 0, 0])), number)
        for number, side in enumerate((-0.6, 0.6))
    ]
    return write(tmp_path / "good", *people)


@pytest.fixture
def bad(tmp_path: Path, body: BodyModel) -> Path:
    """Somebody who is suddenly a metre further at frame 30, one second into the clip."""
    smpl = walk(body, COUNT, FPS)
    smpl.transl[30:, 0] += 1.0
    return write(tmp_path / "bad", body_motion(body, smpl))


def status(*words: str | Path) -> int:
    """What the process leaves with."""
    with pytest.raises(SystemExit) as ended:
        run_door(lambda: main([str(word) for word in words]))
    assert isinstance(ended.value.code, int)
    return ended.value.code


class TestStatus:
    def test_nothing_fails(self, good: Path, capsys: pytest.CaptureFixture) -> None:
        assert status(good) == 0
        shown = capsys.readouterr().out
        assert "person_000.npz (ours, body open): frames 0 to 59" in shown
        assert "person_001.npz" in shown
        assert shown.splitlines()[-1].startswith(f"{good}: ok (2 people; 0 fail, 0 warn,")

    def test_something_fails_and_is_timed(self, bad: Path, capsys: pytest.CaptureFixture) -> None:
        assert status(bad) == 1
        lines = capsys.readouterr().out.splitlines()
        row = next(n for n, line in enumerate(lines) if "pelvis_jump (camera)" in line)
        assert lines[row].split()[:2] == ["FAIL", "pelvis_jump"]
        assert lines[row + 1].strip() == "1.00 s (frame 30): 30"

    def test_one_file_of_a_folder(self, good: Path) -> None:
        assert status(good / "person_001.npz") == 0

    def test_only_people_whom_the_summary_lists(self, good: Path, bad: Path) -> None:
        (bad / "person_000.npz").rename(good / "person_007.npz")
        assert status(good) == 0
        (good / SUMMARY).unlink()
        assert status(good) == 1

    def test_thresholds_can_be_set(self, good: Path, bad: Path) -> None:
        assert status(good, "--set", "jitter_warn=1", "--set=jitter-fail=2") == 1
        raised = ("pelvis_jump", "pelvis_speed", "jitter", "reprojection")
        words = [word for name in raised for word in ("--set", f"{name}_fail=inf")]
        assert status(bad, *words) == 0

    @pytest.mark.parametrize(
        ("words", "line"),
        [
            (["nowhere"], "there is no file at nowhere"),
            ([str(SAMPLE)], "sample.mp4 is a video: track it, and give the folder of its results"),
            ([], "give a RESULT to check"),
            (["GOOD", "--set", "jiter_fail=3"], "--set: jiter_fail: is no setting (did you mean"),
            (["GOOD", "--set", "jitter_fail"], "--set takes NAME=VALUE"),
            (["GOOD", "--set", "jitter_fail=x"], "jitter_fail: Input should be a valid number"),
            (["GOOD", "--set", "jitter_fail=1"], "--set: jitter_warn (40) must not be above"),
            (["GOOD", "--fps", "0"], "--fps takes a positive number"),
            (["GOOD", "--body", "nowhere.pkl"], "nowhere.pkl does not exist"),
            (["GOOD", "--json", "no/where.json"], "cannot write no/where.json"),
            (["GOOD", "--format", "vhs"], "there is no result format 'vhs'"),
        ],
    )
    def test_what_cannot_be_used_is_one_line_and_status_2(
        self, good: Path, words: list[str], line: str, capsys: pytest.CaptureFixture
    ) -> None:
        assert status(*(good if word == "GOOD" else word for word in words)) == 2
        shown = capsys.readouterr()
        assert shown.out == ""
        assert shown.err.startswith("error: ") and shown.err.count("\n") == 1
        assert line in shown.err

    def test_a_folder_without_people(self, tmp_path: Path, good: Path) -> None:
        with pytest.raises(InputError, match="is no result: give a folder"):
            main([str(tmp_path)])
        with pytest.raises(InputError, match="has nobody in it"):
            main([str(write(tmp_path / "empty"))])
        (good / SUMMARY).write_text("{}")
        with pytest.raises(InputError, match="does not list the files"):
            main([str(good)])


class TestBodies:
    def test_a_result_on_another_body_is_judged_on_a_stand_in(
        self, tmp_path: Path, body: BodyModel, capsys: pytest.CaptureFixture
    ) -> None:
        motion = body_motion(body, walk(body, COUNT, FPS))
        folder = write(tmp_path / "smpl", motion, body="SMPL_NEUTRAL")
        main([str(folder)])
        shown = capsys.readouterr().out
        assert "note: the body open stands in" in shown
        assert "lengths need the system's own body" in shown

    def test_the_open_body_needs_no_file(self, good: Path, tmp_path: Path) -> None:
        file = write_body(tmp_path / "SMPL_NEUTRAL.npz")
        with pytest.raises(InputError, match="made with the open body: leave --body out"):
            main([str(good), "--body", str(file)])

    def test_a_body_of_another_name_is_refused(
        self, tmp_path: Path, body: BodyModel, capsys: pytest.CaptureFixture
    ) -> None:
        motion = body_motion(body, walk(body, COUNT, FPS))
        folder = write(tmp_path / "smpl", motion, body="SMPL_NEUTRAL")
        with pytest.raises(InputError, match="made with the body SMPL_NEUTRAL, not other"):
            main([str(folder), "--body", str(write_body(tmp_path / "other.npz"))])
        main([str(folder), "--body", str(write_body(tmp_path / "SMPL_NEUTRAL.npz"))])
        assert "body SMPL_NEUTRAL): frames" in capsys.readouterr().out


def write_body(path: Path) -> Path:
    """The open body's file under another name."""
    path.write_bytes((ROOT / "temporal_hmr" / "assets" / "open_body.npz").read_bytes())
    return path


class TestForeignFiles:
    def wham(self, path: Path, body: BodyModel) -> Path:
        """A walk whose bones pulsate, in camera and world."""
        world = walk(body, COUNT, FPS)
        world.betas[:, 0] = torch.linspace(0, 1, COUNT)
        world = replace(world, transl=world.transl + torch.tensor([5.0, 0.1, 2.0]))
        camera = predicted(body, world).smpl
        person = {
            "pose": camera.poses().numpy(),
            "trans": camera.transl.numpy(),
            "pose_world": world.poses().numpy(),
            "trans_world": world.transl.numpy(),
            "betas": world.betas.numpy(),
            "verts": np.zeros((COUNT, 2, 3)),
            "frame_ids": np.arange(COUNT),
        }
        return dump({0: person}, path)

    @pytest.mark.parametrize("system", ["wham", "vibe", "gvhmr", "phalp"])
    def test_files_of_every_system_are_judged(
        self, system: str, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        """Random poses, which cannot pass."""
        frames = dict.fromkeys(range(20), 0)
        if system == "gvhmr":
            path = write_gvhmr(tmp_path / "result.pt", 20)
        elif system == "phalp":
            path = dump(phalp_contents(20, {1: frames, 2: frames}), tmp_path / "result.pkl")
        else:
            contents = wham_contents if system == "wham" else vibe_contents
            path = dump(contents({0: np.arange(20)}), tmp_path / "result.pkl")
        assert status(path) == 1
        shown = capsys.readouterr().out
        assert f"({system}, body open)" in shown
        jitter = next(row for row in shown.splitlines() if "jitter (root-relative)" in row)
        assert jitter.split()[0] == "FAIL"

    def test_what_is_assumed_is_said(
        self, tmp_path: Path, body: BodyModel, capsys: pytest.CaptureFixture
    ) -> None:
        main([str(self.wham(tmp_path / "wham_output.pkl", body))])
        shown = capsys.readouterr().out
        assert "note: the file states no frame rate: 30 is assumed (--fps)" in shown
        assert "note: the body open stands in with betas of zero" in shown
        assert "foot_skate (world)" in shown
        shape = next(line for line in shown.splitlines() if "shape_drift" in line)
        assert shape.split()[:3] == ["WARN", "shape_drift", "0.5"]

    def test_the_frame_rate_of_the_file_comes_first(
        self, tmp_path: Path, body: BodyModel, good: Path, capsys: pytest.CaptureFixture
    ) -> None:
        main([str(self.wham(tmp_path / "wham_output.pkl", body)), "--fps", "25"])
        assert "at 25 fps" in capsys.readouterr().out
        main([str(good), "--fps", "25"])
        shown = capsys.readouterr().out
        assert "at 30 fps" in shown and "--fps 25 is not used" in shown

    def test_with_the_own_body_bones_are_judged(
        self, tmp_path: Path, body: BodyModel, capsys: pytest.CaptureFixture
    ) -> None:
        file = self.wham(tmp_path / "wham_output.pkl", body)
        smpl = write_body(tmp_path / "SMPL_NEUTRAL.npz")
        assert status(file, "--body", smpl) in (0, 1)
        line = next(row for row in capsys.readouterr().out.splitlines() if "bone_drift" in row)
        assert float(line.split()[2]) == pytest.approx(self.grows(body), rel=0.01)

    def grows(self, body: BodyModel) -> float:
        """Per cent by which half a unit of the first coefficient changes a bone at most."""
        betas = torch.zeros(2, 10, dtype=torch.float64)
        betas[:, 0] = torch.tensor([0.5, 1.0])
        usual, longest = body.rest_joints(betas).numpy()
        parents = list(body.parents[1:])
        lengths = [
            np.linalg.norm(joints[1:] - joints[parents], axis=1) for joints in (usual, longest)
        ]
        return float(100 * np.abs(lengths[1] / lengths[0] - 1).max())


class TestOutput:
    def test_json_has_everything_and_is_strict(
        self, bad: Path, tmp_path: Path, capsys: pytest.CaptureFixture
    ) -> None:
        path = tmp_path / "report.json"
        assert status(bad, "--json", path) == 1

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is no JSON")

        report = json.loads(path.read_text(), parse_constant=refuse)
        assert report["verdict"] == "fail"
        assert report["thresholds"]["pelvis_jump_fail"] == 4.0
        (person,) = report["people"]
        jump = next(f for f in person["findings"] if f["name"] == "pelvis_jump")
        assert jump["verdict"] == "fail" and jump["space"] == "camera"
        assert jump["limits"] == {"warn": 2.5, "fail": 4.0}
        (moment,) = jump["moments"]
        assert (moment["first_frame"], moment["first_time"]) == (30, 1.0)
        unjudged = [f for f in person["findings"] if f["verdict"] == "not judged"]
        assert unjudged and all(f["value"] is None and f["note"] for f in unjudged)

    def test_json_of_infinite_errors_is_strict_too(self, tmp_path: Path, body: BodyModel) -> None:
        motion = body_motion(body, walk(body, COUNT, FPS))
        motion.smpl.transl[10, 2] -= 50
        path = tmp_path / "report.json"
        assert status(write(tmp_path / "behind", motion), "--json", path) == 1
        assert "Infinity" not in path.read_text()

    def test_the_thresholds_are_listed(self, capsys: pytest.CaptureFixture) -> None:
        main(["--thresholds", "--set", "jitter_fail=123"])
        lines = capsys.readouterr().out.splitlines()
        assert ["jitter_fail", "123"] in [line.split() for line in lines]

    def test_a_static_camera_is_taken_on_trust(
        self, good: Path, capsys: pytest.CaptureFixture
    ) -> None:
        main([str(good)])
        assert "say --static-camera" in capsys.readouterr().out
        main([str(good), "--static-camera"])
        assert "foot_skate (camera)" in capsys.readouterr().out

    def test_help_tells_the_statuses_at_once(self) -> None:
        begun = time.monotonic()
        words = [sys.executable, "-m", "temporal_hmr", "check", "--help"]
        run = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True)
        assert time.monotonic() - begun < 5
        told = " ".join(run.stdout.split())
        assert "exit status is 0 if nothing fails, 1 if something does, 2 if" in told
        code = "import sys, temporal_hmr.check; print('torch' in sys.modules)"
        words = [sys.executable, "-c", code]
        run = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, check=True)
        assert run.stdout.strip() == "False"
