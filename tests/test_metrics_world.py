"""Errors in the world: invariances, chunks, gaps and known answers."""

import numpy as np
import pytest
import torch
from metric_cases import GAP_CASES, assert_counted, clip, mask, orientations, scene

from temporal_hmr import metrics

WORLD = ["w_mpjpe", "wa_mpjpe", "rte", "erve"]
GAPS = [[], [5], [0, 11], [3, 4, 8], [0, 2, 3], [1, 3, 5, 7, 9]]


@pytest.mark.parametrize("crossing", [False, True])
@pytest.mark.parametrize("gaps", GAPS)
@pytest.mark.parametrize("name", WORLD)
def test_world_errors_equal_the_naive_version(name, gaps, crossing):
    case, clips, valid = GAP_CASES[name], scene(), mask(12, gaps)
    result = case.ours(clips, valid=valid, gaps="crossing" if crossing else "safe")
    expected = case.naive(clips.map(torch.Tensor.numpy), valid.tolist(), crossing)
    assert_counted(result, expected, rtol=1e-7)


def walk(frames=250, seed=0):
    """A body that strolls several metres, some joints swinging."""
    times = torch.arange(frames, dtype=torch.float64) / 30
    path = torch.stack([1.2 * times, 0.05 * (7 * times).sin(), (0.5 * times).sin()], -1)
    swing = 0.1 * (6 * times[:, None, None] + clip(1, 24, seed)).sin()
    return path[:, None] + 0.4 * clip(1, 24, seed + 1) + swing


@pytest.mark.parametrize("gaps", ["safe", "crossing"])
def test_a_rigid_copy_of_the_world_has_no_error(gaps):
    true = walk()
    turn = orientations(1, 1)[0, 0]
    moved = true @ turn.T + torch.tensor([3.0, -1.0, 2.0])
    valid = mask(250, [*range(30, 50), 120, 249])
    options = {"valid": valid, "gaps": gaps}
    parts = orientations(250, 1)[:, 0]
    assert metrics.wa_mpjpe(moved, true, **options).mean() < 1e-9
    assert metrics.w_mpjpe(moved, true, **options).mean() < 1e-8
    assert metrics.rte(moved[:, 0], true[:, 0], **options).mean() < 1e-9
    assert metrics.erve(moved[:, 0], true[:, 0], turn @ parts, parts, **options).mean() < 1e-8
    assert metrics.erve(moved[:, 0], true[:, 0], parts, parts, **options).mean() > 1


def test_scale_is_forgiven_by_the_chunks_but_not_by_rte():
    true = walk()
    assert metrics.w_mpjpe(1.3 * true, true).mean() < 1e-8
    assert metrics.wa_mpjpe(1.3 * true, true).mean() < 1e-8
    assert metrics.rte(1.3 * true[:, 0], true[:, 0]).mean() > 1


def test_drift_shows_more_where_only_two_frames_are_aligned():
    true = walk()
    drifting = true.clone()
    drifting[..., 2] += torch.linspace(0, 2, 250).double()[:, None]
    first, whole = metrics.w_mpjpe(drifting, true), metrics.wa_mpjpe(drifting, true)
    assert first.mean() > 1.5 * whole.mean()
    assert first.values[[0, 100, 200]].max() < 20 < first.values[99]


def test_chunks_hold_a_hundred_frames_and_the_last_the_rest():
    true = walk()
    jumping = true.clone()
    jumping[100:200] += 5.0
    jumping[200:] -= 7.0
    assert metrics.wa_mpjpe(jumping, true).mean() < 1e-9
    assert metrics.wa_mpjpe(jumping, true, chunk=99).mean() > 10
    late = true.clone()
    late[101:] += 5.0
    assert metrics.wa_mpjpe(late, true).mean() > 10


def test_chunks_cross_gaps_in_published_figures_and_end_at_them_in_safe_ones():
    true = walk(120)
    jumping = true.clone()
    jumping[50:] += 5.0
    valid = mask(120, range(40, 50))
    assert metrics.wa_mpjpe(jumping, true, valid=valid).mean() < 1e-9
    assert metrics.wa_mpjpe(jumping, true, valid=valid, gaps="crossing").mean() > 10


