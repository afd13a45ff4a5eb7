"""Feet held where they stand, in a world with the ground at y = 0.

A single camera tells well in which direction somebody is and badly how far, and the distance shakes
and swims. While a foot stands it tells: so the whole body is displaced, mostly along the line of
sight, such that it goes smoothly and standing feet keep their places as well as may be (least
squares over the clip). What is left of their motion, and any sole below the ground, the legs take
up if they are to lock.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from scipy.sparse import coo_array, csc_array
from scipy.sparse.linalg import splu

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.world.feet import rest_heights, smoothed, sole_points
from temporal_hmr.world.leg_reach import move_ankles

_DEPTH = 0.01
"""Standard deviation of the depth in one frame, as a share of it."""
_ASIDE = 0.015
"""Metres; of the place across the line of sight."""
_PIN = 0.01
"""Metres by which a point that stands may move."""
_PACE = 4.0
"""m/s^2; how people speed up and slow down along the line of sight."""
_UNEVEN = 4.0
"""m/s^2; the acceleration of displacements across it."""
_FADE = 0.08
"""Seconds; standard deviation over which legs take up and give back what is left."""
_ROWS_AT_ONCE = 1 << 16
"""Rows of a least-squares problem that are in memory before they are summed up."""


@dataclass(frozen=True, eq=False)
class Standing:
    """Somebody in the world (float64) on whom it is known when they stand."""

    smpl: SmplParams
    contacts: Bool[ndarray, "T 2 3"]
    """Which of big toe, small toe and heel stand, left and right."""
    times: Float[ndarray, "T"]
    camera: Float[ndarray, "3"]
    """Where in the world the camera is."""


def steady(person: Standing, body: BodyModel, lock: bool) -> SmplParams:
    """The person displaced as a whole so that standing points of the soles stay as well as may be.

    With `lock` they stay, and nothing of the soles is below the ground: hips, knees and ankles turn
    for it.
    """
    points = _soles(person.smpl, body)
    displaced, anchors = _steadied(points, person, body)
    smpl = replace(person.smpl, transl=person.smpl.transl + torch.from_numpy(displaced))
    if not lock:
        return smpl
    standing = person.contacts[..., None]
    left = np.where(standing, anchors - (points + displaced[:, None, None]), 0.0)
    smpl = move_ankles(smpl, body, _taken_up(left, person.contacts, person.times))
    # Only now is it known how deep the soles are.
    sunk = -np.minimum(_soles(smpl, body)[..., 1].min(2), 0.0)
    raised = np.zeros((*sunk.shape, 3))
    raised[..., 1] = np.maximum(sunk, smoothed(sunk, _FADE / _interval(person.times)))
    return move_ankles(smpl, body, raised) if sunk.any() else smpl


def _soles(smpl: SmplParams, body: BodyModel) -> Float[ndarray, "T 2 3 3"]:
    """The points of the soles, brought down to the ground that they would stand on."""
    points = sole_points(smpl, body)
    points[..., 1] -= rest_heights(smpl, body)
    return points


def _interval(times: Float[ndarray, "T"]) -> float:
    return float(np.median(np.diff(times))) if len(times) > 1 else 1.0


def _steadied(
    points: Float[ndarray, "T 2 3 3"], person: Standing, body: BodyModel
) -> tuple[Float[ndarray, "T 3"], Float[ndarray, "T 2 3 3"]]:
    """Displacements c of the body, and where each standing point then ought to be (else NaN).

    Least squares: c is small in the metric of the errors; along the line of sight the pelvis, and
    across it c, hardly accelerates; every standing point is where it is all the time that it
    stands, on the ground.
    """
    count, interval = len(points), _interval(person.times)
    stances = _stances(person.contacts)
    rows = _Rows(3 * count + 2 * len(stances))
    sight = (person.smpl.transl + body.rest_joints(person.smpl.betas[0])[0]).numpy()
    sight = sight - person.camera
    depth = np.linalg.norm(sight, axis=1)
    ray = sight / depth[:, None]
    rows.add_blocks(_weighed(ray, 1 / (_DEPTH * depth), np.full(count, 1 / _ASIDE)))
    if count > 2:
        pace = np.full(count - 2, 1 / (_PACE * interval**2))
        roots = _weighed(ray[1:-1], pace, pace * _PACE / _UNEVEN)
        along = (np.diff(sight, 2, axis=0) * ray[1:-1]).sum(1, keepdims=True) * ray[1:-1]
        rows.add_accelerations(roots, -np.einsum("tij,tj->ti", roots, along))
    for number, (side, point, first, stop) in enumerate(stances):
        rows.add_pins(points[first:stop, side, point], first, 3 * count + 2 * number, 1.0 / _PIN)
    solution = rows.solved()
    displaced = solution[: 3 * count].reshape(count, 3)
    anchors = np.full_like(points, np.nan)
    for number, (side, point, first, stop) in enumerate(stances):
        x, z = solution[3 * count + 2 * number :][:2]
        anchors[first:stop, side, point] = (x, 0.0, z)
    return displaced, anchors


def _weighed(
    ray: Float[ndarray, "T 3"], along: Float[ndarray, "T"], across: Float[ndarray, "T"]
) -> Float[ndarray, "T 3 3"]:
    """Matrices that multiply what lies along the ray by one number, and what lies across by one."""
    outer = ray[:, :, None] * ray[:, None]
    return across[:, None, None] * (np.eye(3) - outer) + along[:, None, None] * outer


class _Rows:
    """Rows of a sparse least-squares problem."""

    def __init__(self, unknowns: int) -> None:
        self._normal = csc_array((unknowns, unknowns))
        self._vector = np.zeros(unknowns)
        self._pending: list[tuple[ndarray, ndarray, ndarray, ndarray]] = []
        self._count = 0

    def _add(self, columns: ndarray, values: ndarray, wanted: ndarray) -> None:
        """Rows of as many entries each as `columns` has columns."""
        for first in range(0, len(wanted), _ROWS_AT_ONCE):
            part = slice(first, first + _ROWS_AT_ONCE)
            count = len(wanted[part])
            rows = self._count + np.repeat(np.arange(count), columns.shape[1])
            entries = rows, columns[part].ravel(), values[part].ravel(), wanted[part]
            self._pending.append(entries)
            self._count += count
            if self._count >= _ROWS_AT_ONCE:
                self._take_in()

    def _take_in(self) -> None:
        """Into the normal equations: all rows together would take most of the room."""
        if not self._pending:
            return
        rows, columns, values, wanted = map(np.concatenate, zip(*self._pending, strict=True))
        shape = (self._count, len(self._vector))
        matrix = coo_array((values, (rows, columns)), shape).tocsc()
        self._normal = self._normal + matrix.T @ matrix
        self._vector += matrix.T @ wanted
        self._pending, self._count = [], 0

    def add_blocks(self, blocks: Float[ndarray, "T 3 3"]) -> None:
        """Each frame's displacement, times its block, ought to be zero."""
        columns = 3 * np.arange(len(blocks))[:, None, None] + np.arange(3)
        columns = np.broadcast_to(columns, blocks.shape)
        self._add(columns.reshape(-1, 3), blocks.reshape(-1, 3), np.zeros(3 * len(blocks)))

    def add_accelerations(
        self, blocks: Float[ndarray, "n 3 3"], wanted: Float[ndarray, "n 3"]
    ) -> None:
        """Second differences of the displacements, times their blocks, ought to be these."""
        columns = 3 * np.arange(len(blocks))[:, None, None] + np.arange(9)
        columns = np.broadcast_to(columns, (len(blocks), 3, 9))
        values = np.concatenate([blocks, -2 * blocks, blocks], -1)
        self._add(columns.reshape(-1, 9), values.reshape(-1, 9), wanted.ravel())

    def add_pins(
        self, points: Float[ndarray, "n 3"], first: int, anchor: int, weight: float
    ) -> None:
        """Points displaced from frame `first` on ought to be in one place, on the ground."""
        frames = 3 * (first + np.arange(len(points)))
        for axis, place in ((0, anchor), (2, anchor + 1)):
            columns = np.stack([frames + axis, np.full_like(frames, place)], 1)
            values = np.broadcast_to(weight * np.array([1.0, -1.0]), columns.shape)
            self._add(columns, values, -weight * points[:, axis])
        self._add((frames + 1)[:, None], np.full((len(frames), 1), weight), -weight * points[:, 1])

    def solved(self) -> Float[ndarray, "unknowns"]:
        """By the normal equations, which are banded but for the anchors."""
        self._take_in()
        # An order for symmetric matrices leaves half as much to be filled in.
        symmetric = {"SymmetricMode": True}
        factors = splu(
            self._normal.tocsc(), "MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options=symmetric
        )
        return np.asarray(factors.solve(self._vector))


