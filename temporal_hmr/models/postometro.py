"""PostoMETRO: mesh of one person from an image and the pose tokens in it.

Yang et al., "PostoMETRO: pose token enhanced mesh transformer for robust 3D human mesh recovery",
WACV 2025; without pose tokens it is FastMETRO (Cho et al., ECCV 2022). One image at a time: it has
no temporal part.
"""

from typing import Literal

import torch
from jaxtyping import Float
from pydantic import model_validator
from torch import Tensor, nn

from temporal_hmr.body.coarse_mesh import CoarseMesh
from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones import BackboneConfig, build_backbone
from temporal_hmr.models.backbones.resnet import ResNetConfig
from temporal_hmr.models.encoder import FrameTokens
from temporal_hmr.models.image_tokens import ImageTokens, ImageTokensConfig
from temporal_hmr.models.mesh_decoder import (
    EvidenceEncoder,
    FrameEvidence,
    MeshDecoder,
    MeshDecoderConfig,
    MeshPrediction,
)
from temporal_hmr.models.pose_modulator import PoseModulator, PoseModulatorConfig

SURE = 10.0
"""Confidence of ground-truth pose tokens, in place of the classifier's largest logit."""


class PostoMetroConfig(Config):
    """The published network with ResNet-50; its ablations are settings of this."""

    sees: Literal["image", "pose", "both"] = "both"
    """The paper's table of token sources; `image` is FastMETRO."""
    backbone: BackboneConfig = ResNetConfig()
    image: ImageTokensConfig = ImageTokensConfig()
    pose: PoseModulatorConfig = PoseModulatorConfig()
    decoder: MeshDecoderConfig = MeshDecoderConfig()

    @model_validator(mode="after")
    def _twice_what(self) -> "PostoMetroConfig":
        if self.decoder.pose_twice and self.sees != "both":
            raise ValueError("decoder.pose_twice has no effect unless `sees` is both")
        return self


class PostoMetro(nn.Module):
    """Image and pose tokens through one encoder; joints, vertices and camera out of it."""

    def __init__(self, config: PostoMetroConfig, mesh: CoarseMesh | None):
        """`mesh` is that of the body whose vertices it learns to predict.

        None leaves out all that is for vertices: there are then `frame_tokens`, and no `forward`.
        """
        super().__init__()
        self.config = config
        sees_image, sees_pose = config.sees != "pose", config.sees != "image"
        width = config.decoder.width
        self.backbone = build_backbone(config.backbone) if sees_image else None
        self.image_tokens = (
            None
            if self.backbone is None
            else ImageTokens(self.backbone.channels, width, config.image)
        )
        self.modulator = PoseModulator(width, config.pose) if sees_pose else None
        self.decoder = (
            EvidenceEncoder(config.decoder)
            if mesh is None
            else MeshDecoder(config.decoder, mesh, sees_image, sees_pose)
        )

    def forward(
        self,
        images: Float[Tensor, "N 3 H W"] | None,
        pose: Float[Tensor, "N tokens dim"] | None = None,
        confidence: Float[Tensor, "N tokens 1"] | None = None,
    ) -> MeshPrediction:
        """Images are crops normalised by ImageNet's mean and deviation, 256 x 256 as published.

        `pose` are soft mixtures of codes (or coordinates, if so configured) and `confidence` the
        classifier's largest logits; without these the tokens count as ground truth. What the
        configuration does not look at must be None; raises `InputError` otherwise.
        """
        if not isinstance(self.decoder, MeshDecoder):
            raise InputError("this PostoMETRO was built without a mesh, and predicts no vertices")
        return self.decoder(self.encode(images, pose, confidence))

    def encode(
        self,
        images: Float[Tensor, "N 3 H W"] | None,
        pose: Float[Tensor, "N tokens dim"] | None = None,
        confidence: Float[Tensor, "N tokens 1"] | None = None,
        hint: Float[Tensor, "N 1 width"] | None = None,
    ) -> FrameEvidence:
        """The evidence after the first encoder; arguments as for `forward`.

        `hint` joins the camera token before that: what is known of the frame as a whole.
        """
        self._check(images, pose, confidence)
        grid = (0, 0)
        image_tokens = pose_tokens = None
        if self.backbone is not None and self.image_tokens is not None:
            features = self.backbone(images)
            grid = (features.shape[-2], features.shape[-1])
            image_tokens = self.image_tokens(features)
        if self.modulator is not None and pose is not None:
            if confidence is None:
                confidence = torch.full_like(pose[..., :1], SURE)
            # The tokenizer is frozen: nothing is to be learned through what it says.
            pose_tokens = self.modulator(pose.detach(), confidence.detach())
        image_tokens = _none_of(pose_tokens) if image_tokens is None else image_tokens
        pose_tokens = _none_of(image_tokens) if pose_tokens is None else pose_tokens
        return self.decoder.encode(image_tokens, pose_tokens, grid, hint)

    def frame_tokens(
        self,
        images: Float[Tensor, "N 3 H W"] | None,
        pose: Float[Tensor, "N tokens dim"] | None = None,
        confidence: Float[Tensor, "N tokens 1"] | None = None,
        hint: Float[Tensor, "N 1 width"] | None = None,
    ) -> FrameTokens:
        """The same evidence as `BodyDecoder` takes it, for SMPL parameters instead of vertices.

        The camera token stands for the frame; arguments as for `encode`.
        """
        evidence = self.encode(images, pose, confidence, hint)
        return FrameTokens(frame=evidence.camera, memory=evidence.memory())

    def _check(self, images: Tensor | None, pose: Tensor | None, confidence: Tensor | None) -> None:
        """Everything that is looked at is there, and nothing else."""
        given = {"images": images, "pose tokens": pose}
        wanted = {"images": self.backbone is not None, "pose tokens": self.modulator is not None}
        for name, value in given.items():
            if (value is not None) != wanted[name]:
                needs = "needs" if wanted[name] else "does not look at"
                raise InputError(
                    f"a PostoMETRO that sees {self.config.sees} {needs} {name}; give what it sees"
                )
        if confidence is not None and pose is None:
            raise InputError("confidences were given without pose tokens; give both or neither")
        if pose is not None and tuple(pose.shape[1:]) != self.config.pose.inputs():
            raise InputError(
                f"pose tokens of shape {tuple(pose.shape[1:])} were given, but the configuration "
                f"says {self.config.pose.inputs()}; set `pose` to what the tokenizer makes"
            )


def _none_of(tokens: Tensor | None) -> Float[Tensor, "N 0 width"]:
    """No token for each of the images."""
    assert tokens is not None, "one kind of token is always there"
    return tokens[:, :0]