@pytest.mark.parametrize("metric", [metrics.w_mpjpe, metrics.wa_mpjpe])
def test_a_chunk_of_a_single_frame_is_aligned_on_what_there_is(metric):
    clips = scene(9)
    result = metric(clips.predicted, clips.true, chunk=4)
    assert result.values.isfinite().all()
    alone = metrics.pa_mpjpe(clips.predicted[8:], clips.true[8:])
    torch.testing.assert_close(result.values[8:], alone.values)
    assert metric(clips.predicted[:1, :1], clips.true[:1, :1]).values.isfinite().all()


def test_nan_takes_no_part_in_a_fit_and_stays_in_its_frame():
    clips = scene(8)
    clean = metrics.wa_mpjpe(clips.predicted, clips.true, valid=mask(8, [2]), gaps="crossing")
    clips.predicted[2, 5] = torch.nan
    result = metrics.wa_mpjpe(clips.predicted, clips.true)
    assert result.values.isnan().nonzero().flatten().tolist() == [2]
    assert result.mean().isnan() and result.num_nan() == 1
    torch.testing.assert_close(result.values[3:], clean.values[3:])
    clips.predicted[:2] = torch.nan
    assert metrics.w_mpjpe(clips.predicted, clips.true).num_nan() == 8


def test_rte_is_a_percentage_of_the_true_path():
    """A straight path of 10 m, predicted as 5 m: after alignment errors run from -2.5 to 2.5 m."""
    true = torch.linspace(0, 10, 101, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    result = metrics.rte(0.5 * true, true)
    np.testing.assert_allclose(result.values[[0, 50, 100]], [25, 0, 25], atol=1e-9)


def test_rte_counts_jumps_over_gaps_in_the_path_only_where_told():
    true = torch.linspace(0, 10, 101, dtype=torch.float64)[:, None] * torch.tensor([1.0, 0.0, 0.0])
    valid = mask(101, range(21, 71))
    safe = metrics.rte(0.5 * true, true, valid=valid)
    crossing = metrics.rte(0.5 * true, true, valid=valid, gaps="crossing")
    torch.testing.assert_close(safe.mean() * (2 + 2.9), crossing.mean() * 10)


def test_a_path_of_length_zero_makes_rte_infinite():
    still = torch.ones(5, 3, dtype=torch.float64)
    assert metrics.rte(still, still).values.isinf().all()
    assert metrics.rte(clip(5)[:, 0], still).values.isinf().all()
    assert metrics.rte(clip(1)[:, 0], still[:1]).values.isinf().all()
    other = still.clone()
    other[3] = torch.nan
    assert metrics.rte(other, still).values.isnan().nonzero().flatten().tolist() == [3]


def test_a_true_root_of_nan_leaves_no_path_to_measure_by():
    roots = clip()[:, 0].clone()
    other = roots.clone()
    other[3] = torch.nan
    assert metrics.rte(other, roots).values.isnan().nonzero().flatten().tolist() == [3]
    assert metrics.rte(roots, other).num_nan() == 12


def test_erve_sees_steps_as_the_body_does():
    """A body that turns left while it should go straight is right in its own eyes."""
    steps = torch.tensor([0.0, 0.0, 1.0]).double()
    angles = torch.arange(6).double() * 0.2
    turns = torch.zeros(6, 3, 3, dtype=torch.float64)
    turns[:, 1, 1] = 1
    turns[:, 0, 0] = turns[:, 2, 2] = angles.cos()
    turns[:, 0, 2], turns[:, 2, 0] = angles.sin(), -angles.sin()
    circle = torch.cat([torch.zeros(1, 3).double(), (turns @ steps).cumsum(0)[:-1]])
    straight = torch.arange(6).double()[:, None] * steps
    facing = torch.eye(3).double().expand(6, 3, 3)
    assert metrics.erve(circle, straight, turns, facing).values.max() < 1e-9
    assert metrics.erve(circle, straight, facing, facing).mean() > 100
