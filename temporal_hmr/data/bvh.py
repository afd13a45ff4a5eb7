"""BVH motion files on the SMPL skeleton."""

import math
import re
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.data.bvh_file import BvhMotion, parse_bvh
from temporal_hmr.data.bvh_rest_pose import RestPose, calibrate
from temporal_hmr.data.take import MocapTake, looked_up_axis, turned_y_up
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24, mirrored

_SPINE = ("spine1", "spine2", "spine3")
# Words that stand for a joint, once side and rig prefix are taken off; the first match counts.
_WORDS = {
    "pelvis": ("pelvis", "hips", "hip", "root"),
    "neck": ("neck", "neck1", "necktwist01", "neck01", "head"),
    "head": ("head",),
    "left_hip": ("upleg", "thigh", "upperleg", "hip"),
    "left_knee": ("leg", "calf", "shin", "lowerleg", "lowleg", "knee"),
    "left_ankle": ("foot", "ankle"),
    "left_foot": ("toebase", "toe", "toe0", "toes", "ball"),
    "left_shoulder": ("arm", "upperarm", "uparm", "shoulder"),
    "left_collar": ("clavicle", "collar", "shoulder"),
    "left_elbow": ("forearm", "lowerarm", "lowarm", "elbow"),
    "left_wrist": ("hand", "wrist"),
}
_MAY_BE_MISSING = ("left_foot", "left_collar", "head")
# Hip to ankle of an adult, in metres, and metres per unit of the units in use; CMU's own files
# count inches divided by 0.45.
_LEG = 0.82
_UNITS = (1.0, 0.01, 0.001, 0.0254, 0.0254 / 0.45)


def read_bvh(
    path: str | Path,
    rest_pose: RestPose = "auto",
    up_axis: Literal["auto", "y", "z"] = "auto",
    metres_per_unit: float | None = None,
    rest_pelvis: Float[Tensor, "3"] | None = None,
) -> MocapTake:
    """Read a BVH file onto the SMPL skeleton.

    Joints are found by their names (as CMU conversions, MotionBuilder, Mixamo, 3ds Max Biped,
    iClone and Poser-like tools write them); rotations are taken relative to `rest_pose` (see
    `bvh_rest_pose.calibrate`) and joints that the file lacks are left at the identity.
    `metres_per_unit` is guessed from the length of the legs if not given: metres, centimetres,
    millimetres, inches or the unit of CMU's own files. `up_axis` as in `mocap.read_take`; the
    translation is the place of the file's pelvis minus `rest_pelvis` (metres; zero if not given).

    Raises `InputError` naming the line where the file is broken, the joints that are missing, or
    what could not be told by looking.
    """
    path = Path(path)
    motion = parse_bvh(path)
    joints = named_joints(motion, path)
    calibration = calibrate(motion, joints, rest_pose)
    world = {
        joint: motion.world_rotations[:, joints[joint]] @ turn
        for joint, turn in calibration.items()
    }
    scale = _looked_unit(motion, joints, path) if metres_per_unit is None else metres_per_unit
    pelvis = torch.from_numpy(motion.positions[:, joints["pelvis"]] * scale).float()
    take = MocapTake(
        name=path.stem,
        subject=path.parent.name,
        rotations=_relative_to_parents(world),
        translation=pelvis if rest_pelvis is None else pelvis - rest_pelvis,
        fps=motion.frame_rate,
        betas=torch.zeros(10),
    )
    if up_axis == "auto":
        up_axis = looked_up_axis(take)
    return take if up_axis == "y" else turned_y_up(take, rest_pelvis)


def named_joints(motion: BvhMotion, path: Path) -> dict[str, int]:
    """Which joint of the file is which of SMPL's, by name; spine joints by their place.

    Raises `InputError` naming the joints that no name fits.
    """
    words: dict[tuple[str, str], int] = {}
    for joint, name in enumerate(motion.names):
        words.setdefault(_side_and_word(name), joint)
    found: dict[str, int] = {}
    for joint, candidates in _WORDS.items():
        for name in dict.fromkeys((joint, mirrored(joint))):
            side = name.split("_")[0] if "_" in name else ""
            matches = [words[side, word] for word in candidates if (side, word) in words]
            free = [match for match in matches if match not in found.values()]
            if free:
                found[name] = free[0]
            elif joint not in _MAY_BE_MISSING:
                raise InputError(
                    f"{path}: no joint of the skeleton looks like the {name.replace('_', ' ')} "
                    f"(its joints: {', '.join(motion.names)}): rename it, e.g. as Mixamo does."
                )
    return found | _spine_joints(motion, found)


def _side_and_word(name: str) -> tuple[str, str]:
    """("left", "upleg") of mixamorig:LeftUpLeg, LeftUpLeg, lUpLeg, L_UpLeg or UpLeg.L."""
    name = re.sub(r"^(CC_Base_|mixamorig\d*[:_]?|Bip0*1?[ _]|.*:)", "", name)
    parts = re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)
    parts = [part.lower() for part in parts]
    side = ""
    for part in (0, -1):
        if parts and parts[part] in ("l", "left", "r", "right"):
            side = "left" if parts.pop(part).startswith("l") else "right"
            break
    return side, "".join(parts)


def _spine_joints(motion: BvhMotion, found: dict[str, int]) -> dict[str, int]:
    """The joints between pelvis and neck, at most three: first, middle and last."""
    pelvis_line = [found["pelvis"]]
    while motion.parents[pelvis_line[-1]] >= 0:
        pelvis_line.append(motion.parents[pelvis_line[-1]])
    chain = []
    joint = motion.parents[found["neck"]]
    while joint >= 0 and joint not in pelvis_line:
        chain.insert(0, joint)
        joint = motion.parents[joint]
    if len(chain) > len(_SPINE):
        chain = [chain[0], chain[len(chain) // 2], chain[-1]]
    names = {0: (), 1: ("spine3",), 2: ("spine1", "spine3"), 3: _SPINE}[len(chain)]
    return dict(zip(names, chain, strict=True))


def _looked_unit(motion: BvhMotion, joints: dict[str, int], path: Path) -> float:
    chain = [joints["left_hip"], joints["left_knee"], joints["left_ankle"]]
    leg = np.linalg.norm(np.diff(motion.positions[0, chain], axis=0), axis=1).sum()
    if leg > 0:
        scale = min(_UNITS, key=lambda unit: abs(math.log(leg * unit / _LEG)))
        if 0.5 < leg * scale < 1.2:
            return scale
    raise InputError(f"{path}: legs of {leg:.3g} fit no unit of length: give metres_per_unit.")


def _relative_to_parents(
    world: dict[str, Float[ndarray, "T 3 3"]],
) -> Float[Tensor, "T 24 3 3"]:
    """SMPL's joint rotations from those in the world; joints not given do not turn."""
    chain: list[ndarray] = []
    relative = []
    for joint, parent in zip(SMPL24.joints, SMPL24.parents, strict=True):
        above = np.eye(3) if parent < 0 else chain[parent]
        chain.append(world.get(joint, chain[parent] if parent >= 0 else above))
        relative.append(above.swapaxes(-1, -2) @ chain[-1])
    return torch.from_numpy(np.stack(relative, 1)).float()
