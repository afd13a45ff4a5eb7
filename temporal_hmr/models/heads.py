"""From body tokens to rotations, shape and place."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from temporal_hmr.batch import CropWindow
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.rotation import axis_angle_to_matrix, matrix_to_sixd, sixd_to_matrix
from temporal_hmr.skeleton import SMPL24


@dataclass(frozen=True, eq=False)
class BodyReadout:
    """Rotations, shape and crop camera of N frames."""

    rotations: Float[Tensor, "N 24 3 3"]
    betas: Float[Tensor, "N 10"]
    crop_camera: Float[Tensor, "N 3"]
    """Scale s and offset tx, ty (m): a metre at the pelvis spans s/2 of the box side."""


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
