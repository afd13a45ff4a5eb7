"""How clips of pictures vary in training: one draw for a clip, the same in all of its frames.

Whatever moves pixels moves the truth with them: the transformed body, seen by the clip's camera,
lies where it lies in the transformed picture.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from numpy.random import Generator
from pydantic import Field
from torch import Tensor

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams, flip_rotations
from temporal_hmr.configuration import Config
from temporal_hmr.crops import readable
from temporal_hmr.skeleton import COCO23, SMPL24


class CropAugmentation(Config):
    """How crops vary; shares are of clips unless they say otherwise."""

    varied_share: float = Field(default=0.5, ge=0, le=1)
    """Clips whose box is of another size, and shifted."""
    scale: tuple[float, float] = (0.8, 1.25)
    """Range of the box's side over what it was."""
    shift: float = Field(default=0.05, ge=0)
    """Sides of the box that it is shifted by at most, across and down."""
    rotated_share: float = Field(default=0.4, ge=0, le=1)
    rotation: float = Field(default=0.5, ge=0)
    """Standard deviation of the angle in radians, cut at twice that."""
    flip: float = Field(default=0.5, ge=0, le=1)
    """Clips that are mirrored."""
    truncated_share: float = Field(default=0.1, ge=0, le=1)
    """Clips that show the upper or the lower half of the body alone."""
    erased_share: float = Field(default=0.0, ge=0, le=1)
    """Share of frames whose clip's chosen side is blacked out (INT; 0.3 there)."""
    erased_part: float = Field(default=0.7, ge=0, le=1)
    """Part of the crop that is blacked out at most."""
    patch_share: float = Field(default=0.1, ge=0, le=1)
    """Clips with a rectangle of one colour somewhere in the crop (random erasing)."""
    occluded_share: float = Field(default=0.3, ge=0, le=1)
    """Clips with things pasted before the person; keypoints behind them are less certain."""
    most_occluders: int = Field(default=2, ge=1)
    brightness: float = Field(default=0.3, ge=0, lt=1)
    """By how much of itself it varies at most; likewise contrast and saturation."""
    contrast: float = Field(default=0.3, ge=0, lt=1)
    saturation: float = Field(default=0.3, ge=0, le=1)
    hue: float = Field(default=0.2, ge=0)
    """Radians about the grey axis at most."""
    blurred_share: float = Field(default=0.2, ge=0, le=1)
    blur: float = Field(default=0.012, ge=0)
    """Largest standard deviation of the blur, in sides of the crop."""
    jpeg_share: float = Field(default=0.2, ge=0, le=1)
    """Clips that went through coarse JPEG compression."""
    jpeg_quality: tuple[int, int] = (15, 70)


UNVARIED = CropAugmentation(
    varied_share=0.0,
    rotated_share=0.0,
    flip=0.0,
    truncated_share=0.0,
    patch_share=0.0,
    occluded_share=0.0,
    brightness=0.0,
    contrast=0.0,
    saturation=0.0,
    hue=0.0,
    blurred_share=0.0,
    jpeg_share=0.0,
)
"""Crops as they are in use."""


@dataclass(frozen=True, eq=False)
class Turn:
    """A camera rolled about its axis, before a mirror.

    Rolling turns the image about the principal point and space about the optical axis. That is
    exact wherever the person stands, and for whole clips whose box moves. Turning the image about
    the box instead would be the roll of no camera of that principal point, unless the box is there.
    """

    angle: float = 0.0
    """Radians, from x to y: clockwise as one looks at the image."""
    mirrored: bool = False
    """Left and right change places, before the roll."""

    def plane(self) -> Float[ndarray, "2 2"]:
        """What happens to pixels about the principal point."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        across = -1.0 if self.mirrored else 1.0
        return np.array([[cosine, -sine], [sine, cosine]]) @ np.diag([across, 1.0])

    def keypoints(self, values: Tensor) -> Tensor:
        """Values of COCO23 (second axis) under the names that joints have in the mirror."""
        return values[:, COCO23.flip_permutation()] if self.mirrored else values

    def joints(self, joints: Float[Tensor, "T 24 3"]) -> Float[Tensor, "T 24 3"]:
        """Points of the camera frame, renamed as well."""
        return self.known_joints(joints @ self._space(joints).mT)

    def known_joints(self, values: Tensor) -> Tensor:
        """Values of SMPL24 (second axis) under the names that joints have in the mirror."""
        return values[:, SMPL24.flip_permutation()] if self.mirrored else values

    def smpl(self, smpl: SmplParams, body: BodyModel) -> SmplParams:
        """The body in the mirror, in the rolled camera's frame.

        Exact for bodies that are their own mirror image; the pelvis is where it must be for all.
        """
        if self.mirrored:
            rest = body.rest_joints(smpl.betas)[..., 0, :]
            across = torch.tensor([-1.0, 1.0, 1.0]).to(rest)
            pelvis = (rest + smpl.transl) * across
            rotations = flip_rotations(smpl.rotations())
            smpl = SmplParams.from_rotations(rotations, smpl.betas, pelvis - rest)
        roll = Turn(self.angle)._space(smpl.transl)
        return body.transform(smpl, roll, torch.zeros_like(smpl.transl))

    def _space(self, like: Tensor) -> Float[Tensor, "3 3"]:
        space = np.eye(3)
        space[:2, :2] = self.plane()
        return torch.from_numpy(space).to(like)


@dataclass(frozen=True, eq=False)
class Variation:
    """One clip's draw of everything that moves pixels."""

    turn: Turn
    scale: float
    """Of the box."""
    shift: tuple[float, float]
    """Of the box's middle, in sides of the box."""
    half: str | None
    """The half of the body to be seen, `upper` or `lower`; None for all of it."""

    @staticmethod
    def draw(settings: CropAugmentation, rng: Generator) -> "Variation":
        """Every number is drawn whether or not it is used: one switch changes nothing else."""
        varied, rotated, mirrored, truncated = rng.random(4) < (
            settings.varied_share,
            settings.rotated_share,
            settings.flip,
            settings.truncated_share,
        )
        scale = float(np.exp(rng.uniform(*np.log(settings.scale))))
        shift = rng.uniform(-settings.shift, settings.shift, 2)
        angle = settings.rotation * float(np.clip(rng.normal(), -2, 2))
        half = "upper" if rng.random() < 0.75 else "lower"
        return Variation(
            Turn(angle if rotated else 0.0, bool(mirrored)),
            scale if varied else 1.0,
            (float(shift[0]), float(shift[1])) if varied else (0.0, 0.0),
            half if truncated else None,
        )

    def truncated(
        self, scores: Float[Tensor, "1 T J"], valid: Bool[Tensor, "T"]
    ) -> Float[Tensor, "1 T J"]:
        """Scores of the half that is to be seen, 0 for the other.

        All of them where the half would say too little of the body in the valid frames.
        """
        if self.half is None:
            return scores
        half = torch.where(_half(self.half).to(scores.device), scores, 0.0)
        return half if readable(half[:, valid]).all() else scores


def _half(name: str) -> Bool[Tensor, "J"]:
    lower = torch.tensor([joint.endswith(_LOWER) for joint in COCO23.joints])
    hips = torch.tensor([joint.endswith("hip") for joint in COCO23.joints])
    return lower if name == "lower" else ~lower | hips


_LOWER = ("hip", "knee", "ankle", "toe", "heel")
