"""Everybody in every frame, with BlazePose: detected anew and followed from frame to frame."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.motion import Person2D
from temporal_hmr.people.blazepose import BlazePose, ImagePacket, Landmarks, Region
from temporal_hmr.people.reading import (
    agree,
    close_up,
    likeness,
    person_from,
    read_settled,
    sureness,
    weighed,
)
from temporal_hmr.video import Frame


@dataclass(frozen=True)
class DetectionSettings:
    """What counts as a person."""

    least_confidence: float = 0.3
    """Mean confidence that the 17 joints of COCO must reach."""
    same_person: float = 0.4
    """Poses of one frame at least this alike (OKS) are one person; the surer one stays."""
    part_of_person: float = 0.6
    """Share of a body's box within a larger one from which it is taken for a part of that one.

    Only where the body was seen in a tile and never in the whole frame."""
    tile_shares: tuple[float, ...] = (1.0, 0.6)
    """Sides of the square tiles searched besides the whole frame, over its short side."""
    beside: float = 1.6
    """Side of the square searched for company around somebody, over their own extent."""
    follow_for: float = 0.5
    """Seconds between two frames beyond which nobody is followed from one to the other."""
    looks_apart: float = 0.03
    """Seconds at least from one look for others to the next while there is somebody: 30 a second
    are enough of any video."""
    whole_looks_apart: float = 0.1
    """The same of looks at the whole frame, which seldom shows anybody whom it did not show before.
    """
    mirrored: bool = True
    """Whether those who are followed are read in the frame's mirror image, too, and keypoints that
    are elsewhere there are believed less: twice the work, for two cores at a time."""


_Square = tuple[int, int, int] | None
"""A part of the image (x, y, side in px) to look at; None is the whole frame."""
_Seen = tuple[Region, UInt8[ndarray, "H W 3"] | None]
"""Where a body is; the image that shows it where it was not seen in the whole frame."""


class MediapipePeople:
    """Finds the people in the frames of one clip, given in their order.

    Who was read in the last frame is looked for at the same place, as BlazePose itself does. For
    others the detector looks at the whole frame, then at one of the tiles that cover it, then at
    the whole frame again, then around somebody who is painted out, as of two people close together
    it reports one: a frame for each, less often where frames follow closely, and all at once while
    there is nobody. Use as a context manager, or `close` it.
    """

    def __init__(self, settings: DetectionSettings = DetectionSettings()) -> None:
        """Raises `InputError` if mediapipe is missing."""
        self._settings = settings
        self._blazepose = BlazePose()
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="looking")
        self._in_mirror = BlazePose() if settings.mirrored else None
        self._mirroring = ThreadPoolExecutor(1, thread_name_prefix="mirroring")
        self._now = 0.0
        self.restore(None)

    def __enter__(self) -> "MediapipePeople":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the networks; closing twice does nothing."""
        self._looking.shutdown()
        self._mirroring.shutdown()
        self._blazepose.close()
        if self._in_mirror is not None:
            self._in_mirror.close()

    def state(self) -> dict[str, Any]:
        """What is taken from frame to frame, in words and numbers that JSON knows."""
        followed = [
            (float(region.x), float(region.y), float(region.size), float(region.rotation), whole)
            for region, whole in self._followed
        ]
        looks = {"looks": self._looks, "looked": self._looked, "whole": self._looked_at_whole}
        return {"followed": followed, "time": self._last_time, **looks}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on as after the frame of that state; from None as at the beginning of a clip."""
        told = state or {}
        self._followed = [(Region(*region), whole) for *region, whole in told.get("followed", [])]
        self._last_time: float | None = told.get("time")
        self._looks = told.get("looks", 0)
        self._looked, self._looked_at_whole = (
            told.get(look, _LONG_AGO) for look in ("looked", "whole")
        )

    def people(self, frame: Frame) -> list[Person2D]:
        """The people in the next frame, skeleton BLAZEPOSE23, surest first.

        The frame is taken for the start of another clip if its time does not follow shortly upon
        the last one's.
        """
        last = self._last_time
        if last is None or not 0 < frame.time - last <= self._settings.follow_for:
            self.restore(None)
        self._last_time = self._now = frame.time

        packet = ImagePacket.of(frame.image)
        mirrored = self._mirroring.submit(self._read_mirrored, frame.image)
        try:
            found = self._readings(frame.image, packet)
        finally:
            wait([mirrored])
        kept = self._distinct(found)
        in_mirror = mirrored.result()
        self._followed = [(reading.landmarks.region, reading.whole) for reading in kept]
        return [reading.weighed(in_mirror) for reading in kept]

    def _read_mirrored(self, image: UInt8[ndarray, "H W 3"]) -> list[Person2D | None]:
        """Those who are followed, as they are read in the frame's mirror image."""
        if self._in_mirror is None or not self._followed:
            return [None for _ in self._followed]
        packet = ImagePacket.of(image, mirrored=True)
        found = [self._in_mirror.read(packet, region) for region, _ in self._followed]
        return [None if each is None else person_from(each, image.shape) for each in found]

    def _readings(self, image: UInt8[ndarray, "H W 3"], packet: ImagePacket) -> list["_Reading"]:
        """Bodies read where they were in the last frame, and where the detector sees new ones."""
        found, early = self._followed_and_first_look(image, packet)
        company = [reading.person for reading in found]
        for region, shown in self._detect(image, packet, company, early):
            if any(agree(region, known.landmarks.region) for known in found):
                continue
            landmarks = read_settled(self._blazepose, packet, region)
            whole = shown is None
            if landmarks is not None and (whole or self._confirmed(shown, landmarks.region)):
                found.append(_Reading(landmarks, person_from(landmarks, image.shape), whole))
        return found

    def _followed_and_first_look(
        self, image: UInt8[ndarray, "H W 3"], packet: ImagePacket
    ) -> tuple[list["_Reading"], dict[_Square, list[_Seen]]]:
        """Bodies read where they were, and what the detector sees in its first square meanwhile.

        One network at a time leaves a core idle. The square is that of a frame in which somebody is
        still there, which is nearly always so.
        """
        squares = self._squares(image.shape, bool(self._followed)) if self._followed else []
        looks = {
            square: self._looking.submit(self._look, image, packet, square)
            for square in squares[:1]
        }
        try:
            found = [self._blazepose.read(packet, region) for region, _ in self._followed]
        finally:
            wait(looks.values())  # the detector has no two looks at a time
        early = {square: look.result() for square, look in looks.items()}
        readings = [
            _Reading(landmarks, person_from(landmarks, image.shape), whole, place)
            for place, (landmarks, (_, whole)) in enumerate(zip(found, self._followed, strict=True))
            if landmarks is not None
        ]
        return readings, early

    def _detect(
        self,
        image: UInt8[ndarray, "H W 3"],
        packet: ImagePacket,
        company: list[Person2D],
        early: dict[_Square, list[_Seen]],
    ) -> Iterator[_Seen]:
        """What the detector sees in this frame; `early` is what it has seen there already."""
        squares = self._squares(image.shape, bool(company))
        for square in squares:
            yield from early[square] if square in early else self._look(image, packet, square)
        turn, looking = self._looks, not company or self._rested()
        if company and looking and turn % 4 == 3:
            person = company[turn // 4 % len(company)]
            painted = _painted_out(image, company)
            side = max(int(self._settings.beside * (person.box[2:] - person.box[:2]).max()), 1)
            x, y = ((person.box[:2] + person.box[2:] - side) / 2).astype(int).tolist()
            yield from self._look(painted, packet, (x, y, side))
        if looking:
            self._looks, self._looked = turn + 1, self._now
        if None in squares:
            self._looked_at_whole = self._now

    def _squares(self, shape: tuple[int, ...], company: bool) -> list[_Square]:
        """Where to look for others in this frame, besides around somebody who is painted out."""
        turn, whole = self._looks, self._now - self._looked_at_whole
        if company and turn and turn % 2 == 0:
            rested = self._rested() and whole >= self._settings.whole_looks_apart
            return [None] if rested else []
        if company and (turn % 4 == 3 or not self._rested()):
            return []
        tiles = _tiles(shape[1], shape[0], self._settings.tile_shares)
        if turn and tiles:
            tiles = [tiles[turn // (4 if company else 1) % len(tiles)]]
        return [*tiles] if turn % 2 and company else [None, *tiles]

    def _rested(self) -> bool:
        """Whether the last look for others is long enough ago."""
        return self._now - self._looked >= self._settings.looks_apart

    def _look(
        self, image: UInt8[ndarray, "H W 3"], packet: ImagePacket, square: _Square
    ) -> list[_Seen]:
        """What the detector sees in a square of an image; `packet` is that of the whole frame."""
        if square is None:
            return [(region, None) for region in self._blazepose.detect(packet)]
        x, y, side = square
        middle = Region(x + side / 2, y + side / 2, side, 0.0)
        shown, x, y = close_up(image, middle, 1.0)
        return [
            (Region(region.x + x, region.y + y, region.size, region.rotation), image)
            for region in self._blazepose.detect(ImagePacket.of(shown))
        ]

    def _confirmed(self, image: UInt8[ndarray, "H W 3"], region: Region) -> bool:
        """Whether the detector, shown little but the body, sees it again.

        In a tile it takes a hand or a foot for a body now and then, but hardly so close up.
        """
        if region.size > 2 * max(image.shape):
            return False
        for closeness in (1.0, 1.3):
            shown, x, y = close_up(image, region, closeness)
            for again in self._blazepose.detect(ImagePacket.of(shown)):
                if agree(Region(again.x + x, again.y + y, again.size, again.rotation), region):
                    return True
        return False

    def _distinct(self, found: list["_Reading"]) -> list["_Reading"]:
        """Without the unlikely ones, and without the less sure one of two that are one person."""
        kept: list[_Reading] = []
        for reading in sorted(found, key=lambda each: (each.whole, each.sureness), reverse=True):
            likely = reading.sureness >= self._settings.least_confidence
            if likely and not any(self._same(reading, other) for other in kept):
                kept.append(reading)
        return kept

    def _same(self, reading: "_Reading", surer: "_Reading") -> bool:
        if likeness(reading.person, surer.person) >= self._settings.same_person:
            return True
        # In a tile that cuts a body, the detector takes legs for a small body.
        share = _share_within(reading.person.box, surer.person.box)
        return not reading.whole and share > self._settings.part_of_person


@dataclass(frozen=True, eq=False)
class _Reading:
    landmarks: Landmarks
    person: Person2D
    whole: bool
    """Whether the body was once detected in the whole frame, not only in a tile."""
    followed: int | None = None
    """Which of those who were followed it is; None for who has just been detected."""

    @property
    def sureness(self) -> float:
        """Mean confidence of COCO's 17 joints."""
        return sureness(self.person)

    def weighed(self, mirrored: list[Person2D | None]) -> Person2D:
        """The person, given how those who were followed are read in the mirror image."""
        other = None if self.followed is None else mirrored[self.followed]
        return self.person if other is None else weighed(self.person, other)


def find_people(
    frames: Iterable[Frame], settings: DetectionSettings = DetectionSettings()
) -> Iterator[tuple[Frame, list[Person2D]]]:
    """Every frame of a clip with the people in it; see `MediapipePeople`."""
    with MediapipePeople(settings) as finder:
        for frame in frames:
            yield frame, finder.people(frame)


def _painted_out(image: UInt8[ndarray, "H W 3"], people: list[Person2D]) -> UInt8[ndarray, "H W 3"]:
    """A copy in which everybody's outline is filled with grey."""
    image = image.copy()
    for person in people:
        points = person.keypoints[person.keypoints[:, 2] > _PART_OF_OUTLINE, :2]
        if len(points) < 3:
            continue
        outline = cv2.convexHull(np.round(points).astype(np.int32))
        # Keypoints lie inside the body: its surface is some way out.
        width = max(int(_OUTLINE_WIDTH * (person.box[2:] - person.box[:2]).max()), 1)
        cv2.fillConvexPoly(image, outline, _GREY)
        cv2.polylines(image, [outline], True, _GREY, width)
    return image


def _tiles(width: int, height: int, shares: tuple[float, ...]) -> list[tuple[int, int, int]]:
    """Squares (x, y, side) px that cover the image, neighbours overlapping by 40 % or more.

    None at a share where one square would be the whole image, or hold too little to see.
    """
    tiles = []
    for share in shares:
        side = int(min(width, height) * share)
        if _LEAST_TILE <= side < max(width, height):
            tiles += [(x, y, side) for y in _offsets(height, side) for x in _offsets(width, side)]
    return tiles


def _offsets(length: int, side: int) -> list[int]:
    count = int(np.ceil((length - side) / (0.6 * side))) + 1
    return np.linspace(0, length - side, count).astype(int).tolist()


def _share_within(box: Float[ndarray, "4"], other: Float[ndarray, "4"]) -> float:
    """Share of the area of `box` that lies within `other`."""
    shared = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None)
    return float(shared.prod() / max(float((box[2:] - box[:2]).prod()), 1e-9))


_LONG_AGO = -1e9
"""Seconds."""
_PART_OF_OUTLINE = 0.3
"""Confidence."""
_OUTLINE_WIDTH = 0.12
"""Over the longer side of the person's box."""
_GREY = (128, 128, 128)
_LEAST_TILE = 112
"""Side (px) from which a tile is worth a look: half of what the detector's network sees."""
