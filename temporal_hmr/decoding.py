"""Decoding of video files: decord's frames, and OpenCV's where decord refuses a broken file."""

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.errors import InputError
from temporal_hmr.native_output import silenced


def _decord_reader(path: Path):
    """A decord reader of the file, None if decord cannot read it."""
    try:
        import decord
    except ImportError:
        raise InputError("reading videos needs decord: run `pip install decord`") from None
    decord.logging.set_level(decord.logging.QUIET)
    # An absolute path, so that FFmpeg takes no part of a name such as "a:b.mp4" for a protocol.
    try:
        with silenced():
            return decord.VideoReader(str(path.resolve()), num_threads=2)
    except (decord.DECORDError, RuntimeError, AssertionError):
        return None


def decord_facts(path: Path) -> tuple[Float[ndarray, "N"], float] | None:
    """Presentation times (s) and average frame rate, None if decord cannot read the file."""
    reader = _decord_reader(path)
    if reader is None:
        return None
    count, fps = len(reader), reader.get_avg_fps()
    # decord keeps times in single precision: the rounding takes its noise off round numbers.
    times = reader.get_frame_timestamp(range(count))[:, 0].astype(np.float64).round(6)
    if not np.all(np.diff(times) > 0):  # the file has no usable times
        return np.arange(count) / fps, fps
    if count > 1:
        measured = (count - 1) / float(times[-1] - times[0])
        trust_header = abs(fps / measured - 1) < 0.01
        fps = fps if trust_header else measured
    return times, fps


def decord_images(path: Path, first: int, stop: int) -> Iterator[UInt8[ndarray, "H W 3"]]:
    """Upright RGB images from `first` on; ends early where the file breaks."""
    reader = _decord_reader(path)
    if reader is None or first >= len(reader):
        return
    from decord import DECORDError

    try:
        if first > 0:
            reader.seek_accurate(first)
        for _ in range(first, min(stop, len(reader))):
            yield _without_row_padding(reader.next().asnumpy())
    except (DECORDError, RuntimeError, StopIteration):
        return


def _without_row_padding(image: UInt8[ndarray, "H W channels"]) -> UInt8[ndarray, "H W 3"]:
    """decord hands over the padded rows of some small sizes as if they had more channels."""
    height, width, channels = image.shape
    if channels == 3:
        return image
    return image.reshape(height, -1)[:, : 3 * width].reshape(height, width, 3).copy()


def opencv_images(path: Path) -> Iterator[tuple[float, UInt8[ndarray, "H W 3"]]]:
    """Presentation time (s) and upright RGB image of every frame up to the end or the break."""
    with silenced():
        # One thread, so that FFmpeg complains only while we are reading, silenced.
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    try:
        while True:
            with silenced():
                decoded, image = capture.read()
            if not decoded:
                return
            time = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            yield time, cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def announced(path: Path) -> tuple[float, int]:
    """Average frame rate and number of frames according to the file's header (1, 0 if none)."""
    with silenced():
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        fps, count = capture.get(cv2.CAP_PROP_FPS), capture.get(cv2.CAP_PROP_FRAME_COUNT)
        capture.release()
    return (fps if fps > 0 else 1.0), max(int(count), 0)


def is_cut_short(path: Path, times: Float[ndarray, "N"], announced_duration: float) -> bool:
    """Whether the file ends before the frames that its header announces.

    Exact for mp4 and mov, whose parts say their length. Elsewhere the header's duration is all
    there is; it may be that of a somewhat longer sound track, hence the tolerance.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(12)[4:8] != b"ftyp":
            return float(times[-1]) < announced_duration - max(0.5, 0.05 * announced_duration)
        position = 0
        while position + 8 <= size:
            file.seek(position)
            header = file.read(16)
            length = int.from_bytes(header[:4], "big")
            if length == 1:
                length = int.from_bytes(header[8:16], "big")
            if length == 0:  # this part reaches to the end of the file
                return False
            position += max(length, 8)
    return position > size
