"""The model: a window of what was seen of a person in, a posed body for every frame out."""

from dataclasses import replace

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

from temporal_hmr.batch import BodyPrediction, CropWindow
from temporal_hmr.body.detector_points import blazepose_regressor
from temporal_hmr.body.model import BodyModel, PointRegressor
from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones_vit import VitConfig, VitEncoder
from temporal_hmr.models.body_decoder import BodyDecoder, BodyTokens
from temporal_hmr.models.clip_context import ClipContext
from temporal_hmr.models.encoder import FrameEncoder, FrameEncoderConfig, FrameTokens
from temporal_hmr.models.heads import (
    BodyReadout,
    RotationHead,
    RotationHeadConfig,
    pelvis_in_camera,
)
from temporal_hmr.models.hmr_config import EncoderConfig, HeadConfig, HmrConfig, MotionConfig
from temporal_hmr.models.image_pose_encoder import ImagePoseEncoder, ImagePoseEncoderConfig
from temporal_hmr.models.int_encoder import IntEncoder, IntEncoderConfig
from temporal_hmr.models.int_heads import IntHeads, IntHeadsConfig
from temporal_hmr.models.joint_motion import JointMotion, JointMotionConfig
from temporal_hmr.models.layers import begin_as_identity
from temporal_hmr.models.token_head import (
    BodyTokenHead,
    BodyTokenHeadConfig,
    TokenHead,
    TokenHeadConfig,
)
from temporal_hmr.models.token_motion import TokenMotion, TokenMotionConfig
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23, Skeleton
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer
from temporal_hmr.tokenizers.rotations import RotationTokenizer


