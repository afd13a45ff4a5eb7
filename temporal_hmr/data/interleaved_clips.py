"""Which frames of a video make a clip, as INT samples them: thin, long and interleaved.

A video is cut into pools of 128 consecutive frames. A training clip takes every eighth frame of a
pool, from a random one of the first eight: 16 frames that span four seconds. For evaluation a pool
is dealt out to clips like cards, every frame to one of them, and what is predicted is gathered back
to full rate. Index arithmetic only; nothing here has seen a pixel.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, Shaped
from numpy import ndarray
from numpy.random import Generator
from pydantic import Field, model_validator

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError


class ClipSettings(Config):
    """How a video is cut; the defaults are those of INT's training."""

    pool: int = Field(default=128, gt=0)
    """Consecutive frames that a clip is sampled from."""
    pool_stride: int = Field(default=64, gt=0)
    """From one pool to the next; 8 for 3DPW in training. Evaluation's pools stand side by side."""
    frames: int = Field(default=16, gt=0)
    """Frames of a clip, the pool's length apart divided by their number."""

    @model_validator(mode="after")
    def _whole_stride(self) -> "ClipSettings":
        if self.pool % self.frames:
            raise ValueError(
                f"a pool of {self.pool} frames cannot be dealt out to clips of {self.frames}"
            )
        return self

    @property
    def stride(self) -> int:
        """Frames of the video from one of a clip to the next."""
        return self.pool // self.frames


@dataclass(frozen=True, eq=False)
class FrameIndices:
    """Frames of a video, and which of them are only there to fill up."""

    frames: Int[ndarray, "T"]
    """Indices into the video; padding repeats earlier frames, mirrored about the last."""
    valid: Bool[ndarray, "T"]
    """False for padding, which no metric counts."""

    def every(self, stride: int, start: int) -> "FrameIndices":
        """Every `stride`-th of these, from the one at `start`."""
        return FrameIndices(self.frames[start::stride], self.valid[start::stride])


def cut_pools(num_frames: int, pool: int, stride: int) -> list[FrameIndices]:
    """Pools of a video whose tail is filled up by reflection to whole pools.

    Every frame is in at least one; raises `InputError` for a video without frames.
    """
    if num_frames < 1:
        raise InputError("a video without frames cannot be cut into clips")
    padded = -(-num_frames // pool) * pool
    places = np.arange(padded)
    frames = reflected(places, num_frames)
    starts = range(0, padded - pool + 1, stride)
    if stride > pool or starts[-1] + pool < padded:
        raise InputError(f"pools of {pool} frames at a stride of {stride} leave frames out")
    valid = places < num_frames
    return [FrameIndices(frames[at : at + pool], valid[at : at + pool]) for at in starts]


def reflected(places: Int[ndarray, "N"], num_frames: int) -> Int[ndarray, "N"]:
    """Places before or past the ends of a video, folded back into it about its first and last."""
    if num_frames == 1:
        return np.zeros_like(places)
    period = 2 * (num_frames - 1)
    folded = places % period
    return np.minimum(folded, period - folded)


def draw_clip(pool: FrameIndices, settings: ClipSettings, generator: Generator) -> FrameIndices:
    """A training clip: every frame a stride from the last, from a random one of the first."""
    return pool.every(settings.stride, int(generator.integers(settings.stride)))


def evaluation_clips(num_frames: int, settings: ClipSettings) -> list[FrameIndices]:
    """Clips that together hold every frame of a video once, besides padding."""
    starts = range(settings.stride)
    pools = cut_pools(num_frames, settings.pool, settings.pool)
    return [pool.every(settings.stride, start) for pool in pools for start in starts]


def at_full_rate(
    clips: list[FrameIndices], values: Shaped[ndarray, "clips T *d"], num_frames: int
) -> Shaped[ndarray, "frames *d"]:
    """One value per frame of the video from those of its `evaluation_clips`, without padding.

    Raises `InputError` unless every frame of the video comes exactly once.
    """
    valid = np.stack([clip.valid for clip in clips])
    if values.shape[:2] != valid.shape:
        raise InputError(
            f"values of shape {values.shape} do not belong to {len(clips)} clips of "
            f"{valid.shape[1]} frames"
        )
    frames = np.stack([clip.frames for clip in clips])[valid]
    order = np.argsort(frames)
    if not np.array_equal(frames[order], np.arange(num_frames)):
        raise InputError(f"these clips do not hold each of {num_frames} frames once")
    return values[valid][order]
