"""Bodies moved onto detected keypoints."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.clip_windows import FilledTrack
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.reprojection import CORE, MARGIN, Reprojection, fit_to_keypoints
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23, SMPL24, Skeleton

FRAMES = 24
CAMERA = Camera.with_focal(1000.0, 1280, 960)


@pytest.fixture(scope="module")
def body() -> PosedBody:
    return PosedBody(load_body())


def swinging(frames: int) -> SmplParams:
    """Somebody who swings arms and legs while walking across, four metres away."""
    seconds = torch.arange(frames) / 30
    turns = torch.zeros(frames, 24, 3)
    for joint, axis, size in (
        ("left_shoulder", 1, 0.5),
        ("right_shoulder", 1, -0.5),
        ("left_hip", 0, 0.5),
        ("right_hip", 0, -0.5),
        ("left_knee", 0, 0.3),
    ):
        turns[:, SMPL24.index(joint), axis] = size * torch.sin(4 * seconds)
    turns[:, 0, 0] = torch.pi  # upright in a camera whose y points down
    betas = torch.linspace(-1, 1, 10).expand(frames, 10)
    transl = torch.stack([0.3 * torch.sin(seconds), 0.05 * torch.cos(seconds), 4 + 0 * seconds], -1)
    return SmplParams.from_rotations(axis_angle_to_matrix(turns), betas, transl)


def seen(body: PosedBody, smpl: SmplParams, skeleton: Skeleton = COCO23) -> FilledTrack:
    """Its keypoints, exactly."""
    points = CAMERA.project(body.body.regress(smpl, body.points_of(skeleton)))
    keypoints = torch.cat([points, torch.ones_like(points[..., :1])], -1).numpy()
    frames = np.arange(len(keypoints))
    boxes = np.concatenate([keypoints[..., :2].min(1), keypoints[..., :2].max(1)], 1)
    return FilledTrack(frames, frames / 30, boxes, keypoints, np.ones(len(frames), bool))


@pytest.fixture(scope="module")
def truth() -> SmplParams:
    return swinging(FRAMES)


@pytest.fixture(scope="module")
def track(body: PosedBody, truth: SmplParams) -> FilledTrack:
    return seen(body, truth)


def displaced(truth: SmplParams) -> SmplParams:
    """Arms and legs some ten degrees off, the same way throughout."""
    turns = torch.zeros(24, 3)
    for joint, about in (("left_shoulder", 1), ("right_elbow", 1), ("left_hip", 0), ("neck", 2)):
        turns[SMPL24.index(joint), about] = 0.2
    rotations = truth.rotations() @ axis_angle_to_matrix(turns)
    return SmplParams.from_rotations(rotations, truth.betas, truth.transl)


def rooted(body: PosedBody, smpl: SmplParams) -> torch.Tensor:
    joints = body.body.joints(smpl)
    return joints - joints[:, :1]


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b, dim=-1).mean())


def changed(track: FilledTrack, **parts) -> FilledTrack:
    return replace(track, **parts)


def test_what_is_right_stays(body: PosedBody, truth: SmplParams, track: FilledTrack) -> None:
    fitted = fit_to_keypoints(truth, track, CAMERA, body)
    torch.testing.assert_close(fitted.rotations(), truth.rotations(), atol=1e-2, rtol=0)
    torch.testing.assert_close(fitted.transl, truth.transl, atol=0.02, rtol=0)


def test_a_body_beside_its_keypoints_comes_to_lie_on_them(
    body: PosedBody, truth: SmplParams, track: FilledTrack
) -> None:
    """In the picture by far, and in space as well."""
    first = displaced(truth)
    fitted = fit_to_keypoints(first, track, CAMERA, body)
    pictures = [
        torch.from_numpy(seen(body, smpl).keypoints[..., :2]) for smpl in (first, fitted, truth)
    ]
    assert error(pictures[1], pictures[2]) < 0.1 * error(pictures[0], pictures[2])
    joints = [rooted(body, smpl) for smpl in (first, fitted, truth)]
    assert error(joints[1], joints[2]) < 0.5 * error(joints[0], joints[2])


def test_another_shape_is_found(body: PosedBody, truth: SmplParams, track: FilledTrack) -> None:
    """One for all frames, nearer to the truth than the first."""
    first = replace(truth, betas=torch.zeros_like(truth.betas))
    fitted = fit_to_keypoints(first, track, CAMERA, body)
    assert (fitted.betas == fitted.betas[:1]).all()
    bones = [rooted(body, each) for each in (first, fitted, truth)]
    assert error(bones[1], bones[2]) < 0.6 * error(bones[0], bones[2])


def test_who_is_not_seen_stays_as_the_model_has_them(
    body: PosedBody, truth: SmplParams, track: FilledTrack
) -> None:
    first = displaced(truth)
    blind = changed(track, keypoints=np.zeros_like(track.keypoints))
    fitted = fit_to_keypoints(first, blind, CAMERA, body)
    torch.testing.assert_close(fitted.rotations(), first.rotations(), atol=1e-5, rtol=0)
    torch.testing.assert_close(fitted.transl, first.transl, atol=0.02, rtol=0)
    assert torch.equal(fitted.betas, first.betas)


def test_frames_unseen_follow_their_neighbours(
    body: PosedBody, truth: SmplParams, track: FilledTrack
) -> None:
    """An error that lasts is mended in a gap as well, beside what the network says there."""
    first, keypoints = displaced(truth), track.keypoints.copy()
    keypoints[10:14] = 0
    fitted = fit_to_keypoints(first, changed(track, keypoints=keypoints), CAMERA, body)
    off, left = (
        error(rooted(body, each)[10:14], rooted(body, truth)[10:14]) for each in (first, fitted)
    )
    assert left < 0.6 * off


def test_one_wild_keypoint_does_not_carry_the_arm_off(
    body: PosedBody, truth: SmplParams, track: FilledTrack
) -> None:
    keypoints = track.keypoints.copy()
    keypoints[11, COCO23.index("left_wrist"), :2] += (250, -250)
    fitted = fit_to_keypoints(truth, changed(track, keypoints=keypoints), CAMERA, body)
    moved = torch.linalg.vector_norm(rooted(body, fitted) - rooted(body, truth), dim=-1)
    assert float(moved[11].max()) < 0.1 and float(moved[16:].max()) < 0.03


def test_trembling_keypoints_are_not_followed(
    body: PosedBody, truth: SmplParams, track: FilledTrack
) -> None:
    """Less than frame by frame, by far."""
    keypoints = track.keypoints.copy()
    keypoints[..., :2] += 6 * np.random.default_rng(0).normal(size=keypoints[..., :2].shape)
    shaken, usual = changed(track, keypoints=keypoints), Reprojection()

    def tremble(settings: Reprojection) -> float:
        fitted = fit_to_keypoints(truth, shaken, CAMERA, body, settings=settings)
        off = body.body.joints(fitted) - body.body.joints(truth)
        return float((off[2:] - 2 * off[1:-1] + off[:-2]).norm(dim=-1).mean())

    assert tremble(usual) < 0.1 * tremble(usual.by_frame())


def test_a_trembling_network_is_calmed_where_keypoints_tremble(
    body: PosedBody, truth: SmplParams, track: FilledTrack
) -> None:
    """What made it tremble is in the picture; what is seen exactly may tremble in truth."""
    generator = torch.Generator().manual_seed(1)
    shaken = 0.05 * torch.randn(FRAMES, 24, 3, generator=generator)
    first = SmplParams.from_rotations(
        truth.rotations() @ axis_angle_to_matrix(shaken), truth.betas, truth.transl
    )
    keypoints = track.keypoints.copy()
    keypoints[..., :2] += 6 * np.random.default_rng(0).normal(size=keypoints[..., :2].shape)
    trembling = changed(track, keypoints=keypoints)

    def tremble(settings: Reprojection) -> float:
        joints = rooted(body, fit_to_keypoints(first, trembling, CAMERA, body, settings=settings))
        return float(torch.diff(joints, n=3, dim=0).norm(dim=-1).mean())

    assert tremble(Reprojection()) < 0.8 * tremble(Reprojection(calm_trembling=0.0))


def test_blazeposes_points_are_taken_for_what_they_are(body: PosedBody, truth: SmplParams) -> None:
    """The truth seen by BlazePose stays the truth only for whoever knows who saw it."""
    track = seen(body, truth, BLAZEPOSE23)
    right, wrong = (
        rooted(body, fit_to_keypoints(truth, track, CAMERA, body, skeleton))
        for skeleton in (BLAZEPOSE23, COCO23)
    )
    assert error(right, rooted(body, truth)) < 0.003
    assert error(wrong, rooted(body, truth)) > 0.01


def test_a_long_clip_is_fitted_as_if_at_once(
    body: PosedBody, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the parts meet nothing is felt of it: 1e-4, as rotation matrices and metres."""
    truth = swinging(CORE + 200)
    track, first = seen(body, truth), displaced(truth)
    parted = fit_to_keypoints(first, track, CAMERA, body)
    monkeypatch.setattr("temporal_hmr.reprojection.CORE", 2 * CORE)
    whole = fit_to_keypoints(first, track, CAMERA, body)
    torch.testing.assert_close(parted.rotations(), whole.rotations(), atol=1e-4, rtol=0)
    torch.testing.assert_close(parted.transl, whole.transl, atol=1e-4, rtol=0)
    assert MARGIN < CORE


def test_clips_of_one_and_two_frames(
    body: PosedBody, truth: SmplParams, track: FilledTrack
) -> None:
    for frames in (1, 2):
        part = np.arange(frames)
        fitted = fit_to_keypoints(displaced(truth)[:frames], track.at(part), CAMERA, body)
        assert torch.isfinite(fitted.rotations()).all() and len(fitted.transl) == frames


def test_answers_made_for_inference_can_be_fitted(
    body: PosedBody, truth: SmplParams, track: FilledTrack
) -> None:
    with torch.inference_mode():
        first = displaced(truth)
        inside = fit_to_keypoints(first, track, CAMERA, body)
    outside = fit_to_keypoints(first, track, CAMERA, body)
    assert torch.equal(inside.rotations(), outside.rotations())


def test_the_first_answer_is_left_alone(
    body: PosedBody, truth: SmplParams, track: FilledTrack
) -> None:
    first = displaced(truth)
    kept = first.map(torch.clone)
    fit_to_keypoints(first, track, CAMERA, body)
    assert torch.equal(first.rotations(), kept.rotations()) and torch.equal(
        first.transl, kept.transl
    )
