"""Tracks of any rate and length: the same speeds, the same bodies, nothing computed twice."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from test_recover import CAMERA, a_track
from tracked_clips import tiny_config

from temporal_hmr import on_disk
from temporal_hmr.blending import at_times
from temporal_hmr.body.params import SmplParams
from temporal_hmr.journal import Journal
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.recover import recover
from temporal_hmr.rotation import axis_angle_to_matrix, geodesic_angle
from temporal_hmr.skeleton import COCO23


@pytest.fixture(scope="module")
def model() -> Hmr:
    torch.manual_seed(0)
    return Hmr(tiny_config().model_copy(update={"window": 16})).eval()


def swaying(fps: float, seconds: float = 3.0) -> Track:
    """Somebody who sways and swings, seen so many times a second without error."""
    times = np.arange(round(seconds * fps)) / fps
    random = np.random.default_rng(0)
    shape, swing = random.uniform(150, 330, (1, 23, 2)), random.uniform(-25, 25, (1, 23, 2))
    phase = random.uniform(0, 2 * np.pi, (1, 23, 1))
    points = shape + swing * np.sin(2 * np.pi * 0.8 * times[:, None, None] + phase)
    keypoints = np.concatenate([points, np.full((len(times), 23, 1), 0.9)], -1).astype("f4")
    boxes = np.concatenate([points.min(1), points.max(1)], -1)
    return Track(0, np.arange(len(times)), times, boxes, keypoints, COCO23)


def speed(motion: BodyMotion) -> float:
    """Mean of all joints, seen from the pelvis; m/s."""
    rooted = motion.joints - motion.joints[:, :1]
    steps = np.linalg.norm(np.diff(rooted, axis=0), axis=-1)
    return float((steps / np.diff(motion.times)[:, None]).mean())


@pytest.mark.parametrize("fps", [60, 120, 240])
def test_faster_cameras_see_the_same_speeds(model, body, fps) -> None:
    slow = recover(model, body, swaying(30), CAMERA, 30.0, fit=None)
    fast = recover(model, body, swaying(fps), CAMERA, fps, fit=None)
    assert len(fast) == round(3 * fps)
    assert speed(fast) == pytest.approx(speed(slow), rel=0.02)
    step = fps // 30
    # The last window ends with the last frame, which the slower camera did not take.
    np.testing.assert_allclose(fast.joints[::step][:-16], slow.joints[:-16], atol=1e-4)


def test_between_known_times_turns_are_even_and_the_pelvis_goes_straight(body) -> None:
    posed = PosedBody(copy.deepcopy(body))
    angles = torch.zeros(3, 24, 3)
    angles[:, 4, 0] = torch.tensor([0.0, 0.6, 0.8])
    known, wanted = np.array([0.0, 0.2, 0.3]), np.array([0.0, 0.05, 0.2, 0.25, 0.3])
    betas = torch.full((1, 10), 0.3).expand(3, 10)
    place = torch.tensor([[0.0, 0, 3], [0, 0, 4], [1, 0, 4]])
    smpl = SmplParams.from_rotations(axis_angle_to_matrix(angles), betas, place)
    found = at_times(smpl, known, wanted, posed)
    turned = geodesic_angle(found.rotations()[:, 4], torch.eye(3).expand(5, 3, 3))
    assert turned.tolist() == pytest.approx([0, 0.15, 0.6, 0.7, 0.8], abs=1e-5)
    assert found.transl[1].tolist() == pytest.approx([0, 0, 3.25])
    assert torch.equal(found.transl[[0, 2, 4]], place)
    assert at_times(smpl, known, known, posed) is smpl


def test_in_chunks_it_is_the_same(model, body, monkeypatch) -> None:
    track = a_track([*range(20), *range(60, 97)])
    whole = recover(model, body, track, CAMERA, 25.0, fit=None)
    monkeypatch.setattr(on_disk, "FRAMES_AT_ONCE", 7)
    chunked = recover(model, body, track, CAMERA, 25.0, fit=None)
    np.testing.assert_allclose(chunked.joints, whole.joints, atol=1e-4)
    torch.testing.assert_close(chunked.smpl.rotations(), whole.smpl.rotations(), atol=1e-4, rtol=0)


class TestJournal:
    @pytest.fixture
    def calls(self, model, monkeypatch) -> list[int]:
        done: list[int] = []
        forward = model.forward

        def counted(window, *more):
            done.append(len(window.times))
            return forward(window, *more)

        monkeypatch.setattr(model, "forward", counted)
        return done

    def test_after_a_cut_anywhere_the_same_bytes(self, model, body, calls, tmp_path: Path) -> None:
        def run() -> bytes:
            with Journal(tmp_path / "j", "k") as journal:
                return recover(
                    model, body, a_track(list(range(150))), CAMERA, 25.0, fit=None, journal=journal
                ).joints.tobytes()

        first = run()
        windows, content = sum(calls), (tmp_path / "j").read_bytes()
        for cut in np.linspace(0, len(content), 6).astype(int):
            (tmp_path / "j").write_bytes(content[:cut])
            calls.clear()
            assert run() == first
            assert (tmp_path / "j").read_bytes() == content
            assert sum(calls) <= windows
        assert not calls, "all of it was there"
