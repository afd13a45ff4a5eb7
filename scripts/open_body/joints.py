"""The 24 SMPL-format joints: order, tree, centres from the rig, and skinning weights.

Joint centres are combinations of T-posed bone heads plus small offsets, so that limb lengths and
offsets come close to publicly listed SMPL skeletons (symmetrised figures, used as facts to compare
with): the same joint angles then pose this body much as they pose other SMPL-format bodies.
"""

from __future__ import annotations

import numpy as np

from open_body.source import SourceBody

JOINT_NAMES = (
    "pelvis", "left_hip", "right_hip", "spine1", "left_knee", "right_knee", "spine2",
    "left_ankle", "right_ankle", "spine3", "left_foot", "right_foot", "neck", "left_collar",
    "right_collar", "head", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
    "left_wrist", "right_wrist", "left_hand", "right_hand",
)  # fmt: skip
JOINT_PARENTS = np.array(
    [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
)


def _mirrored(name: str) -> str:
    """Name of the joint on the other side; unpaired joints keep theirs."""
    if name.startswith("left_"):
        return name.replace("left_", "right_")
    return name.replace("right_", "left_")


JOINT_FLIP = np.array([JOINT_NAMES.index(_mirrored(name)) for name in JOINT_NAMES])

# SMPL's template keeps its pelvis near here; cameras and translations estimated with one
# SMPL-format body then suit another.
PELVIS_POSITION = np.array([0.0, -0.22, 0.03])

TORSO_LENGTH = 0.552  # metres from root to neck01 in the average body; offsets scale with it
LEG_LENGTH = 0.820  # metres from upperleg01 to foot in the average body

# Joint: (weights of bone heads, offset in metres on the average body, what the offset scales with).
CENTRES: dict[str, tuple[dict[str, float], tuple[float, float, float], str]] = {
    "pelvis": ({"root": 1.0}, (0.0, 0.024, 0.026), "torso"),
    "left_hip": ({"upperleg01.L": 0.7, "upperleg02.L": 0.3}, (0.0, -0.004, 0.014), "torso"),
    "left_knee": ({"lowerleg01.L": 1.0}, (0.0, -0.0145, 0.0), "leg"),
    "left_ankle": ({"foot.L": 1.0}, (0.0, 0.0, 0.0), "leg"),
    "left_foot": (
        {"foot.L": 0.12, "toe2-1.L": 0.88 / 3, "toe3-1.L": 0.88 / 3, "toe4-1.L": 0.88 / 3},
        (0.0, 0.003, 0.0),
        "leg",
    ),
    "spine1": ({"spine04": 0.27, "spine03": 0.73}, (0.0, 0.0, 0.029), "torso"),
    "spine2": ({"spine02": 0.8, "spine01": 0.2}, (0.0, 0.0, 0.029), "torso"),
    "spine3": ({"spine02": 0.38, "spine01": 0.62}, (0.0, 0.0, 0.050), "torso"),
    "neck": ({"neck01": 1.0}, (0.0, -0.0145, -0.007), "torso"),
    "head": ({"neck03": 1.0}, (0.0, -0.0125, 0.0085), "torso"),
    "left_collar": ({"clavicle.L": 0.6, "upperarm01.L": 0.4}, (0.0, -0.027, -0.0035), "torso"),
    "left_shoulder": ({"upperarm01.L": 1.0}, (-0.0055, -0.007, -0.005), "torso"),
    "left_elbow": ({"lowerarm01.L": 1.0}, (0.0, -0.004, 0.0), "torso"),
    "left_wrist": ({"lowerarm01.L": -0.033, "wrist.L": 1.033}, (0.0, -0.004, 0.0), "torso"),
    "left_hand": ({"wrist.L": 0.16, "finger3-1.L": 0.84}, (0.0, -0.004, 0.0), "torso"),
}
HIP_INWARD_SCALE = 0.65  # the ball joint lies well inside of the rig's thigh bone

# Bones summed into each joint's weight; a left list serves the right side too.
JOINT_BONES: dict[str, tuple[str, ...]] = {
    "pelvis": ("root", "pelvis.L", "pelvis.R", "spine05", "spine04"),
    "spine1": ("spine04", "spine03"),
    "spine2": ("spine02",),
    "spine3": ("spine01",),
    "neck": ("neck01", "neck02"),
    "head": ("neck03", "head", "eye.L", "eye.R"),
    "left_hip": ("upperleg01.L", "upperleg02.L"),
    "left_knee": ("lowerleg01.L", "lowerleg02.L"),
    "left_ankle": ("foot.L",),
    "left_foot": ("toe",),
    "left_collar": ("clavicle.L", "shoulder01.L"),
    "left_shoulder": ("upperarm01.L", "upperarm02.L"),
    "left_elbow": ("lowerarm01.L", "lowerarm02.L"),
    "left_wrist": ("wrist.L", "metacarpal", "finger1-1.L"),
    "left_hand": ("finger",),
}
SHARED_BONES = {"spine04": 0.5}  # split evenly between pelvis and spine1


def joint_centres(source: SourceBody, heads: np.ndarray) -> np.ndarray:
    """(N, 24, 3) joint centres of T-posed bone heads (N, B, 3)."""
    joints = np.empty((len(heads), len(JOINT_NAMES), 3))
    scales = {
        "torso": _length(source, heads, "root", "neck01") / TORSO_LENGTH,
        "leg": _length(source, heads, "upperleg01.L", "foot.L") / LEG_LENGTH,
    }
    for name, (mixture, offset, measure) in CENTRES.items():
        centre = scales[measure][:, None] * np.array(offset)
        for bone, share in mixture.items():
            centre = centre + share * heads[:, source.bone(bone)]
        if name == "left_hip":
            centre[:, 0] *= HIP_INWARD_SCALE
        joint = JOINT_NAMES.index(name)
        joints[:, joint] = centre
        if JOINT_FLIP[joint] != joint:
            joints[:, JOINT_FLIP[joint]] = centre * np.array([-1.0, 1.0, 1.0])
    return joints


def _length(source: SourceBody, heads: np.ndarray, start: str, end: str) -> np.ndarray:
    """(N,) distance between two bones' heads."""
    return np.linalg.norm(heads[:, source.bone(end)] - heads[:, source.bone(start)], axis=1)


def bones_to_joints(source: SourceBody) -> np.ndarray:
    """(B, 24) share of each bone's weight that each joint takes; rows sum to 1."""
    shares = np.zeros((len(source.bone_names), len(JOINT_NAMES)))
    flip = source.bone_flip()
    for name, patterns in JOINT_BONES.items():
        joint = JOINT_NAMES.index(name)
        for bone, label in enumerate(source.bone_names):
            if joint != JOINT_FLIP[joint] and label.endswith(".R"):
                continue
            if any(label == pattern or _is_family(label, pattern) for pattern in patterns):
                shares[bone, joint] = SHARED_BONES.get(label, 1.0)
    left_thumb_base = source.bone("finger1-1.L")  # moves with the palm, not with the fingers
    shares[left_thumb_base, JOINT_NAMES.index("left_hand")] = 0.0
    for joint, name in enumerate(JOINT_NAMES):
        if name.startswith("right"):
            shares[flip, joint] = shares[:, JOINT_FLIP[joint]]
    if not np.allclose(shares.sum(1), 1.0):
        raise ValueError("some bones of the rig belong to no joint or to several")
    return shares


def _is_family(label: str, pattern: str) -> bool:
    """Whether a left bone belongs to a family named without digits, like "toe" or "finger"."""
    return pattern in ("toe", "metacarpal", "finger") and label.startswith(pattern)
