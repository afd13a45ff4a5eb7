"""Which frames of a labelled sequence make a window."""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from pydantic import Field, model_validator
from torch import Generator

from temporal_hmr.configuration import Config
from temporal_hmr.data.sequence import Sequence

LARGEST_GAP = 4
"""Usual intervals between frames; a longer one is a break."""


class StretchSettings(Config):
    """How long a window is, and how its frames lie in time."""

    frames: int = Field(default=16, gt=0)
    """Frames of a window; what a sequence lacks is filled up by frames that are not valid."""
    seconds: float | None = Field(default=1 / 30, gt=0)
    """From a frame to the next, as near as the sequence has it."""
    every: int | None = Field(default=None, gt=0)
    """Every so many frames of the sequence, whatever its frame rate; in place of `seconds`."""
    speed: tuple[float, float] = (1.0, 1.0)
    """Range of how much faster than it was a motion is played in training."""
    overlap: float = Field(default=0.5, ge=0, lt=1)
    """Part of a window that the next one shares with it, where windows cover a whole sequence."""

    @model_validator(mode="after")
    def _one_stride(self) -> "StretchSettings":
        if (self.seconds is None) == (self.every is None):
            raise ValueError("give one of `seconds` and `every`, and null for the other")
        if not 0 < self.speed[0] <= self.speed[1]:
            raise ValueError("a range of speeds goes from a number above 0 to a larger one")
        return self

    def step(self, sequence: Sequence, speed: float = 1.0) -> int:
        """Frames of the sequence from one of a window to the next."""
        if self.every is not None or self.seconds is None:
            return self.every or 1
        if len(sequence) < 2:
            return 1
        interval = float(np.median(np.diff(sequence.times)))
        return max(1, round(self.seconds * speed / interval))


@dataclass(frozen=True, eq=False)
class Stretch:
    """Frames of one sequence that make a window."""

    frames: Int[ndarray, "T"]
    """Places in the sequence; padding repeats the last."""
    valid: Bool[ndarray, "T"]
    """False for padding."""
    times: Float[ndarray, "T"]
    """Seconds since the first frame, at the speed at which the motion is played."""

    def without(self, frames: set[int]) -> "Stretch":
        """The same in which some frames of the sequence do not count."""
        kept = np.array([frame not in frames for frame in self.frames.tolist()])
        return replace(self, valid=self.valid & kept)


def cover(sequence: Sequence, settings: StretchSettings) -> list[Stretch]:
    """Windows that together reach every part of a sequence, at the speed of life.

    Each run of frames without a gap is covered by itself: the last window ends with it, and a run
    shorter than a window makes one, filled up.
    """
    step = settings.step(sequence)
    hop = max(1, round(settings.frames * (1 - settings.overlap))) * step
    found = []
    for run in runs(sequence):
        last = run.stop - 1 - (settings.frames - 1) * step
        starts = [*range(run.start, last, hop), max(last, run.start)]
        found += [_stretch(sequence, run, start, step, 1.0, settings.frames) for start in starts]
    return found


def draw_stretch(sequence: Sequence, settings: StretchSettings, generator: Generator) -> Stretch:
    """A window from anywhere in a sequence, at a random speed."""
    low, high = settings.speed
    place, pace = torch.rand(2, generator=generator).tolist()
    speed = low * (high / low) ** pace
    step = settings.step(sequence, speed)
    # A window longer than its run begins with it: what there is is more than what is not.
    found = runs(sequence)
    starts = [max(1, len(run) - (settings.frames - 1) * step) for run in found]
    chosen = int(place * sum(starts))
    for run, count in zip(found, starts, strict=True):
        if chosen < count:
            return _stretch(sequence, run, run.start + chosen, step, speed, settings.frames)
        chosen -= count
    raise IndexError("a place below 1 is within the sequence")


def runs(sequence: Sequence) -> list[range]:
    """Frames without a gap in time between them; people leave the image and return."""
    intervals = np.diff(sequence.times)
    if not len(intervals):
        return [range(len(sequence))]
    breaks = np.flatnonzero(intervals > LARGEST_GAP * np.median(intervals)) + 1
    edges = [0, *breaks.tolist(), len(sequence)]
    return [range(first, stop) for first, stop in itertools.pairwise(edges)]


def _stretch(
    sequence: Sequence, run: range, start: int, step: int, speed: float, frames: int
) -> Stretch:
    places = start + step * np.arange(frames)
    valid = places < run.stop
    # Padding repeats the last frame of the window, as tracking's does.
    places = np.minimum(places, places[valid][-1])
    times = (sequence.times[places] - sequence.times[start]) / speed
    return Stretch(places, valid, times)
