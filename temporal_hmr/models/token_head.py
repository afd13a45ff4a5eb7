"""Body pose as a choice among learned poses (Dwivedi et al., TokenHMR, CVPR 2024, section 3.3).

A classifier says for each token how likely each code is; the mixture of codes goes through the
frozen decoder of the rotation tokenizer. Two heads: `TokenHead` reads an image memory by one query,
as published; `BodyTokenHead` reads the body tokens of our own decoder, after they met in time.
"""

from dataclasses import replace
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from temporal_hmr.configuration import Config
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.heads import BodyReadout, RotationHead, standing_person
from temporal_hmr.models.layers import FeedForward, MixerLayer
from temporal_hmr.models.vision_block import FusedAttention
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.tokenizers.rotations import (
    TOKENISED,
    UNTOKENISED,
    RotationTokenizer,
    RotationTokenizerConfig,
    SixdLayout,
    rotations_of,
    sixd_of,
)


class ClassifierConfig(Config):
    """Sizes of the token classifier; defaults as published (10.9 M with 160 tokens)."""

    width: int = Field(default=64, gt=0)
    layers: int = Field(default=4, ge=0)
    token_hidden: int = Field(default=64, gt=0)
    channel_hidden: int = Field(default=256, gt=0)


class BodyTokenHeadConfig(Config):
    """Our head: what classifies, and what decodes."""

    kind: Literal["tokens"] = "tokens"
    classifier: ClassifierConfig = ClassifierConfig()
    tokenizer: RotationTokenizerConfig = RotationTokenizerConfig()


class TokenHeadConfig(Config):
    """Sizes of the published head; its memory is the backbone's."""

    kind: Literal["tokenhmr"] = "tokenhmr"
    tokenizer: RotationTokenizerConfig = RotationTokenizerConfig()
    width: int = Field(default=1024, gt=0)
    layers: int = Field(default=6, gt=0)
    heads: int = Field(default=8, gt=0)
    head_width: int = Field(default=64, gt=0)
    hidden: int = Field(default=1024, gt=0)
    classifier: ClassifierConfig = ClassifierConfig()
    offset_tokenised: bool = False
    """Whether the mean pose is added to the decoded joints too, as published weights expect. The
    decoder's output is whole rotations already: with the offset they leave what it has learned."""
    crop_side: int = Field(default=256, gt=0)
    """Pixels of the crop whose camera the scale is of."""


