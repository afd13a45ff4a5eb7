"""What lens, sensor and codec do to a picture; the same for all frames of a clip."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, Int8, UInt8
from numpy import ndarray
from numpy.random import Generator

from temporal_hmr.rendering.settings import RenderingConfig

_GRAIN = 512
_GRAIN_LEVELS = 6


class Grain:
    """Noise of several strengths, made once, as making noise is slow."""

    def __init__(self, strongest: float) -> None:
        """`strongest` is the largest standard deviation, grey levels of 255."""
        rng = np.random.default_rng(0)
        noise = rng.normal(size=(_GRAIN, _GRAIN, 3))
        self._levels: list[Int8[ndarray, "size size 3"]] = [
            np.clip(np.round(noise * strongest * level / _GRAIN_LEVELS), -127, 127).astype(np.int8)
            for level in range(_GRAIN_LEVELS + 1)
        ]

    def level(self, rng: Generator) -> Int8[ndarray, "size size 3"]:
        """One of the strengths; weak ones are as likely as strong ones."""
        return self._levels[rng.integers(len(self._levels))]


@dataclass(frozen=True, eq=False)
class Film:
    """A camera's ways."""

    colours: UInt8[ndarray, "256 1 3"]
    """Table of brightness, contrast and white balance."""
    smear: Float[ndarray, "size size"] | None
    """Kernel of motion blur."""
    grain: Int8[ndarray, "size size 3"]
    quality: int | None
    """Of JPEG, 0..100."""
    camera_resolution: bool

    @staticmethod
    def draw(grain: Grain, rng: Generator, settings: RenderingConfig) -> "Film":
        """A random camera."""
        jitter = settings.colour_jitter
        gray = np.linspace(0, 1, 256)[:, None] ** np.exp(jitter * rng.normal(0, 0.15))
        contrast = np.exp(jitter * rng.normal(0, 0.12))
        balance = np.exp(jitter * rng.normal(0, 0.04, 3))
        lift = jitter * rng.normal(0, 0.04)
        table = ((gray - 0.5) * contrast + 0.5 + lift) * balance * 255
        smear = None
        if rng.random() < settings.motion_blur_share:
            smear = _line(rng, settings.side * rng.uniform(0.01, 0.04))
        low = rng.random() < settings.low_quality_share
        return Film(
            np.clip(table, 0, 255).astype(np.uint8)[:, None],
            smear,
            grain.level(rng),
            int(rng.integers(15, 70)) if low else None,
            settings.camera_resolution,
        )

    def develop(
        self, image: UInt8[ndarray, "side side 3"], scale: float, rng: Generator
    ) -> UInt8[ndarray, "side side 3"]:
        """What becomes of a perfect picture; `scale` is crop pixels per camera pixel."""
        side = len(image)
        image = cv2.GaussianBlur(image, (3, 3), 0.55)
        if self.camera_resolution and scale > 1.1:
            small = max(round(side / scale), 8)
            image = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
            image = cv2.resize(image, (side, side), interpolation=cv2.INTER_LINEAR)
        if self.smear is not None:
            image = cv2.filter2D(image, -1, self.smear)
        image = cv2.LUT(image, self.colours)
        row, column = rng.integers(0, max(_GRAIN - side, 0) + 1, 2)
        grain = self.grain
        if side > _GRAIN:
            row, column = rng.integers(0, _GRAIN, 2)
            repeats = -(-side // _GRAIN) + 1
            grain = np.tile(grain, (repeats, repeats, 1))
        part = grain[row : row + side, column : column + side]
        image = cv2.add(image, part, dtype=cv2.CV_8U)
        if self.quality is not None:
            _, packed = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, self.quality])
            image = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR))
        return image


def _line(rng: Generator, length: float) -> Float[ndarray, "size size"]:
    size = 2 * int(np.ceil(length / 2)) + 1
    kernel = np.zeros((size, size), np.float32)
    angle, middle = rng.uniform(0, np.pi), size // 2
    reach = length / 2 * np.array([np.cos(angle), np.sin(angle)])
    start, end = (tuple(np.round(middle + sign * reach).astype(int).tolist()) for sign in (-1, 1))
    cv2.line(kernel, start, end, 1.0, 1, cv2.LINE_AA)
    return kernel / max(kernel.sum(), 1e-6)
