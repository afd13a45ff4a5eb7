"""Pictures as videos hold them: full brightness, and half the width and height of colour.

What is drawn into them costs no more than itself: turning a whole picture to RGB and back takes as
long as decoding it does, and half as long as encoding.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeAlias, TypeVar, cast

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.rasterize import Window

Matrix: TypeAlias = Literal["smpte170m", "bt709"]
"""FFmpeg's names of the two ways from RGB to brightness and colour: of old and of HD television."""

_SHARES: dict[Matrix, tuple[float, float]] = {
    "smpte170m": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
}
"""How much of the brightness is red and blue (ITU-R BT.601 and BT.709)."""


@dataclass(frozen=True, eq=False)
class Planar:
    """A picture of even width and height in planes of brightness and colour, limited range."""

    sheet: UInt8[ndarray, "sheet w"]
    """Brightness, and below it both colours, two of their rows in each: OpenCV's I420."""
    matrix: Matrix

    @staticmethod
    def of(image: UInt8[ndarray, "h w 3"], matrix: Matrix = "smpte170m") -> "Planar":
        """An RGB image of even width and height."""
        if matrix == "smpte170m":  # the one that OpenCV knows
            sheet = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
            return Planar(np.asarray(sheet, np.uint8), matrix)
        height, width = image.shape[:2]
        made = Planar(np.empty((height * 3 // 2, width), np.uint8), matrix)
        for plane, color in zip(
            made.planes(), cv2.split(cv2.transform(image, _turn(made))), strict=True
        ):
            cv2.resize(color, plane.shape[::-1], dst=plane, interpolation=cv2.INTER_AREA)
        return made

    def rgb(self) -> UInt8[ndarray, "h w 3"]:
        """The same as an RGB image."""
        if self.matrix == "smpte170m":
            return np.asarray(cv2.cvtColor(self.sheet, cv2.COLOR_YUV2RGB_I420), np.uint8)
        with full_color(self, Window(0, 0, self.width, self.height)) as layers_as_channels:
            turn = _turn(self)
            back = np.linalg.inv(turn[:, :3])
            back = np.concatenate([back, -back @ turn[:, 3:]], axis=1)
            return np.asarray(cv2.transform(layers_as_channels, back), np.uint8)

    @property
    def height(self) -> int:
        return self.sheet.shape[0] * 2 // 3

    @property
    def width(self) -> int:
        return self.sheet.shape[1]

    def planes(self) -> tuple[UInt8[ndarray, "h w"], ...]:
        """Views of brightness and both colours, the latter of half the size."""
        half = self.height // 2, self.width // 2
        colors = self.sheet[self.height :].reshape(2, *half)
        return self.sheet[: self.height], colors[0], colors[1]

    def copy(self) -> "Planar":
        return Planar(self.sheet.copy(), self.matrix)


Picture: TypeAlias = UInt8[ndarray, "h w 3"] | Planar
"""RGB, or as videos hold it."""
Kind = TypeVar("Kind", bound=Picture)
"""Either of them."""


def size_of(picture: Picture) -> tuple[int, int]:
    """Height and width."""
    if isinstance(picture, Planar):
        return picture.height, picture.width
    return picture.shape[0], picture.shape[1]


def layers(picture: Picture) -> Sequence[ndarray]:
    """What is drawn into, one after the other: the image, or its planes."""
    return picture.planes() if isinstance(picture, Planar) else [picture]


def inks(colors: Float[ndarray, "n 3"], picture: Picture) -> list[Float[ndarray, "n *c"]]:
    """What RGB colours (0..1) are in each layer of a picture: 0..255."""
    if not isinstance(picture, Planar):
        return [255 * colors]
    red_share, blue_share = _SHARES[picture.matrix]
    red, green, blue = colors.T
    bright = red_share * red + (1 - red_share - blue_share) * green + blue_share * blue
    blueness = (blue - bright) / (2 - 2 * blue_share)
    redness = (red - bright) / (2 - 2 * red_share)
    return [16 + 219 * bright, 128 + 224 * blueness, 128 + 224 * redness]


def _turn(picture: Planar) -> Float[ndarray, "3 4"]:
    """From RGB to a picture's brightness and colours: all come of black and the primaries."""
    black, *primaries = np.stack(inks(np.eye(4, 3, -1), picture), axis=1)
    return np.stack([*(np.array(primaries) - black) / 255, black], axis=1)


def beside(left: Kind, right: UInt8[ndarray, "h w 3"]) -> Kind:
    """A picture and an RGB image of the same height in one picture of the former's kind."""
    if not isinstance(left, Planar):
        return cast(Kind, np.concatenate([left, right], axis=1))
    added = Planar.of(right, left.matrix)
    both = Planar(np.concatenate([left.sheet, added.sheet], axis=1), left.matrix)
    for place, *parts in zip(both.planes(), left.planes(), added.planes(), strict=True):
        np.concatenate(parts, axis=1, out=place)
    return cast(Kind, both)


@contextmanager
def full_color(picture: Picture, window: Window) -> Iterator[UInt8[ndarray, "h w 3"]]:
    """A part of a picture to draw into, its layers as channels; see `inks` for its colours.

    The window is one of even numbers; planar pictures have it back at the end.
    """
    if not isinstance(picture, Planar):
        yield picture[window.slices]
        return
    bright, *colors = picture.planes()
    boxes = [bright[window.slices], *(plane[window.halved().slices] for plane in colors)]
    size = window.right - window.left, window.bottom - window.top
    drawn = cv2.merge([cv2.resize(box, size, interpolation=cv2.INTER_NEAREST) for box in boxes])
    yield drawn
    for box, layer in zip(boxes, cv2.split(drawn), strict=True):
        cv2.resize(layer, box.shape[::-1], dst=box, interpolation=cv2.INTER_AREA)