class Hmr(nn.Module):
    """Human mesh recovery from a clip of one person."""

    def __init__(
        self,
        config: HmrConfig,
        tokenizer: KeypointTokenizer | None = None,
        rotations: RotationTokenizer | None = None,
    ):
        """Tokenizers were trained before and are frozen; None leaves them to weights to load."""
        super().__init__()
        self.config = config
        self.encoder = _encoder(config.encoder, tokenizer or KeypointTokenizer(config.tokenizer))
        width, context = self.encoder.width, config.context
        self.context = None if context is None else ClipContext(width, context)
        frame_width = None if context is None else context.width
        self.decoder = (
            None if config.decoder is None else BodyDecoder(width, config.decoder, frame_width)
        )
        if context is not None and self.decoder is not None:
            # What asks and compares then refines what the context says from the first step.
            begin_as_identity(self.decoder.blocks)
            if isinstance(self.encoder, FrameEncoder):
                begin_as_identity(self.encoder.blocks)
        self.motion = None if config.motion is None else _motion(width, config.motion)
        self.head = _head(width, config.head, rotations)
        self._light = False

    def make_light(self) -> None:
        """Answer with the first guess from now on: faster by far, and no body token is decoded.

        Raises `InputError` for a model that makes none.
        """
        self._of_first_guess()
        self._light = True

    def frame_tokens(self, window: CropWindow, temporal: bool = True) -> BodyTokens | FrameTokens:
        """What the head reads of the B x T frames, before body tokens meet through time.

        Without `temporal` each frame stays by itself, else it may see its clip's context.
        """
        frames = self.encoder(window)
        if self.decoder is None or not isinstance(frames, FrameTokens):
            return frames
        if self.context is not None:
            frames = replace(frames, frame=self._in_context(frames.frame, window, temporal))
        return self.decoder(frames)

    def first_guess(
        self, window: CropWindow, body: "PosedBody", temporal: bool = True
    ) -> BodyPrediction:
        """What the decoder begins from: frame tokens in their context, read at once.

        A tenth of the work of all, which trains what carries most of the accuracy on many more
        clips. Raises `InputError` for a model without context of detected keypoints.
        """
        # By way of the call, which is what `compile` compiles.
        return self(window, body, temporal, light=True)

    def first_bodies(self, window: CropWindow, body: "PosedBody") -> SmplParams:
        """The bodies of a first guess, without their joints and keypoints; raises as it does."""
        return self.place_body(self._first_tokens(window, True), window, body)

    def _first_tokens(self, window: CropWindow, temporal: bool) -> BodyTokens:
        encoder, _, decoder = self._of_first_guess()
        frame = self._in_context(encoder.frame_alone(window), window, temporal)
        return decoder.first_guess(frame)

    @property
    def guesses_first(self) -> bool:
        """Whether it makes a first guess, by itself and from keypoints alone."""
        return self._parts_of_first_guess() is not None

    def _of_first_guess(self) -> tuple[FrameEncoder, ClipContext, BodyDecoder]:
        parts = self._parts_of_first_guess()
        if parts is None:
            raise InputError("a first guess needs an encoder of keypoints and a context")
        return parts

    def _parts_of_first_guess(self) -> tuple[FrameEncoder, ClipContext, BodyDecoder] | None:
        encoder, context, decoder = self.encoder, self.context, self.decoder
        if context is None or decoder is None or not isinstance(encoder, FrameEncoder):
            return None
        return encoder, context, decoder

    def read_first(self) -> list[nn.Module | nn.Parameter]:
        """What a first guess is made with.

        Raises `InputError` for a model that makes none.
        """
        encoder, context, decoder = self._of_first_guess()
        parts: list[nn.Module | nn.Parameter] = [encoder.frame_embed, encoder.norm, context]
        read = [decoder.priors, decoder.first_reading, decoder.norm, self.head]
        return parts + read

    def _in_context(
        self, frame: Float[Tensor, "N 1 width"], window: CropWindow, temporal: bool
    ) -> Float[Tensor, "N 1 wide"]:
        assert self.context is not None, "callers have one"
        shape = window.times.shape if temporal else (-1, 1)
        return self.context(frame, window.times.reshape(shape), window.valid.reshape(shape))

    def forward(
        self,
        window: CropWindow,
        body: "PosedBody",
        temporal: bool = True,
        hidden: Bool[Tensor, "B T 24"] | None = None,
        light: bool = False,
    ) -> BodyPrediction:
        """Encode frames, decode body tokens, mix them through time, read and pose the body.

        `temporal=False` leaves context and motion out and decodes every frame by itself. `hidden`
        joints (training) are to be reconstructed from the rest of their clip. `light` leaves it at
        the first guess.
        """
        return self.pose_body(self._tokens(window, temporal, hidden, light), window, body)

    def bodies(self, window: CropWindow, body: "PosedBody", temporal: bool = True) -> SmplParams:
        """The bodies that `forward` predicts, without their joints and keypoints."""
        return self.place_body(self._tokens(window, temporal), window, body)

    def _tokens(
        self,
        window: CropWindow,
        temporal: bool,
        hidden: Bool[Tensor, "B T 24"] | None = None,
        light: bool = False,
    ) -> BodyTokens | FrameTokens:
        """What the head reads in the end."""
        if light or self._light:
            return self._first_tokens(window, temporal)
        tokens = self.frame_tokens(window, temporal)
        if temporal and isinstance(tokens, BodyTokens):
            return self.mix(tokens, window, hidden)
        return tokens

    def mix(
        self,
        tokens: BodyTokens,
        window: CropWindow,
        hidden: Bool[Tensor, "B T 24"] | None = None,
    ) -> BodyTokens:
        """Body tokens of the B x T frames through time; a model without motion passes them on.

        Raises `InputError` where tokens are hidden from a module that has no token for that.
        """
        if isinstance(self.motion, TokenMotion):
            return self.motion(tokens, window.times, window.valid, hidden)
        if hidden is not None:
            raise InputError("tokens can be hidden only from a motion with learned positions")
        if self.motion is None:
            return tokens
        return self.motion(tokens, window.times, window.valid)

    def pose_body(
        self, tokens: BodyTokens | FrameTokens, window: CropWindow, body: "PosedBody"
    ) -> BodyPrediction:
        """Bodies in the camera frame of the full image, with their joints and keypoints."""
        with torch.autocast(window.times.device.type, enabled=False):
            return body(self.place_body(tokens, window, body), window)

    def place_body(
        self, tokens: BodyTokens | FrameTokens, window: CropWindow, body: "PosedBody"
    ) -> SmplParams:
        """The bodies alone."""
        # Geometry in float32 whatever the autocast type: bfloat16 steps are millimetres.
        with torch.autocast(window.times.device.type, enabled=False):
            readout = self.read(tokens.float())
            betas = self._per_clip(readout.betas, window)
            if self.config.one_shape:
                betas = clip_mean(betas, window)
            pelvis = body.pelvis_at_rest(betas)
            camera = self._per_clip(readout.camera_at_pelvis(pelvis.flatten(0, 1)), window)
            transl = pelvis_in_camera(camera, window) - pelvis
            rotations = self._per_clip(readout.rotations, window)
            return SmplParams.from_rotations(rotations, betas, transl)

    def read(self, tokens: BodyTokens | FrameTokens) -> BodyReadout:
        """Rotations, shape and camera of each frame's tokens."""
        if isinstance(self.head, TokenHead):
            assert isinstance(tokens, FrameTokens), "the settings were checked"
            return self.head(tokens.memory)
        return self.head(tokens)

    @staticmethod
    def _per_clip(
        values: Float[Tensor, "N *rest"], window: CropWindow
    ) -> Float[Tensor, "B T *rest"]:
        return rearrange(values, "(b t) ... -> b t ...", b=window.times.shape[0])


