"""The ground that somebody walks on, estimated from where their feet come to rest."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.checks.parts import in_parts
from temporal_hmr.checks.subject import Place
from temporal_hmr.skeleton import COCO23, SMPL24

FEET = COCO23.indices(
    *(f"{side}_{point}" for side in ("left", "right") for point in ("big_toe", "small_toe", "heel"))
)
_UPRIGHT = 0.7
"""Least length of the mean of the body's up directions: below, somebody lies or rolls about."""
_STEEPEST = 25.0
"""Degrees between the ground's normal and the body's mean up direction."""
_RESTING = 0.1
"""m/s; a lowest point that rises or falls more slowly may stand on the ground."""
_SCATTER = 0.03
"""Metres; how far resting points scatter about the ground (a foot rolls from heel to toe)."""
_LEAN = 0.1
"""Metres; resting points spread so wide tell as much of the slope as the body's own direction."""
_ON_PLANE = 0.08
"""Metres from the plane; resting points further away are not on it."""
_BEYOND = 1.0
"""Metres beyond the furthest resting point for which the plane is believed."""
_WORSE_FIT = 0.1
"""In mean log(1 + (distance / scatter)^2), as if each point were a centimetre further away."""
_LEAST_RESTING = 5
_ROUNDS = 12


@dataclass(frozen=True, eq=False)
class Ground:
    """A plane: `normal @ x == height`."""

    normal: Float[ndarray, "3"]
    """Unit length, up."""
    height: float
    share: float
    """Of the resting points, how many are within 8 cm of it."""
    centre: Float[ndarray, "3"]
    reach: float
    """Metres from the centre to which it is known; a slope cannot be told from a few footprints."""

    def heights(self, points: Float[ndarray, "*b 3"]) -> Float[ndarray, "*b"]:
        """Metres above the plane; NaN out of reach."""
        known = self.along(points - self.centre) <= self.reach
        return np.where(known, points @ self.normal - self.height, np.nan)

    def along(self, vectors: Float[ndarray, "*b 3"]) -> Float[ndarray, "*b"]:
        """Length of the part that is parallel to the plane."""
        return np.linalg.norm(vectors - (vectors @ self.normal)[..., None] * self.normal, axis=-1)


def soles_of(place: Place, normal: Float[ndarray, "3"]) -> Callable[[ndarray], ndarray]:
    """The foot points of some frames, each lowered by its height above the sole.

    They are level when a foot is flat.
    """
    lowered = place.rest_heights[FEET][:, None] * normal
    return lambda points: points[:, FEET] - lowered


def estimate_ground(
    place: Place, fps: float, least_share: float, often_level: bool
) -> Ground | str:
    """The plane that the feet rest on, or why none can be told.

    In every frame the lowest point of the feet is taken; those that neither rise nor fall are
    resting, on the ground for the most part. A plane is laid through them by least squares with
    weights that fade with distance (Cauchy), and with the mean direction from ankles to neck as a
    prior for its normal, which decides where the feet do not get about enough. Where planes are
    `often_level`, as in worlds whose axis is gravity, one whose normal is an axis is preferred if
    it fits about as well.
    """
    up = _body_up(place)
    if isinstance(up, str):
        return up
    sloped = _laid(place, fps, up, fixed=False)
    if sloped is None:
        return f"the feet are at rest in fewer than {_LEAST_RESTING} frames"
    ground, cost = sloped
    nearest = np.abs(up).argmax()
    axis = np.sign(up[nearest]) * np.eye(3)[nearest]
    level = _laid(place, fps, axis, fixed=True) if often_level else None
    if level is not None and level[1] - cost < _WORSE_FIT:
        ground = level[0]
    if _angle(ground.normal, up) > _STEEPEST:
        return f"the feet rest on something steeper than {_STEEPEST:.0f} degrees"
    if ground.share < least_share:
        return "the feet do not rest on one plane (stairs, or something climbed)"
    return ground


