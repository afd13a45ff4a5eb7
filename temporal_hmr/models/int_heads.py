"""What INT reads from its tokens, and the camera that its numbers speak of."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from temporal_hmr.configuration import Config
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.heads import BodyReadout
from temporal_hmr.rotation import sixd_to_matrix

FOCAL = 5000.0
"""Pixels of the crop; INT's camera is nearly orthographic, whatever camera took the image."""
CROP_SIDE = 224


class IntHeadsConfig(Config):
    """How the heads start."""

    camera_bias: tuple[float, float, float] = (0.9, 0.0, 0.0)
    """First scale and offset. Published is 0: at a scale about 0 the body starts infinitely far
    away, or behind the camera. Published weights replace it."""


class IntHeads(nn.Module):
    """One linear layer per kind of token, the joint layer shared by all joints (INT, section 3.1).

    Nothing is added to what they say: no mean pose, shape or camera.
    """

    def __init__(self, width: int, config: IntHeadsConfig):
        super().__init__()
        self.joint = nn.Linear(width, 6)
        self.shape = nn.Linear(width, 10)
        self.camera = nn.Linear(width, 3)
        for layer in (self.joint, self.shape, self.camera):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.camera.bias.copy_(torch.tensor(config.camera_bias))

    def forward(self, tokens: BodyTokens) -> BodyReadout:
        """Scale and offset are those of SMPL's origin, not of the pelvis: `camera_at_pelvis`."""
        return BodyReadout(
            rotations=sixd_to_matrix(self.joint(tokens.joints)),
            betas=self.shape(tokens.shape.squeeze(1)),
            crop_camera=self.camera(tokens.camera.squeeze(1)),
        )


def translation_in_crop(
    crop_camera: Float[Tensor, "*b 3"], side: int = CROP_SIDE, focal: float = FOCAL
) -> Float[Tensor, "*b 3"]:
    """SMPL's translation (m) before the crop's own camera, from (s, tx, ty).

    A metre at depth 2 f / (side s) spans s/2 of the crop's side.
    """
    depth = 2 * focal / (side * crop_camera[..., :1] + 1e-9)
    return torch.cat([crop_camera[..., 1:], depth], -1)


def project_in_crop(
    points: Float[Tensor, "*b n 3"],
    crop_camera: Float[Tensor, "*b 3"],
    side: int = CROP_SIDE,
    focal: float = FOCAL,
) -> Float[Tensor, "*b n 2"]:
    """Points of an untranslated body (m) to crop coordinates (-1..1), as INT projects them."""
    placed = points + translation_in_crop(crop_camera, side, focal)[..., None, :]
    return placed[..., :2] / placed[..., 2:] * focal / (side / 2)


def camera_at_pelvis(
    crop_camera: Float[Tensor, "*b 3"],
    pelvis: Float[Tensor, "*b 3"],
    side: int = CROP_SIDE,
    focal: float = FOCAL,
) -> Float[Tensor, "*b 3"]:
    """The same camera as scale and offset of the pelvis: what `heads.pelvis_in_camera` takes.

    `pelvis` is J0(betas), where the untranslated body has it.
    """
    place = translation_in_crop(crop_camera, side, focal) + pelvis
    scale = 2 * focal / (side * place[..., 2:])
    return torch.cat([scale, place[..., :2]], -1)