class MemoryAttention(nn.Module):
    """Attention to a memory of another width; heads as wide as asked, no bias but the last."""

    def __init__(self, width: int, memory: int, heads: int, head_width: int):
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, heads * head_width, bias=False)
        self.key_value = nn.Linear(memory, 2 * heads * head_width, bias=False)
        self.out = nn.Linear(heads * head_width, width)

    def forward(
        self, queries: Float[Tensor, "N Q width"], memory: Float[Tensor, "N K memory"]
    ) -> Float[Tensor, "N Q width"]:
        query = rearrange(self.query(queries), "n q (h c) -> n h q c", h=self.heads)
        key, value = rearrange(
            self.key_value(memory), "n k (two h c) -> two n h k c", two=2, h=self.heads
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return self.out(rearrange(mixed, "n h q c -> n q (h c)"))


class QueryBlock(nn.Module):
    """Pre-norm decoder layer; the memory is taken as it is."""

    def __init__(self, config: TokenHeadConfig, memory: int):
        super().__init__()
        width, heads, head_width = config.width, config.heads, config.head_width
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = FusedAttention(width, heads, head_width, bias=False)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = MemoryAttention(width, memory, heads, head_width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, config.hidden)

    def forward(
        self, x: Float[Tensor, "N Q width"], memory: Float[Tensor, "N K memory"]
    ) -> Float[Tensor, "N Q width"]:
        x = x + self.self_attention(self.self_norm(x))
        x = x + self.cross_attention(self.cross_norm(x), memory)
        return x + self.feed_forward(self.feed_forward_norm(x))


class QueryDecoder(nn.Module):
    """One query, the same for every image, looks into the memory; no norm at the end."""

    def __init__(self, config: TokenHeadConfig, memory: int):
        super().__init__()
        # The layer is given a zero, so that its weight does nothing; published files hold it.
        self.embed = nn.Linear(1, config.width)
        self.position = nn.Parameter(torch.randn(1, 1, config.width))
        self.blocks = nn.ModuleList(QueryBlock(config, memory) for _ in range(config.layers))

    def forward(self, memory: Float[Tensor, "N K memory"]) -> Float[Tensor, "N width"]:
        x = self.embed(memory.new_zeros(len(memory), 1, 1)) + self.position
        for block in self.blocks:
            x = block(x, memory)
        return x.squeeze(1)


def fully_connected(inputs: int, outputs: int) -> nn.Sequential:
    """Linear, LayerNorm, ReLU."""
    return nn.Sequential(nn.Linear(inputs, outputs), nn.LayerNorm(outputs), nn.ReLU())


class TokenMixer(nn.Module):
    """Token features to a score for each code: mixers over the tokens, then two layers."""

    def __init__(self, tokens: int, codes: int, config: ClassifierConfig):
        super().__init__()
        width = config.width
        mixers = (
            MixerLayer(tokens, width, config.token_hidden, config.channel_hidden)
            for _ in range(config.layers)
        )
        self.mixers = nn.Sequential(*mixers)
        self.connect = fully_connected(width, width)
        self.scores = nn.Linear(width, codes)

    def forward(self, x: Float[Tensor, "N tokens width"]) -> Float[Tensor, "N tokens codes"]:
        return self.scores(self.connect(self.mixers(x)))


class FrozenPoses(nn.Module):
    """The tokenizer's codes and decoder: never trained here, never in training mode."""

    def __init__(self, tokenizer: RotationTokenizer):
        super().__init__()
        self.tokenizer = tokenizer.requires_grad_(False)
        self.tokenizer.eval()

    def train(self, mode: bool = True) -> "FrozenPoses":
        """The tokenizer stays in evaluation mode: its codebook would move."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, logits: Float[Tensor, "N tokens codes"]) -> Float[Tensor, "N 21 6"]:
        """The decoder's answer to the mixture of codes; always the mixture, never the best code."""
        mixture = logits.softmax(-1) @ self.tokenizer.codebook.codes.to(logits.dtype)
        return self.tokenizer.decode_sixd(mixture)


class TokenHead(nn.Module):
    """The published head: from image tokens to rotations, shape and camera."""

    mean_sixd: Tensor
    mean_betas: Tensor
    mean_camera: Tensor

    def __init__(
        self, memory: int, config: TokenHeadConfig, tokenizer: RotationTokenizer | None = None
    ):
        """`memory` is the width of image tokens.

        `tokenizer` was trained before and is frozen; None leaves it to weights loaded next.
        """
        super().__init__()
        tokenizer = tokenizer or RotationTokenizer(config.tokenizer)
        self.config = config
        self.layout: SixdLayout = tokenizer.config.sixd
        width, sizes = config.width, tokenizer.config
        self.decoder = QueryDecoder(config, memory)
        self.spread = fully_connected(width, sizes.tokens * config.classifier.width)
        self.classifier = TokenMixer(sizes.tokens, sizes.codes, config.classifier)
        self.poses = FrozenPoses(tokenizer)
        self.orientation = nn.Linear(width, 6)
        self.hands = nn.Linear(width, 12)
        self.shape = nn.Linear(width, 10)
        self.camera = nn.Linear(width, 3)
        self.register_buffer("mean_sixd", sixd_of(resting_person(), self.layout))
        self.register_buffer("mean_betas", torch.zeros(10))
        self.register_buffer("mean_camera", torch.tensor([0.9, 0.0, 0.0]))

    def forward(self, memory: Float[Tensor, "N K memory"]) -> BodyReadout:
        feature = self.decoder(memory)
        spread = rearrange(self.spread(feature), "n (m c) -> n m c", c=self.config.classifier.width)
        logits = self.classifier(spread)
        hands = self.hands(feature).unflatten(-1, (2, 6))
        sixd = torch.cat([self.orientation(feature)[:, None], self.poses(logits), hands], 1)
        return BodyReadout(
            rotations_of(sixd + self._offset(), self.layout),
            self.shape(feature) + self.mean_betas,
            self.camera(feature) + self.mean_camera,
            self.config.crop_side,
            logits,
        )

    def _offset(self) -> Float[Tensor, "24 6"]:
        if self.config.offset_tokenised:
            return self.mean_sixd
        tokenised = torch.zeros_like(self.mean_sixd)
        tokenised[SMPL24.indices(*TOKENISED)] = 1.0
        return self.mean_sixd * (1 - tokenised)


class BodyTokenHead(nn.Module):
    """The same choice of pose from a body token for each joint, in place of `RotationHead`.

    A layer along the joint axis makes the tokenizer's tokens of the 21 joint tokens (as PCT makes
    tokens of joints); root, hands, shape and camera are read as `RotationHead` reads them.
    """

    def __init__(
        self, width: int, config: BodyTokenHeadConfig, tokenizer: RotationTokenizer | None = None
    ):
        """`width` of the body tokens.

        `tokenizer` was trained before and is frozen; None leaves it to weights loaded next.
        """
        super().__init__()
        tokenizer = tokenizer or RotationTokenizer(config.tokenizer)
        sizes = tokenizer.config
        self.narrow = nn.Linear(width, config.classifier.width)
        self.spread = nn.Linear(len(TOKENISED), sizes.tokens)
        self.classifier = TokenMixer(sizes.tokens, sizes.codes, config.classifier)
        self.poses = FrozenPoses(tokenizer)
        self.rest = RotationHead(width)

    def forward(self, tokens: BodyTokens) -> BodyReadout:
        chosen = tokens.joints[:, SMPL24.indices(*TOKENISED)]
        logits = self.classifier(self.spread(self.narrow(chosen).mT).mT)
        decoded = rotations_of(self.poses(logits), self.poses.tokenizer.config.sixd)
        body = self.rest(tokens)
        root, left, right = body.rotations[:, SMPL24.indices(*UNTOKENISED)].unbind(1)
        rotations = torch.cat([root[:, None], decoded, torch.stack([left, right], 1)], 1)
        return replace(body, rotations=rotations, logits=logits)


def resting_person() -> Float[Tensor, "24 3 3"]:
    """Upright before a level camera, facing it, in the T-pose: where root and hands start from."""
    rest = torch.eye(3).repeat(len(SMPL24), 1, 1)
    root = SMPL24.index("pelvis")
    rest[root] = standing_person()[root]
    return rest
