"""Pools, thin clips and their way back to full rate: arithmetic that may lose no frame."""

import numpy as np
import pytest
from numpy.random import default_rng

from temporal_hmr.data.interleaved_clips import (
    ClipSettings,
    at_full_rate,
    cut_pools,
    draw_clip,
    evaluation_clips,
    reflected,
)
from temporal_hmr.errors import InputError


def test_published_settings() -> None:
    assert ClipSettings().stride == 8
    assert ClipSettings(frames=64).stride == 2
    with pytest.raises(ValueError, match="cannot be dealt out"):
        ClipSettings(frames=48)


@pytest.mark.parametrize("num_frames", [1, 2, 5, 127, 128, 129, 500])
def test_reflection_is_numpys(num_frames: int) -> None:
    """`np.pad` in mode reflect, also where the tail is longer than the video."""
    frames = np.arange(num_frames)
    expected = np.pad(frames, (7, 300), mode="reflect" if num_frames > 1 else "edge")
    np.testing.assert_array_equal(reflected(np.arange(-7, num_frames + 300), num_frames), expected)


def test_pools_by_hand() -> None:
    pools = cut_pools(6, pool=4, stride=2)
    assert [pool.frames.tolist() for pool in pools] == [
        [0, 1, 2, 3],
        [2, 3, 4, 5],
        [4, 5, 4, 3],
    ]
    assert [pool.valid.tolist() for pool in pools] == [
        [True] * 4,
        [True] * 4,
        [True] * 2 + [False] * 2,
    ]


@pytest.mark.parametrize("num_frames", [1, 64, 128, 129, 1000])
@pytest.mark.parametrize("stride", [8, 64, 128])
def test_every_frame_is_in_a_pool(num_frames: int, stride: int) -> None:
    pools = cut_pools(num_frames, 128, stride)
    assert all(len(pool.frames) == 128 and pool.valid.any() for pool in pools)
    seen = np.concatenate([pool.frames[pool.valid] for pool in pools])
    assert set(seen) == set(range(num_frames))
    for pool in pools:
        assert (np.diff(pool.frames[pool.valid]) == 1).all()
    starts = [pool.frames[0] for pool in pools if pool.valid.all()]
    assert (np.diff(starts) == stride).all()


def test_cuts_that_would_lose_frames_are_refused() -> None:
    with pytest.raises(InputError, match="leave frames out"):
        cut_pools(300, 128, 200)
    with pytest.raises(InputError, match="leave frames out"):
        cut_pools(200, 128, 100)
    with pytest.raises(InputError, match="without frames"):
        cut_pools(0, 128, 64)


def test_a_training_clip_spans_its_pool_from_a_random_start() -> None:
    """T = 16 at stride 8 spans 128 frames, not 16 consecutive ones; start 0..7."""
    pool = cut_pools(1000, 128, 64)[3]
    generator = default_rng(0)
    starts = set()
    for _ in range(200):
        clip = draw_clip(pool, ClipSettings(), generator)
        assert len(clip.frames) == 16
        assert (np.diff(clip.frames) == 8).all()
        starts.add(int(clip.frames[0] - pool.frames[0]))
    assert starts == set(range(8))


@pytest.mark.parametrize(("frames", "passes"), [(16, 8), (64, 2), (128, 1)])
def test_evaluation_deals_a_pool_out_like_cards(frames: int, passes: int) -> None:
    clips = evaluation_clips(128, ClipSettings(frames=frames))
    assert len(clips) == passes
    assert [int(clip.frames[0]) for clip in clips] == list(range(passes))
    assert all((np.diff(clip.frames) == passes).all() for clip in clips)


@pytest.mark.parametrize("num_frames", [1, 3, 127, 128, 129, 255, 700])
@pytest.mark.parametrize("frames", [16, 64])
def test_dealing_out_and_gathering_is_the_identity(num_frames: int, frames: int) -> None:
    """No padded frame reaches a metric, and every other is judged once."""
    clips = evaluation_clips(num_frames, ClipSettings(frames=frames))
    video = default_rng(1).random((num_frames, 24, 3))
    values = np.stack([video[clip.frames] for clip in clips])
    padding = ~np.stack([clip.valid for clip in clips])
    values[padding] = np.nan
    np.testing.assert_array_equal(at_full_rate(clips, values, num_frames), video)


def test_gathering_refuses_what_it_would_have_to_guess() -> None:
    clips = evaluation_clips(300, ClipSettings())
    values = np.zeros((len(clips), 16))
    with pytest.raises(InputError, match="do not belong"):
        at_full_rate(clips, values[:, :8], 300)
    for some in (clips[1:], clips[:-8], clips[:1] + clips[:-1]):
        with pytest.raises(InputError, match="each of 300 frames once"):
            at_full_rate(some, np.zeros((len(some), 16)), 300)
