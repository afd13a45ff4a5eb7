"""Decoding of video files: decord's frames, and OpenCV's where decord cannot be used.

decord is fast and seeks exactly in mp4, mov, mkv and webm. Of transport streams (camcorders'
.mts, .ts) it drops the first pictures and repeats the last ones without a word, and in avi and mpg
it seeks to wrong places; it has no AV1, refuses what is badly broken, and gives up some frames
before a break. OpenCV reads all that in order, except AV1, for which there is PyAV.
"""

from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.containers import breaks_off
from temporal_hmr.damage import steps_and_gaps
from temporal_hmr.display import display_of, mirrored
from temporal_hmr.native_output import silenced
from temporal_hmr.numbering import counted_from, numbered, stated_in_order
from temporal_hmr.streams import stated_behind_first

_LEAST_FRAME = 4
"""Bytes of a frame at the very least, with what is said of it."""
_MOST_IN_ORDER = 0.95
"""Share of presentation times that increase, below which none is believed."""
_EARLIEST = -1e9
"""Seconds. decord takes FFmpeg's mark of a time that is not known for a time, long ago."""
_TRIES = 10_000
"""Pieces of a file that cannot be decoded one after the other, behind which more may come."""


def _decord_reader(path: Path):
    """A decord reader of the file, None if decord cannot read it."""
    try:
        import decord
    except ImportError:
        return None
    decord.logging.set_level(decord.logging.QUIET)
    # An absolute path, so that FFmpeg takes no part of a name such as "a:b.mp4" for a protocol.
    try:
        with silenced():
            return decord.VideoReader(str(path.resolve()), num_threads=2)
    except (decord.DECORDError, RuntimeError, AssertionError):
        return None


def has_decord() -> bool:
    """There is none for Macs with Apple's processors."""
    try:
        import decord  # noqa: F401
    except ImportError:
        return False
    return True


class IndexedFacts(NamedTuple):
    """What the index of a file says of its frames."""

    times: Float[ndarray, "N"]
    """Presentation times (s), which increase."""
    fps: float
    """The average frame rate."""
    stated: Float[ndarray, "N"]
    """Times (s) as they stand there, in order: some may be the same, or unknown (-inf)."""


def decord_facts(path: Path) -> IndexedFacts | None:
    """None if decord cannot be trusted with the file."""
    # decord makes room for as many frames as the header states, and ends the process if it cannot.
    usual = has_index(path) and _stated(path)[1] <= _most_frames(path)
    reader = _decord_reader(path) if usual else None
    if reader is None:
        return None
    try:
        times = reader.get_frame_timestamp(range(len(reader)))[:, 0]
    except IndexError:  # a broken index
        return None
    if not len(times):
        return None
    # decord keeps times in single precision: the rounding takes its noise off round numbers.
    times = times.astype(np.float64).round(6)
    times[times < _EARLIEST] = np.nan
    return IndexedFacts(*usable(times, reader.get_avg_fps()), stated_in_order(times))


def has_index(path: Path) -> bool:
    """Whether the file is of the families of mp4 or Matroska, which say where every frame lies."""
    with path.open("rb") as file:
        head = file.read(12)
    return head[:4] == b"\x1a\x45\xdf\xa3" or head[4:8] in (
        *(b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot"),
    )


def usable(times: Float[ndarray, "N"], stated_fps: float) -> tuple[Float[ndarray, "N"], float]:
    """Times (s) that increase, and the average frame rate: the stated one if it may well be true.

    Files without times (bare streams) get those of the stated rate.
    """
    count, times = len(times), _in_order(times)
    if not (np.isfinite(times).all() and (np.diff(times) > 0).all()):
        return np.arange(count) / stated_fps, stated_fps
    if count == 1:
        return times, stated_fps
    usual, gaps = steps_and_gaps(times)
    measured = 1 / usual if len(gaps) else (count - 1) / float(times[-1] - times[0])
    return times, stated_fps if abs(stated_fps / measured - 1) < 0.01 else measured


def _in_order(times: Float[ndarray, "N"]) -> Float[ndarray, "N"]:
    """With those few that fall behind put between their neighbours.

    The last picture of a program stream has no time, nor have some behind damage, and those before
    the zero of a Matroska file.
    """
    latest = np.maximum.accumulate(np.where(np.isfinite(times), times, -np.inf))
    well = np.isfinite(times) & (latest > np.append(-np.inf, latest[:-1]))
    if well.all() or well.mean() < _MOST_IN_ORDER:
        return times
    places = np.arange(len(times))
    step = float(np.median(np.diff(times[well])))
    filled = np.interp(places, places[well], times[well])
    first, last = places[well][[0, -1]]
    filled[:first] = times[first] - step * np.arange(first, 0, -1)
    filled[last + 1 :] = times[last] + step * np.arange(1, len(times) - last)
    return filled - filled[0] if first else filled


def decord_images(path: Path, first: int, stop: int) -> Iterator[UInt8[ndarray, "H W 3"]]:
    """Upright RGB images from `first` on; ends early where the file breaks."""
    reader = _decord_reader(path)
    if reader is None or first >= len(reader):
        return
    from decord import DECORDError
    from torch.utils.dlpack import from_dlpack

    display = display_of(path)
    try:
        if first > 0:
            reader.seek_accurate(first)
        for _ in range(first, min(stop, len(reader))):
            # Not copied: decord takes another room for the next one while this one is in use.
            image = _without_row_padding(from_dlpack(reader.next().to_dlpack()).numpy())
            yield image if display is None else mirrored(image, display.matrix)
    except (DECORDError, RuntimeError, StopIteration):
        return


def _without_row_padding(image: UInt8[ndarray, "H W channels"]) -> UInt8[ndarray, "H W 3"]:
    """decord hands over the padded rows of some small sizes as if they had more channels."""
    height, width, channels = image.shape
    if channels == 3:
        return image
    return image.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3).copy()


