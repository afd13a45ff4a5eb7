"""INT's losses pinned by hand-computed values: what is a mean over what."""

import copy
from dataclasses import fields, replace

import pytest
import torch

from temporal_hmr.losses_int import (
    SPIN49,
    IntLossWeights,
    IntPosed,
    IntTarget,
    int_losses,
    known_square,
    mixed_batches,
    parameter_norm,
    reconstruction_error,
    relative_to_hips,
    velocity_error,
    weighted_square,
    weighted_sum,
)
from temporal_hmr.rotation import axis_angle_to_matrix

BATCH, FRAMES = 2, 3
HIPS = SPIN49.indices("right_hip", "left_hip")


def a_target() -> IntTarget:
    torch.manual_seed(0)
    return IntTarget(
        keypoints=torch.rand(BATCH, FRAMES, 49, 2),
        keypoint_confidence=torch.ones(BATCH, FRAMES, 49),
        joints=torch.randn(BATCH, FRAMES, 49, 3),
        joint_confidence=torch.ones(BATCH, FRAMES, 49),
        rotations=axis_angle_to_matrix(0.3 * torch.randn(BATCH, FRAMES, 24, 3)),
        betas=torch.randn(BATCH, FRAMES, 10),
        has_smpl=torch.ones(BATCH, FRAMES, dtype=torch.bool),
    )


def the_truth(target: IntTarget) -> IntPosed:
    return IntPosed(target.keypoints, target.joints, target.rotations, target.betas)


def test_the_truth_costs_its_norm_only() -> None:
    target = a_target()
    terms = int_losses(the_truth(target), target)
    assert terms.pop("norm") > 0
    assert {name: float(term) for name, term in terms.items()} == dict.fromkeys(terms, 0.0)


def test_keypoints_are_a_mean_over_all_entries() -> None:
    """One coordinate of one joint off by 0.5: 0.25 over 2 x 3 x 49 x 2 entries."""
    target = a_target()
    keypoints = target.keypoints.clone()
    keypoints[0, 1, 7, 0] += 0.5
    term = int_losses(replace(the_truth(target), keypoints=keypoints), target)["keypoints"]
    assert float(term) == pytest.approx(0.25 / (2 * 3 * 49 * 2), rel=1e-5)


def test_confidence_multiplies_and_does_not_shrink_the_mean() -> None:
    """Half the joints unknown halve the loss: the published mean counts them."""
    predicted, true = torch.ones(4, 10, 3), torch.zeros(4, 10, 3)
    confidence = torch.ones(4, 10)
    confidence[:, 5:] = 0
    assert float(weighted_square(predicted, true, confidence)) == pytest.approx(0.5)
    confidence[:, :5] = 0.3
    assert float(weighted_square(predicted, true, confidence)) == pytest.approx(0.15)


def test_joints_are_relative_to_the_middle_of_the_annotated_hips() -> None:
    assert HIPS == [27, 28]
    target = a_target()
    moved = replace(the_truth(target), joints=target.joints + torch.tensor([1.0, -2.0, 30.0]))
    assert float(int_losses(moved, target)["joints"]) == pytest.approx(0, abs=1e-10)
    joints = target.joints.clone()
    joints[..., HIPS[0], 0] += 0.2
    # The root moves by 0.1: one hip is off by 0.1 and 48 joints by -0.1, in one of 3 coordinates.
    term = int_losses(replace(the_truth(target), joints=joints), target)["joints"]
    assert float(term) == pytest.approx(0.01 / 3, rel=1e-4)
    assert float(relative_to_hips(joints)[..., HIPS, :].mean(-2).abs().max()) < 1e-6


def test_pose_of_a_known_angle_on_frames_that_know_it() -> None:
    """||R - I||^2 = 4 (1 - cos a): 2 at 60 degrees, on one of 24 joints of every frame."""
    target = replace(a_target(), rotations=torch.eye(3).repeat(BATCH, FRAMES, 24, 1, 1))
    rotations = target.rotations.clone()
    rotations[:, :, 4] = axis_angle_to_matrix(torch.tensor([0.0, torch.pi / 3, 0.0]))
    posed = replace(the_truth(target), rotations=rotations)
    assert float(int_losses(posed, target)["pose"]) == pytest.approx(2 / (24 * 9), rel=1e-5)
    # Frames without truth leave the mean: it stays the same over those that are left.
    has_smpl = target.has_smpl.clone()
    has_smpl[1] = False
    rotations[1] = -1.0
    term = int_losses(posed, replace(target, has_smpl=has_smpl))["pose"]
    assert float(term) == pytest.approx(2 / (24 * 9), rel=1e-5)


def test_shape_is_a_mean_over_known_betas() -> None:
    known = torch.tensor([[True, False]])
    predicted, true = torch.zeros(1, 2, 10), torch.zeros(1, 2, 10)
    true[0, 0, 0], true[0, 1] = 2.0, 100.0
    assert float(known_square(predicted, true, known)) == pytest.approx(0.4)


def test_norm_is_one_length_over_the_number_of_frames() -> None:
    """Two frames, one of them turned by 3 radians, the other with a beta of 4: 5 / 2."""
    rotations = torch.eye(3).repeat(1, 2, 24, 1, 1)
    rotations[0, 0, 5] = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 3.0]))
    betas = torch.zeros(1, 2, 10)
    betas[0, 1, 3] = 4.0
    assert float(parameter_norm(rotations, betas)) == pytest.approx(2.5, rel=1e-5)


