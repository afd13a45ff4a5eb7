"""Who is who from frame to frame: detections of single frames linked into one track per person.

Each frame's detections are assigned to the known people all at once (Hungarian algorithm), by how
well box and pose agree with where each person's Kalman filter expects them; as in SORT (Bewley et
al. 2016), with pose similarity beside the overlap of boxes and with time measured in seconds.
People who come with a number are who that says.
"""

from array import array
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from temporal_hmr.motion import Person2D, Track
from temporal_hmr.on_disk import copied
from temporal_hmr.people.motion_filter import MotionFilter
from temporal_hmr.people.similarity import box_overlap, keypoint_similarity
from temporal_hmr.video import Frame


@dataclass(frozen=True)
class TrackerSettings:
    """How people are told apart."""

    patience: float = 1.5
    """Seconds for which somebody unseen is still expected back."""
    least_seen: float = 0.25
    """Seconds for which somebody must be seen to be kept, or in half of all frames."""
    gate: float = 25.0
    """Squared Mahalanobis distance of a box from which it cannot be that person."""
    overlap_weight: float = 0.2
    pose_weight: float = 0.6
    surprise_weight: float = 0.2
    """How much box overlap, pose similarity and Mahalanobis distance count in the assignment."""


class Tracker:
    """Links the people of one clip as its frames arrive."""

    def __init__(self, settings: TrackerSettings = TrackerSettings()) -> None:
        self._settings = settings
        self._expected: list[_Trail] = []
        self._numbered: dict[int, _Trail] = {}
        self._finished: list[_Trail] = []
        self._frames = array("q")
        self._times = array("d")

    def update(self, frame: Frame, people: list[Person2D]) -> None:
        """Take in the people of the next frame."""
        self.add(frame.index, frame.time, people)

    def add(self, index: int, time: float, people: list[Person2D]) -> None:
        """As `update`, for frame number `index` at `time` seconds, which must increase.

        The order of the people within a frame does not matter. Nobody's number comes twice in it.
        """
        if self._times and time <= self._times[-1]:
            raise ValueError(f"frame {index} at {time} s does not follow {self._times[-1]} s")
        self._frames.append(index)
        self._times.append(time)
        self._forget(time)
        people = [one for one in people if not self._is_numbered(index, time, one)]
        for trail in self._expected:
            trail.predict(time)
        assigned = self._assign(people)
        for trail, position in assigned.items():
            trail.extend(index, time, people[position])
        for position in sorted(set(range(len(people))) - set(assigned.values())):
            self._expected.append(_Trail(index, time, people[position]))

    def cut(self) -> None:
        """Another shot begins with the next frame: nobody goes on into it."""
        self._finished += [*self._expected, *self._numbered.values()]
        self._expected, self._numbered = [], {}

    def tracks(self, folder: Path | None = None) -> list[Track]:
        """Everybody seen for long enough so far, numbered from 0.

        In order of first appearance; those who appear together, from left to right. Those who came
        with a number keep it, however short they were seen; in another shot, where nobody is
        followed to, they get a new one, as all others do, above the largest that was given. With a
        folder their keypoints lie in files there.
        """
        trails = [*self._finished, *self._expected, *self._numbered.values()]
        trails = [trail for trail in trails if self._lasting(trail)]
        trails.sort(key=lambda trail: (trail.times[0], *trail.first_box))
        frames, times = np.array(self._frames), np.array(self._times)
        tracks = [
            trail.track(number, frames, times, folder)
            for number, trail in zip(_numbers(trails), trails, strict=True)
        ]
        return sorted(tracks, key=lambda track: track.person_id)

    def now(self) -> list[tuple[Hashable, Person2D | None]]:
        """Everybody who is followed: a key that stays theirs, and how the last frame shows them.

        None where it does not.
        """
        trails = [*self._expected, *self._numbered.values()]
        return [(trail, trail.seen_at(self._times[-1])) for trail in trails]

    def forget_past(self) -> None:
        """Keep only what tells who is who from here on: a camera may run for ever.

        `tracks` then tells of nothing but the last sight of each.
        """
        last, patience = self._times[-1], self._settings.patience
        there = {n: each for n, each in self._numbered.items() if last - each.times[-1] <= patience}
        self._finished, self._numbered = [], there
        del self._frames[:-1], self._times[:-1]
        for trail in [*self._expected, *there.values()]:
            trail.forget_past()

    def _is_numbered(self, index: int, time: float, person: Person2D) -> bool:
        """Whether the person came with a number; then they are taken in."""
        number = person.person_id
        if number is None:
            return False
        if number in self._numbered:
            self._numbered[number].note(index, time, person)
        else:
            self._numbered[number] = _Trail(index, time, person)
        return True

    def _forget(self, time: float) -> None:
        patience = self._settings.patience
        for trail in [each for each in self._expected if time - each.times[-1] > patience]:
            self._expected.remove(trail)
            self._finished.append(trail)

    def _assign(self, people: list[Person2D]) -> dict["_Trail", int]:
        """The position among `people` of everybody expected who is found there."""
        if not self._expected or not people:
            return {}
        cost = np.array([[self._cost(trail, one) for one in people] for trail in self._expected])
        # No sum of possible costs reaches one impossible one, so that as many as can are assigned.
        impossible = 10.0 * min(cost.shape)
        rows, columns = linear_sum_assignment(np.minimum(cost, impossible))
        return {
            self._expected[row]: int(column)
            for row, column in zip(rows, columns, strict=True)
            if cost[row, column] < impossible
        }

    def _cost(self, trail: "_Trail", person: Person2D) -> float:
        settings = self._settings
        surprise = trail.filter.surprise(person.box)
        if surprise > settings.gate:
            return np.inf
        expected = trail.filter.box()
        overlap = float(box_overlap(expected[None], person.box[None])[0, 0])
        return (
            settings.overlap_weight * (1 - overlap)
            + settings.pose_weight * (1 - trail.pose_similarity(person))
            + settings.surprise_weight * surprise / settings.gate
        )

    def _lasting(self, trail: "_Trail") -> bool:
        if trail.given_id is not None:
            return True
        times = self._times
        interval = (times[-1] - times[0]) / (len(times) - 1) if len(times) > 1 else np.inf
        seen = len(trail.frames)
        return seen * interval >= self._settings.least_seen or 2 * seen >= len(times)


