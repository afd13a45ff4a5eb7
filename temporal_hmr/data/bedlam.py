"""BEDLAM: rendered people with the bodies that they were rendered from.

Black et al., "BEDLAM: a synthetic dataset of bodies exhibiting detailed lifelike animated motion"
(CVPR 2023). The images and the processed labels for SMPL's neutral body, one npz for each scene.
"""

import re
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.annotations import Pictures, gather
from temporal_hmr.data.label_arrays import LabelArrays
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.sequence_parts import coco_keypoints, square_boxes
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24, Skeleton

FPS = 30.0
"""Images are numbered at this rate, whether all of them are there or every fifth."""
LABELS = {"train": "training", "validation": "validation"}
"""Endings of the labels' folders, such as `all_npz_12_smpl_training`."""

SMPLX_SMPL45 = Skeleton(
    "SMPLX_SMPL45",
    (
        *SMPL24.joints,
        *("nose", "right_eye", "left_eye", "right_ear", "left_ear"),
        *("left_big_toe", "left_small_toe", "left_heel"),
        *("right_big_toe", "right_small_toe", "right_heel"),
        *(f"left_{finger}_tip" for finger in ("thumb", "index", "middle", "ring", "pinky")),
        *(f"right_{finger}_tip" for finger in ("thumb", "index", "middle", "ring", "pinky")),
    ),
)
"""The joints that the smplx package gives SMPL's body: the kinematic ones, then vertices."""

_REQUIRED = (
    *("imgname", "center", "scale", "pose_cam", "shape"),
    *("trans_cam", "cam_int", "cam_ext", "gtkps", "sub"),
)
_POINTS = {len(SMPL24): SMPL24, len(SMPLX_SMPL45): SMPLX_SMPL45}
_NUMBER = re.compile(r"(\d+)\.\w+$")


