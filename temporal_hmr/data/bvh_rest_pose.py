"""How a BVH skeleton's own bone axes relate to SMPL's T-pose: found from a pose, or from motion."""

import math
from typing import Literal

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from temporal_hmr.data.bvh_file import BvhMotion
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24

RestPose = Literal["auto", "zero", "first_frame", "bones"]

# The next joint along each limb, and the limb's direction in SMPL's T-pose. How far a foot's bone
# slopes down when the foot is flat differs between skeletons: see `_slope_when_still`.
_LIMBS = {
    "left_hip": ("left_knee", (0.0, -1.0, 0.0)),
    "right_hip": ("right_knee", (0.0, -1.0, 0.0)),
    "left_knee": ("left_ankle", (0.0, -1.0, 0.0)),
    "right_knee": ("right_ankle", (0.0, -1.0, 0.0)),
    "left_shoulder": ("left_elbow", (1.0, 0.0, 0.0)),
    "right_shoulder": ("right_elbow", (-1.0, 0.0, 0.0)),
    "left_elbow": ("left_wrist", (1.0, 0.0, 0.0)),
    "right_elbow": ("right_wrist", (-1.0, 0.0, 0.0)),
    "left_ankle": ("left_foot", (0.0, 0.0, 1.0)),
    "right_ankle": ("right_foot", (0.0, 0.0, 1.0)),
}
# Axis in the T-pose about which the limb's next joint bends: knees back, elbows forward.
_HINGES = {
    "left_hip": (1.0, 0.0, 0.0),
    "right_hip": (1.0, 0.0, 0.0),
    "left_shoulder": (0.0, -1.0, 0.0),
    "right_shoulder": (0.0, 1.0, 0.0),
}
# Mean sine of the bend, below which the axis of bending is not to be trusted.
_BENT = 0.1
# How nearly straight and upright a rest pose must be, as the cosine of 35 degrees.
_STRAIGHT = math.cos(math.radians(35))


def calibrate(
    motion: BvhMotion, joints: dict[str, int], rest_pose: RestPose = "auto"
) -> dict[str, Float[ndarray, "3 3"]]:
    """For each SMPL joint the constant Q such that its rotation in the world is G Q.

    G is the file's own rotation in the world; Q takes SMPL's T-pose to the joint's own frame.
    `joints` says which joint of the file is which of SMPL's. `rest_pose` says where Q comes from:
    - "zero": zero rotations are a standing pose (T-pose, A-pose or arms hanging). The body's axes
      come from hips, ankles and neck, and each limb is swung the shortest way from the T-pose.
    - "first_frame": the same, of the pose in the first frame.
    - "bones": neither is a rest pose (each bone has axes of its own). Limbs get their direction
      from the bone and their twist from the axis about which the next joint bends in this motion;
      pelvis and chest come from hips, shoulders and neck; feet are flat when they are still; the
      others stay as near to their parents as they can on average: their mean rotation is lost.
    - "auto": "zero" if that pose stands, else "first_frame" if that is a T-pose, else "bones".
    """
    if rest_pose == "auto":
        rest_pose = looked_rest_pose(motion, joints)
    if rest_pose == "bones":
        return _from_bones(motion, joints)
    if rest_pose == "zero":
        return _from_pose(motion.zero_pose, np.eye(3)[None].repeat(len(motion.names), 0), joints)
    if rest_pose == "first_frame":
        return _from_pose(motion.positions[0], motion.world_rotations[0], joints)
    raise InputError(
        f"rest pose {rest_pose!r} is unknown: give 'auto', 'zero', 'first_frame' or 'bones'."
    )


def looked_rest_pose(motion: BvhMotion, joints: dict[str, int]) -> RestPose:
    """What "auto" decides, see `calibrate`."""
    if _stands(motion.zero_pose, joints, arm_below=1.0):
        return "zero"
    return "first_frame" if _stands(motion.positions[0], joints, arm_below=0.4) else "bones"


