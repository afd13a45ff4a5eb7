"""Differences in time: motions whose answer is known, gaps, and the field's variants."""

import math

import numpy as np
import pytest
import torch
from metric_cases import FPS, GAP_CASES, HIPS, assert_counted, clip, mask, scene

from temporal_hmr import metrics
from temporal_hmr.skeleton import SMPL24

GAPS = [[], [5], [0, 11], [3, 4, 8], [1, 3, 5, 7, 9]]
SMOOTHNESS = ["acceleration_error", "acceleration", "jitter", "foot_sliding"]


@pytest.mark.parametrize("crossing", [False, True])
@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("name", SMOOTHNESS)
def test_differences_equal_the_naive_version(name, gaps, crossing):
    case, clips, valid = GAP_CASES[name], scene(), mask(12, gaps)
    result = case.ours(clips, valid=valid, gaps="crossing" if crossing else "safe")
    assert_counted(result, case.naive(clips.map(torch.Tensor.numpy), valid.tolist(), crossing))


def falling(frames=10, fps=30.0, gravity=9.81):
    times = torch.arange(frames, dtype=torch.float64) / fps
    points = torch.zeros(frames, 24, 3, dtype=torch.float64)
    points[..., 1] = (2.0 + 3.0 * times - gravity / 2 * times**2)[:, None]
    return points


def test_acceleration_of_a_falling_body_is_gravity_in_both_units():
    points = falling()
    np.testing.assert_allclose(metrics.acceleration(points, 30).values, 9.81)
    np.testing.assert_allclose(metrics.acceleration(points).values, 1000 * 9.81 / 30**2)
    assert metrics.jitter(points, 30).values.max() < 1e-6


def test_acceleration_error_against_rest_is_the_constant_acceleration_in_both_units():
    points = falling()
    still = torch.zeros_like(points)
    np.testing.assert_allclose(metrics.acceleration_error(points, still, None, 30).values, 9.81)
    per_frame = metrics.acceleration_error(points, still, None).values
    np.testing.assert_allclose(per_frame, 10.9)
    np.testing.assert_allclose(0.9 * per_frame, 9.81)
    assert metrics.acceleration_error(points, still).values.max() < 1e-9


def test_jitter_of_a_cubic_motion_is_its_third_derivative():
    times = torch.arange(9, dtype=torch.float64) / 25
    points = (times**3)[:, None, None] * torch.tensor([2.0, 0.0, 0.0]).double()
    np.testing.assert_allclose(metrics.jitter(points, 25).values, 6 * 2.0 / 10, rtol=1e-6)


def test_differences_of_a_sinusoid_have_their_closed_form():
    """The n-th difference of a sine is (2 sin(w / 2 fps))^n times its n-th derivative / w^n."""
    fps, omega, amplitude = 30.0, 2 * math.pi * 1.5, 0.2
    times = torch.arange(40, dtype=torch.float64) / fps
    points = torch.zeros(40, 1, 3, dtype=torch.float64)
    points[:, 0, 2] = amplitude * (omega * times).sin()
    step = 2 * math.sin(omega / fps / 2)
    second = (amplitude * step**2 * (omega * times[1:-1]).sin()).abs() * fps**2
    third = (amplitude * step**3 * (omega * (times[:-3] + 1.5 / fps)).cos()).abs() * fps**3 / 10
    torch.testing.assert_close(metrics.acceleration(points, fps).values, second)
    torch.testing.assert_close(metrics.jitter(points, fps).values, third)


def test_acceleration_error_is_not_the_difference_of_accelerations():
    points = clip()
    assert metrics.acceleration_error(-points, points).values.min() > 0
    torch.testing.assert_close(
        metrics.acceleration_error(-points, points, root=None).values,
        2 * metrics.acceleration(points).values,
    )


def test_trimming_drops_values_at_the_ends_of_what_counts():
    clips, valid = scene(), mask(12, [0, 11])
    whole = metrics.acceleration_error(clips.predicted, clips.true, HIPS, FPS, valid=valid)
    trimmed = metrics.acceleration_error(
        clips.predicted, clips.true, HIPS, FPS, valid=valid, trim=1
    )
    assert whole.frames[whole.counted].tolist() == list(range(2, 10))
    assert trimmed.frames[trimmed.counted].tolist() == list(range(3, 9))
    assert_counted(trimmed, whole.values[whole.counted][1:-1])
    nothing = metrics.acceleration_error(clips.predicted, clips.true, valid=valid, trim=4)
    assert nothing.count() == 0 and nothing.mean().isnan()


