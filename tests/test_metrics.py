"""Metrics against their definitions, naive versions and motions whose answer is known."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import procrustes as scipy_procrustes
from scipy.spatial.transform import Rotation

from temporal_hmr import metrics
from temporal_hmr.skeleton import SMPL24

HIPS = SMPL24.indices("left_hip", "right_hip")


def clip(frames=12, joints=24, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(frames, joints, 3, generator=generator, dtype=torch.float64).to(dtype)


def random_similarities(count, seed=0):
    quaternions = np.random.default_rng(seed).normal(size=(count, 4))
    rotation = torch.from_numpy(Rotation.from_quat(quaternions).as_matrix())
    generator = torch.Generator().manual_seed(seed)
    scale = 0.5 + torch.rand(count, generator=generator, dtype=torch.float64)
    translation = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return metrics.Similarity(scale, rotation, translation)


def naive_similarity(source, target):
    """Kabsch by quaternions (Horn 1987): the largest eigenvector of his 4x4 matrix; one frame."""
    p, q = source - source.mean(0), target - target.mean(0)
    s = p.T @ q
    n = np.array(
        [
            [s[0, 0] + s[1, 1] + s[2, 2], s[1, 2] - s[2, 1], s[2, 0] - s[0, 2], s[0, 1] - s[1, 0]],
            [s[1, 2] - s[2, 1], s[0, 0] - s[1, 1] - s[2, 2], s[0, 1] + s[1, 0], s[2, 0] + s[0, 2]],
            [s[2, 0] - s[0, 2], s[0, 1] + s[1, 0], s[1, 1] - s[0, 0] - s[2, 2], s[1, 2] + s[2, 1]],
            [s[0, 1] - s[1, 0], s[2, 0] + s[0, 2], s[1, 2] + s[2, 1], s[2, 2] - s[0, 0] - s[1, 1]],
        ]
    )
    rotation = Rotation.from_quat(np.roll(np.linalg.eigh(n)[1][:, -1], -1)).as_matrix()
    turned = p @ rotation.T
    return (turned * q).sum() / (turned * turned).sum() * turned + target.mean(0)


def naive_differences(points, weights, valid):
    values = []
    for start in range(len(points) - len(weights) + 1):
        if all(valid[start : start + len(weights)]):
            total = np.zeros_like(points[0])
            for step, weight in enumerate(weights):
                total += weight * points[start + step]
            values.append(np.mean([np.sqrt((row**2).sum()) for row in total]))
    return np.array(values)


def test_mpjpe_is_the_mean_distance_from_the_root_in_millimetres():
    predicted, true = clip(seed=1), clip(seed=2)
    expected = []
    for p, q in zip(predicted.numpy(), true.numpy(), strict=True):
        shift = (p[1] + p[2]) / 2 - (q[1] + q[2]) / 2
        distances = [np.linalg.norm(a - shift - b) for a, b in zip(p, q, strict=True)]
        expected.append(1000 * np.mean(distances))
    np.testing.assert_allclose(metrics.mpjpe(predicted, true, HIPS), expected)


def test_mpjpe_ignores_where_the_body_stands_unless_told():
    true = clip()
    moved = true + torch.tensor([0.3, 0.0, 0.4])
    assert metrics.mpjpe(moved, true).max() < 1e-9
    np.testing.assert_allclose(metrics.mpjpe(moved, true, root=None), 500.0)


def test_default_root_is_the_pelvis():
    predicted, true = clip(seed=1), clip(seed=2)
    by_name = metrics.mpjpe(predicted, true, [SMPL24.index("pelvis")])
    assert torch.equal(metrics.mpjpe(predicted, true), by_name)


def test_pve_takes_each_body_from_its_own_root():
    predicted, true = clip(joints=50, seed=1), clip(joints=50, seed=2)
    roots = clip(joints=2, seed=3)
    first, second = roots[:, 0], roots[:, 1]
    expected = np.linalg.norm(
        (predicted - first[:, None]).numpy() - (true - second[:, None]).numpy(), axis=-1
    ).mean(-1)
    np.testing.assert_allclose(metrics.pve(predicted, true, first, second), 1000 * expected)


def test_pa_mpjpe_equals_horns_quaternion_solution():
    predicted, true = clip(seed=1), clip(seed=2)
    expected = [
        1000 * np.linalg.norm(naive_similarity(p, q) - q, axis=-1).mean()
        for p, q in zip(predicted.numpy(), true.numpy(), strict=True)
    ]
    np.testing.assert_allclose(metrics.pa_mpjpe(predicted, true), expected, rtol=1e-9)


def test_procrustes_residual_equals_scipys_where_no_reflection_is_wanted():
    true = clip(seed=2)
    predicted = true + 0.1 * clip(seed=1)
    for p, q in zip(predicted, true, strict=True):
        *_, disparity = scipy_procrustes(q.numpy(), p.numpy())
        residual = (metrics.procrustes(p, q)(p) - q).square().sum()
        assert float(residual / (q - q.mean(0)).square().sum()) == pytest.approx(disparity)


def test_similar_copies_have_no_error_after_procrustes():
    true = clip()
    similarity = random_similarities(len(true))
    assert metrics.pa_mpjpe(similarity(true), true).max() < 1e-9


def test_procrustes_finds_the_similarity_itself():
    source = clip()
    wanted = random_similarities(len(source), seed=4)
    found = metrics.procrustes(source, wanted(source))
    for name in ("scale", "rotation", "translation"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name))


def test_pa_mpjpe_does_not_depend_on_a_similarity_of_the_prediction():
    predicted, true = clip(seed=1), clip(seed=2)
    moved = random_similarities(len(true))(predicted)
    torch.testing.assert_close(metrics.pa_mpjpe(moved, true), metrics.pa_mpjpe(predicted, true))


def test_a_mirrored_copy_is_no_match():
    true = clip()
    mirrored = true * torch.tensor([-1.0, 1.0, 1.0])
    found = metrics.procrustes(mirrored, true)
    torch.testing.assert_close(torch.linalg.det(found.rotation), torch.ones(12).double())
    assert metrics.pa_mpjpe(mirrored, true).min() > 100


def test_flat_point_sets_are_rotated_not_reflected():
    flat = clip() * torch.tensor([1.0, 1.0, 0.0])
    moved = random_similarities(len(flat))(flat)
    found = metrics.procrustes(moved, flat)
    assert torch.linalg.det(found.rotation).min() > 0.999
    assert metrics.pa_mpjpe(moved, flat).max() < 1e-9


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_a_clip_of_two_or_three_frames_is_aligned_along_the_right_axis(frames):
    """The defect of a widely shared version: it takes a batch of 2 or 3 for the axis x, y, z."""
    predicted, true = clip(seed=1), clip(seed=2)
    alone = metrics.pa_mpjpe(predicted[:frames], true[:frames])
    torch.testing.assert_close(alone, metrics.pa_mpjpe(predicted, true)[:frames])
    assert metrics.pa_mpjpe(random_similarities(frames)(true[:frames]), true[:frames]).max() < 1e-9


def test_points_that_coincide_are_put_at_the_centroid_of_the_truth():
    true = clip()
    expected = 1000 * (true - true.mean(-2, keepdim=True)).norm(dim=-1).mean(-1)
    for place in (0.0, 0.1, 4.3):
        torch.testing.assert_close(metrics.pa_mpjpe(torch.full_like(true, place), true), expected)


def test_a_small_body_far_away_is_still_aligned():
    true = clip()
    assert metrics.pa_mpjpe(1e-6 * true + 1.0, true).max() < 1e-3


def test_nan_stays_in_its_frame():
    predicted, true = clip(seed=1), clip(seed=2)
    clean = metrics.pa_mpjpe(predicted, true)
    predicted[4, 2, 0] = torch.nan
    for value in (metrics.pa_mpjpe(predicted, true), metrics.mpjpe(predicted, true)):
        assert value.isnan().nonzero().flatten().tolist() == [4]
    others = torch.arange(12) != 4
    torch.testing.assert_close(metrics.pa_mpjpe(predicted, true)[others], clean[others])


def test_single_precision_input_is_compared_in_double():
    true = clip(dtype=torch.float32) * 0.3
    value = metrics.pa_mpjpe((2 * true.double() + 5).float(), true)
    assert value.dtype == torch.float64
    assert value.max() < 1e-2


def test_batch_axes_are_free():
    predicted, true = clip(seed=1), clip(seed=2)
    for metric in (metrics.mpjpe, metrics.pa_mpjpe):
        batched = metric(predicted.view(3, 4, 24, 3), true.view(3, 4, 24, 3))
        torch.testing.assert_close(batched.flatten(), metric(predicted, true))


def test_acceleration_of_a_falling_body_is_gravity():
    fps, gravity = 30.0, 9.81
    times = torch.arange(10, dtype=torch.float64) / fps
    points = torch.zeros(10, 24, 3, dtype=torch.float64)
    points[..., 1] = (2.0 + 3.0 * times - gravity / 2 * times**2)[:, None]
    torch.testing.assert_close(
        metrics.acceleration(points, fps), torch.full((8,), gravity).double()
    )
    np.testing.assert_allclose(metrics.acceleration(points), 1000 * gravity / fps**2)
    assert metrics.jitter(points, fps).max() < 1e-6


def test_jitter_of_a_cubic_motion_is_its_third_derivative():
    fps = 25.0
    times = torch.arange(9, dtype=torch.float64) / fps
    points = (times**3)[:, None, None] * torch.tensor([2.0, 0.0, 0.0]).double()
    np.testing.assert_allclose(metrics.jitter(points, fps), 6 * 2.0 / 10, rtol=1e-6)


def test_differences_of_a_sinusoid_have_their_closed_form():
    """The n-th difference of a sine is (2 sin(w / 2 fps))^n times its n-th derivative / w^n."""
    fps, omega, amplitude = 30.0, 2 * math.pi * 1.5, 0.2
    times = torch.arange(40, dtype=torch.float64) / fps
    points = torch.zeros(40, 1, 3, dtype=torch.float64)
    points[:, 0, 2] = amplitude * (omega * times).sin()
    step = 2 * math.sin(omega / fps / 2)
    second = (amplitude * step**2 * (omega * times[1:-1]).sin()).abs() * fps**2
    third = (amplitude * step**3 * (omega * (times[:-3] + 1.5 / fps)).cos()).abs() * fps**3 / 10
    torch.testing.assert_close(metrics.acceleration(points, fps), second)
    torch.testing.assert_close(metrics.jitter(points, fps), third)


def test_acceleration_error_is_of_root_relative_joints_and_needs_no_fps():
    predicted, true = clip(seed=1), clip(seed=2)
    everything = [True] * len(true)
    difference = (predicted - predicted[:, HIPS].mean(1, keepdim=True)) - (
        true - true[:, HIPS].mean(1, keepdim=True)
    )
    expected = naive_differences(difference.numpy(), (1, -2, 1), everything)
    np.testing.assert_allclose(metrics.acceleration_error(predicted, true, HIPS), 1000 * expected)
    per_second = metrics.acceleration_error(predicted, true, HIPS, fps=30)
    np.testing.assert_allclose(per_second, 900 * expected)


def test_acceleration_error_is_not_the_difference_of_accelerations():
    points = clip()
    assert metrics.acceleration_error(-points, points).min() > 0
    torch.testing.assert_close(
        metrics.acceleration_error(-points, points, root=None), 2 * metrics.acceleration(points)
    )


@pytest.mark.parametrize("gaps", [[5], [0, 11], [3, 4, 8], [1, 3, 5, 7, 9]])
def test_differences_never_cross_a_gap(gaps):
    points = clip()
    valid = torch.ones(12, dtype=torch.bool)
    valid[gaps] = False
    second = metrics.acceleration(points, valid=valid)
    third = metrics.jitter(points, 30, valid)
    np.testing.assert_allclose(
        second, 1000 * naive_differences(points.numpy(), (1, -2, 1), valid.tolist())
    )
    np.testing.assert_allclose(
        third, 2700 * naive_differences(points.numpy(), (-1, 3, -3, 1), valid.tolist())
    )
    points[gaps] = torch.nan
    torch.testing.assert_close(metrics.acceleration(points, valid=valid), second)


def test_a_gap_in_a_straight_walk_is_no_jump():
    points = torch.arange(20.0).double()[:, None, None] * torch.tensor([0.04, 0.0, 0.0])
    valid = torch.ones(20, dtype=torch.bool)
    valid[8:12] = False
    points[8:12] = 0
    assert metrics.acceleration(points, fps=30, valid=valid).max() < 1e-9
    assert metrics.jitter(points, 30, valid).max() < 1e-6


@pytest.mark.parametrize("frames", range(5))
def test_too_few_frames_give_no_value_and_their_mean_is_nan(frames):
    points = clip()[:frames]
    for values, needed in (
        (metrics.acceleration(points), 3),
        (metrics.acceleration_error(points, points), 3),
        (metrics.jitter(points, 30), 4),
    ):
        assert len(values) == max(frames - needed + 1, 0)
        assert values.mean().isnan() == (frames < needed)
    nobody = torch.zeros(frames, dtype=torch.bool)
    assert len(metrics.acceleration(points, valid=nobody)) == 0


def test_a_mask_of_another_length_is_refused():
    with pytest.raises(ValueError, match="12 frames"):
        metrics.jitter(clip(), 30, torch.ones(11, dtype=torch.bool))
