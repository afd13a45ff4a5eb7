"""Keypoints of other detectors, as those write them to files."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from temporal_hmr.motion import Person2D
from temporal_hmr.skeleton import COCO23

SIDES = ("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist")
HEAD = ("REye", "LEye", "REar", "LEar")
LEGS = ("RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle")
BODY_25 = (
    *(*SIDES, "MidHip", *LEGS, *HEAD),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)
BODY_18 = (*SIDES, *LEGS, *HEAD)
COCO_17 = (
    *("Nose", "LEye", "REye", "LEar", "REar"),
    *(f"{s}{p}" for p in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle") for s in "LR"),
)
HALPE_26 = (
    *(*COCO_17, "Head", "Neck", "Hip", "LBigToe", "RBigToe", "LSmallToe", "RSmallToe"),
    *("LHeel", "RHeel"),
)
"""The published orders, written down apart from the package's own."""
WHOLE_BODY_23 = (*COCO_17, *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"))


def in_order(person: Person2D, names: tuple[str, ...], total: int | None = None) -> list[float]:
    """The flat list of a format that has these joints first, and `total` of them."""
    ours = {"L": "left_", "R": "right_"}
    found = np.zeros((total or len(names), 3))
    for place, name in enumerate(names):
        part = name[1:] if name[0] in ours and name[1].isupper() else name
        words = "".join(f"_{c.lower()}" if c.isupper() else c for c in part).strip("_")
        joint = (ours[name[0]] if part != name else "") + words
        if joint in COCO23.joints:
            found[place] = person.keypoints[COCO23.index(joint)]
    return found.reshape(-1).tolist()


def everybody(seen: list[list[Person2D]]) -> Iterator[tuple[int, int, Person2D]]:
    for frame, people in enumerate(seen):
        # The order within a frame says nothing of who is who.
        for number, person in reversed(list(enumerate(people))):
            yield frame, number, person


def coco(seen: Any, names: tuple[str, ...] = WHOLE_BODY_23, total: int | None = None) -> list:
    return [
        {
            "image_id": frame,
            "category_id": 1,
            "keypoints": in_order(person, names, total),
            "score": 0.9,
        }
        for frame, _, person in everybody(seen)
    ]


def alphapose(seen: Any, idx: Callable[[int], Any] = lambda number: 5 - 3 * number) -> list:
    return [
        {
            "image_id": f"{frame}.jpg",
            "category_id": 1,
            "keypoints": in_order(person, HALPE_26, 136),
            "score": 2.9,
            "box": [1.0, 2.0, 3.0, 4.0],
            "idx": idx(number),
        }
        for frame, number, person in everybody(seen)
    ]


def openpose(folder: Path, seen: Any, names: tuple[str, ...] = BODY_25) -> Path:
    folder.mkdir()
    for frame, people in enumerate(seen):
        told = [
            {"person_id": [-1], "pose_keypoints_2d": in_order(each, names), "face_keypoints_2d": []}
            for each in people
        ]
        path = folder / f"walk4_{frame:012d}_keypoints.json"
        path.write_text(json.dumps({"version": 1.3, "people": told}))
    return folder


def as_json(path: Path, contents: Any) -> Path:
    path.write_text(json.dumps(contents))
    return path
