"""Named joint sets. Joints are addressed by name; an index never stands in code by itself."""

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Skeleton:
    """An ordered set of named joints."""

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...] = ()
    """Index of each joint's parent, -1 for the root; empty where the set has no tree."""
    bones: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """Pairs of joints to draw a line between; empty where the tree already says so."""

    def __len__(self) -> int:
        return len(self.joints)

    def index(self, joint: str) -> int:
        """Position of a joint; raises `KeyError` if the skeleton has none of that name."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise KeyError(f"skeleton {self.name} has no joint named {joint!r}") from None

    def indices(self, *joints: str) -> list[int]:
        """Positions of several joints, in the order asked."""
        return [self.index(joint) for joint in joints]

    def flip_permutation(self) -> list[int]:
        """`p` such that `x[p]` are the joints of the mirrored person, still in this order."""
        return [self.index(mirrored(joint)) for joint in self.joints]

    def positions_in(self, other: "Skeleton") -> list[int | None]:
        """For each of our joints its position in `other`, None where `other` lacks it."""
        return [
            other.joints.index(joint) if joint in other.joints else None for joint in self.joints
        ]


def mirrored(joint: str) -> str:
    """The name of the joint on the other side; a joint of the middle is its own mirror."""
    if joint.startswith("left_"):
        return "right_" + joint.removeprefix("left_")
    if joint.startswith("right_"):
        return "left_" + joint.removeprefix("right_")
    return joint


SMPL24 = Skeleton(
    "SMPL24",
    (
        "pelvis",
        "left_hip",
        "right_hip",
        "spine1",
        "left_knee",
        "right_knee",
        "spine2",
        "left_ankle",
        "right_ankle",
        "spine3",
        "left_foot",
        "right_foot",
        "neck",
        "left_collar",
        "right_collar",
        "head",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hand",
        "right_hand",
    ),
    parents=(-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21),
)
"""The kinematic tree of SMPL (Loper et al. 2015)."""

_COCO_BONES = (
    ("left_ankle", "left_knee"),
    ("left_knee", "left_hip"),
    ("right_ankle", "right_knee"),
    ("right_knee", "right_hip"),
    ("left_hip", "right_hip"),
    ("left_shoulder", "left_hip"),
    ("right_shoulder", "right_hip"),
    ("left_shoulder", "right_shoulder"),
    ("left_shoulder", "left_elbow"),
    ("right_shoulder", "right_elbow"),
    ("left_elbow", "left_wrist"),
    ("right_elbow", "right_wrist"),
    ("nose", "left_eye"),
    ("nose", "right_eye"),
    ("left_eye", "left_ear"),
    ("right_eye", "right_ear"),
)

COCO17 = Skeleton(
    "COCO17",
    (
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
    ),
    bones=_COCO_BONES,
)

OPENPOSE18 = Skeleton(
    "OPENPOSE18",
    (
        "nose",
        "neck",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "right_hip",
        "right_knee",
        "right_ankle",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_eye",
        "left_eye",
        "right_ear",
        "left_ear",
    ),
    bones=(
        ("neck", "right_shoulder"),
        ("right_shoulder", "right_elbow"),
        ("right_elbow", "right_wrist"),
        ("neck", "left_shoulder"),
        ("left_shoulder", "left_elbow"),
        ("left_elbow", "left_wrist"),
        ("neck", "right_hip"),
        ("right_hip", "right_knee"),
        ("right_knee", "right_ankle"),
        ("neck", "left_hip"),
        ("left_hip", "left_knee"),
        ("left_knee", "left_ankle"),
        ("neck", "nose"),
        ("nose", "right_eye"),
        ("nose", "left_eye"),
        ("right_eye", "right_ear"),
        ("left_eye", "left_ear"),
    ),
)
"""COCO's joints and a neck halfway between the shoulders (OpenPose, Cao et al., CVPR 2017)."""

OPENPOSE25 = Skeleton(
    "OPENPOSE25",
    (
        *OPENPOSE18.joints[: OPENPOSE18.joints.index("right_hip")],
        "pelvis",
        *OPENPOSE18.joints[OPENPOSE18.joints.index("right_hip") :],
        "left_big_toe",
        "left_small_toe",
        "left_heel",
        "right_big_toe",
        "right_small_toe",
        "right_heel",
    ),
)
"""OpenPose's BODY_25: the same, a pelvis halfway between the hips, and feet."""

