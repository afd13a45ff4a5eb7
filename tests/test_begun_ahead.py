"""Frames that are begun before the last is done with, without networks: nothing is found otherwise.

Crowds come and go in front of made-up networks; shots, pauses, damaged frames and kills with them.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from temporal_hmr import following
from temporal_hmr.following import Followed, follow
from temporal_hmr.journal import Journal
from temporal_hmr.motion import Person2D
from temporal_hmr.people import looking, mediapipe, mirror, searching
from temporal_hmr.people.blazepose import Landmarks, Region
from temporal_hmr.people.recalled import RecalledPeople
from temporal_hmr.people.settings import AHEAD
from temporal_hmr.video import Frame

SIZE, COUNT = (64, 128), 60
BODIES = [Region(25, 30, 30, 0), Region(64, 34, 34, 0), Region(104, 32, 28, 0)]


class Killed(BaseException):
    """The process ends."""


@dataclass
class World:
    """Who is there when, and where the film was cut, paused or damaged."""

    there: np.ndarray
    times: np.ndarray
    cuts: np.ndarray
    damaged: np.ndarray

    @staticmethod
    def of(seed: int) -> "World":
        random = np.random.default_rng(seed)
        there = np.repeat(random.random((COUNT // 5, len(BODIES))) < 0.6, 5, 0)
        pauses = np.where(random.random(COUNT) < 0.06, 2.0, 0)
        times = np.cumsum(1 / 30 + pauses)
        return World(there, times, random.random(COUNT) < 0.06, random.random(COUNT) < 0.06)

    def frames(self, last: int = COUNT) -> Iterator[Frame]:
        for n in range(COUNT):
            if n == last:
                raise Killed
            image = np.full((*SIZE, 3), n + 1, np.uint8)
            yield Frame(n, float(self.times[n]), image, damaged=bool(self.damaged[n]))


class Picture:
    """In place of mediapipe's: which frame it is of, its pixels say."""

    def __init__(self, image: np.ndarray, mirrored: bool) -> None:
        self.shape, self.mirrored = image.shape[:2], mirrored
        self.number = int(image[image > 0].min()) - 1  # what is painted out is brighter


class Crowd:
    """In place of the networks: bodies that the detector does not always see."""

    reads = 0

    def __init__(self, world: World) -> None:
        self._world = world
        self._detecting, self._reading = threading.Lock(), threading.Lock()

    def detect(self, picture: Picture) -> list[Region]:
        assert self._detecting.acquire(blocking=False), "one look at a time"
        random = np.random.default_rng([picture.number, *picture.shape])
        there = self._world.there[picture.number]
        seen = [each for body, each in enumerate(BODIES) if there[body] and random.random() < 0.5]
        self._detecting.release()
        return seen

    def read(self, picture: Picture, region: Region) -> Landmarks | None:
        assert self._reading.acquire(blocking=False), "one reading at a time"
        self.reads += 1
        body = int(np.argmin([abs(region.x - each.x) for each in BODIES]))
        random = np.random.default_rng([picture.number, body, picture.mirrored])
        middle, points = BODIES[body], np.empty((33, 4))
        points[:, :2] = (middle.x, middle.y) + random.normal(size=(33, 2)) * middle.size / 6
        points[:, 2:] = random.uniform(0.4, 1, (33, 2))
        self._reading.release()
        return Landmarks(points, 0.9, middle) if self._world.there[picture.number, body] else None

    def close(self) -> None:
        pass


class OneByOne:
    """A detector that has to be done with a frame before it begins with the next."""

    def __init__(self, finder: mediapipe.MediapipePeople) -> None:
        self.people, self.state, self.restore = finder.people, finder.state, finder.restore


Show = Callable[[World], list[Crowd]]


@pytest.fixture
def show(monkeypatch) -> Show:
    """Lets the detectors that are opened from now on look at a world; who looks is in the list."""
    shown = staticmethod(lambda image, mirrored=False: Picture(image, mirrored))
    for module in (looking, mirror):
        monkeypatch.setattr(module.ImagePacket, "of", shown)
    monkeypatch.setattr(searching, "_LEAST_TILE", 30)

    def at(world: World) -> list[Crowd]:
        crowds: list[Crowd] = []

        def opened(detects: bool = True) -> Crowd:
            crowds.append(Crowd(world))
            return crowds[-1]

        class Cuts:
            def begins(self, image: np.ndarray) -> bool:
                return bool(world.cuts[image.min() - 1])

        monkeypatch.setattr(looking, "BlazePose", opened)
        monkeypatch.setattr(following, "CutDetector", Cuts)
        return crowds

    return at


