"""Pose correctives: the offsets that make 24-joint skinning follow a finer deformer.

The finer deformer keeps the rig's helper bones. Twist is spread along arms, thighs and neck, and
linear and dual-quaternion skinning are averaged, which keeps volume without bulging. Its
difference from plain 24-joint linear skinning, undone into the rest pose, is regressed linearly on
the usual pose feature. It is a plausible synthetic target, not measured bodies.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from open_body.joints import JOINT_FLIP, JOINT_NAMES, JOINT_PARENTS
from open_body.kinematics import (
    blended_transforms,
    forward_kinematics,
    rotation_matrices,
    rotation_vector,
    skin_dual_quaternion,
    split_swing_twist,
)
from open_body.source import SourceBody

FEATURES = 207  # 9 entries of R - I for each of the 23 joints below the root
RIDGE = 2e-3  # per pose, on pose features of about unit size
SMALLEST_OFFSET = 1e-4  # metres rms a joint must add to a vertex to be kept there
SMALLEST_INFLUENCE = 1e-3  # skinning weight
DIGITS = ("toe", "metacarpal", "finger")


@dataclass(frozen=True)
class Group:
    """Bones that move as one.

    Attributes:
        anchor: joint the group turns about.
        bones: bone names or digit families of the left or middle body.
        turn: share of the anchor joint's rotation without its twist.
        twist: share of the anchor joint's twist about the bone.
        next_twist: (joint, share) of a further joint's twist about the same bone.
    """

    anchor: str
    bones: tuple[str, ...]
    turn: float = 1.0
    twist: float = 1.0
    next_twist: tuple[str, float] | None = None


# Shares are own choices after how forearm and upper arm skin wind: little near the torso or elbow,
# most near the elbow or wrist.
GROUPS = (
    Group("pelvis", ("root", "pelvis.L", "pelvis.R", "spine05")),
    Group("spine1", ("spine04",), 0.5, 0.5),
    Group("spine1", ("spine03",)),
    Group("spine2", ("spine02",)),
    Group("spine3", ("spine01",)),
    Group("neck", ("neck01",), 0.5, 0.4),
    Group("neck", ("neck02",), 1.0, 0.8),
    Group("head", ("neck03",), 0.6, 0.5),
    Group("head", ("head", "eye.L", "eye.R")),
    Group("left_hip", ("upperleg01.L",), 1.0, 0.4),
    Group("left_hip", ("upperleg02.L",)),
    Group("left_knee", ("lowerleg01.L", "lowerleg02.L")),
    Group("left_ankle", ("foot.L",)),
    Group("left_foot", ("toe",)),
    Group("left_collar", ("clavicle.L",)),
    Group("left_collar", ("shoulder01.L",)),
    Group("left_shoulder", ("upperarm01.L",), 1.0, 0.3),
    Group("left_shoulder", ("upperarm02.L",)),
    Group("left_elbow", ("lowerarm01.L",), 1.0, 0.35),
    Group("left_elbow", ("lowerarm02.L",), 1.0, 0.8, ("left_wrist", 0.45)),
    Group("left_wrist", ("wrist.L", "metacarpal", "finger1-1.L")),
    Group("left_hand", ("finger1-2.L", "finger1-3.L", "finger2", "finger3", "finger4", "finger5")),
)


@dataclass(frozen=True)
class PlacedGroup:
    """A group on one side: joint indices instead of names."""

    anchor: int
    turn: float
    twist: float
    next_twist: tuple[int, float] | None


class FineDeformer:
    """Skins bodies with the rig's helper bones hung on the 24 joints."""

    def __init__(self, body: SourceBody, flip: np.ndarray, rest_joints: np.ndarray) -> None:
        """Group the weights of `body`; `rest_joints` (24, 3) give the bones' long axes."""
        self.groups, weights = _place_groups(body, flip)
        self._weights = sparse.csr_matrix(weights)
        children = {int(p): j for j, p in reversed(list(enumerate(JOINT_PARENTS))) if p > 0}
        self._axes = {}
        for group in self.groups:
            start = group.anchor
            end = children.get(start)
            axis = np.array([0.0, 1.0, 0.0])
            if end is not None:
                axis = rest_joints[end] - rest_joints[start]
            self._axes[start] = axis / np.linalg.norm(axis)

    def influences(self) -> np.ndarray:
        """(V, 24) weight of all groups at a vertex that each joint's own rotation enters."""
        dense = self._weights.toarray()
        total = np.zeros((len(dense), 24))
        for column, group in enumerate(self.groups):
            total[:, group.anchor] += dense[:, column]
            if group.next_twist is not None:
                further, _ = group.next_twist
                total[:, further] += dense[:, column]
        return total

    def pose(self, rest: np.ndarray, joints: np.ndarray, rotations: np.ndarray) -> np.ndarray:
        """(V, 3) posed skin of rest vertices (V, 3), joints (24, 3) and rotations (24, 3, 3)."""
        world, positions = forward_kinematics(rotations, joints)
        turns = np.stack([self._turn(group, rotations, world) for group in self.groups])
        anchors = [group.anchor for group in self.groups]
        transforms = (turns, joints[anchors], positions[anchors])
        blend, shift = blended_transforms(self._weights, *transforms)
        linear = np.einsum("vij,vj->vi", blend, rest) + shift
        dual = skin_dual_quaternion(self._weights, *transforms, rest)
        return 0.5 * (linear + dual)

    def _turn(self, group: PlacedGroup, rotations: np.ndarray, world: np.ndarray) -> np.ndarray:
        """World rotation (3, 3) of one group."""
        joint, axis = group.anchor, self._axes[group.anchor]
        local = rotations[joint]
        if group.turn != 1.0 or group.twist != 1.0:
            swing, angle = split_swing_twist(local, axis)
            if group.turn != 1.0:
                swing = rotation_matrices(group.turn * rotation_vector(swing))
            local = swing @ rotation_matrices(group.twist * angle * axis)
        if group.next_twist is not None:
            further, share = group.next_twist
            _, angle = split_swing_twist(rotations[further], axis)
            local = local @ rotation_matrices(share * angle * axis)
        parent = JOINT_PARENTS[joint]
        return local if parent < 0 else world[parent] @ local


