"""Who is who, corrected: everybody of one clip in, everybody out, in the order of their numbers.

What was seen in each frame (box, keypoints) stays as it is, bit by bit; only whom it belongs to
changes. Whoever is named must be there; all functions raise `InputError` else, and for whatever
would leave somebody of whom nothing was seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from temporal_hmr.editing.frame_times import FrameTimes
from temporal_hmr.errors import InputError
from temporal_hmr.motion import Track
from temporal_hmr.on_disk import copied, let_go, scratch

PREFERENCES = ("surer", "first")
"""Whose sighting counts where merged people were seen at once: that of the higher mean confidence
of keypoints, or that of whoever is named first."""
_MOST_TOLD = 3
"""Stretches of time that a message lists."""


def drop(tracks: Sequence[Track], people: Sequence[int]) -> list[Track]:
    """Without these people."""
    gone = {_named(tracks, person).person_id for person in people}
    return [track for track in tracks if track.person_id not in gone]


def rename(tracks: Sequence[Track], numbers: Mapping[int, int]) -> list[Track]:
    """The people with other numbers, all at once: `{2: 7, 7: 2}` exchanges them."""
    for person in numbers:
        _named(tracks, person)
    renamed = [
        replace(track, person_id=numbers.get(track.person_id, track.person_id)) for track in tracks
    ]
    given = [track.person_id for track in renamed]
    for number in given:
        if given.count(number) > 1:
            raise InputError(
                f"two people would have the number {number}: give the other one another, or make "
                "them one with --merge"
            )
    return _in_order(renamed)


def merge(
    tracks: Sequence[Track],
    people: Sequence[int],
    prefer: str | None = None,
    clock: FrameTimes | None = None,
) -> list[Track]:
    """These people as one, who has the number of the first.

    `prefer` says whose sighting counts in frames in which several were seen (`PREFERENCES`); None
    raises `InputError` if there are any. `clock` knows the frames between them; None takes it from
    the tracks.
    """
    clock = clock or FrameTimes.of(tracks)
    if len(set(people)) < 2 or len(set(people)) < len(people):
        raise InputError(f"to merge takes two people or more, not {_listed(people)}")
    parts = [_named(tracks, person) for person in people]
    if prefer is None:
        _refuse_overlap(parts, clock)
    together = _joined(parts)
    if prefer == "surer":
        rank = -together.keypoints[..., 2].mean(1)
    else:
        rank = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    order = np.lexsort((rank, together.frames))
    _, chosen = np.unique(together.frames[order], return_index=True)
    whole = _spanning(_rows(together, order[chosen]), clock)
    return _in_order([whole, *(each for each in tracks if each.person_id not in people)])


def split(
    tracks: Sequence[Track], person: int, frame: int, clock: FrameTimes | None = None
) -> list[Track]:
    """One person as two, of whom the second begins with the first sight at that frame or after it.

    They get the next number after the highest.
    """
    clock = clock or FrameTimes.of(tracks)
    track = _named(tracks, person)
    later = track.frames >= frame
    if later.all() or not later.any():
        raise InputError(
            f"person {person} is seen {_when(track.frames, clock)}: nothing is on one side of "
            f"frame {frame}"
        )
    number = max(each.person_id for each in tracks) + 1
    first = _spanning(_rows(track, ~later), clock)
    second = _spanning(replace(_rows(track, later), person_id=number), clock)
    others = [each for each in tracks if each.person_id != person]
    return _in_order([first, second, *others])


def swap(
    tracks: Sequence[Track],
    people: tuple[int, int],
    frames: tuple[int, int],
    clock: FrameTimes | None = None,
) -> list[Track]:
    """Two people exchanged from one frame to another, both included."""
    clock = clock or FrameTimes.of(tracks)
    if people[0] == people[1]:
        raise InputError(f"to swap takes two people, not {people[0]} and {people[1]}")
    pair = [_named(tracks, person) for person in people]
    first, last = frames
    within = [(track.frames >= first) & (track.frames <= last) for track in pair]
    if not (within[0].any() or within[1].any()):
        raise InputError(
            f"neither of {_listed(people)} is seen in frames {first} to {last}: person {people[0]} "
            f"is {_when(pair[0].frames, clock)}, person {people[1]} {_when(pair[1].frames, clock)}"
        )
    swapped = []
    for own, other in ((0, 1), (1, 0)):
        kept, taken = _rows(pair[own], ~within[own]), _rows(pair[other], within[other])
        if not (len(kept) or len(taken)):
            raise InputError(
                f"nothing would be left of person {people[own]}: use --rename or --merge instead"
            )
        both = _joined([kept, taken])
        swapped.append(_spanning(_rows(both, np.argsort(both.frames)), clock))
    others = [each for each in tracks if each.person_id not in people]
    return _in_order([*swapped, *others])


def same_sightings(first: Track, second: Track) -> bool:
    """Whether the same was seen of both, whatever their numbers."""
    names = ("frames", "times", "boxes", "keypoints")
    same = first.skeleton == second.skeleton and all(
        np.array_equal(getattr(first, name), getattr(second, name)) for name in names
    )
    let_go(first.keypoints, second.keypoints)
    return same


def _named(tracks: Sequence[Track], person: int) -> Track:
    for track in tracks:
        if track.person_id == person:
            return track
    there = ", ".join(str(track.person_id) for track in tracks) or "none"
    raise InputError(f"there is no person {person}; the people in this result are {there}")


def _in_order(tracks: Sequence[Track]) -> list[Track]:
    return sorted(tracks, key=lambda track: track.person_id)


def _rows(track: Track, rows: Bool[ndarray, "T"] | Int[ndarray, "n"]) -> Track:
    """Some of its sightings; the keypoints on the disk."""
    arrays = {name: getattr(track, name)[rows] for name in ("frames", "times", "boxes")}
    keypoints = copied(track.keypoints[rows], scratch())
    let_go(track.keypoints)
    return replace(track, **arrays, keypoints=keypoints)


def _joined(parts: Sequence[Track]) -> Track:
    """The sightings of all of them one after the other, by the name of the first."""
    if any(part.skeleton != parts[0].skeleton for part in parts):
        names = ", ".join(f"{part.person_id} of {part.skeleton.name}" for part in parts)
        raise InputError(f"people of unlike keypoints cannot become one: {names}")
    names = ("frames", "times", "boxes", "keypoints")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    arrays["keypoints"] = copied(arrays["keypoints"], scratch())
    return replace(parts[0], **arrays)


def _spanning(track: Track, clock: FrameTimes) -> Track:
    """The track, who knows the frames between its sightings from the clock."""
    frames, times = clock.span(int(track.frames[0]), int(track.frames[-1]))
    return replace(track, looked_at=frames, looked_at_times=times)


def _refuse_overlap(parts: Sequence[Track], clock: FrameTimes) -> None:
    for number, one in enumerate(parts):
        for other in parts[:number]:
            both = np.intersect1d(one.frames, other.frames)
            if len(both):
                raise InputError(
                    f"person {other.person_id} and person {one.person_id} are both seen "
                    f"{_when(both, clock)}: say whom to believe with --prefer surer or --prefer "
                    "first"
                )


def _when(frames: Int[ndarray, "n"], clock: FrameTimes) -> str:
    stretches = clock.stretches(frames)
    told = [
        f"from {clock.time(first):.2f} to {clock.time(last):.2f} s (frames {first} to {last})"
        for first, last in stretches[:_MOST_TOLD]
    ]
    more = len(stretches) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")


def _listed(people: Sequence[int]) -> str:
    return ", ".join(str(person) for person in people)
