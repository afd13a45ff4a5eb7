"""Human3.6M: people in a laboratory before four cameras, measured with markers, 50 Hz.

Ionescu et al., "Human3.6M: large scale datasets and predictive methods for 3D human sensing in
natural environments" (TPAMI 2014). We read the form that most users hold: the images taken out of
the videos, and one npz of labels in the manner of SPIN (Kolotouros et al., ICCV 2019), with the
bodies that MoSh fitted to the markers where it has them. The dataset's own cdf, h5 and mat files
are not read.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.annotations import Pictures, gather
from temporal_hmr.data.label_arrays import LabelArrays
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.sequence_parts import (
    coco_keypoints,
    place_in_camera,
    require_before_camera,
    smpl_joints,
    square_boxes,
)
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import H36M17, SMPL24, SPIN24, Skeleton

FPS = 50.0
SUBJECTS = {"train": ("S1", "S5", "S6", "S7", "S8"), "evaluation": ("S9", "S11")}
"""The dataset's own split, by people."""
CAMERAS = {
    "54138969": ((1145.049, 1143.781), (512.542, 515.451)),
    "55011271": ((1149.676, 1147.592), (508.849, 508.065)),
    "58860488": ((1149.141, 1148.799), (519.816, 501.403)),
    "60457274": ((1145.511, 1144.774), (514.968, 501.882)),
}
"""Focal lengths and principal points in pixels. The lenses' distortion is left out; it moves
points by a pixel or two where people are."""
REST_PELVIS = (0.0, -0.22, 0.03)
"""Metres, where the mean SMPL body's pelvis is at rest. MoSh's files state no translation; from
the annotated pelvis we have it within the few centimetres by which bodies and pelvises differ."""

_SKELETONS = {len(H36M17): H36M17, len(SPIN24): SPIN24}
_REQUIRED = ("imgname", "S", "part", "center", "scale")
_BODY = ("pose", "shape", "has_smpl")
_SUBJECT = re.compile(r"(?:^|/)[Ss]_?0*(\d+)[_/]")
_SERIAL = re.compile(r"\.(\d{8})(?!\d)")
_CAMERA_NUMBER = re.compile(r"_ca_0?([1-4])")
_FRAME = re.compile(r"[_/]?(\d+)\.\w+$")


@dataclass(frozen=True)
class _Video:
    """Rows of the labels that are one video, in order of time."""

    name: str
    subject: str
    rows: list[int]
    frames: tuple[int, ...]
    """Counted from 1, as in the images' names."""


@dataclass(frozen=True, eq=False)
class _Labels:
    """The columns of the whole file."""

    file: LabelArrays
    images: tuple[Path, ...]
    skeleton: Skeleton
    points: Float[ndarray, "N J 3"]
    known: Bool[ndarray, "N J"]
    keypoints: Float[ndarray, "N J 3"]
    boxes: Float[ndarray, "N 4"]
    poses: Float[ndarray, "N 72"] | None
    """MoSh's, None with `betas`."""
    betas: Float[ndarray, "N 10"] | None
    has_smpl: Bool[ndarray, "N"]


