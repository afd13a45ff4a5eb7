"""What convolutional backbones are built of."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

Frozen = Literal["nothing", "norms", "everything"]
"""Parts of a backbone that training leaves as they are."""


class Backbone(nn.Module):
    """Image to feature map. What is frozen takes no gradient and stays in evaluation mode."""

    channels: int
    """Of the feature map."""

    def __init__(self, frozen: Frozen):
        super().__init__()
        self.frozen = frozen

    def frozen_parts(self) -> list[nn.Module]:
        """The modules that stay as they are."""
        if self.frozen == "everything":
            return [self]
        if self.frozen == "norms":
            return [module for module in self.modules() if isinstance(module, nn.BatchNorm2d)]
        return []

    def freeze(self) -> None:
        """To be called once the modules are there."""
        for part in self.frozen_parts():
            part.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> "Backbone":
        """Batch statistics of frozen norms must not drift while the rest trains."""
        super().train(mode)
        for part in self.frozen_parts():
            for module in part.modules():
                module.training = False
        return self


class ConvNorm(nn.Module):
    """Convolution without bias, then batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1):
        super().__init__()
        self.convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        nn.init.kaiming_normal_(self.convolution.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "N inputs H W"]) -> Float[Tensor, "N outputs h w"]:
        return self.norm(self.convolution(x))


class ConvNormRelu(ConvNorm):
    """The same, rectified."""

    def forward(self, x: Float[Tensor, "N inputs H W"]) -> Float[Tensor, "N outputs h w"]:
        return functional.relu(super().forward(x))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions around a shortcut (He et al., CVPR 2016); resolution and width stay."""

    def __init__(self, width: int):
        super().__init__()
        self.first = ConvNorm(width, width, 3)
        self.second = ConvNorm(width, width, 3)

    def forward(self, x: Float[Tensor, "N width H W"]) -> Float[Tensor, "N width H W"]:
        return functional.relu(x + self.second(functional.relu(self.first(x))))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 around a shortcut; the 3x3 strides, as in the common variant of ResNet-50."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1):
        super().__init__()
        outputs = self.expansion * width
        self.reduce = ConvNorm(inputs, width, 1)
        self.spatial = ConvNorm(width, width, 3, stride)
        self.expand = ConvNorm(width, outputs, 1)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else ConvNorm(inputs, outputs, 1, stride)

    def forward(self, x: Float[Tensor, "N inputs H W"]) -> Float[Tensor, "N outputs h w"]:
        inner = functional.relu(self.spatial(functional.relu(self.reduce(x))))
        return functional.relu(self.shortcut(x) + self.expand(inner))
