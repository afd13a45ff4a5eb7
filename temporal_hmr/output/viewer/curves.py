"""How every joint moves: curves for an animator to look at, at the video's full frame rate."""

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.checks.parts import in_parts
from temporal_hmr.checks.timing import derivative
from temporal_hmr.on_disk import chunks, copied, scratch
from temporal_hmr.output.viewer.result import Person
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import SMPL24

Curves = dict[str, Float[ndarray, "T 24"]]

SPEED, ACCELERATION, JITTER, ANGLE = "speed", "acceleration", "jitter", "angle"
UNITS = {SPEED: "m/s", ACCELERATION: "m/s²", JITTER: "10 m/s³", ANGLE: "°"}
CAMERA, RELATIVE = "camera", "pelvis"


def joint_curves(person: Person, fps: float) -> Curves:
    """By quantity and what it is relative to, such as `speed camera`; NaN where unknown.

    Speed, acceleration and jitter as `metrics` defines them, with the times of the frames in the
    place of a rate (`fps` is their mean), of each joint for itself, before the camera and relative
    to the pelvis. The angle, in degrees, is that of the joint's own rotation
    from the zero pose (of the pelvis: from its first frame). All of them lie on the disk.
    """
    curves: Curves = {}
    intervals = person.clock(fps).intervals
    for space in (CAMERA, RELATIVE):
        for name in _MEASURES:
            measured = partial(_measured, name, space)
            found = in_parts(measured, person.joints, intervals, reach=_REACH)
            curves[f"{name} {space}"] = copied(found, scratch())
    curves[ANGLE] = copied(_angles(person), scratch())
    return curves


def sampled(
    values: Float[ndarray, "T 24"], rows: Int[ndarray, "n"], highest: bool
) -> Float[ndarray, "n 24"]:
    """Values at some rows, or the highest from each of them up to the next, so that no peak is
    lost."""
    if not highest or len(rows) == 0:
        return values[rows]
    stop = int(rows[-1] + (rows[-1] - rows[-2] if len(rows) > 1 else 1))
    filled = np.where(np.isnan(values), -np.inf, values)[:stop]
    peaks = np.maximum.reduceat(filled, rows, axis=0)
    return np.where(np.isinf(peaks), np.nan, peaks)


def _measured(
    name: str, space: str, joints: Float[ndarray, "T 24 3"], intervals: Float[ndarray, "T"]
) -> Float[ndarray, "T 24"]:
    """Of some frames on end; those at the ends know too few others."""
    if space == RELATIVE:
        joints = joints - joints[:, [SMPL24.index("pelvis")]]
    return _MEASURES[name](joints, intervals)


def _speed(
    joints: Float[ndarray, "T 24 3"], intervals: Float[ndarray, "T"]
) -> Float[ndarray, "T 24"]:
    """From the frame before, as the checks date it."""
    speeds = np.full(joints.shape[:2], np.nan)
    sizes = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    speeds[1:] = sizes / intervals[1:, None]
    return speeds


def _acceleration(
    joints: Float[ndarray, "T 24 3"], intervals: Float[ndarray, "T"]
) -> Float[ndarray, "T 24"]:
    return np.linalg.norm(derivative(joints, intervals, 2), axis=-1)


def _jitter(
    joints: Float[ndarray, "T 24 3"], intervals: Float[ndarray, "T"]
) -> Float[ndarray, "T 24"]:
    return np.linalg.norm(derivative(joints, intervals, 3), axis=-1) / 10


_MEASURES: dict[str, Callable[[ndarray, ndarray], ndarray]] = {
    SPEED: _speed,
    ACCELERATION: _acceleration,
    JITTER: _jitter,
}
_REACH = 3
"""Frames that any of them depends on, before and after."""


def _angles(person: Person) -> Float[ndarray, "T 24"]:
    smpl = person.smpl
    rest = torch.eye(3, dtype=smpl.transl.dtype).repeat(len(SMPL24), 1, 1)
    rest[SMPL24.index("pelvis")] = smpl.global_orient[0]
    angles = np.empty((len(smpl.transl), len(SMPL24)))
    for part in chunks(len(angles), smpl.body_pose):
        rotations = smpl[part].rotations()
        angles[part] = np.degrees(geodesic_angle(rotations, rest.expand_as(rotations)).numpy())
    return angles
