"""Pose Anny's rest body into the T-pose of SMPL-format bodies, for each shape on its own.

The directions are own rounded degrees, chosen to look like the T-pose other SMPL-format data
assumes (arms and legs nearly straight, slightly behind the frontal plane).
"""

from __future__ import annotations

import numpy as np
from scipy import sparse

from open_body.source import SourceBody

CLAVICLE_RAISE_DEGREES = 8.0
SHOULDER_RAISE_DEGREES = 14.0
# (degrees below horizontal, degrees behind the frontal plane) of the left arm
UPPER_ARM_DIRECTION = (3.0, 6.0)
FOREARM_DIRECTION = (-2.0, 0.5)
HAND_DIRECTION = (3.5, 5.0)
# (degrees inward, degrees backward) of the left leg, measured from straight down
THIGH_ADDUCTION_DEGREES = 5.2
THIGH_BACK_DEGREES = 2.0
UPPER_THIGH_SHARE = 0.6
SHANK_DIRECTION = (1.5, 6.0)
TOE_OUT_DEGREES = 13.0


def arm_direction(down: float, back: float) -> np.ndarray:
    """(3,) unit vector of a left arm segment from degrees below horizontal and backward."""
    down, back = np.radians([down, back])
    return np.array([np.cos(down) * np.cos(back), -np.sin(down), -np.cos(down) * np.sin(back)])


def leg_direction(inward: float, backward: float) -> np.ndarray:
    """(3,) unit vector of a left leg segment from degrees inward and backward."""
    vector = np.array([-np.tan(np.radians(inward)), -1.0, -np.tan(np.radians(backward))])
    return vector / np.linalg.norm(vector)


def axis_rotation(axis: str, degrees: float) -> np.ndarray:
    """(3, 3) rotation about a world axis."""
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    rotation = np.eye(3)
    rotation[first, first] = rotation[second, second] = cosine
    rotation[first, second], rotation[second, first] = -sine, sine
    return rotation


def frame(direction: np.ndarray, hint: np.ndarray) -> np.ndarray:
    """(..., 3, 3) right-handed frames: columns direction, hint made orthogonal, their cross."""
    first = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    second = hint - (hint * first).sum(-1, keepdims=True) * first
    second = second / np.linalg.norm(second, axis=-1, keepdims=True)
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def half_rotation(rotation: np.ndarray) -> np.ndarray:
    """(N, 3, 3) rotations halfway between the identity and `rotation` (less than 180 degrees)."""
    summed = rotation + np.eye(3)
    left, _, right = np.linalg.svd(summed)
    return left @ right


def bone_rotations(source: SourceBody, heads: np.ndarray) -> np.ndarray:
    """(N, B, 3, 3) world rotations that turn rest bones with heads (N, B, 3) into the T-pose."""
    count = len(heads)
    named: dict[str, np.ndarray] = {}
    named.update(_arm_rotations(source, heads))
    named.update(_leg_rotations(source, heads))
    flip = source.bone_flip()
    signs = np.array([-1.0, 1.0, 1.0])
    fixed = {source.bone(name): rotation for name, rotation in named.items()}
    fixed |= {int(flip[b]): signs[:, None] * rotation * signs for b, rotation in fixed.items()}
    rotations = np.empty((count, len(source.bone_names), 3, 3))
    for bone, parent in enumerate(source.bone_parents):
        inherited = rotations[:, parent] if parent >= 0 else np.eye(3)
        rotations[:, bone] = fixed.get(bone, inherited)
    return rotations


