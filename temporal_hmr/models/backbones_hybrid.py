"""The convolutional half of the R50 + ViT-B/16 hybrid (Dosovitskiy et al., ViT, ICLR 2021).

A residual network of Big Transfer's kind (Kolesnikov et al., BiT, ECCV 2020) but with activation
after normalisation: weight-standardised convolutions, group normalisation, three stages of
bottlenecks, one output pixel for 16 x 16 of the image.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError


class HybridBackboneConfig(Config):
    """Sizes; the defaults are the published ones."""

    stem: int = 64
    """Channels after the first convolution."""
    blocks: tuple[int, ...] = (3, 4, 9)
    """Bottlenecks of each stage; there is no fourth stage."""
    widths: tuple[int, ...] = (256, 512, 1024)
    """Channels that come out of each stage; four times those inside its bottlenecks."""
    groups: int = 32
    """Groups of channels normalised together."""

    def stride(self) -> int:
        """Pixels of the image per pixel of the output: stem, pool, and all stages but the first."""
        return 4 * 2 ** (len(self.blocks) - 1)


class StandardisedConv(nn.Conv2d):
    """Convolution without bias whose filters have zero mean and unit deviation at every use.

    The weights are stored as they were trained (Qiao et al., 2019, "Weight standardization").
    """

    def __init__(self, channels: int, out: int, kernel: int, stride: int = 1):
        super().__init__(channels, out, kernel, stride, bias=False)

    def forward(self, input: Float[Tensor, "N C H W"]) -> Float[Tensor, "N out h w"]:
        deviation, mean = torch.std_mean(self.weight, (1, 2, 3), correction=0, keepdim=True)
        weight = (self.weight - mean) / (deviation + 1e-5)
        padded = pad_same(input, self.kernel_size[0], self.stride[0])
        return functional.conv2d(padded, weight, stride=self.stride)


class Normed(nn.Module):
    """A standardised convolution and its group normalisation."""

    def __init__(self, conv: StandardisedConv, groups: int):
        super().__init__()
        self.conv = conv
        self.norm = nn.GroupNorm(groups, conv.out_channels)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N out h w"]:
        return self.norm(self.conv(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 (which strides) and 1x1 convolution beside a shortcut; ReLU after the sum."""

    def __init__(self, channels: int, out: int, stride: int, groups: int, first: bool):
        super().__init__()
        inner = out // 4
        self.downsample = (
            Normed(StandardisedConv(channels, out, 1, stride), groups) if first else None
        )
        self.conv1 = StandardisedConv(channels, inner, 1)
        self.norm1 = nn.GroupNorm(groups, inner)
        self.conv2 = StandardisedConv(inner, inner, 3, stride)
        self.norm2 = nn.GroupNorm(groups, inner)
        self.conv3 = StandardisedConv(inner, out, 1)
        self.norm3 = nn.GroupNorm(groups, out)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N out h w"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = functional.relu(self.norm1(self.conv1(x)))
        x = functional.relu(self.norm2(self.conv2(x)))
        return functional.relu(self.norm3(self.conv3(x)) + shortcut)


class HybridBackbone(nn.Module):
    """Images to feature maps; 224 x 224 pixels give 1024 x 14 x 14."""

    def __init__(self, config: HybridBackboneConfig):
        super().__init__()
        uneven = config.stem % config.groups or any(
            width % (4 * config.groups) for width in config.widths
        )
        if uneven or len(config.blocks) != len(config.widths):
            raise InputError(
                f"a hybrid backbone of {config.blocks} blocks cannot have stem {config.stem} and "
                f"widths {config.widths}: give each stage a width, and the stem and a quarter of "
                f"each width whole groups of {config.groups}"
            )
        self.stem = Normed(StandardisedConv(3, config.stem, 7, 2), config.groups)
        self.stages = nn.ModuleList()
        channels = config.stem
        for number, (count, width) in enumerate(zip(config.blocks, config.widths, strict=True)):
            stage = nn.Sequential()
            for index in range(count):
                stride = 2 if number > 0 and index == 0 else 1
                stage.append(Bottleneck(channels, width, stride, config.groups, index == 0))
                channels = width
            self.stages.append(stage)

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C h w"]:
        x = functional.relu(self.stem(images))
        # Published padding is minus infinity; after ReLU, 0 never wins either.
        x = functional.max_pool2d(pad_same(x, 3, 2), 3, 2)
        for stage in self.stages:
            x = stage(x)
        return x


class HybridPatches(nn.Module):
    """One token for every pixel of the backbone's map, row by row."""

    def __init__(self, config: HybridBackboneConfig, width: int):
        super().__init__()
        self.backbone = HybridBackbone(config)
        self.project = nn.Conv2d(config.widths[-1], width, 1)

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N patches width"]:
        return rearrange(self.project(self.backbone(images)), "n c h w -> n (h w) c")


def pad_same(x: Float[Tensor, "N C H W"], kernel: int, stride: int) -> Float[Tensor, "N C h w"]:
    """Zeros as TensorFlow pads, where the weights were trained: ceil(size / stride) pixels out.

    An odd pixel of padding goes right and below.
    """
    edges = []
    for size in (x.shape[-1], x.shape[-2]):
        missing = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        edges += [missing // 2, missing - missing // 2]
    return functional.pad(x, edges)
