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
BRIDGED_AT_FIRST, BRIDGED_BESIDE_GUESS = 0.5, 1.0
"""Seconds for which a keypoint may be missing and still be shown to a model, put in between its
last and its next sight: by itself, and as it lies beside a first guess at the body."""

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
        whole = filled(seen.keypoints[around], seen.times[around], longest, between)
        begin = part.start - around.start
        keypoints[part] = whole[begin : begin + part.stop - part.start]
    let_go(keypoints)
    return replace(seen, keypoints=keypoints)


def filled(
    keypoints: Float[ndarray, "*b T J 3"],
    times: Float[ndarray, "*b T"],
    longest: float,
    base: Float[ndarray, "*b T J 2"] | None = None,
) -> Float[ndarray, "*b T J 3"]:
    """Keypoints with their gaps filled, as `bridged` does."""
    count = keypoints.shape[-3]
    known, frame = keypoints[..., 2] > 0, np.arange(count)[:, None]
    before = np.maximum.accumulate(np.where(known, frame, -1), -2)
    coming = np.where(known, frame, count)[..., ::-1, :]
    after = np.minimum.accumulate(coming, -2)[..., ::-1, :]
    inside = (before >= 0) & (after < count) & ~known
    before, after = np.where(inside, before, 0), np.where(inside, after, 0)
    seconds = np.broadcast_to(times[..., None], known.shape)
    begins, ends = (np.take_along_axis(seconds, end, -2) for end in (before, after))
    inside &= ends - begins <= longest
    passed = (seconds - begins) / np.where(inside, ends - begins, 1)

    lies = keypoints[..., :2] if base is None else keypoints[..., :2] - base
    first, last = (np.take_along_axis(lies, end[..., None], -3) for end in (before, after))
    between = first + passed[..., None] * (last - first) + (0 if base is None else base)
    scores = (np.take_along_axis(keypoints[..., 2], end, -2) for end in (before, after))
    filling = np.concatenate([between, TRUST * np.minimum(*scores)[..., None]], -1)
    return np.where(inside[..., None], filling, keypoints).astype(keypoints.dtype, copy=False)


def _frames(times: Float[ndarray, "T"], seconds: float) -> int:
    """As many as there are in the time, where they come fastest."""
    return int(np.ceil(seconds / max(float(np.diff(times).min(initial=seconds)), 1e-3)))
