"""Which frames of a video a page shows."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.errors import InputError
from temporal_hmr.output.viewer.result import Result
from temporal_hmr.video import Clip

_WITHIN_ROUNDING = 1e-6


@dataclass(frozen=True, eq=False)
class Frames:
    """The frames that are shown, N of them."""

    numbers: Int[ndarray, "N"]
    """Frame numbers of the video."""
    times: Float[ndarray, "N"]
    """Presentation times in seconds."""
    step: int
    """One frame of so many that were looked at is shown."""
    fps: float
    """Of those that were looked at, shown or not."""

    def __len__(self) -> int:
        return len(self.numbers)

    def every(self, step: int) -> "Frames":
        """The first and then one of so many."""
        return Frames(self.numbers[::step], self.times[::step], step, self.fps)


def frames_of(
    result: Result, clip: Clip | None, start: float | None = None, end: float | None = None
) -> Frames:
    """All frames that were tracked, with start <= time < end (s).

    Without a clip they reach from the first in which anybody is to the last. Raises `InputError`
    if there are none, or the people are in frames that the clip does not have.
    """
    if clip is None:
        numbers, times = _of_people(result)
    else:
        numbers, times = _of_clip(result, clip)
    low, high = (_bound(value, name) for value, name in ((start, "--start"), (end, "--end")))
    inside = np.ones(len(times), bool)
    if low is not None:
        inside &= times >= low - _WITHIN_ROUNDING
    if high is not None:
        inside &= times < high - _WITHIN_ROUNDING
    if not inside.any():
        raise InputError(
            f"no frame of {result.path} is within --start and --end: it runs from "
            f"{times[0]:.3g} s to {times[-1]:.3g} s"
        )
    return Frames(numbers[inside], times[inside], 1, result.fps)


def step_within(count: int, bytes_per_frame: float, room: float) -> int:
    """The smallest step at which so many frames take no more than the room."""
    affordable = max(int(room // bytes_per_frame), 1)
    return math.ceil(count / affordable)


def _bound(value: float | None, name: str) -> float | None:
    if value is not None and not math.isfinite(value):
        raise InputError(f"{name} takes a number of seconds, not {value:g}")
    return value


def _of_clip(result: Result, clip: Clip) -> tuple[Int[ndarray, "N"], Float[ndarray, "N"]]:
    """Those of the part that was tracked."""
    last = max(int(person.motion.frames[-1]) for person in result.people)
    if last >= len(clip.times):
        raise InputError(
            f"{clip.path} has {len(clip.times)} frames, but {result.path} has people in frame "
            f"{last}: give the --video that was tracked"
        )
    settings = result.meta.get("settings")
    tracked = settings if isinstance(settings, dict) else {}
    first, stop = clip.indices().start, clip.indices().stop
    start, end = tracked.get("start"), tracked.get("end")
    if isinstance(start, int | float):
        first = int(np.searchsorted(clip.times, start - _WITHIN_ROUNDING))
    if isinstance(end, int | float):
        stop = int(np.searchsorted(clip.times, end - _WITHIN_ROUNDING))
    # Whatever the settings say, nobody is left out.
    first = min(first, *(int(person.motion.frames[0]) for person in result.people))
    first += (last - first) % result.step
    numbers = np.arange(first, max(stop, last + 1), result.step)
    return numbers, clip.times[numbers]


def _of_people(result: Result) -> tuple[Int[ndarray, "N"], Float[ndarray, "N"]]:
    """From the first to the last; times of frames in which nobody is are interpolated."""
    people = result.people
    first = min(int(person.motion.frames[0]) for person in people)
    last = max(int(person.motion.frames[-1]) for person in people)
    numbers = np.arange(first, last + 1, result.step)
    known = np.concatenate([person.motion.frames for person in people])
    times = np.concatenate([person.times for person in people])
    order = np.unique(known, return_index=True)[1]
    between = np.interp(numbers, known[order], times[order])
    return numbers, np.maximum.accumulate(between) if len(known) > 1 else numbers / result.fps