def _stances(contacts: Bool[ndarray, "T 2 3"]) -> list[tuple[int, int, int, int]]:
    """Side, point, first and past-the-last frame of each time that a point stands."""
    found = []
    for side, point in np.ndindex(contacts.shape[1:]):
        flags = contacts[:, side, point].astype(int)
        edges = np.flatnonzero(np.diff(flags, prepend=0, append=0)).reshape(-1, 2)
        found += [(side, point, int(first), int(stop)) for first, stop in edges]
    return found


def _taken_up(
    left: Float[ndarray, "T 2 3 3"], contacts: Bool[ndarray, "T 2 3"], times: Float[ndarray, "T"]
) -> Float[ndarray, "T 2 3"]:
    """By how much each ankle is to be moved: all of it while a foot stands, fading outside."""
    standing = contacts.sum(2)
    wanted = left.sum(2) / np.maximum(standing, 1)[..., None]
    sigma = _FADE / _interval(times)
    weight = smoothed((standing > 0).astype(float), sigma)[..., None]
    spread = smoothed(wanted, sigma) / np.maximum(weight, 1e-6)
    # Where a foot stands nothing is smoothed; the edges of a stance are where the fade begins.
    fade = np.clip(2.0 * weight, 0.0, 1.0)
    return np.where(standing[..., None] > 0, wanted, fade * spread)
