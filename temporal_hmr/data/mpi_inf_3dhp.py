"""MPI-INF-3DHP: people before many cameras, their joints found without markers.

Mehta et al., "Monocular 3D human pose estimation in the wild using improved CNN supervision" (3DV
2017). The training set as its scripts download it. Its joints come out of images: they are not
`trusted` (as in TokenHMR).
"""

import re
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.data.annotations import Entry, Pictures, gather, read_mat
from temporal_hmr.data.sequence import Sequence, VideoFrames
from temporal_hmr.data.sequence_parts import (
    coco_keypoints,
    person_boxes,
    require_before_camera,
    smpl_joints,
)
from temporal_hmr.decoding import announced
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import MPI28

CAMERAS = (0, 1, 2, 4, 5, 6, 7, 8)
"""Those at chest height, which the field trains on; the others look down from above."""
FPS, FASTER_FPS = 25.0, 50.0
FASTER = ("S1/Seq2", "S3/Seq1", "S3/Seq2", "S5/Seq1", "S5/Seq2")
"""Recorded at `FASTER_FPS`."""
LOST_SHARE = 0.01
"""Videos may end so much earlier than their labels."""

_IMAGE_NAME = re.compile(r"(.*?)(\d+)\.(?:jpg|png)$")
_Frames = tuple[tuple[Path, ...] | VideoFrames, list[int]]


@dataclass(frozen=True, eq=False)
class _Camera:
    size: tuple[int, int]
    focal: Float[ndarray, "2"]
    center: Float[ndarray, "2"]


def read_mpi_inf_3dhp(folder: str | Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """Every person and camera of the training set; `part` must be `train`.

    `folder` holds S1 to S8, or some of them, each with Seq1 and Seq2, and these

    - `annot.mat` with `annot3` and `annot2`, each a list of cameras with [N 84] in millimetres in
      the axes of the camera and [N 56] in pixels; 28 joints as in `MPI28`;
    - `camera.calibration`, a text with the cameras' sizes and intrinsics;
    - of some of the cameras that look at people from the side (`CAMERAS`) the video
      `imageSequence/video_0.avi`, or its images as `imageFrames/video_0/frame_000001.jpg`, all or
      evenly spaced ones; images have precedence.

    Raises `InputError` naming file and key for anything missing, misshapen or not finite, and for
    missing images; with `skip_broken` such recordings are left out with a warning.
    """
    folder = Path(folder)
    if part != "train":
        raise InputError(f"MPI-INF-3DHP has no part {part!r} that we read: give train")
    recordings = sorted(path for path in folder.glob("S[1-8]/Seq[12]") if path.is_dir())
    if not recordings:
        raise InputError(f"{folder} has no folders S1/Seq1 to S8/Seq2: give the one that has")
    pictures = Pictures()
    return gather(recordings, lambda each: _sequences(each, pictures), pictures, skip_broken)


def _sequences(recording: Path, pictures: Pictures) -> list[Sequence]:
    """All cameras of one recording of one person."""
    cameras = _read_calibration(recording / "camera.calibration")
    points, pixels = _read_annotations(recording / "annot.mat")
    sequences = []
    for number in CAMERAS:
        frames = _find_frames(recording, number, len(points[0]))
        if frames is None:
            continue
        if number not in cameras or number >= len(points):
            raise InputError(f"{recording}: video_{number} has no calibration or no annotation")
        images, rows = frames
        camera, labels = cameras[number], (points[number][rows], pixels[number][rows])
        _check_size(images, camera, pictures)
        sequences.append(_sequence(recording, number, camera, frames, labels))
    if not sequences:
        raise InputError(
            f"{recording} has no video and no images of any of the cameras {CAMERAS}: expected "
            "imageSequence/video_0.avi or imageFrames/video_0/frame_000001.jpg"
        )
    return sequences


def _sequence(
    recording: Path,
    number: int,
    camera: _Camera,
    frames: _Frames,
    labels: tuple[Float[ndarray, "T 28 3"], Float[ndarray, "T 28 2"]],
) -> Sequence:
    images, rows = frames
    person = recording.relative_to(recording.parents[1]).as_posix()
    name = f"{person}/video_{number}"
    points, pixels = labels[0] / 1000, labels[1]
    keypoints = np.concatenate([pixels, np.ones((*pixels.shape[:2], 1))], -1)
    joints, has_joints = smpl_joints(points, np.ones(points.shape[:2], bool), MPI28)
    require_before_camera(joints, has_joints, f"{recording / 'annot.mat'}: 'annot3' of {name}")
    return Sequence(
        name=name,
        dataset="MPI-INF-3DHP",
        trusted=False,
        images=images,
        image_size=camera.size,
        times=np.array(rows) / (FASTER_FPS if person in FASTER else FPS),
        focal=np.tile(camera.focal, (len(rows), 1)),
        center=np.tile(camera.center, (len(rows), 1)),
        boxes=person_boxes(keypoints),
        keypoints=coco_keypoints(keypoints, MPI28),
        joints=joints,
        has_joints=has_joints,
        subject=recording.parent.name,
    )


def _check_size(
    images: tuple[Path, ...] | VideoFrames, camera: _Camera, pictures: Pictures
) -> None:
    first = (
        next((path for path in images if path in pictures), None)
        if isinstance(images, tuple)
        else None
    )
    if first is not None and (size := pictures.size(first)) != camera.size:
        raise InputError(
            f"{first} is {size[0]} x {size[1]} pixels, camera.calibration says "
            f"{camera.size[0]} x {camera.size[1]}: do not resize the images"
        )


def _read_annotations(
    path: Path,
) -> tuple[list[Float[ndarray, "N 28 3"]], list[Float[ndarray, "N 28 2"]]]:
    """Millimetres and pixels of each camera."""
    file = read_mat(path)
    points, pixels = _by_camera(file, "annot3", 3), _by_camera(file, "annot2", 2)
    if [len(array) for array in points] != [len(array) for array in pixels]:
        raise file.fault("annot2", "has other cameras or frames than 'annot3'")
    if len({len(array) for array in points}) > 1:
        raise file.fault("annot3", "has cameras with different numbers of frames")
    return points, pixels


def _by_camera(file: Entry, key: str, size: int) -> list[Float[ndarray, "N 28 K"]]:
    cells = file.value(key)
    if not isinstance(cells, ndarray) or cells.dtype != object or not cells.size:
        raise file.fault(key, "is not a list of cameras")
    arrays = []
    for number, cell in enumerate(cells.ravel()):
        camera = Entry(file.file, f"{key!r} of", {f"camera {number}": np.atleast_2d(cell)})
        array = camera.numbers(f"camera {number}", None, size * len(MPI28))
        arrays.append(array.reshape(len(array), len(MPI28), size))
    return arrays


def _read_calibration(path: Path) -> dict[int, _Camera]:
    """By the cameras' numbers."""
    try:
        lines = [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): get the dataset anew") from error
    entries: dict[int, dict[str, list[float]]] = {}
    current: dict[str, list[float]] = {}
    try:
        for key, *values in filter(None, lines):
            if key == "name":
                current = entries.setdefault(int(values[0]), {})
            elif key in ("size", "intrinsic"):
                current[key] = [float(value) for value in values]
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} has a line that is not as it should be ({error})") from error
    return {number: _camera(path, number, entry) for number, entry in entries.items()}


