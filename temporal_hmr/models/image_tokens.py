"""A backbone's feature map as tokens (Cho et al., FastMETRO, ECCV 2022, section 3.1)."""

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.models.layers import MixerLayer

_TEMPERATURE = 1e4


class ImageTokensConfig(Config):
    """How feature maps become tokens; mixing them is a row of PostoMETRO's table 7."""

    modulator: Literal["linear", "mixer"] = "linear"
    grid: tuple[int, int] = (8, 8)
    """Rows and columns of the feature map; only mixers depend on it."""
    mixer_layers: int = 4
    token_hidden: int = 64


class ImageTokens(nn.Module):
    """1x1 convolution, one token for each cell, row by row; mixers after that if asked for.

    How the paper arranges its image mixers is not published: ours is as for pose tokens.
    """

    def __init__(self, channels: int, width: int, config: ImageTokensConfig):
        super().__init__()
        self.config = config
        self.project = nn.Conv2d(channels, width, 1)
        self.mixers = nn.Identity()
        if config.modulator == "mixer":
            cells = config.grid[0] * config.grid[1]
            self.mixers = mixers(cells, width, config.mixer_layers, config.token_hidden)

    def forward(self, features: Float[Tensor, "N channels h w"]) -> Float[Tensor, "N h*w width"]:
        grid = tuple(features.shape[-2:])
        if self.config.modulator == "mixer" and grid != self.config.grid:
            raise InputError(
                f"image mixers made for a grid of {self.config.grid} were given one of {grid}; "
                "set `grid` to what the backbone makes of the images"
            )
        return self.mixers(rearrange(self.project(features), "n c h w -> n (h w) c"))


def mixers(tokens: int, width: int, layers: int, token_hidden: int) -> nn.Sequential:
    """Mixer layers (channels as wide inside as out) and a last norm, as PCT's encoder has them."""
    stack = (MixerLayer(tokens, width, token_hidden, width) for _ in range(layers))
    return nn.Sequential(*stack, nn.LayerNorm(width))


def sine_positions(
    grid: tuple[int, int], width: int, device: torch.device | None = None
) -> Float[Tensor, "h*w width"]:
    """DETR's sinusoidal positions (Carion et al., ECCV 2020): rows in the first half of the width.

    Rows count 1..h, scaled to 2 pi; sines and cosines alternate. In float32, whatever runs around.
    """
    half = width // 2
    frequency = _TEMPERATURE ** (-2 * (torch.arange(half, device=device) // 2) / half)

    def encode(count: int) -> Float[Tensor, "count half"]:
        steps = torch.arange(1, count + 1, dtype=torch.float32, device=device)
        angles = (2 * torch.pi * steps / (count + 1e-6))[:, None] * frequency
        return torch.stack([angles[:, 0::2].sin(), angles[:, 1::2].cos()], -1).flatten(1)

    rows, columns = grid
    y = encode(rows)[:, None].expand(rows, columns, half)
    x = encode(columns)[None].expand(rows, columns, half)
    return torch.cat([y, x], -1).flatten(0, 1)