def _laid(
    place: Place, fps: float, up: Float[ndarray, "3"], fixed: bool
) -> tuple[Ground, float] | None:
    """A plane through the resting points and how badly it fits; None if there are hardly any.

    The normal is `up` if it is `fixed`, else near it.
    """
    normal, height = up, np.nan
    for _ in range(_ROUNDS):
        resting = _resting(place, normal, fps)
        if len(resting) < _LEAST_RESTING:
            return None
        heights = resting @ normal
        height = float(np.median(heights)) if np.isnan(height) else height
        weights = 1.0 / (1.0 + ((heights - height) / _SCATTER) ** 2)
        if fixed:
            height = float(weights @ heights / weights.sum())
        else:
            normal, height = _fitted(resting, weights, up)
    away = np.abs(resting @ normal - height)
    cost = float(np.log1p((away / _SCATTER) ** 2).mean())
    on_plane = away < _ON_PLANE
    centre = np.median(resting, axis=0)
    ground = Ground(normal, height, float(on_plane.mean()), centre, np.inf)
    distances = ground.along(resting[on_plane] - centre)
    return replace(ground, reach=distances.max(initial=0.0) + _BEYOND), cost


def _angle(first: Float[ndarray, "3"], second: Float[ndarray, "3"]) -> float:
    """Degrees between unit vectors."""
    return float(np.degrees(np.arccos(np.clip(first @ second, -1, 1))))


def _body_up(place: Place) -> Float[ndarray, "3"] | str:
    """Mean direction from between the ankles to the neck."""
    neck, left, right = SMPL24.indices("neck", "left_ankle", "right_ankle")
    spine = in_parts(
        lambda joints: joints[:, neck] - 0.5 * (joints[:, left] + joints[:, right]), place.joints
    )
    spine = spine[np.isfinite(spine).all(1)]
    if not len(spine):
        return "there are no good frames"
    mean = (spine / np.linalg.norm(spine, axis=1, keepdims=True)).mean(0)
    length = np.linalg.norm(mean)
    return mean / length if length > _UPRIGHT else "the person is not upright for most of the time"


def _resting(place: Place, normal: Float[ndarray, "3"], fps: float) -> Float[ndarray, "N 3"]:
    """The lowest foot point of every frame in which it hardly rises or falls.

    Where everything shakes so much that fewer than a quarter do, the calmest quarter.
    """
    feet_of = soles_of(place, normal)

    def lowest_points(points: ndarray) -> ndarray:
        feet = feet_of(points)
        heights = feet @ normal
        lowest = np.where(np.isnan(heights), np.inf, heights).argmin(1)
        rows = np.arange(len(feet))
        height, point = heights[rows, lowest], feet[rows, lowest]
        rise = np.full(len(feet), np.inf)
        rise[1:] = np.abs(heights[rows[1:], lowest[1:]] - heights[rows[:-1], lowest[1:]]) * fps
        rise = np.where(np.isnan(rise) | np.isnan(height), np.inf, rise)
        return np.column_stack([rise, point])

    found = in_parts(lowest_points, place.points, reach=1)
    rise, point = found[:, 0], found[:, 1:]
    known = np.isfinite(rise)
    if not known.any():
        return point[known]
    return point[known & (rise <= max(_RESTING, np.quantile(rise[known], 0.25)))]


def _fitted(
    points: Float[ndarray, "N 3"], weights: Float[ndarray, "N"], up: Float[ndarray, "3"]
) -> tuple[Float[ndarray, "3"], float]:
    """Weighted least squares for heights along `up` as a linear function of the place."""
    share = weights / weights.sum()
    centre = share @ points
    offsets = points - centre
    across = np.linalg.svd(up[None])[2][1:]
    flat, tall = offsets @ across.T, offsets @ up
    normal_matrix = (flat * share[:, None]).T @ flat + _LEAN**2 * np.eye(2)
    slope = np.linalg.solve(normal_matrix, (flat * share[:, None]).T @ tall)
    normal = up - slope @ across
    normal = normal / np.linalg.norm(normal)
    return normal, float(normal @ centre)
