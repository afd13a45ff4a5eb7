"""What training asks of a predicted surface (FastMETRO, section 3.4; PostoMETRO, section 3.4).

All terms are means of absolute errors over the coordinates of the samples that know the truth. The
papers write sums over x, y, z; the code of both takes means, and the weights belong to means.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor, nn
from torch.nn import functional

from temporal_hmr.body.coarse_mesh import CoarseMesh, VertexMap, edges_of
from temporal_hmr.body.model import BodyModel
from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.models.mesh_decoder import MeshPrediction, project
from temporal_hmr.skeleton import H36M17, LSP14

Terms = dict[str, Float[Tensor, ""]]


class MeshLossWeights(Config):
    """Weight of each term; PostoMETRO's by default, which judges the full mesh only."""

    joints: float = 1000.0
    """Of the joint queries, metres."""
    mesh_joints: float = 1000.0
    """Of the same joints regressed from the full mesh."""
    keypoints: float = 100.0
    """Of the projected joints, halves of the crop."""
    mesh_keypoints: float = 100.0
    coarse: float = 0.0
    middle: float = 0.0
    vertices: float = 1000.0
    edges: float = 0.0
    """Of the lengths of the middle mesh's edges, against the truth's."""
    edge_lengths: float = 0.0
    """Of the lengths themselves."""
    normals: float = 0.0
    """Of the middle mesh's edges along the true face normals, as cosines."""


def fastmetro_weights() -> MeshLossWeights:
    """FastMETRO's: the three meshes share a weight of 100, and edges and normals count."""
    return MeshLossWeights(
        coarse=25.0, middle=50.0, vertices=25.0, edges=500.0, edge_lengths=0.01, normals=10.0
    )


@dataclass(frozen=True, eq=False)
class MeshTarget:
    """The truth for N images, with masks for what a dataset does not know."""

    vertices: Float[Tensor, "N V 3"]
    """In metres; where they are does not matter, nor for joints."""
    joints: Float[Tensor, "N 14 3"]
    """`skeleton.LSP14`."""
    keypoints: Float[Tensor, "N 14 2"]
    """The same joints in the crop, -1..1."""
    has_vertices: Bool[Tensor, "N"]
    has_joints: Bool[Tensor, "N"]
    joint_known: Bool[Tensor, "N 14"]
    """Single joints in 3D that nobody annotated count as zero error, as published."""
    keypoint_known: Bool[Tensor, "N 14"]


class MeshSurface(nn.Module):
    """What the losses need to know of the body: its joints, its coarse meshes, and their edges."""

    to_joints: Float[Tensor, "14 V"]
    to_pelvis: Float[Tensor, "1 V"]
    edges: Int[Tensor, "E 2"]
    faces: Int[Tensor, "F 3"]

    def __init__(
        self,
        body: BodyModel,
        mesh: CoarseMesh,
        regressor: Float[ndarray, "17 V"] | None = None,
    ):
        """`regressor` gives Human3.6M's joints (`skeleton.H36M17`); without it, the body's own.

        Raises `InputError` if the body has none, or it is made for another body.
        """
        super().__init__()
        regressor = body.regressors.get("h36m17") if regressor is None else regressor
        expected = (len(H36M17), len(body.v_template))
        if regressor is None or regressor.shape != expected:
            raise InputError(
                f"the mesh losses need a regressor of Human3.6M's joints of shape {expected} for "
                f"the body {body.name}; give the field's J_regressor_h36m.npy, or use the open body"
            )
        rows = torch.as_tensor(regressor).to(body.v_template)
        constants = {
            "to_joints": rows[H36M17.indices(*LSP14.joints)],
            "to_pelvis": rows[H36M17.indices("pelvis")],
            "edges": torch.as_tensor(edges_of(mesh.middle_faces)),
            "faces": torch.as_tensor(mesh.middle_faces),
        }
        for name, tensor in constants.items():
            self.register_buffer(name, tensor, persistent=False)
        self.to_middle = VertexMap(mesh.full_to_middle)
        self.to_coarse = VertexMap(mesh.full_to_coarse)


def mesh_losses(
    prediction: MeshPrediction, target: MeshTarget, surface: MeshSurface, weights: MeshLossWeights
) -> Terms:
    """The weighted terms whose weight is not zero; their sum is the loss."""
    # In full precision whatever the autocast type: bfloat16 steps are millimetres.
    with torch.autocast(target.vertices.device.type, enabled=False):
        terms = _terms(prediction, target, surface)
    return {
        name: getattr(weights, name) * term
        for name, term in terms.items()
        if getattr(weights, name) != 0
    }


