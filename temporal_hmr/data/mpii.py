"""MPII Human Pose: frames of activities on video with hand-made joints, one sequence a person.

Andriluka et al., "2D human pose estimation: new benchmark and state of the art analysis" (CVPR
2014). Read from the dataset's Matlab file, or from the json files into which HRNet and
SimpleBaseline converted it. Both count pixels from 1, as Matlab does; we count from 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.data.annotations import (
    FEWEST_KEYPOINTS,
    OCCLUDED,
    Entry,
    Pictures,
    gather,
    read_json,
    read_mat,
    without_body,
)
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.sequence_parts import coco_keypoints, square_boxes
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import Skeleton

DATASET = "MPII"
FIRST_PIXEL = 1
"""Matlab's number of it."""
MPII16 = Skeleton(
    "MPII16",
    (
        *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
        *("pelvis", "thorax", "neck", "head_top"),
        *("right_wrist", "right_elbow", "right_shoulder"),
        *("left_shoulder", "left_elbow", "left_wrist"),
    ),
)
"""Left and right are the person's own."""
_MATLAB_FILE = "mpii_human_pose_v1_u12_1.mat"


@dataclass(frozen=True, eq=False)
class _Person:
    name: str
    image: str
    joints: Float[ndarray, "16 3"]
    """Pixels counted from 0 and confidence."""
    center: Float[ndarray, "2"]
    scale: float
    """NaN where the file has none."""


def read_mpii(folder: Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """Everybody in `train` or `valid` (the json files) or in `train` (the Matlab file, its all).

    `folder` holds `images`, and `{part}.json` or else the Matlab file, themselves or in `annot`.
    People with fewer than `FEWEST_KEYPOINTS` joints that COCO has too are left out. A person is
    named after the image and their place among its people. Boxes are squares of the person's
    stated height around the stated centre. The Matlab file tells hidden joints (confidence
    `OCCLUDED`), the json files only which are labelled.

    Raises `InputError` for what is broken or missing; with `skip_broken` it is logged and left out.
    """
    pictures = Pictures()

    def read(entry: Entry) -> list[Sequence]:
        person = _json_person(entry) if "joints" in entry else _matlab_person(entry)
        keypoints = coco_keypoints(person.joints[None], MPII16)
        if (keypoints[..., 2] > 0).sum() < FEWEST_KEYPOINTS:
            return []
        image = folder / "images" / person.image
        box = square_boxes(person.center[None], np.array([person.scale]))
        sequence = without_body(
            name=person.name,
            dataset=DATASET,
            images=(image,),
            image_size=pictures.size(image),
            times=np.zeros(1),
            boxes=box,
            keypoints=keypoints,
        )
        return [sequence]

    path, people = _entries(folder, part)
    sequences = gather(people, read, pictures, skip_broken)
    if not sequences:
        raise InputError(f"{path} has nobody with {FEWEST_KEYPOINTS} joints: check the file")
    return sequences


def _entries(folder: Path, part: str) -> tuple[Path, list[Entry]]:
    places = (folder / "annot", folder / "annotations", folder)
    for place in places:
        if (path := place / f"{part}.json").is_file():
            return path, list(_json_entries(path))
    for place in places:
        if (path := place / _MATLAB_FILE).is_file():
            if part != "train":
                raise InputError(f"{path} labels only 'train', not {part!r}: ask for that")
            return path, list(_matlab_entries(path))
    raise InputError(f"{folder} has neither {part}.json nor {_MATLAB_FILE}, there or in annot")


def _json_entries(path: Path) -> Iterator[Entry]:
    """With each person's name beside their labels."""
    people = Entry(path, "", {"people": read_json(path)}).entries("people", "person")
    seen: dict[str, int] = {}
    for person in people:
        image = person.text("image")
        seen[image] = seen.get(image, -1) + 1
        name = f"{Path(image).stem}_{seen[image]}"
        yield Entry(path, person.place, {**person.values, "name": name})


def _json_person(entry: Entry) -> _Person:
    pixels = entry.numbers("joints", len(MPII16), 2) - FIRST_PIXEL
    labelled = entry.numbers("joints_vis", len(MPII16))
    center = entry.numbers("center", 2)
    return _Person(
        name=entry.text("name"),
        image=entry.text("image"),
        joints=np.concatenate([pixels, (labelled > 0)[:, None]], 1),
        center=center - FIRST_PIXEL,
        # A centre of -1 -1 stands for none.
        scale=entry.number("scale") if (center > 0).all() else np.nan,
    )


def _matlab_entries(path: Path) -> Iterator[Entry]:
    """Those people of the training images who have joints."""
    release = _named(read_mat(path), "RELEASE")
    images = np.atleast_1d(release.value("annolist"))
    training = np.atleast_1d(release.value("img_train"))
    if len(images) != len(training):
        raise release.fault(
            "img_train", f"is of {len(training)} images, 'annolist' of {len(images)}"
        )
    for number, (image, used) in enumerate(zip(images, training, strict=True)):
        if not used:
            continue
        labels = _fields(path, f"annolist {number}", image)
        file = _named(labels, "image").text("name")
        for place, rectangle in enumerate(np.atleast_1d(labels.values.get("annorect", []))):
            person = getattr(rectangle, "annopoints", None)
            if hasattr(person, "point"):
                name = {"name": f"{Path(file).stem}_{place}", "image": file}
                where = f"annolist {number} annorect {place}"
                yield Entry(path, where, {**vars(rectangle), **name})


def _matlab_person(entry: Entry) -> _Person:
    joints = np.zeros((len(MPII16), 3))
    points = np.atleast_1d(_named(entry, "annopoints").value("point"))
    for number, point in enumerate(points):
        labels = _fields(entry.file, f"{entry.place} point {number}", point)
        joint = labels.count("id")
        if joint >= len(MPII16):
            raise labels.fault("id", f"is {joint}, but joints are numbered 0 to {len(MPII16) - 1}")
        pixel = np.array([labels.number("x"), labels.number("y")]) - FIRST_PIXEL
        joints[joint] = [*pixel, OCCLUDED if _hidden(labels.values.get("is_visible")) else 1]
    center = np.zeros(2)
    scale = np.nan
    if hasattr(entry.values.get("objpos"), "x"):
        position = _named(entry, "objpos")
        center = np.array([position.number("x"), position.number("y")]) - FIRST_PIXEL
        scale = entry.number("scale")
    return _Person(entry.text("name"), entry.text("image"), joints, center, scale)


def _hidden(visible: Any) -> bool:
    """Written as a number, as a text, or as an empty list where nobody was asked."""
    return np.size(visible) == 1 and str(visible) in ("0", "0.0")


def _named(entry: Entry, key: str) -> Entry:
    return _fields(entry.file, f"{entry.place} {key}".strip(), entry.value(key))


def _fields(path: Path, place: str, struct: object) -> Entry:
    """A Matlab struct."""
    return Entry.of(path, place, vars(struct) if hasattr(struct, "_fieldnames") else struct)
