"""Videos written: H.264 by PyAV where it is installed, else MPEG-4 part 2 by OpenCV.

Browsers, chats, slides and previews play H.264; few of them play MPEG-4 part 2, the best that every
OpenCV writes in reasonable time (its VP9 takes fifty times as long, and its settings are fixed).
"""

from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.decoding import announced
from temporal_hmr.errors import InputError
from temporal_hmr.native_output import silenced
from temporal_hmr.output.planar import Matrix, Picture, Planar, size_of

_LARGEST_SIDE = 8190
"""Pixels. MPEG-4 states a frame's width and height in 13 bits."""
_TICKS = 90_000
"""A second has so many: in them times of uneven rate are stated, as in broadcasts."""
_STEADY = 0.25
"""Steps from frame to frame by which one may come too early or too late at a steady rate."""
_X264 = {
    # As quick as MPEG-4 part 2, at a better picture in a file of the same size.
    "preset": "ultrafast",
    # A quality that goes by the contents (crf) takes longer: they are looked at beforehand.
    "qp": "22",
    # On bodies, which are smooth, the blocks would be seen.
    "x264-params": "no-deblock=0:deblock=0,0",
    # Frames from one that stands by itself to the next: what a player decodes to jump somewhere.
    "g": "60",
    # Said, with the colorspace: of large pictures browsers assume another one than of small ones.
    "color_range": "tv",
    "color_primaries": "bt709",
    "color_trc": "bt709",
}


class _Writer(Protocol):
    def write(self, image: Picture) -> None: ...
    def finish(self) -> None:
        """Write what is left."""
        ...

    def close(self) -> None:
        """Let go of the file, whole or not; no more than once needed."""
        ...


def plays_everywhere() -> bool:
    """Whether `write_video` writes H.264 here."""
    try:
        from av.codec import Codec
    except ImportError:
        return False
    try:
        return Codec("libx264", "w").is_encoder
    except ValueError:  # an FFmpeg without it
        return False


def write_video(
    images: Iterable[Picture],
    fps: float,
    path: Path,
    times: Float[ndarray, "N"] | None = None,
) -> None:
    """Encode images of one size and one kind; sizes are rounded up to even numbers.

    `times` (s) say when they are shown, counted from the first; without them, and always where
    OpenCV writes, the rate is steady.
    Raises `InputError` if there is no image, the encoder does not open, or the disk is full.
    """
    writer, count = None, 0
    try:
        for image in images:
            even = _even(image)
            if writer is None:
                writer = _open_writer(path, fps, even, times)
            writer.write(even)
            count += 1
        if writer is None:
            raise InputError(f"no frame to write to {path.name}")
        writer.finish()
    finally:
        if writer is not None:
            writer.close()
    # OpenCV does not tell when a write fails.
    if announced(path)[1] != count:
        raise _not_whole(path)


def require_encodable(width: int, height: int) -> None:
    """Raise `InputError` unless images of this size (px) can be written as a video."""
    if max(width, height) > _LARGEST_SIDE:
        raise InputError(
            f"the overlay of a {width} x {height} video cannot be encoded, {_LARGEST_SIDE} pixels "
            "a side being the most; make the video smaller or pass --no-render"
        )


def _even(image: Picture) -> Picture:
    """With its last row and column twice where their number is odd."""
    height, width = size_of(image)
    if isinstance(image, Planar) or (height % 2 == 0 and width % 2 == 0):
        return image
    return cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, borderType=cv2.BORDER_REPLICATE)


def _open_writer(
    path: Path, fps: float, first: Picture, times: Float[ndarray, "N"] | None
) -> _Writer:
    (height, width), rate = size_of(first), _encodable_rate(fps)
    if not plays_everywhere():
        return _OpenCvWriter(path, rate, width, height)
    matrix = first.matrix if isinstance(first, Planar) else "smpte170m"
    ticks = None if times is None else _uneven(times, float(rate))
    return _PyAvWriter(path, rate, (width, height), matrix, ticks)


def _uneven(times: Float[ndarray, "N"], rate: float) -> Int[ndarray, "N"] | None:
    """Times in ticks, from 0 on; None if frames at a steady rate come close enough to them."""
    begun, places = times - times[0], np.arange(len(times))
    if (np.abs(begun * rate - places) < _STEADY).all():
        return None
    ticks = np.round(begun * _TICKS).astype(np.int64)
    return np.maximum.accumulate(ticks - places) + places  # no two the same


