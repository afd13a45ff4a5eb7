"""Everybody in every frame, with BlazePose: detected anew and followed from frame to frame."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.motion import Person2D
from temporal_hmr.people.backwards import Body
from temporal_hmr.people.blazepose import BlazePose, ImagePacket, Landmarks, Region
from temporal_hmr.people.mirror import MirrorReader
from temporal_hmr.people.outlines import Outline, painted_out, without_others
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
    calm_after: float = 2.0
    """Seconds of a shot after which looks are twice as far apart: who comes later is found a little
    later, and followed back (`people.backwards`)."""
    mirrored: bool = True
    """Whether those who are followed are read in the frame's mirror image, too, and keypoints that
    are elsewhere there are believed less: twice the work, for two cores at a time."""


_Image = UInt8[ndarray, "H W 3"]
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
        self._mirror = MirrorReader(BlazePose(detects=False)) if settings.mirrored else None
        self._now = 0.0
        self.restore(None)

    def __enter__(self) -> "MediapipePeople":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the networks; closing twice does nothing."""
        self._looking.shutdown()
        self._blazepose.close()
        if self._mirror is not None:
            self._mirror.close()

    def state(self) -> dict[str, Any]:
        """What is taken from frame to frame, in words and numbers that JSON knows."""
        followed = [body.told() for body in self._followed]
        looks = {"looks": self._looks, "looked": self._looked, "whole": self._looked_at_whole}
        return {"bodies": followed, "begun": self._begun, "time": self._last_time, **looks}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on as after the frame of that state; from None as at the beginning of a clip."""
        told = state or {}
        self._followed = [_Followed.of(*body) for body in told.get("bodies", [])]
        self._begun: float | None = told.get("begun")
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
        if self._begun is None:
            self._begun = frame.time

        packet = ImagePacket.of(frame.image)
        alone = self._each_alone(frame.image)
        in_mirror = self._read_in_mirror(frame.image, alone)
        try:
            found = self._readings(frame.image, packet, alone)
        finally:
            wait(in_mirror)
        kept = self._distinct(found)
        mirrored = {place: reading.result() for place, reading in enumerate(in_mirror)}
        self._followed = [_Followed.after(reading) for reading in kept]
        return [reading.weighed(mirrored) for reading in kept]

    def read_body(self, image: _Image, region: Region) -> Body | None:
        """The body at a region of any image, None if there is none; see `people.backwards`."""
        landmarks = read_settled(self._blazepose, ImagePacket.of(image), region)
        if landmarks is None:
            return None
        person = person_from(landmarks, image.shape)
        if self._mirror is None:
            return Body(person, landmarks.region, sureness(person))
        other = self._mirror.show(image).read(landmarks.region).result()
        known = person if other is None else weighed(person, other)
        return Body(known, landmarks.region, sureness(person))

    def _each_alone(self, image: _Image) -> list[_Image]:
        """For each of those who are followed, the image without others who are close."""
        outlines = [body.outline for body in self._followed]
        return [
            without_others(image, own, [*outlines[:place], *outlines[place + 1 :]])
            for place, own in enumerate(outlines)
        ]

    def _read_in_mirror(self, image: _Image, alone: list[_Image]) -> list[Future[Person2D | None]]:
        """Those who are followed, as they will have been read in the frame's mirror image."""
        if self._mirror is None:
            return []
        together = self._mirror.show(image)
        shown = [together if own is image else self._mirror.show(own) for own in alone]
        return [
            mirror.read(body.region) for mirror, body in zip(shown, self._followed, strict=True)
        ]

    def _readings(
        self, image: _Image, packet: ImagePacket, alone: list[_Image]
    ) -> list["_Reading"]:
        """Bodies read where they were in the last frame, and where the detector sees new ones."""
        found, early = self._followed_and_first_look(image, packet, alone)
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
        self, image: _Image, packet: ImagePacket, alone: list[_Image]
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
            found = [
                self._blazepose.read(packet if own is image else ImagePacket.of(own), body.region)
                for own, body in zip(alone, self._followed, strict=True)
            ]
        finally:
            wait(looks.values())  # the detector has no two looks at a time
        early = {square: look.result() for square, look in looks.items()}
        readings = [
            _Reading(landmarks, person_from(landmarks, image.shape), body.whole, place)
            for place, (landmarks, body) in enumerate(zip(found, self._followed, strict=True))
            if landmarks is not None
        ]
        return readings, early

    def _detect(
        self,
        image: _Image,
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
            painted = painted_out(image, company, _OUTLINE_WIDTH)
            side = max(int(self._settings.beside * (person.box[2:] - person.box[:2]).max()), 1)
            x, y = ((person.box[:2] + person.box[2:] - side) / 2).astype(int).tolist()
            yield from self._look(painted, packet, (x, y, side))
        if looking:
            self._looks, self._looked = turn + 1, self._now
        if None in squares:
            self._looked_at_whole = self._now

    def _squares(self, shape: tuple[int, ...], company: bool) -> list[_Square]:
        """Where to look for others in this frame, besides around somebody who is painted out."""
        turn = self._looks
        if company and turn and turn % 2 == 0:
            whole = self._now - self._looked_at_whole >= self._slowly(
                self._settings.whole_looks_apart
            )
            return [None] if whole and self._rested() else []
        if company and (turn % 4 == 3 or not self._rested()):
            return []
        tiles = _tiles(shape[1], shape[0], self._settings.tile_shares)
        if turn and tiles:
            tiles = [tiles[turn // (4 if company else 1) % len(tiles)]]
        return [*tiles] if turn % 2 and company else [None, *tiles]

    def _rested(self) -> bool:
        """Whether the last look for others is long enough ago."""
        return self._now - self._looked >= self._slowly(self._settings.looks_apart)

    def _slowly(self, seconds: float) -> float:
        """How far apart looks are by now that are so far apart at first."""
        assert self._begun is not None, "there is a frame"
        return seconds if self._now - self._begun < self._settings.calm_after else 2 * seconds

    def _look(self, image: _Image, packet: ImagePacket, square: _Square) -> list[_Seen]:
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

    def _confirmed(self, image: _Image, region: Region) -> bool:
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
class _Followed:
    """Where somebody was in the last frame."""

    region: Region
    whole: bool
    """Whether they were once detected in the whole frame, not only in a tile."""
    outline: Outline

    @staticmethod
    def after(reading: "_Reading") -> "_Followed":
        return _Followed(reading.landmarks.region, reading.whole, Outline.of(reading.person))

    @staticmethod
    def of(
        region: Sequence[float], whole: bool, corners: Sequence[Sequence[int]], extent: float
    ) -> "_Followed":
        """What `told` says."""
        outline = Outline(np.array(corners, np.int32).reshape(-1, 2), extent)
        return _Followed(Region(*region), whole, outline)

    def told(self) -> tuple[tuple[float, ...], bool, list[list[int]], float]:
        region = (self.region.x, self.region.y, self.region.size, self.region.rotation)
        corners = self.outline.corners.tolist()
        return tuple(float(value) for value in region), self.whole, corners, self.outline.extent


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

    def weighed(self, mirrored: Mapping[int, Person2D | None]) -> Person2D:
        """The person, given how some who were followed are read in the mirror image."""
        other = None if self.followed is None else mirrored.get(self.followed)
        return self.person if other is None else weighed(self.person, other)


def find_people(
    frames: Iterable[Frame], settings: DetectionSettings = DetectionSettings()
) -> Iterator[tuple[Frame, list[Person2D]]]:
    """Every frame of a clip with the people in it; see `MediapipePeople`."""
    with MediapipePeople(settings) as finder:
        for frame in frames:
            yield frame, finder.people(frame)


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
_OUTLINE_WIDTH = 0.12
"""Of the rims of those who are painted out: of what is searched, nothing of them may be left."""
_LEAST_TILE = 112
"""Side (px) from which a tile is worth a look: half of what the detector's network sees."""
