"""How every joint moves: curves for an animator to look at, at the video's full frame rate."""

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.checks.timing import Clock
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
    from the zero pose (of the pelvis: from its first frame).
    """
    curves: Curves = {}
    rooted = person.joints - person.joints[:, [SMPL24.index("pelvis")]]
    clock = person.clock(fps)
    for space, joints in ((CAMERA, person.joints), (RELATIVE, rooted)):
        curves[f"{SPEED} {space}"] = _speed(joints, clock)
        curves[f"{ACCELERATION} {space}"] = np.linalg.norm(clock.derivative(joints, 2), axis=-1)
        curves[f"{JITTER} {space}"] = np.linalg.norm(clock.derivative(joints, 3), axis=-1) / 10
    curves[ANGLE] = _angles(person)
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


def _speed(joints: Float[ndarray, "T 24 3"], clock: Clock) -> Float[ndarray, "T 24"]:
    """From the frame before, as the checks date it."""
    speeds = np.full(joints.shape[:2], np.nan)
    sizes = np.linalg.norm(np.diff(joints, axis=0), axis=-1)
    speeds[1:] = sizes / clock.intervals[1:, None]
    return speeds


def _angles(person: Person) -> Float[ndarray, "T 24"]:
    rotations = person.smpl.rotations()
    rest = torch.eye(3, dtype=rotations.dtype).repeat(len(SMPL24), 1, 1)
    rest[SMPL24.index("pelvis")] = person.smpl.global_orient[0]
    return np.degrees(geodesic_angle(rotations, rest.expand_as(rotations)).numpy())
