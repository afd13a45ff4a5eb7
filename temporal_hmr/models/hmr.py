"""The model: a window of what was seen of a person in, a posed body for every frame out."""

import torch
from einops import rearrange
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from temporal_hmr.batch import BodyPrediction, CropWindow
from temporal_hmr.body.model import BodyModel, PointRegressor
from temporal_hmr.body.params import SmplParams
from temporal_hmr.configuration import Config
from temporal_hmr.models.body_decoder import BodyDecoder, BodyDecoderConfig, BodyTokens
from temporal_hmr.models.encoder import FrameEncoder, FrameEncoderConfig
from temporal_hmr.models.heads import RotationHead, pelvis_in_camera
from temporal_hmr.models.joint_motion import JointMotion, JointMotionConfig
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer, KeypointTokenizerConfig


class HmrConfig(Config):
    """The whole model; the papers are settings of this."""

    tokenizer: KeypointTokenizerConfig = KeypointTokenizerConfig()
    encoder: FrameEncoderConfig = FrameEncoderConfig()
    decoder: BodyDecoderConfig = BodyDecoderConfig()
    motion: JointMotionConfig | None = JointMotionConfig()
    """None gives a per-frame model."""
    window: int = Field(default=32, ge=2)
    """Frames that the model was trained to see at once."""
    body: str = "open"
    """Name of the body whose betas it predicts."""


class Hmr(nn.Module):
    """Human mesh recovery from a clip of one person."""

    def __init__(self, config: HmrConfig, tokenizer: KeypointTokenizer | None = None):
        """`tokenizer` was trained before and is frozen; None leaves it to weights loaded next."""
        super().__init__()
        self.config = config
        width = config.encoder.width
        self.encoder = FrameEncoder(
            config.encoder, tokenizer or KeypointTokenizer(config.tokenizer)
        )
        self.decoder = BodyDecoder(width, config.decoder)
        self.motion = None if config.motion is None else JointMotion(width, config.motion)
        self.head = RotationHead(width)

    def tokens_per_frame(self, window: CropWindow) -> BodyTokens:
        """Body tokens of the B x T frames, each by itself."""
        return self.decoder(self.encoder(window))

    def forward(
        self, window: CropWindow, body: "PosedBody", temporal: bool = True
    ) -> BodyPrediction:
        """Encode frames, decode body tokens, mix them through time, read and pose the body.

        `temporal=False` leaves the temporal module out and decodes every frame by itself.
        """
        tokens = self.tokens_per_frame(window)
        if temporal and self.motion is not None:
            tokens = self.motion(tokens, window.times, window.valid)
        return self.pose_body(tokens, window, body)

    def pose_body(
        self, tokens: BodyTokens, window: CropWindow, body: "PosedBody"
    ) -> BodyPrediction:
        """Bodies in the camera frame of the full image; one shape per clip."""
        # Geometry in float32 whatever the autocast type: bfloat16 steps are millimetres.
        with torch.autocast(window.times.device.type, enabled=False):
            tokens = BodyTokens.apart(tokens.together().float())
            readout = self.head(tokens)
            batch = len(window.times)
            rotations = rearrange(readout.rotations, "(b t) j r c -> b t j r c", b=batch)
            betas = clip_mean(rearrange(readout.betas, "(b t) c -> b t c", b=batch), window)
            camera = rearrange(readout.crop_camera, "(b t) c -> b t c", b=batch)
            transl = pelvis_in_camera(camera, window) - body.pelvis_at_rest(betas)
            return body(SmplParams.from_rotations(rotations, betas, transl), window)


class PosedBody(nn.Module):
    """A body model and the keypoints on it that the detector looks for."""

    def __init__(self, body: BodyModel):
        super().__init__()
        self.body = body
        self.detector_points: PointRegressor = body.point_regressor(body.regressors["coco_feet"])

    def pelvis_at_rest(self, betas: Float[Tensor, "*b 10"]) -> Float[Tensor, "*b 3"]:
        """J0, about which SMPL turns."""
        return self.body.rest_joints(betas)[..., 0, :]

    def forward(self, smpl: SmplParams, window: CropWindow) -> BodyPrediction:
        """Joints of the bodies, and their keypoints projected into the window's boxes."""
        points = self.body.regress(smpl, self.detector_points)
        return BodyPrediction(smpl, self.body.joints(smpl), project_to_box(points, window))


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
