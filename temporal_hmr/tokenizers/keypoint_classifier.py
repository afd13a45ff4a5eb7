"""Keypoint tokens from images (Geng et al., PCT, CVPR 2023, section 3.2).

A classifier says for every token which code it is; the codes, mixed by those chances, go through
the frozen decoder of the keypoint tokenizer. `ImagePoseTokens` is the whole from image to
keypoints, `GuidedKeypointTokenizer` the tokenizer with the backbone that guides it.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from typing_extensions import Self

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones.blocks import BasicBlock
from temporal_hmr.models.layers import MixerLayer
from temporal_hmr.models.swin import Swin, SwinConfig
from temporal_hmr.skeleton import Skeleton
from temporal_hmr.tokenizers.keypoints import (
    PUBLISHED,
    KeypointTokenizer,
    KeypointTokenizerConfig,
    Reconstruction,
)


class KeypointClassifierConfig(Config):
    """Sizes of the classifier; the defaults are published."""

    tokenizer: KeypointTokenizerConfig = PUBLISHED
    channels: int = 1024
    """Of the feature map it reads."""
    cells: int = 8
    """To a side of that map."""
    trunk_channels: int = 256
    trunk_blocks: int = 2
    width: int = 64
    layers: int = 4
    token_hidden: int = 64
    channel_hidden: int = 256


@dataclass(frozen=True, eq=False)
class ClassifiedKeypoints:
    """What the classifier makes of a feature map."""

    keypoints: Float[Tensor, "N joints 2"]
    """In the unit of the tokenizer: pixels of the crop as published."""
    logits: Float[Tensor, "N tokens codes"]
    codes: Float[Tensor, "N tokens dim"]
    """Mixtures of codes by the softmax of the logits, also in evaluation."""

    @property
    def confidence(self) -> Float[Tensor, "N tokens"]:
        """The largest logit of each token, as it stands: not a chance, and without bounds."""
        return self.logits.amax(-1)

    @property
    def scores(self) -> Float[Tensor, "N"]:
        """Of each person: the mean confidence of the tokens."""
        return self.confidence.mean(-1)


class KeypointClassifier(nn.Module):
    """Feature map to token classes, and through the frozen tokenizer to keypoints."""

    def __init__(
        self, config: KeypointClassifierConfig, tokenizer: KeypointTokenizer | None = None
    ):
        """`tokenizer` was trained before and is frozen; None leaves it to weights loaded next."""
        super().__init__()
        self.config = config
        tokens, trunk, width = config.tokenizer.tokens, config.trunk_channels, config.width
        self.trunk = nn.Sequential(
            nn.Conv2d(config.channels, trunk, 1, bias=False),
            nn.BatchNorm2d(trunk),
            nn.ReLU(),
            *(BasicBlock(trunk) for _ in range(config.trunk_blocks)),
        )
        for layer in self.trunk.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.normal_(layer.weight, std=0.001)
        self.to_tokens = _normed_linear(trunk * config.cells**2, tokens * width)
        self.mixers = nn.Sequential(
            *(
                MixerLayer(tokens, width, config.token_hidden, config.channel_hidden)
                for _ in range(config.layers)
            )
        )
        self.to_classes = nn.Sequential(
            _normed_linear(width, width), nn.Linear(width, config.tokenizer.codes)
        )
        self.tokenizer = tokenizer or KeypointTokenizer(config.tokenizer)
        self.tokenizer.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        """The tokenizer is frozen: its codebook must not drift while the classifier trains."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, feature_map: Float[Tensor, "N channels rows columns"]) -> ClassifiedKeypoints:
        """Raises `InputError` for a map of another size than the classifier was made for."""
        cells = self.config.cells
        if feature_map.shape[-2:] != (cells, cells):
            rows, columns = feature_map.shape[-2:]
            raise InputError(
                f"the keypoint classifier reads maps of {cells} x {cells} cells, not {rows} x "
                f"{columns}; give crops of another size"
            )
        positions = rearrange(self.trunk(feature_map), "n c h w -> n (h w c)")
        x = rearrange(self.to_tokens(positions), "n (m c) -> n m c", m=self.config.tokenizer.tokens)
        logits = self.to_classes(self.mixers(x))
        # Keypoints in float32 whatever the autocast type: pixels of a crop need more than 8 bits.
        with torch.autocast(logits.device.type, enabled=False):
            codes = logits.float().softmax(-1) @ self.tokenizer.codebook.codes
            return ClassifiedKeypoints(self.tokenizer.decode(codes), logits.float(), codes)

    @torch.no_grad()
    def labels(
        self,
        keypoints: Float[Tensor, "N joints 2"],
        visible: Bool[Tensor, "N joints"],
        feature_map: Float[Tensor, "N channels rows columns"],
    ) -> Int[Tensor, "N tokens"]:
        """The classes to learn: tokens of true keypoints, all visible ones kept."""
        guide = feature_map if self.config.tokenizer.guide_width else None
        with torch.autocast(keypoints.device.type, enabled=False):
            return self.tokenizer.encode(keypoints, visible, guide).indices


