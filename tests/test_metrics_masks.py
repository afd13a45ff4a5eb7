"""What holds for every metric: masks, batches, NaN, short clips, and kinds of input."""

import numpy as np
import pytest
import torch
from metric_cases import FRAME_CASES, GAP_CASES, clip, mask, scene

from temporal_hmr import metrics
from temporal_hmr.errors import InputError

CASES = FRAME_CASES | GAP_CASES
MODES = [(name, {}) for name in FRAME_CASES] + [
    (name, {"gaps": gaps}) for name in GAP_CASES for gaps in ("safe", "crossing")
]
IDS = ["-".join([name, *mode.values()]) for name, mode in MODES]
every_metric = pytest.mark.parametrize(("name", "mode"), MODES, ids=IDS)


def same(first, second):
    torch.testing.assert_close(first.values, second.values, equal_nan=True)
    assert first.counted.equal(second.counted) and first.frames.equal(second.frames)


@every_metric
def test_a_batch_of_clips_is_each_clip_alone(name, mode):
    clips = [scene(7, seed) for seed in (10, 20, 30, 40, 50, 60)]
    masks = [mask(7, gaps) for gaps in ([], [0], [3, 4], [6], range(7), [1, 5])]
    joined = scene(0).map(lambda _: None)
    joined = type(joined)(
        *(
            torch.stack([getattr(one, field) for one in clips]).unflatten(0, (2, 3))
            for field in vars(joined)
        )
    )
    valid = torch.stack(masks).unflatten(0, (2, 3))
    together = CASES[name].ours(joined, valid=valid, **mode)
    for number, (one, frames) in enumerate(zip(clips, masks, strict=True)):
        place = divmod(number, 3)
        part = metrics.FrameValues(
            together.values[place], together.counted[place], together.frames[place]
        )
        same(part, CASES[name].ours(one, valid=frames, **mode))
        torch.testing.assert_close(part.mean(), together.mean()[place], equal_nan=True)


@pytest.mark.parametrize("name", GAP_CASES)
def test_crossing_gaps_is_compaction_by_hand(name):
    clips, valid = scene(), mask(12, [0, 4, 5, 9])
    crossing = CASES[name].ours(clips, valid=valid, gaps="crossing")
    by_hand = CASES[name].ours(clips.map(lambda x: x[valid]))
    kept = crossing.counted
    torch.testing.assert_close(crossing.values[kept], by_hand.values[by_hand.counted])
    original = valid.nonzero().flatten()
    assert crossing.frames[kept].equal(original[by_hand.frames[by_hand.counted]])


@pytest.mark.parametrize("name", GAP_CASES)
def test_without_gaps_both_ways_are_the_same(name):
    clips = scene()
    same(CASES[name].ours(clips, gaps="safe"), CASES[name].ours(clips, gaps="crossing"))


@every_metric
def test_what_is_masked_does_not_matter(name, mode):
    clips, valid = scene(), mask(12, [0, 4, 5])
    expected = CASES[name].ours(clips, valid=valid, **mode)
    spoiled = clips.map(lambda x: x.where(valid.view(12, *[1] * (x.ndim - 1)), torch.nan))
    same(CASES[name].ours(spoiled, valid=valid, **mode), expected)
    assert expected.num_nan() == 0


@every_metric
def test_a_prediction_of_nan_in_a_valid_frame_counts_and_is_seen(name, mode):
    assert_seen(name, mode, "predicted")


@pytest.mark.parametrize("name", sorted(CASES.keys() - {"acceleration", "jitter", "rte"}))
def test_a_truth_of_nan_in_a_valid_frame_counts_and_is_seen(name):
    assert_seen(name, {}, "true")


def assert_seen(name, mode, side):
    clips = scene(14)
    for field, values in vars(clips).items():
        if field.startswith(side):
            values[7] = torch.nan
    result = CASES[name].ours(clips, **mode)
    assert result.num_nan() > 0 and result.mean().isnan()
    assert result.mean(skip_nan=True).isfinite()
    assert result.values[result.counted & (result.frames < 3)].isfinite().all()