def read_human36m(folder: str | Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """All videos of the people of one part, `train` or `evaluation`.

    `folder` holds the images, and the labels for the part in an npz file with "train" or "val" in
    its name:

    - `imgname` [N]: paths below the folder, `images/S1_Directions_1.54138969_000001.jpg` or with a
      folder for each subject or video, as `S1/Directions_1.54138969/000001.jpg`, or
      `s_01_act_02_subact_01_ca_01/s_01_act_02_subact_01_ca_01_000001.jpg`;
    - `S` [N 24|17 3|4]: joints in metres in the camera's axes, from the pelvis or the camera, and
      whether they are known; 24 joints as in `SPIN24`, 17 as in `H36M17`;
    - `part` [N 24|17 3]: the same in pixels, with confidence;
    - `center` [N 2], `scale` [N]: the person's box;
    - `pose` [N 72], `shape` [N 10] and `has_smpl` [N], if MoSh's bodies are there.

    The joints are put where they are projected to their pixels. Raises `InputError` naming file
    and key for anything missing or misshapen, missing images, and joints that cannot be before
    the camera; with `skip_broken` videos with such problems are left out with a warning.
    """
    folder = Path(folder)
    if part not in SUBJECTS:
        raise InputError(f"Human3.6M has no part {part!r}: give {' or '.join(SUBJECTS)}")
    file = LabelArrays(_label_path(folder, part), _REQUIRED, _BODY)
    videos = [video for video in _videos(file) if video.subject in SUBJECTS[part]]
    if not videos:
        raise InputError(
            f"{file.path}: 'imgname' has nobody of {', '.join(SUBJECTS[part])}, who are the "
            f"people of {part}"
        )
    labels, pictures = _columns(folder, file), Pictures()
    return gather(videos, lambda video: [_sequence(labels, video, pictures)], pictures, skip_broken)


def _label_path(folder: Path, part: str) -> Path:
    word = "train" if part == "train" else "val"
    paths = sorted(path for path in folder.glob("*.npz") if word in path.name)
    if len(paths) == 1:
        return paths[0]
    found = ", ".join(path.name for path in paths) or "none"
    raise InputError(f"{folder} must hold one .npz file with {word!r} in its name, it has {found}")


def _columns(folder: Path, file: LabelArrays) -> _Labels:
    """Raises `InputError` where one is not as it should be; for NaN they are not looked through."""
    array = file.numbers("S", tuple(_SKELETONS), (3, 4))
    skeleton = _SKELETONS[array.shape[1]]
    known = np.ones(array.shape[:2], bool) if array.shape[2] == 3 else array[..., 3] > 0
    if ("pose" in file) != ("shape" in file):
        lacking = "shape" if "pose" in file else "pose"
        raise InputError(f"{file.path} has no {lacking!r}, which goes with the other of the two")
    has_body = "pose" in file
    has_smpl = file.numbers("has_smpl") > 0 if "has_smpl" in file else np.ones(file.rows, bool)
    return _Labels(
        file=file,
        images=tuple(folder / name for name in file.texts("imgname")),
        skeleton=skeleton,
        points=array[..., :3],
        known=known,
        keypoints=file.numbers("part", len(skeleton), 3),
        boxes=square_boxes(file.numbers("center", 2), file.numbers("scale")),
        poses=file.numbers("pose", 72) if has_body else None,
        betas=file.numbers("shape", 10) if has_body else None,
        has_smpl=has_smpl,
    )


def _videos(file: LabelArrays) -> list[_Video]:
    """By name; raises `InputError` for a path that does not say who and when."""
    rows: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for row, image in enumerate(file.texts("imgname")):
        subject, frame = _SUBJECT.search(image), _FRAME.search(image)
        if subject is None or frame is None:
            raise InputError(
                f"{file.path}: 'imgname' {image!r} (row {row}) does not tell subject and frame"
            )
        key = (image[: frame.start()], f"S{subject[1]}")
        rows.setdefault(key, []).append((int(frame[1]), row))
    videos = []
    for (name, subject), found in rows.items():
        frames, places = zip(*sorted(found), strict=True)
        videos.append(_Video(name, subject, list(places), frames))
    return videos


def _sequence(labels: _Labels, video: _Video, pictures: Pictures) -> Sequence:
    rows, where = video.rows, f"{labels.file.path}: 'imgname' {video.name}"
    if len(set(video.frames)) < len(rows):
        raise InputError(f"{where} has the same image twice")
    labels.file.require_finite((*_REQUIRED[1:], *_BODY), rows)
    images = tuple(labels.images[row] for row in rows)
    focal, center = (np.tile(value, (len(rows), 1)) for value in _camera(video.name, where))
    keypoints = labels.keypoints[rows]
    shift = place_in_camera(labels.points[rows], keypoints, focal, center)
    placed = np.isfinite(shift[:, :1])
    points = labels.points[rows] + np.where(placed, shift, 0.0)[:, None]
    joints, has_joints = smpl_joints(points, labels.known[rows] & placed, labels.skeleton)
    require_before_camera(joints, has_joints, f"{labels.file.path}: 'S' of {video.name}")
    smpl, has_smpl = _smpl(labels, rows, joints, has_joints)
    first = next((image for image in images if image in pictures), None)
    return Sequence(
        name=video.name,
        dataset="Human3.6M",
        trusted=True,
        images=images,
        image_size=(1000, 1000) if first is None else pictures.size(first),
        times=(np.array(video.frames) - 1) / FPS,
        focal=focal,
        center=center,
        boxes=labels.boxes[rows],
        keypoints=coco_keypoints(keypoints, labels.skeleton),
        joints=joints,
        has_joints=has_joints,
        smpl=smpl,
        has_smpl=has_smpl,
        subject=video.subject,
    )


def _camera(video: str, where: str) -> tuple[tuple[float, float], tuple[float, float]]:
    number, serial = _CAMERA_NUMBER.search(video), _SERIAL.search(video)
    if number is not None:
        return list(CAMERAS.values())[int(number[1]) - 1]
    if serial is None or serial[1] not in CAMERAS:
        raise InputError(f"{where} does not tell the camera, one of {', '.join(CAMERAS)}")
    return CAMERAS[serial[1]]


def _smpl(
    labels: _Labels,
    rows: list[int],
    joints: Float[ndarray, "T 24 3"],
    has_joints: Bool[ndarray, "T 24"],
) -> tuple[SmplParams | None, Bool[ndarray, "T"] | None]:
    """MoSh's bodies, at the annotated pelvis; None where the file has none."""
    if labels.poses is None or labels.betas is None:
        return None, None
    pelvis = SMPL24.index("pelvis")
    poses, betas = (torch.from_numpy(array[rows]) for array in (labels.poses, labels.betas))
    transl = torch.from_numpy(joints[:, pelvis] - np.array(REST_PELVIS))
    smpl = SmplParams.from_poses(poses, betas, transl)
    return smpl, labels.has_smpl[rows] & has_joints[:, pelvis]
