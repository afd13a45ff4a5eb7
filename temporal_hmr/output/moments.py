"""Pictures of single frames: predicted and true skeleton over each other.

Prediction blue, truth amber, hues that colour-blind readers tell apart; the person's left limbs
light, right limbs dark.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.skeleton import SMPL24, Skeleton

Color = tuple[int, int, int]
"""RGB, 0..255."""

LONGEST_SIDE = 480
"""Pixels, of the pictures made here."""
PREDICTION: dict[str, Color] = {
    "left": (86, 180, 233),
    "middle": (30, 140, 200),
    "right": (0, 96, 165),
}
TRUTH: dict[str, Color] = {"left": (255, 205, 92), "middle": (240, 165, 30), "right": (205, 115, 0)}
"""By side of the body."""
PICTURE_KEY = (
    "In the pictures the prediction is blue and the truth amber; the person's left limbs are "
    "light, the right ones dark."
)

_RIM: Color = (25, 28, 32)
_GREY = 118
_MARGIN = 0.15
"""Around the person, of the larger extent."""
_NARROWEST = 0.6
"""Shorter side of a picture over its longer one, where the image reaches so far."""


def skeleton_picture(
    image: UInt8[ndarray, "h w 3"],
    predicted_pixels: Float[ndarray, "24 2"],
    true_pixels: Float[ndarray, "24 2"] | None = None,
    skeleton: Skeleton = SMPL24,
    box: Float[ndarray, "4"] | None = None,
    label: str = "",
) -> UInt8[ndarray, "H W 3"]:
    """The part of an RGB image around the person, with both skeletons drawn in and a label.

    Pixels are of the whole image; joints that are not finite are left out. The picture holds the
    box (x_min, y_min, x_max, y_max) and both skeletons as far as the image reaches.
    """
    height, width = image.shape[:2]
    region = _region(predicted_pixels, true_pixels, box)
    whole = np.array([0, 0, width, height])
    region = whole if region is None else np.r_[np.floor(region[:2]), np.ceil(region[2:])]
    region = np.clip(region, 0, whole[[2, 3, 2, 3]]).astype(int)
    if (region[2:] <= region[:2]).any():
        region = whole
    left, top, right, bottom = region
    scale = LONGEST_SIDE / max(right - left, bottom - top)
    size = _size(region[2:] - region[:2], scale)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    picture = cv2.resize(image[top:bottom, left:right], size, interpolation=how).astype(np.uint8)
    return _drawn(picture, (predicted_pixels, true_pixels), region[:2], scale, skeleton, label)


def blank_picture(
    predicted_pixels: Float[ndarray, "24 2"],
    true_pixels: Float[ndarray, "24 2"] | None = None,
    skeleton: Skeleton = SMPL24,
    box: Float[ndarray, "4"] | None = None,
    label: str = "",
) -> UInt8[ndarray, "H W 3"]:
    """As `skeleton_picture`, on grey: for data without images."""
    region = _region(predicted_pixels, true_pixels, box)
    if region is None:
        region = np.array([0.0, 0.0, LONGEST_SIDE, LONGEST_SIDE])
    scale = LONGEST_SIDE / (region[2:] - region[:2]).max()
    width, height = _size(region[2:] - region[:2], scale)
    picture = np.full((height, width, 3), _GREY, np.uint8)
    return _drawn(picture, (predicted_pixels, true_pixels), region[:2], scale, skeleton, label)


def _region(
    predicted: Float[ndarray, "24 2"],
    true: Float[ndarray, "24 2"] | None,
    box: Float[ndarray, "4"] | None,
) -> Float[ndarray, "4"] | None:
    """x_min, y_min, x_max, y_max around all of it and some room; None if nothing is finite."""
    points = [predicted, *([] if true is None else [true])]
    if box is not None:
        points.append(np.reshape(box, (2, 2)))
    known = np.concatenate(points)
    known = known[np.isfinite(known).all(1)]
    if len(known) == 0:
        return None
    low, high = known.min(0), known.max(0)
    longest = max((high - low).max(), 1.0)
    half = np.maximum((high - low) / 2, _NARROWEST * longest / 2) + _MARGIN * longest
    middle = (low + high) / 2
    return np.concatenate([middle - half, middle + half])


def _size(extent: Float[ndarray, "2"], scale: float) -> tuple[int, int]:
    """Width and height in pixels."""
    width, height = (max(round(float(side) * scale), 1) for side in extent)
    return width, height


def _drawn(
    picture: UInt8[ndarray, "h w 3"],
    skeletons: Sequence[Float[ndarray, "24 2"] | None],
    origin: Float[ndarray, "2"],
    scale: float,
    skeleton: Skeleton,
    label: str,
) -> UInt8[ndarray, "h w 3"]:
    """The picture with the predicted and the true skeleton, the prediction on top, and a label."""
    for pixels, colors in reversed(list(zip(skeletons, (PREDICTION, TRUTH), strict=True))):
        if pixels is not None:
            _draw_skeleton(picture, (pixels - origin) * scale, skeleton, colors)
    if label:
        _draw_label(picture, label)
    return picture


def _draw_label(picture: UInt8[ndarray, "h w 3"], label: str) -> None:
    font, size, bottom = cv2.FONT_HERSHEY_SIMPLEX, 0.65, picture.shape[0]
    (width, height), below = cv2.getTextSize(label, font, size, 1)
    cv2.rectangle(picture, (0, bottom - height - below - 10), (width + 16, bottom), _RIM, -1)
    place = (8, bottom - below - 5)
    cv2.putText(picture, label, place, font, size, (255, 255, 255), 1, cv2.LINE_AA)


def _draw_skeleton(
    picture: UInt8[ndarray, "h w 3"],
    points: Float[ndarray, "24 2"],
    skeleton: Skeleton,
    colors: dict[str, Color],
) -> None:
    known = np.all(np.isfinite(points), axis=1)
    # Beyond this OpenCV's integers end; so far outside the picture a bent line is not seen.
    limit = 100 * LONGEST_SIDE
    places = np.floor(np.clip(np.where(known[:, None], points, 0), -limit, limit)).astype(int)
    bones = [bone for bone in _bones(skeleton) if known[list(bone)].all()]
    for width, inked in ((7, False), (3, True)):
        for start, end in bones:
            color = colors[_side(skeleton.joints[end])] if inked else _RIM
            cv2.line(picture, places[start], places[end], color, width, cv2.LINE_AA)
        for joint in np.flatnonzero(known):
            color = colors[_side(skeleton.joints[joint])] if inked else _RIM
            cv2.circle(picture, places[joint], width // 2 + 3, color, cv2.FILLED, cv2.LINE_AA)


def _bones(skeleton: Skeleton) -> list[tuple[int, int]]:
    if skeleton.bones:
        return [(skeleton.index(start), skeleton.index(end)) for start, end in skeleton.bones]
    return [(parent, joint) for joint, parent in enumerate(skeleton.parents) if parent >= 0]


def _side(joint: str) -> str:
    for side in ("left", "right"):
        if joint.startswith(side):
            return side
    return "middle"
