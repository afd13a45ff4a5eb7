"""Motion capture archives: AMASS-style npz files, and folders of them and of BVH files.

AMASS (Mahmood et al., ICCV 2019) stores `poses` as axis-angle, `trans`, `betas`, `gender` and a
frame rate. The body may be SMPL (24 joints), SMPL-H (52) or SMPL-X (55): their first 22 joints are
the same; we leave the hands at rest.
"""

import logging
import math
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from numpy import ndarray
from torch import Tensor

from temporal_hmr.archive import read_arrays
from temporal_hmr.configuration import Config
from temporal_hmr.data.bvh import read_bvh
from temporal_hmr.data.take import MocapTake, looked_up_axis, resample, turned_y_up
from temporal_hmr.data.take_faults import sound_pieces
from temporal_hmr.data.up_axes import turned_upright
from temporal_hmr.errors import InputError
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24

__all__ = [
    "MocapTake",
    "TakesConfig",
    "counted_subjects",
    "looked_up_axis",
    "read_files",
    "read_take",
    "read_takes",
    "resample",
    "share_shoulder_elevation",
    "split_subjects",
]

_BODY_JOINTS = 22
_POSE_WIDTHS = {72: "SMPL", 156: "SMPL-H", 165: "SMPL-X"}
_RATE_KEYS = ("mocap_framerate", "mocap_frame_rate", "fps")
_SLOWEST, _FASTEST = 0.1, 1e5
"""Frames per second of motion capture, with room to spare."""
_STILL_COLLAR = math.radians(1)
_COLLARS = (("left_collar", "left_shoulder", 1.0), ("right_collar", "right_shoulder", -1.0))

_log = logging.getLogger(__name__)


class TakesConfig(Config):
    """How a folder of motion capture is read."""

    up_axis: Literal["auto", "y", "z"] = "auto"
    """Of the files' worlds: AMASS has z, converted collections often y; auto looks at the motion,
    which somebody lying can mislead."""
    skip_broken: bool = False
    """Leave out what is broken, and say so; else it is an error."""


def split_subjects(
    takes: Sequence[MocapTake],
    held_out: Collection[str],
    ignored: Collection[str],
    settings: str = "",
) -> tuple[list[MocapTake], list[MocapTake]]:
    """Takes to train on and takes to evaluate on: whole subjects, none on both sides.

    Faults of capture are cut out of the former (`sound_pieces`); the latter stay as they are, so
    that figures compare. `settings` is what stands before the names of both in a configuration.
    Raises `InputError` for a held-out subject that the data lacks, or if one side stays empty.
    """
    aside = {*held_out, *ignored}
    subjects = {take.subject for take in takes}
    if unknown := set(held_out) - subjects:
        raise InputError(
            f"the data has no subject {min(unknown)} to judge by; it has "
            f"{', '.join(sorted(subjects))}: name some of these (folders' names) as "
            f"{settings}held_out in the configuration, and who is for neither as {settings}ignored"
        )
    for absent in sorted(set(ignored) - subjects):
        _log.warning("%signored: there is no subject %s in the data", settings, absent)
    training = [
        piece for take in takes if take.subject not in aside for piece in sound_pieces(take)
    ]
    evaluation = [take for take in takes if take.subject in held_out]
    if not training or not evaluation:
        raise InputError(
            f"{settings}held_out leaves nothing to train on, or nothing to evaluate on: name some "
            f"of the subjects {', '.join(sorted(subjects))} in the configuration, and not all"
        )
    return training, evaluation


def counted_subjects(takes: Sequence[MocapTake]) -> dict[str, int]:
    """How many takes there are of whom."""
    return dict(sorted(Counter(take.subject for take in takes).items()))


