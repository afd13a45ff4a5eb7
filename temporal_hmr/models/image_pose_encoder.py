"""PostoMETRO's encoder for clips: image and pose tokens of each frame (WACV 2025, section 3.2).

Pose tokens come from detected keypoints through the keypoint tokenizer (the paper's row of
ground-truth tokens, with the detector's confidence in place of the logit), or from the image itself
through PCT's classifier, as published.
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from temporal_hmr.batch import CropWindow
from temporal_hmr.models.encoder import (
    FrameDetections,
    FrameTokens,
    box_geometry,
    detections,
    frame_facts,
    soft_tokens,
)
from temporal_hmr.models.image_input import frame_images
from temporal_hmr.models.mesh_decoder import MeshDecoderConfig
from temporal_hmr.models.postometro import PostoMetro, PostoMetroConfig
from temporal_hmr.tokenizers.keypoint_classifier import ImagePoseTokens, ImagePoseTokensConfig
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer, KeypointTokenizerConfig


class ImagePoseEncoderConfig(PostoMetroConfig):
    """PostoMETRO's settings, and where it gets what it sees from."""

    kind: Literal["postometro"] = "postometro"
    side: int = Field(default=256, gt=0)
    """Pixels along a side of the crop."""
    classifier: ImagePoseTokensConfig | None = None
    """Reads pose tokens off the image, as published; None takes those of detected keypoints."""
    frame: Literal["nothing", "box", "keypoints"] = "box"
    """What joins the camera token: as published nothing; where the box stands, without which
    orientation away from the image centre is a guess; or with it the keypoints as they are."""
    temperature: float = Field(default=1.0, gt=0)
    """Softness of mixtures of codes of detected keypoints, in units of squared code distance."""
    visible_above: float = 0.05
    """Keypoints of lower confidence count as unseen."""

    @model_validator(mode="after")
    def _sees_what_it_is_given(self) -> "ImagePoseEncoderConfig":
        if self.classifier is not None and (self.sees == "image" or self._coordinates()):
            raise ValueError("classifier makes pose tokens, which nothing here would look at")
        usual = MeshDecoderConfig()
        for name in ("pose_twice", "narrow_width", "narrow_hidden", "upsampler_from_mesh"):
            if getattr(self.decoder, name) != getattr(usual, name):
                raise ValueError(f"decoder.{name} is about vertices, which nothing here makes")
        return self

    def _coordinates(self) -> bool:
        return self.pose.reads == "coordinates"

    def image_side(self) -> int | None:
        """Pixels along a side of the crops that it looks at; None if it looks at none."""
        return None if self.sees == "pose" and self.classifier is None else self.side

    def reads_keypoint_tokens(self) -> bool:
        """Whether it looks at tokens of detected keypoints."""
        return self.sees != "image" and self.classifier is None and not self._coordinates()

    def check_tokens(self, tokenizer: KeypointTokenizerConfig) -> None:
        """Raise `ValueError` unless the pose tokens are what the modulator was made for."""
        if self.sees == "image":
            return
        source = tokenizer if self.classifier is None else self.classifier.classifier.tokenizer
        pose, made = self.pose, (source.tokens, source.code_dim)
        if pose.reads == "tokens" and pose.inputs() != made:
            raise ValueError(
                f"pose.tokens and pose.code_dim are {pose.inputs()}, but the tokenizer makes {made}"
            )
        if pose.reads == "coordinates" and pose.joints != source.joints:
            raise ValueError(f"pose.joints is {pose.joints}, but there are {source.joints}")


class ImagePoseEncoder(nn.Module):
    """Windows of crops and keypoints to tokens, frame by frame."""

    def __init__(self, config: ImagePoseEncoderConfig, tokenizer: KeypointTokenizer):
        """`tokenizer` was trained before and is frozen, as is the classifier, if there is one."""
        super().__init__()
        self.config = config
        self.width = config.decoder.width
        self.network = PostoMetro(config, mesh=None)
        reads_tokens = config.reads_keypoint_tokens()
        self.tokenizer = tokenizer.requires_grad_(False) if reads_tokens else None
        self.classifier = None
        if config.classifier is not None:
            self.classifier = ImagePoseTokens(config.classifier).requires_grad_(False)
        facts = {"nothing": 0, "box": 3, "keypoints": 3 * tokenizer.config.joints + 3}
        self.hint = (
            None
            if config.frame == "nothing"
            else nn.Sequential(
                nn.Linear(facts[config.frame], 2 * self.width),
                nn.GELU(),
                nn.Linear(2 * self.width, self.width),
            )
        )
        self.train()

    def train(self, mode: bool = True) -> "ImagePoseEncoder":
        """Tokenizer and classifier are frozen: codes and batch statistics must not drift."""
        super().train(mode)
        for frozen in (self.tokenizer, self.classifier):
            if frozen is not None:
                frozen.eval()
        return self

    def forward(self, window: CropWindow) -> FrameTokens:
        """Raises `InputError` if it looks at images and the window has none of its size."""
        side, seen = self.config.image_side(), detections(window, self.config.visible_above)
        images = None if side is None else frame_images(window, side)
        pose, confidence = self._pose(images, seen)
        hint = None if self.hint is None else self.hint(self._facts(window, seen))[:, None]
        shown = None if self.config.sees == "pose" else images
        return self.network.frame_tokens(shown, pose, confidence, hint)

    def _pose(
        self, images: Float[Tensor, "N 3 side side"] | None, seen: FrameDetections
    ) -> tuple[Float[Tensor, "N tokens dim"] | None, Float[Tensor, "N tokens 1"] | None]:
        if self.config.sees == "image":
            return None, None
        if self.classifier is not None:
            with torch.no_grad():
                found = self.classifier(images)
            return found.codes, found.confidence[..., None]
        if self.tokenizer is None:
            return seen.keypoints, seen.scores[..., None]
        codes = soft_tokens(self.tokenizer, seen, self.config.temperature)
        return codes, token_confidence(self.tokenizer, seen.scores)[..., None]

    def _facts(self, window: CropWindow, seen: FrameDetections) -> Float[Tensor, "N facts"]:
        if self.config.frame == "box":
            return box_geometry(window).flatten(0, 1)
        return frame_facts(window, seen)


def token_confidence(
    tokenizer: KeypointTokenizer, scores: Float[Tensor, "N joints"]
) -> Float[Tensor, "N tokens"]:
    """Mean confidence of the joints that make a token, as the tokenizer weighs them."""
    share = tokenizer.joints_to_tokens.weight.abs()
    return scores @ (share / share.sum(-1, keepdim=True)).T
