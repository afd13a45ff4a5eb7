"""Whether somebody moves as people do: jitter, teleports, and frames that are frozen."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.checks.findings import Finding, Limits, Signal, found, not_judged, with_remarks
from temporal_hmr.checks.parts import in_parts
from temporal_hmr.checks.subject import Subject, steps, velocities
from temporal_hmr.checks.thresholds import Thresholds
from temporal_hmr.checks.timing import derivative
from temporal_hmr.skeleton import SMPL24

ROOT_RELATIVE = "root-relative"
_PELVIS = SMPL24.index("pelvis")
_BURST_SECONDS = 1.0
_BRIDGED_SECONDS = 0.2
_JITTER_UNIT = 10.0
"""m/s^3."""


def smoothness_findings(subject: Subject, thresholds: Thresholds) -> list[Finding]:
    """Jitter, teleports and frozen frames, in every frame of coordinates that the result has."""
    places = {"camera": subject.camera_place, "world": subject.world_place}
    known = {space: place.joints for space, place in places.items() if place is not None}
    findings = [
        with_remarks(_jitter(subject, joints, thresholds), space)
        for space, joints in {**known, ROOT_RELATIVE: subject.rooted}.items()
    ]
    findings.append(with_remarks(_jitter_burst(subject, thresholds), ROOT_RELATIVE))
    for space, joints in known.items():
        findings += [
            with_remarks(finding, space)
            for finding in _teleports(subject, pelvis_path(joints), "pelvis", thresholds)
        ]
    if not known:
        why = "the file gives no place, only poses"
        findings += [not_judged(name, "m/s", why) for name in ("pelvis_speed", "pelvis_jump")]
    findings += [
        with_remarks(finding, ROOT_RELATIVE)
        for finding in _teleports(subject, subject.rooted, "joint", thresholds)
    ]
    return [*findings, *_frozen(subject, thresholds)]


def jitter_limits(name: str, thresholds: Thresholds, fps: float) -> Limits:
    """The limits of a jitter figure at a frame rate: they are stated for 30 frames per second."""
    limits = thresholds.limits(name)
    factor = (fps / 30.0) ** thresholds.jitter_rate_exponent
    return Limits(limits.warn * factor, limits.fail * factor)


def _jitter(subject: Subject, joints: Float[ndarray, "T 24 3"], thresholds: Thresholds) -> Finding:
    """Mean over the clip; the moments are stretches beyond the limit of a one-second burst."""
    signal = _jitter_signal(subject, joints)
    limits = jitter_limits("jitter", thresholds, subject.fps)
    loud = jitter_limits("jitter_burst", thresholds, subject.fps).fail
    moments = signal.moments(loud, _BRIDGED_SECONDS)
    return found("jitter", signal.mean(), "10 m/s^3", limits, signal, moments)


def _jitter_burst(subject: Subject, thresholds: Thresholds) -> Finding:
    """The highest mean over a second; where the clip is shorter, over the clip."""
    signal = _jitter_signal(subject, subject.rooted)
    known = np.isfinite(signal.values)
    window = np.ones(min(max(round(_BURST_SECONDS * subject.fps), 1), len(subject)))
    number = np.convolve(known, window, "same")
    total = np.convolve(np.where(known, signal.values, 0.0), window, "same")
    # A gap may leave little of a second, and little of anything is noisy.
    enough = number >= min(0.5 * len(window), known.sum())
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(enough & (number > 0.5), total / number, np.nan)
    signal = Signal(means, subject.clock)
    limits = jitter_limits("jitter_burst", thresholds, subject.fps)
    moments = signal.moments(limits.warn, _BRIDGED_SECONDS)
    return found("jitter_burst", signal.highest(), "10 m/s^3", limits, signal, moments)


def _jitter_signal(subject: Subject, joints: Float[ndarray, "T 24 3"]) -> Signal:
    """As `metrics.jitter` defines it, with the times of the frames in the place of a rate."""

    def mean_sizes(some: ndarray, intervals: ndarray) -> ndarray:
        return np.linalg.norm(derivative(some, intervals, 3), axis=-1).mean(1)

    sizes = in_parts(mean_sizes, joints, subject.clock.intervals, reach=3)
    return Signal(sizes / _JITTER_UNIT, subject.clock)


def pelvis_path(joints: Float[ndarray, "T 24 3"]) -> Float[ndarray, "T 1 3"]:
    """The pelvis alone."""
    return in_parts(lambda some: some[:, [_PELVIS]], joints)


def _teleports(
    subject: Subject, points: Float[ndarray, "T P 3"], kind: str, thresholds: Thresholds
) -> list[Finding]:
    """The fastest step, and the step that stands out most from those around it; both m/s."""

    def worst(some: ndarray, intervals: ndarray) -> ndarray:
        moved = velocities(some, intervals)
        return np.hstack([_worst(np.linalg.norm(moved, axis=-1)), _worst(jumps(moved))])

    names = SMPL24.joints if kind == "joint" else ("",)
    columns = in_parts(worst, points, subject.clock.intervals, reach=3).T
    findings = []
    for name, values, joints in (
        (f"{kind}_speed", *columns[:2]),
        (f"{kind}_jump", *columns[2:]),
    ):
        signal = Signal(values, subject.clock, [names[int(joint)] for joint in joints])
        limits = thresholds.limits(name)
        moments = signal.moments(limits.warn)
        findings.append(found(name, signal.highest(), "m/s", limits, signal, moments))
    return findings


def jumps(steps: Float[ndarray, "T P 3"]) -> Float[ndarray, "T P"]:
    """How far each step is from the median of the two before and the two after it.

    A median, so that a jump does not make its neighbours look like jumps too. NaN where fewer than
    two of the four are known.
    """
    padding = np.full((2, *steps.shape[1:]), np.nan)
    padded = np.concatenate([padding, steps, padding])
    around = np.stack([padded[shift : shift + len(steps)] for shift in (0, 1, 3, 4)])
    known = np.isfinite(around).all(-1).sum(0) >= 2
    # In rows without any, a zero keeps the median from complaining.
    around[:, ~known] = 0.0
    sizes = np.linalg.norm(steps - np.nanmedian(around, axis=0), axis=-1)
    return np.where(known, sizes, np.nan)


def _worst(sizes: Float[ndarray, "T P"]) -> Float[ndarray, "T 2"]:
    """The greatest of every frame, and which that is."""
    worst = np.where(np.isnan(sizes), -1.0, sizes).argmax(1)
    return np.stack([sizes[np.arange(len(sizes)), worst], worst], 1)


def _frozen(subject: Subject, thresholds: Thresholds) -> list[Finding]:
    """The longest time for which one pose is repeated, and how many frames repeat the last one."""
    moved = in_parts(
        lambda some: np.linalg.norm(steps(some), axis=-1).max(1), subject.rooted, reach=1
    )
    repeats = np.where(np.isnan(moved), np.nan, moved < thresholds.frozen_motion)
    signal = Signal(repeats, subject.clock)
    moments = signal.moments(0.5)
    longest = max((moment.seconds for moment in moments), default=0.0)
    share = 100.0 * signal.mean()
    values = ((longest if np.isfinite(share) else np.nan), share)
    return [
        found(name, value, unit, thresholds.limits(name), signal, moments)
        for name, value, unit in zip(("frozen", "repeated"), values, ("s", "%"), strict=True)
    ]
