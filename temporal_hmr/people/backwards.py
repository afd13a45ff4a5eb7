"""Back in time from where somebody was found: people are there before a detector sees them.

Who is small, or close to somebody else, is found late, and found anew late after something hid
them. But where a body lies in one frame tells where it is in the next, the one before it as well as
the one after it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from temporal_hmr.motion import Person2D, Track
from temporal_hmr.on_disk import copied
from temporal_hmr.people.blazepose import Region
from temporal_hmr.people.outlines import Outline, without_others
from temporal_hmr.people.reading import likeness, near, region_around
from temporal_hmr.video import Clip, Frame


@dataclass(frozen=True)
class BackwardSettings:
    """How far back people are followed."""

    longest: float = 2.0
    """Seconds at most before a sight."""
    least_confidence: float = 0.5
    """Mean confidence that the 17 joints of COCO must reach: more than where a detector says that
    there is somebody."""
    same_person: float = 0.4
    """Poses of one frame, or of two neighbours, at least this alike (OKS) are one person."""
    bytes_at_once: int = 64 << 20
    """Of images that are held."""


@dataclass(frozen=True, eq=False)
class Body:
    """Somebody read in an image."""

    person: Person2D
    region: Region
    """Where the body lies."""
    sureness: float
    """Mean confidence of COCO's 17 joints."""


@runtime_checkable
class BodyReader(Protocol):
    """Reads bodies whose place in an image is known."""

    def read_body(self, image: UInt8[ndarray, "H W 3"], region: Region) -> Body | None:
        """The body at a region, None if there is none."""
        ...


