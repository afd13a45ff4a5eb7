"""The people in given boxes, with BlazePose: who is where is known, their keypoints are not."""

from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.optimize import linear_sum_assignment

from temporal_hmr.motion import Person2D
from temporal_hmr.people.blazepose import BlazePose, ImagePacket, Region
from temporal_hmr.people.mirror import MirrorReader
from temporal_hmr.people.reading import (
    agree,
    box_around,
    close_up,
    likeness,
    person_from,
    read_settled,
    sureness,
    weighed,
)
from temporal_hmr.people.settings import DetectionSettings
from temporal_hmr.people.similarity import box_overlap
from temporal_hmr.video import Frame


@dataclass(frozen=True)
class BoxedSettings:
    """What counts as a reading of the person in a box."""

    least_overlap: float = 0.4
    """Intersection over union that the reading's own box must have with the given one.

    Two who stand half behind each other have less."""
    sure_overlap: float = 0.6
    """The same, from which nobody better is looked for."""
    same_person: float = 0.7
    """Readings at least this alike (OKS) are of one person; the surer one stays.

    More than where the number of people is unknown: of those in an embrace it is known here that
    they are two."""
    closeness: tuple[float, ...] = (1.25, 1.6)
    """Sides of the squares shown to the detector, over the box's longer side."""
    least_confidence: float = DetectionSettings.least_confidence
    follow_for: float = DetectionSettings.follow_for
    """Seconds, as for people who are found without boxes."""
    mirrored: bool = DetectionSettings.mirrored
    """Whether they are read in the mirror image, too, as people who are found without boxes."""


