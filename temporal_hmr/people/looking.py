"""One frame that BlazePose looks at: who is followed is read, others are looked for meanwhile."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.motion import Person2D
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
from temporal_hmr.people.searching import Searching, Square
from temporal_hmr.people.settings import DetectionSettings
from temporal_hmr.video import Frame

_Image = UInt8[ndarray, "H W 3"]
_Seen = tuple[Region, UInt8[ndarray, "H W 3"] | None]
"""Where a body is; the image that shows it where it was not seen in the whole frame."""

_OUTLINE_WIDTH = 0.12
"""Of the rims of those who are painted out: of what is searched, nothing of them may be left."""


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


@dataclass(frozen=True, eq=False)
class _Followed:
    """Where somebody was in the last frame."""

    region: Region
    whole: bool
    """Whether they were once detected in the whole frame, not only in a tile."""
    outline: Outline

    @staticmethod
    def after(reading: _Reading) -> "_Followed":
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
class Memory:
    """What is taken from frame to frame."""

    searching: Searching
    followed: tuple[_Followed, ...] = ()
    time: float | None = None
    """Of the last frame, seconds."""

    @staticmethod
    def of(settings: DetectionSettings, told: dict[str, Any]) -> "Memory":
        """What `told` says."""
        followed = tuple(_Followed.of(*body) for body in told.get("bodies", []))
        return Memory(Searching.of(settings, told), followed, told.get("time"))

    def told(self) -> dict[str, Any]:
        bodies = [body.told() for body in self.followed]
        return {"bodies": bodies, "time": self.time, **self.searching.told()}


class Networks:
    """What is open while people are looked for: each network has one question at a time."""

    def __init__(self, settings: DetectionSettings) -> None:
        self.settings = settings
        self.blazepose = BlazePose()
        """Whoever begins with a frame reads with it; its detector looks in a thread."""
        self._looking = ThreadPoolExecutor(1, thread_name_prefix="looking")
        self.mirror = MirrorReader(BlazePose(detects=False)) if settings.mirrored else None

    def close(self) -> None:
        self._looking.shutdown(cancel_futures=True)
        self.blazepose.close()
        if self.mirror is not None:
            self.mirror.close()

    def look(self, image: _Image, packet: ImagePacket, square: Square) -> Future[list[_Seen]]:
        """What the detector will see in a square of an image; `packet` is that of all of it."""
        return self._looking.submit(self._look, image, packet, square)

    def look_beside(
        self, image: _Image, company: Sequence[Person2D], person: Person2D
    ) -> Future[list[_Seen]]:
        """The same around somebody, while everybody is painted out."""
        return self._looking.submit(self._look_beside, image, company, person)

    def confirmed(self, image: _Image, region: Region) -> bool:
        """Whether the detector, shown little but the body, sees it again.

        In a tile it takes a hand or a foot for a body now and then, but hardly so close up.
        """
        if region.size > 2 * max(image.shape):
            return False
        return self._looking.submit(self._confirmed, image, region).result()

    def _look(self, image: _Image, packet: ImagePacket, square: Square) -> list[_Seen]:
        if square is None:
            return [(region, None) for region in self.blazepose.detect(packet)]
        return self._look_closely(image, *square)

    def _look_closely(self, image: _Image, x: int, y: int, side: int) -> list[_Seen]:
        middle = Region(x + side / 2, y + side / 2, side, 0.0)
        shown, x, y = close_up(image, middle, 1.0)
        return [
            (Region(region.x + x, region.y + y, region.size, region.rotation), image)
            for region in self.blazepose.detect(ImagePacket.of(shown))
        ]

    def _look_beside(
        self, image: _Image, company: Sequence[Person2D], person: Person2D
    ) -> list[_Seen]:
        painted = painted_out(image, company, _OUTLINE_WIDTH)
        extent = (person.box[2:] - person.box[:2]).max()
        side = max(int(self.settings.beside * extent), 1)
        x, y = ((person.box[:2] + person.box[2:] - side) / 2).astype(int).tolist()
        return self._look_closely(painted, x, y, side)

    def _confirmed(self, image: _Image, region: Region) -> bool:
        for closeness in (1.0, 1.3):
            shown, x, y = close_up(image, region, closeness)
            for again in self.blazepose.detect(ImagePacket.of(shown)):
                if agree(Region(again.x + x, again.y + y, again.size, again.rotation), region):
                    return True
        return False


class Look:
    """A frame in which those who are followed have been read, and others are being looked for."""

    memory: Memory
    """What is taken to the next frame; before `settle` as if there were nobody else."""

    def __init__(self, networks: Networks, frame: Frame, settle: Callable[["Look"], None]) -> None:
        self._networks, self._frame, self._settle_in_order = networks, frame, settle
        self._is_settled = False
        self._packet = ImagePacket.of(frame.image)
        self._in_mirror: list[Future[Person2D | None]] = []
        self._looks: dict[Square, Future[list[_Seen]]] = {}
        self._beside: Future[list[_Seen]] | None = None
        self._found: list[_Reading] = []
        self._kept: list[_Reading] = []

    def begin(self, memory: Memory) -> None:
        """Read those whom the memory of the last frame says to follow; anew if it is another."""
        for reading in self._in_mirror:
            reading.cancel()
        self.memory = replace(
            memory, time=self._frame.time, searching=memory.searching.at(self._frame.time)
        )
        alone = self._each_alone(memory.followed)
        self._in_mirror = self._read_in_mirror(alone, memory.followed)
        if memory.followed:
            # One network at a time leaves a core idle. The square is that of a frame in which
            # somebody is still there, which is nearly always so.
            shape, now = self._frame.image.shape, self._frame.time
            first = self.memory.searching.squares(shape, True, now)[:1]
            self._looks |= {square: self._looked_at(square) for square in first}
        self._found = self._read(alone, memory.followed)
        self._search()
        self._keep()

    def settle(self) -> bool:
        """Wait for the detector, read whom it sees; whether that changes who is followed."""
        count, before = len(self._found), self._kept
        self._is_settled = True
        for look in [*self._looks.values(), *([] if self._beside is None else [self._beside])]:
            for region, shown in look.result():
                self._take_in(region, shown)
        if len(self._found) == count:
            return False
        self._keep()
        return self._kept != before

    def people(self) -> list[Person2D]:
        """Everybody in the frame, surest first.

        Raises `RuntimeError` where the detector went on from another frame meanwhile.
        """
        self._require_settled()
        mirrored = {place: reading.result() for place, reading in enumerate(self._in_mirror)}
        return [reading.weighed(mirrored) for reading in self._kept]

    def state(self) -> dict[str, Any]:
        """What is taken to the next frame, in words and numbers that JSON knows; raises as well."""
        self._require_settled()
        return self.memory.told()

    def _require_settled(self) -> None:
        self._settle_in_order(self)
        if not self._is_settled:
            raise RuntimeError(f"nobody was looked for any longer in frame {self._frame.index}")

    def _each_alone(self, followed: Sequence[_Followed]) -> list[_Image]:
        """For each of those who are followed, the image without others who are close."""
        outlines = [body.outline for body in followed]
        return [
            without_others(self._frame.image, own, [*outlines[:place], *outlines[place + 1 :]])
            for place, own in enumerate(outlines)
        ]

    def _read_in_mirror(
        self, alone: Sequence[_Image], followed: Sequence[_Followed]
    ) -> list[Future[Person2D | None]]:
        """Those who are followed, as they will have been read in the frame's mirror image."""
        image, mirror = self._frame.image, self._networks.mirror
        if mirror is None:
            return []
        together = mirror.show(image)
        shown = [together if own is image else mirror.show(own) for own in alone]
        return [view.read(body.region) for view, body in zip(shown, followed, strict=True)]

    def _search(self) -> None:
        """Have the detector look for others, where it does not do so already."""
        shape, now, searching = self._frame.image.shape, self._frame.time, self.memory.searching
        company = [reading.person for reading in self._found]
        squares = searching.squares(shape, bool(company), now)
        wanted = {square: self._looked_at(square) for square in squares}
        for square in self._looks.keys() - wanted.keys():
            self._looks[square].cancel()
        self._looks = wanted
        if self._beside is not None:
            self._beside.cancel()
        whom = searching.painted_out(len(company), now)
        self._beside = (
            None
            if whom is None
            else self._networks.look_beside(self._frame.image, company, company[whom])
        )
        self.memory = replace(self.memory, searching=searching.after(squares, bool(company), now))

    def _looked_at(self, square: Square) -> Future[list[_Seen]]:
        """What the detector will see in a square of the frame."""
        known = self._looks.get(square)
        return known or self._networks.look(self._frame.image, self._packet, square)

    def _read(self, alone: Sequence[_Image], followed: Sequence[_Followed]) -> list[_Reading]:
        """Bodies read where they were in the last frame."""
        image, blazepose = self._frame.image, self._networks.blazepose
        found = [
            blazepose.read(self._packet if own is image else ImagePacket.of(own), body.region)
            for own, body in zip(alone, followed, strict=True)
        ]
        return [
            _Reading(landmarks, person_from(landmarks, image.shape), body.whole, place)
            for place, (landmarks, body) in enumerate(zip(found, followed, strict=True))
            if landmarks is not None
        ]

    def _take_in(self, region: Region, shown: _Image | None) -> None:
        """Read the body at a place that the detector names, unless it has been read already."""
        if any(agree(region, known.landmarks.region) for known in self._found):
            return
        landmarks = read_settled(self._networks.blazepose, self._packet, region)
        whole = shown is None
        if landmarks is not None and (whole or self._networks.confirmed(shown, landmarks.region)):
            person = person_from(landmarks, self._frame.image.shape)
            self._found.append(_Reading(landmarks, person, whole))

    def _keep(self) -> None:
        """Of what has been found, what is likely and distinct; that will be followed."""
        self._kept = _distinct(self._found, self._networks.settings)
        followed = tuple(_Followed.after(reading) for reading in self._kept)
        self.memory = replace(self.memory, followed=followed)


def _distinct(found: Sequence[_Reading], settings: DetectionSettings) -> list[_Reading]:
    """Without the unlikely ones, and without the less sure one of two that are one person."""
    kept: list[_Reading] = []
    for reading in sorted(found, key=lambda each: (each.whole, each.sureness), reverse=True):
        likely = reading.sureness >= settings.least_confidence
        if likely and not any(_same(reading, other, settings) for other in kept):
            kept.append(reading)
    return kept


def _same(reading: _Reading, surer: _Reading, settings: DetectionSettings) -> bool:
    if likeness(reading.person, surer.person) >= settings.same_person:
        return True
    # In a tile that cuts a body, the detector takes legs for a small body.
    share = _share_within(reading.person.box, surer.person.box)
    return not reading.whole and share > settings.part_of_person


def _share_within(box: Float[ndarray, "4"], other: Float[ndarray, "4"]) -> float:
    """Share of the area of `box` that lies within `other`."""
    shared = np.clip(np.minimum(box[2:], other[2:]) - np.maximum(box[:2], other[:2]), 0, None)
    return float(shared.prod() / max(float((box[2:] - box[:2]).prod()), 1e-9))
