"""What a detector found, kept in a journal as it comes and recalled from there the next time."""

import base64
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.journal import Journal
from temporal_hmr.motion import Person2D
from temporal_hmr.people.settings import AHEAD
from temporal_hmr.skeleton import BLAZEPOSE23, COCO17, COCO23
from temporal_hmr.video import Frame

_SKELETONS = {each.name: each for each in (COCO17, COCO23, BLAZEPOSE23)}


class Detector(Protocol):
    """Finds people in the frames of a clip, given in their order."""

    def people(self, frame: Frame) -> list[Person2D]:
        """The people in the next frame."""
        ...

    def state(self) -> Any:
        """What it takes from frame to frame, in words and numbers that JSON knows."""
        ...

    def restore(self, state: Any) -> None:
        """Go on from that state; from None as at the beginning of a clip."""
        ...


class Begun(Protocol):
    """A frame that a detector has begun with."""

    def people(self) -> list[Person2D]:
        """The people in it; whoever asks waits until all have been found."""
        ...

    def state(self) -> Any:
        """That of the detector after this frame."""
        ...


@runtime_checkable
class PatientDetector(Protocol):
    """One that can begin with a frame before it has told who is in the last one.

    It is not asked for `people`.
    """

    def look(self, frame: Frame) -> Begun:
        """Begin with the next frame, which stays as it is until its people are asked for."""
        ...


class RecalledPeople:
    """A detector that remembers: frames of the journal are not looked at again.

    What comes after them is as if the detector had seen them. Coordinates are rounded to float32,
    recalled or not.
    """

    def __init__(self, detector: Detector, journal: Journal | None = None) -> None:
        self._detector = detector
        self._journal = journal
        self._recalling = journal is not None
        self._state: Any = None

    def seen(
        self, frames: Iterable[tuple[Frame, bool]]
    ) -> Iterator[tuple[Frame, bool, list[Person2D]]]:
        """Frames of which each says whether another shot begins with it, and the people in each.

        Of a patient detector they are asked for when the next `AHEAD` frames have been begun.
        Nobody is in a frame that cannot be read.
        """
        begun: deque[tuple[Frame, bool, Callable[[], list[Person2D]]]] = deque()

        def told(left: int) -> Iterator[tuple[Frame, bool, list[Person2D]]]:
            while len(begun) > left:
                frame, begins_shot, people = begun.popleft()
                yield frame, begins_shot, people()

        for frame, begins_shot in frames:
            if begins_shot:
                yield from told(0)
                self._begin_shot()
            begun.append((frame, begins_shot, list if frame.damaged else self._begin(frame)))
            yield from told(AHEAD)
        yield from told(0)

    def _begin_shot(self) -> None:
        """The next frame shows something else: nobody is followed into it."""
        self._state = None
        if not self._recalling:
            self._detector.restore(None)

    def _begin(self, frame: Frame) -> Callable[[], list[Person2D]]:
        """Begin with the next frame; what comes back tells who is in it, once, and in order."""
        if self._recalling:
            found = self._recalled(frame)
            if found is not None:
                return lambda: found
            self._recalling = False
            self._detector.restore(self._state)
        if isinstance(self._detector, PatientDetector):
            begun = self._detector.look(frame)
            return lambda: self._kept(frame, begun.people(), begun.state)
        people = self._kept(frame, self._detector.people(frame), self._detector.state)
        return lambda: people

    def _kept(
        self, frame: Frame, people: list[Person2D], state: Callable[[], Any]
    ) -> list[Person2D]:
        people = [_rounded(person) for person in people]
        if self._journal is not None:
            self._journal.record(_written(frame, people, state()))
        return people

    def _recalled(self, frame: Frame) -> list[Person2D] | None:
        assert self._journal is not None, "there is one to recall from"
        text = self._journal.recall()
        if text is None:
            return None
        told = json.loads(text)
        if (told.get("frame"), told.get("time")) != (frame.index, frame.time):
            self._journal.forget()
            return None
        self._state = told["state"]
        return [_read(each) for each in told["people"]]


def _rounded(person: Person2D) -> Person2D:
    box, keypoints = (np.asarray(each, np.float32) for each in (person.box, person.keypoints))
    return replace(person, box=box, keypoints=keypoints, score=float(person.score))


def _written(frame: Frame, people: list[Person2D], state: Any) -> str:
    told = [
        {
            "skeleton": person.skeleton.name,
            "score": person.score,
            "person_id": person.person_id,
            "box": _packed(person.box),
            "keypoints": _packed(person.keypoints),
        }
        for person in people
    ]
    return json.dumps({"frame": frame.index, "time": frame.time, "people": told, "state": state})


def _read(told: dict[str, Any]) -> Person2D:
    return Person2D(
        box=_unpacked(told["box"]),
        keypoints=_unpacked(told["keypoints"]).reshape(-1, 3),
        skeleton=_SKELETONS[told["skeleton"]],
        score=told["score"],
        person_id=told["person_id"],
    )


def _packed(values: Float[ndarray, "..."]) -> str:
    return base64.b64encode(values.astype("<f4").tobytes()).decode()


def _unpacked(text: str) -> Float[ndarray, "n"]:
    return np.frombuffer(base64.b64decode(text), "<f4").astype(np.float32)
