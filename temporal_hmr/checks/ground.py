"""Feet on the ground: whether they stand still there, and whether they sink into it."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.checks.findings import Finding, Moment, Signal, found, not_judged, with_remarks
from temporal_hmr.checks.parts import in_parts
from temporal_hmr.checks.plane import Ground, estimate_ground, soles_of
from temporal_hmr.checks.subject import Place, Subject, velocities
from temporal_hmr.checks.thresholds import Thresholds

_NAMES = (("foot_skate", "m/s"), ("foot_slide", "s"), ("penetration", "mm"), ("foot_sunk", "mm"))
_LEAST_PAIRS = 5
_LEAST_FPS = 10.0
"""Below, a step in a run is over between two frames."""


def ground_findings(subject: Subject, thresholds: Thresholds, static_camera: bool) -> list[Finding]:
    """Foot skate and penetration, in the world frame, or in that of a camera that stands still."""
    space, place = "world", subject.world_place
    if place is None and static_camera:
        space, place = "camera", subject.camera_place
    if place is None:
        why = "the file has no place in a world"
        if subject.camera_place is None:
            why += " or before the camera"
        elif not static_camera:
            why += "; if the camera stands still, say --static-camera"
        return [not_judged(name, unit, why) for name, unit in _NAMES]
    ground = estimate_ground(place, subject.fps, thresholds.ground_share, space == "world")
    if isinstance(ground, str):
        return [not_judged(name, unit, ground, space) for name, unit in _NAMES]
    findings = [
        *_skating(subject, place, ground, thresholds),
        _penetration(subject, place, ground, thresholds),
        _sunk(subject, place, ground, thresholds),
    ]
    return [with_remarks(finding, space) for finding in findings]


def support_speed(
    subject: Subject, place: Place, ground: Ground, contact_height: float
) -> Float[ndarray, "T"]:
    """Of what bears the body's weight, if it stands: along the ground, from the frame before, m/s.

    That is the slowest of the foot points that are low in both frames: while one foot stands, the
    other may go where it likes. NaN while both are in the air.
    """
    feet_of = soles_of(place, ground.normal)

    def slowest(points: ndarray, intervals: ndarray) -> ndarray:
        feet = feet_of(points)
        speeds = ground.along(velocities(feet, intervals))
        with np.errstate(invalid="ignore"):
            low = ground.heights(feet) < contact_height
        stays_low = low & np.concatenate([low[:1], low[:-1]])
        found = np.where(stays_low & np.isfinite(speeds), speeds, np.inf).min(1)
        return np.where(np.isfinite(found), found, np.nan)

    return in_parts(slowest, place.points, subject.clock.intervals, reach=1)


def _skating(
    subject: Subject, place: Place, ground: Ground, thresholds: Thresholds
) -> list[Finding]:
    """The mean speed of feet that stand, and the longest time for which low feet do not stand."""
    if subject.fps < _LEAST_FPS:
        why = f"below {_LEAST_FPS:.0f} frames per second a step may be over between two frames"
        return [not_judged(name, unit, why) for name, unit in _NAMES[:2]]
    speed = support_speed(subject, place, ground, thresholds.contact_height)
    if np.isfinite(speed).sum() < _LEAST_PAIRS:
        why = "the feet are hardly ever near the ground"
        return [not_judged(name, unit, why) for name, unit in _NAMES[:2]]
    signal = Signal(speed, subject.clock)
    moments = signal.moments(thresholds.slide_speed)
    longest = max((moment.seconds for moment in moments), default=0.0)
    limits = thresholds.limits("foot_slide")
    long = tuple(moment for moment in moments if moment.seconds > limits.warn)
    slide = found("foot_slide", longest, "s", limits, signal, long)
    return [_skate(subject, signal, long, thresholds), slide]


def _skate(
    subject: Subject, signal: Signal, slides: tuple[Moment, ...], thresholds: Thresholds
) -> Finding:
    """Mean over the frames in which the feet are slow enough to be standing."""
    with np.errstate(invalid="ignore"):
        standing = signal.values <= thresholds.contact_speed
    if not standing.any():
        return not_judged("foot_skate", "m/s", "the feet never stand: see foot_slide")
    value = float(signal.values[standing].mean())
    finding = found("foot_skate", value, "m/s", thresholds.limits("foot_skate"), signal, slides)
    per_frame = f"{1000 * value / subject.fps:.1f} mm per frame"
    return with_remarks(
        finding, note=f"{per_frame}, standing in {standing.sum()} of {len(subject)} frames"
    )


def _penetration(subject: Subject, place: Place, ground: Ground, thresholds: Thresholds) -> Finding:
    """How deep the lowest joint or foot point is below the ground: mean over all frames."""
    feet_of = soles_of(place, ground.normal)

    def lowest(joints: ndarray, points: ndarray) -> ndarray:
        return ground.heights(np.concatenate([joints, feet_of(points)], 1)).min(1)

    signal = _depth(subject, in_parts(lowest, place.joints, place.points))
    limits = thresholds.limits("penetration")
    moments = signal.moments(thresholds.foot_sunk_fail)
    finding = found("penetration", signal.mean(), "mm", limits, signal, moments)
    return with_remarks(finding, note=f"at most {signal.highest():.0f} mm")


def _sunk(subject: Subject, place: Place, ground: Ground, thresholds: Thresholds) -> Finding:
    """How deep a whole foot is below the ground: its highest point counts.

    Toes alone may dip below the plane when somebody rolls over them: bodies have stiff toes.
    """
    feet_of = soles_of(place, ground.normal)

    def highest_of_lower(points: ndarray) -> ndarray:
        return ground.heights(feet_of(points)).reshape(len(points), 2, -1).max(2).min(1)

    signal = _depth(subject, in_parts(highest_of_lower, place.points))
    limits = thresholds.limits("foot_sunk")
    return found("foot_sunk", signal.highest(), "mm", limits, signal, signal.moments(limits.warn))


def _depth(subject: Subject, heights: Float[ndarray, "T"]) -> Signal:
    """Millimetres below the ground."""
    depth = np.where(np.isnan(heights), np.nan, np.maximum(-1000.0 * heights, 0.0))
    return Signal(depth, subject.clock)
