"""What is drawn into a picture, whichever way it holds its colours: bodies, thin lines, numbers."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.output.planar import Picture, full_color, inks, layers, size_of
from temporal_hmr.rasterize import LIGHT_STEPS, Lit, Window
from temporal_hmr.skeleton import Skeleton

Color = tuple[float, float, float]
"""RGB in 0..1."""
_WHITE, _RIM = (1.0, 1.0, 1.0), (0.157, 0.157, 0.157)


def paint_body(
    image: Picture, background: Picture | None, lit: Lit, color: Color, opacity: float
) -> None:
    """Put a lit body of this colour over an image.

    The picture shines through from `background`, the untouched frame, if that is not the image
    itself: where two people overlap the farther must not show through the nearer.
    """
    lights = np.arange(256)[:, None] / LIGHT_STEPS
    tables = inks(np.minimum(lights * np.array(color), 1), image)
    covered = cv2.threshold(lit.light, 0, 255, cv2.THRESH_BINARY)[1]
    behind = [None] * len(tables) if background is None else layers(background)
    for layer, under, table in zip(layers(image), behind, tables, strict=True):
        table[0] = 0
        faded = np.rint(opacity * table).astype(np.uint8)
        rows_columns, fitted = _place_in(layer, size_of(image), lit.window)
        cover, ink = fitted(covered), fitted(_looked_up(lit.light, faded))
        # To image come cover * ((1 - opacity) * background - image) + ink, which has its coverage
        # and opacity in it already. In bytes OpenCV takes a third of the time it does in floats.
        box = layer[rows_columns]
        if under is None:
            shown = _weighted(box, cv2.convertScaleAbs(cover, alpha=-opacity, beta=255))
        else:
            shown = _weighted(box, cv2.bitwise_not(cover))
            through = cv2.convertScaleAbs(cover, alpha=1 - opacity)
            shown = cv2.add(shown, _weighted(under[rows_columns], through))
        cv2.add(shown, ink, dst=box)


def _place_in(
    layer: ndarray, size: tuple[int, int], window: Window
) -> tuple[tuple[slice, slice], Callable[[ndarray], ndarray]]:
    """Which part of a layer a window is, and what makes masks of the window fit it.

    A 3 x 3 box over coverage and coloured coverage alike softens the stairs of the outline. A layer
    of half the size does that by itself.
    """
    if layer.shape[:2] == size:
        return window.slices, lambda mask: cv2.blur(mask, (3, 3))
    return window.halved().slices, lambda mask: cv2.resize(
        mask, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA
    )


def _looked_up(light: UInt8[ndarray, "h w"], table: UInt8[ndarray, "256 *c"]) -> ndarray:
    return cv2.LUT(light, table) if table.ndim == 1 else cv2.applyColorMap(light, table[:, None])


def _weighted(box: UInt8[ndarray, "h w *c"], weight: UInt8[ndarray, "h w"]) -> ndarray:
    """Times 0..1 given as 0..255."""
    weights = cv2.merge([weight] * 3) if box.ndim == 3 else weight
    return cv2.multiply(box, weights, scale=1 / 255)


def draw_keypoints(
    image: Picture, keypoints: Float[ndarray, "joints 3"], skeleton: Skeleton
) -> None:
    """What a detector saw, as thin white lines."""
    known = np.flatnonzero(keypoints[:, 2] > 0)
    points = np.round(keypoints[:, :2]).astype(int)
    if not len(known):
        return
    window = _around(points[known].min(0) - 2, points[known].max(0) + 3, image)
    if window is None:
        return
    with full_color(image, window) as part:
        white = _ink(_WHITE, image)
        points = (points - (window.left, window.top)).tolist()
        for bone in skeleton.bones:
            start, end = skeleton.indices(*bone)
            if start in known and end in known:
                cv2.line(part, points[start], points[end], white, 1, cv2.LINE_AA)


def draw_label(image: Picture, box: Float[ndarray, "4"], text: str, color: Color) -> None:
    """A person's number above their box, in their colour with a dark rim."""
    scale, font = max(size_of(image)[0] / 900, 0.5), cv2.FONT_HERSHEY_SIMPLEX
    thickness = max(round(2 * scale), 1)
    (width, height), below = cv2.getTextSize(text, font, scale, thickness)
    left, base = int((box[0] + box[2] - width) / 2), max(int(box[1] - height / 2), height + 2)
    rim = thickness + 3
    corners = (left - rim, base - height - rim), (left + width + rim, base + below + rim)
    window = _around(*corners, image)
    if window is None:
        return
    with full_color(image, window) as part:
        place = left - window.left, base - window.top
        for stroke, ink in ((rim, _RIM), (thickness, color)):
            cv2.putText(part, text, place, font, scale, _ink(ink, image), stroke, cv2.LINE_AA)


def _ink(color: Color, image: Picture) -> tuple[float, ...]:
    """As OpenCV wants it to draw into `full_color`."""
    return tuple(float(value) for ink in inks(np.array([color]), image) for value in np.ravel(ink))


def _around(low: Sequence[int], high: Sequence[int], image: Picture) -> Window | None:
    """The part of an image from one corner to another one; None if it is none."""
    height, width = size_of(image)
    left, top, right, bottom = (
        min(max(int(edge), 0), side)
        for edge, side in zip([*low, *high], [width, height] * 2, strict=True)
    )
    if left >= right or top >= bottom:
        return None
    return Window(left, top, right, bottom).with_margin(width, height)