def _arm_rotations(source: SourceBody, heads: np.ndarray) -> dict[str, np.ndarray]:
    """World rotations of the left arm's bones; a straight elbow bends about -Y in the T-pose."""
    upper = _bone_vector(source, heads, "upperarm01.L", "lowerarm01.L")
    fore = _bone_vector(source, heads, "lowerarm01.L", "wrist.L")
    hand = _bone_vector(source, heads, "wrist.L", "finger3-1.L")
    across = _bone_vector(source, heads, "finger2-1.L", "finger5-1.L")
    flexion_axis = np.cross(upper, fore)
    down = np.array([0.0, -1.0, 0.0])
    upper_rotation = _frame_rotation(upper, flexion_axis, arm_direction(*UPPER_ARM_DIRECTION), down)
    fore_rotation = _frame_rotation(fore, flexion_axis, arm_direction(*FOREARM_DIRECTION), down)
    palm = np.cross(across, hand)  # out of the palm of the left hand
    hand_rotation = _frame_rotation(hand, palm, arm_direction(*HAND_DIRECTION), down)
    # Half of the small twist left between forearm and hand goes to the forearm's far half.
    far_half = half_rotation(hand_rotation @ np.swapaxes(fore_rotation, 1, 2))
    straight = fore_rotation @ fore[..., None]
    twist = frame(straight[..., 0], (far_half @ fore_rotation @ flexion_axis[..., None])[..., 0])
    untwisted = frame(straight[..., 0], (fore_rotation @ flexion_axis[..., None])[..., 0])
    return {
        "clavicle.L": axis_rotation("z", CLAVICLE_RAISE_DEGREES),
        "shoulder01.L": axis_rotation("z", SHOULDER_RAISE_DEGREES),
        "upperarm01.L": upper_rotation,
        "lowerarm01.L": fore_rotation,
        "lowerarm02.L": twist @ np.swapaxes(untwisted, 1, 2) @ fore_rotation,
        "wrist.L": hand_rotation,
    }


def _leg_rotations(source: SourceBody, heads: np.ndarray) -> dict[str, np.ndarray]:
    """World rotations of the left leg's bones."""
    shank = _bone_vector(source, heads, "lowerleg01.L", "foot.L")
    toes = [_bone_vector(source, heads, "foot.L", f"toe{n}-1.L") for n in (2, 3, 4)]
    foot = np.mean(toes, axis=0) * np.array([1.0, 0.0, 1.0])

    def thigh(share: float) -> np.ndarray:
        adduct = axis_rotation("z", -THIGH_ADDUCTION_DEGREES * share)
        return axis_rotation("x", THIGH_BACK_DEGREES * share) @ adduct

    forward, up = np.array([0.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])
    toe_out = axis_rotation("y", TOE_OUT_DEGREES) @ forward
    return {
        "upperleg01.L": thigh(UPPER_THIGH_SHARE),
        "upperleg02.L": thigh(1.0),
        # The shank keeps its own facing: its front stays where the foot points.
        "lowerleg01.L": _frame_rotation(shank, foot, leg_direction(*SHANK_DIRECTION), forward),
        "foot.L": _frame_rotation(foot, up, toe_out, up),
    }


def _bone_vector(source: SourceBody, heads: np.ndarray, start: str, end: str) -> np.ndarray:
    """(N, 3) vector from one bone's head to another's."""
    return heads[:, source.bone(end)] - heads[:, source.bone(start)]


def _frame_rotation(
    direction: np.ndarray, hint: np.ndarray, new_direction: np.ndarray, new_hint: np.ndarray
) -> np.ndarray:
    """(N, 3, 3) rotations taking frames (direction, hint) to frames (new direction, new hint)."""
    old = frame(direction, np.broadcast_to(hint, direction.shape))
    return frame(new_direction, new_hint) @ np.swapaxes(old, -1, -2)


def pose_bones(source: SourceBody, heads: np.ndarray, rotations: np.ndarray) -> np.ndarray:
    """(N, B, 3) bone heads after forward kinematics with world rotations (N, B, 3, 3)."""
    posed = heads.copy()
    for bone, parent in enumerate(source.bone_parents):
        if parent >= 0:
            offset = heads[:, bone] - heads[:, parent]
            posed[:, bone] = posed[:, parent] + np.einsum(
                "nij,nj->ni", rotations[:, parent], offset
            )
    return posed


def pose_body(
    source: SourceBody, vertices: np.ndarray, heads: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """T-posed vertices (N, V, 3) and bone heads (N, B, 3) of rest bodies, by linear skinning."""
    rotations = bone_rotations(source, heads)
    posed_heads = pose_bones(source, heads, rotations)
    offsets = posed_heads - np.einsum("nbij,nbj->nbi", rotations, heads)
    weights = sparse.csr_matrix(source.weights)
    posed = np.empty_like(vertices)
    for n in range(len(vertices)):
        blended = weights @ np.concatenate([rotations[n].reshape(-1, 9), offsets[n]], axis=1)
        posed[n] = np.einsum("vij,vj->vi", blended[:, :9].reshape(-1, 3, 3), vertices[n])
        posed[n] += blended[:, 9:]
    return posed, posed_heads
