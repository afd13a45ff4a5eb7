"""Keypoints put in where they were missing for moments."""

from pathlib import Path

import numpy as np
import pytest
import torch
from beating import CAMERA, beating, seen
from numpy import ndarray
from torch import Tensor

from temporal_hmr import recover as recovering
from temporal_hmr.body.model import BodyModel
from temporal_hmr.bridging import TRUST, bridged
from temporal_hmr.clip_windows import FilledTrack
from temporal_hmr.metrics import mpjpe
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.motion import Track
from temporal_hmr.on_disk import FRAMES_AT_ONCE
from temporal_hmr.recover import load_model, recover
from temporal_hmr.skeleton import BLAZEPOSE23

LONGEST = 0.5


def passing(frames: int, fps: float = 30.0) -> FilledTrack:
    """Three keypoints that move straight on, each at its own speed and confidence."""
    seconds = np.arange(frames) / fps
    speed = np.array([[100.0, 0.0], [-30.0, 50.0], [5.0, -80.0]])
    pixels = 500 + seconds[:, None, None] * speed
    confidence = np.broadcast_to([[[1.0], [0.8], [0.4]]], (frames, 3, 1))
    keypoints = np.concatenate([pixels, confidence], -1).astype(np.float32)
    boxes = np.tile(np.array([0, 0, 1000, 1000], np.float32), (frames, 1))
    return FilledTrack(np.arange(frames), seconds, boxes, keypoints, np.ones(frames, bool))


def without(track: FilledTrack, joint: int, *frames: slice) -> FilledTrack:
    gone = np.zeros(track.keypoints.shape[:2], bool)
    for some in frames:
        gone[some, joint] = True
    return track.without(gone)


def test_what_moves_straight_on_is_put_where_it_was() -> None:
    track = passing(60)
    gaps = (slice(10, 11), slice(20, 34))
    found = bridged(without(track, 1, *gaps), LONGEST).keypoints
    np.testing.assert_allclose(found[..., :2], track.keypoints[..., :2], atol=1e-3)
    for gap in gaps:
        np.testing.assert_allclose(found[gap, 1, 2], TRUST * 0.8, rtol=1e-6)


def test_what_was_seen_stays_to_the_last_bit() -> None:
    track = without(passing(60), 0, slice(5, 9))
    found = bridged(track, LONGEST).keypoints
    known = track.keypoints[..., 2] > 0
    np.testing.assert_array_equal(found[known], track.keypoints[known])


@pytest.mark.parametrize("gap", [slice(0, 6), slice(50, 60), slice(20, 36)])
def test_what_was_not_yet_or_no_longer_seen_or_for_too_long_is_left_alone(gap: slice) -> None:
    track = without(passing(60), 2, gap)
    np.testing.assert_array_equal(bridged(track, LONGEST).keypoints, track.keypoints)


def test_gaps_are_measured_in_seconds() -> None:
    """Of 20 frames: two thirds of a second at 30 frames a second, a third at 60."""
    for fps, filled in ((30.0, False), (60.0, True)):
        track = without(passing(60, fps), 0, slice(20, 40))
        assert (bridged(track, LONGEST).keypoints[20:40, 0, 2] > 0).all() == filled


def test_who_is_less_sure_says_how_far_to_believe_what_is_between() -> None:
    track = passing(30)
    track.keypoints[14, 0, 2] = 0.1
    found = bridged(without(track, 0, slice(15, 18)), LONGEST).keypoints
    np.testing.assert_allclose(found[15:18, 0, 2], TRUST * 0.1, rtol=1e-6)


def test_beside_a_body_it_moves_as_the_body_does() -> None:
    """A base that swings: what is put in swings with it, a constant offset beside."""
    track, seconds = passing(60), np.arange(60) / 30
    swing = (50 * np.sin(12 * seconds)).astype(np.float32)
    track.keypoints[:, 0, 0] = 300 + swing
    gone = without(track, 0, slice(20, 30))

    def base(part: slice) -> ndarray:
        pixels = np.zeros((part.stop - part.start, 3, 2), np.float32)
        pixels[:, 0, 0] = 280 + swing[part]
        return pixels

    beside, alone = bridged(gone, LONGEST, base).keypoints, bridged(gone, LONGEST).keypoints
    np.testing.assert_allclose(beside[..., :2], track.keypoints[..., :2], atol=1e-3)
    assert np.abs(alone - track.keypoints)[20:30, 0, 0].max() > 30


def test_parts_of_long_tracks_meet_without_a_seam(tmp_path: Path) -> None:
    frames = FRAMES_AT_ONCE + 100
    track, missing = passing(frames), np.random.default_rng(0).random((frames, 3)) < 0.3
    missing[FRAMES_AT_ONCE - 9 : FRAMES_AT_ONCE + 5, 1] = np.array([0, *12 * [1], 0], bool)
    found = bridged(track.without(missing), LONGEST, folder=tmp_path).keypoints
    inner = slice(5, -5)
    np.testing.assert_allclose(
        found[inner, :, :2], track.keypoints[inner, :, :2], rtol=1e-5, atol=1e-2
    )
    assert not list(tmp_path.iterdir())


def test_nothing_is_copied_where_nothing_is_missing() -> None:
    track = passing(10)
    assert bridged(track, LONGEST) is track


def test_single_frames_and_nothing_at_all_pass() -> None:
    one = passing(1)
    never = one.without(np.ones((1, 3), bool))
    np.testing.assert_array_equal(bridged(never, LONGEST).keypoints, never.keypoints)


def test_bodies_differ_less_where_a_third_of_the_keypoints_comes_and_goes(
    posed: PosedBody, body: BodyModel, monkeypatch
) -> None:
    """By the weights that come with the package, before bodies are moved: 42 to 62 mm. Else 77."""
    truth, model = beating(64), load_model(None, torch.device("cpu"), light=True)
    whole = seen(posed, truth)
    gone = whole.without(np.random.default_rng(0).random(whole.keypoints.shape[:2]) < 0.33)

    def joints(track: FilledTrack) -> Tensor:
        found = Track(0, track.frames, track.times, track.boxes, track.keypoints, BLAZEPOSE23)
        return body.joints(recover(model, body, found, CAMERA, 30.0, fit=None).smpl)

    def error(track: FilledTrack) -> float:
        return float(mpjpe(joints(track), body.joints(truth)).values.nanmean())

    best, bridged_over = error(whole), error(gone)
    monkeypatch.setattr(recovering, "bridged", lambda track, *_: track)
    assert best < 47 and bridged_over < 62.4
    assert bridged_over < error(gone) - 12
