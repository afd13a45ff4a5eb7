"""Things between the camera and the person: they hide keypoints and pixels alike."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from torch import Generator, Tensor

from temporal_hmr.rendering.patterns import Patterns, cloth_colour, scaled, tinted

CORNERS = 24
_KINDS = 4


@dataclass(frozen=True, eq=False)
class Occluders:
    """Convex shapes that drift before the camera; K of them in every clip, not all present.

    Rectangles, ellipses, polygons and poles are outlines of `CORNERS` points each, in order.
    """

    outline: Float[Tensor, "B K corners 2"]
    """Corners about the middle, in pixels of the full image."""
    middle: Float[Tensor, "B T K 2"]
    """Pixels of the full image."""
    present: Bool[Tensor, "B K"]

    def covers(self, pixels: Float[Tensor, "B T J 2"]) -> Bool[Tensor, "B T J"]:
        """Which points (pixels of the full image) are behind one of the shapes."""
        local = pixels[:, :, :, None] - self.middle[:, :, None]
        edges = self.outline.roll(-1, -2) - self.outline
        towards = local[..., None, :] - self.outline[:, None, None]
        edges = edges[:, None, None]
        side = edges[..., 0] * towards[..., 1] - edges[..., 1] * towards[..., 0]
        return ((side >= 0).all(-1) & self.present[:, None, None]).any(-1)

    @staticmethod
    def none(clips: int, frames: int) -> "Occluders":
        """Nothing in the way."""
        return Occluders(
            torch.zeros(clips, 0, CORNERS, 2),
            torch.zeros(clips, frames, 0, 2),
            torch.zeros(clips, 0, dtype=torch.bool),
        )

    @staticmethod
    def draw(
        pixels: Float[Tensor, "B T J 2"],
        times: Float[Tensor, "B T"],
        most: int,
        share: float,
        generator: Generator,
    ) -> "Occluders":
        """Shapes around a person whose keypoints are given, in `share` of the clips."""
        clips = len(pixels)
        low, high = pixels.amin((1, 2)), pixels.amax((1, 2))
        extent = (high - low).amax(-1)[:, None, None]

        def uniform(*shape: int) -> Float[Tensor, "..."]:
            return torch.rand(clips, *shape, generator=generator)

        chosen, count = uniform(1) < share, 1 + (uniform(1) * most).floor()
        present = chosen & (torch.arange(most) < count)
        kind = (uniform(most) * _KINDS).long()
        half = extent * (0.04 + 0.18 * uniform(most, 2))
        pole = (kind == _KINDS - 1)[..., None]
        thin = extent * torch.cat([0.02 + 0.04 * uniform(most, 1), 1.5 + uniform(most, 1)], -1)
        half = torch.where(pole, thin, half)
        tilt = torch.where(pole[..., 0], 0.15, 1.0) * (uniform(most) - 0.5) * torch.pi
        outline = _unit_outlines(kind, generator) * half[:, :, None]
        cosine, sine = tilt.cos()[..., None], tilt.sin()[..., None]
        x, y = outline.unbind(-1)
        outline = torch.stack([cosine * x - sine * y, sine * x + cosine * y], -1)
        start = low[:, None] + (high - low)[:, None] * uniform(most, 2)
        velocity = 0.25 * extent * torch.randn(clips, most, 2, generator=generator)
        velocity = torch.where((uniform(most) < 0.5)[..., None], velocity, 0.0)
        since = (times - times.mean(1, keepdim=True))[..., None, None]
        return Occluders(outline, start[:, None] + velocity[:, None] * since, present)

    def paint(
        self,
        image: UInt8[ndarray, "side side 3"],
        place: tuple[int, int],
        corner: Float[ndarray, "2"],
        scale: float,
        textures: list[UInt8[ndarray, "size size 3"]],
    ) -> None:
        """Draw into a crop of clip and frame `place`, whose top left pixel begins at `corner`.

        `scale` is crop pixels per pixel of the full image; each shape wears one texture.
        """
        clip, frame = place
        for shape in self.present[clip].nonzero()[:, 0].tolist():
            middle = self.middle[clip, frame, shape].numpy()
            outline = (self.outline[clip, shape].numpy() + middle - corner) * scale
            _paint_shape(image, outline, textures[shape])


def surfaces(
    patterns: Patterns, count: int, rng: np.random.Generator
) -> list[UInt8[ndarray, "64 64 3"]]:
    """A texture for each of so many things in the way."""
    textures = []
    for _ in range(count):
        kind, colour = rng.random(), cloth_colour(rng)
        source = patterns.motif if kind < 0.3 else patterns.noise
        gray = source(rng, (64, 64), float(np.exp(rng.uniform(-1.0, 0.5))))
        textures.append(tinted(gray, scaled(colour, rng.uniform(0.5, 0.95)), colour))
    return textures


def _paint_shape(
    image: UInt8[ndarray, "side side 3"],
    outline: Float[ndarray, "corners 2"],
    texture: UInt8[ndarray, "size size 3"],
) -> None:
    side = len(image)
    low, high = outline.min(0), outline.max(0)
    left, top = np.clip(np.floor(low), 0, side).astype(int)
    right, bottom = np.clip(np.ceil(high), 0, side).astype(int)
    if left >= right or top >= bottom:
        return
    mask = _filled(outline - (left, top), bottom - top, right - left)
    size = len(texture)
    zoom = np.maximum(high - low, 1) / size
    matrix = np.array([[zoom[0], 0, low[0] - left], [0, zoom[1], low[1] - top]])
    patch = cv2.warpAffine(
        texture, matrix, mask.shape[::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT
    )
    cv2.copyTo(patch, mask, image[top:bottom, left:right])


def _filled(
    outline: Float[ndarray, "corners 2"], height: int, width: int
) -> UInt8[ndarray, "height width"]:
    """255 for pixels whose centre lies within, exactly as `covers` decides.

    OpenCV's polygons would include whatever their border touches.
    """
    start, end = outline, np.roll(outline, -1, 0)
    rise = end[:, 1] - start[:, 1]
    rows = np.arange(height)[:, None] + 0.5
    share = (rows - start[:, 1]) / np.where(rise == 0, np.inf, rise)
    crossing = (share >= 0) & (share <= 1) & (rise != 0)
    x = start[:, 0] + share * (end[:, 0] - start[:, 0])
    first = np.where(crossing, x, np.inf).min(1, keepdims=True)
    last = np.where(crossing, x, -np.inf).max(1, keepdims=True)
    columns = np.arange(width) + 0.5
    return ((columns >= first) & (columns <= last)).astype(np.uint8)


def _unit_outlines(kind: Tensor, generator: Generator) -> Float[Tensor, "B K corners 2"]:
    """Rectangle, ellipse, polygon or pole within -1..1, running round in one sense."""
    angle = 2 * torch.pi * (torch.arange(CORNERS) + 0.5) / CORNERS
    circle = torch.stack([angle.cos(), angle.sin()], -1).expand(*kind.shape, CORNERS, 2)
    square = circle.sign()
    # Points of a circle, several falling together, are a convex polygon of fewer corners.
    offset = torch.rand(*kind.shape, 1, generator=generator)
    corners = 3 + torch.randint(0, 4, (*kind.shape, 1), generator=generator)
    stepped = 2 * torch.pi * ((angle / (2 * torch.pi) * corners).floor() + offset) / corners
    polygon = torch.stack([stepped.cos(), stepped.sin()], -1)
    choice = kind[..., None, None]
    return torch.where(choice == 1, circle, torch.where(choice == 2, polygon, square))
