"""Short gaps in what was seen of a keypoint, bridged for a network that reads frame by frame.

A keypoint that is missing for some frames is known well from those before and after it. A network
that is shown nothing there has to find that out from its neighbours in time, and does so badly; and
the box around a person would change whenever a hand or a foot comes and goes. What is put in is
believed less than what was seen, and no evidence of anything afterwards.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.clip_windows import FilledTrack
from temporal_hmr.on_disk import chunks, let_go, zeros

TRUST = 0.5
"""Confidence of what is put in, over that of the less sure end of its gap."""

Base = Callable[[slice], Float[ndarray, "t J 2"]]
"""Of some frames, pixels from which keypoints differ by what changes little in a gap."""


def bridged(
    seen: FilledTrack, longest: float, base: Base | None = None, folder: Path | None = None
) -> FilledTrack:
    """The track with gaps of at most `longest` seconds between two sights of a keypoint filled.

    What is linear in time is a keypoint itself, or how far it lies from `base`. A keypoint before
    its first and after its last sight stays unseen. The keypoints lie in a file of the folder.
    """
    parts = chunks(len(seen), seen.keypoints)
    if all((seen.keypoints[part, :, 2] > 0).all() for part in parts):
        return seen
    keypoints = zeros(seen.keypoints.shape, folder).numpy()
    reach = _frames(seen.times, longest)
    for part in chunks(len(seen), seen.keypoints, keypoints):
        around = slice(max(part.start - reach, 0), min(part.stop + reach, len(seen)))
        between = None if base is None else base(around)
        filled = _filled(seen.keypoints[around], seen.times[around], longest, between)
        begin = part.start - around.start
        keypoints[part] = filled[begin : begin + part.stop - part.start]
    let_go(keypoints)
    return replace(seen, keypoints=keypoints)


def _filled(
    keypoints: Float[ndarray, "t J 3"],
    times: Float[ndarray, "t"],
    longest: float,
    base: Float[ndarray, "t J 2"] | None,
) -> Float[ndarray, "t J 3"]:
    known, frame = keypoints[..., 2] > 0, np.arange(len(keypoints))[:, None]
    before = np.maximum.accumulate(np.where(known, frame, -1))
    after = np.minimum.accumulate(np.where(known, frame, len(known))[::-1])[::-1]
    inside = (before >= 0) & (after < len(known)) & ~known
    before, after = np.where(inside, before, 0), np.where(inside, after, 0)
    lasts = times[after] - times[before]
    inside &= lasts <= longest
    passed = (times[:, None] - times[before]) / np.where(inside, lasts, 1)

    lies = keypoints[..., :2] if base is None else keypoints[..., :2] - base
    first, last = (np.take_along_axis(lies, end[..., None], 0) for end in (before, after))
    between = first + passed[..., None] * (last - first) + (0 if base is None else base)
    scores = (np.take_along_axis(keypoints[..., 2], end, 0) for end in (before, after))
    filling = np.concatenate([between, TRUST * np.minimum(*scores)[..., None]], -1)
    return np.where(inside[..., None], filling, keypoints)


def _frames(times: Float[ndarray, "T"], seconds: float) -> int:
    """As many as there are in the time, where they come fastest."""
    return int(np.ceil(seconds / max(float(np.diff(times).min(initial=seconds)), 1e-3)))
