"""AMASS: motion capture of many laboratories, as SMPL-H or SMPL-X bodies.

Mahmood et al., "AMASS: archive of motion capture as surface shapes" (ICCV 2019), unpacked as
published: `SUBSET/SUBJECT/MOTION_poses.npz` (SMPL+H) or `MOTION_stageii.npz` (SMPL-X).
"""

from dataclasses import replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from temporal_hmr.data.mocap import read_files, read_take
from temporal_hmr.data.take import MocapTake
from temporal_hmr.errors import InputError

HELD_OUT = {
    "validation": ("HumanEva", "HDM05", "MPI_HDM05", "SFU", "MPI_mosh", "MPI_Mosh", "MoSh"),
    "test": ("Transitions", "Transitions_mocap", "SSM", "SSM_synced"),
}
"""Subsets, by the names that their archives bore over the years; `train` is all the others."""

_ENDINGS = ("_poses.npz", "_stageii.npz")


def read_amass(
    folder: str | Path,
    part: str,
    skip_broken: bool = False,
    rest_pelvis: Float[Tensor, "3"] | None = None,
) -> list[MocapTake]:
    """All motions of one part, `train`, `validation` or `test`, sorted by path.

    A subject is named after subset and folder, `CMU/01`: subsets number their people each for
    itself. AMASS's worlds have z up; `rest_pelvis` as in `read_take`. Companion files of shape are
    passed over. Raises `InputError` where there is nothing of the part, or a file is broken; with
    `skip_broken` broken ones are left out with a warning.
    """
    folder = Path(folder)
    if part not in ("train", *HELD_OUT):
        raise InputError(f"AMASS has no part {part!r}: give train, {' or '.join(HELD_OUT)}")
    paths = sorted(
        path
        for path in folder.glob("*/*/*.npz")
        if path.name.endswith(_ENDINGS)
        and not path.name.startswith(".")
        and _part_of(path.parents[1].name) == part
    )
    if not paths:
        raise InputError(
            f"{folder} has no motions of {part}: expected SUBSET/SUBJECT/MOTION_poses.npz"
        )
    takes = read_files(paths, lambda path: read_take(path, "z", rest_pelvis), skip_broken)
    return [
        replace(
            take,
            name=f"{_subject(path)}/{take.name.removesuffix('_stageii')}",
            subject=_subject(path),
        )
        for path, take in takes.items()
    ]


def _subject(path: Path) -> str:
    return f"{path.parents[1].name}/{path.parent.name}"


def _part_of(subset: str) -> str:
    return next((part for part, subsets in HELD_OUT.items() if subset in subsets), "train")