def test_a_gap_in_a_straight_walk_is_no_jump():
    points = torch.arange(20.0).double()[:, None, None] * torch.tensor([0.04, 0.0, 0.0])
    valid = mask(20, range(8, 12))
    points[8:12] = 0
    assert metrics.acceleration(points, 30, valid=valid).mean() < 1e-9
    assert metrics.jitter(points, 30, valid=valid).mean() < 1e-6
    assert metrics.acceleration(points, 30, valid=valid, gaps="crossing").mean() > 1


def test_four_interior_gaps_raise_the_jitter_of_the_truth_only_where_they_are_crossed():
    """Every released script takes masked frames out and differences what is left."""
    times = torch.arange(300, dtype=torch.float64) / 30
    phases = torch.linspace(0, 6, 72, dtype=torch.float64).view(24, 3)
    walk = 0.1 * (2 * math.pi * times[:, None, None] + phases).sin()
    walk[..., 0] += 1.2 * times[:, None]
    valid = mask(300, [*range(50, 70), *range(110, 125), *range(180, 200), *range(240, 248)])
    whole = metrics.jitter(walk, 30).mean()
    safe = metrics.jitter(walk, 30, valid=valid)
    crossing = metrics.jitter(walk, 30, valid=valid, gaps="crossing")
    assert safe.mean() == pytest.approx(float(whole), rel=0.02)
    assert crossing.mean() > 5 * whole
    assert (int(safe.count()), int(crossing.count())) == (237 - 5 * 3, 237 - 3)


def test_stitched_clips_have_differences_that_belong_to_no_clip():
    """An older line of work joins all clips first; pooling them keeps their ends apart."""
    first, second = 0.1 * clip(seed=1), 0.1 * clip(seed=2) + 20.0
    parts = [metrics.acceleration(points) for points in (first, second)]
    together = metrics.pooled(parts)
    assert together.count() == 20
    torch.testing.assert_close(together.mean(), (parts[0].mean() + parts[1].mean()) / 2)
    stitched = metrics.acceleration(torch.cat([first, second]))
    assert stitched.count() == 22 and stitched.mean() > 2 * together.mean()


def test_official_jitter_of_emdb_is_that_of_fifteen_joints_times_five_eighths():
    points = clip()
    official = metrics.jitter(points, 30, zeroed=metrics.EMDB_ZEROED)
    others = [joint for joint in range(24) if joint not in metrics.EMDB_ZEROED]
    assert metrics.EMDB_ZEROED == (0, 7, 8, 10, 11, 20, 21, 22, 23) and len(others) == 15
    torch.testing.assert_close(
        official.values, 0.625 * metrics.jitter(points[:, others], 30).values
    )


def test_a_zeroed_joint_may_be_nan():
    points = clip()
    points[:, SMPL24.index("left_hand")] = torch.nan
    assert metrics.jitter(points, 30, zeroed=metrics.EMDB_ZEROED).num_nan() == 0
    assert metrics.jitter(points, 30).num_nan() == 9


def test_feet_slide_by_what_the_prediction_moves_while_the_truth_stands():
    true = torch.zeros(4, 2, 3, dtype=torch.float64)
    true[2:, 1, 0] = 0.5
    predicted = torch.zeros(4, 2, 3, dtype=torch.float64)
    predicted[:, 0, 2] = torch.tensor([0.0, 0.004, 0.004, 0.010], dtype=torch.float64)
    predicted[:, 1, 1] = torch.tensor([0.0, 0.02, 9.0, 9.0], dtype=torch.float64)
    result = metrics.foot_sliding(predicted, true)
    assert result.counted.tolist() == [True, True, True, False, True, True]
    assert_counted(result, [4.0, 20.0, 0.0, 6.0, 0.0])
    assert result.frames.tolist() == [0, 0, 1, 1, 2, 2]
    assert float(result.mean()) == pytest.approx(6.0)


def test_a_foot_that_moves_exactly_the_threshold_does_not_stand():
    true = torch.tensor([0.0, 0.5]).double()[:, None, None] * torch.tensor([1.0, 0.0, 0.0])
    assert metrics.foot_sliding(true, true, 0.5).count() == 0
    assert metrics.foot_sliding(true, true, 0.5000001).count() == 1


def test_feet_whose_truth_is_nan_are_not_dropped_in_silence():
    true = torch.zeros(3, 4, 3, dtype=torch.float64)
    predicted = true.clone()
    true[1, 2, 0] = torch.nan
    result = metrics.foot_sliding(predicted, true)
    assert result.num_nan() == 2 and result.mean().isnan()
    assert result.mean(skip_nan=True) == 0
