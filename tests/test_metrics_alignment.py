"""Procrustes and trajectory alignment against other solutions, and where shared versions fail."""

import naive_metrics as naive
import numpy as np
import pytest
import torch
from metric_cases import clip, mask, orientations, random_similarities
from scipy.spatial import procrustes as scipy_procrustes

from temporal_hmr import metrics
from temporal_hmr.errors import InputError


def test_procrustes_equals_horns_quaternion_solution():
    predicted, true = clip(seed=1), clip(seed=2)
    found = metrics.procrustes(predicted, true)
    for frame, (p, q) in enumerate(zip(predicted.numpy(), true.numpy(), strict=True)):
        scale, rotation, translation = naive.horn_similarity(p, q)
        np.testing.assert_allclose(found.scale[frame], scale, rtol=1e-9)
        np.testing.assert_allclose(found.rotation[frame], rotation, atol=1e-9)
        np.testing.assert_allclose(found.translation[frame], translation, atol=1e-9)


def test_procrustes_residual_equals_scipys_where_no_reflection_is_wanted():
    true = clip(seed=2)
    predicted = true + 0.1 * clip(seed=1)
    for p, q in zip(predicted, true, strict=True):
        *_, disparity = scipy_procrustes(q.numpy(), p.numpy())
        residual = (metrics.procrustes(p, q)(p) - q).square().sum()
        assert float(residual / (q - q.mean(0)).square().sum()) == pytest.approx(disparity)


def test_similar_copies_have_no_error_after_procrustes():
    true = clip()
    assert metrics.pa_mpjpe(random_similarities(len(true))(true), true).values.max() < 1e-9


def test_procrustes_finds_the_similarity_itself():
    source = clip()
    wanted = random_similarities(len(source), seed=4)
    found = metrics.procrustes(source, wanted(source))
    for name in ("scale", "rotation", "translation"):
        torch.testing.assert_close(getattr(found, name), getattr(wanted, name))


def test_pa_mpjpe_does_not_depend_on_a_similarity_of_the_prediction():
    predicted, true = clip(seed=1), clip(seed=2)
    moved = random_similarities(len(true))(predicted)
    torch.testing.assert_close(
        metrics.pa_mpjpe(moved, true).values, metrics.pa_mpjpe(predicted, true).values
    )


def test_a_mirrored_copy_is_no_match():
    true = clip()
    mirrored = true * torch.tensor([-1.0, 1.0, 1.0])
    found = metrics.procrustes(mirrored, true)
    torch.testing.assert_close(torch.linalg.det(found.rotation), torch.ones(12).double())
    assert metrics.pa_mpjpe(mirrored, true).values.min() > 100


def test_flat_point_sets_are_rotated_not_reflected():
    flat = clip() * torch.tensor([1.0, 1.0, 0.0])
    moved = random_similarities(len(flat))(flat)
    found = metrics.procrustes(moved, flat)
    assert torch.linalg.det(found.rotation).min() > 0.999
    assert metrics.pa_mpjpe(moved, flat).values.max() < 1e-9


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_a_clip_of_two_or_three_frames_is_aligned_along_the_right_axis(frames):
    """The defect of a widely shared version: it takes a batch of 2 or 3 for the axis x, y, z."""
    predicted, true = clip(seed=1), clip(seed=2)
    alone = metrics.pa_mpjpe(predicted[:frames], true[:frames]).values
    torch.testing.assert_close(alone, metrics.pa_mpjpe(predicted, true).values[:frames])
    copy = random_similarities(frames)(true[:frames])
    assert metrics.pa_mpjpe(copy, true[:frames]).values.max() < 1e-9


def test_points_that_coincide_are_put_at_the_centroid_of_the_truth():
    true = clip()
    expected = 1000 * (true - true.mean(-2, keepdim=True)).norm(dim=-1).mean(-1)
    for place in (0.0, 0.1, 4.3):
        value = metrics.pa_mpjpe(torch.full_like(true, place), true)
        torch.testing.assert_close(value.values, expected)


