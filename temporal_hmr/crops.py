"""The box that follows a person, and the window of crop coordinates inside it.

Training and tracking cut their windows with this same code, window by window, so the model meets in
use what it met in training.
"""

import math

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from temporal_hmr.batch import CropWindow

BOX_MARGIN = 1.2
"""Side of the box over the larger extent of the confident keypoints."""
SMOOTHING_SECONDS = 0.15
"""Standard deviation of the Gaussian that smooths the box over time, as a steady hand would."""
READABLE_JOINTS = 8
"""A frame with fewer known keypoints says little of the body."""
MOST_AVERAGED = 16
"""Pixels across that are averaged to one of a crop: a box far larger than any image is no reason to
fill the memory."""
CONFIDENT = 0.3
"""Keypoints of at least this confidence shape the box."""


def cut_window(
    pixels: Float[Tensor, "B T J 2"],
    scores: Float[Tensor, "B T J"],
    times: Float[Tensor, "B T"],
    valid: Bool[Tensor, "B T"],
    focal: Float[Tensor, "B 2"],
    center: Float[Tensor, "B 2"],
) -> CropWindow:
    """Detected keypoints (full-image pixels) to a window; score 0 marks an unknown keypoint."""
    box_center, box_size = follow(pixels, scores * valid[..., None], times)
    keypoints = to_box(pixels, box_center, box_size)
    keypoints = torch.where(scores[..., None] > 0, keypoints, 0.0)
    return CropWindow(keypoints, scores, box_center, box_size, focal, center, times, valid)


def extents(keypoints: Float[ndarray, "T J 3"], above: float = 0.0) -> Float[ndarray, "T 4"]:
    """Rectangle (x_min, y_min, x_max, y_max) of each frame's keypoints of confidence above that.

    NaN where there are none.
    """
    known = keypoints[..., 2:] > above
    low = np.where(known, keypoints[..., :2], np.inf).min(1)
    high = np.where(known, keypoints[..., :2], -np.inf).max(1)
    return np.where(known.any(1), np.concatenate([low, high], 1), np.nan)


def readable(scores: Float[Tensor, "B T J"]) -> Bool[Tensor, "B"]:
    """Clips in a quarter of whose frames enough is seen to tell a body from."""
    return ((scores > 0).sum(-1) >= READABLE_JOINTS).float().mean(1) >= 0.25


def to_box(
    pixels: Float[Tensor, "B T J 2"],
    box_center: Float[Tensor, "B T 2"],
    box_size: Float[Tensor, "B T"],
) -> Float[Tensor, "B T J 2"]:
    """Full-image pixels to crop coordinates, -1..1 across the box."""
    return (pixels - box_center[:, :, None]) / (0.5 * box_size[..., None, None])


def follow(
    pixels: Float[Tensor, "B T J 2"], scores: Float[Tensor, "B T J"], times: Float[Tensor, "B T"]
) -> tuple[Float[Tensor, "B T 2"], Float[Tensor, "B T"]]:
    """Centre and side (pixels) of a square box around the person, smooth in time.

    Each frame's box spans its confident keypoints (any known ones where fewer than four are
    confident); frames without any lean on their neighbours in time, however far.
    """
    known = scores > 0
    confident = scores >= CONFIDENT
    enough = confident.sum(-1, keepdim=True) >= 4
    used = torch.where(enough, confident, known)[..., None]
    low = torch.where(used, pixels, torch.inf).amin(-2)
    high = torch.where(used, pixels, -torch.inf).amax(-2)
    # The more joints a frame's box rests on, the more it counts; none at all counts nothing.
    weight = used.squeeze(-1).sum(-1).to(pixels.dtype)
    weight = torch.where(used.flatten(1).any(-1)[:, None], weight, 1.0)
    seen = used.squeeze(-1).any(-1)
    # A clip in which nothing at all was seen gets a unit box at the origin instead of NaN.
    low = torch.where(seen[..., None], low, 0.0)
    high = torch.where(seen[..., None], high, 1.0)
    extent = torch.cat([(low + high) / 2, (high - low).amax(-1, keepdim=True)], -1)
    gaps = times[:, :, None] - times[:, None, :]
    closeness = -0.5 * (gaps / SMOOTHING_SECONDS) ** 2 + weight.log()[:, None, :]
    smooth = closeness.softmax(-1) @ extent
    return smooth[..., :2], BOX_MARGIN * smooth[..., 2].clamp(min=1.0)


def crop_image(
    image: UInt8[ndarray, "H W 3"], center: Float[ndarray, "2"], size: float, side: int
) -> UInt8[ndarray, "side side 3"]:
    """The square box of an image at another resolution; black beyond the image's edges.

    The box's corners are the crop's corners: pixel i covers i to i + 1. Averages where it shrinks.
    """
    scale = side / size
    shift = scale * (size / 2 - center)
    return warp_image(image, np.array([[scale, 0, shift[0]], [0, scale, shift[1]]]), side)


def warp_image(
    image: UInt8[ndarray, "H W 3"], matrix: Float[ndarray, "2 3"], side: int
) -> UInt8[ndarray, "side side 3"]:
    """A square picture of the image, moved by an affine map; black beyond the image's edges.

    The map takes pixels of the image to those of the crop, both counted from the corner of the
    first: pixel i covers i to i + 1. Averages where it shrinks.
    """
    scale = abs(np.linalg.det(matrix[:, :2])) ** 0.5
    # Rounding must not make a scale of exactly a half shrink in three steps.
    finer = min(max(1, math.ceil(1 / scale - 1e-9)), MOST_AVERAGED)
    # OpenCV counts from the centre of the first pixel, we from its corner.
    linear = finer * matrix[:, :2]
    shift = finer * matrix[:, 2] + linear @ (0.5, 0.5) - 0.5
    moved = np.column_stack([linear, shift])
    crop = cv2.warpAffine(image, moved, (finer * side, finer * side), flags=cv2.INTER_LINEAR)
    return cv2.resize(crop, (side, side), interpolation=cv2.INTER_AREA) if finer > 1 else crop
