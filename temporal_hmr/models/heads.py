"""From body tokens to rotations, shape and place."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from temporal_hmr.batch import CropWindow
from temporal_hmr.configuration import Config
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.rotation import axis_angle_to_matrix, matrix_to_sixd, sixd_to_matrix
from temporal_hmr.skeleton import SMPL24

CROP_FOCAL = 5000.0
"""Pixels of the crop: the focal length that published systems assume for every picture. Nearly
orthographic, whatever camera took it."""


class RotationHeadConfig(Config):
    """Rotations read directly from their tokens."""

    kind: Literal["rotations"] = "rotations"


@dataclass(frozen=True, eq=False)
class BodyReadout:
    """Rotations, shape and crop camera of N frames."""

    rotations: Float[Tensor, "N 24 3 3"]
    betas: Float[Tensor, "N 10"]
    crop_camera: Float[Tensor, "N 3"]
    """Scale s and offset tx, ty (m): a metre at depth of the body spans s/2 of the box side."""
    crop_side: int | None = None
    """None: scale and offset are the pelvis's. Published systems have those of SMPL's origin,
    before a camera of `CROP_FOCAL` pixels of a crop of this side."""
    logits: Float[Tensor, "N tokens codes"] | None = None
    """How the pose was chosen, where it is a choice among learned poses."""

    def camera_at_pelvis(self, pelvis: Float[Tensor, "N 3"]) -> Float[Tensor, "N 3"]:
        """Scale and offset of the pelvis, which stands at `pelvis` (J0, m) in the resting body."""
        if self.crop_side is None:
            return self.crop_camera
        return camera_at_pelvis(self.crop_camera, pelvis, self.crop_side)


class RotationHead(nn.Module):
    """One linear layer per kind of token, the joint layer shared by all joints (INT, section 3.1).

    The joint layer adds to the 6D form of a standing person who faces the camera, so that training
    starts from a body rather than from noise (INT starts without; its scale is then near 0).
    """

    standing: Tensor

    def __init__(self, width: int):
        super().__init__()
        self.joint = nn.Linear(width, 6)
        self.shape = nn.Linear(width, 10)
        self.camera = nn.Linear(width, 3)
        for layer in (self.joint, self.shape, self.camera):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        self.register_buffer("standing", matrix_to_sixd(standing_person()), persistent=False)

    def forward(self, tokens: BodyTokens) -> BodyReadout:
        rotations = sixd_to_matrix(self.standing + self.joint(tokens.joints))
        camera = self.camera(tokens.camera.squeeze(1))
        # Exponential: a scale that could cross zero would send the body through infinity.
        camera = torch.cat([camera[:, :1].exp(), camera[:, 1:]], -1)
        return BodyReadout(rotations, self.shape(tokens.shape.squeeze(1)), camera)


def standing_person() -> Float[Tensor, "24 3 3"]:
    """Upright in a level camera (y down), facing it, arms hanging 70 degrees below the T-pose."""
    axis_angle = torch.zeros(len(SMPL24), 3)
    axis_angle[SMPL24.index("pelvis"), 0] = torch.pi
    arms = torch.deg2rad(torch.tensor(70.0))
    axis_angle[SMPL24.index("left_shoulder"), 2] = -arms
    axis_angle[SMPL24.index("right_shoulder"), 2] = arms
    return axis_angle_to_matrix(axis_angle)


def pelvis_in_camera(
    crop_camera: Float[Tensor, "B T 3"], window: CropWindow
) -> Float[Tensor, "B T 3"]:
    """Where the pelvis stands in the camera frame of the full image, in metres.

    A metre at depth z spans focal / z pixels, and by the crop camera s/2 of the box side; the box
    stands off the principal point, which moves the pelvis sideways in proportion to its depth
    (CLIFF, eq. 3).
    """
    focal = window.focal[:, None]
    depth = 2 * focal.mean(-1) / (crop_camera[..., 0] * window.box_size)
    offset = (window.box_center - window.center[:, None]) / focal * depth[..., None]
    return torch.cat([crop_camera[..., 1:] + offset, depth[..., None]], -1)


def translation_in_crop(crop_camera: Float[Tensor, "*b 3"], side: float) -> Float[Tensor, "*b 3"]:
    """SMPL's translation (m) before the crop's own camera, from (s, tx, ty) of SMPL's origin.

    A metre at depth 2 f / (side s) spans s/2 of the crop's side.
    """
    depth = 2 * CROP_FOCAL / (side * crop_camera[..., :1] + 1e-9)
    return torch.cat([crop_camera[..., 1:], depth], -1)


def project_in_crop(
    points: Float[Tensor, "*b n 3"], translation: Float[Tensor, "*b 3"], side: float
) -> Float[Tensor, "*b n 2"]:
    """Points of an untranslated body (m) to crop coordinates (-1..1), as INT projects them."""
    placed = points + translation[..., None, :]
    return placed[..., :2] / placed[..., 2:] * CROP_FOCAL / (side / 2)


def camera_at_pelvis(
    crop_camera: Float[Tensor, "*b 3"], pelvis: Float[Tensor, "*b 3"], side: float
) -> Float[Tensor, "*b 3"]:
    """The same camera as scale and offset of the pelvis: what `pelvis_in_camera` takes.

    `pelvis` is J0(betas), where the untranslated body has it.
    """
    place = translation_in_crop(crop_camera, side) + pelvis
    scale = 2 * CROP_FOCAL / (side * place[..., 2:])
    return torch.cat([scale, place[..., :2]], -1)
