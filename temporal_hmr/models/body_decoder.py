"""Independent tokens for joints, shape and camera (Yang et al., INT, ICLR 2023, section 3.1).

Learned prior tokens query each frame's memory. INT feeds its tokens into the image transformer
itself; asking by cross-attention is our deviation, and lets any encoder serve. Each token starts
from its prior and its own linear reading of the frame token: attention alone takes thousands of
steps to find out where to look.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from temporal_hmr.configuration import Config
from temporal_hmr.models.encoder import FrameTokens
from temporal_hmr.models.layers import CrossAttentionBlock
from temporal_hmr.skeleton import SMPL24


class BodyDecoderConfig(Config):
    """Sizes of the decoder; its width is the encoder's."""

    heads: int = Field(default=4, gt=0)
    layers: int = Field(default=2, ge=0)
    expansion: int = Field(default=2, gt=0)


@dataclass(frozen=True, eq=False)
class BodyTokens:
    """A body as tokens: one for the rotation of each joint, one for shape, one for camera."""

    joints: Float[Tensor, "N 24 width"]
    shape: Float[Tensor, "N 1 width"]
    camera: Float[Tensor, "N 1 width"]

    def float(self) -> "BodyTokens":
        """The same in float32."""
        return BodyTokens.apart(self.together().float())

    def together(self) -> Float[Tensor, "N 26 width"]:
        """All tokens along one axis: joints, shape, camera."""
        return torch.cat([self.joints, self.shape, self.camera], 1)

    @staticmethod
    def apart(tokens: Float[Tensor, "N 26 width"]) -> "BodyTokens":
        """Inverse of `together`."""
        return BodyTokens(*tokens.split([len(SMPL24), 1, 1], 1))


class BodyDecoder(nn.Module):
    """Body tokens from the memory of one frame."""

    def __init__(self, width: int, config: BodyDecoderConfig, frame_width: int | None = None):
        """`frame_width`: of the frame tokens, where it is not that of the memory."""
        super().__init__()
        count = len(SMPL24) + 2
        self.priors = nn.Parameter(0.02 * torch.randn(count, width))
        self.first_reading = nn.Linear(frame_width or width, count * width)
        self.narrow = None if frame_width is None else nn.Linear(frame_width, width)
        self.blocks = nn.ModuleList(
            CrossAttentionBlock(width, config.heads, config.expansion) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(width)

    def forward(self, frames: FrameTokens) -> BodyTokens:
        frame = frames.frame if self.narrow is None else self.narrow(frames.frame)
        memory = torch.cat([frame, frames.memory], 1)
        tokens = self._begin(frames.frame)
        for block in self.blocks:
            tokens = block(tokens, memory)
        return BodyTokens.apart(self.norm(tokens))

    def first_guess(self, frame: Float[Tensor, "N 1 frame_width"]) -> BodyTokens:
        """Body tokens before they ask anything: the first reading alone."""
        return BodyTokens.apart(self.norm(self._begin(frame)))

    def _begin(self, frame: Float[Tensor, "N 1 frame_width"]) -> Float[Tensor, "N 26 width"]:
        reading = self.first_reading(frame.squeeze(1))
        return self.priors + rearrange(reading, "n (q c) -> n q c", q=len(self.priors))
