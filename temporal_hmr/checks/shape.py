"""Whether the body stays the same body: lengths of bones, and coefficients of shape."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.checks.findings import Finding, Signal, found, not_judged, with_remarks
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
    lengths = bone_lengths(subject.rooted)
    known = np.isfinite(lengths).all(1)
    if not known.any():
        return not_judged(name, unit, "there are no good frames")
    usual = np.median(lengths[known], axis=0)
    away = np.abs(lengths - usual)
    # A body of which two joints coincide has a bone of no length, which cannot drift in percent.
    share = 100.0 * away / np.where(usual > 0, usual, np.inf)
    bones = np.where(np.isnan(share), -1.0, share).argmax(1)
    labels = [_BONES[bone] for bone in bones]
    rows = np.arange(len(subject))
    signal = Signal(share[rows, bones], subject.clock, labels)
    limits = thresholds.limits(name)
    moments = signal.moments(limits.warn)
    finding = found(name, signal.highest(), unit, limits, signal, moments)
    note = (
        f"at most {1000 * np.nanmax(away):.1f} mm, "
        f"mean {np.nanmean(share):.2g} % and {1000 * np.nanmean(away):.2g} mm"
    )
    return with_remarks(finding, note=note)


def _betas(subject: Subject, thresholds: Thresholds) -> Finding:
    """The coefficient that strays furthest, in standard deviations; needs no body."""
    known = subject.finite
    usual = np.median(subject.betas[known], axis=0) if known.any() else np.zeros(10)
    away = np.abs(subject.betas - usual)
    worst = np.where(np.isnan(away), -1.0, away).argmax(1)
    values = away[np.arange(len(subject)), worst]
    labels = [f"betas[{number}]" for number in worst]
    signal = Signal(values, subject.clock, labels)
    limits = thresholds.limits("shape_drift")
    moments = signal.moments(limits.warn)
    return found("shape_drift", signal.highest(), "sd", limits, signal, moments)
