"""What augmentation does to the pixels of crops: things in the way, lens, colours, holes."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from numpy.random import Generator

from temporal_hmr.data.augmentation import CropAugmentation
from temporal_hmr.rotation import axis_angle_to_matrix

_MIDDLE_GREY = 128.0
_GREY = (0.299, 0.587, 0.114)
"""Share of red, green and blue in brightness (BT.601)."""


@dataclass(frozen=True, eq=False)
class Looks:
    """One clip's draw of everything that changes colours and moves nothing."""

    colours: Float[ndarray, "3 4"] | None
    """What becomes of red, green, blue and 1."""
    blur: float
    """Standard deviation in sides of the crop."""
    quality: int | None
    """Of JPEG, 0..100."""
    patch: tuple[Float[ndarray, "4"], UInt8[ndarray, "3"]] | None
    """A rectangle (left, top, right, bottom, in sides of the crop) and its colour."""
    dark: Float[ndarray, "4"]
    """The rectangle that is blacked out in some of the frames."""
    darkened: Bool[ndarray, "T"]

    @staticmethod
    def draw(settings: CropAugmentation, frames: int, rng: Generator) -> "Looks":
        """Every number is drawn whether or not it is used: one switch changes nothing else."""
        colours = _colours(settings, rng)
        blurred, compressed, patched = rng.random(3) < (
            settings.blurred_share,
            settings.jpeg_share,
            settings.patch_share,
        )
        blur = settings.blur * float(rng.random())
        quality = int(rng.integers(settings.jpeg_quality[0], settings.jpeg_quality[1] + 1))
        size = rng.uniform(0.1, 0.5, 2)
        corner = rng.random(2) * (1 - size)
        patch = np.concatenate([corner, corner + size]), rng.integers(0, 256, 3).astype(np.uint8)
        dark = _at_one_side(int(rng.integers(4)), settings.erased_part * float(rng.random()))
        return Looks(
            colours,
            blur if blurred else 0.0,
            quality if compressed else None,
            patch if patched else None,
            dark,
            rng.random(frames) < settings.erased_share,
        )

    def photograph(self, image: UInt8[ndarray, "side side 3"]) -> UInt8[ndarray, "side side 3"]:
        """Lens, sensor and codec."""
        if self.blur * len(image) > 0.1:
            image = cv2.GaussianBlur(image, (0, 0), self.blur * len(image))
        if self.colours is not None:
            image = cv2.transform(image, self.colours)
        if self.quality is not None:
            _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
        return image

    def erase(self, image: UInt8[ndarray, "side side 3"], frame: int) -> None:
        """Cut the clip's holes into one of its frames."""
        if self.patch is not None:
            image[_part(self.patch[0], len(image))] = self.patch[1]
        if self.darkened[frame]:
            image[_part(self.dark, len(image))] = 0


def crop_corners(matrix: Float[ndarray, "2 3"], side: int) -> Float[ndarray, "4 2"]:
    """Where the corners of a square crop are in the image that an affine map took to it."""
    corners = np.array([[0, 0], [side, 0], [0, side], [side, side]])
    return (corners - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def blacken_outside(
    crop: UInt8[ndarray, "side side 3"],
    matrix: Float[ndarray, "2 3"],
    image_size: tuple[int, int],
) -> None:
    """There is nothing beyond the edges of the image that an affine map took to the crop.

    `image_size` is width and height.
    """
    side = len(crop)
    corners = crop_corners(matrix, side)
    if (corners >= 0).all() and (corners <= image_size).all():
        return
    back = np.linalg.inv(matrix[:, :2])
    middles = np.arange(side) + 0.5
    rows, columns = middles[:, None] - matrix[1, 2], middles - matrix[0, 2]
    x = back[0, 0] * columns + back[0, 1] * rows
    y = back[1, 0] * columns + back[1, 1] * rows
    crop[(x < 0) | (y < 0) | (x > image_size[0]) | (y > image_size[1])] = 0


def _colours(settings: CropAugmentation, rng: Generator) -> Float[ndarray, "3 4"] | None:
    """Hue, saturation, brightness and contrast as one map of colours; None if none varies."""
    limits = (settings.brightness, settings.contrast, settings.saturation, settings.hue)
    brightness, contrast, saturation, hue = rng.uniform(-1, 1, 4) * limits
    if not any(limits):
        return None
    axis = torch.full((3,), hue / 3**0.5, dtype=torch.float64)
    turned = axis_angle_to_matrix(axis).numpy()
    grey = np.tile(_GREY, (3, 1))
    mixed = (1 + saturation) * np.eye(3) - saturation * grey
    linear = (1 + contrast) * (1 + brightness) * mixed @ turned
    return np.column_stack([linear, np.full(3, -contrast * _MIDDLE_GREY)])


def _at_one_side(side: int, part: float) -> Float[ndarray, "4"]:
    """Left, top, right, bottom of a strip along one side of the unit square."""
    strips = ((0, 0, part, 1), (0, 0, 1, part), (1 - part, 0, 1, 1), (0, 1 - part, 1, 1))
    return np.array(strips[side], float)


def _part(rectangle: Float[ndarray, "4"], side: int) -> tuple[slice, slice]:
    left, top, right, bottom = np.round(rectangle * side).astype(int)
    return slice(top, bottom), slice(left, right)