@every_metric
@pytest.mark.parametrize("frames", range(5))
def test_short_clips_give_what_they_have_and_the_mean_of_none_is_nan(name, mode, frames):
    result = CASES[name].ours(scene(frames), **mode)
    expected = max(frames - CASES[name].order, 0)
    if name == "foot_sliding":
        assert len(result.values) == 4 * expected
    else:
        assert len(result.values) == expected == int(result.count())
    if frames <= CASES[name].order:
        assert result.mean().isnan() and result.count() == 0


@every_metric
def test_no_valid_frame_gives_nan_with_count_zero(name, mode):
    result = CASES[name].ours(scene(), valid=mask(12, range(12)), **mode)
    assert result.count() == 0 and result.mean().isnan() and result.std().isnan()
    assert result.values.isnan().all()


@every_metric
def test_arrays_and_tensors_are_the_same_and_stay_as_they_are(name, mode):
    clips, valid = scene(), mask(12, [3, 8])
    before = clips.map(torch.clone)
    expected = CASES[name].ours(clips, valid=valid, **mode)
    arrays = clips.map(torch.Tensor.numpy)
    same(CASES[name].ours(arrays, valid=valid.numpy(), **mode), expected)
    for array in vars(arrays).values():
        array.flags.writeable = False
    same(CASES[name].ours(arrays, valid=valid, **mode), expected)
    graph = clips.map(lambda x: x.clone().requires_grad_())
    assert not CASES[name].ours(graph, valid=valid, **mode).values.requires_grad
    for field, values in vars(before).items():
        assert values.equal(getattr(clips, field))


def test_reversed_arrays_are_taken():
    points = clip().numpy()
    value = metrics.mpjpe(points[::-1], points[::-1] + 0.1, None)
    np.testing.assert_allclose(value.values, 1000 * 0.1 * 3**0.5)


@every_metric
def test_a_mask_of_another_shape_or_type_is_refused(name, mode):
    for wrong in (torch.ones(11, dtype=torch.bool), torch.ones(12), np.ones((1, 12), bool)):
        with pytest.raises(InputError, match="one boolean per frame"):
            CASES[name].ours(scene(), valid=wrong, **mode)


def test_nothing_is_broadcast():
    """One joint, or one frame, would stretch to all of them and give a figure."""
    points = clip()
    for other in (points[:, :1], points[:1], points[None], points[..., :2]):
        with pytest.raises(InputError, match="shape must be"):
            metrics.mpjpe(points, other)
    with pytest.raises(InputError, match="shape must be"):
        metrics.mpjpe(points[0], points[0])
    with pytest.raises(InputError, match="shape must be"):
        metrics.pve(points, points, points[:1, 0], points[:1, 0])
    with pytest.raises(InputError, match="shape must be"):
        metrics.pa_pve(points, points, metrics.procrustes(points[:1], points[:1]))


def test_an_unknown_way_with_gaps_is_refused():
    with pytest.raises(InputError, match="safe, crossing"):
        metrics.jitter(clip(), 30, gaps="across")  # pyright: ignore[reportArgumentType]


def test_means_are_over_what_counts():
    values = torch.tensor([[1.0, 3.0, 8.0, torch.nan], [2.0, torch.nan, 4.0, 6.0]]).double()
    counted = torch.tensor([[True, True, True, False], [True, True, False, True]])
    result = metrics.FrameValues(values, counted, torch.arange(4).expand(2, 4))
    assert float(result.mean()[0]) == 4 and result.mean()[1].isnan()
    assert result.mean(skip_nan=True).tolist() == [4, 4]
    np.testing.assert_allclose(result.std(skip_nan=True), [np.std([1, 3, 8]), np.std([2, 6])])
    assert result.count().tolist() == [3, 3] and result.count(skip_nan=True).tolist() == [3, 2]
    assert result.num_nan().tolist() == [0, 1]


def test_pooled_clips_are_weighted_by_their_frames():
    clips = [scene(5, seed=1), scene(9, seed=2)]
    valid = mask(9, [0, 1])
    parts = [CASES["mpjpe"].ours(clips[0]), CASES["mpjpe"].ours(clips[1], valid=valid)]
    together = metrics.pooled(parts)
    assert together.count() == 12
    torch.testing.assert_close(together.mean(), (5 * parts[0].mean() + 7 * parts[1].mean()) / 12)
    assert metrics.pooled([]).mean().isnan()
