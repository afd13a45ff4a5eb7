"""PyAV, where it is installed: frames one after the other, AV1 (which others cannot decode) too.

decord knows best which frames a file has, and jumps among them; but shown one after the other they
pile up in its memory, a thousand and more of them, while whoever asked for the first looks at it.
"""

from collections.abc import Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from temporal_hmr.decoding import (
    IndexedFacts,
    decord_facts,
    decord_images,
    has_decord,
    has_index,
    usable,
)
from temporal_hmr.display import SHOWN_AS_STORED, mirrored
from temporal_hmr.native_output import silenced
from temporal_hmr.numbering import numbered, stated_in_order, step_of
from temporal_hmr.streams import best_stream, told_by_av

_CODECS = {"av01": "AV1", "AV01": "AV1"}
"""By the four letters that OpenCV gives."""
_ALL_OF_IT = {"advanced_editlist": "0"}
"""What was cut away of an mp4 by its index alone is decoded, too: decord numbers it as well, and
whoever asks for such times gets them."""
_EARLIER = (0.0, 2.0, 10.0)
"""Seconds before a frame to which the reader jumps, one after the other, until it has the frame."""


def codec_of(path: Path) -> str | None:
    """The name of a codec that needs PyAV and that the file has; None for any other file."""
    with silenced():
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        letters = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        capture.release()
    return _CODECS.get(letters.to_bytes(4, "little").decode("latin-1"))


def indexed_facts(path: Path) -> IndexedFacts | None:
    """What the file's index says, nothing decoded.

    None if it says nothing that can be trusted. decord tells, or PyAV where there is no decord.
    """
    if has_decord():
        return decord_facts(path)
    return _av_index(path) if has_index(path) else None


def _av_index(path: Path) -> IndexedFacts | None:
    times, fps = told_by_av(path, _stated_times) or ([], 1.0)
    if not times:
        return None
    stated = stated_in_order(np.array(times))
    known = np.where(np.isfinite(stated), stated, np.nan)
    return IndexedFacts(*usable(known, fps), stated)


def _stated_times(container: Any) -> tuple[list[float], float]:
    """Seconds of each frame, NaN if unknown, and the average frame rate."""
    stream = best_stream(container)
    late = _late(stream)
    packets = (each for each in container.demux(stream) if each.size)  # the last has none
    shown = (packet.pts for packet in packets if not packet.is_discard)
    times = [np.nan if pts is None else float(pts * stream.time_base) - late for pts in shown]
    return times, float(stream.average_rate or 1)


def av_facts(path: Path) -> tuple[Float[ndarray, "N"], float] | None:
    """Presentation times (s, from 0 on) and average frame rate; None without PyAV or frames.

    It goes through the whole file.
    """
    times = np.array([time for time, _ in decoded_frames(path)])
    if not len(times):
        return None
    times -= times[0]
    return usable(times, (len(times) - 1) / times[-1] if times[-1] > 0 else 1.0)


def av_images(path: Path, first: int = 0) -> Iterator[tuple[float, UInt8[ndarray, "H W 3"]]]:
    """Presentation time (s) and upright RGB image of every frame from `first` to end or break."""
    to_rgb = None
    for time, frame in islice(decoded_frames(path), first, None):
        to_rgb = to_rgb or _ToRgb()
        yield time, to_rgb.image(frame)


def streamed_images(
    path: Path, stated: Float[ndarray, "N"], first: int, stop: int
) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
    """Number and upright RGB image of the frames from `first` to `stop - 1` that can be decoded.

    They are told by their presentation times, of which `stated` (s) has those of all frames as the
    file's index has them. decord reads them, up to a break, where there is no PyAV or it finds
    other times.
    """
    found = False
    for number, image in _by_time(path, stated, first):
        if number >= stop:
            return
        found = True
        yield number, image
    if not found:
        yield from enumerate(decord_images(path, first, stop), first)


def _by_time(
    path: Path, stated: Float[ndarray, "N"], first: int
) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
    tolerance = 0.5 * step_of(stated)
    jumps = _EARLIER if (stated[1:] > stated[:-1]).all() else ()  # others are told by their order
    for earlier in jumps:
        begin = float(stated[first]) - earlier
        if begin <= stated[0]:
            break
        jumped = _images(numbered(decoded_frames(path, begin), stated, tolerance), first)
        landed = next(jumped, None)
        if landed is not None and landed[0] == first:
            yield landed
            yield from jumped
            return
        # Behind what was asked for, or nowhere: files may not say well where frames are.
    yield from _images(numbered(decoded_frames(path), stated, tolerance), first)


def _images(
    frames: Iterator[tuple[int, Any]], first: int
) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
    to_rgb = None
    for number, frame in frames:
        if number >= first:
            to_rgb = to_rgb or _ToRgb()
            yield number, to_rgb.image(frame)


class _ToRgb:
    """Makes upright RGB images of decoded frames, made ready once for all of one size."""

    def __init__(self) -> None:
        from av.video.reformatter import VideoReformatter

        self._reformatter = VideoReformatter()

    def image(self, frame: Any) -> UInt8[ndarray, "H W 3"]:
        image = self._reformatter.reformat(frame, format="rgb24").to_ndarray()
        # PyAV tells the turn anticlockwise that puts the picture upright.
        turned = np.rot90(image, round(getattr(frame, "rotation", 0) / 90))
        return mirrored(np.ascontiguousarray(turned), display_matrix(frame))


def display_matrix(frame: Any) -> Int[ndarray, "3 3"]:
    """Of PyAV's frame; see `Display`."""
    stated = frame.side_data.get("DISPLAYMATRIX")
    if stated is None:
        return SHOWN_AS_STORED
    return np.frombuffer(stated, np.int32).reshape(3, 3).astype(np.int64)


def decoded_frames(
    path: Path, begin: float | None = None
) -> Generator[tuple[float, Any], None, None]:
    """Time (s, NaN if the file does not say) and PyAV's frame, over damage, to end or break.

    The time is counted from the beginning of what is to be shown, as decord's is.
    With `begin` from a frame on that is not after that time. Nothing comes without PyAV.
    """
    try:
        from av import open as open_container
        from av.error import FFmpegError
    except ImportError:
        return
    try:
        with open_container(str(path.resolve()), options=_ALL_OF_IT) as container:
            stream = best_stream(container)
            late = _late(stream)
            # With threads of its own decoding takes more time in all, and it may wait for ever for
            # one that has something to say, if PyAV was told to pass that on to Python.
            stream.thread_count = 1
            if begin is not None:
                container.seek(int((begin + late) / stream.time_base), stream=stream)
            for packet in container.demux(stream):
                try:
                    frames = packet.decode()
                except FFmpegError:
                    continue
                for frame in frames:
                    yield (np.nan if frame.time is None else frame.time - late), frame
    except (FFmpegError, IndexError, ValueError):
        return


def _late(stream: Any) -> float:
    """Seconds at which a stream begins; before 0 lies what an edit cut away."""
    return float(max(stream.start_time or 0, 0) * stream.time_base)
