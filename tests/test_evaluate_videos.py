"""`evaluate --dataset videos`: whole videos, given to `track`, against the truth beside them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from evaluated import leave, overall, scores
from result_motions import PROVENANCE, make_motion

from temporal_hmr import tracking
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.videos import read_videos, track_videos
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.npz import load_motion, save_motion
from temporal_hmr.tracking import TrackSettings

pytestmark = pytest.mark.usefixtures("undrawn")
FRAMES = 8


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two videos; in the second two people, one of whom is out of sight at first."""
    data = tmp_path / "videos"
    data.mkdir()
    for video, count in (("0000", 1), ("0001", 2)):
        (data / f"{video}.mp4").write_bytes(b"never opened here")
        for number in range(count):
            path = data / f"{video}_person{number}.npz"
            save_motion(a_person(number), path, PROVENANCE)
    return data


def a_person(number: int) -> BodyMotion:
    """The second one stands to the right of the first, and is out of sight for three frames."""
    motion = make_motion(FRAMES, number)
    box = np.array([100, 100, 200, 300]) + 400 * number * np.array([1, 0, 1, 0])
    seen = np.arange(FRAMES) >= 3 * number
    boxes = np.tile(box.astype(float), (FRAMES, 1))
    return replace(motion, frames=np.arange(FRAMES), boxes=boxes, observed=seen)


def truths(video: Path) -> list[BodyMotion]:
    return [load_motion(path) for path in sorted(video.parent.glob(f"{video.stem}_person*.npz"))]


def tracked(monkeypatch: pytest.MonkeyPatch, change=lambda motions: motions) -> list[TrackSettings]:
    """Put an answer in the place of the tracker's; returns what it will have been asked for."""
    asked: list[TrackSettings] = []

    def answer(video: Path, settings: TrackSettings) -> SimpleNamespace:
        asked.append(settings)
        motions = change(truths(video))

        def save(folder: Path, overwrite: bool) -> None:
            assert overwrite
            folder.mkdir(parents=True)

        return SimpleNamespace(motions=motions, save=save)

    monkeypatch.setattr(tracking, "track_video", answer)
    return asked


def run(folder: Path, out: Path, *words: object) -> int:
    return leave("--dataset", "videos", "--data", folder, "-o", out, *words)


def test_the_truth_as_answer_is_without_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbered in another order, too: boxes say who is who."""
    tracked(monkeypatch, lambda motions: motions[::-1])
    assert run(folder, tmp_path / "out") == 0
    (found,) = scores(tmp_path / "out")["runs"]
    figures = {name: each["value"] for name, each in found["overall"]["metrics"].items()}
    assert max(figures[name] for name in ("mpjpe", "pa_mpjpe", "pve", "rte")) < 1e-2
    assert (tmp_path / "out/predictions/0001").is_dir()


def test_an_error_is_measured_in_frames_in_which_there_was_something_to_see(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second person's first three frames show nothing of them, and do not count."""

    def half_wrong(motions: Sequence[BodyMotion]) -> list[BodyMotion]:
        return [wrong_before(motion, 3) if motion.person_id == 1 else motion for motion in motions]

    tracked(monkeypatch, half_wrong)
    assert run(folder, tmp_path / "out") == 0
    assert overall(tmp_path / "out") < 1e-2


def wrong_before(motion: BodyMotion, frame: int) -> BodyMotion:
    pose = motion.smpl.body_pose.clone()
    pose[:frame] = pose[:frame].mT.clone()
    return replace(motion, smpl=replace(motion.smpl, body_pose=pose))


def test_whom_nobody_found_is_missing_and_not_forgotten(folder: Path) -> None:
    people = read_videos(folder)
    found = track_videos(folder, people, lambda video, _: truths(video)[:1], Bodies(only_open=True))
    missing = [name for name, motion in found.motions.items() if motion is None]
    assert missing == ["0001_person1"]


@pytest.mark.parametrize(("words", "known"), [((), False), (("--focal", "truth"), True)])
def test_the_focal_length_is_told_only_if_asked_for(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    known: bool,
) -> None:
    asked = tracked(monkeypatch)
    assert run(folder, tmp_path / "out", *words) == 0
    focal = float(make_motion().camera.focal.mean()) if known else None
    assert [each.focal for each in asked] == [focal, focal]


def test_only_the_videos_that_are_asked_for(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = tracked(monkeypatch)
    assert run(folder, tmp_path / "out", "--sequences", "0001_person0") == 0
    assert len(asked) == 1
    (found,) = scores(tmp_path / "out")["runs"]
    assert [each["name"] for each in found["sequences"]] == ["0001_person0"]


def test_folders_that_are_none(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in folder.glob("0001_*"):
        path.unlink()
    assert run(folder, tmp_path / "out") == 2
    assert "0001.mp4 has no truth beside it" in capsys.readouterr().err
    assert run(tmp_path / "nowhere", tmp_path / "out") == 2
    assert "has no rendered videos" in capsys.readouterr().err
    assert run(folder, tmp_path / "out", "--boxes", "truth") == 2
    assert "--boxes does nothing with --dataset videos" in capsys.readouterr().err
