"""INT's image part (Yang et al., "Capturing the motion of every joint", ICLR 2023).

Patches of a convolutional backbone and body tokens through one transformer, frame by frame: encoder
and decoder in one. Mixing through time and reading out are `token_motion` and `int_heads`.
"""

from typing import Literal

from torch import nn

from temporal_hmr.batch import CropWindow
from temporal_hmr.configuration import Config
from temporal_hmr.models.backbones_hybrid import HybridBackboneConfig, HybridPatches
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.image_input import frame_images
from temporal_hmr.models.token_transformer import TokenTransformer, TokenTransformerConfig


class IntEncoderConfig(Config):
    """The published sizes."""

    kind: Literal["int"] = "int"
    backbone: HybridBackboneConfig = HybridBackboneConfig()
    transformer: TokenTransformerConfig = TokenTransformerConfig()

    def image_side(self) -> int:
        """Pixels along a side of the crop."""
        return self.transformer.grid * self.backbone.stride()


class IntEncoder(nn.Module):
    """Images to independent tokens for joints, shape and camera."""

    def __init__(self, config: IntEncoderConfig):
        super().__init__()
        self.side = config.image_side()
        self.width = config.transformer.width
        self.patches = HybridPatches(config.backbone, self.width)
        self.transformer = TokenTransformer(config.transformer)

    def forward(self, window: CropWindow) -> BodyTokens:
        """Raises `InputError` if the window has no images of the right size."""
        return self.transformer(self.patches(frame_images(window, self.side)))
