"""Identities through misses, crossings and false detections, against known truth."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest

from temporal_hmr.motion import Person2D, Track
from temporal_hmr.people.tracker import Tracker, TrackerSettings, link
from temporal_hmr.skeleton import COCO23
from temporal_hmr.video import Frame

STANDING = {
    "nose": (0.0, 0.08),
    "eye": (0.02, 0.06),
    "ear": (0.04, 0.07),
    "shoulder": (0.1, 0.2),
    "elbow": (0.13, 0.36),
    "wrist": (0.14, 0.5),
    "hip": (0.06, 0.52),
    "knee": (0.07, 0.74),
    "ankle": (0.07, 0.95),
    "big_toe": (0.1, 0.99),
    "small_toe": (0.12, 0.98),
    "heel": (0.06, 0.98),
}


@dataclass(frozen=True)
class Walker:
    """Somebody who walks at constant velocity, swinging arms and legs."""

    start: tuple[float, float]
    velocity: tuple[float, float]
    height: float
    phase: float = 0.0

    def at(self, time: float, noise: float, random: np.random.Generator) -> Person2D:
        keypoints = np.ones((len(COCO23), 3))
        for row, joint in enumerate(COCO23.joints):
            side = -1 if joint.startswith("right_") else 1
            x, y = STANDING[joint.removeprefix("left_").removeprefix("right_")]
            swing = 0.12 * max(y - 0.3, 0) * np.sin(6 * time + self.phase) * side
            keypoints[row, :2] = (side * x + swing, y)
        keypoints[:, :2] *= self.height
        keypoints[:, :2] += np.add(self.start, np.multiply(self.velocity, time))
        keypoints[:, :2] += random.normal(0, noise * self.height, keypoints[:, :2].shape)
        low, high = keypoints[:, :2].min(0), keypoints[:, :2].max(0)
        return Person2D(np.concatenate([low, high]), keypoints, COCO23, 0.9)


CROSSING = [
    Walker((100, 200), (160, 0), 300),
    Walker((1000, 210), (-150, 0), 290, phase=1.5),
]


class Scene:
    """Detections of walkers, and who each of them was."""

    def __init__(self, walkers, fps, seconds, *, noise=0.01, misses=0.0, false_rate=0.0, seed=0):
        random = np.random.default_rng(seed)
        self.truth: dict[tuple[int, bytes], int | None] = {}
        self.detections = []
        for index in range(round(seconds * fps)):
            time = index / fps
            people = []
            for who, walker in enumerate(walkers):
                person = walker.at(time, noise, random)
                if random.random() >= misses:
                    self._note(index, person, who, people)
            if random.random() < false_rate:
                ghost = Walker(tuple(random.uniform(0, 800, 2)), (0, 0), random.uniform(50, 300))
                self._note(index, ghost.at(time, noise, random), None, people)
            random.shuffle(people)
            self.detections.append((index, time, people))

    def _note(self, index, person, who, people):
        self.truth[index, person.box.tobytes()] = who
        people.append(person)

    def without(self, who, frames):
        """The same scene in which `who` is not detected in these frames."""
        self.detections = [
            (index, time, [p for p in people if not (index in frames and self.is_(index, p, who))])
            for index, time, people in self.detections
        ]
        return self

    def is_(self, index, person, who):
        return self.truth[index, person.box.tobytes()] == who

    def owners(self, track: Track) -> Counter:
        return Counter(
            self.truth[int(frame), box.tobytes()]
            for frame, box in zip(track.frames, track.boxes, strict=True)
        )


def assert_identities(scene: Scene, tracks: list[Track], people: int, coverage: float = 1.0):
    owners = [scene.owners(track) for track in tracks]
    assert [len(owner) for owner in owners] == [1] * people, owners
    assert sorted(next(iter(owner)) for owner in owners) == list(range(people))
    for who in range(people):
        detected = sum(scene.is_(i, p, who) for i, _, ps in scene.detections for p in ps)
        followed = sum(owner[who] for owner in owners)
        assert followed >= coverage * detected


@pytest.mark.parametrize("fps", [6, 12.5, 30, 60])
@pytest.mark.parametrize("noise", [0.0, 0.015])
def test_people_who_cross_keep_their_identities(fps, noise):
    scene = Scene(CROSSING, fps, 6, noise=noise)
    assert_identities(scene, link(scene.detections), 2)


@pytest.mark.parametrize("fps", [8, 25, 60])
@pytest.mark.parametrize("seed", range(4))
def test_identities_survive_noise_misses_and_false_detections(fps, seed):
    walkers = [*CROSSING, Walker((500, 100), (20, 30), 200)]
    scene = Scene(walkers, fps, 6, noise=0.015, misses=0.15, false_rate=0.1, seed=seed)
    tracks = [track for track in link(scene.detections) if None not in scene.owners(track)]
    assert_identities(scene, tracks, 3, coverage=0.98)


@pytest.mark.parametrize("fps", [10, 30])
def test_the_one_behind_is_found_again_after_the_crossing(fps):
    meeting = 900 / 310
    hidden = range(round((meeting - 0.4) * fps), round((meeting + 0.4) * fps))
    scene = Scene(CROSSING, fps, 6).without(1, hidden)
    tracks = link(scene.detections)
    assert_identities(scene, tracks, 2)
    assert not set(hidden) & set(tracks[1].frames.tolist())


@pytest.mark.parametrize("fps", [10, 30, 60])
@pytest.mark.parametrize(("gap", "people"), [(1.2, 1), (2.5, 2)])
def test_patience_is_in_seconds(fps, gap, people):
    missing = range(round(2 * fps), round((2 + gap) * fps))
    scene = Scene([Walker((100, 100), (30, 0), 300)], fps, 6).without(0, missing)
    assert len(link(scene.detections, TrackerSettings(patience=1.5))) == people


def test_the_order_of_detections_within_a_frame_does_not_matter():
    scene = Scene(CROSSING, 25, 6, noise=0.02, misses=0.1, false_rate=0.2, seed=3)
    turned = [(index, time, people[::-1]) for index, time, people in scene.detections]
    for one, other in zip(link(scene.detections), link(turned), strict=True):
        assert one.person_id == other.person_id
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_array_equal(one.keypoints, other.keypoints)


def test_identities_do_not_depend_on_where_and_how_large_the_image_is():
    scene = Scene(CROSSING, 25, 6, noise=0.02, misses=0.1, false_rate=0.2, seed=5)
    moved = [
        (index, time + 7, [_transformed(person, 0.5, 300) for person in people])
        for index, time, people in scene.detections
    ]
    for one, other in zip(link(scene.detections), link(moved), strict=True):
        np.testing.assert_array_equal(one.frames, other.frames)
        np.testing.assert_allclose(one.boxes * 0.5 + 300, other.boxes)


def _transformed(person, scale, shift):
    keypoints = person.keypoints * (scale, scale, 1) + (shift, shift, 0)
    return Person2D(person.box * scale + shift, keypoints, person.skeleton, person.score)


def test_short_lived_detections_are_dropped():
    scene = Scene([CROSSING[0]], 30, 4)
    ghost = Walker((700, 600), (0, 0), 100).at(0, 0, np.random.default_rng(0))
    for index in (20, 21, 22):
        scene.detections[index][2].append(ghost)
    assert len(link(scene.detections)) == 1


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_clip_of_few_frames_yields_its_people(frames):
    scene = Scene(CROSSING, 30, frames / 30)
    assert [len(track) for track in link(scene.detections)] == [frames, frames]


def test_people_are_numbered_by_appearance_then_from_left_to_right():
    late = Walker((50, 50), (0, 0), 150)
    scene = Scene([CROSSING[1], CROSSING[0], late], 20, 3).without(2, range(10))
    tracks = link(scene.detections)
    assert [track.person_id for track in tracks] == [0, 1, 2]
    assert [next(iter(scene.owners(track))) for track in tracks] == [1, 0, 2]


def test_a_track_says_what_was_seen_and_when():
    scene = Scene([CROSSING[0]], 20, 2).without(0, {5, 6, 13})
    (track,) = link(scene.detections)
    seen = [(i, t, people[0]) for i, t, people in scene.detections if people]
    np.testing.assert_array_equal(track.frames, [i for i, _, _ in seen])
    np.testing.assert_array_equal(track.times, [t for _, t, _ in seen])
    np.testing.assert_array_equal(track.keypoints, [p.keypoints for _, _, p in seen])
    assert track.skeleton == COCO23


def test_frame_by_frame_is_the_same_as_all_at_once():
    scene = Scene(CROSSING, 15, 4, noise=0.02)
    tracker = Tracker()
    for index, time, people in scene.detections:
        tracker.update(Frame(index, time, np.zeros((2, 2, 3), np.uint8)), people)
    for one, other in zip(tracker.tracks(), link(scene.detections), strict=True):
        np.testing.assert_array_equal(one.boxes, other.boxes)


def test_nobody_at_all_is_no_error():
    assert link([]) == []
    assert link([(0, 0.0, []), (1, 0.1, [])]) == []


def test_frames_must_come_in_their_order():
    tracker = Tracker()
    tracker.add(3, 0.3, [])
    with pytest.raises(ValueError, match="does not follow"):
        tracker.add(2, 0.2, [])


def test_another_shot_gives_a_new_number_above_all() -> None:
    def person(number: int | None) -> Person2D:
        keypoints = np.ones((23, 3)) * (number or 50) * 9
        return Person2D(keypoints[[0, 0], :2].reshape(4), keypoints, COCO23, 1.0, number)

    tracker = Tracker()
    for frame in range(10):
        if frame == 5:
            tracker.cut()
        tracker.add(frame, frame / 10, [person(3), person(None), person(8)][: 3 - frame % 2])
    tracks = {track.person_id: track.frames.tolist() for track in tracker.tracks()}
    assert tracks[3] == [0, 1, 2, 3, 4] and tracks[8] == [0, 2, 4]
    assert sorted(tracks) == [3, 8, 9, 10, 11, 12]
