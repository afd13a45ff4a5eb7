"""What is missing in the middle of videos: found, and put into words."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.containers import intact_frames

_STEADY = 0.9
"""Share of the steps from frame to frame that are alike in a video of steady rate."""
_ALIKE = 0.1
"""Of the usual step. Some containers round times to milliseconds."""
_GAP_STEPS, _GAP_SECONDS = 3.5, 0.2
"""A step of more than both is a gap: a camera that is late by a frame or two loses nothing."""
_FEWEST = 10
"""Frames that tell what is usual."""
_NAMED = 5


def steps_and_gaps(times: Float[ndarray, "N"]) -> tuple[float, Int[ndarray, "G"]]:
    """The usual step (s) from frame to frame, and after which frames there is a gap.

    No gaps are found in videos of uneven rate.
    """
    steps = np.diff(times)
    median = float(np.median(steps)) if len(steps) else 0.0
    alike = np.abs(steps - median) < _ALIKE * median
    if len(times) < _FEWEST or alike.mean() < _STEADY:
        return median, np.zeros(0, int)
    usual = float(steps[alike].mean())
    return usual, np.flatnonzero(steps > max(_GAP_STEPS * usual, _GAP_SECONDS))


def told_gaps(name: str, times: Float[ndarray, "N"]) -> str | None:
    """That a video has no pictures for a while, and when; None if it has them all the time."""
    usual, gaps = steps_and_gaps(times)
    if not len(gaps):
        return None
    begins, ends = times[gaps] + usual, times[gaps + 1]
    return f"{name} has no pictures {_told_stretches(begins, ends)}: it is damaged there"


def told_damage(
    name: str, times: Float[ndarray, "N"], damaged: Sequence[int], among: int, step: float
) -> str:
    """That frames of a video cannot be read, how many and when; `step` is from one to the next."""
    numbers = np.array(damaged)
    begins = numbers[np.diff(numbers, prepend=-2) > 1]
    lasts = numbers[np.diff(numbers, append=numbers[-1] + 2) > 1]
    stretches = _told_stretches(times[begins], times[lasts] + step)
    return f"{len(numbers)} of {among} frames of {name} cannot be read, {stretches}"


def told_images(folder: str, names: Sequence[str], missing: int, among: int) -> str:
    """That images of a folder cannot be read, how many and which, some being missing."""
    named = ", ".join(names[:_NAMED])
    more = len(names) - _NAMED
    named += f" and {more} more" if more > 0 else ""
    what = ["are missing"] * (missing > 0) + ["cannot be read"] * (missing < len(names))
    return f"{len(names)} of {among} images in {folder} {' or '.join(what)}: {named}"


def _told_stretches(begins: Float[ndarray, "G"], ends: Float[ndarray, "G"]) -> str:
    first = f"from {begins[0]:.2f} s to {ends[0]:.2f} s"
    if len(begins) == 1:
        return first
    return f"{(ends - begins).sum():.2f} s in {len(begins)} places, first {first}"


def numbers_in_avi(path: Path, times: Float[ndarray, "N"], fps: float) -> Int[ndarray, "N"] | None:
    """Numbers of the decoded frames of an avi with damage in its middle; None of any other video.

    Decoders take what comes behind the damage for the frames that were lost, and count times on.
    `times` are those that the decoder states.
    """
    intact = intact_frames(path)
    if intact is None or not len(times) < len(intact) or intact.all():
        return None
    counted_on = abs((times[-1] - times[0]) * fps - (len(times) - 1)) < 0.5
    if not counted_on:
        return None
    # Some that look whole are not decoded, some that are broken leave a picture: at the rim.
    edges = np.flatnonzero(np.diff(np.concatenate([[True], intact, [True]])))
    begins, ends = edges[::2], edges[1::2]
    longest = int(np.argmax(ends - begins))
    middle = (begins[longest] + ends[longest] - 1) / 2
    lost = np.lexsort((np.abs(np.arange(len(intact)) - middle), intact))
    kept = np.ones(len(intact), bool)
    kept[lost[: len(intact) - len(times)]] = False
    return np.flatnonzero(kept)