def _stands(pose: Float[ndarray, "J 3"], joints: dict[str, int], arm_below: float) -> bool:
    """Trunk upright, legs down, straight arms at the sides.

    The arms may point down by at most the given sine.
    """
    axes = _standing_axes(pose, joints)
    if axes is None:
        return False
    limbs = {joint: _limb(pose, joints, joint) for joint in _LIMBS if "ankle" not in joint}
    legs = ("left_hip", "right_hip", "left_knee", "right_knee")
    trunk = pose[joints["neck"]] - 0.5 * (pose[joints["left_hip"]] + pose[joints["right_hip"]])
    if (trunk @ axes)[1] < _STRAIGHT * np.linalg.norm(trunk):
        return False
    if any((limbs[joint] @ axes)[1] > -_STRAIGHT for joint in legs):
        return False
    for side, sign in (("left", 1), ("right", -1)):
        arm, forearm = limbs[f"{side}_shoulder"], limbs[f"{side}_elbow"]
        lateral, up, forward = arm @ axes
        beside = sign * lateral > -0.1 and abs(forward) < 0.5 and -arm_below <= up < 0.4
        if not beside or arm @ forearm < _STRAIGHT:
            return False
    return True


def _standing_axes(
    pose: Float[ndarray, "J 3"], joints: dict[str, int]
) -> Float[ndarray, "3 3"] | None:
    """Columns left, up, forward of a body that stands; None where it has no extent.

    A body leans by a few degrees in its own rest pose: up is the file's axis if it is near one.
    """
    left = pose[joints["left_hip"]] - pose[joints["right_hip"]]
    feet = 0.5 * (pose[joints["left_ankle"]] + pose[joints["right_ankle"]])
    up = pose[joints["neck"]] - feet
    largest = np.abs(up).argmax()
    nearest = np.eye(3)[largest] * np.sign(up[largest])
    if up @ nearest > math.cos(math.radians(15)) * np.linalg.norm(up):
        up, left = nearest, left - (left @ nearest) * nearest
    return _axes(left, up)


def _axes(first: Float[ndarray, "3"], second: Float[ndarray, "3"]) -> Float[ndarray, "3 3"] | None:
    """Right-handed axes: along the first vector, the second made perpendicular, their product."""
    third = np.cross(first, second)
    if np.linalg.norm(third) <= 1e-6 * np.linalg.norm(first) * np.linalg.norm(second):
        return None
    first, third = first / np.linalg.norm(first), third / np.linalg.norm(third)
    return np.stack([first, np.cross(third, first), third], 1)


def _limb(
    pose: Float[ndarray, "*b J 3"], joints: dict[str, int], joint: str
) -> Float[ndarray, "*b 3"]:
    """Unit direction from a joint to the next along its limb; zero where they coincide."""
    bone = pose[..., joints[_LIMBS[joint][0]], :] - pose[..., joints[joint], :]
    return bone / np.maximum(np.linalg.norm(bone, axis=-1, keepdims=True), 1e-12)


def _from_pose(
    pose: Float[ndarray, "J 3"], frames: Float[ndarray, "J 3 3"], joints: dict[str, int]
) -> dict[str, Float[ndarray, "3 3"]]:
    """Calibration from a standing pose: places of the joints and their rotations in it."""
    axes = _standing_axes(pose, joints)
    if axes is None:
        raise InputError("the rest pose of the skeleton has no extent: try rest_pose='bones'.")
    swings = {
        joint: _shortest_rotation(axes @ rest, _limb(pose, joints, joint))
        for joint, (_, rest) in _LIMBS.items()
        if not joint.endswith("ankle")
    }
    for side in ("left", "right"):
        swings[f"{side}_wrist"] = swings[f"{side}_elbow"]
    return {
        joint: frames[index].T @ swings.get(joint, np.eye(3)) @ axes
        for joint, index in joints.items()
    }


def _shortest_rotation(
    start: Float[ndarray, "3"], end: Float[ndarray, "3"]
) -> Float[ndarray, "3 3"]:
    """Between unit vectors; for opposite ones, half a turn about one of the shortest ways' axes."""
    axis = np.cross(start, end)
    sine = np.linalg.norm(axis)
    if sine < 1e-9:
        if start @ end >= 0:
            return np.eye(3)
        axis = np.cross(start, np.eye(3)[np.abs(start).argmin()])
    angle = math.atan2(sine, start @ end)
    return Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).as_matrix()


