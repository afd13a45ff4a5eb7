"""ResNet (He et al., CVPR 2016) up to its last feature map, without pooling and classes."""

from typing import Literal

from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from temporal_hmr.configuration import Config
from temporal_hmr.models.backbones.blocks import Backbone, Bottleneck, ConvNormRelu, Frozen


class ResNetConfig(Config):
    """ResNet-50 by default: 2048 channels at a 32nd of the resolution."""

    kind: Literal["resnet"] = "resnet"
    layers: tuple[int, ...] = (3, 4, 6, 3)
    """Bottlenecks of each stage."""
    width: int = Field(default=64, gt=0)
    frozen: Frozen = "nothing"


class ResNet(Backbone):
    """Stem and stages of bottlenecks; the trunk of SimpleBaseline's pose network."""

    def __init__(self, config: ResNetConfig):
        super().__init__(config.frozen)
        self.stem = ConvNormRelu(3, config.width, 7, 2)
        self.stages = nn.ModuleList()
        self.channels = config.width
        for index, count in enumerate(config.layers):
            width = config.width * 2**index
            blocks = [Bottleneck(self.channels, width, stride=1 if index == 0 else 2)]
            self.channels = Bottleneck.expansion * width
            blocks += [Bottleneck(self.channels, width) for _ in range(count - 1)]
            self.stages.append(nn.Sequential(*blocks))
        self.freeze()

    def forward(self, images: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N channels h w"]:
        x = functional.max_pool2d(self.stem(images), 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
        return x
