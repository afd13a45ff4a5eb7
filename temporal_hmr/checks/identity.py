"""Whether a track stays with one person: people who change places, and tracks that jump."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.checks.findings import Finding, Signal, found
from temporal_hmr.checks.parts import in_parts
from temporal_hmr.checks.smoothness import jumps, pelvis_path
from temporal_hmr.checks.subject import Subject, steps, velocities
from temporal_hmr.checks.thresholds import Thresholds
from temporal_hmr.on_disk import let_go

_LONGEST_BLINK = 0.5
"""Seconds that two people may be out of sight together and still be compared before and after."""
_WITHIN_ROUNDING = 1e-6
_SIGNS = ("pelvis", "pose", "shape", "size")


def identity_findings(subjects: Sequence[Subject], thresholds: Thresholds) -> list[list[Finding]]:
    """For every person: exchanges with the others, and breaks within their own track."""
    exchanged = [np.zeros(len(subject)) for subject in subjects]
    partners: list[dict[int, str]] = [{} for _ in subjects]
    for one, first in enumerate(subjects):
        for two in range(one + 1, len(subjects)):
            for frame in swaps(first, subjects[two], thresholds):
                for mine, other in ((one, two), (two, one)):
                    row = int(subjects[mine].rows_of(frame))
                    exchanged[mine][row] = 1.0
                    partners[mine][row] = f"with {subjects[other].name}"
    findings = []
    for subject, values, partner in zip(subjects, exchanged, partners, strict=True):
        labels = [partner.get(row, "") for row in range(len(subject))]
        signal = Signal(values, subject.clock, labels)
        moments = signal.moments(0.5)
        limits = thresholds.limits("swaps")
        swapped = found("swaps", float(len(moments)), "swaps", limits, signal, moments)
        findings.append([swapped, _breaks(subject, thresholds)])
    return findings


def swaps(first: Subject, second: Subject, thresholds: Thresholds) -> list[int]:
    """Frame numbers in which two people continue each other rather than themselves.

    Two costs of going on from the last frame in which both were seen: each as themselves, or each
    as the other. Both are judged by bodies (mean distance of joints) and by boxes (distance of
    centres over their height); the one that is the plainer decides. Whoever goes on at the speed
    they had counts as continuing themselves, even where somebody else stood nearer.
    """
    frames = np.intersect1d(_seen(first), _seen(second))
    times = first.clock.times[first.rows_of(frames)]
    kept_bodies, crossed_bodies = _body_costs(first, second, frames)
    kept_boxes, crossed_boxes = _costs(*_boxes(first, second, frames))[1:].T
    near = np.diff(times) <= _WITHIN_ROUNDING + max(1 / min(first.fps, second.fps), _LONGEST_BLINK)
    found_rows = np.zeros(max(len(frames) - 1, 0), bool)
    for kept, crossed, least in (
        (kept_bodies, crossed_bodies, thresholds.swap_distance),
        (kept_boxes, crossed_boxes, thresholds.swap_box_distance),
    ):
        with np.errstate(invalid="ignore"):
            found_rows |= (kept - crossed > least) & (crossed < thresholds.swap_ratio * kept)
    return frames[1:][found_rows & near].tolist()


def _seen(subject: Subject) -> ndarray:
    """Numbers of the frames that are no guesses."""
    return subject.clock.numbers[subject.finite & ~subject.filled]


def _body_costs(
    first: Subject, second: Subject, frames: ndarray
) -> tuple[Float[ndarray, "N-1"], Float[ndarray, "N-1"]]:
    """Of joints before the camera, the one place that both are sure to share."""
    if first.camera_place is None or second.camera_place is None:
        nothing = np.full(max(len(frames) - 1, 0), np.nan)
        return nothing, nothing
    one, two = first.camera_place.joints, second.camera_place.joints

    def costs(rows_of_one: ndarray, rows_of_two: ndarray) -> ndarray:
        found = _costs(one[rows_of_one], two[rows_of_two])
        let_go(one, two)
        return found

    rows = first.rows_of(frames), second.rows_of(frames)
    kept, crossed = in_parts(costs, *rows, reach=2)[1:].T
    return kept, crossed


def _boxes(
    first: Subject, second: Subject, frames: ndarray
) -> tuple[Float[ndarray, "N 1 2"], Float[ndarray, "N 1 2"]]:
    """Centres of both boxes over the mean of their heights."""
    if first.boxes is None or second.boxes is None:
        nothing = np.full((len(frames), 1, 2), np.nan)
        return nothing, nothing
    one, two = (
        subject.boxes[subject.rows_of(frames)]  # type: ignore[index]
        for subject in (first, second)
    )
    height = 0.5 * (one[:, 3] - one[:, 1] + two[:, 3] - two[:, 1])
    # One height for the clip: a box that shrinks where somebody is hidden must not move people.
    usual = np.nanmedian(height) if np.isfinite(height).any() else np.nan
    return tuple(  # type: ignore[return-value]
        (0.5 * (box[:, :2] + box[:, 2:]) / usual)[:, None] for box in (one, two)
    )


def _costs(
    first: Float[ndarray, "N P D"], second: Float[ndarray, "N P D"]
) -> Float[ndarray, "N 2"]:
    """Mean distances of points over both people if each goes on as themselves, or as the other.

    From the row before; NaN at the first.
    """
    kept = 0.5 * (_gone_on(first) + _gone_on(second))
    crossed = 0.5 * (
        np.linalg.norm(second[1:] - first[:-1], axis=-1).mean(1)
        + np.linalg.norm(first[1:] - second[:-1], axis=-1).mean(1)
    )
    return np.pad(np.stack([kept, crossed], 1), ((1, 0), (0, 0)), constant_values=np.nan)


def _gone_on(points: Float[ndarray, "N P D"]) -> Float[ndarray, "N-1"]:
    """Mean distance to where the points were, or to where their speed would have taken them."""
    steps = np.diff(points, axis=0)
    stayed = np.linalg.norm(steps, axis=-1).mean(1)
    moved = np.full_like(stayed, np.nan)
    moved[1:] = np.linalg.norm(np.diff(steps, axis=0), axis=-1).mean(1)
    return np.fmin(stayed, moved)


def _breaks(subject: Subject, thresholds: Thresholds) -> Finding:
    """Frames in which at least two things change at once that change slowly in one person."""
    signs = dict(zip(_SIGNS, _signs(subject, thresholds), strict=True))
    number = np.sum(list(signs.values()), axis=0)
    labels = [
        " and ".join(sign for sign, rows in signs.items() if rows[row])
        for row in range(len(subject))
    ]
    signal = Signal(number.astype(float), subject.clock, labels)
    moments = signal.moments(1.5)
    limits = thresholds.limits("breaks")
    return found("breaks", float(len(moments)), "breaks", limits, signal, moments)


def _signs(subject: Subject, thresholds: Thresholds) -> tuple[Bool[ndarray, "T"], ...]:
    """Jumps of the pelvis, the pose, the shape and the size in the image, from the frame before."""
    none = np.full(len(subject), np.nan)
    place = subject.world_place or subject.camera_place
    pelvis = none if place is None else _pelvis_jumps(subject, place.joints)
    pose = in_parts(
        lambda some: np.linalg.norm(steps(some), axis=-1).mean(1), subject.rooted, reach=1
    )
    shape = in_parts(lambda some: np.abs(steps(some)).max(1), subject.betas, reach=1)
    size = none
    if subject.boxes is not None:
        with np.errstate(invalid="ignore", divide="ignore"):
            size = np.abs(steps(np.log(subject.boxes[:, 3] - subject.boxes[:, 1])))
    with np.errstate(invalid="ignore"):
        return (
            pelvis > thresholds.pelvis_jump_fail,
            pose > thresholds.break_pose,
            shape > thresholds.break_shape,
            size > np.log(thresholds.break_size),
        )


def _pelvis_jumps(subject: Subject, joints: Float[ndarray, "T 24 3"]) -> Float[ndarray, "T"]:
    path, intervals = pelvis_path(joints), subject.clock.intervals
    return in_parts(lambda *some: jumps(velocities(*some))[:, 0], path, intervals, reach=3)
