"""Who is who, corrected on tracks: against oracles that go frame by frame."""

from dataclasses import replace

import numpy as np
import pytest

from temporal_hmr.editing import FrameTimes, drop, merge, rename, split, swap
from temporal_hmr.editing.steps import KINDS, step_of
from temporal_hmr.editing.tracks import same_sightings
from temporal_hmr.errors import InputError
from temporal_hmr.motion import Track
from temporal_hmr.skeleton import COCO17, COCO23
from temporal_hmr.tracking import choose_people

FPS = 25.0


def track(number: int, frames, looked_at=None, seed: int = 0) -> Track:
    frames = np.asarray(frames)
    random = np.random.default_rng([number, seed])
    looked_at = np.arange(frames[0], frames[-1] + 1) if looked_at is None else np.asarray(looked_at)
    keypoints = random.uniform(0.1, 1, (len(frames), len(COCO23), 3)).astype(np.float32)
    boxes = random.uniform(0, 90, (len(frames), 4)).astype(np.float32)
    times = frames / FPS
    return Track(number, frames, times, boxes, keypoints, COCO23, looked_at, looked_at / FPS)


def crowd(seed: int) -> list[Track]:
    """Three people who come and go, in 40 frames."""
    random = np.random.default_rng(seed)
    seen = random.random((3, 40)) < 0.7
    return [track(number, np.flatnonzero(row), seed=seed) for number, row in enumerate(seen)]


def sightings(tracks: list[Track]) -> dict[tuple[int, int], bytes]:
    """By person and frame, what was seen."""
    return {
        (each.person_id, int(frame)): box.tobytes() + points.tobytes() + time.tobytes()
        for each in tracks
        for frame, time, box, points in zip(
            each.frames, each.times, each.boxes, each.keypoints, strict=True
        )
    }


def whole(tracks: list[Track]) -> bool:
    """Everything that a track promises."""
    for each in tracks:
        assert (np.diff(each.frames) > 0).all() and np.isin(each.frames, each.looked_at).all()
        assert each.looked_at is not None and each.looked_at_times is not None
        assert each.looked_at[[0, -1]].tolist() == each.frames[[0, -1]].tolist()
        np.testing.assert_allclose(each.looked_at_times, each.looked_at / FPS, atol=1e-12)
    numbers = [each.person_id for each in tracks]
    return numbers == sorted(set(numbers))


def same(first: list[Track], second: list[Track]) -> bool:
    return whole(first) and sightings(first) == sightings(second)


@pytest.mark.parametrize("seed", range(5))
class TestLaws:
    def test_a_swap_goes_frame_by_frame_and_undoes_itself(self, seed) -> None:
        tracks = crowd(seed)
        swapped = swap(tracks, (0, 2), (10, 24))
        other = {0: 2, 2: 0, 1: 1}
        expected = {
            (other[person] if 10 <= frame <= 24 else person, frame): what
            for (person, frame), what in sightings(tracks).items()
        }
        assert whole(swapped) and sightings(swapped) == expected
        assert same(swap(swapped, (0, 2), (10, 24)), tracks)
        assert same(swap(swapped, (2, 0), (10, 24)), tracks)

    def test_split_and_merged_again(self, seed) -> None:
        tracks = crowd(seed)
        parts = split(tracks, 1, 20)
        assert [each.person_id for each in parts] == [0, 1, 2, 3]
        expected = {
            (3 if person == 1 and frame >= 20 else person, frame): what
            for (person, frame), what in sightings(tracks).items()
        }
        assert whole(parts) and sightings(parts) == expected
        again = merge(parts, [1, 3])
        assert same(again, tracks)
        for one, other in zip(again, tracks, strict=True):
            assert same_sightings(one, other)
            np.testing.assert_array_equal(one.looked_at, other.looked_at)

    @pytest.mark.parametrize("prefer", ["surer", "first"])
    def test_merging_those_seen_at_once(self, seed, prefer) -> None:
        tracks = crowd(seed)
        merged = merge(tracks, [2, 0], prefer)
        of = {each.person_id: each for each in tracks}

        def sure(person: int, frame: int) -> float:
            row = of[person].frames.tolist().index(frame)
            return -of[person].keypoints[row, :, 2].mean() if prefer == "surer" else -person

        told = sightings(tracks)
        expected = {key: what for key, what in told.items() if key[0] == 1}
        for frame in range(40):
            there = [person for person in (2, 0) if (person, frame) in told]
            if there:
                best = min(there, key=lambda person: sure(person, frame))
                expected[2, frame] = told[best, frame]
        assert whole(merged) and sightings(merged) == expected

    def test_numbers_exchanged_twice_and_people_dropped(self, seed) -> None:
        tracks = crowd(seed)
        renamed = rename(tracks, {0: 2, 2: 0, 1: 7})
        assert [each.person_id for each in renamed] == [0, 2, 7]
        assert renamed[0].keypoints is tracks[2].keypoints
        assert same(rename(renamed, {0: 2, 2: 0, 7: 1}), tracks)
        assert drop(tracks, [0, 2]) == [tracks[1]]


