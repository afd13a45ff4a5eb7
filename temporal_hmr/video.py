"""Clips: upright RGB frames with presentation times, streamed from a video or a folder of images.

decord tells which frames a video has (PyAV, where there is no decord), and PyAV reads them. Where
decord cannot be used, which the log tells, OpenCV or PyAV does both; without PyAV decord does. A
video that breaks off (decord refuses those) is read on by OpenCV up to the break, and the clip then
says that it was broken. Damage in the middle costs the frames that it hit: the picture before
stands in for them, numbers and times stay what they are.
"""

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from temporal_hmr.animations import is_animation
from temporal_hmr.containers import lacks_index
from temporal_hmr.damage import numbers_in_avi, told_damage, told_gaps, told_images
from temporal_hmr.decoding import (
    announced,
    is_cut_short,
    opencv_facts,
    opencv_images,
    pixel_stretch,
    remaining_images,
)
from temporal_hmr.decoding_av import av_facts, av_images, codec_of, indexed_facts, streamed_images
from temporal_hmr.display import shown_range
from temporal_hmr.errors import InputError
from temporal_hmr.fitting import fitted, size_within
from temporal_hmr.image_numbers import ImageSeries, image_series
from temporal_hmr.images import IMAGE_SUFFIXES, first_readable, image_or_none, images_in

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
    damaged: bool = False
    """Whether it cannot be read, and the picture before (or a black one) stands in for it."""


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
    breaks: ClassVar[bool] = True
    """Whether frames that fail to come at the end are a break; else they are damaged."""
    as_in_file: ClassVar[bool] = False
    """Whether pictures are those that the video file at `path` holds, and nothing was done to them.
    """
    breaks_off_after: int | None = field(default=None, init=False)
    """Set by iterating: how many frames a broken video has before its break; None while whole."""
    damaged: tuple[int, ...] = field(default=(), init=False)
    """Set by iterating: numbers of the frames before that which cannot be read."""

    def __len__(self) -> int:
        """How many frames iterating should deliver; fewer come if the video breaks off."""
        return len(self.indices())

    def indices(self) -> range:
        """Of those frames in the whole video."""
        return range(*self._range(), self.stride)

    def __iter__(self) -> Iterator[Frame]:
        first, stop = self._range()
        following, damaged = first, []
        for frame in self._filled(first, stop):
            following = frame.index + 1
            if frame.damaged:
                damaged.append(frame.index)
            if (frame.index - first) % self.stride == 0:
                yield frame
        if len(damaged) == stop - first:
            raise InputError(f"not one frame of {self.path} can be read: give another source")
        if damaged and not self.damaged:
            _log.warning("%s; they count as unseen", self._told_damage(damaged))
        self.damaged = tuple(damaged)
        if following < stop and self.breaks_off_after is None:
            self.breaks_off_after = following
            _log.warning(
                "%s breaks off after %d of %d frames, at %.2f s: what comes before is used",
                self.path.name,
                following,
                len(self.times),
                self.times[following],
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

    def _filled(self, first: int, stop: int) -> Iterator[Frame]:
        """Frames `first` to `stop - 1`, or up to the break, with something for those damaged."""
        held, following = None, first
        for frame in self._decode(first, stop):
            yield from self._with_those_behind(held, range(following, frame.index))
            held, following = frame, frame.index + 1
        yield from self._with_those_behind(
            held, range(following, following if self.breaks else stop)
        )

    def _with_those_behind(self, frame: Frame | None, damaged: range) -> Iterator[Frame]:
        """A frame, if there is one, and what stands in for those behind it."""
        shown = None
        if damaged:
            # A copy: whoever gets a frame may draw into it.
            black = np.zeros((self.height, self.width, 3), np.uint8)
            shown = black if frame is None else frame.image.copy()
        if frame is not None:
            yield frame
        for index in damaged:
            assert shown is not None, "as there are some"
            yield Frame(index, float(self.times[index]), shown.copy(), damaged=True)

    def _told_damage(self, damaged: list[int]) -> str:
        """What is damaged, in words."""
        step = 1 / (self.fps * self.stride)
        first, stop = self._range()
        return told_damage(self.path.name, self.times, damaged, stop - first, step)

    @abstractmethod
    def _decode(self, first: int, stop: int) -> Iterator[Frame]:
        """Of the frames `first` to `stop - 1` those that can be read."""


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
        if set(path.name) & set("*?["):
            raise InputError(f"no file matches {path}: check the pattern")
        raise InputError(f"there is no video at {path}: check the path")
    is_image = path.is_file() and path.suffix.lower() in IMAGE_SUFFIXES
    if path.is_dir() or (is_image and not is_animation(path)):
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
    as_in_file: ClassVar[bool] = True
    reader: Literal["decord", "OpenCV", "PyAV"] = "decord"
    stretch: tuple[float, float] = (1.0, 1.0)
    """Of the pictures that the reader gives; delivered pixels are square."""
    numbers: Int[ndarray, "M"] | None = None
    """Of the frames that the reader gives; None if it gives all of them, up to a break."""
    stated: Float[ndarray, "N"] | None = None
    """Times (s) in the file's index, by which decord's frames are told."""
    shown: tuple[float | None, float | None] = (None, None)
    """From when to when (s) players show it, which is the range unless another one is given."""
    _told_shape: bool = field(default=False, init=False)

    def with_range(self, start: float | None = None, end: float | None = None) -> Clip:
        shown_until = self.shown[1]
        if start is not None and end is None and shown_until is not None and start >= shown_until:
            raise InputError(
                f"players show {self.path.name} up to {shown_until:g} s, the rest was cut away: "
                "give an end, too, to reach it"
            )
        bounds = zip((start, end), self.shown, strict=True)
        return super().with_range(*(own if given is None else given for given, own in bounds))

    def _decode(self, first: int, stop: int) -> Iterator[Frame]:
        for index, image in self._images(first, stop):
            if index >= stop:
                return
            time = float(self.times[index])
            size = self.width, self.height
            if not self._told_shape and size_within(image, size, self.stretch) != size:
                self._told_shape = True
                told = "the shape of the pictures of %s changes at %.2f s: black bars fill them up"
                _log.warning(told, self.path.name, time)
            yield Frame(index, time, fitted(image, size, self.stretch))

    def _images(self, first: int, stop: int) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
        """Number and image of the frames that can be read, from `first` on."""
        if self.stated is None:
            images = av_images if self.reader == "PyAV" else opencv_images
            numbers = np.arange(len(self.times)) if self.numbers is None else self.numbers
            begin = int(np.searchsorted(numbers, first))
            # Fewer if it breaks off, never more.
            for index, (_, image) in zip(numbers[begin:], images(self.path, begin), strict=False):
                yield int(index), image
            return
        following = first
        for index, image in streamed_images(self.path, self.stated, first, stop):
            yield index, image
            following = index + 1
        if following < stop:
            # decord had the first one, if any: what OpenCV counts times from.
            begun = float(self.times[0]) if self.shown[0] is None else self.shown[0]
            begun = begun if following > 0 else None
            yield from remaining_images(self.path, self.stated, range(following, stop), begun)


def _open_video(path: Path) -> Clip:
    reader, facts, image = "decord", indexed_facts(path), None
    stated = None if facts is None else facts.stated
    if stated is not None:
        image = next((image for _, image in streamed_images(path, stated, 0, 1)), None)
    if facts is None:
        reader, facts = "OpenCV", opencv_facts(path)
    if facts is None:
        reader, facts = "PyAV", av_facts(path)
        image = None if facts is None else next((image for _, image in av_images(path)), None)
    if facts is not None and image is None:
        image = next((image for _, image in opencv_images(path)), None)
    if facts is None or image is None:
        raise InputError(_unreadable(path))
    times, fps = facts[:2]
    announced_fps, announced_count = announced(path)
    cut = is_cut_short(path, times, announced_count / announced_fps)
    if reader != "decord" and not cut:  # of cut ones the break is told
        _log.warning("%s is read by %s, because decord cannot be used for it", path.name, reader)
    gaps = told_gaps(path.name, times)
    if gaps is not None:
        _log.warning(gaps)
    numbers = numbers_in_avi(path, times, fps) if reader == "OpenCV" else None
    if numbers is not None:
        times, cut = times[0] + np.arange(numbers[-1] + 1) / fps, False
    missing = max(announced_count - len(times), 0) if cut else 0
    added = np.arange(1, missing + 1) / fps
    times = np.append(times, times[-1] + added)
    stated = None if stated is None else np.append(stated, stated[-1] + added)
    stretch = pixel_stretch(path)
    height, width = image.shape[:2]
    clip = _VideoFile(
        path,
        round(width * stretch[0]),
        round(height * stretch[1]),
        fps,
        times,
        reader=reader,
        stretch=stretch,
        numbers=numbers,
        stated=stated,
        shown=shown_range(path, times, fps),
    )
    return clip if clip.shown == (None, None) else clip.with_range()


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
    series: ImageSeries = field(default_factory=ImageSeries)
    breaks: ClassVar[bool] = False

    def frame_names(self) -> tuple[str, ...]:
        return tuple(file.name for file in self.series.files)

    def _decode(self, first: int, stop: int) -> Iterator[Frame]:
        for index in range(first, stop):
            file = self.series.files[index]
            image = None if index in self.series.holes else image_or_none(file)
            if image is None:
                continue
            height, width = image.shape[:2]
            if (height, width) != (self.height, self.width):
                raise InputError(
                    f"{file} is {width} x {height} pixels where the images before it "
                    f"are {self.width} x {self.height}: give images of one size"
                )
            yield Frame(index, float(self.times[index]), image)

    def _told_damage(self, damaged: list[int]) -> str:
        first, stop = self._range()
        names = [self.series.files[index].name for index in damaged]
        missing = len(self.series.holes.intersection(damaged))
        return told_images(self.path.name, names, missing, stop - first)


def _open_images(path: Path, fps: float) -> Clip:
    if not fps > 0:
        raise InputError(f"a frame rate of {fps:g} makes no clip: give one above 0")
    series = image_series(images_in(path) if path.is_dir() else [path])
    if not series.files:
        raise InputError(
            f"the folder {path} holds no images: give a video file or a folder of jpg or png files"
        )
    height, width = first_readable(series.present()).shape[:2]
    times = np.arange(len(series.files)) / fps
    return _ImageFolder(path, width, height, fps, times, series=series)