def link(
    detections: Iterable[tuple[int, float, list[Person2D]]],
    settings: TrackerSettings = TrackerSettings(),
) -> list[Track]:
    """One track per person from (frame number, time in s, people) of successive frames.

    Numbered from 0 in order of first appearance, from left to right within a frame. A track has
    only the frames in which the person was seen.
    """
    tracker = Tracker(settings)
    for index, time, people in detections:
        tracker.add(index, time, people)
    return tracker.tracks()


def _numbers(trails: list["_Trail"]) -> list[int]:
    """Of each: the one they came with if nobody before has it, or else the next that is free."""
    given = [trail.given_id for trail in trails if trail.given_id is not None]
    free, taken, numbers = count(max(given, default=-1) + 1), set(), []
    for trail in trails:
        has_own = trail.given_id is not None and trail.given_id not in taken
        taken.add(trail.given_id)
        numbers.append(trail.given_id if has_own else next(free))
    return numbers


class _Trail:
    """One person so far. Numbers are packed: an hour has a hundred thousand frames."""

    def __init__(self, index: int, time: float, person: Person2D) -> None:
        self.frames, self.times = array("q"), array("d")
        self._boxes = array(person.box.dtype.char)
        self._keypoints = array(person.keypoints.dtype.char)
        self.first_box = person.box
        self.given_id = person.person_id
        self._last = person
        self.note(index, time, person)
        self.filter = MotionFilter(person.box)
        self._predicted_to = time

    def predict(self, time: float) -> None:
        self.filter.predict(time - self._predicted_to)
        self._predicted_to = time

    def extend(self, index: int, time: float, person: Person2D) -> None:
        self.note(index, time, person)
        self.filter.correct(person.box)

    def note(self, index: int, time: float, person: Person2D) -> None:
        self.frames.append(index)
        self.times.append(time)
        self._boxes.frombytes(person.box.astype(self._boxes.typecode).tobytes())
        self._keypoints.frombytes(person.keypoints.astype(self._keypoints.typecode).tobytes())
        self._last = person

    def seen_at(self, time: float) -> Person2D | None:
        return self._last if self.times[-1] == time else None

    def forget_past(self) -> None:
        del self.frames[:-1], self.times[:-1]
        del self._boxes[:-4], self._keypoints[: -self._last.keypoints.size]

    def pose_similarity(self, person: Person2D) -> float:
        """OKS with the last pose, moved along with the expected box."""
        last = self._last
        expected = self.filter.box()
        moved = last.keypoints.copy()
        moved[:, :2] += (expected[:2] + expected[2:] - last.box[:2] - last.box[2:]) / 2
        scale = float(np.sqrt(np.prod(np.maximum(expected[2:] - expected[:2], 1.0))))
        unseen_for = self._predicted_to - self.times[-1]
        # People move their limbs meanwhile: poses a second apart are hardly alike.
        return keypoint_similarity(
            moved, person.keypoints, scale, person.skeleton, widening=1.5 + 4 * unseen_for
        )

    def track(
        self,
        person_id: int,
        looked_at: Int[ndarray, "N"],
        times: Float[ndarray, "N"],
        folder: Path | None,
    ) -> Track:
        """The person's track; the arrays are of all the frames of the clip that were looked at."""
        span = slice(
            np.searchsorted(looked_at, self.frames[0]),
            np.searchsorted(looked_at, self.frames[-1]) + 1,
        )
        joints = len(self._last.skeleton)
        return Track(
            person_id=person_id,
            frames=np.array(self.frames),
            times=np.array(self.times),
            boxes=np.array(self._boxes).reshape(-1, 4),
            keypoints=copied(np.asarray(self._keypoints).reshape(-1, joints, 3), folder),
            skeleton=self._last.skeleton,
            looked_at=looked_at[span],
            looked_at_times=times[span],
        )