def test_norm_has_gradients_at_rest() -> None:
    rotations = torch.eye(3).repeat(1, 2, 24, 1, 1).requires_grad_()
    betas = torch.zeros(1, 2, 10, requires_grad=True)
    parameter_norm(rotations, betas).backward()
    assert rotations.grad is not None
    assert betas.grad is not None
    assert torch.isfinite(rotations.grad).all()
    assert torch.isfinite(betas.grad).all()


def test_velocity_by_hand() -> None:
    """One coordinate is off by 0.3 in the middle of 3 frames: two wrong steps."""
    true = torch.zeros(1, 3, 2, 3)
    predicted = true.clone()
    predicted[0, 1, 0, 0] = 0.3
    confidence = torch.ones(1, 3, 2)
    expected = 2 * 0.09 / (2 * 2 * 3)
    assert float(velocity_error(predicted, true, confidence)) == pytest.approx(expected, rel=1e-5)
    confidence[0, 0, 0] = 0.5
    assert float(velocity_error(predicted, true, confidence)) == pytest.approx(
        0.75 * expected, rel=1e-5
    )
    confidence[0, 1, 0] = 0.0
    assert float(velocity_error(predicted, true, confidence)) == 0.0


def test_velocity_asks_for_the_true_motion_not_for_rest() -> None:
    true = torch.arange(4.0)[None, :, None, None].expand(1, 4, 5, 3)
    confidence = torch.ones(1, 4, 5)
    assert float(velocity_error(true + 7, true, confidence)) == 0.0
    assert float(velocity_error(torch.zeros_like(true), true, confidence)) == pytest.approx(1.0)


def test_images_have_no_velocity() -> None:
    predicted = torch.randn(5, 1, 49, 3, requires_grad=True)
    term = velocity_error(predicted, torch.randn(5, 1, 49, 3), torch.ones(5, 1, 49))
    term.backward()
    assert float(term.detach()) == 0.0


def test_reconstruction_looks_at_hidden_tokens_only() -> None:
    """The released code compared all positions, and so asked for the identity above all."""
    hidden = torch.zeros(1, 2, 24, dtype=torch.bool)
    hidden[0, 1, 3] = True
    alone = torch.zeros(2, 24, 8, requires_grad=True)
    mixed = torch.full((2, 24, 8), 5.0, requires_grad=True)
    term = reconstruction_error(mixed + 0.0, alone, hidden)
    assert float(term.detach()) == pytest.approx(25.0)
    term.backward()
    assert alone.grad is None, "the target stays where it is"
    assert mixed.grad is not None
    assert int((mixed.grad.abs().sum(-1) > 0).sum()) == 1
    assert not reconstruction_error(mixed, alone, torch.zeros_like(hidden))


def test_nothing_unknown_is_read() -> None:
    """Not even a NaN: 0 times NaN would be NaN."""
    target = a_target()
    for name in ("keypoints", "joints", "rotations", "betas"):
        getattr(target, name)[1] = torch.nan
    target.keypoint_confidence[1] = 0
    target.has_smpl[1] = False
    # (A known joint of unknown hips has no root to be seen from: whole frames are unknown.)
    target.joint_confidence[1] = 0
    posed = the_truth(a_target())
    posed = IntPosed(*(getattr(posed, field.name).requires_grad_() for field in fields(posed)))
    total = weighted_sum(int_losses(posed, target), IntLossWeights(velocity=600.0))
    total.backward()
    assert torch.isfinite(total)
    for field in fields(posed):
        gradient = getattr(posed, field.name).grad
        assert torch.isfinite(gradient).all(), field.name


def test_a_batch_without_truth_has_losses_of_zero() -> None:
    target = a_target()
    target = replace(
        target,
        keypoint_confidence=0 * target.keypoint_confidence,
        joint_confidence=0 * target.joint_confidence,
        has_smpl=~target.has_smpl,
    )
    terms = int_losses(replace(the_truth(a_target()), betas=torch.ones(2, 3, 10)), target)
    assert terms.pop("norm") > 0
    assert all(float(term) == 0 for term in terms.values())


def test_losses_leave_the_batch_alone() -> None:
    target = a_target()
    target.keypoint_confidence[0, 0] = 0
    before = copy.deepcopy(target)
    int_losses(the_truth(a_target()), target)
    for field in fields(target):
        assert torch.equal(getattr(target, field.name), getattr(before, field.name)), field.name


def test_published_weights() -> None:
    weights = IntLossWeights()
    names = ("keypoints", "joints", "pose", "shape", "norm", "velocity")
    terms = {name: torch.tensor(1.0) for name in names}
    assert float(weighted_sum(terms, weights)) == pytest.approx(300 + 600 + 60 + 0.06 + 1.0)
    assert names == tuple(int_losses(the_truth(a_target()), a_target()))


def test_images_and_video_count_by_their_frames() -> None:
    """7 clips of 16 frames and 7 images: 112 to 7."""
    both = mixed_batches(torch.tensor(1.0), torch.tensor(0.0), (112, 7))
    assert float(both) == pytest.approx(112 / 119)
