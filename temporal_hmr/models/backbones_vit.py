"""ViT-H/16 as human mesh recovery uses it (ViTPose, HMR 2.0, TokenHMR): a plain transformer.

Differs from the image classifier (Dosovitskiy et al., ICLR 2021) in that patches overlap a padded
border, there is no class token (the vector of its position is added to every patch), and only the
middle columns of a square crop are looked at.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional

from temporal_hmr.configuration import Config
from temporal_hmr.models.layers import FeedForward

NORM_EPSILON = 1e-6


class VitConfig(Config):
    """Sizes of the backbone; defaults are ViT-H/16 on the middle 256 x 192 of a 256 crop."""

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

    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches."""

        def fitting(pixels: int) -> int:
            return (pixels + 2 * self.padding - self.patch) // self.patch + 1

        return fitting(self.crop), fitting(self.crop - 2 * self.cut_columns)


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., ECCV 2016): in training, whole samples skip a branch."""

    def __init__(self, chance: float):
        super().__init__()
        self.chance = chance

    def forward(self, x: Float[Tensor, "N S width"]) -> Float[Tensor, "N S width"]:
        if not self.training or self.chance == 0:
            return x
        kept = torch.rand(len(x), 1, 1, device=x.device) >= self.chance
        return x * kept / (1 - self.chance)


class FusedAttention(nn.Module):
    """Self-attention with one layer for queries, keys and values (`layers.Attention` has two).

    The heads together need not be as wide as the sequence.
    """

    def __init__(self, width: int, heads: int, head_width: int, bias: bool):
        """`bias` is that of queries, keys and values."""
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * heads * head_width, bias)
        self.out = nn.Linear(heads * head_width, width)

    def forward(self, x: Float[Tensor, "N S width"]) -> Float[Tensor, "N S width"]:
        query, key, value = rearrange(
            self.query_key_value(x), "n s (three h c) -> three n h s c", three=3, h=self.heads
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(rearrange(mixed, "n h s c -> n s (h c)"))


class VitBlock(nn.Module):
    """Pre-norm transformer layer with stochastic depth."""

    def __init__(self, config: VitConfig, drop_path: float):
        super().__init__()
        width = config.width
        self.attention_norm = nn.LayerNorm(width, NORM_EPSILON)
        self.attention = FusedAttention(width, config.heads, width // config.heads, bias=True)
        self.feed_forward_norm = nn.LayerNorm(width, NORM_EPSILON)
        self.feed_forward = FeedForward(width, config.expansion * width)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Float[Tensor, "N S width"]) -> Float[Tensor, "N S width"]:
        x = x + self.drop_path(self.attention(self.attention_norm(x)))
        return x + self.drop_path(self.feed_forward(self.feed_forward_norm(x)))


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
        self.blocks = nn.ModuleList(VitBlock(config, chance) for chance in chances)
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
