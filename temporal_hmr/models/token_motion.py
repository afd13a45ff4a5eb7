"""Each joint's token attends to itself through time, with learned positions, as INT published it.

Yang et al., INT, ICLR 2023, section 3.2. `joint_motion` is the package's own variant, with rotary
time; this one takes the published weights. Three defects of the released code are mended:

- a clip of another length than the table of positions replaced the parameter itself, which left the
  optimiser and, once squeezed to a single frame, held no order any more; here the table is
  interpolated anew for each clip and stays what it is;
- masking took a mask for a list of rows, and hid whole clips; here it hides one joint in one frame;
- the mask token took the place of the position too; here it keeps its place in time.
"""

from typing import Literal

import torch
from einops import rearrange, repeat
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn import functional

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.vision_block import VisionBlock
from temporal_hmr.skeleton import SMPL24


class TokenMotionConfig(Config):
    """Sizes; the defaults are the published ones."""

    layers: int = Field(default=3, gt=0)
    heads: int = Field(default=12, gt=0)
    expansion: int = Field(default=4, gt=0)
    positions: Literal["learned"] = "learned"
    """As published. Rotary ones, which know time in seconds, are `JointMotionConfig`."""
    length: int = Field(default=16, gt=0)
    """Frames in the table of learned positions; other clips interpolate it."""
    mask_ratio: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Share of each joint's frames to hide in training; published models hid none."""


class TokenMotion(nn.Module):
    """The temporal transformer over independent tokens; shape and camera tokens bypass it."""

    def __init__(self, width: int, config: TokenMotionConfig):
        super().__init__()
        self.positions = nn.Parameter(torch.empty(config.length, width))
        nn.init.trunc_normal_(self.positions, std=0.02)
        self.mask_token = nn.Parameter(torch.zeros(width)) if config.mask_ratio > 0 else None
        self.blocks = nn.ModuleList(
            VisionBlock(width, config.heads, config.expansion) for _ in range(config.layers)
        )

    def forward(
        self,
        tokens: BodyTokens,
        times: Float[Tensor, "B T"] | None,
        valid: Bool[Tensor, "B T"],
        hidden: Bool[Tensor, "B T 24"] | None = None,
    ) -> BodyTokens:
        """`tokens` of the B x T frames; frames that are not `valid` are not looked at.

        `times` is what `JointMotion` asks for in the same place: these positions count frames.
        `hidden` tokens are replaced by the mask token; what comes out there is a reconstruction.
        """
        batch, frames = valid.shape
        x = rearrange(tokens.joints, "(b t) j c -> (b j) t c", b=batch)
        if hidden is not None:
            x = self._hide(x, hidden)
        x = x + self.positions_for(frames)
        # A clip without one valid frame would have nothing to attend to and give NaN.
        seen = repeat(valid | ~valid.any(-1, keepdim=True), "b t -> (b j) t", j=len(SMPL24))
        for block in self.blocks:
            x = block(x, seen)
        return BodyTokens(
            rearrange(x, "(b j) t c -> (b t) j c", b=batch), tokens.shape, tokens.camera
        )

    def positions_for(self, frames: int) -> Float[Tensor, "T width"]:
        """The table stretched linearly to a clip's length, half-pixel centres.

        A lone frame has no place in time: it is given the middle and does not train it.
        """
        if frames == len(self.positions):
            return self.positions
        table = self.positions.detach() if frames == 1 else self.positions
        stretched = functional.interpolate(table.T[None], frames, mode="linear")
        return stretched[0].T

    def _hide(
        self, x: Float[Tensor, "S T width"], hidden: Bool[Tensor, "B T 24"]
    ) -> Float[Tensor, "S T width"]:
        if self.mask_token is None:
            raise InputError("this temporal module has no mask token: set mask_ratio above 0")
        rows = rearrange(hidden, "b t j -> (b j) t 1")
        return torch.where(rows, self.mask_token.to(x.dtype), x)


def draw_hidden(
    valid: Bool[Tensor, "B T"], ratio: float, generator: Generator | None = None
) -> Bool[Tensor, "B T 24"]:
    """Tokens to hide: in every joint's sequence the same share of its valid frames, rounded down.

    Which frames differs from joint to joint, so that a hidden joint has neighbours in time.
    """
    shape = (*valid.shape, len(SMPL24))
    chance = torch.rand(shape, generator=generator, device=valid.device)
    # Padding has nothing to reconstruct: it comes last and stays beyond the count.
    rank = (chance + (~valid)[..., None]).argsort(1).argsort(1)
    count = (ratio * valid.sum(1)).floor().long()
    return rank < count[:, None, None]
