"""The same bodies seen from the side: how far away people are is what a video hides.

The camera is turned by 90 degrees about the vertical through the people's middle, and stands still
over the clip. It is to the right of the video's own, so that this one is beyond the left edge:
who moves away in the video moves to the right, who faces it looks left.

The vertical is that of the people's world where they have one, else the one about which they keep
their balance, as if the camera stood still, or where they do not tell that of the image.
Coordinates here are level: x to the right of the video's camera, y down, z away from it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.motion import BodyMotion
from temporal_hmr.on_disk import chunks
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.world.placing import leveled

_SHARE = 0.75
"""Width of the panel over the height of the video."""
_FOCAL = 3.0
"""Focal length over the height of the panel: a long one, from afar, measures better by eye."""
_FILLED = 0.86
"""Share of the panel within which joints are to stay; hands, heads and soles go beyond them."""
_OUTLIERS = 0.01
"""Share of frames that may leave the panel: somebody flung away must not make all others tiny."""
_NEAREST = 1.0
"""Metres that the camera keeps at least from everybody."""
_TURN = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])
"""From the video's axes to those of a camera at its right that looks left."""
_LEVEL_FROM_WORLD = np.diag([1.0, -1.0, -1.0])
_CELL = 0.5
"""Metres between the lines on the ground."""
_LINES = 24
_WALL, _GROUND, _INK = (246, 245, 242), (232, 230, 225), (205, 202, 196)
_TEXT = (120, 118, 112)


def panel_width(height: int) -> int:
    """Pixels of a panel beside a video of this height; even."""
    return 2 * round(_SHARE * height / 2)


@dataclass(frozen=True, eq=False)
class SideView:
    """A panel with everybody in it, the same camera for the whole clip."""

    motions: Sequence[BodyMotion]
    camera: Camera
    centre: Float[ndarray, "3"]
    """What the camera looks at, level coordinates."""
    distance: float
    """Metres from there."""
    ground: float
    """Metres that the ground lies below the middle of the panel, at the people."""
    in_world: bool
    level: Float[ndarray, "3 3"]
    """To level coordinates from those of the world or of the video's camera."""
    is_level: bool
    """False where nobody tells what is level, and it is the image's own."""

    @staticmethod
    def of(motions: Sequence[BodyMotion], body: BodyModel, height: int) -> "SideView":
        """A panel as high as the video in which all of the people fit.

        `body` is the one that the motions were made with.
        """
        in_world = bool(motions) and all(motion.world is not None for motion in motions)
        known = _level(motions, body, in_world)
        level = np.eye(3) if known is None else known
        width = panel_width(height)
        camera = Camera.with_focal(_FOCAL * height, width, height)
        bounds = np.concatenate([_bounds(motion, body, level, in_world) for motion in motions])
        low, high = (
            np.quantile(bounds[:, 0], _OUTLIERS, 0),
            np.quantile(bounds[:, 1], 1 - _OUTLIERS, 0),
        )
        soles = 0.0 if in_world else _soles(motions, body, level)
        low[1], high[1] = min(low[1], soles), max(high[1], soles)
        centre = (low + high) / 2
        # What is nearest to the camera must fit too.
        half = (high - low) / 2
        room = _FILLED / 2 * np.array([height, width])
        distance = half[0] + max(*(_FOCAL * height * half[1:] / room), _NEAREST)
        return SideView(
            motions=motions,
            camera=camera,
            centre=centre,
            distance=float(distance),
            ground=float(soles - centre[1]),
            in_world=in_world,
            level=level,
            is_level=known is not None,
        )

    def smpl(self, motion: BodyMotion) -> SmplParams | None:
        """Bodies to be posed for the panel; None where those of the video will do."""
        return motion.world.smpl if self.in_world and motion.world is not None else None

    def seen(self, vertices: Float[ndarray, "v 3"]) -> Float[ndarray, "v 3"]:
        """In the panel's camera; of `smpl`, or else of the video's camera."""
        turned = (vertices @ self.level.T - self.centre) @ _TURN.T
        return (turned + np.array([0.0, 0.0, self.distance])).astype(np.float32)

    @cached_property
    def backdrop(self) -> UInt8[ndarray, "h w 3"]:
        """The panel without anybody: the ground with lines half a metre apart."""
        height, width = self.camera.height, self.camera.width
        image = np.full((height, width, 3), _WALL, np.uint8)
        reach = _CELL * _LINES
        far = self._pixel(0.0, self.distance + reach)[1]
        image[max(min(far, height), 0) :] = _GROUND
        nearest = max(self.distance - reach, 0.2 * self.distance)
        for number in range(-_LINES, _LINES + 1):
            across = self._snapped(number)
            ends = self._pixel(across, nearest), self._pixel(across, self.distance + reach)
            cv2.line(image, *ends, _INK, 1, cv2.LINE_AA)
            away = self.distance + _CELL * number
            if away >= nearest:
                row = self._pixel(0.0, away)[1]
                cv2.line(image, (0, row), (width, row), _INK, 1, cv2.LINE_AA)
        self._caption(image)
        return image

    def _snapped(self, number: int) -> float:
        """Metres to the right of the middle: whole cells from the video's camera."""
        return _CELL * (round(self.centre[2] / _CELL) + number) - self.centre[2]

    def _pixel(self, across: float, away: float) -> tuple[int, int]:
        """Where a point of the ground is drawn; far outside at most by a panel or so."""
        focal = float(self.camera.focal[0])
        column = self.camera.width / 2 + focal * across / away
        row = self.camera.height / 2 + focal * self.ground / away
        return int(np.clip(column, -30000, 30000)), int(np.clip(row, -30000, 30000))

    def _caption(self, image: UInt8[ndarray, "h w 3"]) -> None:
        scale = max(self.camera.height / 1200, 0.35)
        font, weight = cv2.FONT_HERSHEY_SIMPLEX, max(round(2 * scale), 1)
        # Of one that looks down, everybody seems to lean.
        lines = ["<- camera"] if self.is_level else ["<- camera,", "taken to be level"]
        for row, text in enumerate(lines, 1):
            place = (round(12 * scale) + 2, round(32 * row * scale) + 2)
            cv2.putText(image, text, place, font, scale, _TEXT, weight, cv2.LINE_AA)