def read_take(
    path: str | Path,
    up_axis: Literal["auto", "y", "z"] = "auto",
    rest_pelvis: Float[Tensor, "3"] | None = None,
) -> MocapTake:
    """Read one AMASS-style npz file; nothing in it is executed (no pickle).

    `up_axis` is the axis of the file's world that points up: AMASS has z, converted collections
    often y; "auto" looks at the motion (`looked_up_axis`). A z-up motion is turned by -90 degrees
    about x, (x, y, z) -> (x, z, -y). SMPL turns about its rest pelvis J0, so that the translation
    becomes R (J0 + transl) - J0; give `rest_pelvis` (J0 in metres, of the body the file was made
    with) to have it exactly. Without it J0 is taken as zero, and the result is displaced by the
    constant R J0 - J0 (about 0.3 m for an adult): orientation and velocities are exact either way.

    Raises `InputError` naming file and key where something is missing, of the wrong shape, not
    finite or not plain numbers, and where "auto" cannot tell.
    """
    path = Path(path)
    arrays = read_arrays(path, lambda names: _wanted(path, names))
    take = _take_from(path, arrays)
    if up_axis not in ("auto", "y", "z"):
        raise InputError(f"up axis {up_axis!r} is unknown: give 'auto', 'y' or 'z'.")
    if up_axis == "auto":
        try:
            up_axis = looked_up_axis(take)
        except InputError as error:
            raise InputError(f"{path}: {error}") from None
    return take if up_axis == "y" else turned_y_up(take, rest_pelvis)


def read_takes(root: str | Path, settings: TakesConfig = TakesConfig()) -> list[MocapTake]:
    """Every take below a folder, sorted by path: `*.npz` and `*.bvh`; subject = parent folder.

    AMASS's companion files of body shape (`shape.npz`, `*_stagei.npz`) hold no motion and are
    passed over, and so are hidden files, such as macOS writes beside others (`._*`). Where "auto"
    meets takes that do not tell which axis is up, others of the folder do (`turned_upright`).
    Raises `InputError` where there is no take, or one cannot be read.
    """
    root = Path(root)
    paths = [
        path
        for path in sorted(root.rglob("*"))
        if path.suffix.lower() in (".npz", ".bvh")
        and path.name != "shape.npz"
        and not path.stem.endswith("_stagei")
        and not path.name.startswith(".")
    ]
    if not paths:
        raise InputError(f"{root} holds no motion capture: expected .npz or .bvh files below it.")
    # With y up a take stays as its file has it.
    axis = "y" if settings.up_axis == "auto" else settings.up_axis

    def read(path: Path) -> MocapTake:
        return (read_bvh if path.suffix.lower() == ".bvh" else read_take)(path, up_axis=axis)

    takes = read_files(paths, read, settings.skip_broken)
    return turned_upright(takes) if settings.up_axis == "auto" else list(takes.values())


def read_files(
    paths: Sequence[Path], read: Callable[[Path], MocapTake], skip_broken: bool
) -> dict[Path, MocapTake]:
    """The takes of some files, by path; with `skip_broken` broken ones are left out with a warning.

    Raises `InputError` if one is broken, or all are.
    """
    takes, problems = {}, []
    for path in paths:
        try:
            takes[path] = read(path)
        except InputError as error:
            if not skip_broken:
                raise
            _log.warning("skipped: %s", error)
            problems.append(error)
    if not takes:
        raise InputError(f"nothing can be used; the first problem: {problems[0]}")
    return takes


def share_shoulder_elevation(
    rotations: Float[Tensor, "*b 24 3 3"],
) -> Float[Tensor, "*b 24 3 3"]:
    """Give collars that were not captured their share of the arm's motion.

    Scapulohumeral rhythm (Inman, Saunders and Abbott 1944): after a setting phase of about 30
    degrees of abduction the shoulder girdle turns one degree for every two of the arm in the
    shoulder joint, a third of the whole. SMPL's rest is 90 degrees of abduction, so the collar goes
    from -20 degrees (arm hanging) through 0 (T-pose) to +30 (overhead). It also swings forward with
    the reaching arm, by 15 degrees when the arm points straight ahead (our choice, about half of
    what people can).

    The shoulder is turned back by the same rotation: global rotations from the upper arm outwards
    do not change. Smooth in the pose but for the arm straight overhead, where it is continuous;
    commutes with `flip_rotations`. A collar is left alone unless it stays within a degree of the
    identity in everything given, so that a measured one passing through zero is not touched: call
    it per take.
    """
    shared = rotations.clone()
    identity = torch.eye(3, dtype=rotations.dtype, device=rotations.device)
    for collar_name, shoulder_name, side in _COLLARS:
        collar, shoulder = SMPL24.indices(collar_name, shoulder_name)
        if (rotations[..., collar, :, :] - identity).abs().max() > math.sin(_STILL_COLLAR):
            continue
        upper_arm = rotations[..., collar, :, :] @ rotations[..., shoulder, :, :]
        arm = side * upper_arm[..., :, 0]
        raising = _girdle_raising(torch.atan2(arm[..., 1], arm[..., [0, 2]].norm(dim=-1)))
        forward = math.radians(15) * arm[..., 2]
        vector = side * torch.stack([torch.zeros_like(raising), -forward, raising], -1)
        turn = axis_angle_to_matrix(vector)
        shared[..., collar, :, :] = turn
        shared[..., shoulder, :, :] = turn.mT @ upper_arm
    return shared


