"""Each body token attends to itself through time (Yang et al., INT, ICLR 2023, section 3.2).

Every joint's rotation token is a sequence of its own; weights are shared by all joints and, as
published, no attention crosses them (`across_joints` lets it). Two things differ from the released
code, both on purpose: positions are rotary in seconds, because there a table of positions was
resized in place and ended up constant (the model had no frame order); and shape and camera tokens
may take part.
"""

from typing import Literal

from einops import rearrange, repeat
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor, nn

from temporal_hmr.configuration import Config
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.layers import (
    RotaryTime,
    SelfAttentionBlock,
    begin_as_identity,
    require_even_heads,
    with_something_to_see,
)


class JointMotionConfig(Config):
    """Sizes of the temporal module; its width is the encoder's."""

    positions: Literal["rotary"] = "rotary"
    """In seconds. Learned ones, as published, are `TokenMotionConfig`."""
    heads: int = Field(default=4, gt=0)
    layers: int = Field(default=3, gt=0)
    expansion: int = Field(default=2, gt=0)
    joints_only: bool = False
    """True as published: shape and camera are then decoded frame by frame."""
    across_joints: bool = False
    """Whether the tokens of a frame attend to each other between two looks through time. Not so as
    published; what moved at the hip tells where the knee went."""


class JointMotion(nn.Module):
    """The temporal transformer over independent tokens."""

    def __init__(self, width: int, config: JointMotionConfig):
        super().__init__()
        self.joints_only = config.joints_only
        require_even_heads(width, config.heads)
        rotary = RotaryTime(width // config.heads)
        blocks = [
            SelfAttentionBlock(width, config.heads, config.expansion, rotary)
            for _ in range(config.layers)
        ]
        self.blocks = nn.ModuleList(blocks)
        across = [
            SelfAttentionBlock(width, config.heads, config.expansion)
            for _ in range(config.layers if config.across_joints else 0)
        ]
        self.across = nn.ModuleList(across)
        # Every frame's own answer, from which to learn to move.
        begin_as_identity([*blocks, *across])

    def forward(
        self, tokens: BodyTokens, times: Float[Tensor, "B T"], valid: Bool[Tensor, "B T"]
    ) -> BodyTokens:
        """`tokens` of the B x T frames; frames that are not `valid` are not looked at."""
        mixed = self._through_time(
            tokens.joints if self.joints_only else tokens.together(), times, valid
        )
        if self.joints_only:
            return BodyTokens(mixed, tokens.shape, tokens.camera)
        return BodyTokens.apart(mixed)

    def _through_time(
        self,
        tokens: Float[Tensor, "N S width"],
        times: Float[Tensor, "B T"],
        valid: Bool[Tensor, "B T"],
    ) -> Float[Tensor, "N S width"]:
        batch, count = times.shape[0], tokens.shape[1]
        x = rearrange(tokens, "(b t) s c -> (b s) t c", b=batch)
        seen = repeat(with_something_to_see(valid), "b t -> (b s) t", s=count)
        times = repeat(times - times[:, :1], "b t -> (b s) t", s=count)
        for number, block in enumerate(self.blocks):
            x = block(x, seen, times)
            if self.across:
                x = self.across[number](rearrange(x, "(b s) t c -> (b t) s c", b=batch))
                x = rearrange(x, "(b t) s c -> (b s) t c", b=batch)
        return rearrange(x, "(b s) t c -> (b t) s c", b=batch)
