"""Decoded frames told by their times: which of a video's frames each is."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

_Decoded = TypeVar("_Decoded")


def stated_in_order(times: Float[ndarray, "N"]) -> Float[ndarray, "N"]:
    """What a file states as times (s) of its frames, in order; those unknown (NaN) come first."""
    return np.sort(np.where(np.isfinite(times), times, -np.inf))


def numbered(
    decoded: Iterable[tuple[float, _Decoded]],
    stated: Float[ndarray, "N"],
    tolerance: float = np.inf,
) -> Iterator[tuple[int, _Decoded]]:
    """Number of each of the decoded frames, which come with their times (s, NaN if unknown).

    Numbers increase. `stated` are the times of all frames, in order; frames of the same time, or of
    none, are told by their order. A frame whose time is at none of these, but for the tolerance
    (s), is the end; before the first of them it is passed over.
    """
    following = 0
    for time, frame in decoded:
        number = following if np.isnan(time) else _nearest(stated, time)
        if time < stated[0] - tolerance:
            continue
        if not np.isnan(time) and abs(stated[number] - time) > tolerance:
            return
        if number < following < len(stated) and stated[following] == stated[number]:
            number = following
        if number >= following:
            yield number, frame
            following = number + 1


def counted_from(
    begin: float, decoded: Iterable[tuple[float, _Decoded]]
) -> Iterator[tuple[float, _Decoded]]:
    """The same with times (s) of which the first is `begin`."""
    late = None
    for time, frame in decoded:
        late = time - begin if late is None else late
        yield time - late, frame


def step_of(stated: Float[ndarray, "N"]) -> float:
    """The usual time (s) from a frame to the next one that has another; infinite if none has."""
    steps = np.diff(stated[np.isfinite(stated)])
    return float(np.median(steps[steps > 0])) if (steps > 0).any() else np.inf


def _nearest(stated: Float[ndarray, "N"], time: float) -> int:
    """The first of the times (s) that are nearest."""
    after = int(np.searchsorted(stated, time).clip(1, max(len(stated) - 1, 1)))
    nearer = after < len(stated) and stated[after] - time < time - stated[after - 1]
    return int(np.searchsorted(stated, stated[after if nearer else after - 1]))