def _camera(path: Path, number: int, entry: dict[str, list[float]]) -> _Camera:
    for key, count in (("size", 2), ("intrinsic", 16)):
        if len(entry.get(key, ())) != count:
            raise InputError(f"{path}: camera {number} has no {key!r} of {count} numbers")
    matrix, size = np.reshape(entry["intrinsic"], (4, 4)), np.array(entry["size"])
    positive = np.array([*size, matrix[0, 0], matrix[1, 1]])
    if not (np.isfinite([*entry["intrinsic"], *size]).all() and (positive > 0).all()):
        raise InputError(f"{path}: 'intrinsic' or 'size' of camera {number} is not one of a camera")
    return _Camera((int(size[0]), int(size[1])), matrix[[0, 1], [0, 1]], matrix[:2, 2])


def _find_frames(recording: Path, number: int, count: int) -> _Frames | None:
    """Images or video of one camera and the rows of the labels they are; None without any."""
    for folder in ("imageFrames", "imageSequence"):
        images = recording / folder / f"video_{number}"
        if images.is_dir():
            return _find_images(images, count)
    video = recording / "imageSequence" / f"video_{number}.avi"
    if not video.is_file():
        return None
    _, frames = announced(video)
    if frames < (1 - LOST_SHARE) * count:
        raise InputError(f"{video} has {frames} frames, 'annot3' has {count}: get the video anew")
    rows = list(range(min(frames, count)))
    return VideoFrames(video, tuple(rows)), rows


def _find_images(folder: Path, count: int) -> _Frames:
    """All images, or the evenly spaced ones that were taken out; none may lack among them."""
    found = [match for path in folder.iterdir() if (match := _IMAGE_NAME.match(path.name))]
    if not found:
        raise InputError(f"{folder} has no images such as frame_000001.jpg")
    numbers = sorted(int(match[2]) for match in found)
    steps = Counter(after - before for before, after in pairwise(numbers))
    step = max(steps, key=lambda step: (steps[step], -step)) if steps else count
    if numbers[0] < 1 or numbers[-1] > count or step < 1:
        raise InputError(
            f"{folder} has images {numbers[0]} to {numbers[-1]}, the labels are for 1 to {count}"
        )
    example = found[0]
    digits, suffix = len(example[2]), Path(example[0]).suffix
    expected = range(numbers[0], count + 1, step)
    images = tuple(folder / f"{example[1]}{frame:0{digits}d}{suffix}" for frame in expected)
    return images, [frame - 1 for frame in expected]
