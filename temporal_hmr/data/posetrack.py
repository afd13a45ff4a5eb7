"""PoseTrack 2018: crowded videos, the people in them tracked and their joints labelled by hand.

Andriluka et al., "PoseTrack: a benchmark for human pose estimation and tracking" (CVPR 2018).
"""

from itertools import pairwise
from pathlib import Path

import numpy as np

from temporal_hmr.data.annotations import (
    Entry,
    Pictures,
    corners,
    gather,
    read_json,
    without_body,
)
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.sequence_parts import coco_keypoints
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import Skeleton

DATASET = "PoseTrack"
FPS = 30.0
"""Assumed: the dataset does not state it."""
LARGEST_GAP = 4
"""Frames from one label to the next within a sequence: long videos are labelled at every fourth."""
POSETRACK17 = Skeleton(
    "POSETRACK17",
    (
        *("nose", "head_bottom", "head_top", "left_ear", "right_ear"),
        *(
            f"{side}_{part}"
            for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
            for side in ("left", "right")
        ),
    ),
)
"""COCO's order, but for a neck and a head top in place of the eyes."""


def read_posetrack(folder: Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """Everybody's track in `train` or `val`, cut where the labels leave more than `LARGEST_GAP`.

    `folder` holds `annotations/{part}` (or `posetrack_data/annotations/{part}`) with a json file
    for each video, and `images`. A sequence is named after video and track, and its first frame;
    frames are those with labelled joints. Boxes are NaN where there are none.

    Raises `InputError` for what is broken or missing; with `skip_broken` it is logged and left out.
    """
    places = [place / "annotations" / part for place in (folder, folder / "posetrack_data")]
    labels = next((place for place in places if place.is_dir()), None)
    paths = sorted(labels.glob("[!.]*.json")) if labels else []
    if not paths:
        raise InputError(f"{places[0]} holds no .json file: give the folder of PoseTrack 2018")
    pictures = Pictures()
    sequences = gather(paths, lambda path: _video(folder, path, pictures), pictures, skip_broken)
    if not sequences:
        raise InputError(f"the {len(paths)} videos in {labels} have nobody with labelled joints")
    return sequences


def _video(folder: Path, path: Path, pictures: Pictures) -> list[Sequence]:
    labels = Entry.of(path, "", read_json(path))
    _require_names(labels)
    images = {entry.count("id"): entry for entry in labels.entries("images", "image")}
    tracks: dict[int, dict[int, Entry]] = {}
    for person in labels.entries("annotations", "annotation"):
        image = images.get(person.count("image_id"))
        if image is None:
            raise person.fault("image_id", "names an image that 'images' does not list")
        if "keypoints" not in person or not _points(person)[:, 2].any():
            continue
        frame = _frame(image)
        track = tracks.setdefault(person.count("track_id"), {})
        if frame in track:
            raise person.fault("track_id", f"has two people in frame {frame}")
        track[frame] = person
    return [
        _sequence(folder, {frame: tracks[number][frame] for frame in run}, images, pictures)
        for number in sorted(tracks)
        for run in _runs(sorted(tracks[number]))
    ]


def _require_names(labels: Entry) -> None:
    for category in labels.entries("categories", "category"):
        if tuple(category.value("keypoints")) != POSETRACK17.joints:
            raise category.fault("keypoints", "are not PoseTrack 2018's 17 in their order")


def _frame(image: Entry) -> int:
    """The file's number; identifiers are numbered otherwise."""
    stem = Path(image.text("file_name")).stem
    if not stem.isdecimal():
        raise image.fault("file_name", f"ends in {stem!r}, not in the number of a frame")
    return int(stem)


def _points(person: Entry) -> np.ndarray:
    """Pixels and 1 where labelled, 0 where not."""
    points = person.numbers("keypoints", 3 * len(POSETRACK17)).reshape(-1, 3)
    if not np.isin(points[:, 2], (0, 1, 2)).all():
        raise person.fault("keypoints", "has a visibility other than 0, 1 and 2")
    points[:, 2] = points[:, 2] > 0
    return points


def _runs(frames: list[int]) -> list[list[int]]:
    runs = [frames[:1]]
    for before, frame in pairwise(frames):
        if frame - before > LARGEST_GAP:
            runs.append([])
        runs[-1].append(frame)
    return runs


def _sequence(
    folder: Path, people: dict[int, Entry], images: dict[int, Entry], pictures: Pictures
) -> Sequence:
    paths = tuple(
        folder / images[person.count("image_id")].text("file_name") for person in people.values()
    )
    boxes = [
        corners(person.numbers("bbox", 4)) if "bbox" in person else np.full(4, np.nan)
        for person in people.values()
    ]
    frames = np.array(list(people))
    points = np.stack([_points(person) for person in people.values()])
    first = next(iter(people.values()))
    return without_body(
        name=f"{first.file.stem}_{first.count('track_id')}_{frames[0]:06d}",
        dataset=DATASET,
        images=paths,
        image_size=pictures.size(paths[0]),
        times=frames / FPS,
        boxes=np.stack(boxes),
        keypoints=coco_keypoints(points, POSETRACK17),
    )
