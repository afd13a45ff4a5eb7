"""The images of a sequence's frames, and an account of those that could not be read."""

import logging
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from temporal_hmr.data.sequence import Sequence
from temporal_hmr.decoding import decord_images
from temporal_hmr.errors import InputError
from temporal_hmr.video import read_image

_log = logging.getLogger(__name__)

NAMED = 20
"""So many unreadable images are named in the log; of the others there are totals."""
_END_OF_JPEG = b"\xff\xd9"
_TAIL = 4096


@dataclass(eq=False)
class Unreadable:
    """Images that could not be read: each is reported once, and never tried again.

    Several threads may share one.
    """

    reasons: dict[tuple[Path, int], str] = field(default_factory=dict)
    """By file and number of the frame in it."""
    _lock: Lock = field(default_factory=Lock, repr=False)

    def __len__(self) -> int:
        return len(self.reasons)

    def among(self, sequence: Sequence, frames: Collection[int]) -> set[int]:
        """Those of a sequence's frames whose images are known to be unreadable."""
        return {frame for frame in frames if image_of(sequence, frame) in self.reasons}

    def add(self, image: tuple[Path, int], reason: str) -> None:
        """Keep it, and log it; in the log totals come at every doubling."""
        with self._lock:
            if image in self.reasons:
                return
            self.reasons[image] = reason
            count = len(self.reasons)
        if count <= NAMED:
            _log.warning("left out of training: %s", reason)
        elif count & (count - 1) == 0:
            _log.warning("%s", self.summary())

    def summary(self) -> str:
        """One line of how many there are."""
        files = len({path for path, _ in list(self.reasons)})
        return f"{len(self)} images of {files} files could not be read and were left out"


def image_of(sequence: Sequence, frame: int) -> tuple[Path, int]:
    """The file of one frame's image, and the number of the image in it."""
    if isinstance(sequence.images, tuple):
        return sequence.images[frame], 0
    return sequence.images.path, sequence.images.numbers[frame]


def read_frames(
    sequence: Sequence, frames: Collection[int], unreadable: Unreadable
) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
    """Frames (of the sequence) with their images, one after another.

    Those that cannot be read are noted, and do not come.
    """
    wanted = sorted(set(frames) - unreadable.among(sequence, frames))
    if not isinstance(sequence.images, tuple):
        yield from _from_video(sequence, wanted, unreadable)
        return
    for frame in wanted:
        path = sequence.images[frame]
        try:
            image = read_whole_image(path)
        except InputError as error:
            unreadable.add((path, 0), str(error))
            continue
        image = _upright(sequence, image)
        if _fits(sequence, frame, image, unreadable):
            yield frame, image


def read_whole_image(path: Path) -> UInt8[ndarray, "H W 3"]:
    """An upright RGB image; raises `InputError` if any of it is missing."""
    if path.suffix.lower() in (".jpg", ".jpeg"):
        _require_end(path)
    # What other threads have to say must not be lost, as it would be silencing the decoder.
    return read_image(path, silently=False)


def _require_end(path: Path) -> None:
    """Decoders give the beginning of a JPEG file that breaks off, and grey for the rest."""
    try:
        with path.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - _TAIL))
            tail = file.read()
    except OSError as error:
        raise InputError(f"the image {path} cannot be opened: {error.strerror}") from error
    if _END_OF_JPEG not in tail:
        raise InputError(f"{path} breaks off: copy or download the image again")


def _from_video(
    sequence: Sequence, wanted: list[int], unreadable: Unreadable
) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
    numbers = {image_of(sequence, frame)[1]: frame for frame in wanted}
    if not numbers:
        return
    path, first = image_of(sequence, wanted[0])[0], min(numbers)
    if path.is_file():
        for number, image in enumerate(decord_images(path, first, max(numbers) + 1), first):
            if (frame := numbers.pop(number, None)) is None:
                continue
            turned = _upright(sequence, image)
            if _fits(sequence, frame, turned, unreadable):
                yield frame, turned
    for number in numbers:
        reason = "breaks off before it" if path.is_file() else "is not there"
        unreadable.add((path, number), f"frame {number} of {path}: the video {reason}")


def _upright(
    sequence: Sequence, image: UInt8[ndarray, "H W 3"]
) -> UInt8[ndarray, "height width 3"]:
    """As the labels have it."""
    return np.ascontiguousarray(np.rot90(image, -sequence.quarter_turns))


def _fits(
    sequence: Sequence, frame: int, image: UInt8[ndarray, "H W 3"], unreadable: Unreadable
) -> bool:
    """Whether labels in pixels can speak of that image."""
    height, width = np.shape(image)[:2]
    if (width, height) == tuple(sequence.image_size):
        return True
    name = image_of(sequence, frame)
    labelled = "{} x {}".format(*sequence.image_size)
    unreadable.add(name, f"{name[0]} is {width} x {height} pixels, its labels are of {labelled}")
    return False
