"""Detections that jump, and those that only look as if they did."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from beating import CAMERA, PIXELS_PER_METRE, beating, seen
from numpy import ndarray

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.clip_windows import FilledTrack
from temporal_hmr.journal import Journal
from temporal_hmr.keypoint_fit.jumps import Jumps, jumping
from temporal_hmr.metrics import acceleration_error, mpjpe
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.on_disk import FRAMES_AT_ONCE
from temporal_hmr.recover import load_model, recover
from temporal_hmr.reprojection import Reprojection
from temporal_hmr.skeleton import BLAZEPOSE23

WRIST = BLAZEPOSE23.index("left_wrist")


def found(
    posed: PosedBody, smpl: SmplParams, track: FilledTrack, settings: Jumps = Jumps()
) -> ndarray:
    return jumping(smpl, track, CAMERA, posed, BLAZEPOSE23, 0.05, settings)


def moved(track: FilledTrack, frames: slice, metres: float, joint: int = WRIST) -> FilledTrack:
    keypoints = track.keypoints.copy()
    keypoints[frames, joint, 0] += metres * PIXELS_PER_METRE
    return replace(track, keypoints=keypoints)


def test_those_and_no_others_that_were_thrown_aside_for_a_moment(posed: PosedBody) -> None:
    smpl = beating(60)
    thrown = np.zeros((60, len(BLAZEPOSE23)), bool)
    track = seen(posed, smpl)
    for frames, joint in ((slice(7, 8), WRIST), (slice(30, 33), WRIST), (slice(31, 32), 3)):
        track = moved(track, frames, 0.3, joint)
        thrown[frames, joint] = True
    np.testing.assert_array_equal(found(posed, smpl, track), thrown)


def test_quick_movements_are_not_jumps(posed: PosedBody) -> None:
    """Of a wrist that moves by decimetres from frame to frame, as its body does."""
    smpl = beating(60)
    track = seen(posed, smpl)
    steps = np.linalg.norm(np.diff(track.keypoints[:, WRIST, :2], axis=0), axis=-1)
    assert steps.max() > 0.1 * PIXELS_PER_METRE
    assert not found(posed, smpl, track).any()


def test_what_lasts_is_not_a_jump(posed: PosedBody) -> None:
    smpl = beating(60)
    assert not found(posed, smpl, moved(seen(posed, smpl), slice(20, 60), 0.3)).any()


def test_where_everything_trembles_only_what_is_further_off_jumps(posed: PosedBody) -> None:
    smpl = beating(90)
    track = seen(posed, smpl)
    noise = np.random.default_rng(0).normal(size=track.keypoints[..., :2].shape)
    trembling = track.keypoints.copy()
    trembling[..., :2] += 0.05 * PIXELS_PER_METRE * noise
    track = replace(track, keypoints=trembling)
    assert found(posed, smpl, track).mean() < 0.01
    assert found(posed, smpl, track, Jumps(times=0)).mean() > 0.3
    assert found(posed, smpl, moved(track, slice(40, 42), 1.0))[40:42, WRIST].all()


def test_what_is_not_seen_neither_jumps_nor_says_where_the_rest_is(posed: PosedBody) -> None:
    smpl = beating(60)
    track = moved(seen(posed, smpl), slice(20, 30), 5.0)
    track.keypoints[20:30, WRIST, 2] = 0.05
    assert not found(posed, smpl, track).any()
    assert found(posed, smpl, moved(track, slice(31, 32), 0.3))[31, WRIST]


@pytest.mark.parametrize("fps", [15.0, 60.0])
def test_moments_are_measured_in_seconds(posed: PosedBody, fps: float) -> None:
    frames, moment = int(3 * fps), max(int(0.1 * fps), 1)
    smpl = beating(frames, fps)
    track = seen(posed, smpl, fps)
    brief = moved(track, slice(20, 20 + moment), 0.3)
    assert found(posed, smpl, brief)[20 : 20 + moment, WRIST].all()
    assert not found(posed, smpl, moved(track, slice(20, 20 + 4 * moment), 0.3)).any()


def test_long_clips_are_read_part_by_part_alike(posed: PosedBody) -> None:
    frames = FRAMES_AT_ONCE + 70
    smpl = beating(frames)
    track = seen(posed, smpl)
    generator = np.random.default_rng(1)
    for frame in (FRAMES_AT_ONCE - 2, FRAMES_AT_ONCE, FRAMES_AT_ONCE + 3):
        track = moved(track, slice(frame, frame + 1), 0.3, int(generator.integers(23)))
    whole = found(posed, smpl, track)
    last = slice(FRAMES_AT_ONCE - 100, frames)
    part = FilledTrack(
        track.frames[last],
        track.times[last],
        track.boxes[last],
        track.keypoints[last],
        track.observed[last],
    )
    assert whole.sum() == 3
    np.testing.assert_array_equal(found(posed, smpl[last], part), whole[last])


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_clips_of_a_few_frames(posed: PosedBody, frames: int) -> None:
    smpl = beating(frames)
    assert not found(posed, smpl, seen(posed, smpl)).any()


@pytest.fixture(scope="module")
def model() -> Hmr:
    return load_model(None, torch.device("cpu"), light=True)


@pytest.fixture(scope="module")
def truth() -> SmplParams:
    return beating(64)


@pytest.fixture(scope="module")
def track(posed: PosedBody, truth: SmplParams) -> Track:
    exact = seen(posed, truth)
    generator = np.random.default_rng(0)
    keypoints = exact.keypoints.copy()
    thrown = generator.random(keypoints.shape[:2]) < 0.08
    aside = 0.5 * PIXELS_PER_METRE * generator.normal(size=keypoints[..., :2].shape)
    keypoints[thrown, :2] += aside[thrown]
    return Track(0, exact.frames, exact.times, exact.boxes, keypoints, BLAZEPOSE23)


class TestSecondLook:
    """By the weights that come with the package, at somebody whose keypoints are thrown about."""

    def error(self, body: BodyModel, motion: BodyMotion, truth: SmplParams) -> tuple[float, float]:
        """Of joints as seen from the pelvis and of their acceleration, millimetres."""
        joints, exact = body.joints(motion.smpl), body.joints(truth)
        found = mpjpe(joints, exact).values.nanmean()
        return float(found), float(acceleration_error(joints, exact).values.nanmean())

    def test_is_nearer_and_steadier(
        self, model: Hmr, body: BodyModel, truth: SmplParams, track: Track
    ) -> None:
        twice = recover(model, body, track, CAMERA, 30.0)
        once = recover(model, body, track, CAMERA, 30.0, fit=Reprojection(jumps=None))
        (near, steady), (far, shaky) = (self.error(body, each, truth) for each in (twice, once))
        assert near < 0.9 * far and steady < 0.7 * shaky
        np.testing.assert_array_equal(twice.keypoints, track.keypoints)

    def test_goes_on_from_a_journal_to_the_same(
        self, model: Hmr, body: BodyModel, track: Track, tmp_path: Path
    ) -> None:
        def recovered(kept: float) -> BodyMotion:
            path = tmp_path / "journal"
            if path.exists():
                lines = path.read_bytes().splitlines(keepends=True)
                path.write_bytes(b"".join(lines[: int(kept * len(lines))]))
            with Journal(path, "key") as journal:
                return recover(model, body, track, CAMERA, 30.0, journal=journal)

        whole = recovered(1.0)
        for kept in (0.3, 0.8):
            assert torch.equal(recovered(kept).smpl.body_pose, whole.smpl.body_pose)

    def test_is_not_for_frames_by_themselves(
        self, model: Hmr, body: BodyModel, track: Track
    ) -> None:
        fits = Reprojection(), Reprojection(jumps=None)
        one, other = (recover(model, body, track, CAMERA, 30.0, False, fit=fit) for fit in fits)
        assert torch.equal(one.smpl.body_pose, other.smpl.body_pose)
