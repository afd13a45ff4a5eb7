"""What the whole clip says of each frame, before the body is asked for.

Depth is guesswork in one frame and nearly plain in many: an arm that comes nearer has been further.
INT moves 26 tokens a frame through time after decoding; one token a frame, moved before it, costs a
tenth and can therefore be wide and deep. Not in the papers that the rest follows; WHAM encodes
tracks of keypoints in this place (Shin et al., CVPR 2024, section 3.2).
"""

from jaxtyping import Bool, Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from temporal_hmr.configuration import Config
from temporal_hmr.models.layers import (
    RotaryTime,
    SelfAttentionBlock,
    require_even_heads,
    with_something_to_see,
)


class ClipContextConfig(Config):
    """Sizes of the transformer over frame tokens."""

    width: int = Field(default=256, gt=0)
    heads: int = Field(default=4, gt=0)
    layers: int = Field(default=6, gt=0)
    expansion: int = Field(default=4, gt=0)

    @model_validator(mode="after")
    def _heads_fit(self) -> "ClipContextConfig":
        require_even_heads(self.width, self.heads)
        return self


class ClipContext(nn.Module):
    """Frame tokens attend to each other through time; positions are rotary, in seconds."""

    def __init__(self, width: int, config: ClipContextConfig):
        super().__init__()
        self.widen = nn.Linear(width, config.width)
        rotary = RotaryTime(config.width // config.heads)
        self.blocks = nn.ModuleList(
            SelfAttentionBlock(config.width, config.heads, config.expansion, rotary)
            for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(config.width)

    def forward(
        self,
        frames: Float[Tensor, "N 1 width"],
        times: Float[Tensor, "B T"],
        valid: Bool[Tensor, "B T"],
    ) -> Float[Tensor, "N 1 wide"]:
        """Tokens of the B x T frames; frames that are not `valid` are not looked at."""
        x = self.widen(frames).reshape(*times.shape, -1)
        seen = with_something_to_see(valid)
        elapsed = times - times[:, :1]
        for block in self.blocks:
            x = block(x, seen, elapsed)
        return self.norm(x).reshape(frames.shape[0], 1, -1)
