"""Where a person's crop lies in the image, and what the heatmaps of a network say of its joints.

As the networks were trained: data processing without bias (UDP, Huang et al., "The Devil is in the
Details", CVPR 2020), in which the centres of the outermost pixels of a crop, and of the outermost
cells of its heatmaps, lie on the border of the window; maxima between the cells after DARK (Zhang
et al., "Distribution-Aware Coordinate Representation", CVPR 2020).
"""

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

MARGIN = 1.25
"""Sides of the window over those of the box."""
_BLUR_WIDTH, _BLUR_DEVIATION = 11, 0.8
"""Cells; of the Gaussian before the derivatives are taken."""


def windows_around(boxes: Float[ndarray, "n 4"], aspect: float) -> Float[ndarray, "n 4"]:
    """The boxes (xyxy, px) with a margin, widened or heightened to `aspect`, width over height."""
    low, high = boxes[:, :2], boxes[:, 2:]
    width, height = np.maximum(high - low, 1.0).T
    sides = np.stack([np.maximum(width, aspect * height), np.maximum(height, width / aspect)], -1)
    middle, reach = (low + high) / 2, MARGIN * sides / 2
    return np.concatenate([middle - reach, middle + reach], -1)


def cut_out(
    image: UInt8[ndarray, "H W 3"], window: Float[ndarray, "4"], size: tuple[int, int]
) -> UInt8[ndarray, "height width 3"]:
    """A window of the image at the size (height, width) of a crop; black beyond the image."""
    height, width = size
    scale = (np.array([width, height]) - 1) / (window[2:] - window[:2])
    # OpenCV counts from the centre of the first pixel, we from its corner.
    shift = -scale * (window[:2] - 0.5)
    matrix = np.array([[scale[0], 0, shift[0]], [0, scale[1], shift[1]]])
    return cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)


def read_heatmaps(
    heatmaps: Float[ndarray, "n J h w"], windows: Float[ndarray, "n 4"]
) -> Float[ndarray, "n J 3"]:
    """x, y (px of the image) and confidence, the maximum within 0..1; zeros where that is 0."""
    count, joints, height, width = heatmaps.shape
    flat = heatmaps.reshape(count, joints, height * width)
    rows, columns = np.divmod(flat.argmax(-1), width)
    confidence = np.clip(np.nan_to_num(flat.max(-1)), 0, 1)
    keypoints = np.zeros((count, joints, 3))
    for person in range(count):
        beyond = _beyond_the_cell(heatmaps[person], rows[person], columns[person])
        cells = np.stack([columns[person], rows[person]], -1) + beyond
        low, high = windows[person, :2], windows[person, 2:]
        keypoints[person, :, :2] = low + cells * (high - low) / (width - 1, height - 1)
    keypoints[..., 2] = confidence
    keypoints[confidence <= 0] = 0
    return keypoints


def _beyond_the_cell(
    heatmaps: Float[ndarray, "J h w"], rows: ndarray, columns: ndarray
) -> Float[ndarray, "J 2"]:
    """From the cell of each maximum to the maximum of a Gaussian: a Newton step on its logarithm.

    None where the logarithm has no maximum nearby, and never more than to the next cell.
    """
    # Many channels are blurred in one call, but only as the last axis.
    layers = np.ascontiguousarray(heatmaps.transpose(1, 2, 0), np.float32)
    width = (_BLUR_WIDTH, _BLUR_WIDTH)
    blurred = cv2.GaussianBlur(layers, width, _BLUR_DEVIATION, borderType=cv2.BORDER_REFLECT)
    logarithm = np.log(np.clip(blurred.reshape(layers.shape), 1e-3, 50)).astype(np.float64)
    padded = np.pad(logarithm, ((1, 1), (1, 1), (0, 0)), mode="edge")
    each = np.arange(len(heatmaps))

    def at(right: int, down: int) -> Float[ndarray, "J"]:
        return padded[rows + 1 + down, columns + 1 + right, each]

    slope_x, slope_y = (at(1, 0) - at(-1, 0)) / 2, (at(0, 1) - at(0, -1)) / 2
    bend_x = at(1, 0) - 2 * at(0, 0) + at(-1, 0)
    bend_y = at(0, 1) - 2 * at(0, 0) + at(0, -1)
    diagonal = at(1, 1) + at(-1, -1) - bend_x - bend_y - 2 * at(0, 0)
    bend_xy = diagonal / 2
    determinant = bend_x * bend_y - bend_xy**2
    peaked = (determinant > 1e-9) & (bend_x < 0)
    divisor = np.where(peaked, determinant, 1.0)
    step_x = -(bend_y * slope_x - bend_xy * slope_y) / divisor
    step_y = -(bend_x * slope_y - bend_xy * slope_x) / divisor
    step = np.stack([step_x, step_y], -1)
    return np.where(peaked[:, None], np.clip(step, -1, 1), 0.0)
