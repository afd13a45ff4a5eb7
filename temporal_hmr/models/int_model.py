"""INT, the whole network (Yang et al., "Capturing the motion of every joint", ICLR 2023).

Image patches and body tokens through one transformer, frame by frame; each joint's token through
time; three linear heads. Without the temporal module it is the image model of INT's first phase.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from temporal_hmr.body.params import SmplParams
from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones_hybrid import HybridBackboneConfig, HybridPatches
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.int_heads import IntHeads, IntHeadsConfig, translation_in_crop
from temporal_hmr.models.joint_motion import JointMotion
from temporal_hmr.models.token_motion import TokenMotion, TokenMotionConfig, build_motion
from temporal_hmr.models.token_transformer import TokenTransformer, TokenTransformerConfig


class IntConfig(Config):
    """The whole network; the defaults are the published video model."""

    backbone: HybridBackboneConfig = HybridBackboneConfig()
    transformer: TokenTransformerConfig = TokenTransformerConfig()
    motion: TokenMotionConfig | None = TokenMotionConfig()
    """None gives the image model."""
    heads: IntHeadsConfig = IntHeadsConfig()

    def image_side(self) -> int:
        """Pixels along a side of the crop."""
        return self.transformer.grid * self.backbone.stride()


@dataclass(frozen=True, eq=False)
class IntPrediction:
    """Bodies of a clip, before the camera of each frame's crop."""

    smpl: SmplParams
    """Batch axes B, T; translated before a camera of focal length 5000 pixels of the crop."""
    crop_camera: Float[Tensor, "B T 3"]
    """Scale s and offset tx, ty (m) of SMPL's origin."""
    frame_tokens: BodyTokens
    """Of the B x T frames, each by itself."""
    tokens: BodyTokens
    """The same after the temporal module."""


class Int(nn.Module):
    """Independent tokens for joints, shape and camera, from images to bodies."""

    def __init__(self, config: IntConfig):
        super().__init__()
        self.config = config
        width = config.transformer.width
        self.patches = HybridPatches(config.backbone, width)
        self.transformer = TokenTransformer(config.transformer)
        self.motion = None if config.motion is None else build_motion(width, config.motion)
        self.heads = IntHeads(width, config.heads)

    def tokens_per_frame(self, images: Float[Tensor, "N 3 side side"]) -> BodyTokens:
        """Body tokens of N frames, each by itself."""
        return self.transformer(self.patches(images))

    def mix(
        self,
        tokens: BodyTokens,
        times: Float[Tensor, "B T"] | None,
        valid: Bool[Tensor, "B T"],
        hidden: Bool[Tensor, "B T 24"] | None = None,
    ) -> BodyTokens:
        """Joint tokens of the B x T frames through time; the others, and all without motion, pass.

        Raises `InputError` where rotary positions are not told the times, or where tokens are to be
        hidden from a module that has no token for it.
        """
        if isinstance(self.motion, TokenMotion):
            return self.motion(tokens, times, valid, hidden)
        if hidden is not None:
            raise InputError("tokens can be hidden only from a motion with learned positions")
        if isinstance(self.motion, JointMotion):
            if times is None:
                raise InputError("rotary positions need the times of the frames, in seconds")
            return self.motion(tokens, times, valid)
        return tokens

    def forward(
        self,
        images: Float[Tensor, "B T 3 side side"],
        times: Float[Tensor, "B T"] | None = None,
        valid: Bool[Tensor, "B T"] | None = None,
        hidden: Bool[Tensor, "B T 24"] | None = None,
    ) -> IntPrediction:
        """`images` are square RGB crops, less ImageNet's mean and over its deviation.

        `times` in seconds, asked for by rotary positions only; `valid` is False for padding;
        `hidden` (training) tokens are to be reconstructed from the rest of their clip.
        """
        batch, frames = images.shape[:2]
        if valid is None:
            valid = torch.ones(batch, frames, dtype=torch.bool, device=images.device)
        alone = self.tokens_per_frame(rearrange(images, "b t c h w -> (b t) c h w"))
        mixed = self.mix(alone, times, valid, hidden)
        # Geometry in float32 whatever the autocast type: bfloat16 steps are degrees.
        with torch.autocast(images.device.type, enabled=False):
            readout = self.heads(BodyTokens.apart(mixed.together().float()))
            camera = readout.crop_camera
            transl = translation_in_crop(camera, self.config.image_side())
            smpl = SmplParams.from_rotations(readout.rotations, readout.betas, transl)
        smpl = smpl.map(lambda values: values.unflatten(0, (batch, frames)))
        return IntPrediction(smpl, camera.unflatten(0, (batch, frames)), alone, mixed)
