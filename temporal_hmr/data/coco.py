"""COCO: everyday pictures of people with hand-made keypoints, one sequence of one frame a person.

Lin et al., "Microsoft COCO: common objects in context" (ECCV 2014); the feet are COCO-WholeBody's
(Jin et al., ECCV 2020).
"""

import logging
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.data.annotations import (
    FEWEST_KEYPOINTS,
    OCCLUDED,
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
from temporal_hmr.skeleton import COCO17, COCO23, Skeleton

DATASET = "COCO"
FEET6 = Skeleton("FEET6", COCO23.joints[len(COCO17) :])
"""Order of the feet in COCO-WholeBody: big toe, small toe, heel, left then right."""
_WHOLE_BODY = {"train2017": "coco_wholebody_train_v1.0", "val2017": "coco_wholebody_val_v1.0"}
_CONFIDENCE = np.array([0, OCCLUDED, 1.0])
"""Of a keypoint that is not labelled, labelled but hidden, labelled and visible."""
_log = logging.getLogger(__name__)


def read_coco(folder: Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """Everybody in `train2017`, `val2017`, `train2014` or `val2014` with enough keypoints.

    `folder` holds `annotations/person_keypoints_{part}.json` and the images in `{part}` or
    `images/{part}`; where COCO-WholeBody's annotations lie beside COCO's, people get feet. Crowds
    are left out, and people with fewer than `FEWEST_KEYPOINTS` labelled keypoints. A person is
    named after image and annotation, whose numbers the years share. Pixels are as in the files,
    counted from 0; hidden keypoints have the confidence `OCCLUDED`.

    Raises `InputError` for what is broken or missing; with `skip_broken` it is logged and left out.
    """
    path = folder / "annotations" / f"person_keypoints_{part}.json"
    labels = Entry.of(path, "", read_json(path))
    _require_names(labels)
    images = {entry.count("id"): entry for entry in labels.entries("images", "image")}
    feet = _feet(folder, part)
    pictures_folder = next(
        (place for place in (folder / part, folder / "images" / part) if place.is_dir()),
        folder / part,
    )

    def read(person: Entry) -> list[Sequence]:
        if person.values.get("iscrowd"):
            return []
        keypoints = coco_keypoints(_scored(person, "keypoints", COCO17), COCO17)
        if (keypoints[..., 2] > 0).sum() < FEWEST_KEYPOINTS:
            return []
        number = person.count("id")
        if number in feet:
            toes = coco_keypoints(_scored(feet[number], "foot_kpts", FEET6), FEET6)
            keypoints = np.where(toes[..., 2:] > 0, toes, keypoints)
        image = images.get(person.count("image_id"))
        if image is None:
            raise person.fault("image_id", "names an image that 'images' does not list")
        sequence = without_body(
            name=f"{image.count('id'):012d}_{number}",
            dataset=DATASET,
            images=(pictures_folder / image.text("file_name"),),
            image_size=(image.count("width"), image.count("height")),
            times=np.zeros(1),
            boxes=corners(person.numbers("bbox", 4))[None],
            keypoints=keypoints,
        )
        return [sequence]

    people = labels.entries("annotations", "annotation")
    sequences = gather(people, read, Pictures(), skip_broken)
    if not sequences:
        raise InputError(f"{path} has nobody with {FEWEST_KEYPOINTS} keypoints: check the file")
    _log.info("%s: %d of %d annotations are used", path.name, len(sequences), len(people))
    return sequences


def _require_names(labels: Entry) -> None:
    """The file itself says which joints it labels, in which order."""
    if "categories" not in labels:
        return
    for category in labels.entries("categories", "category"):
        names = category.values.get("keypoints")
        if names is not None and tuple(names) != COCO17.joints:
            raise category.fault("keypoints", "are not COCO's 17 in their order: get COCO's file")


def _feet(folder: Path, part: str) -> dict[int, Entry]:
    """COCO-WholeBody's annotations with feet, by the number that they share with COCO's."""
    path = folder / "annotations" / f"{_WHOLE_BODY.get(part, '')}.json"
    if not path.is_file():
        return {}
    people = Entry.of(path, "", read_json(path)).entries("annotations", "annotation")
    return {
        person.count("id"): person
        for person in people
        if "foot_kpts" in person and person.values.get("foot_valid", True)
    }


def _scored(person: Entry, key: str, skeleton: Skeleton) -> Float[ndarray, "1 J 3"]:
    """Pixels and confidence, of x, y and visibility 0, 1 or 2."""
    points = person.numbers(key, 3 * len(skeleton)).reshape(-1, 3)
    if not np.isin(points[:, 2], range(len(_CONFIDENCE))).all():
        raise person.fault(key, "has a visibility other than 0, 1 and 2")
    points[:, 2] = _CONFIDENCE[points[:, 2].astype(int)]
    return points[None]
