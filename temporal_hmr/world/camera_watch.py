"""Whether the camera of a clip moves, told from the background while the clip goes by.

Corners outside people's boxes are followed by pyramidal Lucas-Kanade from one picture, the anchor,
to others a fifth of a second apart: directly, so that nothing adds up. A camera that stands still
leaves them in their places whatever crowds and lamps do. Of one that turns, walks or zooms most of
them move together, as a similarity of the image says. Memory holds three small pictures.
"""

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray

from temporal_hmr.video import Frame

_INTERVAL = 0.2
"""Seconds between the pictures that are looked at."""
_SIDE = 480
"""Pixels to which the longer side of a picture is reduced."""
_TOLERANCE = 0.003
"""Of the image's diagonal (0.17 degrees where the focal length is the diagonal, 12 mm at 4 m):
what moves less stands still. Corners are followed to a tenth of that."""
_BOX_MARGIN = 0.12
"""Of a person's box: arms, shadows and clothes reach beyond it."""
_AROUND = (25, 25)
"""Pixels within which contrast is made even."""
_BLOCK = 5
"""Pixels across a corner."""
_CELLS = 8
_MOST_IN_CELL = 6
"""Corners in each of 8 x 8 parts of the picture, lest one notice board or logo outvote the rest."""
_CLEAR = 1.6e-3
"""Least eigenvalue of a corner (OpenCV's units). Noise of four grey levels on a bare wall makes up
to 1.5e-3, plants and masonry some 1e-2."""
_FEWEST = 10
"""Corners that must agree before anything is told."""
_LEAST_CELLS = 4
_STILL_SHARE = 0.7
"""Corners in their places, of those that any one movement of the camera explains."""
_LASTING = 0.8
"""Seconds of movement on end that are more than somebody who brushes past."""
_OFTEN = 0.1
"""Share of pictures beyond which movements count that never last."""

_NOWHERE = np.zeros(2)

Verdict = Literal["static", "moving", "unknown"]
_Seen = Literal["still", "moved", "lost", "bare"]


@dataclass(frozen=True)
class CameraMotion:
    """What was found of a clip's camera."""

    verdict: Verdict
    """`unknown` where the background shows too little to tell."""
    moved_at: float | None = None
    """Seconds; when it was first seen to move."""
    shift: float = 0.0
    """Pixels of the video by which the background was displaced at most; infinite where it was
    another one altogether."""
    pictures: int = 0
    """How many were compared with the first."""
    corners: float = 0.0
    """How many corners of the background agreed, in the median picture."""

    def __str__(self) -> str:
        if self.verdict == "unknown":
            return "the background shows too little to tell whether the camera moves"
        if self.verdict == "static":
            return f"the camera stands still (background within {self.shift:.1f} px)"
        far = "to another view" if np.isinf(self.shift) else f"by up to {self.shift:.0f} px"
        return f"the camera moves, first at {self.moved_at:.1f} s and {far}"


@dataclass(frozen=True, eq=False)
class _Picture:
    gray: UInt8[ndarray, "h w"]
    background: UInt8[ndarray, "h w"]
    """0 where people are."""


@dataclass(frozen=True, eq=False)
class _Compared:
    """Corners of an anchor in another picture."""

    seen: _Seen
    shift: Float[ndarray, "2"]
    """By which the background is displaced, in the middle; pixels of the small picture."""
    far: float = 0.0
    """How far its corners are displaced, the median of them; pixels of the small picture."""
    agreeing: int = 0


@dataclass(frozen=True, eq=False)
class _Anchor:
    picture: _Picture
    corners: Float[ndarray, "N 2"]
    before: Float[ndarray, "2"]
    """By how much the background was displaced already when the anchor was set."""

    clear: bool
    """Whether enough of the corners are more than noise: then it means something to lose them."""

    @staticmethod
    def at(picture: _Picture, before: Float[ndarray, "2"] | None = None) -> "_Anchor":
        """With corners of its own."""
        corners = _corners(picture)
        columns, rows = corners.astype(int).T
        clear = cv2.cornerMinEigenVal(picture.gray, _BLOCK)[rows, columns] > _CLEAR
        return _Anchor(
            picture,
            corners,
            _NOWHERE if before is None else before,
            _enough(corners[clear], picture),
        )


@dataclass(frozen=True, eq=False)
class _Previous:
    picture: _Picture
    seen: _Seen
    shift: Float[ndarray, "2"]


@dataclass(frozen=True)
class _Record:
    """What was seen at one time."""

    time: float
    seen: _Seen
    shift: float
    agreeing: int