COCO23 = Skeleton(
    "COCO23",
    (
        *COCO17.joints,
        "left_big_toe",
        "left_small_toe",
        "left_heel",
        "right_big_toe",
        "right_small_toe",
        "right_heel",
    ),
    bones=(
        *_COCO_BONES,
        ("left_ankle", "left_heel"),
        ("left_heel", "left_big_toe"),
        ("right_ankle", "right_heel"),
        ("right_heel", "right_big_toe"),
    ),
)
"""COCO's 17 joints and the six feet points of COCO-WholeBody: what our models look at."""

HALPE26 = Skeleton(
    "HALPE26",
    (
        *COCO17.joints,
        "head_top",
        "neck",
        "pelvis",
        "left_big_toe",
        "right_big_toe",
        "left_small_toe",
        "right_small_toe",
        "left_heel",
        "right_heel",
    ),
)
"""Of Halpe-FullBody (Fang et al., TPAMI 2022), which AlphaPose looks for: its body without face and
hands, which follow in the set of 136."""

BLAZEPOSE23 = replace(COCO23, name="BLAZEPOSE23")
"""The same names for what BlazePose means by them, which lies up to four centimetres elsewhere
(`body.detector_points`); of its own joints those that have a name there, so no small toes."""

BLAZEPOSE33 = Skeleton(
    "BLAZEPOSE33",
    (
        "nose",
        "left_eye_inner",
        "left_eye",
        "left_eye_outer",
        "right_eye_inner",
        "right_eye",
        "right_eye_outer",
        "left_ear",
        "right_ear",
        "left_mouth",
        "right_mouth",
        "left_shoulder",
        "right_shoulder",
        "left_elbow",
        "right_elbow",
        "left_wrist",
        "right_wrist",
        "left_pinky",
        "right_pinky",
        "left_index",
        "right_index",
        "left_thumb",
        "right_thumb",
        "left_hip",
        "right_hip",
        "left_knee",
        "right_knee",
        "left_ankle",
        "right_ankle",
        "left_heel",
        "right_heel",
        "left_big_toe",
        "right_big_toe",
    ),
)
"""BlazePose GHUM (Bazarevsky et al. 2020). Its "foot index" is the tip of the big toe."""

H36M17 = Skeleton(
    "H36M17",
    (
        "pelvis",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_hip",
        "right_knee",
        "right_ankle",
        "spine",
        "neck",
        "jaw",
        "head_top",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
    ),
)
"""Human3.6M's 17 joints in the order of the regressor that the field's evaluations share."""

LSP14 = Skeleton(
    "LSP14",
    (
        "right_ankle",
        "right_knee",
        "right_hip",
        "left_hip",
        "left_knee",
        "left_ankle",
        "right_wrist",
        "right_elbow",
        "right_shoulder",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "neck",
        "head_top",
    ),
)

SPIN24 = Skeleton(
    "SPIN24",
    (
        *LSP14.joints,
        "pelvis",
        "thorax",
        "spine",
        "jaw",
        "head_center",
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
    ),
)
"""The joints that SPIN (Kolotouros et al., ICCV 2019) gathers its datasets' annotations in.

Files of labels in its manner (`part`, `S`) have them in this order. "head_center" is Human3.6M's
head, which is no joint of SMPL's.
"""

MPI28 = Skeleton(
    "MPI28",
    (
        "spine_3",
        "spine_4",
        "spine_2",
        "spine",
        "pelvis",
        "neck",
        "head_center",
        "head_top",
        "left_clavicle",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "left_knuckles",
        "right_clavicle",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
        "right_knuckles",
        "left_hip",
        "left_knee",
        "left_ankle",
        "left_forefoot",
        "left_toe",
        "right_hip",
        "right_knee",
        "right_ankle",
        "right_forefoot",
        "right_toe",
    ),
)
"""MPI-INF-3DHP's joints (Mehta et al., 3DV 2017).

Its spine, head, hands and feet have names of their own here: they are other points than SMPL's.
"""