class TestClock:
    def test_frames_between_are_those_that_others_know(self) -> None:
        """Frame 13 could not be decoded, and nobody was there in frames 20 to 29."""
        witness = track(5, [2, 19], [n for n in range(2, 20) if n != 13])
        tracks = [track(0, range(8)), track(1, range(16, 19)), track(2, [30, 31]), witness]
        (merged, _) = merge(tracks, [0, 1, 2])
        assert merged.looked_at is not None
        assert merged.looked_at.tolist() == [n for n in range(32) if n != 13]
        assert merged.frames.tolist() == [*range(8), 16, 17, 18, 30, 31]

    def test_of_clips_of_which_every_third_frame_was_looked_at(self) -> None:
        tracks = [track(0, [1, 4, 7], [1, 4, 7]), track(1, [16, 19], [16, 19])]
        (merged,) = merge(tracks, [0, 1], clock=FrameTimes.of(tracks, stride=3))
        assert merged.looked_at is not None and merged.looked_at.tolist() == list(range(1, 20, 3))

    def test_tracks_that_do_not_tell_what_was_looked_at(self) -> None:
        plain = replace(track(0, [0, 1, 5]), looked_at=None, looked_at_times=None)
        first, second = split([plain], 0, 3)
        assert first.frames.tolist() == [0, 1] and second.frames.tolist() == [5]

    @pytest.mark.parametrize(
        ("word", "frame"), [("3.2", 80), ("f80", 80), ("3.1999", 80), ("3.21", 81), ("3", 75)]
    )
    def test_moments(self, word, frame) -> None:
        """80 / 25 is not quite 3.2, as times in files are not."""
        one = replace(track(1, range(100)), times=np.arange(100) / FPS + 4e-16)
        clock = FrameTimes.of([one])
        _, second = step_of("split", [f"1@{word}"]).change([one], clock)
        assert second.frames[0] == frame

    def test_ends_of_a_swap_are_part_of_it(self) -> None:
        tracks = [track(0, range(50)), track(1, range(100, 150))]
        clock = FrameTimes.of(tracks)
        for words, expected in (
            ("1@0.4-0.8", range(10, 21)),
            ("1@f10-f20", range(10, 21)),
            ("1@1.6-", range(40, 150)),
            ("1@-f3", range(4)),
            ("1@.4-.41", [10]),
        ):
            moved = step_of("swap", ["0", words]).change(list(tracks), clock)[1].frames
            assert [n for n in moved if n < 50] == [n for n in expected if n < 50]


class TestRefuses:
    def test_people_seen_at_once_with_their_times(self) -> None:
        tracks = [track(0, range(50)), track(1, [*range(10, 21), 40])]
        with pytest.raises(InputError) as refused:
            merge(tracks, [0, 1])
        said = str(refused.value)
        assert "0.40 to 0.80 s (frames 10 to 20), from 1.60 to 1.60 s (frames 40 to 40)" in said
        assert "--prefer surer" in said
        interleaved = [track(0, [0, 1, 8, 9]), track(1, [3, 4, 5])]
        assert len(merge(interleaved, [0, 1])) == 1, "nobody is seen twice in a frame"

    @pytest.mark.parametrize(
        ("kind", "words", "said"),
        [
            ("drop", ["9"], "there is no person 9; the people in this result are 0, 1"),
            ("drop", ["out/walk"], "the folder stands first"),
            ("drop", ["²"], "numbers of people"),
            ("rename", ["0=1"], "two people would have the number 1"),
            ("rename", ["0=3", "0=4"], "two numbers"),
            ("rename", ["0-3"], "pairs of numbers like 2=7"),
            ("rename", ["8=3"], "there is no person 8"),
            ("merge", ["0"], "two people or more"),
            ("merge", ["0", "0"], "two people or more"),
            ("merge", ["0", "8"], "there is no person 8"),
            ("split", ["1@0"], "nothing is on one side of frame 0"),
            ("split", ["1@99"], "person 1 is seen from 0.40 to 1.16 s (frames 10 to 29)"),
            ("split", ["1@nan"], "1@12.5 or 1@f375"),
            ("split", ["1"], "1@12.5 or 1@f375"),
            ("split", ["7@0.5"], "there is no person 7"),
            ("swap", ["0", "1"], "from when to when"),
            ("swap", ["0", "1@-"], "from when to when"),
            ("swap", ["0", "1@2-1"], "there is no frame from 2 to 1"),
            ("swap", ["0", "1@9-10"], "there is no frame from 9 to 10"),
            ("swap", ["0", "0@0-1"], "two people, not 0 and 0"),
            ("swap", ["0", "1@f900-f910"], "neither of 0, 1 is seen"),
            ("swap", ["0", "6@0-1"], "there is no person 6"),
        ],
    )
    def test_words_that_make_no_sense(self, kind, words, said) -> None:
        tracks = [track(0, range(20)), track(1, range(10, 30))]
        with pytest.raises(InputError) as refused:
            step_of(kind, words).change(tracks, FrameTimes.of(tracks))
        assert said in str(refused.value) and "\n" not in str(refused.value)
        assert kind in KINDS

    def test_nobody_is_emptied_and_nobody_gets_keypoints_of_another_kind(self) -> None:
        tracks = [track(0, range(5, 10)), track(1, range(20))]
        with pytest.raises(InputError, match="nothing would be left of person 1"):
            swap([track(0, [30]), track(1, range(6, 8))], (0, 1), (0, 20))
        few = replace(tracks[0], skeleton=COCO17, keypoints=tracks[0].keypoints[:, :17])
        with pytest.raises(InputError, match="0 of COCO17, 1 of COCO23"):
            merge([few, track(1, range(30, 40))], [0, 1])


def test_longest_is_who_is_seen_in_most_frames() -> None:
    """Not who is there from first to last."""
    tracks = [track(3, [0, 100]), track(5, range(40, 70)), track(8, range(20))]
    assert [each.person_id for each in choose_people(tracks, "longest")] == [5]
    assert choose_people([], "longest") == []