@dataclass(eq=False)
class CameraWatch:
    """Sees a clip's frames in order, and tells in the end."""

    _anchor: _Anchor | None = None
    _previous: _Previous | None = None
    _last_time: float = -np.inf
    _scale: float = 1.0
    _records: list[_Record] = field(default_factory=list)

    def add(self, frame: Frame, boxes: Float[ndarray, "people 4"]) -> None:
        """The next frame, and the boxes (x_min, y_min, x_max, y_max, pixels) of people in it."""
        if frame.time - self._last_time < _INTERVAL - 1e-6:
            return
        self._last_time = frame.time
        height, width = frame.image.shape[:2]
        self._scale = min(_SIDE / max(height, width), 1.0)
        picture = _picture(frame.image, boxes, self._scale)
        # A clip may begin in the dark.
        dark = self._anchor is not None and not self._anchor.clear
        if self._anchor is None or (dark and _Anchor.at(picture).clear):
            if dark:
                self._records.append(_Record(frame.time, "bare", 0.0, 0))
            self._anchor = _Anchor.at(picture)
            self._previous = _Previous(picture, "still", _NOWHERE)
            return
        compared = self._compare(self._anchor, picture)
        seen = compared.seen
        if seen == "still" and np.linalg.norm(compared.shift) > _tolerance(picture):
            seen = "moved"
        self._records.append(_Record(frame.time, seen, compared.far, compared.agreeing))
        self._previous = _Previous(picture, seen, compared.shift)
        if seen == "still" and 2 * compared.agreeing < len(self._anchor.corners):
            self._anchor = _Anchor.at(picture, compared.shift)

    def _compare(self, anchor: _Anchor, picture: _Picture) -> _Compared:
        compared = _compared(anchor, picture)
        previous = self._previous
        if compared.seen != "lost" or previous is None or previous.seen != "still":
            return compared
        # A background may change slowly (dusk): then it is still the one of a moment ago.
        nearer = _Anchor.at(previous.picture, previous.shift)
        from_previous = _compared(nearer, picture)
        if from_previous.seen == "still":
            self._anchor = nearer
        return compared if from_previous.seen == "bare" else from_previous

    def told(self) -> CameraMotion:
        """The verdict on all that was seen."""
        records = self._records
        judged = [record for record in records if record.seen != "bare"]
        agreeing = float(np.median([record.agreeing for record in judged])) if judged else 0.0
        counts = len(judged), agreeing
        moved_at = self._moved_at(judged)
        if not judged or (moved_at is None and 2 * len(judged) < len(records)):
            return CameraMotion("unknown", None, 0.0, *counts)
        lost = judged[-1].seen == "lost"
        wanted = "still" if moved_at is None else "moved"
        shift = max((r.shift for r in judged if r.seen == wanted), default=0.0) / self._scale
        if moved_at is None:
            return CameraMotion("static", None, shift, *counts)
        return CameraMotion("moving", moved_at, np.inf if lost else shift, *counts)

    def _moved_at(self, records: list[_Record]) -> float | None:
        """When a movement began that lasts, or the first of many; None if there is none."""
        away = [record for record in records if record.seen == "moved"]
        for first, stop in _runs([record.seen in ("moved", "lost") for record in records]):
            run = records[first:stop]
            # Whoever stands before the lens hides everything, and goes again.
            hidden = stop < len(records) and all(record.seen == "lost" for record in run)
            lasting = run[-1].time - run[0].time >= _LASTING - 1e-6 or len(run) == len(records)
            # The clip may end while it moves.
            lasting |= stop == len(records) and len(run) > 1 and run[0].seen == "moved"
            if lasting and not hidden:
                return run[0].time
        return away[0].time if len(away) > max(1.0, _OFTEN * len(records)) else None


