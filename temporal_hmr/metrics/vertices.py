"""Errors of vertices, frame by frame.

There are hundreds of times more vertices than frames, so these two are written for the speed of
memory: the three coordinates of a block of frames lie apart, and every operation runs along a row
of vertices.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from temporal_hmr.errors import InputError
from temporal_hmr.metrics.alignment import Similarity
from temporal_hmr.metrics.blocks import frames_in_block, per_frame
from temporal_hmr.metrics.distances import MILLIMETRES
from temporal_hmr.metrics.inputs import Array, check_shapes
from temporal_hmr.metrics.values import FrameValues


def pve(
    predicted: Float[Array, "*b T V 3"],
    true: Float[Array, "*b T V 3"],
    predicted_root: Float[Array, "*b T 3"] | None = None,
    true_root: Float[Array, "*b T 3"] | None = None,
    *,
    valid: Bool[Array, "*b T"] | None = None,
) -> FrameValues:
    """Mean per-vertex error in mm, each body relative to its root, a place in metres.

    The field's convention is the root of the MPJPE beside it: a mean of *joints*. Without roots
    vertices are compared as they stand, as an older line of work does with bodies of zero
    translation. Large arrays should be contiguous: others are copied.

    Raises `InputError` if only one root is given.
    """
    lead = check_shapes("vertices 3", predicted=predicted, true=true)
    planes = _Planes(predicted)

    def measure(p: Tensor, q: Tensor) -> Tensor:
        error, true_planes = planes.of(p, q)
        return _mean_length(error.sub_(true_planes))

    def measure_rooted(p: Tensor, q: Tensor, p_root: Tensor, q_root: Tensor) -> Tensor:
        error, true_planes = planes.of(p, q)
        apart = (p_root.double() - q_root.double()).T[..., None]
        return _mean_length(error.sub_(true_planes).sub_(apart))

    if predicted_root is None and true_root is None:
        return per_frame(measure, (predicted, true), lead, valid)
    if predicted_root is None or true_root is None:
        raise InputError("only one of predicted_root and true_root is given: give both or neither")
    check_shapes("3", lead, predicted_root=predicted_root, true_root=true_root)
    return per_frame(measure_rooted, (predicted, true, predicted_root, true_root), lead, valid)


def pa_pve(
    predicted: Float[Array, "*b T V 3"],
    true: Float[Array, "*b T V 3"],
    similarity: Similarity,
    *,
    valid: Bool[Array, "*b T"] | None = None,
) -> FrameValues:
    """Mean per-vertex error in mm after a similarity per frame.

    EMDB's convention is the similarity of the joints: `procrustes(predicted_joints, true_joints)`.
    """
    lead = check_shapes("vertices 3", predicted=predicted, true=true)
    check_shapes("3", lead, translation=similarity.translation)
    planes = _Planes(predicted)

    def measure(p: Tensor, q: Tensor, scale: Tensor, rotation: Tensor, shift: Tensor) -> Tensor:
        turn = scale[:, None, None] * rotation
        coordinates, error = planes.of(p, q)
        error.neg_().add_(shift.T[..., None])
        for row in range(3):
            for column in range(3):
                error[row].addcmul_(coordinates[column], turn[:, row, column, None])
        return _mean_length(error)

    moves = similarity.scale, similarity.rotation, similarity.translation
    return per_frame(measure, (predicted, true, *moves), lead, valid)


class _Planes:
    """Room for the coordinates of a block of predicted and true vertices, used again and again.

    Fresh memory for every block would cost more than the arithmetic: the system clears each page.
    """

    def __init__(self, like: Float[Array, "*b T V 3"]):
        device = like.device if isinstance(like, Tensor) else None
        vertices = like.shape[-2]
        frames = min(frames_in_block(vertices, 3), math.prod(like.shape[:-2]))
        self.room = torch.empty((2, 3, frames, vertices), dtype=torch.float64, device=device)

    def of(
        self, predicted: Float[Tensor, "n V 3"], true: Float[Tensor, "n V 3"]
    ) -> tuple[Float[Tensor, "3 n V"], Float[Tensor, "3 n V"]]:
        """Coordinates in float64, to be overwritten at will until the next block."""
        first, second = self.room[:, :, : len(predicted)]
        return first.copy_(predicted.permute(2, 0, 1)), second.copy_(true.permute(2, 0, 1))


def _mean_length(vectors: Float[Tensor, "3 n V"]) -> Float[Tensor, "n"]:
    """In millimetres; overwrites the vectors."""
    x, y, z = vectors
    return MILLIMETRES * x.mul_(x).addcmul_(y, y).addcmul_(z, z).sqrt_().mean(-1)
