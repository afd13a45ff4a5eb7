"""Whether the body stays the same body: lengths of bones, and coefficients of shape."""

from functools import partial

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.checks.findings import Finding, Signal, found, not_judged, with_remarks
from temporal_hmr.checks.parts import in_parts
from temporal_hmr.checks.subject import Subject
from temporal_hmr.checks.thresholds import Thresholds
from temporal_hmr.skeleton import SMPL24

_PARENTS = list(SMPL24.parents[1:])
_BONES = [
    f"{SMPL24.joints[parent]}-{joint}"
    for parent, joint in zip(_PARENTS, SMPL24.joints[1:], strict=True)
]


def shape_findings(subject: Subject, thresholds: Thresholds) -> list[Finding]:
    """How far bones and shape coefficients stray from their median over the clip."""
    return [_bone_lengths(subject, thresholds), _betas(subject, thresholds)]


def bone_lengths(joints: Float[ndarray, "T 24 3"]) -> Float[ndarray, "T 23"]:
    """From every joint but the pelvis to its parent, metres."""
    return np.linalg.norm(joints[:, 1:] - joints[:, _PARENTS], axis=-1)


def _bone_lengths(subject: Subject, thresholds: Thresholds) -> Finding:
    name, unit = "bone_drift", "%"
    if not subject.own_body:
        return not_judged(name, unit, "lengths need the system's own body: give it with --body")
    known = in_parts(lambda some: np.isfinite(bone_lengths(some)).all(1), subject.rooted)
    if not known.any():
        return not_judged(name, unit, "there are no good frames")
    usual = _usual_lengths(subject, known)

    def drifts(joints: ndarray) -> ndarray:
        away = np.abs(bone_lengths(joints) - usual)
        # A body of which two joints coincide has a bone of no length, that cannot drift in percent.
        share = 100.0 * away / np.where(usual > 0, usual, np.inf)
        bones = np.where(np.isnan(share), -1.0, share).argmax(1)
        worst = share[np.arange(len(share)), bones]
        return np.stack([worst, bones, share.mean(1), away.mean(1), away.max(1)], 1)

    worst, bones, shares, means, highest = in_parts(drifts, subject.rooted).T
    signal = Signal(worst, subject.clock, [_BONES[int(bone)] for bone in bones])
    limits = thresholds.limits(name)
    moments = signal.moments(limits.warn)
    finding = found(name, signal.highest(), unit, limits, signal, moments)
    note = (
        f"at most {1000 * np.nanmax(highest):.1f} mm, "
        f"mean {np.nanmean(shares):.2g} % and {1000 * np.nanmean(means):.2g} mm"
    )
    return with_remarks(finding, note=note)


def _usual_lengths(subject: Subject, known: Bool[ndarray, "T"]) -> Float[ndarray, "23"]:
    """Medians over the known frames, some bones at a time: they need all frames at once."""

    def lengths(first: int, joints: ndarray) -> ndarray:
        return bone_lengths(joints)[:, first : first + 4]

    usual = [
        np.median(in_parts(partial(lengths, first), subject.rooted)[known], axis=0)
        for first in range(0, len(_BONES), 4)
    ]
    return np.concatenate(usual)


def _betas(subject: Subject, thresholds: Thresholds) -> Finding:
    """The coefficient that strays furthest, in standard deviations; needs no body."""
    known = subject.finite
    usual = np.median(subject.betas[known], axis=0) if known.any() else np.zeros(10)

    def furthest(betas: ndarray) -> ndarray:
        away = np.abs(betas - usual)
        worst = np.where(np.isnan(away), -1.0, away).argmax(1)
        return np.stack([away[np.arange(len(away)), worst], worst], 1)

    values, worst = in_parts(furthest, subject.betas).T
    labels = [f"betas[{int(number)}]" for number in worst]
    signal = Signal(values, subject.clock, labels)
    limits = thresholds.limits("shape_drift")
    moments = signal.moments(limits.warn)
    return found("shape_drift", signal.highest(), "sd", limits, signal, moments)
