"""Losses pinned by hand-computed values, and the laws they keep."""

from dataclasses import replace

import pytest
import torch

from temporal_hmr.batch import BodyPrediction, BodyTarget, CropWindow
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.synthetic import exact_target
from temporal_hmr.losses import (
    body_losses,
    joint_error,
    keypoint_error,
    masked_mean,
    placement_error,
    rotation_error,
    smoothness_losses,
)
from temporal_hmr.rotation import axis_angle_to_matrix

FRAMES = 5


def still_body() -> SmplParams:
    rotations = torch.eye(3).expand(1, FRAMES, 24, 3, 3)
    transl = torch.tensor([0.0, 0.0, 4.0]).expand(1, FRAMES, 3)
    return SmplParams.from_rotations(rotations, torch.zeros(1, FRAMES, 10), transl)


def a_batch() -> tuple[BodyPrediction, BodyTarget, CropWindow]:
    torch.manual_seed(0)
    joints = torch.randn(1, 1, 24, 3).expand(1, FRAMES, 24, 3) * 0.3 + torch.tensor([0.0, 0, 4])
    keypoints = torch.rand(1, FRAMES, 23, 2)
    window = CropWindow(
        keypoints=keypoints,
        scores=torch.ones(1, FRAMES, 23),
        box_center=torch.zeros(1, FRAMES, 2),
        box_size=torch.ones(1, FRAMES),
        focal=torch.ones(1, 2),
        center=torch.zeros(1, 2),
        times=torch.arange(FRAMES)[None] / 30,
        valid=torch.ones(1, FRAMES, dtype=torch.bool),
    )
    prediction = BodyPrediction(still_body(), joints, joints[..., :23, :], keypoints)
    return prediction, exact_target(still_body(), joints, keypoints), window


def test_truth_costs_nothing() -> None:
    prediction, target, window = a_batch()
    terms = body_losses(prediction, target, window) | smoothness_losses(prediction, target, window)
    assert {name: float(term) for name, term in terms.items()} == dict.fromkeys(terms, 0.0)


def test_rotation_error_of_a_known_angle() -> None:
    """||R - I||^2 = 4 (1 - cos a): at 60 degrees 2, halved for the root's share."""
    turned = torch.eye(3).repeat(1, FRAMES, 24, 1, 1)
    turned[:, :, 0] = axis_angle_to_matrix(torch.tensor([0.0, torch.pi / 3, 0.0]))
    body = still_body()
    predicted = SmplParams.from_rotations(turned, body.betas, body.transl)
    torch.testing.assert_close(rotation_error(predicted, body), torch.full((1, FRAMES), 1.0))


def test_joint_error_ignores_where_the_pelvis_is() -> None:
    prediction, target, _ = a_batch()
    moved = prediction.joints + torch.tensor([1.0, 2.0, 3.0])
    assert float(joint_error(moved, target.joints).max()) < 1e-6
    one_off = target.joints.clone()
    one_off[..., 7, :] += torch.tensor([0.03, 0.0, 0.04])
    expected = torch.zeros(1, FRAMES, 24)
    expected[..., 7] = 0.05
    torch.testing.assert_close(joint_error(one_off, target.joints), expected, atol=1e-6, rtol=0)


def test_keypoint_error_is_linear_beyond_its_knee() -> None:
    true = torch.zeros(1, 1, 23, 2)
    off = true + torch.tensor([0.3, 0.4])
    torch.testing.assert_close(keypoint_error(off, true), torch.full((1, 1, 23), 0.5 - 0.01))


def test_placement_error_sideways_and_in_depth() -> None:
    _, target, _ = a_batch()
    double = target.joints.clone()
    double[..., 2] *= 2
    expected = torch.full((1, FRAMES), torch.tensor(2.0).log().item())
    torch.testing.assert_close(placement_error(double, target.joints), expected)


def test_smoothness_of_a_single_jump() -> None:
    """One joint off by d in the middle frame: |velocity| error d, d; |acceleration| d, 2d, d."""
    prediction, target, window = a_batch()
    joints = target.joints.clone()
    joints[:, 2, 7, 0] += 0.25
    terms = smoothness_losses(replace(prediction, joints=joints), target, window)
    # 24 joints and the pelvis's path; 4 velocities, 3 accelerations.
    assert float(terms["velocity"]) == pytest.approx(2 * 0.25 / 25 / 4, rel=1e-4)
    assert float(terms["acceleration"]) == pytest.approx(4 * 0.25 / 25 / 3, rel=1e-4)


def test_a_constant_offset_is_smooth() -> None:
    prediction, target, window = a_batch()
    moved = replace(prediction, joints=prediction.joints + 0.1)
    terms = smoothness_losses(moved, target, window)
    assert float(terms["velocity"]) < 1e-6


def test_padding_does_not_count() -> None:
    prediction, target, window = a_batch()
    valid = window.valid.clone()
    valid[:, 3:] = False
    wild = prediction.joints.clone()
    wild[:, 3:] = 100.0
    padded = replace(window, valid=valid)
    terms = smoothness_losses(replace(prediction, joints=wild), target, padded)
    terms |= body_losses(replace(prediction, joints=wild), target, padded)
    assert all(float(term) == 0 for term in terms.values())


def test_unlabelled_clips_teach_nothing_in_3d() -> None:
    prediction, target, window = a_batch()
    unknown = replace(target, has_smpl=~target.has_smpl, has_joints=~target.has_joints)
    wrong = replace(prediction, joints=-prediction.joints, keypoints=prediction.keypoints + 1)
    terms = body_losses(wrong, unknown, window) | smoothness_losses(wrong, unknown, window)
    assert {name for name, term in terms.items() if float(term) > 0} == {"keypoints"}


def test_joints_and_keypoints_that_are_unknown_teach_nothing() -> None:
    """Joint by joint; without the pelvis nothing can be seen from it."""
    prediction, target, window = a_batch()
    joints, keypoints = target.has_joints.clone(), target.has_keypoints.clone()
    joints[..., 7], keypoints[..., 5] = False, False
    some = replace(target, has_joints=joints, has_keypoints=keypoints)
    wrong = replace(
        prediction, joints=prediction.joints.clone(), keypoints=prediction.keypoints.clone()
    )
    wrong.joints[:, 2, 7] += 9.0
    wrong.keypoints[..., 5, :] += 9.0
    terms = body_losses(wrong, some, window) | smoothness_losses(wrong, some, window)
    assert all(float(term) == 0 for term in terms.values())
    wrong.joints[:, 2, 8] += 9.0
    assert float(body_losses(wrong, some, window)["joints"]) == pytest.approx(9 * 3**0.5 / 23 / 5)
    joints[..., 0] = False
    terms = body_losses(wrong, some, window) | smoothness_losses(wrong, some, window)
    assert all(float(term) == 0 for term in terms.values())


def test_batch_is_left_as_it_was() -> None:
    """TokenHMR's threshold-adaptive loss multiplies confidences inside the batch it is given."""
    prediction, target, window = a_batch()
    before = [tensor.clone() for tensor in vars(window).values() if tensor is not None]
    body_losses(prediction, target, window)
    smoothness_losses(prediction, target, window)
    after = [tensor for tensor in vars(window).values() if tensor is not None]
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old, new)


def test_mean_of_nothing_is_zero() -> None:
    values = torch.tensor([torch.nan, 1.0], requires_grad=True)
    mean = masked_mean(values, torch.tensor([False, False]))
    mean.backward()
    assert float(mean.detach()) == 0
    assert torch.equal(values.grad, torch.zeros(2))