def opencv_facts(path: Path) -> tuple[Float[ndarray, "N"], float] | None:
    """Presentation times (s) and average frame rate of all that OpenCV decodes; None if nothing.

    It goes through the whole file.
    """
    times = []
    with closing(_OpenCvReader(path)) as reader:
        for _ in reader.grabbed():
            times.append(reader.time())
    return usable(np.array(times), announced(path)[0]) if times else None


def opencv_images(path: Path, first: int = 0) -> Iterator[tuple[float, UInt8[ndarray, "H W 3"]]]:
    """Presentation time (s) and upright RGB image of every frame from `first` to end or break."""
    with closing(_OpenCvReader(path)) as reader:
        for _ in islice(reader.grabbed(), first, None):
            image = reader.image()
            if image is None:
                return
            yield reader.time(), image


def remaining_images(
    path: Path, stated: Float[ndarray, "N"], wanted: range, begun: float | None
) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
    """What OpenCV still gets of the wanted frames, behind a break as well.

    They are told by their times, of which `stated` (s) are those of all frames. OpenCV's first is
    at `begun` (s), if that is known.
    """
    timed = opencv_images(path)
    for index, image in numbered(timed if begun is None else counted_from(begun, timed), stated):
        if index >= wanted.stop:
            return
        if index >= wanted.start:
            yield index, image


class _OpenCvReader:
    """A file read in order by OpenCV, which turns pictures upright by itself."""

    def __init__(self, path: Path) -> None:
        self._display = display_of(path)
        # One thread, so that FFmpeg complains only while we are reading, silenced.
        options = [cv2.CAP_PROP_N_THREADS, 1]
        with silenced():
            # An absolute path, as for decord.
            self._capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG, options)

    def close(self) -> None:
        self._capture.release()

    def grabbed(self) -> Iterator[None]:
        """Goes from frame to frame, over those that cannot be decoded, to the end."""
        while True:
            with silenced():
                # At damage, it fails once for every piece; at the end that takes microseconds.
                decoded = any(self._capture.grab() for _ in range(_TRIES))
            if not decoded:
                return
            yield

    def time(self) -> float:
        """Of the present frame, in seconds."""
        return self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000

    def image(self) -> UInt8[ndarray, "H W 3"] | None:
        with silenced():
            decoded, image = self._capture.retrieve()
        if not decoded:
            return None
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return image if self._display is None else mirrored(image, self._display.matrix)


def announced(path: Path) -> tuple[float, int]:
    """Average frame rate and number of frames according to the file's header (1, 0 if none).

    A number that cannot be, for a file of that size, is none.
    """
    fps, count = _stated(path)
    can_be = 0 < count <= _most_frames(path)
    return (fps if 0 < fps < np.inf else 1.0), int(count) if can_be else 0


def _stated(path: Path) -> tuple[float, float]:
    """Frame rate and number of frames in the file's header, sense or nonsense."""
    fps, count = _header(path, cv2.CAP_PROP_FPS, cv2.CAP_PROP_FRAME_COUNT)
    return fps, count


def _header(path: Path, *names: int) -> list[float]:
    """What the file states, by OpenCV's names, of the video in it that pictures come from."""
    # Of files without an index OpenCV gives the pictures, too.
    stated = stated_behind_first(path) if has_index(path) else None
    if stated is not None:
        return [stated[name] for name in names]
    with silenced():
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        values = [capture.get(name) for name in names]
        capture.release()
    return values


def _most_frames(path: Path) -> float:
    return path.stat().st_size / _LEAST_FRAME


def pixel_stretch(path: Path) -> tuple[float, float]:
    """By what to multiply width and height of upright pictures, so that their pixels are square.

    (1, 1) unless what the file states is likely true. DV, DVD and old broadcasts have pixels that
    are not square; they are wider or narrower than high in the picture as it is stored.
    """
    stated = (cv2.CAP_PROP_SAR_NUM, cv2.CAP_PROP_SAR_DEN, cv2.CAP_PROP_ORIENTATION_META)
    across, down, degrees = _header(path, *stated)
    aspect = across / down if across > 0 and down > 0 else 1.0
    if not 0.25 < aspect < 4 or abs(aspect - 1) <= 0.01:
        return 1.0, 1.0
    return (1.0, aspect) if round(degrees / 90) % 2 else (aspect, 1.0)


def is_cut_short(path: Path, times: Float[ndarray, "N"], announced_duration: float) -> bool:
    """Whether the file ends before the frames that its header announces.

    Where its container does not say the header's duration tells; it may be that of a somewhat
    longer sound track, hence the tolerance.
    """
    told = breaks_off(path)
    late = announced_duration - max(0.5, 0.05 * announced_duration)
    return float(times[-1]) < late if told is None else told
