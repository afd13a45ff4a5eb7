"""What training asks of a prediction. Pure functions; batches are left as they were given."""

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor
from torch.nn import functional

from temporal_hmr.batch import BodyPrediction, BodyTarget, CropWindow
from temporal_hmr.body.params import SmplParams
from temporal_hmr.configuration import Config
from temporal_hmr.tokenizers.keypoints import Reconstruction


class LossWeights(Config):
    """Weight of each term; units are those of the term (metres, box halves, per frame)."""

    rotations: float = Field(default=1.0, ge=0)
    joints: float = Field(default=8.0, ge=0)
    keypoints: float = Field(default=4.0, ge=0)
    placement: float = Field(default=2.0, ge=0)
    betas: float = Field(default=0.02, ge=0)
    velocity: float = Field(default=15.0, ge=0)
    acceleration: float = Field(default=30.0, ge=0)


def body_losses(
    prediction: BodyPrediction, target: BodyTarget, window: CropWindow
) -> dict[str, Float[Tensor, ""]]:
    """Terms that judge every frame by itself."""
    smpl, joints = window.valid & target.has_smpl, known_joints(target, window)
    keypoints = window.valid[..., None] & target.has_keypoints
    placement = placement_error(prediction.joints, target.joints)
    return {
        "rotations": masked_mean(rotation_error(prediction.smpl, target.smpl), smpl),
        "joints": masked_mean(joint_error(prediction.joints, target.joints), joints),
        "keypoints": masked_mean(keypoint_error(prediction.keypoints, target.keypoints), keypoints),
        "placement": masked_mean(placement, joints[..., 0]),
        "betas": masked_mean(((prediction.smpl.betas - target.smpl.betas) ** 2).mean(-1), smpl),
    }


def smoothness_losses(
    prediction: BodyPrediction, target: BodyTarget, window: CropWindow
) -> dict[str, Float[Tensor, ""]]:
    """First and second differences of the joints over time, in metres per frame (and frame^2).

    They compare with the true motion's differences rather than asking for none: a person may jump.
    INT's velocity term, and one order more; joints relative to the pelvis, and the pelvis's own
    path seen at its true depth, where the depth of a distant person would drown the rest.
    """
    known = known_joints(target, window)
    known = torch.cat([known, known[..., :1]], -1)
    depth = target.joints[..., :1, 2:]
    # Placement errors grow with distance; at 4 m they count as they are.
    scale = 4.0 / depth.clamp(min=1.0)
    terms: dict[str, Tensor] = {}
    error = relative_to_pelvis(prediction.joints) - relative_to_pelvis(target.joints)
    path = (prediction.joints[..., :1, :] - target.joints[..., :1, :]) * scale
    error = torch.cat([error, path], -2)
    for name in ("velocity", "acceleration"):
        error = error[:, 1:] - error[:, :-1]
        known = known[:, 1:] & known[:, :-1]
        terms[name] = masked_mean(torch.linalg.vector_norm(error, dim=-1), known)
    return terms


def known_joints(target: BodyTarget, window: CropWindow) -> Bool[Tensor, "B T 24"]:
    """Joints that can be compared as seen from the pelvis."""
    pelvis = target.has_joints[..., :1]
    return window.valid[..., None] & target.has_joints & pelvis


def rotation_error(predicted: SmplParams, true: SmplParams) -> Float[Tensor, "B T"]:
    """Squared Frobenius distance of rotation matrices, 4 (1 - cos angle), mean over joints.

    The root counts as much as all the others together: everything hangs on it.
    """
    squared = ((predicted.rotations() - true.rotations()) ** 2).sum((-2, -1))
    return 0.5 * squared[..., 0] + 0.5 * squared[..., 1:].mean(-1)


def joint_error(
    predicted: Float[Tensor, "B T 24 3"], true: Float[Tensor, "B T 24 3"]
) -> Float[Tensor, "B T 24"]:
    """Distance (m) of joints relative to the pelvis."""
    error = relative_to_pelvis(predicted) - relative_to_pelvis(true)
    return torch.linalg.vector_norm(error, dim=-1)


def keypoint_error(
    predicted: Float[Tensor, "B T J 2"], true: Float[Tensor, "B T J 2"]
) -> Float[Tensor, "B T J"]:
    """Distance in the box (1 = half its side), robust beyond half the box."""
    distance = torch.linalg.vector_norm(predicted - true, dim=-1)
    return functional.smooth_l1_loss(
        distance.clamp(max=2.0), torch.zeros_like(distance), beta=0.02, reduction="none"
    )


def placement_error(
    predicted: Float[Tensor, "B T 24 3"], true: Float[Tensor, "B T 24 3"]
) -> Float[Tensor, "B T"]:
    """Where the pelvis is: sideways in metres (for small errors), in depth as a ratio (log)."""
    predicted, true = predicted[..., 0, :], true[..., 0, :]
    # log(1 + d): a box around two joints can put the body far away, and must not outshout the rest.
    sideways = torch.linalg.vector_norm(predicted[..., :2] - true[..., :2], dim=-1).log1p()
    ratio = predicted[..., 2].clamp(min=0.1).log() - true[..., 2].log()
    return sideways + ratio.abs()


def tokenizer_losses(
    reconstruction: Reconstruction,
    target: Float[Tensor, "N joints 2"],
    known: Bool[Tensor, "N joints"],
) -> dict[str, Float[Tensor, ""]]:
    """PCT, eq. 4: smooth L1 on the joints and the commitment of the features to their codes."""
    error = functional.smooth_l1_loss(
        reconstruction.keypoints, target, beta=0.05 / 128, reduction="none"
    )
    return {
        "reconstruction": masked_mean(error.mean(-1), known),
        "commitment": reconstruction.commitment,
    }


def relative_to_pelvis(joints: Float[Tensor, "*b 24 3"]) -> Float[Tensor, "*b 24 3"]:
    """Joints as seen from joint 0."""
    return joints - joints[..., :1, :]


def masked_mean(values: Float[Tensor, "*b"], mask: Bool[Tensor, "*b"]) -> Float[Tensor, ""]:
    """Mean over the entries that count; 0 (with no gradient) where none does."""
    weight = mask.to(values.dtype)
    return (torch.where(mask, values, 0.0)).sum() / weight.sum().clamp(min=1)