def _encoder(
    config: EncoderConfig, tokenizer: KeypointTokenizer
) -> FrameEncoder | ImagePoseEncoder | IntEncoder | VitEncoder:
    match config:
        case FrameEncoderConfig():
            return FrameEncoder(config, tokenizer)
        case ImagePoseEncoderConfig():
            return ImagePoseEncoder(config, tokenizer)
        case IntEncoderConfig():
            return IntEncoder(config)
        case VitConfig():
            return VitEncoder(config)


def _motion(width: int, config: MotionConfig) -> JointMotion | TokenMotion:
    match config:
        case JointMotionConfig():
            return JointMotion(width, config)
        case TokenMotionConfig():
            return TokenMotion(width, config)


def _head(
    width: int, config: HeadConfig, rotations: RotationTokenizer | None
) -> RotationHead | BodyTokenHead | IntHeads | TokenHead:
    match config:
        case RotationHeadConfig():
            return RotationHead(width)
        case BodyTokenHeadConfig():
            return BodyTokenHead(width, config, rotations)
        case IntHeadsConfig():
            return IntHeads(width, config)
        case TokenHeadConfig():
            return TokenHead(width, config, rotations)


class PosedBody(nn.Module):
    """A body model and the keypoints on it that the detector looks for."""

    def __init__(self, body: BodyModel):
        super().__init__()
        self.body = body
        self.detector_points: PointRegressor = body.point_regressor(body.regressors["coco_feet"])
        self.blazepose_points: PointRegressor = body.point_regressor(blazepose_regressor(body))

    def pelvis_at_rest(self, betas: Float[Tensor, "*b 10"]) -> Float[Tensor, "*b 3"]:
        """J0, about which SMPL turns."""
        return self.body.rest_joints(betas)[..., 0, :]

    def forward(self, smpl: SmplParams, window: CropWindow) -> BodyPrediction:
        """Joints of the bodies, and their keypoints projected into the window's boxes."""
        points = self.body.regress(smpl, self.detector_points)
        keypoints = project_to_box(points, window)
        return BodyPrediction(smpl, self.body.joints(smpl), points, keypoints)

    def keypoints(
        self, smpl: SmplParams, window: CropWindow, skeleton: Skeleton = COCO23
    ) -> Float[Tensor, "B T J 2"]:
        """The bodies' keypoints projected into the window's boxes, and nothing else."""
        return project_to_box(self.body.regress(smpl, self.points_of(skeleton)), window)

    def points_of(self, skeleton: Skeleton) -> PointRegressor:
        """Where on a body the keypoints of `COCO23` lie, or those of `BLAZEPOSE23`."""
        return self.blazepose_points if skeleton == BLAZEPOSE23 else self.detector_points


def project_to_box(
    points: Float[Tensor, "B T J 3"], window: CropWindow
) -> Float[Tensor, "B T J 2"]:
    """Camera-frame points (m) to crop coordinates (-1..1)."""
    # A body that training has not yet put before the camera must not divide by zero.
    depth = points[..., 2:].clamp(min=0.1)
    pixels = points[..., :2] / depth * window.focal[:, None, None] + window.center[:, None, None]
    half = 0.5 * window.box_size[..., None, None]
    return (pixels - window.box_center[:, :, None]) / half


def clip_mean(values: Float[Tensor, "B T C"], window: CropWindow) -> Float[Tensor, "B T C"]:
    """Mean over the valid frames of each clip, repeated for every frame: a person has one shape."""
    weight = window.valid.to(values.dtype)[..., None]
    mean = (values * weight).sum(1, keepdim=True) / weight.sum(1, keepdim=True).clamp(min=1)
    return mean.expand_as(values)
