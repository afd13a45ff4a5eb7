"""Everybody in every frame, with BlazePose: detected anew and followed from frame to frame."""

from collections.abc import Iterable, Iterator
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


class MediapipePeople:
    """Finds the people in the frames of one clip, given in their order.

    Who was read in the last frame is looked for at the same place, as BlazePose itself does. For
    others the detector looks at the whole frame, then at one of the tiles that cover it, then at
    the whole frame again, then around somebody who is painted out, as of two people close together
    it reports one: a frame for each, and all at once while there is nobody. Use as a context
    manager, or `close` it.
    """

    def __init__(self, settings: DetectionSettings = DetectionSettings()) -> None:
        """Raises `InputError` if mediapipe is missing."""
        self._settings = settings
        self._blazepose = BlazePose()
        self._followed: list[tuple[Region, bool]] = []
        self._last_time: float | None = None
        self._frames_seen = 0

    def __enter__(self) -> "MediapipePeople":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the networks; closing twice does nothing."""
        self._blazepose.close()

    def state(self) -> dict[str, Any]:
        """What is taken from frame to frame, in words and numbers that JSON knows."""
        followed = [
            (float(region.x), float(region.y), float(region.size), float(region.rotation), whole)
            for region, whole in self._followed
        ]
        return {"followed": followed, "time": self._last_time, "seen": self._frames_seen}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on as after the frame of that state; from None as at the beginning of a clip."""
        told = state or {"followed": [], "time": None, "seen": 0}
        self._followed = [(Region(*region), whole) for *region, whole in told["followed"]]
        self._last_time, self._frames_seen = told["time"], told["seen"]

    def people(self, frame: Frame) -> list[Person2D]:
        """The people in the next frame, skeleton BLAZEPOSE23, surest first.

        The frame is taken for the start of another clip if its time does not follow shortly upon
        the last one's.
        """
        last = self._last_time
        if last is None or not 0 < frame.time - last <= self._settings.follow_for:
            self._followed, self._frames_seen = [], 0
        self._last_time = frame.time

        packet = ImagePacket.of(frame.image)
        found = [
            _Reading(landmarks, person_from(landmarks, frame.image.shape), whole)
            for landmarks, whole in self._readings(frame.image, packet)
        ]
        self._frames_seen += 1
        kept = self._distinct(found)
        self._followed = [(reading.landmarks.region, reading.whole) for reading in kept]
        return [reading.person for reading in kept]

    def _readings(
        self, image: UInt8[ndarray, "H W 3"], packet: ImagePacket
    ) -> list[tuple[Landmarks, bool]]:
        """Bodies read where they were in the last frame, and where the detector sees new ones."""
        read = self._blazepose.read
        found = [(read(packet, region), whole) for region, whole in self._followed]
        found = [(landmarks, whole) for landmarks, whole in found if landmarks is not None]
        company = [person_from(landmarks, image.shape) for landmarks, _ in found]
        for region, shown in self._detect(image, packet, company):
            if any(agree(region, known.region) for known, _ in found):
                continue
            landmarks = read_settled(self._blazepose, packet, region)
            whole = shown is None
            if landmarks is not None and (whole or self._confirmed(shown, landmarks.region)):
                found.append((landmarks, whole))
        return found

    def _detect(
        self, image: UInt8[ndarray, "H W 3"], packet: ImagePacket, company: list[Person2D]
    ) -> Iterator[tuple[Region, UInt8[ndarray, "H W 3"] | None]]:
        """Regions of bodies; those not seen in the whole frame with the image that shows them."""
        turn = self._frames_seen
        if not (turn % 2 and company):
            yield from ((region, None) for region in self._blazepose.detect(packet))
        if company and turn and not turn % 2:
            return
        tiles = _tiles(image.shape[1], image.shape[0], self._settings.tile_shares)
        if turn % 4 == 3 and company:
            person = company[turn // 4 % len(company)]
            painted = _painted_out(image, company)
            side = max(int(self._settings.beside * (person.box[2:] - person.box[:2]).max()), 1)
            x, y = ((person.box[:2] + person.box[2:] - side) / 2).astype(int).tolist()
            yield from self._detect_in(painted, (x, y, side))
            return
        if turn and tiles:
            tiles = [tiles[turn // (4 if company else 1) % len(tiles)]]
        for tile in tiles:
            yield from self._detect_in(image, tile)

    def _detect_in(
        self, image: UInt8[ndarray, "H W 3"], square: tuple[int, int, int]
    ) -> Iterator[tuple[Region, UInt8[ndarray, "H W 3"]]]:
        """What the detector sees in a square (x, y, side) of an image, and the image."""
        x, y, side = square
        middle = Region(x + side / 2, y + side / 2, side, 0.0)
        shown, x, y = close_up(image, middle, 1.0)
        for region in self._blazepose.detect(ImagePacket.of(shown)):
            yield Region(region.x + x, region.y + y, region.size, region.rotation), image

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

    @property
    def sureness(self) -> float:
        """Mean confidence of COCO's 17 joints."""
        return sureness(self.person)


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


_PART_OF_OUTLINE = 0.3
"""Confidence."""
_OUTLINE_WIDTH = 0.12
"""Over the longer side of the person's box."""
_GREY = (128, 128, 128)
_LEAST_TILE = 112
"""Side (px) from which a tile is worth a look: half of what the detector's network sees."""