def _girdle_raising(elevation: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
    """The collar's raising for the arm's elevation above the horizontal, both in radians."""
    setting, rounding = math.radians(30), math.radians(10)

    def beyond_setting(abduction: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        past = abduction - setting
        return 0.5 * (past + (past * past + rounding * rounding).sqrt())

    rest = torch.full_like(elevation, math.pi / 2)
    return (beyond_setting(elevation + math.pi / 2) - beyond_setting(rest)) / 3


def _wanted(path: Path, keys: list[str]) -> list[str]:
    """The keys we read, among those the file has."""
    rate = next((key for key in _RATE_KEYS if key in keys), _RATE_KEYS[0])
    wanted = ["poses", "trans", "betas", rate]
    missing = [key for key in wanted if key not in keys]
    if missing:
        raise InputError(
            f"{path} has no {', '.join(repr(key) for key in missing)} (it has {', '.join(keys)}): "
            "expected a motion file in the layout of AMASS."
        )
    return wanted


def _take_from(path: Path, arrays: Mapping[str, ndarray]) -> MocapTake:
    poses, trans, betas, rate = (_numbers(path, key, array) for key, array in arrays.items())
    if poses.ndim != 2 or poses.shape[1] not in _POSE_WIDTHS or len(poses) == 0:
        widths = ", ".join(f"{width} ({body})" for width, body in _POSE_WIDTHS.items())
        raise InputError(
            f"{path}: 'poses' has shape {poses.shape}: expected (T, width), T >= 1 and width one "
            f"of {widths}."
        )
    if trans.shape != (len(poses), 3):
        raise InputError(f"{path}: 'trans' has shape {trans.shape}: expected ({len(poses)}, 3).")
    if betas.ndim != 1 or len(betas) < 10:
        raise InputError(f"{path}: 'betas' has shape {betas.shape}: expected at least 10 in a row.")
    if rate.size != 1 or not _SLOWEST <= rate.item() <= _FASTEST:
        raise InputError(f"{path}: the frame rate {rate} is not one positive number.")
    kept = 24 if poses.shape[1] == 72 else _BODY_JOINTS
    vectors = torch.zeros(len(poses), 24, 3)
    vectors[:, :kept] = torch.from_numpy(poses[:, : 3 * kept]).unflatten(1, (kept, 3))
    return MocapTake(
        name=path.stem.removesuffix("_poses"),
        subject=path.parent.name,
        rotations=axis_angle_to_matrix(vectors),
        translation=torch.from_numpy(trans),
        fps=float(rate.item()),
        betas=torch.from_numpy(betas[:10]),
    )


def _numbers(path: Path, key: str, array: ndarray) -> Float32[ndarray, "*n"]:
    if array.dtype.kind not in "fiu":
        raise InputError(f"{path}: '{key}' holds {array.dtype}: expected numbers.")
    with np.errstate(over="ignore"):  # told below
        numbers = array.astype(np.float32)
    if not np.isfinite(numbers).all():
        raise InputError(
            f"{path}: '{key}' holds NaN, or values that are infinite in float32: remove those "
            "frames."
        )
    return numbers
