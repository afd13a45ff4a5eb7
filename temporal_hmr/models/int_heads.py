"""What INT reads from its tokens (Yang et al., INT, ICLR 2023, section 3.1)."""

from typing import Literal

import torch
from pydantic import Field
from torch import nn

from temporal_hmr.configuration import Config
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.heads import BodyReadout
from temporal_hmr.rotation import sixd_to_matrix


class IntHeadsConfig(Config):
    """How the heads start, and whose camera they speak of."""

    kind: Literal["int"] = "int"
    camera_bias: tuple[float, float, float] = (0.9, 0.0, 0.0)
    """First scale and offset. Published is 0: at a scale about 0 the body starts infinitely far
    away, or behind the camera. Published weights replace it."""
    crop_side: int = Field(default=224, gt=0)
    """Pixels of the crop whose camera the scale is of."""


class IntHeads(nn.Module):
    """One linear layer per kind of token, the joint layer shared by all joints.

    Nothing is added to what they say: no mean pose, shape or camera.
    """

    def __init__(self, width: int, config: IntHeadsConfig):
        super().__init__()
        self.config = config
        self.joint = nn.Linear(width, 6)
        self.shape = nn.Linear(width, 10)
        self.camera = nn.Linear(width, 3)
        for layer in (self.joint, self.shape, self.camera):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
        with torch.no_grad():
            self.camera.bias.copy_(torch.tensor(config.camera_bias))

    def forward(self, tokens: BodyTokens) -> BodyReadout:
        return BodyReadout(
            rotations=sixd_to_matrix(self.joint(tokens.joints)),
            betas=self.shape(tokens.shape.squeeze(1)),
            crop_camera=self.camera(tokens.camera.squeeze(1)),
            crop_side=self.config.crop_side,
        )
