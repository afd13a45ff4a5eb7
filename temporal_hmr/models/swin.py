"""Swin Transformer V2 (Liu et al., CVPR 2022) in the variant that PCT reads images with.

Cosine attention in windows, relative positions through a small network, norms after attention and
feed-forward. Common implementations differ from it in numbers: here every norm has an epsilon of
1e-6, and the unit of relative positions is the window of an earlier training on smaller images.
There is no stochastic depth, for PCT keeps this network frozen.

Settings of the published sizes (4 stages, crops of 256 pixels, a map of 8 x 8 cells):
Base as it stands; Large `width` 192, `heads` 6 12 24 48; Huge `width` 256, `heads` 8 16 32 64,
`depths` 2 2 42 2.
"""

import math

import torch
from einops import rearrange
from jaxtyping import Float, Int
from pydantic import model_validator
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import Self

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.models.layers import FeedForward

PATCH = 4
"""Side in pixels of the squares that an image is cut into; each stage but the last doubles it."""
_EPSILON = 1e-6
_SHARPEST = 100.0
"""Bound of the scale of cosines, so that no attention becomes a hard choice."""
_ACROSS_BORDER = -100.0
"""Added to the score of pixels that only the cyclic shift made neighbours."""


class SwinConfig(Config):
    """Sizes by stage; the defaults are those of Base."""

    width: int = 128
    """Channels of the first stage; each stage doubles them."""
    depths: tuple[int, ...] = (2, 2, 18, 2)
    heads: tuple[int, ...] = (4, 8, 16, 32)
    windows: tuple[int, ...] = (16, 16, 16, 8)
    """Side of an attention window, in cells of the stage."""
    trained_windows: tuple[int, ...] = (12, 12, 12, 6)
    """Side of the windows at first, on smaller images: the unit of relative positions."""
    shifted: tuple[bool, ...] = (True, True, False, False)
    """Whether every second block moves its windows by half their side."""
    expansion: int = 4
    position_hidden: int = 512

    @property
    def channels(self) -> int:
        """Of the feature map that comes out."""
        return self.width * 2 ** (len(self.depths) - 1)

    @model_validator(mode="after")
    def _stages_agree(self) -> Self:
        by_stage = (self.heads, self.windows, self.trained_windows, self.shifted)
        if any(len(values) != len(self.depths) for values in by_stage):
            raise ValueError("heads, windows, trained_windows, shifted: one value per stage")
        if min(self.windows) < 2 or min(self.trained_windows) < 2:
            raise ValueError("windows have at least 2 cells to a side")
        return self


class Swin(nn.Module):
    """Images to the feature map of the last stage."""

    def __init__(self, config: SwinConfig):
        super().__init__()
        self.config = config
        self.cell = PATCH * 2 ** (len(config.depths) - 1)
        """Pixels to a side of a cell of the map."""
        self.patch_embed = nn.Conv2d(3, config.width, PATCH, PATCH)
        self.patch_norm = nn.LayerNorm(config.width, _EPSILON)
        self.stages = nn.ModuleList(SwinStage(config, stage) for stage in range(len(config.depths)))
        self.norm = nn.LayerNorm(config.channels, _EPSILON)

    def forward(
        self, images: Float[Tensor, "N 3 height width"]
    ) -> Float[Tensor, "N channels rows columns"]:
        """`images`: RGB, normalised by ImageNet's mean and deviation.

        Raises `InputError` if a stage's map does not divide into its windows.
        """
        x = rearrange(self.patch_embed(images), "n c h w -> n h w c")
        x = self.patch_norm(x)
        for stage in self.stages:
            x = stage(x)
        return rearrange(self.norm(x), "n h w c -> n c h w")


