"""Lists of people with keypoints in json: COCO's results and annotations, and AlphaPose's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.data.annotations import OCCLUDED, Entry
from temporal_hmr.errors import InputError
from temporal_hmr.given.sightings import LISTED, GivenFile, Sighting, keypoints_of
from temporal_hmr.skeleton import COCO17, COCO23, Skeleton

_IDENTITIES = ("track_id", "idx")
_FEET = "foot_kpts"
"""COCO-WholeBody's feet, beside the 17: big toe, small toe, heel, left then right."""
_VISIBILITY = np.array([0, OCCLUDED, 1.0])
"""Confidence of a keypoint that is not labelled, labelled but hidden, labelled and visible."""


def read_list(path: Path, contents: list[Any]) -> GivenFile:
    """COCO's results, whose `image_id` is a number, and AlphaPose's, where it is a name.

    AlphaPose's `idx` is who it is, but for 0 throughout, which it writes where nobody is tracked.
    Raises `InputError` for what is not as it should be.
    """
    people = [Entry.of(path, f"person {number}", values) for number, values in enumerate(contents)]
    named = bool(people) and isinstance(people[0].values.get("image_id"), str)
    return _file(path, "AlphaPose" if named else "COCO results", people, {})


def read_annotations(path: Path, contents: dict[str, Any]) -> GivenFile:
    """COCO's annotations: people, the images they are in, and what their keypoints are called.

    An image's frame is told by its `frame_id`, its file's name or its `id`, the first of them that
    there is. Raises `InputError` for what is not as it should be.
    """
    whole = Entry.of(path, "", contents)
    images = {
        image.count("id"): image
        for image in (whole.entries("images", "image") if "images" in whole else [])
    }
    people = [
        person
        for person in whole.entries("annotations", "annotation")
        if not person.values.get("iscrowd") and person.values.get("num_keypoints", 1)
    ]
    return _file(path, "COCO annotations", people, images, _named_joints(whole))


def _named_joints(whole: Entry) -> Skeleton | None:
    """As the file calls them, in our words: `left_big_toe`, whether it writes that or LBigToe."""
    if "categories" not in whole:
        return None
    for category in whole.entries("categories", "category"):
        names = category.values.get("keypoints")
        if isinstance(names, list) and names:
            return Skeleton("named", tuple(str(name).lower().replace(" ", "_") for name in names))
    return None


def _file(
    path: Path,
    kind: str,
    people: list[Entry],
    images: dict[int, Entry],
    named: Skeleton | None = None,
) -> GivenFile:
    identities = [_identity(person) for person in people]
    if kind == "AlphaPose" and not any(identities):
        identities = [None] * len(people)
    skeletons: dict[Skeleton, str] = {}
    sightings = []
    for person, identity in zip(people, identities, strict=True):
        skeleton, keypoints = _keypoints(person, named)
        skeletons.setdefault(skeleton, person.place)
        sightings.append(
            Sighting(
                frame=_frame(person, images),
                place=person.place,
                keypoints=keypoints,
                person_id=identity,
                score=person.number("score") if "score" in person else 1.0,
            )
        )
    if len(skeletons) > 1:
        one, other, *_ = skeletons.values()
        raise InputError(f"{path}: {one} and {other} have different numbers of keypoints")
    return GivenFile(
        path=path,
        kind=kind,
        skeleton=next(iter(skeletons), COCO17),
        sightings=_seen(sightings) if kind != "AlphaPose" else sightings,
        image_size=_image_size(path, images),
    )


def _keypoints(person: Entry, named: Skeleton | None) -> tuple[Skeleton, Float[ndarray, "J 3"]]:
    if named is not None:
        flat = person.numbers("keypoints", None)
        if len(flat) == 3 * len(named):
            return named, flat.reshape(-1, 3)
    skeleton, keypoints = keypoints_of(person, "keypoints", LISTED)
    if skeleton is COCO17 and _FEET in person:
        feet = person.row(_FEET, 3 * (len(COCO23) - len(COCO17)))
        return COCO23, np.concatenate([keypoints, feet.reshape(-1, 3)])
    return skeleton, keypoints


def _frame(person: Entry, images: dict[int, Entry]) -> int | str:
    key = person.value("image_id")
    if isinstance(key, str):
        return key
    number = person.count("image_id")
    if not images:
        return number
    if number not in images:
        raise person.fault("image_id", f"is {number}, which 'images' does not list")
    image = images[number]
    if "frame_id" in image:
        return image.count("frame_id")
    return image.text("file_name") if "file_name" in image else number


def _identity(person: Entry) -> int | None:
    """Who it is; below 0, like nothing at all, stands for nobody in particular."""
    key = next((key for key in _IDENTITIES if key in person), None)
    if key is None:
        return None
    numbers = list(_flat(person.values[key]))
    # AlphaPose writes a list where it has made one person of several detections.
    number = numbers[0] if numbers else -1
    if isinstance(number, bool) or not isinstance(number, int | float) or number % 1 != 0:
        raise person.fault(key, f"is {number!r}, not the number of a person")
    return int(number) if number >= 0 else None


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for each in value:
            yield from _flat(each)
    else:
        yield value


def _seen(sightings: list[Sighting]) -> list[Sighting]:
    """With confidences where a file has COCO's flags 0, 1 and 2 throughout."""
    flags = [each.keypoints[:, 2] for each in sightings if each.keypoints is not None]
    known = np.concatenate(flags) if flags else np.zeros(0)
    if not (np.isin(known, range(len(_VISIBILITY))).all() and (known == 2).any()):
        return sightings
    for flag in flags:
        flag[:] = _VISIBILITY[flag.astype(int)]
    return sightings


def _image_size(path: Path, images: dict[int, Entry]) -> tuple[int, int] | None:
    sizes = {
        (image.count("width"), image.count("height"))
        for image in images.values()
        if "width" in image and "height" in image
    }
    if len(sizes) > 1:
        one, other, *_ = sorted(sizes)
        raise InputError(
            f"{path}: its images are {one[0]} x {one[1]} and {other[0]} x {other[1]} pixels, and "
            "those of a video are of one size"
        )
    return next(iter(sizes), None)
