"""What a check finds: a figure, its verdict, and the moments at which it is worst."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.checks.timing import Clock

Verdict = Literal["ok", "warn", "fail", "not judged"]
SEVERITY: tuple[Verdict, ...] = ("not judged", "ok", "warn", "fail")
"""From the mildest to the worst."""


@dataclass(frozen=True)
class Limits:
    """Values above which a figure is worth a look, and above which it is wrong."""

    warn: float
    fail: float

    def verdict(self, value: float) -> Verdict:
        """A figure that is not a number cannot be judged."""
        if np.isnan(value):
            return "not judged"
        return "fail" if value > self.fail else "warn" if value > self.warn else "ok"


@dataclass(frozen=True)
class Moment:
    """A stretch of neighbouring frames, both ends included; often a single frame.

    What happens from one frame to the next is dated by the frame in which it shows.
    """

    first_frame: int
    last_frame: int
    first_time: float
    """Seconds."""
    last_time: float
    seconds: float
    """How long it lasts, its last frame included."""
    value: float
    """The worst within it, in the unit of the finding's signal."""
    what: str = ""
    """Which joint, bone or person, where that is worth telling."""


@dataclass(frozen=True)
class Finding:
    """One figure of one person."""

    name: str
    """As its thresholds are named: `jitter` is judged by `jitter_warn` and `jitter_fail`."""
    verdict: Verdict
    value: float | None
    """None where it could not be judged."""
    unit: str
    limits: Limits | None
    space: str = ""
    """Where it was measured: camera, world or root-relative; empty where that means nothing."""
    worst: Moment | None = None
    moments: tuple[Moment, ...] = ()
    """All stretches beyond the threshold, in order of time."""
    note: str = ""
    """Why it was not judged, or further figures."""


@dataclass(frozen=True, eq=False)
class Signal:
    """One number per frame that was looked at; NaN where there is nothing to judge."""

    values: Float[ndarray, "T"]
    clock: Clock
    labels: Sequence[str] = ()
    """What each number speaks of, one per frame; may be empty."""

    def moments(self, above: float, bridged: float = 0.0) -> tuple[Moment, ...]:
        """Stretches of numbers above a level, joined over pauses of up to `bridged` seconds."""
        with np.errstate(invalid="ignore"):
            flagged = self.values > above
        return tuple(self._moment(rows) for rows in _runs(flagged, int(bridged * self.clock.fps)))

    def mean(self) -> float:
        """Of what there is to judge; NaN if that is nothing."""
        known = self.values[~np.isnan(self.values)]
        return float(known.mean()) if len(known) else np.nan

    def highest(self) -> float:
        """NaN if there is nothing to judge."""
        known = self.values[~np.isnan(self.values)]
        return float(known.max()) if len(known) else np.nan

    def worst(self) -> Moment | None:
        """The single worst frame, None if there is none to judge."""
        if np.isnan(self.values).all():
            return None
        return self._moment(np.array([np.nanargmax(self.values)]))

    def _moment(self, rows: ndarray) -> Moment:
        peak = rows[np.nanargmax(self.values[rows])]
        first, last = int(rows[0]), int(rows[-1])
        clock, what = self.clock, self.labels[int(peak)] if self.labels else ""
        begin, end = (int(clock.numbers[row]) for row in (first, last))
        since, until = (float(clock.times[row]) for row in (first, last))
        seconds, value = clock.seconds(first, last), float(self.values[peak])
        return Moment(begin, end, since, until, seconds, value, what)


def found(
    name: str,
    value: float,
    unit: str,
    limits: Limits,
    signal: Signal,
    moments: tuple[Moment, ...],
) -> Finding:
    """A finding whose verdict follows from its limits."""
    if np.isnan(value):
        return not_judged(name, unit, "there are too few good frames")
    return Finding(
        name=name,
        verdict=limits.verdict(value),
        value=value,
        unit=unit,
        limits=limits,
        worst=signal.worst(),
        moments=moments,
    )


def not_judged(name: str, unit: str, why: str, space: str = "") -> Finding:
    """A figure that this result does not allow."""
    return Finding(name, "not judged", None, unit, None, space, note=why)


def with_remarks(finding: Finding, space: str = "", note: str = "") -> Finding:
    """The finding with where it was measured, and with further words behind its own."""
    notes = "; ".join(part for part in (finding.note, note) if part)
    return replace(finding, space=space or finding.space, note=notes)


def worst_verdict(verdicts: Iterable[Verdict]) -> Verdict:
    """The severest of several; `not judged` of none."""
    return SEVERITY[max((SEVERITY.index(verdict) for verdict in verdicts), default=0)]


def _runs(flagged: Bool[ndarray, "T"], bridged: int) -> list[ndarray]:
    """Groups of flagged places whose neighbours are at most `bridged` unflagged places apart."""
    places = np.flatnonzero(flagged)
    if not len(places):
        return []
    return np.split(places, np.flatnonzero(np.diff(places) > bridged + 1) + 1)
