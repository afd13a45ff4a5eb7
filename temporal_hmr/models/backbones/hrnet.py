"""HRNet's pose network (Sun et al., CVPR 2019) up to its branch of lowest resolution.

PostoMETRO reads that branch (384 x 8 x 8 of a 256 x 256 image for width 48). The last exchange
computes that branch only: the other three would be thrown away.
"""

from functools import reduce
from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from temporal_hmr.configuration import Config
from temporal_hmr.models.backbones.blocks import (
    Backbone,
    BasicBlock,
    Bottleneck,
    ConvNorm,
    ConvNormRelu,
    Frozen,
)

_STEM = 64
_BRANCH_BLOCKS = 4

Branches = list[Float[Tensor, "N width H W"]]


class HrNetConfig(Config):
    """HRNet-W48 by default."""

    kind: Literal["hrnet"] = "hrnet"
    width: int = Field(default=48, gt=0)
    """Channels of the branch of highest resolution; each lower one has twice those above it."""
    modules: tuple[int, ...] = (1, 4, 3)
    """Exchange modules of the stages with 2, 3, ... branches."""
    frozen: Frozen = "nothing"


class HrNet(Backbone):
    """Parallel branches that exchange what they see; the highest at a quarter of the resolution."""

    def __init__(self, config: HrNetConfig):
        super().__init__(config.frozen)
        self.stem = nn.Sequential(ConvNormRelu(3, _STEM, 3, 2), ConvNormRelu(_STEM, _STEM, 3, 2))
        wide = Bottleneck.expansion * _STEM
        first = Bottleneck(_STEM, _STEM)
        self.first_stage = nn.Sequential(first, *(Bottleneck(wide, _STEM) for _ in range(3)))
        self.enter = nn.ModuleList(
            [ConvNormRelu(wide, config.width, 3), ConvNormRelu(wide, 2 * config.width, 3, 2)]
        )
        """To the first two branches, both from the one before them."""
        self.descend = nn.ModuleList()
        """To each further branch, from the lowest so far."""
        self.stages = nn.ModuleList()
        for stage, count in enumerate(config.modules):
            widths = [config.width * 2**branch for branch in range(stage + 2)]
            if stage:
                self.descend.append(ConvNormRelu(widths[-2], widths[-1], 3, 2))
            last = stage == len(config.modules) - 1
            self.stages.append(
                nn.ModuleList(
                    ExchangeModule(widths, only_lowest=last and module == count - 1)
                    for module in range(count)
                )
            )
            self.channels = widths[-1]
        self.freeze()

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N channels h w"]:
        x = self.first_stage(self.stem(images))
        branches: Branches = [enter(x) for enter in self.enter]
        for index, stage in enumerate(self.stages):
            if index:
                branches.append(self.descend[index - 1](branches[-1]))
            for module in stage.children():
                branches = module(branches)
        return branches[-1]


class ExchangeModule(nn.Module):
    """Blocks in every branch, then each branch receives the sum of all, resized to its own."""

    def __init__(self, widths: list[int], only_lowest: bool):
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(_BRANCH_BLOCKS))) for width in widths
        )
        receivers = range(len(widths) - 1 if only_lowest else 0, len(widths))
        self.exchange = nn.ModuleDict({str(to): _resizers(widths, to) for to in receivers})
        """Keyed by the receiving branch, then in order of the sending ones."""

    def forward(self, branches: Branches) -> Branches:
        inner = [blocks(x) for blocks, x in zip(self.branches, branches, strict=True)]
        exchange = [list(senders.children()) for senders in self.exchange.children()]
        return [
            functional.relu(reduce(torch.add, (resize(x) for resize, x in pairs)))
            for pairs in (zip(senders, inner, strict=True) for senders in exchange)
        ]


def _resizers(widths: list[int], to: int) -> nn.ModuleList:
    """From every branch to branch `to`."""
    return nn.ModuleList(
        nn.Identity()
        if sender == to
        else _up(widths, sender, to)
        if sender > to
        else _down(widths, sender, to)
        for sender in range(len(widths))
    )


def _up(widths: list[int], sender: int, to: int) -> nn.Sequential:
    scale = 2 ** (sender - to)
    return nn.Sequential(ConvNorm(widths[sender], widths[to], 1), nn.Upsample(scale_factor=scale))


def _down(widths: list[int], sender: int, to: int) -> nn.Sequential:
    """Strided convolutions, the width changed and the rectifier left out in the last."""
    steps: list[nn.Module] = [
        ConvNormRelu(widths[sender], widths[sender], 3, 2) for _ in range(to - sender - 1)
    ]
    return nn.Sequential(*steps, ConvNorm(widths[sender], widths[to], 3, 2))
