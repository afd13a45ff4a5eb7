"""When the frames of a clip are: those that were looked at, evenly spaced or not.

A result of every second frame has numbers with holes in which nothing is missing, and a phone's
video has frames at uneven times. What is judged here goes from one frame that was looked at to the
next, and takes the time between them from the clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.motion import PredictedMotion

_ROUNDED = 1.1e-3
"""Seconds by which intervals of equal length differ where a file knows only milliseconds."""


@dataclass(frozen=True, eq=False)
class Clock:
    """The frames of a clip, with those in which somebody is missing."""

    numbers: Int[ndarray, "T"]
    """In the video, evenly increasing."""
    times: Float[ndarray, "T"]
    """Presentation times in seconds, increasing."""
    fps: float
    """Frames per second of these frames, not of all that the video has; on average."""

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def intervals(self) -> Float[ndarray, "T"]:
        """Seconds from the frame before; at the first, what is usual.

        Those that differ by no more than the rounding of times are taken for equal.
        """
        usual, intervals = 1 / self.fps, np.diff(self.times)
        if (np.abs(intervals - usual) > _ROUNDED).any():
            usual = float(np.median(intervals))
        equal = np.abs(intervals - usual) <= _ROUNDED
        return np.append(usual, np.where(equal, usual, intervals))

    def seconds(self, first: int, last: int) -> float:
        """How long the frames at these places last, both included."""
        lasting = self.times[last] - self.times[first] + 1 / self.fps
        # Times in seconds must not make a tenth of one out of three thirtieths and a bit.
        return round(float(lasting), 9)


def derivative(
    values: Float[ndarray, "T *n"], intervals: Float[ndarray, "T"], order: int
) -> Float[ndarray, "T *n"]:
    """Of an order from 2 on, in 1/s^order: divided differences, which even times make plain.

    `intervals` are seconds from the frame before. Each difference stands at the middle one of its
    `order + 1` frames, rounded down; NaN at the ends.
    """
    found, full = values, np.full(values.shape, np.nan)
    count = len(values) - order
    if count <= 0:
        return full
    for number in range(1, order + 1):
        span = np.convolve(intervals[1:], np.ones(number), "valid")
        found = number * np.diff(found, axis=0) / span.reshape(-1, *[1] * (values.ndim - 1))
    full[order // 2 : order // 2 + count] = found
    return full


def frame_step(motions: Sequence[PredictedMotion]) -> int:
    """Every so manieth frame of a video was looked at, as the frames of its people tell; often 1.

    It is the largest step in which all of them can be reached from one another, if the times of
    the frames agree: in files that state the rate of the frames that were looked at, those are as
    far apart as that says. Others have holes, and files without times tell no step.
    """
    longest = max(motions, key=len)
    if longest.times is None or longest.fps is None:
        return 1
    together = np.concatenate([np.asarray(motion.frames, np.int64) for motion in motions])
    step = int(np.gcd.reduce(together - together[0])) or 1
    apart = np.diff(longest.times) * longest.fps / np.maximum(np.diff(longest.frames) / step, 1)
    return step if len(apart) and np.median(apart) < np.sqrt(step) else 1
