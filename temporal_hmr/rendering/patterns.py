"""Seamless grey patterns and colours, from which cloth, walls, floors and skies are made."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.random import Generator

TILE = 256
"""Pixels of a pattern's side; patterns repeat without a seam."""

Colour = tuple[float, float, float]
"""RGB, 0..255."""

_NEUTRALS: tuple[Colour, ...] = (
    *((24, 24, 26), (52, 54, 58), (110, 112, 116), (168, 168, 166), (228, 226, 220)),
    *((34, 42, 66), (58, 78, 112), (92, 112, 142), (120, 98, 74), (182, 164, 132), (74, 80, 58)),
)


@dataclass(frozen=True, eq=False)
class Patterns:
    """A store of patterns to cut from; made once, as making noise is slow."""

    noises: UInt8[ndarray, "n tile tile"]
    """Clouds, from soft to grainy, each spread over the whole range of grey."""
    motifs: UInt8[ndarray, "m tile tile"]
    """Drawn patterns: stripes, checks, dots, bricks, planks, tiles, weave."""

    @staticmethod
    def make(seed: int = 0) -> "Patterns":
        """The same seed makes the same store."""
        rng = np.random.default_rng(seed)
        noises = [_clouds(rng, slope) for slope in np.linspace(0.9, 2.4, 16)]
        return Patterns(np.stack(noises), np.stack(_motifs(rng)))

    def noise(
        self, rng: Generator, size: tuple[int, int], zoom: float
    ) -> UInt8[ndarray, "height width"]:
        """A random piece of clouds, `zoom` times enlarged; `size` is (height, width)."""
        return cut(self.noises[rng.integers(len(self.noises))], rng, size, zoom)

    def motif(
        self, rng: Generator, size: tuple[int, int], zoom: float
    ) -> UInt8[ndarray, "height width"]:
        """A random piece of a drawn pattern, upright or turned by a quarter."""
        motif = self.motifs[rng.integers(len(self.motifs))]
        return cut(motif if rng.random() < 0.5 else motif.T, rng, size, zoom)


def cut(
    tile: UInt8[ndarray, "tile tile"], rng: Generator, size: tuple[int, int], zoom: float
) -> UInt8[ndarray, "height width"]:
    """A piece of an endlessly repeated tile from a random place."""
    period = max(round(TILE * zoom), 4)
    shrinks = cv2.INTER_AREA if period < TILE else cv2.INTER_LINEAR
    tile = cv2.resize(tile, (period, period), interpolation=shrinks)
    top, left = rng.integers(0, period, 2)
    repeats = (-(-(size[0] + top) // period), -(-(size[1] + left) // period))
    return np.tile(tile, repeats)[top : top + size[0], left : left + size[1]]


def tinted(
    gray: UInt8[ndarray, "height width"], dark: Colour, light: Colour
) -> UInt8[ndarray, "height width 3"]:
    """Grey 0 in one colour, 255 in the other, mixtures between."""
    table = ramp(dark, light)
    return cv2.LUT(cv2.merge([gray, gray, gray]), table)


def ramp(dark: Colour, light: Colour) -> UInt8[ndarray, "256 1 3"]:
    """A table for `cv2.LUT` that leads from one colour to another."""
    share = np.linspace(0, 1, 256)[:, None, None]
    return np.clip(np.array(dark) * (1 - share) + np.array(light) * share, 0, 255).astype(np.uint8)


def scaled(colour: Colour, factor: float) -> Colour:
    """A darker or lighter shade."""
    red, green, blue = (float(np.clip(channel * factor, 0, 255)) for channel in colour)
    return red, green, blue


def cloth_colour(rng: Generator) -> Colour:
    """Colours as people wear them: half of them nearly grey, navy or brown."""
    if rng.random() < 0.5:
        base = np.array(_NEUTRALS[rng.integers(len(_NEUTRALS))])
        red, green, blue = np.clip(base + rng.normal(0, 8, 3), 4, 250).tolist()
        return red, green, blue
    # Strong colours are rarer than faded ones.
    return hsv(rng.random(), 0.15 + 0.7 * rng.random() ** 1.5, rng.uniform(0.2, 0.9))


def hsv(hue: float, saturation: float, value: float) -> Colour:
    """RGB of a hue (turns), saturation and value (0..1)."""
    wheel = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    red, green, blue = (255 * value * (1 - saturation * (1 - wheel))).tolist()
    return red, green, blue


def _clouds(rng: Generator, slope: float) -> UInt8[ndarray, "tile tile"]:
    """Noise whose amplitude falls with frequency to the power of `-slope`."""
    frequency = np.hypot(np.fft.fftfreq(TILE)[:, None], np.fft.rfftfreq(TILE)[None])
    frequency[0, 0] = 1
    spectrum = np.fft.rfft2(rng.normal(size=(TILE, TILE))) / frequency**slope
    spectrum[0, 0] = 0
    values = np.fft.irfft2(spectrum)
    return np.clip(128 + 52 * values / values.std(), 0, 255).astype(np.uint8)


def _motifs(rng: Generator) -> list[UInt8[ndarray, "tile tile"]]:
    y, x = np.mgrid[0:TILE, 0:TILE]

    def bars(axis: Float[ndarray, "..."], count: int, width: float) -> ndarray:
        return ((axis * count / TILE) % 1 < width).astype(float)

    patterns = []
    for count, width in ((8, 0.5), (16, 0.5), (16, 0.15), (32, 0.35), (8, 0.85)):
        patterns.append(bars(y, count, width))
    for count in (4, 8, 16):
        patterns.append(0.5 * (bars(x, count, 0.5) + bars(y, count, 0.5)))
        patterns.append(np.abs(bars(x, count, 0.5) - bars(y, count, 0.5)))
        patterns.append(1 - np.maximum(bars(x, count, 0.06), bars(y, count, 0.06)))
    for count in (8, 16):
        centre = ((np.stack([x, y]) * count / TILE) % 1) - 0.5
        patterns.append((np.hypot(*centre) < 0.25).astype(float))
    patterns += [_bricks(rng, 8, 4), _bricks(rng, 16, 4), _bricks(rng, 8, 1), _bricks(rng, 4, 4)]
    grain = _clouds(rng, 1.0) / 255.0
    return [
        np.clip(255 * (0.88 * pattern + 0.12 * grain), 0, 255).astype(np.uint8)
        for pattern in patterns
    ]


def _bricks(rng: Generator, rows: int, columns: int) -> Float[ndarray, "tile tile"]:
    """Courses of bricks, boards or slabs, each of its own shade, every other one shifted."""
    y, x = np.mgrid[0:TILE, 0:TILE]
    row = y * rows // TILE
    along = (x / TILE * columns + 0.5 * (row % 2)) % columns
    shade = rng.uniform(0.55, 1.0, (rows, columns))[row, along.astype(int)]
    joint = ((y * rows / TILE) % 1 < 0.07) | (along % 1 < 0.07 * columns / rows)
    return np.where(joint, 0.25, shade)