def test_points_that_differ_by_rounding_alone_are_not_blown_up_to_a_body():
    true = clip()
    expected = 1000 * (true - true.mean(-2, keepdim=True)).norm(dim=-1).mean(-1)
    value = metrics.pa_mpjpe(4.3 + 1e-15 * true, true)
    torch.testing.assert_close(value.values, expected)


def test_a_small_body_far_away_is_still_aligned():
    true = clip()
    assert metrics.pa_mpjpe(1e-6 * true + 1.0, true).values.max() < 1e-3


def test_nan_stays_in_its_frame_and_raises_nothing():
    predicted, true = clip(seed=1), clip(seed=2)
    clean = metrics.pa_mpjpe(predicted, true).values
    predicted[4, 2, 0] = torch.nan
    found = metrics.pa_mpjpe(predicted, true).values
    others = torch.arange(12) != 4
    assert found[4].isnan()
    torch.testing.assert_close(found[others], clean[others])
    fit = metrics.procrustes(predicted, true)
    assert (
        fit.scale[4].isnan() and fit.rotation[4].isnan().all() and fit.translation[4].isnan().all()
    )


@pytest.mark.parametrize("with_scale", [True, False])
def test_one_alignment_of_a_trajectory_is_that_of_all_its_points_stacked(with_scale):
    predicted, true = clip(seed=1), clip(seed=2)
    valid = mask(12, [2, 3, 9])
    found = metrics.align_trajectory(predicted, true, valid=valid, with_scale=with_scale)
    stacked = (points[valid].reshape(-1, 3).numpy() for points in (predicted, true))
    scale, rotation, translation = naive.similarity(*stacked, with_scale)
    np.testing.assert_allclose(found.scale, scale)
    np.testing.assert_allclose(found.rotation, rotation, atol=1e-12)
    np.testing.assert_allclose(found.translation, translation, atol=1e-12)


def test_every_clip_of_a_batch_has_its_own_alignment():
    predicted, true = (clip(24, seed=seed).view(2, 3, 4, 24, 3) for seed in (1, 2))
    valid = torch.rand(2, 3, 4, generator=torch.Generator().manual_seed(0)) < 0.7
    together = metrics.align_trajectory(predicted, true, valid=valid)
    for place in np.ndindex(2, 3):
        alone = metrics.align_trajectory(predicted[place], true[place], valid=valid[place])
        for name in ("scale", "rotation", "translation"):
            torch.testing.assert_close(getattr(together, name)[place], getattr(alone, name))


def test_a_rigid_alignment_undoes_a_rigid_motion_and_keeps_the_scale():
    true = clip()
    turn = orientations(1, 1)[0, 0]
    fit = metrics.align_trajectory(true @ turn.T + 3.0, true, with_scale=False)
    torch.testing.assert_close(fit(true @ turn.T + 3.0), true)
    assert float(metrics.align_trajectory(2 * true, true, with_scale=False).scale) == 1.0
    assert float(metrics.align_trajectory(2 * true, true).scale) == pytest.approx(0.5)


def test_frames_of_nan_take_no_part_in_the_alignment_of_a_trajectory():
    predicted, true = clip(seed=1), clip(seed=2)
    expected = metrics.align_trajectory(predicted, true, valid=mask(12, [5, 7]))
    predicted[5], true[7, 0] = torch.nan, torch.nan
    found = metrics.align_trajectory(predicted, true)
    torch.testing.assert_close(found.rotation, expected.rotation)
    torch.testing.assert_close(found.translation, expected.translation)
    assert metrics.align_trajectory(predicted[5:6], true[5:6]).scale.isnan()


def test_relative_to_takes_the_mean_of_the_root_joints_away():
    points = clip()
    shifted = metrics.relative_to(points, [1, 2])
    torch.testing.assert_close(shifted, points - (points[:, 1:2] + points[:, 2:3]) / 2)
    assert metrics.relative_to(points, None) is points


def test_trajectories_of_other_shapes_are_refused():
    with pytest.raises(InputError, match="the same for all"):
        metrics.align_trajectory(clip(12), clip(11))
