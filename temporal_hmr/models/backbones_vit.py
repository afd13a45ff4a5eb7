"""ViT-H/16 as human mesh recovery uses it (ViTPose, HMR 2.0, TokenHMR): a plain transformer.

Differs from the image classifier (Dosovitskiy et al., ICLR 2021) in that patches overlap a padded
border, there is no class token (the vector of its position is added to every patch), and only the
middle columns of a square crop are looked at.
"""

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from temporal_hmr.batch import CropWindow
from temporal_hmr.configuration import Config
from temporal_hmr.models.encoder import FrameTokens
from temporal_hmr.models.image_input import frame_images
from temporal_hmr.models.vision_block import NORM_EPSILON, VisionBlock


class VitConfig(Config):
    """Sizes of the backbone; defaults are ViT-H/16 on the middle 256 x 192 of a 256 crop."""

    kind: Literal["vit"] = "vit"
    crop: int = Field(default=256, gt=0)
    """Side of the square crop in pixels."""
    cut_columns: int = Field(default=32, ge=0)
    """Columns of the crop left out on each side."""
    patch: int = Field(default=16, gt=0)
    padding: int = Field(default=2, ge=0)
    width: int = Field(default=1280, gt=0)
    depth: int = Field(default=32, gt=0)
    heads: int = Field(default=16, gt=0)
    expansion: int = Field(default=4, gt=0)
    drop_path: float = Field(default=0.55, ge=0, lt=1)
    """Chance that the last block is skipped in training; rises linearly from 0 at the first."""

    @model_validator(mode="after")
    def _fits(self) -> "VitConfig":
        if self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be shared by {self.heads} heads")
        if min(self.grid()) < 1:
            raise ValueError(f"a crop of {self.crop} has no patch of {self.patch} after the cut")
        return self

    def image_side(self) -> int:
        """Pixels along a side of the crop."""
        return self.crop

    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""

        def fitting(pixels: int) -> int:
            return (pixels + 2 * self.padding - self.patch) // self.patch + 1

        return fitting(self.crop), fitting(self.crop - 2 * self.cut_columns)


class VitBackbone(nn.Module):
    """Normalised square crops to one token for each patch, row by row."""

    def __init__(self, config: VitConfig):
        super().__init__()
        self.config = config
        rows, columns = config.grid()
        self.embed = nn.Conv2d(3, config.width, config.patch, config.patch, config.padding)
        self.positions = nn.Parameter(torch.empty(1 + rows * columns, config.width))
        nn.init.trunc_normal_(self.positions, std=0.02)
        chances = torch.linspace(0, config.drop_path, config.depth, device="cpu").tolist()
        self.blocks = nn.ModuleList(
            VisionBlock(config.width, config.heads, config.expansion, chance) for chance in chances
        )
        self.norm = nn.LayerNorm(config.width, NORM_EPSILON)

    def forward(self, images: Float[Tensor, "N 3 crop crop"]) -> Float[Tensor, "N S width"]:
        """`images` are RGB with ImageNet's mean and deviation taken out."""
        cut = self.config.cut_columns
        seen = images[..., cut : images.shape[-1] - cut]
        patches = rearrange(self.embed(seen), "n c r k -> n (r k) c")
        # The class token's position, which has no token here, is one more offset for all.
        x = patches + self.positions[1:] + self.positions[:1]
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class VitEncoder(nn.Module):
    """The backbone for clips: its patches, and their mean for decoders that want a frame token."""

    def __init__(self, config: VitConfig):
        super().__init__()
        self.backbone = VitBackbone(config)
        self.width = config.width

    def forward(self, window: CropWindow) -> FrameTokens:
        """Raises `InputError` if the window has no images of the right size."""
        memory = self.backbone(frame_images(window, self.backbone.config.crop))
        return FrameTokens(memory.mean(1, keepdim=True), memory)