def _place_groups(body: SourceBody, flip: np.ndarray) -> tuple[list[PlacedGroup], np.ndarray]:
    """Groups of both sides, and the (V, G) skinning weights summed over their bones."""
    placed, columns = [], []
    for group in GROUPS:
        joint = JOINT_NAMES.index(group.anchor)
        paired = JOINT_FLIP[joint] != joint
        members = [
            bone for bone, name in enumerate(body.bone_names)
            if not (paired and name.endswith(".R"))
            and any(_belongs(name, pattern) for pattern in group.bones)
        ]  # fmt: skip
        column = body.weights[:, members].sum(axis=1)
        further = None
        if group.next_twist is not None:
            further = (JOINT_NAMES.index(group.next_twist[0]), group.next_twist[1])
        placed.append(PlacedGroup(joint, group.turn, group.twist, further))
        columns.append(column)
        if paired:
            other = None if further is None else (int(JOINT_FLIP[further[0]]), further[1])
            placed.append(PlacedGroup(int(JOINT_FLIP[joint]), group.turn, group.twist, other))
            columns.append(column[flip])
    weights = np.stack(columns, axis=1)
    if not np.allclose(weights.sum(axis=1), 1.0, atol=1e-6):
        raise ValueError("some bones of the rig belong to no group or to several")
    return placed, weights


def _belongs(name: str, pattern: str) -> bool:
    """Whether a bone is the one named, or in the left digit family named without a side."""
    family = pattern.startswith(DIGITS) and not pattern.endswith(".L")
    return name == pattern or (family and name.startswith(pattern))


def pose_feature(rotations: np.ndarray) -> np.ndarray:
    """(207,) entries of R - I, row by row, of joints 1 to 23 of rotations (24, 3, 3)."""
    return (rotations[1:] - np.eye(3)).reshape(-1)
