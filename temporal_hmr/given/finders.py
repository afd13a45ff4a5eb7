"""Detectors that have their answers from a file."""

from dataclasses import replace
from typing import Any

import numpy as np

from temporal_hmr.given.sightings import Sighting
from temporal_hmr.motion import Person2D
from temporal_hmr.people.boxed import BoxedPeople, BoxedSettings
from temporal_hmr.video import Frame


class PeopleOfFile:
    """Finds in each frame the people that a file has there."""

    def __init__(self, people: dict[int, list[Person2D]]) -> None:
        self._people = people

    def __enter__(self) -> "PeopleOfFile":
        return self

    def __exit__(self, *_) -> None:
        pass

    def people(self, frame: Frame) -> list[Person2D]:
        """In the order of the file."""
        return self._people.get(frame.index, [])

    def state(self) -> None:
        """It takes nothing from frame to frame."""

    def restore(self, state: None) -> None:
        """There is nothing to go on from."""


class BoxesOfFile:
    """Reads the keypoints of the people whose boxes a file has, with BlazePose."""

    def __init__(self, boxes: dict[int, list[Sighting]], mirrored: bool = True) -> None:
        """`mirrored`: see `BoxedSettings`. Raises `InputError` if mediapipe is missing."""
        self._boxes = boxes
        self._reader = BoxedPeople(BoxedSettings(mirrored=mirrored))

    def __enter__(self) -> "BoxesOfFile":
        return self

    def __exit__(self, *_) -> None:
        self._reader.close()

    def people(self, frame: Frame) -> list[Person2D]:
        """Those who can be read, in the order of the file."""
        sightings = self._boxes.get(frame.index, [])
        boxes = np.array([sighting.box for sighting in sightings]).reshape(-1, 4)
        return [
            replace(person, person_id=who.person_id)
            for who, person in zip(sightings, self._reader.read_boxes(frame, boxes), strict=True)
            if person is not None
        ]

    def state(self) -> dict[str, Any]:
        """What it takes from frame to frame."""
        return self._reader.state()

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on as after the frame of that state."""
        self._reader.restore(state)