def _picture(
    image: UInt8[ndarray, "H W 3"], boxes: Float[ndarray, "people 4"], scale: float
) -> _Picture:
    """Small, grey, and of even contrast, so that lamps and clouds change little in it."""
    size = tuple(max(round(side * scale), 1) for side in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    gray = cv2.GaussianBlur(gray, (0, 0), 0.8)
    high = gray - cv2.blur(gray, _AROUND)
    # Eight grey levels: what is flatter than the noise of a camera is left flat. Running sums may
    # fall a little below zero.
    contrast = np.sqrt(np.maximum(cv2.blur(high * high, _AROUND), 0.0)) + 8.0
    even = np.clip(128.0 + 50.0 * high / contrast, 0, 255).astype(np.uint8)
    background = np.full_like(even, 255)
    for left, top, right, bottom in np.asarray(boxes, np.float64).reshape(-1, 4) * scale:
        wide, tall = _BOX_MARGIN * (right - left), _BOX_MARGIN * (bottom - top)
        columns = slice(max(int(left - wide), 0), max(int(right + wide) + 1, 0))
        rows = slice(max(int(top - tall), 0), max(int(bottom + tall) + 1, 0))
        background[rows, columns] = 0
    return _Picture(even, background)


def _corners(picture: _Picture) -> Float[ndarray, "N 2"]:
    """The best corners of the background, spread over the picture."""
    found = cv2.goodFeaturesToTrack(
        picture.gray, 600, 0.02, 6, mask=picture.background, blockSize=_BLOCK
    )
    if found is None:
        return np.zeros((0, 2), np.float32)
    points = found.reshape(-1, 2)
    taken: dict[int, int] = {}
    kept = []
    for point, cell in zip(points, _cells(points, picture.gray.shape), strict=True):
        taken[cell] = taken.get(cell, 0) + 1
        if taken[cell] <= _MOST_IN_CELL:
            kept.append(point)
    return np.array(kept, np.float32)


def _cells(points: Float[ndarray, "N 2"], shape: tuple[int, ...]) -> list[int]:
    """In which part of the picture each point is."""
    height, width = shape
    columns, rows = (points / (width, height) * _CELLS).astype(int).clip(0, _CELLS - 1).T
    return (rows * _CELLS + columns).tolist()


def _compared(anchor: _Anchor, picture: _Picture) -> _Compared:
    """What the anchor's corners do in another picture."""
    points = _uncovered(anchor.corners, picture)
    if not _enough(points, picture):
        return _Compared("bare", anchor.before)
    moved, found = _followed(anchor.picture.gray, picture.gray, points)
    points, moved = points[found], moved[found]
    still = np.linalg.norm(moved - points, axis=1) < _tolerance(picture)
    together = _together(points, moved, _tolerance(picture))
    stands = _enough(points[still], picture)
    if not (stands or _enough(points[together], picture)):
        both = anchor.clear and _Anchor.at(picture).clear
        return _Compared("lost" if both else "bare", anchor.before)
    seen: _Seen = "still" if stands and still.sum() >= _STILL_SHARE * together.sum() else "moved"
    agreeing = still if seen == "still" else together
    displaced = anchor.before + (moved - points)[agreeing]
    far = float(np.median(np.linalg.norm(displaced, axis=1)))
    return _Compared(seen, np.median(displaced, axis=0), far, int(agreeing.sum()))


def _tolerance(picture: _Picture) -> float:
    return _TOLERANCE * float(np.hypot(*picture.gray.shape))


def _uncovered(points: Float[ndarray, "N 2"], picture: _Picture) -> Float[ndarray, "M 2"]:
    columns, rows = points.astype(int).T
    return points[picture.background[rows, columns] > 0]


def _enough(points: Float[ndarray, "N 2"], picture: _Picture) -> bool:
    cells = set(_cells(points, picture.gray.shape)) if len(points) else set()
    return len(points) >= _FEWEST and len(cells) >= _LEAST_CELLS


def _followed(
    first: UInt8[ndarray, "h w"], second: UInt8[ndarray, "h w"], points: Float[ndarray, "N 2"]
) -> tuple[Float[ndarray, "N 2"], Bool[ndarray, "N"]]:
    """Where points are in the second picture, and which of them come back when followed back."""
    size, levels = (15, 15), 4
    room = np.empty_like(points)
    moved, ahead, _ = cv2.calcOpticalFlowPyrLK(
        first, second, points, room, winSize=size, maxLevel=levels
    )
    room = np.empty_like(points)
    back, behind, _ = cv2.calcOpticalFlowPyrLK(
        second, first, moved, room, winSize=size, maxLevel=levels
    )
    error = np.linalg.norm(back - points, axis=1)
    return moved, (ahead[:, 0] > 0) & (behind[:, 0] > 0) & (error < 0.5)


def _together(
    points: Float[ndarray, "N 2"], moved: Float[ndarray, "N 2"], tolerance: float
) -> Bool[ndarray, "N"]:
    """Which points the likeliest similarity of the image (shift, turn, zoom) takes along."""
    if len(points) < _FEWEST:
        return np.zeros(len(points), bool)
    cv2.setRNGSeed(0)
    model, _ = cv2.estimateAffinePartial2D(points, moved, ransacReprojThreshold=tolerance)
    if model is None:
        return np.zeros(len(points), bool)
    return np.linalg.norm(points @ model[:, :2].T + model[:, 2] - moved, axis=1) < tolerance


def _runs(flags: list[bool]) -> list[tuple[int, int]]:
    """First and past-the-last places of each stretch of true flags."""
    edges = np.flatnonzero(np.diff([0, *map(int, flags), 0]))
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]
