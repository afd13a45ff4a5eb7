"""Errors of orientations, frame by frame.

Orientations are rotation matrices of body parts in the camera frame: products of SMPL's rotations
along the tree, from the root.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from temporal_hmr.metrics.blocks import per_frame
from temporal_hmr.metrics.inputs import Array, check_shapes
from temporal_hmr.metrics.values import FrameValues
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import SMPL24

MPJAE_PARTS = tuple(
    SMPL24.indices("pelvis")
    + SMPL24.indices("left_hip", "right_hip", "left_knee", "right_knee")
    + SMPL24.indices("left_shoulder", "right_shoulder", "left_elbow", "right_elbow")
)
"""The nine parts that 3DPW's and EMDB's evaluations compare."""


def mpjae(
    predicted: Float[Array, "*b T P 3 3"],
    true: Float[Array, "*b T P 3 3"],
    *,
    valid: Bool[Array, "*b T"] | None = None,
) -> FrameValues:
    """Mean angle in degrees between the orientations of the parts given (`MPJAE_PARTS`)."""
    lead = check_shapes("parts 3 3", predicted=predicted, true=true)
    return per_frame(_mean_angle, (predicted, true), lead, valid)


def pa_mpjae(
    predicted: Float[Array, "*b T P 3 3"],
    true: Float[Array, "*b T P 3 3"],
    rotation: Float[Array, "*b T 3 3"],
    *,
    valid: Bool[Array, "*b T"] | None = None,
) -> FrameValues:
    """MPJAE in degrees after each frame's `rotation` turned the whole prediction.

    The field's convention is the rotation of the joints' Procrustes alignment:
    `procrustes(predicted_joints, true_joints).rotation`.
    """
    lead = check_shapes("parts 3 3", predicted=predicted, true=true)
    check_shapes("3 3", lead, rotation=rotation)

    def measure(p: Tensor, q: Tensor, turn: Tensor) -> Tensor:
        return _mean_angle(turn[:, None].double() @ p.double(), q)

    return per_frame(measure, (predicted, true, rotation), lead, valid)


def _mean_angle(
    predicted: Float[Tensor, "n P 3 3"], true: Float[Tensor, "n P 3 3"]
) -> Float[Tensor, "n"]:
    return torch.rad2deg(geodesic_angle(predicted.double(), true.double())).mean(-1)
