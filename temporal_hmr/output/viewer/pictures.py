"""The frames of a video as small pictures.

OpenCV's wheels encode no H.264, and VP8 and VP9 at a fixed bit per pixel, which is no smaller than
pictures and takes minutes. WebP pictures are shown by every browser and hit the right frame always.
"""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray
from PIL import Image

from temporal_hmr.video import Frame

LONGEST_SIDE = 640
LEAST_BYTES = 5000
"""Of a picture, on average: with less it tells nothing (256 pixels a side)."""
_SHORTEST_SIDE = 64
_QUALITY, _EFFORT = 50, 4
_SMALLER = 0.75
"""A picture's bytes grow with the side to the power of 1.4, measured; 1 / 1.4 and some room."""


@dataclass(frozen=True)
class Pictures:
    """One picture for each frame that is shown."""

    width: int
    height: int
    content: tuple[bytes, ...]
    """WebP; empty where there is no picture of the frame."""

    def __len__(self) -> int:
        """Bytes of all of them."""
        return sum(map(len, self.content))


def take_pictures(
    clip: Iterable[Frame], numbers: Int[ndarray, "N"], size: tuple[int, int], room: float
) -> Pictures:
    """Pictures of these frames, at most 640 pixels a side and as small as the room (bytes) wants.

    `size` is the width and height of the video.
    """
    places = {int(number): place for place, number in enumerate(numbers)}
    content = [b""] * len(numbers)
    width, height = _within(size, LONGEST_SIDE)
    for frame in _up_to(clip, int(numbers[-1])):
        if frame.index in places:
            content[places[frame.index]] = _encode(frame.image, (width, height))
    pictures = Pictures(width, height, tuple(content))
    while len(pictures) > room and max(pictures.width, pictures.height) > _SHORTEST_SIDE:
        side = max(pictures.width, pictures.height) * (room / len(pictures)) ** _SMALLER
        pictures = _smaller(pictures, max(int(side), _SHORTEST_SIDE))
    return pictures


def _up_to(clip: Iterable[Frame], last: int) -> Iterator[Frame]:
    for frame in clip:
        yield frame
        if frame.index >= last:
            return


def _within(size: tuple[int, int], side: int) -> tuple[int, int]:
    scale = min(side / max(size), 1.0)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def _encode(image: UInt8[ndarray, "h w 3"], size: tuple[int, int]) -> bytes:
    if (image.shape[1], image.shape[0]) != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "webp", quality=_QUALITY, method=_EFFORT)
    return buffer.getvalue()


def _smaller(pictures: Pictures, side: int) -> Pictures:
    size = _within((pictures.width, pictures.height), side)
    content = tuple(_encode(_decode(each), size) if each else b"" for each in pictures.content)
    return Pictures(*size, content)


def _decode(content: bytes) -> UInt8[ndarray, "h w 3"]:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
