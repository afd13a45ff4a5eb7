"""Pose tokens made ready to stand beside image tokens (Yang et al., PostoMETRO, section 3.2)."""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from temporal_hmr.configuration import Config
from temporal_hmr.models.image_tokens import mixers


class PoseModulatorConfig(Config):
    """The published modulator by default; the paper's tables 7 and 8 are settings of this."""

    reads: Literal["tokens", "coordinates"] = "tokens"
    """Codebook features, or for comparison the raw coordinates, a token for each joint."""
    modulator: Literal["mixer", "linear"] = "mixer"
    """Linear: one layer for features and confidence together."""
    order: Literal["mixers first", "confidence first"] = "mixers first"
    """The code's order, which keeps the unbounded confidence out of the mixers, or the paper's."""
    mixer_layers: int = Field(default=4, ge=1)
    """1, 2, 4 and 8 in table 8."""
    tokens: int = 34
    code_dim: int = 512
    joints: int = 17
    token_hidden: int = 64
    confidence_scale: float = 1.0
    """Confidences are multiplied by this; they are logits, about 10 when the classifier is sure."""

    def inputs(self) -> tuple[int, int]:
        """Number of tokens, and the length of each without its confidence."""
        return (self.tokens, self.code_dim) if self.reads == "tokens" else (self.joints, 2)


class PoseModulator(nn.Module):
    """Features and a confidence for each token to tokens of the transformer's width."""

    def __init__(self, width: int, config: PoseModulatorConfig):
        super().__init__()
        self.config = config
        match config.modulator, config.order:
            case "linear", _:
                self.mix = nn.Linear(config.inputs()[1] + 1, width)
            case _, "mixers first":
                self.mix = MixersFirst(width, config)
            case _:
                self.mix = ConfidenceFirst(width, config)

    def forward(
        self, features: Float[Tensor, "N tokens dim"], confidence: Float[Tensor, "N tokens 1"]
    ) -> Float[Tensor, "N tokens width"]:
        return self.mix(torch.cat([features, self.config.confidence_scale * confidence], -1))


class MixersFirst(nn.Module):
    """As in the released code: the confidence joins after mixers, norm and mixing of tokens."""

    def __init__(self, width: int, config: PoseModulatorConfig):
        super().__init__()
        tokens, dim = config.inputs()
        self.project = nn.Linear(dim, width)
        self.mixers = mixers(tokens, width, config.mixer_layers, config.token_hidden)
        self.across = nn.Linear(tokens, tokens)
        self.join = nn.Sequential(nn.Linear(width + 1, width), nn.LayerNorm(width), nn.ReLU())

    def forward(self, x: Float[Tensor, "N tokens dim+1"]) -> Float[Tensor, "N tokens width"]:
        features, confidence = x[..., :-1], x[..., -1:]
        mixed = self.across(self.mixers(self.project(features)).mT).mT
        return self.join(torch.cat([mixed, confidence], -1))


class ConfidenceFirst(nn.Module):
    """As in the paper: the confidence is one channel more for the mixers."""

    def __init__(self, width: int, config: PoseModulatorConfig):
        super().__init__()
        tokens, dim = config.inputs()
        self.mixers = mixers(tokens, dim + 1, config.mixer_layers, config.token_hidden)
        self.project = nn.Linear(dim + 1, width)

    def forward(self, x: Float[Tensor, "N tokens dim+1"]) -> Float[Tensor, "N tokens width"]:
        return self.project(self.mixers(x))
