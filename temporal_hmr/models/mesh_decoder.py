"""Mesh from image and pose tokens: two transformers, the second narrower (FastMETRO, section 3).

Cho et al., "Cross-attention of disentangled modalities for 3D human mesh recovery with
transformers", ECCV 2022, with the pose tokens of PostoMETRO (Yang et al., WACV 2025) beside those
of the image.
"""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from pydantic import Field
from torch import Tensor, nn

from temporal_hmr.body.coarse_mesh import CoarseMesh, VertexMap
from temporal_hmr.configuration import Config
from temporal_hmr.models.image_tokens import sine_positions
from temporal_hmr.models.mesh_transformer import MeshEncoder, MeshTransformer
from temporal_hmr.skeleton import LSP14

_LAYERS = {"S": 1, "M": 2, "L": 3}


class MeshDecoderConfig(Config):
    """FastMETRO-L by default, which PostoMETRO builds on."""

    size: Literal["S", "M", "L"] = "L"
    """1, 2 or 3 layers in each encoder and each decoder."""
    width: int = Field(default=512, gt=0)
    hidden: int = 2048
    """Of the feed-forward layers."""
    narrow_width: int = Field(default=128, gt=0)
    """Of the second transformer."""
    narrow_hidden: int = 512
    heads: int = Field(default=8, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    pose_twice: bool = False
    """The released code's quirk: the second transformer sees each pose token through the image's
    and through the pose's reduction (133 tokens; 99 in the paper). Their weights need it."""
    upsampler_from_mesh: bool = False
    """Start the learned upsampling from the body's own matrix rather than from noise."""


@dataclass(frozen=True, eq=False)
class FrameEvidence:
    """Tokens of N images: what the camera token, the image and the pose have to say.

    Where the image or the pose is not looked at, its tokens are none.
    """

    camera: Float[Tensor, "N 1 width"]
    image: Float[Tensor, "N cells width"]
    """Row by row of the feature map."""
    pose: Float[Tensor, "N tokens width"]
    grid: tuple[int, int]
    """Rows and columns of the feature map."""

    def memory(self) -> Float[Tensor, "N cells+tokens width"]:
        """What queries look into: not the camera token."""
        return torch.cat([self.image, self.pose], 1)


@dataclass(frozen=True, eq=False)
class MeshPrediction:
    """A posed surface for each image, in metres, about an origin near the pelvis."""

    camera: Float[Tensor, "N 3"]
    """s, tx, ty: points land at s (x + tx), s (y + ty) in the crop's -1..1."""
    joints: Float[Tensor, "N 14 3"]
    """`skeleton.LSP14`, from joint queries of their own."""
    coarse: Float[Tensor, "N C 3"]
    middle: Float[Tensor, "N M 3"]
    vertices: Float[Tensor, "N V 3"]


class EvidenceEncoder(nn.Module):
    """The first encoder: image, pose and camera tokens meet. All that body tokens need of it."""

    first: MeshEncoder

    def __init__(self, config: MeshDecoderConfig):
        super().__init__()
        self.config = config
        self.camera_token = nn.Parameter(torch.randn(1, config.width))
        self.first = self._transformer(config.width, config.hidden)

    def _transformer(self, width: int, hidden: int) -> MeshEncoder:
        config = self.config
        return MeshEncoder(width, hidden, _LAYERS[config.size], config.heads, config.dropout)

    def encode(
        self,
        image: Float[Tensor, "N cells width"],
        pose: Float[Tensor, "N tokens width"],
        grid: tuple[int, int],
        hint: Float[Tensor, "N 1 width"] | None = None,
    ) -> FrameEvidence:
        """Image, pose and camera tokens after they have met.

        `hint` joins the camera token, which is otherwise the same for all frames.
        """
        camera = self.camera_token.expand(len(image), 1, -1)
        if hint is not None:
            camera = camera + hint
        return self._encode(self.first, FrameEvidence(camera, image, pose, grid))

    def _encode(self, transformer: MeshEncoder, evidence: FrameEvidence) -> FrameEvidence:
        tokens = torch.cat([evidence.camera, evidence.memory()], 1)
        positions = _positions(evidence)
        tokens = transformer.encode(tokens, torch.cat([torch.zeros_like(positions[:1]), positions]))
        parts = tokens.tensor_split([1, 1 + evidence.image.shape[1]], 1)
        return replace(evidence, camera=parts[0], image=parts[1], pose=parts[2])


class MeshDecoder(EvidenceEncoder):
    """The whole: queries for joints and coarse vertices look into the evidence, twice."""

    first: MeshTransformer

    blocked: Bool[Tensor, "queries queries"]

    def __init__(
        self,
        config: MeshDecoderConfig,
        mesh: CoarseMesh,
        sees_image: bool = True,
        sees_pose: bool = True,
    ):
        super().__init__(config)
        coarse, middle, _ = mesh.counts()
        wide, narrow = config.width, config.narrow_width
        self.joint_queries = nn.Parameter(torch.randn(len(LSP14), wide))
        self.vertex_queries = nn.Parameter(torch.randn(coarse, wide))
        self.second = self._transformer(narrow, config.narrow_hidden)
        self.narrow_camera = nn.Linear(wide, narrow)
        self.narrow_image = nn.Linear(wide, narrow) if sees_image else None
        self.narrow_pose = nn.Linear(wide, narrow) if sees_pose else None
        self.narrow_queries = nn.Linear(wide, narrow)
        self.read_camera = nn.Linear(narrow, 3)
        self.read_points = nn.Linear(narrow, 3)
        self.to_middle = nn.Linear(coarse, middle)
        if config.upsampler_from_mesh:
            matrix = torch.as_tensor(mesh.coarse_to_middle.toarray())
            self.to_middle.weight.data.copy_(matrix)
            nn.init.zeros_(self.to_middle.bias)
        self.to_full = VertexMap(mesh.middle_to_full)
        self.register_buffer("blocked", attention_mask(mesh.neighbours), persistent=False)

    def _transformer(self, width: int, hidden: int) -> MeshTransformer:
        config = self.config
        return MeshTransformer(width, hidden, _LAYERS[config.size], config.heads, config.dropout)

    def forward(self, evidence: FrameEvidence) -> MeshPrediction:
        """`evidence` as `encode` returns it."""
        queries = torch.cat([self.joint_queries, self.vertex_queries])
        queries = queries.expand(len(evidence.camera), -1, -1)
        queries = self._look(self.first, queries, evidence)
        narrowed = self._encode(self.second, self._narrow(evidence))
        queries = self._look(self.second, self.narrow_queries(queries), narrowed)
        return self._read(queries, narrowed.camera)

    def _read(
        self, queries: Float[Tensor, "N queries width"], camera: Float[Tensor, "N 1 width"]
    ) -> MeshPrediction:
        # Geometry in full precision whatever the autocast type: bfloat16 steps are millimetres.
        with torch.autocast(queries.device.type, enabled=False):
            points = self.read_points(queries.to(self.read_points.weight.dtype))
            joints, coarse = points.tensor_split([len(LSP14)], 1)
            middle = self.to_middle(coarse.mT).mT
            scale_and_place = self.read_camera(camera.to(points.dtype)).squeeze(1)
            return MeshPrediction(scale_and_place, joints, coarse, middle, self.to_full(middle))

    def _look(
        self,
        transformer: MeshTransformer,
        queries: Float[Tensor, "N queries width"],
        evidence: FrameEvidence,
    ) -> Float[Tensor, "N queries width"]:
        positions = _positions(evidence)
        return transformer.decode(queries, evidence.memory(), positions, self.blocked)

    def _narrow(self, evidence: FrameEvidence) -> FrameEvidence:
        """Tokens for the second transformer."""
        narrow = self.read_camera.in_features
        image = evidence.image.new_zeros(len(evidence.image), 0, narrow)
        pose = image
        if self.narrow_image is not None:
            image = self.narrow_image(evidence.image)
        if self.narrow_pose is not None:
            pose = self.narrow_pose(evidence.pose)
            if self.config.pose_twice and self.narrow_image is not None:
                pose = torch.cat([self.narrow_image(evidence.pose), pose], 1)
        camera = self.narrow_camera(evidence.camera)
        return FrameEvidence(camera, image, pose, evidence.grid)


def attention_mask(neighbours: Bool[ndarray, "C C"]) -> Bool[Tensor, "queries queries"]:
    """True where a query (row) may not look: vertices see all joints, themselves and neighbours.

    Joints see everything.
    """
    joints = len(LSP14)
    blocked = torch.zeros(joints + len(neighbours), joints + len(neighbours), dtype=torch.bool)
    blocked[joints:, joints:] = ~torch.as_tensor(neighbours)
    return blocked


def project(points: Float[Tensor, "N J 3"], camera: Float[Tensor, "N 3"]) -> Float[Tensor, "N J 2"]:
    """Orthographic projection into the crop (-1..1), s (x + t) as in the code of both systems.

    PostoMETRO's equation 3 says s x + t.
    """
    return camera[:, None, :1] * (points[..., :2] + camera[:, None, 1:])


def _positions(evidence: FrameEvidence) -> Float[Tensor, "cells+tokens width"]:
    """Where on the image each token of the memory is; pose tokens are nowhere."""
    cells, width = evidence.image.shape[1:]
    device = evidence.image.device
    nowhere = torch.zeros(evidence.pose.shape[1], width, device=device)
    if not cells:
        return nowhere
    return torch.cat([sine_positions(evidence.grid, width, device), nowhere])
