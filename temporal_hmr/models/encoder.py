"""From what was seen in each frame to tokens (Yang et al., PostoMETRO, WACV 2025, section 3).

One encoder takes pose tokens and a frame token together; here the pose tokens come from detected
keypoints through the keypoint tokenizer, with the detector's confidences.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from temporal_hmr.batch import CropWindow
from temporal_hmr.configuration import Config
from temporal_hmr.models.layers import MixerLayer, SelfAttentionBlock
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer


class FrameEncoderConfig(Config):
    """Sizes of the encoder."""

    kind: Literal["keypoints"] = "keypoints"
    width: int = Field(default=160, gt=0)
    heads: int = Field(default=4, gt=0)
    layers: int = Field(default=1, ge=0)
    expansion: int = Field(default=2, gt=0)
    modulator_layers: int = Field(default=1, ge=0)
    """Mixer layers between pose tokens and encoder; 4 in the paper."""
    modulator_token_hidden: int = Field(default=64, gt=0)
    temperature: float = Field(default=1.0, gt=0)
    """Softness of the mixture of codes, in units of the squared code distance."""
    visible_above: float = 0.05
    """Keypoints of lower confidence count as unseen."""

    def image_side(self) -> int | None:
        """It looks at no image."""
        return None


@dataclass(frozen=True, eq=False)
class FrameTokens:
    """What one frame says, as a memory for decoders to look into; N counts frames of all clips."""

    frame: Float[Tensor, "N 1 width"]
    """The frame as a whole; of keypoints, box and coordinates as they are: precise and brittle. As
    wide as a clip's context makes it."""
    memory: Float[Tensor, "N tokens width"]
    """Everything else: the pose as words of the codebook (the robust part), the image."""

    def float(self) -> "FrameTokens":
        """The same in float32."""
        return FrameTokens(self.frame.float(), self.memory.float())


class PoseModulator(nn.Module):
    """Codebook features and confidence to encoder tokens, in the order of PostoMETRO's code.

    Mixers, norm and a layer across tokens act on the features; the confidence joins after them.
    Each token's confidence is a learned average of the confidences of the detected joints.
    """

    def __init__(self, tokenizer: KeypointTokenizer, config: FrameEncoderConfig):
        super().__init__()
        tokens, width = tokenizer.config.tokens, config.width
        self.project = nn.Linear(tokenizer.config.code_dim, width)
        self.mixers = nn.Sequential(
            *(
                MixerLayer(tokens, width, config.modulator_token_hidden, width)
                for _ in range(config.modulator_layers)
            ),
            nn.LayerNorm(width),
        )
        self.across = nn.Linear(tokens, tokens)
        self.joint_confidence = nn.Linear(tokenizer.config.joints, tokens)
        self.join = nn.Sequential(nn.Linear(width + 1, width), nn.LayerNorm(width), nn.ReLU())

    def forward(
        self, codes: Float[Tensor, "N tokens dim"], scores: Float[Tensor, "N joints"]
    ) -> Float[Tensor, "N tokens width"]:
        mixed = self.across(self.mixers(self.project(codes)).mT).mT
        confidence = self.joint_confidence(scores)[..., None]
        return self.join(torch.cat([mixed, confidence], -1))


class FrameEncoder(nn.Module):
    """Pose tokens and the frame token through one transformer encoder, frame by frame."""

    def __init__(self, config: FrameEncoderConfig, tokenizer: KeypointTokenizer):
        super().__init__()
        self.config = config
        self.width = config.width
        self.tokenizer = tokenizer.requires_grad_(False)
        self.modulator = PoseModulator(tokenizer, config)
        width = config.width
        self.frame_embed = nn.Sequential(
            nn.Linear(3 * tokenizer.config.joints + 3, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(width, config.heads, config.expansion) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)

    def train(self, mode: bool = True) -> "FrameEncoder":
        """The tokenizer is frozen: its codebook must not drift while the rest trains."""
        super().train(mode)
        self.tokenizer.eval()
        return self

    def forward(self, window: CropWindow) -> FrameTokens:
        seen = detections(window, self.config.visible_above)
        codes = soft_tokens(self.tokenizer, seen, self.config.temperature)
        frame = self._frame(window, seen)
        tokens = torch.cat([frame, self.modulator(codes, seen.scores)], 1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        return FrameTokens(tokens[:, :1], tokens[:, 1:])

    def frame_alone(self, window: CropWindow) -> Float[Tensor, "N 1 width"]:
        """The frame token before it meets the pose tokens."""
        return self.norm(self._frame(window, detections(window, self.config.visible_above)))

    def _frame(self, window: CropWindow, seen: "FrameDetections") -> Float[Tensor, "N 1 width"]:
        return self.frame_embed(frame_facts(window, seen))[:, None]


@dataclass(frozen=True, eq=False)
class FrameDetections:
    """Keypoints of N frames in their boxes; those too uncertain to count are 0 with score 0."""

    keypoints: Float[Tensor, "N joints 2"]
    scores: Float[Tensor, "N joints"]


def detections(window: CropWindow, visible_above: float) -> FrameDetections:
    """All frames of all clips; keypoints of lower confidence count as unseen."""
    scores = rearrange(window.scores, "b t j -> (b t) j")
    visible = scores > visible_above
    keypoints = rearrange(window.keypoints, "b t j c -> (b t) j c")
    return FrameDetections(torch.where(visible[..., None], keypoints, 0.0), scores * visible)


@torch.no_grad()
def soft_tokens(
    tokenizer: KeypointTokenizer, seen: FrameDetections, temperature: float
) -> Float[Tensor, "N tokens dim"]:
    """Detected keypoints as mixtures of codes; in float32 whatever the autocast type."""
    with torch.autocast(seen.scores.device.type, enabled=False):
        features = tokenizer.features(seen.keypoints, seen.scores > 0)
        return tokenizer.codebook.soft(features, temperature)[0]


def frame_facts(window: CropWindow, seen: FrameDetections) -> Float[Tensor, "N facts"]:
    """Coordinates, scores and box of each frame, as they are."""
    box = box_geometry(window).flatten(0, 1)
    return torch.cat([seen.keypoints.flatten(1), seen.scores, box], -1)


def box_geometry(window: CropWindow) -> Float[Tensor, "B T 3"]:
    """Direction and angular size of the box, which a crop by itself hides.

    Box centre from the principal point and box side, in units of the focal length: what CLIFF
    (Li et al., ECCV 2022) gives its regressor, so that orientation is right off-centre.
    """
    focal = window.focal[:, None]
    offset = (window.box_center - window.center[:, None]) / focal
    return torch.cat([offset, window.box_size[..., None] / focal.mean(-1, keepdim=True)], -1)