def follow_back(
    tracks: Sequence[Track],
    clip: Clip,
    looked_at: tuple[Int[ndarray, "N"], Float[ndarray, "N"]],
    cuts: Int[ndarray, "C"],
    reader: BodyReader,
    folder: Path | None = None,
    settings: BackwardSettings = BackwardSettings(),
) -> list[Track]:
    """The tracks with what could be read of them in the frames before each of their sights.

    `looked_at` are the numbers of all the clip's frames that were looked at, and their times in
    seconds. Nobody is followed into an earlier shot, or past frames that cannot be read; `cuts`
    are the numbers of frames that begin a shot. Who turns out to be somebody whom another track
    lost before becomes one with them; people are numbered from 0 then, in the order that they had.
    New keypoints lie in files of the folder.
    """
    frames, times = looked_at
    begins = np.union1d(cuts, np.array(clip.damaged, int) + 1).astype(int)
    trails = [t for track in tracks for t in _trails(track, frames, times, begins, settings)]
    company = _Company(tracks, trails, frames)
    at_once = max(settings.bytes_at_once // (3 * clip.width * clip.height), 1)
    waiting: dict[int, list[_Trail]] = {}
    for trail in trails:
        waiting.setdefault(trail.position, []).append(trail)
    while waiting:
        last = max(waiting)
        soon = [each for place in waiting if place > last - at_once for each in waiting[place]]
        first = max(last + 1 - at_once, min(trail.least for trail in soon))
        # A ten thousandth of a second is less than what lies between two frames.
        part = clip.with_range(times[first], times[last] + 1e-4)
        part.damaged = clip.damaged  # has been told
        shown = {frame.index: frame for frame in part}
        for position in range(last, first - 1, -1):
            for trail in waiting.pop(position, []):
                trail.go_on(shown.get(int(frames[position])), reader, company)
                if trail.going:
                    waiting.setdefault(trail.position, []).append(trail)
    return _joined(tracks, trails, looked_at, folder)


@dataclass(eq=False)
class _Trail:
    """Somebody followed back from one sight."""

    track: Track
    sight: Person2D
    position: int
    """Of the frame to be read next among those looked at; at first that of the sight itself."""
    least: int
    """Position of the first frame that may be read."""
    before: Person2D | None
    """The sight that is met when all the frames since have been read."""
    settings: BackwardSettings
    found: dict[int, Person2D] = field(default_factory=dict)
    """By number of frame."""
    met: Track | None = None
    """Who was lost where the trail leads to."""
    going: bool = True
    _body: Body | None = None

    def go_on(self, frame: Frame | None, reader: BodyReader, company: "_Company") -> None:
        """Read the next frame back; `going` is then whether there is another."""
        last = self._body
        start = region_around(self.sight.box) if last is None else last.region
        body = None
        if frame is not None:
            image = frame.image
            if last is not None:
                others = [Outline.of(there) for _, there in company.others(frame.index, self)]
                image = without_others(image, Outline.of(last.person), others)
            body = reader.read_body(image, start)
        self._body, self.going = body, False
        if frame is None or body is None:
            return
        if last is None:
            self.going = likeness(body.person, self.sight) >= self.settings.same_person
            self.position -= 1
            return
        if body.sureness < self.settings.least_confidence or not near(last.region, body.region):
            return
        for other, there in company.others(frame.index, self):
            if likeness(body.person, there) >= self.settings.same_person:
                self.met = other if other.frames[-1] < self.track.frames[0] else None
                return
        self.found[frame.index] = body.person
        self.position -= 1
        self.going = self.position >= self.least
        if not self.going and self.before is not None:
            self._close_gap(body.person, self.before)

    def _close_gap(self, first: Person2D, before: Person2D) -> None:
        if likeness(first, before) < self.settings.same_person:
            self.found.clear()


class _Company:
    """Everybody who is known to be in a frame."""

    def __init__(
        self, tracks: Sequence[Track], trails: Sequence[_Trail], frames: Int[ndarray, "N"]
    ) -> None:
        self._tracks = tracks
        self._trails: dict[int, list[_Trail]] = {track.person_id: [] for track in tracks}
        for trail in trails:
            self._trails[trail.track.person_id].append(trail)
        first = [
            min([track.frames[0], *(frames[each.least] for each in self._trails[track.person_id])])
            for track in tracks
        ]
        # Of an hour's thousand people few are in one frame.
        self._first, self._last = np.array(first), np.array([each.frames[-1] for each in tracks])

    def others(self, frame: int, trail: _Trail) -> Iterator[tuple[Track, Person2D]]:
        """Who else than a trail's own is there, and how."""
        near_in_time = (self._first <= frame) & (frame <= self._last)
        for number in np.flatnonzero(near_in_time).tolist():
            track = self._tracks[number]
            if track is not trail.track:
                there = _sight(track, frame) or self._found(track, frame)
                if there is not None:
                    yield track, there

    def _found(self, track: Track, frame: int) -> Person2D | None:
        found = (trail.found.get(frame) for trail in self._trails[track.person_id])
        return next((person for person in found if person is not None), None)


def _trails(
    track: Track,
    frames: Int[ndarray, "N"],
    times: Float[ndarray, "N"],
    begins: Int[ndarray, "B"],
    settings: BackwardSettings,
) -> Iterator[_Trail]:
    """One for the first sight of a track, and for the first after each gap.

    Nobody is followed past the frames whose numbers are `begins`.
    """
    positions = np.searchsorted(frames, track.frames).tolist()
    stops = np.searchsorted(frames, begins)
    for earlier, position in pairwise([-1, *positions]):
        least = int(np.searchsorted(times, times[position] - settings.longest))
        least = max([least, earlier + 1, *stops[stops <= position].tolist()[-1:]])
        if position - 1 >= least:
            sight = _sight(track, int(frames[position]))
            assert sight is not None, "it is one of the track's"
            closes = earlier >= 0 and least == earlier + 1
            before = _sight(track, int(frames[earlier])) if closes else None
            yield _Trail(track, sight, position, least, before, settings)


def _sight(track: Track, frame: int) -> Person2D | None:
    row = int(np.searchsorted(track.frames, frame))
    if row == len(track) or track.frames[row] != frame:
        return None
    return Person2D(track.boxes[row], track.keypoints[row], track.skeleton, 1.0)


def _joined(
    tracks: Sequence[Track],
    trails: Sequence[_Trail],
    looked_at: tuple[Int[ndarray, "N"], Float[ndarray, "N"]],
    folder: Path | None,
) -> list[Track]:
    parts: dict[int, list[Track]] = {track.person_id: [track] for track in tracks}
    owner = {track.person_id: track.person_id for track in tracks}
    # From the last to the first, so that a chain of parts ends with the first of them.
    met = [(t.track, t.met) for t in trails if t.met is not None]
    for track, other in sorted(met, key=lambda pair: -pair[0].frames[0]):
        one, into = owner[track.person_id], owner[other.person_id]
        if one == track.person_id and parts[into][-1].frames[-1] < track.frames[0]:
            parts[into] += parts.pop(one)
            owner |= {n: into for n, now in owner.items() if now == one}
    added: dict[int, dict[int, Person2D]] = {person_id: {} for person_id in parts}
    for trail in trails:
        added[owner[trail.track.person_id]] |= trail.found
    if len(parts) == len(tracks) and not any(added.values()):
        return list(tracks)
    return [
        _extended(replace(of[0], person_id=number), of, added[person_id], looked_at, folder)
        for number, (person_id, of) in enumerate(sorted(parts.items()))
    ]


def _extended(
    track: Track,
    parts: list[Track],
    found: dict[int, Person2D],
    looked_at: tuple[Int[ndarray, "N"], Float[ndarray, "N"]],
    folder: Path | None,
) -> Track:
    """One track of its parts and of what was found besides."""
    if len(parts) == 1 and not found:
        return track
    numbers = np.concatenate([*(part.frames for part in parts), np.array(list(found), int)])
    boxes = np.concatenate([part.boxes for part in parts])
    keypoints = np.concatenate([part.keypoints for part in parts])
    if found:
        boxes = np.concatenate([boxes, np.stack([one.box for one in found.values()])])
        keypoints = np.concatenate([keypoints, np.stack([one.keypoints for one in found.values()])])
    numbers, rows = np.unique(numbers, return_index=True)
    frames, times = looked_at
    positions = np.searchsorted(frames, numbers)
    span = slice(positions[0], positions[-1] + 1)
    return replace(
        track,
        frames=numbers,
        times=times[positions],
        boxes=boxes[rows].astype(track.boxes.dtype),
        keypoints=copied(keypoints[rows].astype(track.keypoints.dtype), folder),
        looked_at=frames[span],
        looked_at_times=times[span],
    )