def _from_bones(motion: BvhMotion, joints: dict[str, int]) -> dict[str, Float[ndarray, "3 3"]]:
    """Calibration from the whole motion, for bones with axes of their own."""
    world, places = motion.world_rotations, motion.positions
    up = places[:, joints["neck"]] - places[:, joints["left_hip"]] / 2
    up = up - places[:, joints["right_hip"]] / 2
    turns: dict[str, ndarray] = {}
    for joint, ends in (("pelvis", "hip"), ("spine3", "shoulder")):
        if joint in joints:
            left = places[:, joints[f"left_{ends}"]] - places[:, joints[f"right_{ends}"]]
            own = world[:, joints[joint]]
            axes = _axes(_mean_in(own, left), _mean_in(own, up))
            if axes is None:
                raise InputError(f"the {joint} of the skeleton has no extent.")
            turns[joint] = axes
    for joint in SMPL24.joints:
        if joint not in joints or joint in turns:
            continue
        above = _nearest_above(joint, turns)
        relative = (world[:, joints[above]] @ turns[above]).swapaxes(1, 2) @ world[:, joints[joint]]
        if joint in _LIMBS and _LIMBS[joint][0] in joints:
            turns[joint] = _limb_turn(motion, joints, joint, relative.mean(0))
        else:
            turns[joint] = Rotation.from_matrix(relative).mean().as_matrix().T
    return turns


def _nearest_above(joint: str, known: dict[str, Float[ndarray, "3 3"]]) -> str:
    """The nearest of SMPL's joints on the way to the root that is among the known ones."""
    above = SMPL24.joints[SMPL24.parents[SMPL24.index(joint)]]
    return above if above in known else _nearest_above(above, known)


def _limb_turn(
    motion: BvhMotion, joints: dict[str, int], joint: str, relative: Float[ndarray, "3 3"]
) -> Float[ndarray, "3 3"]:
    """Q of a limb: direction from the bone, twist from the hinge below or else from the parent.

    `relative` is the mean of the file's rotation of the joint relative to SMPL's parent joint.
    """
    own = motion.world_rotations[:, joints[joint]]
    direction = _limb(motion.positions, joints, joint)
    following, rest = _LIMBS[joint]
    bone = _mean_in(own, direction)
    if joint in _HINGES:
        bend = np.cross(direction, _limb(motion.positions, joints, following))
        hinge = _mean_in(own, bend)
        axes, rest_axes = _axes(bone, hinge), _axes(np.array(rest), np.array(_HINGES[joint]))
        if axes is not None and rest_axes is not None and np.linalg.norm(hinge) > _BENT:
            return axes @ rest_axes.T
    unit = np.array(rest)
    if joint.endswith("ankle"):
        slope = _slope_when_still(motion, joints, joint)
        unit = np.array([0.0, slope, math.sqrt(1 - slope * slope)])
    swing = _shortest_rotation(unit, bone / np.linalg.norm(bone))
    # The twist that maximises trace(relative swing twist), that is the mean cosine to the parent.
    mean = relative @ swing
    x, y, z = unit
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = math.atan2(np.trace(mean @ cross), np.trace(mean) - unit @ mean @ unit)
    return swing @ Rotation.from_rotvec(unit * angle).as_matrix()


def _slope_when_still(motion: BvhMotion, joints: dict[str, int], joint: str) -> float:
    """Sine of the elevation of a foot's bone in the tenth of the frames in which it moves least."""
    trunk = motion.positions[:, joints["neck"]] - motion.positions[:, joints["pelvis"]]
    up = trunk.mean(0)
    up = np.eye(3)[np.abs(up).argmax()] * np.sign(up[np.abs(up).argmax()])
    places = motion.positions[:, joints[joint]]
    speed = np.linalg.norm(np.gradient(places, axis=0), axis=1) if len(places) > 1 else np.zeros(1)
    still = speed <= np.quantile(speed, 0.1)
    return float(np.median(_limb(motion.positions[still], joints, joint) @ up))


def _mean_in(
    frames: Float[ndarray, "T 3 3"], vectors: Float[ndarray, "T 3"]
) -> Float[ndarray, "3"]:
    """The mean over time of vectors, each seen in its frame."""
    return np.einsum("tji,tj->i", frames, vectors) / len(vectors)
