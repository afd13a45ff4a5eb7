"""Random natural poses within rough anatomical ranges; no motion capture is involved."""

from __future__ import annotations

import numpy as np

from open_body.joints import JOINT_FLIP, JOINT_NAMES
from open_body.kinematics import rotation_matrices

# Degrees (low, high) about X, Y and Z of the left or middle joints, own rounded estimates of
# comfortable human ranges in the axes of the T-pose. Arms lie along X, everything else along Y.
RANGES: dict[str, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "left_hip": ((-115, 25), (-35, 35), (-20, 45)),
    "left_knee": ((0, 135), (-10, 10), (-4, 4)),
    "left_ankle": ((-25, 40), (-15, 15), (-15, 15)),
    "left_foot": ((-40, 20), (0, 0), (0, 0)),
    "spine1": ((-10, 25), (-14, 14), (-12, 12)),
    "spine2": ((-8, 20), (-14, 14), (-12, 12)),
    "spine3": ((-8, 15), (-14, 14), (-10, 10)),
    "neck": ((-25, 25), (-35, 35), (-20, 20)),
    "head": ((-25, 25), (-35, 35), (-15, 15)),
    "left_collar": ((-10, 10), (-20, 20), (-12, 35)),
    "left_shoulder": ((-70, 70), (-105, 40), (-90, 80)),
    "left_elbow": ((-70, 80), (-145, 5), (-5, 5)),
    "left_wrist": ((-25, 25), (-30, 30), (-60, 60)),
    "left_hand": ((0, 0), (0, 0), (-20, 10)),
}
LONG_AXIS = {"left_collar": 0, "left_shoulder": 0, "left_elbow": 0, "left_wrist": 0, "left_hand": 0}


def sample_poses(count: int, generator: np.random.Generator) -> np.ndarray:
    """(count, 24, 3, 3) local joint rotations with the root unturned."""
    poses = np.broadcast_to(np.eye(3), (count, 24, 3, 3)).copy()
    mirror = np.array([-1.0, 1.0, 1.0])
    for name, ranges in RANGES.items():
        joint = JOINT_NAMES.index(name)
        poses[:, joint] = _sample_joint(name, ranges, count, generator)
        if JOINT_FLIP[joint] != joint:
            other = _sample_joint(name, ranges, count, generator)
            poses[:, JOINT_FLIP[joint]] = mirror[:, None] * other * mirror
    return poses


def _sample_joint(
    name: str,
    ranges: tuple[tuple[float, float], ...],
    count: int,
    generator: np.random.Generator,
) -> np.ndarray:
    """(count, 3, 3) rotations: a twist about the long axis, then a swing."""
    low, high = np.radians(np.array(ranges)).T
    angles = _triangular(low, high, generator.random((2, count, 3)))
    twist = np.zeros_like(angles)
    axis = LONG_AXIS.get(name, 1)
    twist[:, axis] = angles[:, axis]
    return rotation_matrices(angles - twist) @ rotation_matrices(twist)


def _triangular(low: np.ndarray, high: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Angles whose density falls linearly from rest (0) to the ends of the range, as in daily
    poses, from two uniform numbers each: one picks the side, one the distance."""
    span = np.maximum(high - low, 1e-9)
    side = np.where(uniform[0] * span < high, high, low)
    return side * (1.0 - np.sqrt(uniform[1]))
