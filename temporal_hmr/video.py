"""Clips: upright RGB frames with presentation times, streamed from a video or a folder of images.

Videos are read by decord, or by OpenCV or PyAV where decord cannot be used, which the log tells. A
video that breaks off (decord refuses those, or stops some frames early) is read on by OpenCV up to
the break, and the clip then says that it was broken.
"""

import contextlib
import logging
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.containers import lacks_index
from temporal_hmr.decoding import (
    announced,
    decord_facts,
    decord_images,
    is_cut_short,
    opencv_facts,
    opencv_images,
    pixel_aspect,
)
from temporal_hmr.decoding_av import av_facts, av_images, codec_of
from temporal_hmr.errors import InputError
from temporal_hmr.native_output import silenced

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
IMAGE_FOLDER_FPS = 30.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Frame:
    """One image of a clip."""

    index: int
    """Number of the frame in the whole video, from 0."""
    time: float
    """Presentation time in seconds."""
    image: UInt8[ndarray, "H W 3"]
    """RGB, upright."""


@dataclass(eq=False)
class Clip(ABC):
    """A video, or a range of it. Iterate it for its frames, as often as you like.

    Iterating raises `InputError` where a frame cannot be had for a reason the user can mend.
    """

    path: Path
    width: int
    height: int
    fps: float
    """Average rate of the frames delivered, over the whole video."""
    times: Float[ndarray, "N"] = field(repr=False)
    """Presentation times (s) of all the frames that the whole video should have."""
    start: float | None = None
    end: float | None = None
    """Only frames with start <= time < end (s) are delivered; None leaves that side open."""
    stride: int = 1
    """Only every so manieth of these is delivered, from the first on."""
    breaks_off_after: int | None = field(default=None, init=False)
    """Set by iterating: how many frames a broken video has before its break; None while whole."""

    def __len__(self) -> int:
        """How many frames iterating should deliver; fewer come if the video breaks off."""
        first, stop = self._range()
        return len(range(first, stop, self.stride))

    def __iter__(self) -> Iterator[Frame]:
        first, stop = self._range()
        following = first
        for frame in self._decode(first, stop):
            following = frame.index + 1
            if (frame.index - first) % self.stride == 0:
                yield frame
        if following < stop and self.breaks_off_after is None:
            self.breaks_off_after = following
            _log.warning(
                "%s breaks off after %d of %d frames: what comes before is used",
                self.path.name,
                following,
                len(self.times),
            )

    def with_range(self, start: float | None = None, end: float | None = None) -> "Clip":
        """The frames with start <= time < end (s) of this video; frame numbers stay the video's.

        Raises `InputError` if there are none.
        """
        if not all(math.isfinite(bound or 0) for bound in (start, end)):
            raise InputError(f"a range takes finite numbers of seconds, not {start} to {end}")
        if start is not None and end is not None and not start < end:
            raise InputError(
                f"the range of {self.path} from {start:g} s to {end:g} s is empty: "
                "give a start before the end"
            )
        ranged = replace(self, start=start, end=end)
        if not len(ranged):
            last = self.times[-1] + 1 / (self.fps * self.stride)
            asked = f"from {start or 0:g} s" + ("" if end is None else f" to {end:g} s")
            raise InputError(
                f"{self.path} has no frame {asked}: it runs from {self.times[0]:.3g} s to "
                f"{last:.3g} s"
            )
        return ranged

    def every(self, stride: int) -> "Clip":
        """Every so manieth frame of this clip; numbers and times stay the video's.

        Raises `InputError` for a stride below 1.
        """
        if stride < 1:
            raise InputError(f"a stride is a whole number from 1 on, not {stride}")
        return replace(self, stride=self.stride * stride, fps=self.fps / stride)

    def frame_names(self) -> tuple[str, ...]:
        """Names of the files that its frames are; none for a video."""
        return ()

    def _range(self) -> tuple[int, int]:
        within_rounding = 1e-6
        bounds = [
            0 if self.start is None else np.searchsorted(self.times, self.start - within_rounding),
            len(self.times)
            if self.end is None
            else np.searchsorted(self.times, self.end - within_rounding),
        ]
        return int(bounds[0]), int(max(bounds))

    @abstractmethod
    def _decode(self, first: int, stop: int) -> Iterator[Frame]:
        """Frames `first` to `stop - 1`, or as many of them as there are."""


def open_clip(
    source: Path | str,
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
    stride: int = 1,
) -> Clip:
    """Open a video file, one image, or a folder of images (in natural order of their names).

    `start` and `end` (s) restrict it to a range, `stride` to every so manieth frame of that. `fps`
    is the frame rate of a folder of images (default 30); a video file knows its own.

    Raises `InputError` if there is nothing at `source`, or nothing that can be read as frames.
    """
    path = Path(source)
    try:
        clip = _open_source(path, fps)
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from error
    clip = clip if start is None and end is None else clip.with_range(start, end)
    return clip.every(stride)


def _open_source(path: Path, fps: float | None) -> Clip:
    if not path.exists():
        raise InputError(f"there is no video at {path}: check the path")
    if path.is_dir() or path.suffix.lower() in IMAGE_SUFFIXES:
        return _open_images(path, IMAGE_FOLDER_FPS if fps is None else fps)
    if fps is not None:
        raise InputError(f"{path} is a video with a frame rate of its own: leave out the fps")
    if not path.is_file():
        raise InputError(f"{path} is a pipe or a device: give a file, which can be read twice")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes): copy or download the video again")
    try:
        str(path.resolve()).encode()
    except UnicodeEncodeError:
        raise InputError(f"the path {str(path)!r} is not valid UTF-8: rename it") from None
    return _open_video(path)


