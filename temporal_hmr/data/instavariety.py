"""InstaVariety: clips of people from social media, with 2D joints found by OpenPose.

Kanazawa, Zhang, Felsen and Malik, "Learning 3D human dynamics from video" (CVPR 2019). Of its
releases we read HMMR's TFRecord files: they alone hold pictures, most of the videos that the other
lists point to are gone, and VIBE's table of the same labels has features in place of pictures. What
they call an image is a crop of 224 pixels around the person, jittered; that is the full image here.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.data.annotations import Entry, Pictures, gather, without_body
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.sequence_parts import coco_keypoints, person_boxes
from temporal_hmr.data.tfrecord import Feature, read_examples
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import Skeleton

DATASET = "InstaVariety"
FPS = 30.0
"""Assumed: the dataset does not state it."""
INSTA25 = Skeleton(
    "INSTA25",
    (
        *("right_heel", "right_knee", "right_hip", "left_hip", "left_knee", "left_heel"),
        *("right_wrist", "right_elbow", "right_shoulder"),
        *("left_shoulder", "left_elbow", "left_wrist", "neck", "head_top"),
        *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
        *("left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe"),
        *("left_ankle", "right_ankle"),
    ),
)
"""In three arrays of 14 body, 5 face and 6 foot joints; where LSP has ankles, these are heels."""
_BODY, _FACE, _FEET = 14, 5, 6


def read_instavariety(folder: Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """All clips of `train` or `test`.

    `folder` holds `{part}/*.tfrecord`, as released, and the pictures that `extract_frames` takes
    out of them. A sequence is named after file and record. The joints are detections, hence not
    `trusted`; boxes lie around them. Raises `InputError` for what is broken or missing; with
    `skip_broken` it is logged and left out.
    """
    readings = (reading for path in _paths(folder, part) for reading in _readings(path))

    def read(reading: Entry | InputError) -> list[Sequence]:
        if isinstance(reading, InputError):
            raise reading
        return [_clip(reading, _frames_folder(folder, part, reading))]

    return gather(readings, read, Pictures(), skip_broken)


def extract_frames(folder: Path, part: str) -> int:
    """Write the pictures of all clips to `frames/{part}/{file}/{record}/{frame}.jpg`; how many.

    Files that are there already are left as they are. Raises `InputError` for damaged files, and
    where nothing can be written.
    """
    count = 0
    for path in _paths(folder, part):
        for reading in _readings(path):
            if isinstance(reading, InputError):
                raise reading
            target = _frames_folder(folder, part, reading)
            pictures = _list(reading, "image/encoded")
            try:
                target.mkdir(parents=True, exist_ok=True)
                for frame, picture in enumerate(pictures):
                    if not (file := target / f"{frame}.jpg").exists():
                        file.write_bytes(picture)
            except OSError as error:
                raise InputError(f"cannot write to {target}: {error.strerror}") from error
            count += len(pictures)
    return count


def _paths(folder: Path, part: str) -> list[Path]:
    paths = sorted((folder / part).glob("[!.]*.tfrecord"))
    if not paths:
        raise InputError(f"{folder / part} holds no .tfrecord file: give the folder of HMMR's data")
    return paths


def _frames_folder(folder: Path, part: str, record: Entry) -> Path:
    return folder / "frames" / part / record.file.name / record.place.removeprefix("record ")


def _readings(path: Path) -> Iterator[Entry | InputError]:
    """Each record; a damaged file ends with the error that says so."""
    try:
        for number, features in enumerate(read_examples(path)):
            yield Entry(path, f"record {number}", features)
    except InputError as error:
        yield error


def _clip(record: Entry, pictures: Path) -> Sequence:
    frames = int(record.row("meta/N", 1)[0])
    if not 1 <= frames == len(_list(record, "image/encoded")):
        raise record.fault("image/encoded", f"has not the {frames} pictures that 'meta/N' says")
    sizes = _numbers(record, "image/heightwidths").reshape(-1, 2)
    if not len(sizes) or (sizes != sizes[0]).any():
        raise record.fault("image/heightwidths", "are of different sizes, or none")
    height, width = (int(size) for size in sizes[0])
    keypoints = coco_keypoints(_joints(record, frames, (width, height)), INSTA25)
    sequence = without_body(
        name=f"{record.file.name.split('.')[0]}_{record.place.removeprefix('record ')}",
        dataset=DATASET,
        images=tuple(pictures / f"{frame}.jpg" for frame in range(frames)),
        image_size=(width, height),
        times=np.arange(frames) / FPS,
        boxes=person_boxes(keypoints),
        keypoints=keypoints,
    )
    return replace(sequence, trusted=False)


def _joints(record: Entry, frames: int, size: tuple[int, int]) -> Float[ndarray, "T 25 3"]:
    """Pixels and confidence. In each array x, y and visibility are rows, not columns."""
    places = record.row("image/xys", frames * 2 * _BODY).reshape(frames, 2, _BODY)
    visible = record.row("image/visibilities", frames * _BODY).reshape(frames, 1, _BODY)
    rows = [np.concatenate([places, visible], 1)]
    for key, count in (("image/face_pts", _FACE), ("image/toe_pts", _FEET)):
        given = key in record and len(_list(record, key))
        rows.append(
            record.row(key, frames * 3 * count).reshape(frames, 3, count)
            if given
            else np.zeros((frames, 3, count))
        )
    joints = np.concatenate(rows, 2).swapaxes(1, 2)
    if "image/phis" in record:
        # With features come places from -1 to 1 across the crop that they were made of.
        joints[..., :2] = (joints[..., :2] + 1) / 2 * size
    joints[..., 2] = joints[..., 2].clip(0, 1)
    return joints


def _list(record: Entry, key: str) -> Feature:
    return record.value(key)


def _numbers(record: Entry, key: str) -> Float[ndarray, "N"]:
    return record.row(key, len(_list(record, key)))
