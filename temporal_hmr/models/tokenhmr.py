"""TokenHMR as published (Dwivedi et al., CVPR 2024): a crop of one person in, a body out."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from temporal_hmr.configuration import Config
from temporal_hmr.losses_tals import TalsConfig
from temporal_hmr.models.backbones_vit import VitBackbone, VitConfig
from temporal_hmr.models.token_head import TokenHead, TokenHeadConfig, TokenReadout
from temporal_hmr.tokenizers.rotations import RotationTokenizer, RotationTokenizerConfig

CROP_FOCAL = 5000.0
"""Focal length, in pixels of the crop, that published weights assume for every picture."""


class TokenHmrConfig(Config):
    """The network; defaults are the published sizes."""

    backbone: VitConfig = VitConfig()
    tokenizer: RotationTokenizerConfig = RotationTokenizerConfig()
    head: TokenHeadConfig = TokenHeadConfig()


class TokenHmrSystemConfig(Config):
    """The network and what its training asks of it."""

    model: TokenHmrConfig = TokenHmrConfig()
    losses: TalsConfig = TalsConfig()


class TokenHmr(nn.Module):
    """Backbone and head; the rotation tokenizer inside is frozen."""

    def __init__(self, config: TokenHmrConfig, tokenizer: RotationTokenizer | None = None):
        """`tokenizer` was trained before; None leaves it to weights loaded next."""
        super().__init__()
        self.config = config
        self.backbone = VitBackbone(config.backbone)
        tokenizer = tokenizer or RotationTokenizer(config.tokenizer)
        self.head = TokenHead(config.backbone.width, config.head, tokenizer)

    def forward(self, images: Float[Tensor, "N 3 crop crop"]) -> TokenReadout:
        """`images` are RGB with ImageNet's mean and deviation taken out; each by itself."""
        memory = self.backbone(images)
        # The decoder and its rotations in float32 whatever the autocast type.
        with torch.autocast(images.device.type, enabled=False):
            return self.head(memory.float())


def crop_translation(
    crop_camera: Float[Tensor, "*b 3"], crop: float = 256.0
) -> Float[Tensor, "*b 3"]:
    """Translation (m) that puts the body before the crop's camera, of focal length `CROP_FOCAL`.

    It is SMPL's `transl`; `heads.pelvis_in_camera` has the pelvis itself.
    """
    scale = crop_camera[..., :1]
    return torch.cat([crop_camera[..., 1:], 2 * CROP_FOCAL / (crop * scale + 1e-9)], -1)


def project_to_crop(
    points: Float[Tensor, "*b J 3"], translation: Float[Tensor, "*b 3"], crop: float = 256.0
) -> Float[Tensor, "*b J 2"]:
    """Points (m) in the crop, from -0.5 to 0.5 between its edges: what the losses compare."""
    placed = points + translation[..., None, :]
    return CROP_FOCAL / crop * placed[..., :2] / placed[..., 2:]