def assert_same(found: Followed, others: Followed) -> None:
    assert found.cuts.tolist() == others.cuts.tolist()
    assert len(found.tracks) == len(others.tracks)
    for one, other in zip(found.tracks, others.tracks, strict=True):
        assert one.person_id == other.person_id and one.frames.tolist() == other.frames.tolist()
        np.testing.assert_array_equal(one.keypoints, other.keypoints)
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_people_and_state_are_those_of_frames_one_by_one(show: Show) -> None:
    reads, counts = np.zeros(2, int), set()
    for seed in range(8):
        world = World.of(seed)
        crowds = show(world)
        with mediapipe.MediapipePeople() as finder:
            one_by_one = [(finder.people(frame), finder.state()) for frame in world.frames()]
        counts |= {len(people) for people, _ in one_by_one}
        ahead, begun = [], []
        with mediapipe.MediapipePeople() as finder:
            for frame in world.frames():
                begun.append(finder.look(frame))
                if len(begun) > AHEAD:
                    ahead.append((begun[0].people(), begun.pop(0).state()))
            ahead += [(look.people(), look.state()) for look in begun]
        for (people, state), (others, their_state) in zip(one_by_one, ahead, strict=True):
            assert state == their_state
            for one, other in zip(people, others, strict=True):
                np.testing.assert_array_equal(one.keypoints, other.keypoints)
        reads += [crowds[0].reads, crowds[2].reads]
    assert counts == {0, 1, 2, 3}, "people come and go"
    assert reads[0] < reads[1] < 1.3 * reads[0], "begun again only where somebody came"


@pytest.mark.parametrize("seed", range(8))
def test_followed_through_cuts_kills_and_damage_they_are_the_same(
    show: Show, tmp_path: Path, seed: int
) -> None:
    world = World.of(100 + seed)
    show(world)
    with mediapipe.MediapipePeople() as finder, Journal(tmp_path / "one", "key") as journal:
        expected = follow(world.frames(), OneByOne(finder), journal)
    with mediapipe.MediapipePeople() as finder, Journal(tmp_path / "whole", "key") as journal:
        assert_same(follow(world.frames(), finder, journal), expected)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "one").read_bytes()
    for last in np.sort(np.random.default_rng(seed).choice(COUNT, 4)):
        with (
            mediapipe.MediapipePeople() as finder,
            Journal(tmp_path / "killed", "key") as journal,
            pytest.raises(Killed),
        ):
            follow(world.frames(int(last)), finder, journal)
    with mediapipe.MediapipePeople() as finder, Journal(tmp_path / "killed", "key") as journal:
        assert_same(follow(world.frames(), finder, journal), expected)
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "one").read_bytes()


def test_who_is_in_a_frame_is_asked_when_the_next_ones_have_been_begun() -> None:
    told: list[str] = []

    @dataclass
    class Patient:
        number: int = -1

        def look(self, frame: Frame) -> "Patient":
            told.append(f"begin {frame.index}")
            return Patient(frame.index)

        def people(self, frame: Frame | None = None) -> list[Person2D]:
            told.append(f"people {self.number}")
            return []

        def state(self) -> None:
            pass

        def restore(self, state: None) -> None:
            pass

    world = World.of(1)
    world.damaged[:], world.cuts[:] = False, False
    world.damaged[1] = world.cuts[4] = True
    shots = ((frame, bool(world.cuts[frame.index])) for frame in islice(world.frames(), 6))
    seen = RecalledPeople(Patient()).seen(shots)
    assert [frame.index for frame, _, _ in seen] == list(range(6))
    assert told == [
        *("begin 0", "begin 2", "people 0", "begin 3", "people 2", "people 3"),
        *("begin 4", "begin 5", "people 4", "people 5"),
    ]


def test_they_can_be_asked_for_in_any_order_but_not_after_another_beginning(show: Show) -> None:
    show(World.of(0))
    frames = list(World.of(0).frames())[20:24]
    with mediapipe.MediapipePeople() as finder:
        counts = [len(finder.people(frame)) for frame in frames]
        finder.restore(None)
        begun = [finder.look(frame) for frame in frames]
        assert [len(look.people()) for look in reversed(begun)] == counts[::-1]
        finder.restore(None)
        looks = [finder.look(frame) for frame in frames[:2]]
        finder.restore(None)
        assert finder.state()["bodies"] == []
        for look in looks:
            with pytest.raises(RuntimeError, match="nobody was looked for any longer in frame 2"):
                look.people()


def test_an_error_is_told_to_everybody_who_asks(show: Show, monkeypatch) -> None:
    crowds = show(World.of(0))

    def broken(*_) -> list[Person2D]:
        raise RuntimeError("the network is gone")

    with mediapipe.MediapipePeople() as finder:
        frames = list(World.of(0).frames())[20:22]
        monkeypatch.setattr(crowds[0], "detect", broken)
        begun = [finder.look(frame) for frame in frames]
        for look in (*begun, *begun):
            with pytest.raises(RuntimeError, match="network is gone"):
                look.people()
