"""Runs of neighbouring frames: what a difference in time is taken over, and where gaps are."""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from temporal_hmr.errors import InputError
from temporal_hmr.metrics.values import FrameValues

Gaps = Literal["safe", "crossing"]
"""What to do where frames are masked. "safe": only frames that were neighbours in the video are
neighbours. "crossing", as published figures are computed: masked frames are taken out and the rest
joined, so that a gap becomes a jump."""


@dataclass(frozen=True, eq=False)
class Runs:
    """All runs of `order + 1` neighbouring frames of a clip; N = T - order, or 0."""

    counted: Bool[Tensor, "*b N"]
    """Runs of valid frames only."""
    frames: Int[Tensor, "*b N"]
    """The middle frame of a run, rounded down, by its number in the clip."""
    moved: Int[Tensor, "*b T"] | None
    """The frames in the order in which they are neighbours, valid ones first; None as they are."""

    def neighbours(self, values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Values per frame, `*b T` and any axes, in the order in which frames are neighbours."""
        if self.moved is None:
            return values
        frames = self.moved.shape[-1]
        clips = torch.arange(self.moved.numel() // frames, device=values.device)
        rows = self.moved + frames * clips.reshape(*self.moved.shape[:-1], 1)
        flat = values.reshape(rows.numel(), *values.shape[rows.ndim :])
        return flat.index_select(0, rows.flatten()).reshape(values.shape)

    def values(self, values: Float[Tensor, "*b N"]) -> FrameValues:
        """A value per run as the result of a metric."""
        return FrameValues(values.where(self.counted, torch.nan), self.counted, self.frames)


def find_runs(valid: Bool[Tensor, "*b T"], order: int, gaps: Gaps = "safe") -> Runs:
    """Runs of `order + 1` valid frames; an order of 0 gives single frames.

    Raises `InputError` if `gaps` is neither "safe" nor "crossing".
    """
    _check(gaps)
    count = max(valid.shape[-1] - order, 0)
    numbers = torch.arange(valid.shape[-1], device=valid.device).expand(valid.shape)
    moved = None
    if gaps == "safe":
        counted = valid[..., :count]
        for step in range(1, order + 1):
            counted = counted & valid[..., step : step + count]
    else:
        places = torch.arange(count, device=valid.device)
        counted = places < valid.sum(-1, keepdim=True) - order
        if not valid.all():
            numbers = moved = torch.argsort(~valid, dim=-1, stable=True)
    return Runs(counted, numbers[..., order // 2 :][..., :count], moved)


def frames_before(valid: Bool[Tensor, "*b T"], gaps: Gaps) -> Int[Tensor, "*b T"]:
    """How many valid frames lie before each valid one: in the clip, or since the last gap."""
    _check(gaps)
    if gaps == "crossing":
        return valid.long().cumsum(-1) - 1
    frames = torch.arange(valid.shape[-1], device=valid.device).expand(valid.shape)
    last_gap = torch.where(valid, -1, frames).cummax(-1).values if frames.numel() else frames
    return frames - last_gap - 1


def _check(gaps: str) -> None:
    if gaps not in get_args(Gaps):
        raise InputError(f"gaps is {gaps!r}: give one of {', '.join(get_args(Gaps))}")
