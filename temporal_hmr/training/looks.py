"""Pictures of what a model makes of a few windows: the truth, and beside it what was predicted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Tensor

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.skeleton import COCO23
from temporal_hmr.training.batches import mapped
from temporal_hmr.whole_files import refusals_told, whole_file

CLIPS, FRAMES = 4, 3
"""Shown: clips from top to bottom, frames of each from left to right."""
_TILE, _STRIP, _GAP = 144, 18, 2
"""Pixels: side of a frame, height of a line of text, room between frames."""
_COLOURS = 128
"""Of the picture's palette, which keeps the file small whatever the images show."""
_GROUND, _TEXT = (58, 60, 64), (228, 228, 228)
_DIMMED = 0.8
"""Brightness of images, so that lines stand out."""
_TRUE = (255, 255, 255)
_LEFT, _RIGHT, _MIDDLE = (255, 120, 40), (70, 160, 255), (210, 140, 230)
_DETECTED = (255, 235, 60)
_LEGEND = "white: true; orange, blue: predicted left, right; dots: seen"
_SUBPIXEL = 4
"""Bits of the fractions of pixels that lines begin and end at."""


@dataclass(frozen=True, eq=False)
class Look:
    """One clip, and where its keypoints were predicted (-1..1 of the box)."""

    title: str
    window: CropWindow
    """Of this clip alone, B = 1; so is the truth."""
    target: BodyTarget
    keypoints: Float[Tensor, "T J 2"]


def chosen(
    held_out: Mapping[str, tuple[CropWindow, BodyTarget]],
) -> dict[str, tuple[CropWindow, BodyTarget]]:
    """Copies of a few clips, from all sets in turn; nothing else is kept alive by them."""
    names = list(held_out)[:CLIPS]
    return {
        name: _some(held_out[name], range(place, CLIPS, len(names)))
        for place, name in enumerate(names)
    }


def _some(
    labelled: tuple[CropWindow, BodyTarget], numbers: Sequence[int]
) -> tuple[CropWindow, BodyTarget]:
    """Clips spread over a set, other ones for other numbers (below `CLIPS`).

    Sets may be the same motion seen in several ways, of which more is to be shown.
    """
    visible = labelled[0].valid.any(1).nonzero()[:, 0]
    places = {(2 * number + 1) * len(visible) // (2 * CLIPS) for number in numbers}
    some = visible[sorted(places)] if len(visible) else visible
    return mapped(labelled, lambda tensor: tensor[some])


def title(name: str, error_mm: float | None, pixels: float | None) -> str:
    """Over a clip: where it is from, and how far off joints and keypoints are on average."""
    known = [] if error_mm is None else [f"{error_mm:.0f} mm"]
    known += [] if pixels is None else [f"{pixels:.1f} of 256 pixels"]
    return f"{name}: {', '.join(known) or 'nothing known'}"


def sheet(looks: Sequence[Look], errors_mm: Sequence[float]) -> UInt8[ndarray, "height width 3"]:
    """Clips one below the other, each under its title; above, the mean of their errors. RGB."""
    width = FRAMES * (_TILE + _GAP) - _GAP
    mean = f"mean {np.mean(errors_mm):.0f} mm; " if len(errors_mm) else ""
    rows = [_line_of(mean + _LEGEND, width)]
    for look in looks:
        rows += [_line_of(look.title, width), _frames_of(look)]
    return np.concatenate(rows)


def write_sheet(image: UInt8[ndarray, "height width 3"], path: Path) -> None:
    """As a PNG with a palette, whole or not at all; makes the folder.

    Raises `InputError` where the disk does not take it.
    """
    from PIL import Image

    with refusals_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    method, dither = Image.Quantize.FASTOCTREE, Image.Dither.NONE
    small = Image.fromarray(image).quantize(_COLOURS, method=method, dither=dither)
    with whole_file(path) as partial:
        small.save(partial, format="png", optimize=True)


def _line_of(text: str, width: int) -> UInt8[ndarray, "strip width 3"]:
    line = np.full((_STRIP, width, 3), 0, np.uint8)
    place, font = (3, _STRIP - 5), cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(line, text, place, font, 0.42, _TEXT, 1, cv2.LINE_AA)
    return line


def _frames_of(look: Look) -> UInt8[ndarray, "tile width 3"]:
    """First, middle and last of the frames that count; fewer if there are no more."""
    frames = look.window.valid[0].nonzero()[:, 0].tolist()
    shown = {column * (len(frames) - 1) // (FRAMES - 1) for column in range(FRAMES)}
    row = np.zeros((_TILE, FRAMES * (_TILE + _GAP) - _GAP, 3), np.uint8)
    for column, number in enumerate(sorted(shown)):
        left = column * (_TILE + _GAP)
        row[:, left : left + _TILE] = _tile(look, frames[number])
    return row


def _tile(look: Look, frame: int) -> UInt8[ndarray, "tile tile 3"]:
    """One frame's box with the true skeleton, and the predicted one thinner upon it."""
    image = np.full((_TILE, _TILE, 3), _GROUND, np.uint8)
    if look.window.images is not None:
        crop = look.window.images[0, frame].movedim(0, -1).numpy()
        image = cv2.resize(crop, (_TILE, _TILE), interpolation=cv2.INTER_AREA)
        image = cv2.convertScaleAbs(image, alpha=_DIMMED)
    target, known = look.target, look.target.has_keypoints[0, frame].numpy()
    _draw_bones(image, target.keypoints[0, frame], known, 2, plain=True)
    _draw_bones(image, look.keypoints[frame], np.ones_like(known), 1, plain=False)
    detected = look.window.scores[0, frame] > 0
    for point in _pixels(look.window.keypoints[0, frame, detected]):
        cv2.circle(image, point, 1 << _SUBPIXEL, _DETECTED, -1, cv2.LINE_AA, _SUBPIXEL)
    return image


def _draw_bones(
    image: UInt8[ndarray, "tile tile 3"],
    keypoints: Float[Tensor, "J 2"],
    known: Bool[ndarray, "J"],
    thickness: int,
    plain: bool,
) -> None:
    """Lines between known keypoints (-1..1), in the truth's colour if `plain`."""
    points = _pixels(keypoints)
    for bone in COCO23.bones:
        start, end = COCO23.indices(*bone)
        if known[start] and known[end]:
            colour = _TRUE if plain else _colour(bone)
            cv2.line(image, points[start], points[end], colour, thickness, cv2.LINE_AA, _SUBPIXEL)


def _pixels(keypoints: Float[Tensor, "n 2"]) -> list[tuple[int, int]]:
    """Places on a tile, in fractions of pixels as OpenCV counts them."""
    # What has not learned yet may be anywhere, and OpenCV counts pixels in 32 bits.
    near = keypoints.float().nan_to_num(posinf=16.0, neginf=-16.0).clamp(-16, 16)
    pixels = 0.5 * _TILE * (near + 1) - 0.5
    return [(x, y) for x, y in (pixels * 2**_SUBPIXEL).round().to(torch.int64).tolist()]


def _colour(bone: tuple[str, str]) -> tuple[int, int, int]:
    if all(joint.startswith("left_") for joint in bone):
        return _LEFT
    if all(joint.startswith("right_") for joint in bone):
        return _RIGHT
    return _MIDDLE