class _PyAvWriter:
    """H.264."""

    def __init__(
        self,
        path: Path,
        rate: Fraction,
        size: tuple[int, int],
        matrix: Matrix,
        ticks: Int[ndarray, "N"] | None,
    ) -> None:
        """`ticks` say when the frames are shown, if not at the rate."""
        from av import open as open_container
        from av.error import FFmpegError

        self._path, self._count, self._errors = path, 0, (FFmpegError, OSError)
        self._ticks = ticks
        # With the index first, so that a page shows the video before it has all of it.
        options, x264 = {"movflags": "faststart"}, {**_X264, "colorspace": matrix}
        try:
            # Absolute, so that FFmpeg takes no part of a name such as "a:b" for a protocol.
            self._container = open_container(str(path.resolve()), "w", options=options)
            self._stream = self._container.add_stream("libx264", rate=rate, options=x264)
            self._stream.width, self._stream.height = size
            self._stream.pix_fmt = "yuv420p"
            if ticks is not None:
                self._stream.codec_context.time_base = Fraction(1, _TICKS)
            # Decoding and drawing fill the other cores meanwhile.
            self._stream.thread_count = 1
            self._container.start_encoding()
        except (*self._errors, ValueError) as error:
            raise _cannot_encode(path, *size) from error

    def write(self, image: Picture) -> None:
        from av import VideoFrame

        # OpenCV converts in half of PyAV's time.
        planar = image if isinstance(image, Planar) else Planar.of(image)
        # Its buffers are wrong where the rows of a colour end in the middle of a sheet's.
        whole = planar.height % 4 == 0
        made = VideoFrame.from_numpy_buffer if whole else VideoFrame.from_ndarray
        frame = made(planar.sheet, format="yuv420p")
        frame.pts = self._count if self._ticks is None else int(self._ticks[self._count])
        self._count += 1
        self._mux(frame)

    def finish(self) -> None:
        self._mux(None)
        try:
            self._container.close()
        except self._errors as error:
            raise _not_whole(self._path) from error

    def _mux(self, frame) -> None:
        try:
            self._container.mux(self._stream.encode(frame))
        except self._errors as error:
            raise _not_whole(self._path) from error

    def close(self) -> None:
        with suppress(*self._errors):
            self._container.close()


class _OpenCvWriter:
    """MPEG-4 part 2."""

    def __init__(self, path: Path, rate: Fraction, width: int, height: int) -> None:
        # An absolute path, as for PyAV.
        name, codec = str(path.resolve()), cv2.VideoWriter.fourcc(*"mp4v")
        with silenced():
            self._writer = cv2.VideoWriter(name, codec, float(rate), (width, height))
        if not self._writer.isOpened():
            raise _cannot_encode(path, width, height)
        self._converted = np.empty((height, width, 3), np.uint8)

    def write(self, image: Picture) -> None:
        if isinstance(image, Planar):
            image = image.rgb()
        cv2.cvtColor(image, cv2.COLOR_RGB2BGR, dst=self._converted)
        with silenced():
            self._writer.write(self._converted)

    def finish(self) -> None:
        """OpenCV writes what is left when it lets go."""

    def close(self) -> None:
        with silenced():
            self._writer.release()


def _encodable_rate(fps: float) -> Fraction:
    """The frame rate as precisely as OpenCV (to 0.001) and MPEG-4 (in 16 bits) can state it.

    OpenCV writes none below 0.01.
    """
    fps = max(fps, 0.01)
    for decimals in (3, 2, 1):
        rate = Fraction(round(fps * 10**decimals), 10**decimals)
        if 0 < rate.numerator < 2**16:
            return rate
    return Fraction(min(round(fps), 2**16 - 1))


def _cannot_encode(path: Path, width: int, height: int) -> InputError:
    return InputError(
        f"cannot encode {width}x{height} video as {path.suffix} in {path.parent}; check "
        "that the folder can be written to and that opencv-contrib-python came from a wheel, "
        "or pass --no-render"
    )


def _not_whole(path: Path) -> InputError:
    return InputError(
        f"the video in {path.parent} could not be written whole: make room on the disk, or pass "
        "--no-render"
    )
