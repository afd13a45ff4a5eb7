"""People followed back from where they were found, with a reader that errs as it is told."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from temporal_hmr.motion import Person2D, Track
from temporal_hmr.people.backwards import BackwardSettings, Body, BodyReader, follow_back
from temporal_hmr.people.reading import region_around, sureness
from temporal_hmr.skeleton import BLAZEPOSE23
from temporal_hmr.video import Frame

FPS = 10.0
FRAMES = 30
NO_CUTS = np.zeros(0, int)
POSE = np.random.default_rng(0).uniform(0, 1, (23, 2)) * (40, 100)
SECOND = 1e3
"""Pixels between people who have nothing to do with each other."""


def person(x: float, confidence: float = 0.9) -> Person2D:
    keypoints = np.concatenate([POSE + np.array([x, 50]), np.full((23, 1), confidence)], 1)
    box = np.concatenate([keypoints[:, :2].min(0), keypoints[:, :2].max(0)])
    return Person2D(box, keypoints, BLAZEPOSE23, 1.0)


class Part(list[Frame]):
    """Some frames of a film."""

    damaged: tuple[int, ...] = ()


@dataclass
class Film:
    """Stands in for a clip; its images tell nothing but their number."""

    width: int = 100
    height: int = 100
    held: list[int] = field(default_factory=list)
    damaged: tuple[int, ...] = ()

    def with_range(self, start: float, end: float) -> Part:
        shown = [n for n in range(FRAMES) if start - 1e-6 <= n / FPS < end - 1e-6]
        self.held.append(len(shown))
        return Part(Frame(n, n / FPS, np.full((4, 4, 3), n, np.uint8)) for n in shown)


class Reader:
    """Reads whoever of those who are there is nearest; `there` is (frame) -> their places."""

    def __init__(self, there, confidence=lambda frame: 0.9) -> None:
        self.there, self.confidence, self.read = there, confidence, []

    def read_body(self, image, region) -> Body | None:
        frame = int(image[0, 0, 0])
        self.read.append(frame)
        places = self.there(frame)
        if not places:
            return None
        found = [person(x, self.confidence(frame)) for x in places]
        one = min(found, key=lambda each: abs(region_around(each.box).x - region.x))
        return Body(one, region_around(one.box), sureness(one))


def track(number: int, frames, place) -> Track:
    frames = np.array(list(frames))
    seen = [person(place(frame)) for frame in frames]
    return Track(
        number,
        frames,
        frames / FPS,
        np.array([each.box for each in seen], np.float32),
        np.array([each.keypoints for each in seen], np.float32),
        BLAZEPOSE23,
        np.arange(frames[0], frames[-1] + 1),
        np.arange(frames[0], frames[-1] + 1) / FPS,
    )


def followed(tracks, reader, cuts=(), film: Any = None, **settings) -> list[Track]:
    looked_at = np.arange(FRAMES), np.arange(FRAMES) / FPS
    clip: Any = Film() if film is None else film
    return follow_back(
        tracks, clip, looked_at, np.array(cuts, int), reader, None, BackwardSettings(**settings)
    )


def walking(frame: int) -> float:
    return 200 + 5.0 * frame


def test_who_is_found_late_is_there_from_the_start():
    reader = Reader(lambda frame: [walking(frame)])
    (found,) = followed([track(0, range(12, 30), walking)], reader)
    assert isinstance(reader, BodyReader)
    assert found.frames.tolist() == list(range(30))
    np.testing.assert_array_equal(found.looked_at, found.frames)
    np.testing.assert_allclose(found.times, found.frames / FPS)
    np.testing.assert_allclose(found.boxes[:, 0] - found.boxes[0, 0], 5.0 * found.frames, atol=1e-3)
    assert found.keypoints.shape == (30, 23, 3) and found.keypoints.dtype == np.float32
    assert min(reader.read) == 0 and len(reader.read) == 13, "each frame once, the sight's too"


@pytest.mark.parametrize(("longest", "first"), [(0.5, 15), (1.0, 10), (5.0, 0)])
def test_nobody_is_followed_further_than_asked_for(longest, first):
    reader = Reader(lambda frame: [walking(frame)])
    (found,) = followed([track(0, range(20, 30), walking)], reader, longest=longest)
    assert found.frames[0] == first


@pytest.mark.parametrize("seen", [range(20, 30), [3, 4, *range(20, 30)]])
def test_nobody_is_followed_past_frames_that_cannot_be_read(seen):
    """What stands in for those is a copy of the frame before them."""
    reader = Reader(lambda frame: [walking(frame)])
    film = Film(damaged=(9, 10))
    (found,) = followed([track(0, seen, walking)], reader, film=film)
    assert [frame for frame in found.frames if 4 < frame < 20] == list(range(11, 20))
    assert not {9, 10} & set(reader.read)


def test_nobody_is_followed_into_another_shot():
    reader = Reader(lambda frame: [walking(frame)])
    (found,) = followed([track(0, range(20, 30), walking)], reader, cuts=[6, 14, 25])
    assert found.frames[0] == 14


@pytest.mark.parametrize("ends", ["nobody", "unsure", "elsewhere"])
def test_it_ends_where_nobody_can_be_read(ends):
    def there(frame):
        if frame < 9 and ends == "nobody":
            return []
        return [walking(frame) + (SECOND if frame < 9 and ends == "elsewhere" else 0)]

    reader = Reader(there, lambda frame: 0.4 if frame < 9 and ends == "unsure" else 0.9)
    (found,) = followed([track(0, range(15, 30), walking)], reader)
    assert found.frames[0] == 9 and min(reader.read) == 8


def test_gaps_are_closed_from_their_end():
    known = [n for n in range(30) if not 8 <= n < 14]
    reader = Reader(lambda frame: [walking(frame)])
    (found,) = followed([track(0, known, walking)], reader)
    assert found.frames.tolist() == list(range(30)) and sorted(reader.read) == list(range(8, 15))


def test_a_gap_whose_beginning_shows_another_stays():
    def drifting(frame):
        return walking(14) - 4.0 * (14 - frame) ** 1.8

    known = [n for n in range(30) if not 8 <= n < 14]
    (found,) = followed([track(0, known, walking)], Reader(lambda frame: [drifting(frame)]))
    assert found.frames.tolist() == known


def test_nobody_is_taken_for_another_who_is_known_there():
    """A reader that sees but the one of two people who are close to each other."""
    first = track(0, range(30), lambda frame: 300.0)
    second = track(1, range(20, 30), lambda frame: 310.0 + 5 * (frame - 19))
    reader = Reader(lambda frame: [310.0 + 5 * (frame - 19)] if frame >= 20 else [305.0])
    one, other = followed([first, second], reader)
    assert one is first and other is second and reader.read == [20, 19]


def test_who_was_lost_there_is_one_with_whoever_comes_from_there():
    place = walking
    tracks = [
        track(0, range(0, 10), place),
        track(1, range(0, 30), lambda frame: SECOND),
        track(2, range(16, 30), place),
        track(3, range(5, 30), lambda frame: 2 * SECOND),
    ]
    reader = Reader(lambda frame: [place(frame), SECOND] + ([2 * SECOND] if frame >= 5 else []))
    found = followed(tracks, reader)
    assert [each.person_id for each in found] == [0, 1, 2]
    assert found[0].frames.tolist() == list(range(30))
    assert found[2].boxes[0, 0] > 2 * SECOND - 100


def test_few_images_are_held_at_a_time():
    film = Film(1000, 1000)
    reader = Reader(lambda frame: [walking(frame)])
    (found,) = followed(
        [track(0, range(25, 30), walking)], reader, film=film, longest=9.0, bytes_at_once=7 << 20
    )
    assert found.frames[0] == 0 and max(film.held) == 2 and sum(film.held) == 26


def test_where_everybody_is_known_no_image_is_asked_for():
    film = Film()
    whole = track(0, range(30), walking)
    assert followed([whole], Reader(lambda frame: []), film=film) == [whole]
    assert followed([], Reader(lambda frame: []), film=film) == [] and film.held == []


def test_frames_that_cannot_be_had_end_it():
    class Broken(Film):
        def with_range(self, start, end):
            return Part(frame for frame in super().with_range(start, end) if frame.index > 11)

    reader = Reader(lambda frame: [walking(frame)])
    (found,) = followed([track(0, range(15, 30), walking)], reader, film=Broken())
    assert found.frames[0] == 12


def test_new_sights_lie_where_the_old_ones_do(tmp_path):
    late = track(0, range(12, 30), walking)
    late = replace(late, keypoints=late.keypoints.astype(np.float32))
    looked_at = np.arange(FRAMES), np.arange(FRAMES) / FPS
    reader = Reader(lambda frame: [walking(frame)])
    film: Any = Film()
    (found,) = follow_back([late], film, looked_at, NO_CUTS, reader, tmp_path)
    assert len(found) == 30 and not isinstance(found.keypoints.base, type(None))
