"""The images of a sequence's frames, and an account of those that could not be read."""

import logging
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import RawIOBase
from pathlib import Path
from threading import Lock

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.data.sequence import Sequence, ShardFrames
from temporal_hmr.decoding import decord_images
from temporal_hmr.decoding_av import indexed_facts, streamed_images
from temporal_hmr.errors import InputError
from temporal_hmr.images import decode_image, read_image

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
    images = sequence.images
    if isinstance(images, tuple):
        return images[frame], 0
    if isinstance(images, ShardFrames):
        return images.path, images.first + frame
    return images.path, images.numbers[frame]


def read_frames(
    sequence: Sequence, frames: Collection[int], unreadable: Unreadable
) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
    """Frames (of the sequence) with their images, one after another.

    Those that cannot be read are noted, and do not come. Images of shards may be cut out of what
    the labels speak of (`ShardFrames.of_stored`).
    """
    wanted = sorted(set(frames) - unreadable.among(sequence, frames))
    images = sequence.images
    if isinstance(images, ShardFrames):
        yield from _from_shard(sequence, images, wanted, unreadable)
        return
    if not isinstance(images, tuple):
        yield from _from_video(sequence, wanted, unreadable)
        return
    for frame in wanted:
        path = images[frame]
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
        for number, image in _video_images(path, first, max(numbers) + 1):
            if (frame := numbers.pop(number, None)) is None:
                continue
            turned = _upright(sequence, image)
            if _fits(sequence, frame, turned, unreadable):
                yield frame, turned
    for number in numbers:
        reason = "breaks off before it" if path.is_file() else "is not there"
        unreadable.add((path, number), f"frame {number} of {path}: the video {reason}")


def _video_images(
    path: Path, first: int, stop: int
) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
    facts = indexed_facts(path)
    if facts is None or first >= len(facts.stated):
        return enumerate(decord_images(path, first, stop), first)
    return streamed_images(path, facts.stated, first, stop)


def _from_shard(
    sequence: Sequence, images: ShardFrames, wanted: list[int], unreadable: Unreadable
) -> Iterator[tuple[int, UInt8[ndarray, "H W 3"]]]:
    """Opened once for all frames, which lie one behind the other."""
    try:
        file = images.path.open("rb", buffering=0)
    except OSError as error:
        for frame in wanted:
            reason = f"the shard {images.path} cannot be opened: {error.strerror}"
            unreadable.add(image_of(sequence, frame), reason)
        return
    with file:
        for frame in wanted:
            image = _member(file, images, frame)
            if isinstance(image, str):
                reason = f"{images.path}: {images.member(frame)} {image}"
                unreadable.add(image_of(sequence, frame), reason)
                continue
            image = _upright(sequence, image)
            if images.margin is not None or _fits(sequence, frame, image, unreadable):
                yield frame, image


def _member(file: RawIOBase, images: ShardFrames, frame: int) -> UInt8[ndarray, "H W 3"] | str:
    """An image, or why there is none."""
    size = int(images.sizes[frame])
    if size == 0:
        return "is not there: its image could not be read when the shard was made"
    try:
        file.seek(int(images.offsets[frame]))
        content = file.read(size) or b""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    if zlib.crc32(content) != int(images.checksums[frame]):
        return "is not what was written: copy the shard again"
    image = decode_image(np.frombuffer(content, np.uint8))
    return "cannot be decoded: make the shard anew" if image is None else image


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


@dataclass(eq=False)
class Uncovered:
    """How many crops reached beyond what shards hold of their images; threads may share one."""

    count: int = 0
    _lock: Lock = field(default_factory=Lock, repr=False)

    def __len__(self) -> int:
        return self.count

    def note(
        self,
        sequence: Sequence,
        frame: int,
        image: UInt8[ndarray, "H W 3"],
        corners: Float[ndarray, "4 2"],
    ) -> None:
        """Count the crop with these corners (pixels of the full image) if it has such a part.

        In the log totals come at every doubling.
        """
        images = sequence.images
        if not isinstance(images, ShardFrames) or images.margin is None:
            return
        low = images.corners[frame]
        high = low + np.array(image.shape[1::-1]) / images.scales[frame]
        within = np.clip(corners, 0, sequence.image_size)
        slack = 1 / images.scales[frame]
        if (within >= low - slack).all() and (within <= high + slack).all():
            return
        with self._lock:
            self.count += 1
            count = self.count
        if count & (count - 1) == 0:
            _log.warning("%s", self.summary())

    def summary(self) -> str:
        """One line of how many there were."""
        return (
            f"{self.count} images of clips reached beyond what shards hold of them, and were black "
            "there: shards made with a larger --margin have more"
        )