def _normed_linear(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU())


class FrozenBackbone(nn.Module):
    """Base of what reads images through a backbone trained before, which nothing here changes."""

    def __init__(self, backbone: Swin):
        super().__init__()
        self.backbone = backbone.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.backbone.eval()
        return self

    @torch.no_grad()
    def feature_map(
        self, images: Float[Tensor, "N 3 height width"]
    ) -> Float[Tensor, "N channels rows columns"]:
        """Of crops in RGB, normalised by ImageNet's mean and deviation."""
        return self.backbone(images)


class GuidedTokenizerConfig(Config):
    """PCT's first stage with its image guide; the defaults are published, of the size Base."""

    backbone: SwinConfig = SwinConfig()
    tokenizer: KeypointTokenizerConfig = PUBLISHED


class GuidedKeypointTokenizer(FrozenBackbone):
    """Keypoints through their tokens and back, looking at the image they lie in."""

    def __init__(self, config: GuidedTokenizerConfig):
        """Raises `InputError` if the tokenizer takes no guide, or one of other channels."""
        super().__init__(Swin(config.backbone))
        _check_guide(config.tokenizer, config.backbone, required=True)
        self.config = config
        self.tokenizer = KeypointTokenizer(config.tokenizer)

    def forward(
        self,
        images: Float[Tensor, "N 3 height width"],
        keypoints: Float[Tensor, "N joints 2"],
        visible: Bool[Tensor, "N joints"],
    ) -> Reconstruction:
        return self.tokenizer(keypoints, visible, self.feature_map(images))


class ImagePoseTokensConfig(Config):
    """PCT's second stage; the defaults are published, of the size Base."""

    backbone: SwinConfig = SwinConfig()
    classifier: KeypointClassifierConfig = KeypointClassifierConfig()


class ImagePoseTokens(FrozenBackbone):
    """Crops of a person to tokens of the pose, with confidence, and to keypoints."""

    def __init__(self, config: ImagePoseTokensConfig, tokenizer: KeypointTokenizer | None = None):
        """Raises `InputError` if backbone, classifier and guide disagree about channels."""
        super().__init__(Swin(config.backbone))
        channels = config.backbone.channels
        if config.classifier.channels != channels:
            raise InputError(
                f"classifier.channels is {config.classifier.channels}, but the backbone has "
                f"{channels}"
            )
        _check_guide(config.classifier.tokenizer, config.backbone, required=False)
        self.config = config
        self.classifier = KeypointClassifier(config.classifier, tokenizer)

    def forward(self, images: Float[Tensor, "N 3 height width"]) -> ClassifiedKeypoints:
        return self.classifier(self.feature_map(images))


def _check_guide(tokenizer: KeypointTokenizerConfig, backbone: SwinConfig, required: bool) -> None:
    if required and not tokenizer.guide_width:
        raise InputError("tokenizer.guide_ratio is 0: this tokenizer needs no backbone")
    if tokenizer.guide_width and tokenizer.guide_channels != backbone.channels:
        raise InputError(
            f"tokenizer.guide_channels is {tokenizer.guide_channels}, but the backbone has "
            f"{backbone.channels}"
        )


def averaged_with_mirror(
    model: ImagePoseTokens, images: Float[Tensor, "N 3 height width"], skeleton: Skeleton
) -> tuple[Float[Tensor, "N joints 2"], Float[Tensor, "N"]]:
    """Keypoints (pixels) and scores of the crops, averaged with those of their mirror images.

    As PCT's published figures were obtained; x of a mirrored crop is width - 1 - x.
    """
    straight, mirror = model(images), model(images.flip(-1))
    found = mirror.keypoints[:, skeleton.flip_permutation()]
    found = torch.stack([images.shape[-1] - 1 - found[..., 0], found[..., 1]], -1)
    return (straight.keypoints + found) / 2, (straight.scores + mirror.scores) / 2
