"""Whether there is a result at all: frames that are missing, not finite, or guessed."""

import numpy as np

from temporal_hmr.checks.findings import Finding, Signal, found, not_judged, with_remarks
from temporal_hmr.checks.subject import Subject
from temporal_hmr.checks.thresholds import Thresholds


def presence_findings(subject: Subject, thresholds: Thresholds) -> list[Finding]:
    """NaN frames, gaps between first and last frame, and the share of filled frames."""
    return [
        _nan_frames(subject, thresholds),
        _gaps(subject, thresholds),
        _filled(subject, thresholds),
    ]


def _nan_frames(subject: Subject, thresholds: Thresholds) -> Finding:
    broken = Signal((subject.present & ~subject.finite).astype(float), subject.clock)
    count = float(broken.values.sum())
    limits = thresholds.limits("nan_frames")
    return found("nan_frames", count, "frames", limits, broken, broken.moments(0.5))


def _gaps(subject: Subject, thresholds: Thresholds) -> Finding:
    """The longest time without a frame."""
    missing = Signal((~subject.present).astype(float), subject.clock)
    moments = missing.moments(0.5)
    longest = max((moment.seconds for moment in moments), default=0.0)
    finding = found("gap", longest, "s", thresholds.limits("gap"), missing, moments)
    return with_remarks(finding, note=f"{int(missing.values.sum())} of {len(subject)} frames")


def _filled(subject: Subject, thresholds: Thresholds) -> Finding:
    if not subject.tells_filled:
        return not_judged("filled", "%", "the file does not say which frames are guesses")
    filled = np.where(subject.present, subject.filled, np.nan).astype(float)
    signal = Signal(filled, subject.clock)
    limits = thresholds.limits("filled")
    return found("filled", 100.0 * signal.mean(), "%", limits, signal, signal.moments(0.5))
