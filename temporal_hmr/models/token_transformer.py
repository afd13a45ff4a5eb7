"""Body tokens among image patches in one transformer (Yang et al., INT, ICLR 2023, section 3.1).

A vision transformer whose sequence begins with what is asked for: [24 joints | shape | camera |
cls | patches]. The body tokens are learned priors; no mean pose stands behind them, and they have
no positional embedding.
"""

import torch
from einops import repeat
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.vision_block import NORM_EPSILON, VisionBlock
from temporal_hmr.skeleton import SMPL24


class TokenTransformerConfig(Config):
    """Sizes; the defaults are the published ones."""

    width: int = Field(default=768, gt=0)
    layers: int = 6
    """The first half of ViT-B's."""
    heads: int = Field(default=12, gt=0)
    expansion: int = 4
    grid: int = Field(default=14, gt=0)
    """Patches along a side of the crop."""


class TokenTransformer(nn.Module):
    """The spatial transformer: what one frame says of each joint, the shape and the camera."""

    def __init__(self, config: TokenTransformerConfig):
        super().__init__()
        width = config.width
        self.joint_tokens = nn.Parameter(torch.empty(len(SMPL24), width))
        self.shape_token = nn.Parameter(torch.empty(1, width))
        self.camera_token = nn.Parameter(torch.empty(1, width))
        self.cls_token = nn.Parameter(torch.empty(1, width))
        self.positions = nn.Parameter(torch.empty(1 + config.grid**2, width))
        self.blocks = nn.ModuleList(
            VisionBlock(width, config.heads, config.expansion) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width, NORM_EPSILON)
        for name, parameter in self.named_parameters():
            if parameter.ndim == 2:
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def forward(self, patches: Float[Tensor, "N patches width"]) -> BodyTokens:
        """`patches` row by row. The cls token attends and is attended to, and is then dropped."""
        if patches.shape[1] != len(self.positions) - 1:
            raise InputError(
                f"the crop has {patches.shape[1]} patches, and the transformer has positions for "
                f"{len(self.positions) - 1}: resize the crop"
            )
        count = len(patches)
        body = torch.cat([self.joint_tokens, self.shape_token, self.camera_token])
        image = torch.cat([repeat(self.cls_token, "one c -> n one c", n=count), patches], 1)
        x = torch.cat([repeat(body, "s c -> n s c", n=count), image + self.positions], 1)
        for block in self.blocks:
            x = block(x)
        return BodyTokens.apart(self.norm(x)[:, : len(body)])
