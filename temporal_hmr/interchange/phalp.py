"""Tracks of PHALP and 4D-Humans, `results/*.pkl` (Goel et al., ICCV 2023), written with joblib.

By frame: `time`, the number of the frame among those tracked, and lists with an entry per person:
`tid`, `tracked_time` (frames since the person was last seen), `bbox` as x, y, width, height,
`camera` (3,), `size` (height, width of the image), and `smpl` with `global_orient` (1, 3, 3),
`body_pose` (23, 3, 3), `betas` (10,), rotation matrices. Where `tracked_time` is not 0 PHALP
repeats what it saw last: those frames are `filled`.

`camera` is a translation in front of a camera made up so as to look at every crop from afar, with
the focal length 5000 / 256 of the image's longer side. Together with that camera, which is given,
it puts the body where it is in the image; its depth is not metric. The orientation is that of a
camera which looks straight at the crop. Where PHALP was told to start later in the video its frames
are numbered from there on.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.interchange.fields import Fields
from temporal_hmr.motion import PredictedMotion

_FOCAL_PER_SIDE = 5000 / 256


@dataclass(frozen=True, eq=False)
class _Entry:
    """One person in one frame."""

    frame: int
    rotations: Float[ndarray, "24 3 3"]
    betas: Float[ndarray, "10"]
    transl: Float[ndarray, "3"]
    box: Float[ndarray, "4"]
    """x, y, width, height."""
    size: Int[ndarray, "2"]
    """Height and width of the image."""
    filled: bool

    def repeats(self, other: "_Entry") -> bool:
        return all(
            np.array_equal(getattr(self, each.name), getattr(other, each.name))
            for each in fields(self)
        )


def read_phalp(path: Path, contents: Mapping) -> list[PredictedMotion]:
    """Everybody in the file. Raises `InputError` for what is missing or misshapen."""
    people: dict[int, list[_Entry]] = {}
    for frame, values in _numbered(path, contents):
        for person, entry in _entries(frame, values):
            people.setdefault(person, []).append(entry)
    return [
        _motion(Fields(path, f"person {person}", {}), people[person]) for person in sorted(people)
    ]


def _numbered(path: Path, contents: Mapping) -> list[tuple[int, Fields]]:
    """The frames in order of their numbers."""
    frames = [Fields(path, f"frame {name!r}", values) for name, values in contents.items()]
    if any("time" in values for values in frames):
        numbers = [int(values.whole_numbers("time", ())) for values in frames]
    else:
        numbers = list(range(len(frames)))
    order = sorted(range(len(frames)), key=numbers.__getitem__)
    for first, second in pairwise(order):
        if numbers[first] == numbers[second]:
            frames[second].refuse(f"the 'time' {numbers[second]}, as {frames[first].place} has")
    return [(numbers[index], frames[index]) for index in order]


def _entries(frame: int, values: Fields) -> Iterator[tuple[int, _Entry]]:
    people = values.whole_numbers("tid", (None,))
    count = len(people)
    if not count:
        return
    unseen_for = values.numbers("tracked_time", (count,))
    boxes = values.numbers("bbox", (count, 4))
    cameras = values.numbers("camera", (count, 3))
    sizes = values.whole_numbers("size", (count, 2))
    bodies = values.entries("smpl", count)
    for index, person in enumerate(people.tolist()):
        body = Fields(values.path, f"{values.place} person {person} 'smpl'", bodies[index])
        root = body.numbers("global_orient", (1, 3, 3), (3, 3)).reshape(1, 3, 3)
        yield (
            person,
            _Entry(
                frame=frame,
                rotations=np.concatenate([root, body.numbers("body_pose", (23, 3, 3))]),
                betas=body.numbers("betas", (10,), (1, 10)).reshape(10),
                transl=cameras[index],
                box=boxes[index],
                size=sizes[index],
                filled=bool(unseen_for[index] > 0),
            ),
        )


def _motion(place: Fields, entries: list[_Entry]) -> PredictedMotion:
    """Where PHALP was given whom to track, it writes the first frames of a person twice alike."""
    kept = entries[:1]
    kept += [entry for last, entry in pairwise(entries) if not entry.repeats(last)]
    frames = np.array([entry.frame for entry in kept])
    place.check_order(frames, "tid")
    boxes = np.array([entry.box for entry in kept])
    return PredictedMotion(
        name=place.name,
        source="phalp",
        frames=frames,
        smpl=SmplParams.from_rotations(
            *(
                torch.from_numpy(np.array([getattr(entry, name) for entry in kept]))
                for name in ("rotations", "betas", "transl")
            )
        ),
        camera=_camera(np.array([entry.size for entry in kept])),
        boxes=np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1),
        filled=np.array([entry.filled for entry in kept]),
        has_depth=False,
    )


def _camera(sizes: Int[ndarray, "T 2"]) -> Camera | None:
    """PHALP's own, unless the images are not all of one size."""
    height, width = sizes[0].tolist()
    if not (sizes == sizes[0]).all() or min(height, width) == 0:
        return None
    return Camera.with_focal(_FOCAL_PER_SIDE * max(height, width), width, height, assumed=True)
