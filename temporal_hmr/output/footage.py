"""The frames of a clip to be drawn into: planar, as its file holds them, where that is possible."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.decoding import has_index
from temporal_hmr.decoding_av import decoded_frames, display_matrix
from temporal_hmr.display import is_mirror
from temporal_hmr.output.encoding import plays_everywhere
from temporal_hmr.output.planar import Matrix, Picture, Planar
from temporal_hmr.video import Clip

_WITHIN, _PRECISION = 1e-4, 1.2e-7
"""Seconds by which two readers' times of the same frame differ at most, and the share of the time
itself: decord's are in single precision."""
_MATRICES: dict[int, Matrix] = {1: "bt709", 2: "smpte170m", 5: "smpte170m", 6: "smpte170m"}
"""By FFmpeg's numbers; what is not stated (2) is old television's, as for all who read RGB."""
_FULL_RANGE = 2


@dataclass(frozen=True, eq=False)
class Footage:
    """One frame of a clip."""

    index: int
    image: Picture


def footage(clip: Clip) -> Iterator[Footage]:
    """The frames that iterating the clip gives, all planar or all RGB.

    Planar ones come from PyAV, in a third of the time. Each must have the time that the clip's own
    has; from the first that has not, the clip's own are taken.
    """
    last, matrix = -1, None
    with closing(_planar(clip)) as frames:
        for index, planar in frames:
            yield Footage(index, planar)
            last, matrix = index, planar.matrix
    if matrix is not None and last == clip.indices()[-1]:
        return
    for frame in clip:
        if frame.index > last:
            image = frame.image if matrix is None else Planar.of(frame.image, matrix)
            yield Footage(frame.index, image)


def footage_times(clip: Clip) -> Float[ndarray, "N"]:
    """When its frames are shown, in seconds."""
    return clip.times[np.asarray(clip.indices())]


def _planar(clip: Clip) -> Generator[tuple[int, Planar], None, None]:
    """Number and picture of the clip's frames, up to the first that cannot be had this way."""
    even = clip.width % 2 == 0 and clip.height % 2 == 0
    if not (plays_everywhere() and even and clip.as_in_file and has_index(clip.path)):
        return
    numbers = clip.indices()
    following = numbers[0]
    start = float(clip.times[following])
    with closing(decoded_frames(clip.path, start if following else None)) as frames:
        for time, frame in frames:
            if time < start - _WITHIN - _PRECISION * start:  # where it jumped to
                continue
            # Times that are not stated are not near, either.
            if not abs(time - clip.times[following]) <= _WITHIN + _PRECISION * abs(time):
                return
            if following in numbers:
                if not _is_plain(frame, clip):
                    return
                yield following, Planar(_sheet(frame), _MATRICES[int(frame.colorspace)])
            following += 1
            if following > numbers[-1]:
                return


def _is_plain(frame: Any, clip: Clip) -> bool:
    """Whether a frame is whole, upright, and of the common kind that planar pictures are."""
    return (
        not frame.is_corrupt
        and (frame.width, frame.height) == (clip.width, clip.height)
        and frame.rotation == 0
        and not is_mirror(display_matrix(frame))
        and frame.format.name == "yuv420p"
        and int(frame.color_range) != _FULL_RANGE
        and int(frame.colorspace) in _MATRICES
    )


def _sheet(frame: Any) -> UInt8[ndarray, "sheet w"]:
    """A copy: the decoder still looks at its own."""
    sheet = np.empty((frame.height * 3 // 2, frame.width), np.uint8)
    places = Planar(sheet, "smpte170m").planes()
    for place, plane in zip(places, frame.planes, strict=True):
        rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
        np.copyto(place, rows[: len(place), : place.shape[1]])
    return sheet
