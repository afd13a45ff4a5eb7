"""Settings of the whole model; each published system is a choice of members."""

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from temporal_hmr.configuration import Config
from temporal_hmr.models.backbones_vit import VitConfig
from temporal_hmr.models.body_decoder import BodyDecoderConfig
from temporal_hmr.models.clip_context import ClipContextConfig
from temporal_hmr.models.encoder import FrameEncoderConfig
from temporal_hmr.models.heads import RotationHeadConfig
from temporal_hmr.models.image_pose_encoder import ImagePoseEncoderConfig
from temporal_hmr.models.int_encoder import IntEncoderConfig
from temporal_hmr.models.int_heads import IntHeadsConfig
from temporal_hmr.models.joint_motion import JointMotionConfig
from temporal_hmr.models.layers import require_even_heads
from temporal_hmr.models.token_head import BodyTokenHeadConfig, TokenHeadConfig
from temporal_hmr.models.token_motion import TokenMotionConfig
from temporal_hmr.skeleton import COCO23
from temporal_hmr.tokenizers.keypoints import KeypointTokenizerConfig


def _chosen(field: str, otherwise: str) -> Discriminator:
    """The member that the settings name in a field, or the usual one if they name none."""

    def choose(settings: object) -> str:
        if isinstance(settings, dict):
            return str(settings.get(field, otherwise))
        return str(getattr(settings, field, otherwise))

    return Discriminator(choose)


EncoderConfig = Annotated[
    Annotated[FrameEncoderConfig, Tag("keypoints")]
    | Annotated[ImagePoseEncoderConfig, Tag("postometro")]
    | Annotated[IntEncoderConfig, Tag("int")]
    | Annotated[VitConfig, Tag("vit")],
    _chosen("kind", "keypoints"),
]
MotionConfig = Annotated[
    Annotated[JointMotionConfig, Tag("rotary")] | Annotated[TokenMotionConfig, Tag("learned")],
    _chosen("positions", "rotary"),
]
HeadConfig = Annotated[
    Annotated[RotationHeadConfig, Tag("rotations")]
    | Annotated[BodyTokenHeadConfig, Tag("tokens")]
    | Annotated[IntHeadsConfig, Tag("int")]
    | Annotated[TokenHeadConfig, Tag("tokenhmr")],
    _chosen("kind", "rotations"),
]


class HmrConfig(Config):
    """The whole model; the papers are settings of this."""

    tokenizer: KeypointTokenizerConfig = KeypointTokenizerConfig()
    """Of detected keypoints, for encoders that read them."""
    encoder: EncoderConfig = FrameEncoderConfig()
    decoder: BodyDecoderConfig | None = BodyDecoderConfig()
    """None where the encoder makes body tokens itself (INT) or the head reads images (TokenHMR)."""
    context: ClipContextConfig | None = None
    """Lets frame tokens see the clip before the decoder reads them."""
    motion: MotionConfig | None = JointMotionConfig()
    """None gives a per-frame model."""
    head: HeadConfig = RotationHeadConfig()
    one_shape: bool = True
    """Whether a clip has one shape, the mean of what its frames say; published systems have one for
    each frame."""
    window: int = Field(default=32, ge=1)
    """Frames that the model was trained to see at once."""
    body: Literal["open", "smpl"] = "open"
    """Whose betas it predicts: those of the body that comes with the package, or SMPL's."""

    @model_validator(mode="after")
    def _fits_together(self) -> "HmrConfig":
        encoder, head = self.encoder.kind, self.head.kind
        if self.makes_body_tokens() == (self.decoder is not None):
            what = "leave it out: decoder: null" if self.decoder else "give it settings"
            raise ValueError(f"decoder between encoder {encoder} and head {head}: {what}")
        if head == "tokenhmr" and encoder == "int":
            raise ValueError("head tokenhmr reads image tokens, which encoder int does not give")
        if head == "tokenhmr" and self.motion is not None:
            raise ValueError("head tokenhmr has no body tokens to move: motion must be null")
        side, head_side = self.image_side(), getattr(self.head, "crop_side", None)
        if None not in (side, head_side) and side != head_side:
            raise ValueError(f"head.crop_side is {head_side}, the encoder's crops are {side}")
        joints = self.tokenizer.joints
        if self.reads_keypoint_tokens() and joints != len(COCO23):
            raise ValueError(f"tokenizer.joints is {joints}, the detector has {len(COCO23)}")
        if self.tokenizer.guide_width:
            raise ValueError("tokenizer.guide_ratio: detected keypoints come without a feature map")
        if self.context is not None and self.decoder is None:
            raise ValueError("context: there is no decoder to read it; set context: null")
        if self.is_temporal() and self.window < 2:
            raise ValueError(
                "window: motion and context need 2 frames or more; or set both to null"
            )
        if isinstance(self.encoder, ImagePoseEncoderConfig):
            self.encoder.check_tokens(self.tokenizer)
        match self.encoder, self.motion:
            case FrameEncoderConfig(width=width), JointMotionConfig(heads=heads):
                require_even_heads(width, heads)
        return self

    def is_temporal(self) -> bool:
        """Whether frames learn from each other."""
        return self.motion is not None or self.context is not None

    def makes_body_tokens(self) -> bool:
        """Whether nothing has to decode what the encoder says."""
        return self.encoder.kind == "int" or self.head.kind == "tokenhmr"

    def reads_keypoint_tokens(self) -> bool:
        """Whether there is a keypoint tokenizer inside."""
        encoder = self.encoder
        if isinstance(encoder, ImagePoseEncoderConfig):
            return encoder.reads_keypoint_tokens()
        return encoder.kind == "keypoints"

    def image_side(self) -> int | None:
        """Pixels along a side of the crops that the model looks at; None if it looks at none."""
        return self.encoder.image_side()


INT = HmrConfig(
    encoder=IntEncoderConfig(),
    decoder=None,
    motion=TokenMotionConfig(),
    head=IntHeadsConfig(),
    one_shape=False,
    window=16,
    body="smpl",
)
"""INT's video model as published; `motion=None` is the image model of its first phase."""
TOKENHMR = HmrConfig(
    encoder=VitConfig(),
    decoder=None,
    motion=None,
    head=TokenHeadConfig(),
    one_shape=False,
    window=1,
    body="smpl",
)
"""TokenHMR as published: one image at a time."""
