"""What a metric gives: one value per frame or per run of frames, and which of them count."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class FrameValues:
    """Values of one metric along time (last axis), for any batch of clips.

    A value that does not count (masked frame, run across a gap) is NaN and in no mean. A value
    that counts and is NaN (because a prediction is) makes the mean NaN, unless it is skipped on
    request: nothing wrong goes unseen.
    """

    values: Float[Tensor, "*b N"]
    """float64."""
    counted: Bool[Tensor, "*b N"]
    frames: Int[Tensor, "*b N"]
    """The frame that a value speaks of (the middle one of a run, rounded down)."""

    def mean(self, skip_nan: bool = False) -> Float[Tensor, "*b"]:
        """Mean over what counts; NaN where nothing does."""
        used = self._used(skip_nan)
        total = torch.where(used, self.values, 0.0).sum(-1)
        return total / used.sum(-1)

    def std(self, skip_nan: bool = False) -> Float[Tensor, "*b"]:
        """Population standard deviation over what counts."""
        used = self._used(skip_nan)
        deviation = self.values - self.mean(skip_nan)[..., None]
        return (torch.where(used, deviation**2, 0.0).sum(-1) / used.sum(-1)).sqrt()

    def count(self, skip_nan: bool = False) -> Int[Tensor, "*b"]:
        """How many values the mean rests on."""
        return self._used(skip_nan).sum(-1)

    def num_nan(self) -> Int[Tensor, "*b"]:
        """How many values count but are NaN."""
        return (self.counted & self.values.isnan()).sum(-1)

    def _used(self, skip_nan: bool) -> Bool[Tensor, "*b N"]:
        return self.counted & ~self.values.isnan() if skip_nan else self.counted


def pooled(parts: Sequence[FrameValues]) -> FrameValues:
    """The counted values of several clips, one after another: their mean is frame-weighted."""
    values = [part.values[part.counted] for part in parts]
    frames = [part.frames[part.counted] for part in parts]
    empty = torch.empty(0, dtype=torch.float64)
    together = torch.cat([empty, *values])
    numbers = torch.cat([empty.long(), *frames])
    return FrameValues(together, torch.ones_like(together, dtype=torch.bool), numbers)
