"""BVH: a skeleton and its motion as text, for animation programs and retargeting.

SMPL's 24 joints under our names, at rest in SMPL's zero pose (a T-pose, y up, facing +z) with the
bones of the person's shape. Y is up (`exported`), the unit is the centimetre, which Maya,
MotionBuilder, Unreal and Mixamo take BVH to be in; Blender takes metres, so give it a scale of
0.01 or ask for metres. The root has its position and rotation, all other joints a rotation, as
Euler angles in degrees in the order of the channels: Z, then X, then Y about the turned axes,
R = Rz Rx Ry. Angles run on beyond 180 degrees rather than jump. Frames are evenly spaced from the
person's first to their last: BVH knows no other times.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.spatial.transform import Rotation

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.on_disk import chunks
from temporal_hmr.output.exported import Exported
from temporal_hmr.output.formats import UNITS
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.skeleton import SMPL24

_ROTATION_CHANNELS = "Zrotation Xrotation Yrotation"
_POSITION_CHANNELS = "Xposition Yposition Zposition"


def write_bvh(person: Exported, path: Path, unit: str = "cm") -> None:
    """Write one person; `unit` is one of `formats.UNITS`.

    Raises `InputError` if the place cannot be written to.
    """
    scale = UNITS[unit]
    smpl = person.at_even_times(person.standing())
    rest = person.body.rest_joints(smpl.betas[0])
    places = (rest[0] + smpl.transl).numpy() * scale
    offsets, ends = rest.numpy() * scale, _ends(person.body, rest.numpy()) * scale
    lines = ["HIERARCHY", *_joint(0, offsets, ends), "MOTION", f"Frames: {len(places)}"]
    lines.append(f"Frame Time: {1 / person.fps:.8f}")
    with atomic_path(path) as temporary, temporary.open("w", encoding="ascii") as file:
        file.write("\n".join(lines) + "\n")
        for row in _rows(smpl, places):
            file.write(" ".join(["%.6f"] * len(row)) % row + "\n")


def _rows(smpl: SmplParams, places: Float[ndarray, "T 3"]) -> Iterator[tuple[float, ...]]:
    """The numbers of each frame."""
    order, before = _depth_first(0), None
    for part in chunks(len(places), smpl.body_pose):
        angles = euler_angles(smpl[part].rotations().numpy(), before)
        before = angles[-1]
        rows = np.concatenate([places[part], angles[:, order].reshape(len(angles), -1)], 1)
        yield from map(tuple, rows.tolist())


def euler_angles(
    rotations: Float[ndarray, "T J 3 3"], before: Float[ndarray, "J 3"] | None = None
) -> Float[ndarray, "T J 3"]:
    """Degrees about z, x, y with R = Rz Rx Ry; each follows on from the frame before.

    `before` has the angles of the frame before the first.
    """
    with warnings.catch_warnings():
        # Where x is 90 degrees z and y turn about one axis: any split of theirs is right.
        warnings.filterwarnings("ignore", message="Gimbal lock")
        turns = Rotation.from_matrix(rotations.reshape(-1, 3, 3)).as_euler("ZXY", degrees=True)
    angles = turns.reshape(*rotations.shape[:2], 3)
    if before is None:
        return np.unwrap(angles, period=360, axis=0)
    return np.unwrap(np.concatenate([before[None], angles]), period=360, axis=0)[1:]


def _joint(
    joint: int, places: Float[ndarray, "24 3"], ends: Float[ndarray, "24 3"], depth: int = 0
) -> list[str]:
    """The lines of a joint and all below it."""
    pad, inner, parent = "\t" * depth, "\t" * (depth + 1), SMPL24.parents[joint]
    name = SMPL24.joints[joint]
    # Programs disagree on whether the root's position comes on top of its offset: so it is zero.
    offset = np.zeros(3) if parent < 0 else places[joint] - places[parent]
    channels = f"3 {_ROTATION_CHANNELS}"
    if parent < 0:
        channels = f"6 {_POSITION_CHANNELS} {_ROTATION_CHANNELS}"
    lines = [f"{pad}{'ROOT' if parent < 0 else 'JOINT'} {name}", f"{pad}{{"]
    lines += [f"{inner}OFFSET {_written(offset)}", f"{inner}CHANNELS {channels}"]
    children = _children(joint)
    for child in children:
        lines += _joint(child, places, ends, depth + 1)
    if not children:
        end = _written(ends[joint] - places[joint])
        lines += [f"{inner}End Site", f"{inner}{{", f"{inner}\tOFFSET {end}", f"{inner}}}"]
    return [*lines, f"{pad}}}"]


def _children(joint: int) -> list[int]:
    return [child for child, parent in enumerate(SMPL24.parents) if parent == joint]


def _depth_first(joint: int) -> list[int]:
    """The joint and all below it, as the hierarchy lists them."""
    return [joint, *(below for child in _children(joint) for below in _depth_first(child))]


def _ends(body: BodyModel, rest: Float[ndarray, "24 3"]) -> Float[ndarray, "24 3"]:
    """Where the skin of each joint ends: as far beyond the middle of it as that is from the joint.

    For the joints at the ends of the tree, near enough the crown, the fingertips and the toes.
    """
    weights = body.weights.numpy()
    middles = weights.T @ body.v_template.numpy()
    middles /= np.maximum(weights.sum(0), 1e-12)[:, None]
    template = body.joint_template.numpy()
    return rest + 2 * (middles - template)


def _written(vector: Float[ndarray, "3"]) -> str:
    return " ".join(f"{value:.6f}" for value in vector)
