"""Pictures made to fit a clip: with square pixels, whole, all of one size."""

import cv2
from jaxtyping import UInt8
from numpy import ndarray


def fitted(
    image: UInt8[ndarray, "h w 3"], size: tuple[int, int], stretch: tuple[float, float]
) -> UInt8[ndarray, "H W 3"]:
    """The image at a size (width, height), amid black bars if it is of another shape.

    `stretch` makes the pixels of such images square: of their width, and of their height.
    """
    if image.shape[1::-1] == size:
        return image
    width, height = inner = size_within(image, size, stretch)
    above, left = (size[1] - height) // 2, (size[0] - width) // 2
    below, right = size[1] - height - above, size[0] - width - left
    resized = cv2.resize(image, inner, interpolation=cv2.INTER_AREA)
    return cv2.copyMakeBorder(resized, above, below, left, right, cv2.BORDER_CONSTANT)


def size_within(
    image: UInt8[ndarray, "h w 3"], size: tuple[int, int], stretch: tuple[float, float]
) -> tuple[int, int]:
    """Width and height of what `fitted` puts between the bars."""
    if image.shape[1::-1] == size:
        return size
    across, down = image.shape[1] * stretch[0], image.shape[0] * stretch[1]
    scale = min(size[0] / across, size[1] / down)
    bars = max(size[0] - scale * across, size[1] - scale * down)
    if bars <= 1:  # rounding
        return size
    return max(round(scale * across), 1), max(round(scale * down), 1)