@dataclass(eq=False)
class _VideoFile(Clip):
    reader: Literal["decord", "OpenCV", "PyAV"] = "decord"
    aspect: float = 1.0
    """Width of a pixel over its height as stored; delivered pixels are square."""

    def _decode(self, first: int, stop: int) -> Iterator[Frame]:
        for index, image in enumerate(self._images(first, stop), first):
            if index >= stop:
                return
            yield Frame(index, float(self.times[index]), self._square_pixels(image))

    def _square_pixels(self, image: UInt8[ndarray, "H w 3"]) -> UInt8[ndarray, "H W 3"]:
        if self.aspect == 1:
            return image
        return cv2.resize(image, (self.width, self.height), interpolation=cv2.INTER_AREA)

    def _images(self, first: int, stop: int) -> Iterator[UInt8[ndarray, "H W 3"]]:
        if self.reader == "PyAV":
            yield from (image for _, image in av_images(self.path, first))
            return
        if self.reader == "OpenCV":
            yield from (image for _, image in opencv_images(self.path, first))
            return
        following = first
        for image in decord_images(self.path, first, stop):
            yield image
            following += 1
        if following < stop:
            yield from self._broken_images(following, stop)

    def _broken_images(self, first: int, stop: int) -> Iterator[UInt8[ndarray, "H W 3"]]:
        """What OpenCV still gets of the frames from `first` on, up to the first gap in time."""
        for count, (time, image) in enumerate(opencv_images(self.path)):
            if int(np.abs(self.times - time).argmin()) > count or count >= stop:
                return
            if count >= first:
                yield image


def _open_video(path: Path) -> Clip:
    reader, facts, image = "decord", decord_facts(path), None
    if facts is not None:
        image = next(decord_images(path, 0, 1), None)
    if facts is None:
        reader, facts = "OpenCV", opencv_facts(path)
    if facts is None:
        reader, facts = "PyAV", av_facts(path)
        image = None if facts is None else next((image for _, image in av_images(path)), None)
    if facts is not None and image is None:
        image = next((image for _, image in opencv_images(path)), None)
    if facts is None or image is None:
        raise InputError(_unreadable(path))
    times, fps = facts
    announced_fps, announced_count = announced(path)
    cut = is_cut_short(path, times, announced_count / announced_fps)
    if reader != "decord" and not cut:  # of cut ones the break is told
        _log.warning("%s is read by %s, because decord cannot be used for it", path.name, reader)
    missing = max(announced_count - len(times), 0) if cut else 0
    times = np.append(times, times[-1] + np.arange(1, missing + 1) / fps)
    aspect = pixel_aspect(path)
    height, width = image.shape[:2]
    return _VideoFile(path, round(width * aspect), height, fps, times, reader=reader, aspect=aspect)


def _unreadable(path: Path) -> str:
    codec = codec_of(path)
    if lacks_index(path):
        return (
            f"{path} cannot be read as a video: it breaks off before its index, which is written "
            "last; copy it again, or let a tool such as untrunc rebuild the index"
        )
    if codec is None:
        return f"{path} cannot be read as a video: give a video file that plays, such as an mp4"
    return (
        f"{path} is {codec}, which decord and OpenCV cannot decode: run `pip install av`, or "
        "convert it to H.264"
    )


@dataclass(eq=False)
class _ImageFolder(Clip):
    files: tuple[Path, ...] = ()

    def frame_names(self) -> tuple[str, ...]:
        return tuple(file.name for file in self.files)

    def _decode(self, first: int, stop: int) -> Iterator[Frame]:
        for index in range(first, stop):
            image = read_image(self.files[index])
            height, width = image.shape[:2]
            if (height, width) != (self.height, self.width):
                raise InputError(
                    f"{self.files[index]} is {width} x {height} pixels where the images before it "
                    f"are {self.width} x {self.height}: give images of one size"
                )
            yield Frame(index, float(self.times[index]), image)


def _open_images(path: Path, fps: float) -> Clip:
    if not fps > 0:
        raise InputError(f"a frame rate of {fps:g} makes no clip: give one above 0")
    files = [path]
    if path.is_dir():
        files = [file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES]
        files = [file for file in files if not (file.name.startswith(".") or file.is_dir())]
    if not files:
        raise InputError(
            f"the folder {path} holds no images: give a video file or a folder of jpg or png files"
        )
    files.sort(key=_natural_order)
    height, width = read_image(files[0]).shape[:2]
    times = np.arange(len(files)) / fps
    return _ImageFolder(path, width, height, fps, times, files=tuple(files))


def _natural_order(file: Path) -> list[tuple[int, str]]:
    """A sorting key in which frame9 comes before frame10."""
    parts = re.split(r"(\d+)", file.name.lower())
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def read_image(file: Path, silently: bool = True) -> UInt8[ndarray, "H W 3"]:
    """An RGB image, turned upright as its EXIF orientation says.

    `silently` keeps the decoder's complaints off the terminal, and with them what other threads
    write there meanwhile. Raises `InputError` if the file is absent or cannot be read as an image.
    """
    try:
        content = np.fromfile(file, np.uint8)
    except OSError as error:
        raise InputError(f"the image {file} cannot be opened: {error.strerror}") from error
    with silenced() if silently else contextlib.nullcontext():
        image = decode_image(content)
    if image is None:
        raise InputError(f"{file} cannot be read as an image: replace it or take it away")
    return image


def decode_image(content: UInt8[ndarray, "bytes"]) -> UInt8[ndarray, "H W 3"] | None:
    """What an image file holds in RGB, upright as its EXIF orientation says; None if no image."""
    image = cv2.imdecode(content, cv2.IMREAD_COLOR) if content.size else None
    return None if image is None else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