def _level(
    motions: Sequence[BodyMotion], body: BodyModel, in_world: bool
) -> Float[ndarray, "3 3"] | None:
    """To level coordinates from those of the people's world, or of the video's camera."""
    if in_world:
        return _LEVEL_FROM_WORLD
    rotation = leveled(motions, body)
    return None if rotation is None else _LEVEL_FROM_WORLD @ rotation


def _bounds(
    motion: BodyMotion, body: BodyModel, level: Float[ndarray, "3 3"], in_world: bool
) -> Float[ndarray, "T 2 3"]:
    """The least and the greatest level coordinates of somebody's joints in every frame."""
    bounds = np.empty((len(motion), 2, 3))
    for part in chunks(len(motion), motion.joints):
        joints = motion.joints[part]
        if in_world and motion.world is not None:
            smpl = motion.world.smpl[part].map(lambda tensor: tensor.to(body.v_template.dtype))
            joints = body.joints(smpl).numpy()
        joints = joints @ level.T
        bounds[part] = np.stack([joints.min(1), joints.max(1)], 1)
    return bounds[np.isfinite(bounds).all((1, 2))]


def _soles(motions: Sequence[BodyMotion], body: BodyModel, level: Float[ndarray, "3 3"]) -> float:
    """How low the ground is that people stand on for the most part, level coordinates."""
    feet = SMPL24.indices("left_foot", "right_foot")
    lowest = np.concatenate([(motion.joints[:, feet] @ level[1]).max(1) for motion in motions])
    betas = motions[0].smpl.betas[:1].to(body.v_template)
    upright = torch.eye(3).to(body.v_template).expand(1, 24, 3, 3)
    rest = SmplParams.from_rotations(upright, betas, torch.zeros_like(betas[:, :3]))
    below = body.rest_joints(betas)[0, feet, 1].min() - body.vertices(rest)[0, :, 1].min()
    return float(np.nanmedian(lowest)) + float(below)
