"""Penn Action: short sports videos of one person, 13 joints by hand in every frame.

Zhang, Zhu and Derpanis, "From actemes to action: a strongly-supervised representation for detailed
action understanding" (ICCV 2013).
"""

from pathlib import Path

import numpy as np

from temporal_hmr.data.annotations import Entry, Pictures, gather, read_mat, without_body
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.sequence_parts import coco_keypoints
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import Skeleton

DATASET = "Penn Action"
FPS = 30.0
"""Assumed: the dataset does not state it."""
FIRST_PIXEL = 1
"""Labels and boxes are Matlab's."""
PENN13 = Skeleton(
    "PENN13",
    (
        "head",
        *(
            f"{side}_{part}"
            for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
            for side in ("right", "left")
        ),
    ),
)
"""The dataset's description says left before right, meaning the sides as the viewer sees a person
from the front; HMMR's and EFT's readers agree that the person's own right comes first."""
_PARTS = {"train": 1, "test": -1}


def read_penn_action(folder: Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """All videos of `train` or `test`, as the label files divide them, by number.

    `folder` holds `labels/0001.mat` ... and `frames/0001/000001.jpg` ... Joints that the dataset
    calls invisible are unknown, its head has no like in COCO. Frames past the end of a label
    file's boxes, which some files have, have none. Raises `InputError` for what is broken or
    missing; with `skip_broken` it is logged and left out.
    """
    if part not in _PARTS:
        raise InputError(f"Penn Action has no part {part!r}: give train or test")
    paths = sorted((folder / "labels").glob("[!.]*.mat"))
    if not paths:
        raise InputError(f"{folder / 'labels'} holds no .mat file: give the folder of Penn Action")
    sequences = gather(paths, lambda path: _video(folder, path, part), Pictures(), skip_broken)
    if not sequences:
        raise InputError(f"none of the {len(paths)} videos of {folder} belongs to {part!r}")
    return sequences


def _video(folder: Path, path: Path, part: str) -> list[Sequence]:
    labels = read_mat(path)
    if labels.number("train") not in _PARTS.values():
        raise labels.fault("train", "is neither 1 nor -1")
    if labels.number("train") != _PARTS[part]:
        return []
    x = _rows(labels, "x", len(PENN13))
    frames = len(x)
    y, visible = (_rows(labels, key, len(PENN13)) for key in ("y", "visibility"))
    for key, value in (("y", y), ("visibility", visible)):
        if len(value) != frames:
            raise labels.fault(key, f"has {len(value)} frames, 'x' has {frames}")
    height, width, stated = labels.numbers("dimensions", 3).astype(int)
    if stated != frames:
        raise labels.fault("dimensions", f"speaks of {stated} frames, 'x' has {frames}")
    boxes = np.full((frames, 4), np.nan)
    stated_boxes = _rows(labels, "bbox", 4)[:frames] - FIRST_PIXEL
    boxes[: len(stated_boxes)] = stated_boxes
    boxes[~(boxes[:, 2:] > boxes[:, :2]).all(1)] = np.nan
    pixels = np.stack([x - FIRST_PIXEL, y - FIRST_PIXEL, visible > 0], -1)
    images = folder / "frames" / path.stem
    sequence = without_body(
        name=path.stem,
        dataset=DATASET,
        images=tuple(images / f"{frame:06d}.jpg" for frame in range(1, frames + 1)),
        image_size=(int(width), int(height)),
        times=np.arange(frames) / FPS,
        boxes=boxes,
        keypoints=coco_keypoints(pixels, PENN13),
    )
    return [sequence]


def _rows(labels: Entry, key: str, columns: int) -> np.ndarray:
    """One row a frame; a single frame was squeezed to a row."""
    value = np.asarray(labels.value(key))
    table = value[None] if value.ndim == 1 else value
    return Entry(labels.file, labels.place, {key: table}).numbers(key, None, columns)
