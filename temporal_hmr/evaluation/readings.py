"""What the built-in detector makes of people in rendered videos, whose truth is known exactly."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.command_line import Stage
from temporal_hmr.crops import extents
from temporal_hmr.errors import InputError
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.npz import load_motion
from temporal_hmr.people.boxed import BoxedPeople
from temporal_hmr.skeleton import COCO23
from temporal_hmr.video import open_clip


@dataclass(frozen=True, eq=False)
class Reading:
    """One person in one video."""

    video: int
    """Its number among the videos of the folder."""
    truth: BodyMotion
    found: Float[ndarray, "T 23 3"]
    """`BLAZEPOSE23`: pixels and confidence; 0 where nothing was read."""


def read_videos_in_boxes(folder: Path) -> list[Reading]:
    """Everybody in the videos of a folder, read in boxes around what can be seen of them.

    Raises `InputError` for a folder without rendered videos.
    """
    videos = sorted(folder.glob("*.mp4"))
    readings = [
        reading
        for number, video in enumerate(Stage("reading").track(videos, len(videos), unit="video"))
        for reading in _read(number, video)
    ]
    if not readings:
        raise InputError(f"{folder} has no rendered videos: see scripts/render_clips.py --videos")
    return readings


def _read(number: int, video: Path) -> Iterator[Reading]:
    truths = [load_motion(path) for path in sorted(video.parent.glob(f"{video.stem}_person*.npz"))]
    boxes = [extents(truth.keypoints) for truth in truths]
    found = [np.zeros((len(truth.frames), len(COCO23), 3)) for truth in truths]
    with BoxedPeople() as reader:
        for frame in open_clip(video) if truths else ():
            places = [truth.at(frame.index) for truth in truths]
            now = [
                np.full(4, np.nan) if place is None else box[place]
                for place, box in zip(places, boxes, strict=True)
            ]
            people = reader.read_boxes(frame, np.stack(now))
            for into, place, person in zip(found, places, people, strict=True):
                if person is not None and place is not None:
                    into[place] = person.keypoints
    for truth, keypoints in zip(truths, found, strict=True):
        yield Reading(number, truth, keypoints)