def read_bedlam(folder: str | Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """Every person of every video of one part, `train` or `validation`.

    `folder` holds a folder of labels, `all_npz_12_smpl_training` or `..._validation`, and the
    images as `SCENE/png/seq_000000/seq_000000_0000.png`; each may lie one folder deeper. A scene's
    labels `SCENE.npz` have one row for each person in each image:

    - `imgname` [N]: path below `SCENE/png`;
    - `pose_cam` [N 72], `shape` [N 10 or more, of which ten are used], `trans_cam` [N 3]: SMPL in
      the axes of the camera; it stands at `trans_cam` plus the translation of `cam_ext` [N 4 4];
    - `cam_int` [N 3 3], `center` [N 2], `scale` [N], `sub` [N]: the person's name;
    - `gtkps` [N 24|45 2|3]: projections of the body's joints, in smplx's order.

    `joints` stay unknown: the body gives them. The images of close-ups are stored lying on their
    side; `quarter_turns` says so. A person who leaves the image and returns has a gap in `times`.
    Raises `InputError` naming file and key for anything missing, misshapen or not finite, and for
    missing images; with `skip_broken` such scenes are left out with a warning.
    """
    folder = Path(folder)
    if part not in LABELS:
        raise InputError(f"BEDLAM has no part {part!r}: give {' or '.join(LABELS)}")
    pattern = f"all_npz*_{LABELS[part]}/*.npz"
    paths = sorted([*folder.glob(pattern), *folder.glob(f"*/{pattern}")])
    if not paths:
        raise InputError(f"{folder} has no labels {pattern}: give the folder that has")
    pictures = Pictures()
    return gather(paths, lambda path: _scene(folder, path, pictures), pictures, skip_broken)


def _scene(folder: Path, path: Path, pictures: Pictures) -> list[Sequence]:
    images = next(
        (place for place in _image_places(folder, path.stem) if place.is_dir()),
        folder / path.stem / "png",
    )
    labels = LabelArrays(path, _REQUIRED)
    names = labels.texts("imgname")
    numbers = [_frame_number(path, name) for name in names]
    people = labels.texts("sub")
    labels.require_finite(_REQUIRED, list(range(labels.rows)))
    smpl, keypoints = _bodies(labels), _keypoints(labels)
    focal, center = _cameras(labels)
    boxes = square_boxes(labels.numbers("center", 2), labels.numbers("scale"))
    sequences = []
    for place, rows in enumerate(_people(names, people, numbers)):
        video, person = names[rows[0]].rsplit("/", 1)[0], people[rows[0]]
        files = tuple(images / names[row] for row in rows)
        size, quarter_turns = _turned_size(files, center[rows[0]], pictures)
        sequences.append(
            Sequence(
                name=f"{path.stem}/{video}/{person}_{place}",
                dataset="BEDLAM",
                trusted=True,
                images=files,
                image_size=size,
                times=np.array([numbers[row] for row in rows]) / FPS,
                focal=focal[rows],
                center=center[rows],
                boxes=boxes[rows],
                keypoints=keypoints[rows],
                joints=np.zeros((len(rows), len(SMPL24), 3)),
                has_joints=np.zeros((len(rows), len(SMPL24)), bool),
                smpl=smpl[rows],
                has_smpl=np.ones(len(rows), bool),
                subject=person,
                quarter_turns=quarter_turns,
            )
        )
    return sequences


def _image_places(folder: Path, scene: str) -> list[Path]:
    return [folder / scene / "png", *sorted(folder.glob(f"*/{scene}/png"))]


def _people(names: list[str], people: list[str], numbers: list[int]) -> list[list[int]]:
    """Rows of one person in one video: rows in a row, whose images have rising numbers."""
    keys = [(name.rsplit("/", 1)[0], person) for name, person in zip(names, people, strict=True)]
    found: list[list[int]] = []
    for row, key in enumerate(keys):
        if row and key == keys[row - 1] and numbers[row] > numbers[row - 1]:
            found[-1].append(row)
        else:
            found.append([row])
    return found


def _frame_number(path: Path, name: str) -> int:
    number = _NUMBER.search(name)
    if number is None or "/" not in name:
        raise InputError(
            f"{path}: 'imgname' {name!r} is not such as seq_000000/seq_000000_0000.png"
        )
    return int(number[1])


def _bodies(labels: LabelArrays) -> SmplParams:
    pose = labels.numbers("pose_cam", None)
    if pose.shape[1] != 3 * len(SMPL24):
        raise InputError(
            f"{labels.path}: 'pose_cam' has {pose.shape[1]} numbers a row, SMPL's have 72: get the "
            "labels for SMPL, not those for SMPL-X"
        )
    shape = labels.numbers("shape", None)
    if shape.shape[1] < 10:
        raise InputError(f"{labels.path}: 'shape' has {shape.shape[1]} numbers a row, not ten")
    transl = labels.numbers("trans_cam", 3) + labels.numbers("cam_ext", 4, 4)[:, :3, 3]
    values = (torch.from_numpy(array) for array in (pose, shape[:, :10], transl))
    return SmplParams.from_poses(*values)


def _keypoints(labels: LabelArrays) -> Float[ndarray, "N 23 3"]:
    points = labels.numbers("gtkps", tuple(_POINTS), (2, 3))
    known = np.ones((*points.shape[:2], 1))
    return coco_keypoints(np.concatenate([points[..., :2], known], -1), _POINTS[points.shape[1]])


def _cameras(labels: LabelArrays) -> tuple[Float[ndarray, "N 2"], Float[ndarray, "N 2"]]:
    matrices = labels.numbers("cam_int", 3, 3)
    focal, center = matrices[:, [0, 1], [0, 1]], matrices[:, :2, 2]
    wrong = (focal <= 0).any(1) | (center <= 0).any(1)
    if wrong.any():
        raise InputError(f"{labels.path}: 'cam_int' of row {int(wrong.argmax())} is no camera's")
    return focal, center


def _turned_size(
    images: tuple[Path, ...], center: Float[ndarray, "2"], pictures: Pictures
) -> tuple[tuple[int, int], int]:
    """Size of the image that the labels mean, and how often to turn the stored one clockwise."""
    meant = (round(2 * center[0]), round(2 * center[1]))
    stored = next((image for image in images if image in pictures), None)
    if stored is None:
        return meant, 0
    width, height = pictures.size(stored)
    if (width, height) == meant:
        return meant, 0
    if (height, width) == meant:
        return meant, 1
    raise InputError(
        f"{stored} is {width} x {height} pixels, 'cam_int' means images of {meant[0]} x "
        f"{meant[1]}: do not resize the images"
    )