class BoxedPeople:
    """Reads the people in given boxes, frame by frame of one clip, in their order.

    Who was read in the last frame is looked for at the same place. Where that does not agree with
    the box, the detector is shown close-ups of it; where it sees nobody who fits, the box itself
    says where the body lies. Each box gets the reading whose own box overlaps it most, and no
    reading serves two boxes. What the mirror image shows elsewhere is believed less; who was read
    in the last frame is looked for there at the same time. Use as a context manager, or `close` it.
    """

    def __init__(self, settings: BoxedSettings = BoxedSettings()) -> None:
        """Raises `InputError` if mediapipe is missing."""
        self._settings = settings
        self._blazepose = BlazePose()
        self._mirror = MirrorReader(BlazePose(detects=False)) if settings.mirrored else None
        self._followed: list[Region] = []
        self._last_time: float | None = None

    def __enter__(self) -> "BoxedPeople":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the networks; closing twice does nothing."""
        self._blazepose.close()
        if self._mirror is not None:
            self._mirror.close()

    def state(self) -> dict[str, Any]:
        """What is taken from frame to frame, in words and numbers that JSON knows."""
        followed = [
            (float(region.x), float(region.y), float(region.size), float(region.rotation))
            for region in self._followed
        ]
        return {"followed": followed, "time": self._last_time}

    def restore(self, state: dict[str, Any] | None) -> None:
        """Go on as after the frame of that state; from None as at the beginning of a clip."""
        told = state or {"followed": [], "time": None}
        self._followed = [Region(*region) for region in told["followed"]]
        self._last_time = told["time"]

    def read_boxes(self, frame: Frame, boxes: Float[ndarray, "n 4"]) -> list[Person2D | None]:
        """For each box the person in it, skeleton BLAZEPOSE23; None if unreadable.

        Boxes are x_min, y_min, x_max, y_max in px; NaN, like a box outside the image, stands for
        somebody who is not there. The frame is taken for the start of another clip if its time
        does not follow shortly upon the last one's.
        """
        last, settings = self._last_time, self._settings
        if last is None or not 0 < frame.time - last <= settings.follow_for:
            self._followed = []
        self._last_time = frame.time

        scene = _Scene(self._blazepose, self._mirror, frame, settings)
        visible = _visible(boxes, frame.image.shape)
        scene.follow(self._followed)
        matches = scene.matched(visible)
        for search, enough in (
            (scene.look_closely, settings.sure_overlap),
            (scene.trust, settings.least_overlap),
        ):
            for row, match in enumerate(matches):
                if np.isfinite(visible[row]).all() and (match is None or match.overlap < enough):
                    search(boxes[row])
            matches = scene.matched(visible)
        self._followed = [match.reading.region for match in matches if match is not None]
        return scene.weighed([None if match is None else match.reading for match in matches])


@dataclass(frozen=True, eq=False)
class _Reading:
    person: Person2D
    region: Region
    """Where to look for the same body in the next frame."""
    in_mirror: Future[Person2D | None] | None = None
    """The same body in the mirror image, where it is being read there already."""

    def extents(self) -> Float[ndarray, "2 4"]:
        """Boxes around what is seen, and around what is hidden besides: given ones are either."""
        known = self.person.keypoints[:, 2] > 0
        return np.stack([self.person.box, box_around(self.person.keypoints[known, :2])])


@dataclass(frozen=True, eq=False)
class _Match:
    reading: _Reading
    overlap: float


class _Scene:
    """One frame, and who has been read in it so far."""

    def __init__(
        self,
        blazepose: BlazePose,
        mirror: MirrorReader | None,
        frame: Frame,
        settings: BoxedSettings,
    ) -> None:
        self._blazepose = blazepose
        self._image = frame.image
        self._packet = ImagePacket.of(frame.image)
        self._mirror = None if mirror is None else mirror.show(frame.image)
        self._settings = settings
        self._readings: list[_Reading] = []

    def follow(self, regions: Sequence[Region]) -> None:
        """Read the bodies in regions, in the mirror image at the same time."""
        mirror = self._mirror
        in_mirror = [None if mirror is None else mirror.read(region) for region in regions]
        try:
            for region, other in zip(regions, in_mirror, strict=True):
                self.read(region, other)
        finally:
            wait([other for other in in_mirror if other is not None])

    def read(self, region: Region, in_mirror: Future[Person2D | None] | None = None) -> None:
        """Read the body in a region, unless it has been read already or is too uncertain."""
        if any(agree(region, known.region) for known in self._readings):
            return
        landmarks = read_settled(self._blazepose, self._packet, region)
        if landmarks is None:
            return
        person = person_from(landmarks, self._image.shape)
        if sureness(person) >= self._settings.least_confidence:
            same_place = agree(region, landmarks.region)
            other = in_mirror if same_place else None
            self._readings.append(_Reading(person, landmarks.region, other))

    def look_closely(self, box: Float[ndarray, "4"]) -> None:
        """Read whomever the detector sees in close-ups of what of a box is in the image."""
        within = _square(_visible(box, self._image.shape))
        for closeness in self._settings.closeness:
            shown, x, y = close_up(self._image, within, closeness)
            for region in self._blazepose.detect(ImagePacket.of(shown)):
                self.read(Region(region.x + x, region.y + y, region.size, region.rotation))

    def trust(self, box: Float[ndarray, "4"]) -> None:
        """Read the body as if it stood upright and filled the box, in the image or beyond it."""
        square = _square(box)
        self.read(Region(square.x, square.y, self._settings.closeness[0] * square.size, 0.0))

    def weighed(self, readings: Sequence[_Reading | None]) -> list[Person2D | None]:
        """Whoever was read, believed less where the frame's mirror image shows them elsewhere."""
        asked = [None if each is None else self._read_in_mirror(each) for each in readings]
        others = [None if each is None else each.result() for each in asked]
        return [
            each and (each.person if other is None else weighed(each.person, other))
            for each, other in zip(readings, others, strict=True)
        ]

    def _read_in_mirror(self, reading: _Reading) -> Future[Person2D | None] | None:
        if self._mirror is None or reading.in_mirror is not None:
            return reading.in_mirror
        return self._mirror.read(reading.region)

    def matched(self, boxes: Float[ndarray, "n 4"]) -> list[_Match | None]:
        """For each box the reading that overlaps it, so that the sum of overlaps is greatest."""
        distinct = self._distinct()
        matches: list[_Match | None] = [None] * len(boxes)
        if not distinct or not len(boxes):
            return matches
        seen, whole = np.stack([reading.extents() for reading in distinct], 1)
        overlap = np.nan_to_num(np.maximum(box_overlap(boxes, seen), box_overlap(boxes, whole)))
        overlap[overlap < self._settings.least_overlap] = 0
        for row, column in zip(*linear_sum_assignment(overlap, maximize=True), strict=True):
            if overlap[row, column] > 0:
                matches[row] = _Match(distinct[column], float(overlap[row, column]))
        return matches

    def _distinct(self) -> list[_Reading]:
        kept: list[_Reading] = []
        for reading in sorted(self._readings, key=lambda each: -sureness(each.person)):
            likenesses = [likeness(reading.person, other.person) for other in kept]
            if max(likenesses, default=0.0) < self._settings.same_person:
                kept.append(reading)
        return kept


def _visible(boxes: Float[ndarray, "*n 4"], image_shape: tuple[int, ...]) -> Float[ndarray, "*n 4"]:
    """What of the boxes lies within the image, NaN where nothing does."""
    height, width = image_shape[:2]
    boxes = np.where(np.isfinite(boxes), boxes, np.nan)
    visible = np.clip(boxes, 0, (width, height, width, height))
    there = (visible[..., 2:] - visible[..., :2] >= 1).all(-1, keepdims=True)
    return np.where(there, visible, np.nan)


def _square(box: Float[ndarray, "4"]) -> Region:
    x, y = (box[:2] + box[2:]).tolist()
    return Region(x / 2, y / 2, float((box[2:] - box[:2]).max()), 0.0)
