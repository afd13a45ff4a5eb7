"""Pictures in which some people are painted out: of two close together, networks see one."""

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Int, UInt8
from numpy import ndarray

from temporal_hmr.motion import Person2D

_PART_OF_OUTLINE = 0.3
"""Confidence."""
_WIDTH = 0.06
"""Over the longer side of the person's box. Keypoints lie inside the body: its surface is some way
out."""
_GREY = (128, 128, 128)


@dataclass(frozen=True, eq=False)
class Outline:
    """The convex hull of somebody's keypoints, and how far the body reaches beyond it."""

    corners: Int[ndarray, "n 2"]
    """px; fewer than three where next to nothing is known."""
    extent: float
    """Longer side of the person's box, px."""

    @staticmethod
    def of(person: Person2D) -> "Outline":
        points = person.keypoints[person.keypoints[:, 2] > _PART_OF_OUTLINE, :2]
        extent = float((person.box[2:] - person.box[:2]).max())
        if len(points) < 3:
            return Outline(np.zeros((0, 2), np.int32), extent)
        return Outline(cv2.convexHull(np.round(points).astype(np.int32))[:, 0], extent)

    def meets(self, other: "Outline") -> bool:
        """Whether the boxes around both, which reach as far as the bodies do, overlap."""
        if not len(self.corners) or not len(other.corners):
            return False
        reach = _WIDTH / 2 * (self.extent + other.extent)
        apart = np.maximum(
            self.corners.min(0) - other.corners.max(0), other.corners.min(0) - self.corners.max(0)
        )
        return bool((apart < reach).all())

    def fill(self, mask: UInt8[ndarray, "H W *channels"], color, width: float = _WIDTH) -> None:
        """Draw it into an image; `width` is that of the rim, over the extent."""
        if len(self.corners):
            cv2.fillConvexPoly(mask, self.corners, color)
            cv2.polylines(mask, [self.corners], True, color, max(int(width * self.extent), 1))


def without_others(
    image: UInt8[ndarray, "H W 3"], own: Outline, others: Iterable[Outline]
) -> UInt8[ndarray, "H W 3"]:
    """The image with those of the others grey who are close, but for where one's own outline is.

    The same image if nobody is close.
    """
    close = [other for other in others if own.meets(other)]
    if not close or not len(own.corners):
        return image
    mask = np.zeros(image.shape[:2], np.uint8)
    for other in close:
        other.fill(mask, 255)
    own.fill(mask, 0)
    shown = image.copy()
    shown[mask > 0] = _GREY
    return shown


def painted_out(
    image: UInt8[ndarray, "H W 3"], people: Iterable[Person2D], width: float
) -> UInt8[ndarray, "H W 3"]:
    """A copy in which everybody's outline is filled with grey; `width` of rims, over extents."""
    image = image.copy()
    for person in people:
        Outline.of(person).fill(image, _GREY, width)
    return image