def _terms(prediction: MeshPrediction, target: MeshTarget, surface: MeshSurface) -> Terms:
    # Relative to the regressed pelvis each: neither the truth's place nor the prediction's counts.
    pelvis = surface.to_pelvis @ prediction.vertices
    truth = target.vertices - surface.to_pelvis @ target.vertices
    true_middle = surface.to_middle(truth)
    levels = {
        "coarse": (prediction.coarse - pelvis, surface.to_coarse(truth)),
        "middle": (prediction.middle - pelvis, true_middle),
        "vertices": (prediction.vertices - pelvis, truth),
    }
    known = target.has_vertices
    terms = {name: known_mean((a - b).abs(), known) for name, (a, b) in levels.items()}
    mesh_joints = surface.to_joints @ prediction.vertices - pelvis
    token_joints = about_hips(prediction.joints)
    for prefix, joints in (("", token_joints), ("mesh_", mesh_joints)):
        terms[f"{prefix}joints"] = joint_term(joints, target)
        terms[f"{prefix}keypoints"] = keypoint_term(project(joints, prediction.camera), target)
    return terms | {
        "edges": known_mean(edge_errors(prediction.middle, true_middle, surface.edges), known),
        "edge_lengths": known_mean(lengths(prediction.middle, surface.edges), known),
        "normals": known_mean(normal_errors(prediction.middle, true_middle, surface.faces), known),
    }


def joint_term(joints: Float[Tensor, "N 14 3"], target: MeshTarget) -> Float[Tensor, ""]:
    """Mean error of joints relative to the middle of the hips."""
    error = (about_hips(joints) - about_hips(target.joints)).abs()
    return known_mean(torch.where(target.joint_known[..., None], error, 0.0), target.has_joints)


def keypoint_term(keypoints: Float[Tensor, "N 14 2"], target: MeshTarget) -> Float[Tensor, ""]:
    """Mean error in the crop over all samples; unknown keypoints count as zero error."""
    error = (keypoints - target.keypoints).abs()
    return torch.where(target.keypoint_known[..., None], error, 0.0).mean()


def about_hips(joints: Float[Tensor, "N 14 3"]) -> Float[Tensor, "N 14 3"]:
    """Joints as seen from the middle of the hips."""
    hips = joints[:, LSP14.indices("right_hip", "left_hip")]
    return joints - hips.mean(1, keepdim=True)


def lengths(points: Float[Tensor, "N M 3"], edges: Int[Tensor, "E 2"]) -> Float[Tensor, "N E"]:
    """Of edges; a hundredth of a centimetre at least, where the gradient would not exist."""
    first, second = points[:, edges[:, 0]], points[:, edges[:, 1]]
    return ((first - second).square().sum(-1) + 1e-8).sqrt()


def edge_errors(
    predicted: Float[Tensor, "N M 3"], true: Float[Tensor, "N M 3"], edges: Int[Tensor, "E 2"]
) -> Float[Tensor, "N E"]:
    """Differences of length."""
    return (lengths(predicted, edges) - lengths(true, edges)).abs()


def normal_errors(
    predicted: Float[Tensor, "N M 3"], true: Float[Tensor, "N M 3"], faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "N 3*F"]:
    """How far the predicted edges of each face stick out of the true face's plane, as cosines."""
    sides = torch.cat([_side(predicted, faces, a, b) for a, b in ((0, 1), (0, 2), (1, 2))], 1)
    normals = torch.linalg.cross(_side(true, faces, 0, 1), _side(true, faces, 0, 2))
    normals = functional.normalize(normals, dim=-1)
    return (sides * normals.repeat(1, 3, 1)).sum(-1).abs()


def known_mean(values: Float[Tensor, "N *rest"], known: Bool[Tensor, "N"]) -> Float[Tensor, ""]:
    """Mean over the samples that know the truth; 0 where none does."""
    chosen = values[known]
    return chosen.sum() / max(chosen.numel(), 1)


def _side(
    points: Float[Tensor, "N M 3"], faces: Int[Tensor, "F 3"], begin: int, end: int
) -> Float[Tensor, "N F 3"]:
    """Unit vectors along one side of every face."""
    return functional.normalize(points[:, faces[:, end]] - points[:, faces[:, begin]], dim=-1)
