"""PyAV, where it is installed: for what the FFmpeg inside decord and OpenCV cannot decode (AV1)."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.decoding import usable
from temporal_hmr.native_output import silenced

_CODECS = {"av01": "AV1", "AV01": "AV1"}
"""By the four letters that OpenCV gives."""


def codec_of(path: Path) -> str | None:
    """The name of a codec that needs PyAV and that the file has; None for any other file."""
    with silenced():
        capture = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        letters = int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
        capture.release()
    return _CODECS.get(letters.to_bytes(4, "little").decode("latin-1"))


def av_facts(path: Path) -> tuple[Float[ndarray, "N"], float] | None:
    """Presentation times (s, from 0 on) and average frame rate; None without PyAV or frames.

    It goes through the whole file.
    """
    times = np.array([time for time, _ in _decoded(path)])
    if not len(times):
        return None
    times -= times[0]
    return usable(times, (len(times) - 1) / times[-1] if times[-1] > 0 else 1.0)


def av_images(path: Path, first: int = 0) -> Iterator[tuple[float, UInt8[ndarray, "H W 3"]]]:
    """Presentation time (s) and upright RGB image of every frame from `first` to end or break."""
    for time, frame in islice(_decoded(path), first, None):
        image = frame.to_ndarray(format="rgb24")
        # PyAV tells the turn anticlockwise that puts the picture upright.
        turned = np.rot90(image, round(getattr(frame, "rotation", 0) / 90))
        yield time, np.ascontiguousarray(turned)


def _decoded(path: Path) -> Iterator:
    """Time (s, NaN if the file does not say) and frame, over damage, to the end or the break."""
    try:
        from av import open as open_container
        from av.error import FFmpegError
    except ImportError:
        return
    try:
        with open_container(str(path.resolve())) as container:
            for packet in container.demux(video=0):
                try:
                    frames = packet.decode()
                except FFmpegError:
                    continue
                for frame in frames:
                    yield (np.nan if frame.time is None else frame.time), frame
    except (FFmpegError, IndexError, ValueError):
        return
