"""Left taken for right: sudden turns about, and limbs that change sides from frame to frame."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.checks.findings import Finding, Signal, found, not_judged
from temporal_hmr.checks.parts import in_parts
from temporal_hmr.checks.subject import Subject, steps
from temporal_hmr.checks.thresholds import Thresholds
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import SMPL24, mirrored

FLIP_SECONDS = 0.1
"""A turn about is sudden if it takes no longer; a smoothing filter may spread it over so much."""
FASTEST_TURN = 1000.0
"""Degrees per second. The mocap's fastest is 870 (dance), whatever the frame rate."""
_LIMBS = {
    "legs": ("left_knee", "left_ankle", "left_foot"),
    "arms": ("left_elbow", "left_wrist", "left_hand"),
}


def flip_findings(subject: Subject, thresholds: Thresholds) -> list[Finding]:
    """How often the body turns about, or a pair of limbs changes sides, in no time."""
    name, unit = "flips", "flips"
    slowest = FASTEST_TURN / thresholds.flip_angle
    if subject.fps < slowest:
        return [
            not_judged(name, unit, f"below {slowest:.3g} frames per second people can be so fast")
        ]
    turns = _turns(subject, thresholds.flip_angle)
    exchanges = {limb: _exchanged(subject, limb, thresholds) for limb in _LIMBS}
    flipped = turns.copy()
    for rows in exchanges.values():
        flipped |= rows
    flipped &= subject.clock.intervals <= 1 / slowest
    labels = [
        _label(bool(turn), [limb for limb, rows in exchanges.items() if rows[row]])
        for row, turn in enumerate(turns)
    ]
    known = in_parts(lambda some: np.isfinite(steps(some)).all((1, 2)), subject.rooted, reach=1)
    values = np.where(known, flipped, np.nan)
    signal = Signal(values, subject.clock, labels)
    moments = signal.moments(0.5)
    count = float(len(moments)) if np.isfinite(values).any() else np.nan
    return [found(name, count, unit, thresholds.limits(name), signal, moments)]


def _turns(subject: Subject, flip_angle: float) -> Bool[ndarray, "T"]:
    """The frames into which the body turns about.

    Within `FLIP_SECONDS` the orientation changes by more than the angle; of the steps that take
    part in that, the largest is the flip.
    """
    reach = max(1, int(FLIP_SECONDS * subject.fps + 1e-6))

    def angles(span: int) -> Float[ndarray, "T"]:
        return in_parts(lambda some: _angles(some, span), subject.orientation, reach=span)

    single = angles(1)
    flipped = np.zeros(len(subject), bool)
    whole = np.zeros(len(subject), bool)
    for span in range(1, reach + 1):
        with np.errstate(invalid="ignore"):
            ends = np.flatnonzero(angles(span) > flip_angle)
        for end in ends:
            steps = np.arange(end - span + 1, end + 1)
            # A narrower window has found this one already.
            if not whole[steps].any():
                flipped[steps[single[steps].argmax()]] = True
        for end in ends:
            whole[end - span + 1 : end + 1] = True
    return flipped


def _angles(orientation: Float[ndarray, "T 3 3"], span: int) -> Float[ndarray, "T"]:
    """Degrees from `span` frames before; NaN at the first ones."""
    angles = np.full(len(orientation), np.nan)
    if span < len(orientation):
        later, earlier = (
            torch.from_numpy(part) for part in (orientation[span:], orientation[:-span])
        )
        angles[span:] = np.degrees(geodesic_angle(earlier, later).numpy())
    return angles


def _exchanged(subject: Subject, limb: str, thresholds: Thresholds) -> Bool[ndarray, "T"]:
    """Frames whose joints lie much nearer to those of the other side in the frame before.

    As seen by the pelvis. Limbs hang on their own side whichever way they are bent, so the other
    side's joints are tried as they were and mirrored.
    """
    left = _LIMBS[limb]
    right = tuple(mirrored(joint) for joint in left)
    own, other = SMPL24.indices(*left, *right), SMPL24.indices(*right, *left)
    least = max(thresholds.flip_distance, thresholds.flip_speed / subject.fps)

    def changed(rooted: ndarray, orientation: ndarray) -> ndarray:
        local = rooted @ orientation
        before, now = local[:-1], local[1:, own]
        kept = np.linalg.norm(now - before[:, own], axis=-1).mean(1)
        swapped = np.minimum(
            np.linalg.norm(now - before[:, other], axis=-1).mean(1),
            np.linalg.norm(now - before[:, other] * np.array([-1.0, 1.0, 1.0]), axis=-1).mean(1),
        )
        with np.errstate(invalid="ignore"):
            found = (kept > least) & (swapped < thresholds.flip_ratio * kept)
        return np.concatenate([[False], found])

    return in_parts(changed, subject.rooted, subject.orientation, reach=1)


def _label(turned: bool, limbs: list[str]) -> str:
    words = ["turned about"] if turned else []
    return ", ".join(words + [f"{limb} change sides" for limb in limbs])