class SwinStage(nn.Module):
    """Blocks at one resolution, before which all stages but the first halve it."""

    def __init__(self, config: SwinConfig, stage: int):
        super().__init__()
        width = config.width * 2**stage
        self.merge = PatchMerging(width // 2) if stage else None
        shift = config.windows[stage] // 2 if config.shifted[stage] else 0
        self.blocks = nn.ModuleList(
            SwinBlock(config, stage, shift if number % 2 else 0)
            for number in range(config.depths[stage])
        )

    def forward(self, x: Float[Tensor, "N h w c"]) -> Float[Tensor, "N rows columns channels"]:
        if self.merge is not None:
            x = self.merge(x)
        for block in self.blocks:
            x = block(x)
        return x


class PatchMerging(nn.Module):
    """2 x 2 neighbours to one cell of twice the channels, column by column."""

    def __init__(self, width: int):
        super().__init__()
        self.reduce = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(2 * width, _EPSILON)

    def forward(self, x: Float[Tensor, "N h w c"]) -> Float[Tensor, "N rows columns channels"]:
        if x.shape[1] % 2 or x.shape[2] % 2:
            raise InputError(f"a map of {x.shape[1]} x {x.shape[2]} cells cannot be halved")
        neighbours = rearrange(x, "n (h i) (w j) c -> n h w (j i c)", i=2, j=2)
        return self.norm(self.reduce(neighbours))


class SwinBlock(nn.Module):
    """Attention within windows, then a feed-forward network; each normed before it is added."""

    def __init__(self, config: SwinConfig, stage: int, shift: int):
        super().__init__()
        width = config.width * 2**stage
        self.attention = WindowAttention(config, stage, shift)
        self.attention_norm = nn.LayerNorm(width, _EPSILON)
        self.feed_forward = FeedForward(width, config.expansion * width)
        self.feed_forward_norm = nn.LayerNorm(width, _EPSILON)

    def forward(self, x: Float[Tensor, "N h w c"]) -> Float[Tensor, "N h w c"]:
        x = x + self.attention_norm(self.attention(x))
        return x + self.feed_forward_norm(self.feed_forward(x))


class WindowAttention(nn.Module):
    """Cosine attention among the cells of a window, with a learned bias by relative position."""

    positions: Tensor
    pairs: Tensor

    def __init__(self, config: SwinConfig, stage: int, shift: int):
        super().__init__()
        width, heads = config.width * 2**stage, config.heads[stage]
        if width % heads:
            raise InputError(f"a width of {width} cannot be shared by {heads} attention heads")
        self.heads, self.window, self.shift = heads, config.windows[stage], shift
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        # Keys have no bias: one alike for all of them would change no attention by dot product.
        self.query_bias = nn.Parameter(torch.zeros(width))
        self.value_bias = nn.Parameter(torch.zeros(width))
        self.log_scale = nn.Parameter(torch.full((heads, 1, 1), math.log(10)))
        self.position_bias = nn.Sequential(
            nn.Linear(2, config.position_hidden),
            nn.ReLU(),
            nn.Linear(config.position_hidden, heads, bias=False),
        )
        self.out = nn.Linear(width, width)
        positions = relative_positions(self.window, config.trained_windows[stage])
        self.register_buffer("positions", positions, persistent=False)
        self.register_buffer("pairs", relative_pairs(self.window), persistent=False)

    def forward(self, x: Float[Tensor, "N h w c"]) -> Float[Tensor, "N h w c"]:
        rows, columns = x.shape[1] // self.window, x.shape[2] // self.window
        if x.shape[1] != rows * self.window or x.shape[2] != columns * self.window:
            raise InputError(
                f"a map of {x.shape[1]} x {x.shape[2]} cells does not divide into windows of "
                f"{self.window}; give crops of another size"
            )
        shifted = torch.roll(x, (-self.shift, -self.shift), (1, 2)) if self.shift else x
        projected = functional.linear(shifted, self.query_key_value.weight, self._bias())
        query, key, value = rearrange(
            projected,
            "n (r p) (s q) (three h c) -> three n (r s h) (p q) c",
            three=3,
            h=self.heads,
            p=self.window,
            q=self.window,
        )
        # Scores in float32 whatever the autocast type: a cosine times a hundred needs the digits.
        with torch.autocast(x.device.type, enabled=False):
            scale = self.log_scale.float().clamp(max=math.log(_SHARPEST)).exp()
            query = functional.normalize(query.float(), dim=-1)
            key = functional.normalize(key.float(), dim=-1)
            mixed = functional.scaled_dot_product_attention(
                query * scale.repeat(rows * columns, 1, 1),
                key,
                value.float(),
                attn_mask=self._scores_added(rows, columns),
                scale=1.0,
            )
        mixed = rearrange(
            mixed.to(value.dtype),
            "n (r s h) (p q) c -> n (r p) (s q) (h c)",
            r=rows,
            s=columns,
            p=self.window,
        )
        mixed = self.out(mixed)
        return torch.roll(mixed, (self.shift, self.shift), (1, 2)) if self.shift else mixed

    def _bias(self) -> Float[Tensor, "three_widths"]:
        return torch.cat([self.query_bias, torch.zeros_like(self.query_bias), self.value_bias])

    def _scores_added(self, rows: int, columns: int) -> Float[Tensor, "windows_heads cells cells"]:
        """By window and head: the bias by position, and the penalty across a shifted border."""
        table = 16 * self.position_bias(self.positions).float().sigmoid()
        bias = rearrange(table[self.pairs], "a b h -> h a b")
        if not self.shift:
            return bias.repeat(rows * columns, 1, 1)
        apart = across_border(rows, columns, self.window, self.shift).to(bias.device)
        return rearrange(bias + _ACROSS_BORDER * apart[:, None], "w h a b -> (w h) a b")


def relative_positions(window: int, trained_window: int) -> Float[Tensor, "offsets 2"]:
    """Every (row, column) offset of two cells of a window, row-major, on a logarithmic scale.

    sign(o) log2(1 + 8 |o| / (trained_window - 1)) / 3, so that +-1 is the edge of the windows that
    the bias was first trained for.
    """
    offsets = torch.arange(1 - window, window, dtype=torch.float32)
    grid = torch.cartesian_prod(offsets, offsets) * 8 / (trained_window - 1)
    return grid.sign() * (grid.abs() + 1).log2() / 3


def relative_pairs(window: int) -> Int[Tensor, "cells cells"]:
    """For each pair of cells of a window (row-major) its row in `relative_positions`."""
    side = torch.arange(window)
    row, column = torch.cartesian_prod(side, side).unbind(-1)
    rows = row[:, None] - row[None] + window - 1
    columns = column[:, None] - column[None] + window - 1
    return rows * (2 * window - 1) + columns


def across_border(
    rows: int, columns: int, window: int, shift: int
) -> Float[Tensor, "windows cells cells"]:
    """1 where two cells of a window are neighbours by the shift alone.

    A cyclic shift brings the first rows (columns) of the map to the end of its last windows.
    """
    wrapped = [torch.arange(count * window) >= count * window - shift for count in (rows, columns)]
    region = 2 * wrapped[0][:, None].long() + wrapped[1][None].long()
    region = rearrange(region, "(r p) (s q) -> (r s) (p q)", p=window, q=window)
    return (region[:, :, None] != region[:, None, :]).float()
