"""The frames of a clip that were looked at, and their times, as far as its tracks know them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.clip_windows import fill_frames
from temporal_hmr.motion import Track

_SLACK = 1e-3
"""Seconds: times are told in rounded numbers, and no two frames are as near as that."""


@dataclass(frozen=True, eq=False)
class FrameTimes:
    """From the first frame in which anybody was seen to the last."""

    frames: Int[ndarray, "N"]
    times: Float[ndarray, "N"]
    """Presentation times in seconds."""

    @staticmethod
    def of(tracks: Sequence[Track], stride: int = 1) -> "FrameTimes":
        """What these tracks know; where none of them is, every `stride`-th frame, evenly timed."""
        spans = [fill_frames(track) for track in tracks]
        if not spans:
            return FrameTimes(np.zeros(0, np.int64), np.zeros(0))
        frames, row = np.unique(np.concatenate([span.frames for span in spans]), return_index=True)
        times = np.concatenate([span.times for span in spans])[row]
        grid = np.arange(frames[0], frames[-1] + 1, stride)
        for span in spans:
            # What is missing within a track could not be decoded.
            grid = grid[(grid < span.frames[0]) | (grid > span.frames[-1])]
        every = np.union1d(frames, grid)
        return FrameTimes(every, np.interp(every, frames, times))

    def span(self, first: int, last: int) -> tuple[Int[ndarray, "n"], Float[ndarray, "n"]]:
        """Frames `first` to `last` and their times."""
        within = slice(*np.searchsorted(self.frames, (first, last + 1)))
        return self.frames[within], self.times[within]

    def time(self, frame: int) -> float:
        """Of a frame; of one that was not looked at, that of the nearest."""
        return float(np.interp(frame, self.frames, self.times))

    def frame_from(self, seconds: float) -> int:
        """The first frame at that time or after it; behind the last one where there is none."""
        row = int(np.searchsorted(self.times, seconds - _SLACK))
        return int(self.frames[row]) if row < len(self.frames) else int(self.frames[-1]) + 1

    def frame_until(self, seconds: float) -> int:
        """The last frame at that time or before it; before the first one where there is none."""
        row = int(np.searchsorted(self.times, seconds + _SLACK)) - 1
        return int(self.frames[row]) if row >= 0 else int(self.frames[0]) - 1

    def stretches(self, frames: Int[ndarray, "n"]) -> list[tuple[int, int]]:
        """First and last of each run of neighbouring frames."""
        if not len(frames):
            return []
        rows = np.searchsorted(self.frames, frames)
        ends = np.flatnonzero(np.diff(rows) > 1)
        first, last = frames[np.r_[0, ends + 1]], frames[np.r_[ends, len(frames) - 1]]
        return list(zip(first.tolist(), last.tolist(), strict=True))
