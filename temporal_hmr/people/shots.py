"""Where one shot of a film ends and another begins.

Two frames of one shot show the same things in about the same places. They are compared as
thumbnails in which only the contrast of neighbouring pixels counts, whatever the light, and part by
part wherever each part may have moved to, so that neither flashes nor pans nor people who pass
close by are taken for cuts. Dissolves, which take a while, are not found.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray


@dataclass(frozen=True)
class ShotSettings:
    """What counts as a cut. Likeness is a correlation, 1 for the same picture."""

    side: int = 64
    """Longer side of the thumbnails, px."""
    cut_below: float = 0.42
    """Likeness of a frame to the last one. Pictures of different scenes reach 0.35; within real
    shots, pans of 30 % of the width in a frame and a player close to the camera stay above 0.7."""
    shot_above: float = 0.6
    """Likeness of two frames from which they surely are of one shot: only after such a pair a cut
    is believed, or else every frame of flickering or of snow would be one."""
    least_contrast: float = 2.0
    """Grey levels: frames of less say nothing (a flash, black between two scenes)."""


_DENSE = 8
"""Points along each side of what becomes a point of a thumbnail."""


class CutDetector:
    """Shown the frames of a clip in their order, tells which begin another shot."""

    def __init__(self, settings: ShotSettings = ShotSettings()) -> None:
        self._settings = settings
        self._last: Float[ndarray, "h w"] | None = None
        self._in_shot = False

    def begins(self, image: UInt8[ndarray, "H W 3"]) -> bool:
        """Whether the next frame begins another shot; the first one does not."""
        look, contrast = _look(image, self._settings.side)
        if contrast < self._settings.least_contrast:
            return False
        last, self._last = self._last, look
        if last is None:
            return False
        like = _likeness(look, last, self._settings.shot_above)
        cut = self._in_shot and like < self._settings.cut_below
        self._in_shot = like > self._settings.shot_above
        return cut


def _look(image: UInt8[ndarray, "H W 3"], side: int) -> tuple[Float[ndarray, "h w"], float]:
    """A thumbnail of local contrast, and the mean contrast in grey levels."""
    scale = side / max(image.shape[:2])
    height, width = (max(round(length * scale), 8) for length in image.shape[:2])
    # Of large pictures, sixty-four points for each of the thumbnail's are enough.
    dense = (_DENSE * width, _DENSE * height)
    if dense[0] < image.shape[1]:
        image = cv2.resize(image, dense, interpolation=cv2.INTER_NEAREST)
    small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY).astype(np.float32)
    difference = grey - cv2.blur(grey, (9, 9))
    contrast = np.sqrt(cv2.blur(difference**2, (9, 9)))
    # A few grey levels of noise must not look like structure.
    return difference / (contrast + 4), float(contrast.mean())


def _likeness(look: Float[ndarray, "h w"], last: Float[ndarray, "h w"], enough: float) -> float:
    """Of five parts, a quarter of the picture each, the median of the best correlation anywhere.

    If they are more alike than `enough` at the places where they are, that is not improved on.
    """
    height, width = look.shape
    down, across = height // 2, width // 2
    corners = [(0, 0), (0, width - across), (height - down, 0), (height - down, width - across)]
    parts = [
        (slice(y, y + down), slice(x, x + across)) for y, x in [(height // 4, width // 4), *corners]
    ]
    in_place = [_best_match(last[part], look[part]) for part in parts]
    if np.median(in_place) > enough:
        return float(np.median(in_place))
    return float(np.median([_best_match(last, look[part]) for part in parts]))


def _best_match(picture: Float[ndarray, "h w"], part: Float[ndarray, "hp wp"]) -> float:
    return float(cv2.matchTemplate(picture, part, cv2.TM_CCOEFF_NORMED).max())
