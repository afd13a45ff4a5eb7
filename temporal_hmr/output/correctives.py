"""SMPL's pose blend shapes over one motion, as few morph targets with animated weights.

The blend shapes move the vertices of the rest pose by `posedirs @ pose_feature`, linearly in 207
numbers, before they are skinned: just what morph targets are. A motion needs few directions of
them. With posedirs = Q R (thin QR) and the motion's features F, the displacements are
F R^T Q^T = U S W^T Q^T (singular value decomposition of the small F R^T), so that the targets are
the leading columns of Q W. Nothing is centred: weights of zero are the rest pose.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from temporal_hmr.body.model import BodyModel, pose_feature
from temporal_hmr.body.params import SmplParams

TOLERANCE = 5e-4
"""Metres that no vertex may be off in any frame."""

_FRAMES_AT_ONCE = 64


@dataclass(frozen=True, eq=False)
class Correctives:
    """Displacements of the rest pose's vertices: the sum over k of weights[t, k] * targets[k]."""

    targets: Float[Tensor, "K V 3"]
    """Metres."""
    weights: Float[Tensor, "T K"]
    """Within 0..1."""


def principal_correctives(
    body: BodyModel, smpl: SmplParams, tolerance: float = TOLERANCE
) -> Correctives:
    """As few targets as keep every vertex of every frame within `tolerance` (metres).

    Skinning does not enlarge the error: it turns displacements and averages them.
    """
    basis, mixing = torch.linalg.qr(body.posedirs.flatten(0, 1).double())
    left, sizes, right = torch.linalg.svd(pose_feature(smpl).double() @ mixing.mT, False)
    weights, targets = left * sizes, right @ basis.mT
    few, enough = -1, len(sizes)
    while enough - few > 1:
        count = (few + enough) // 2
        if _within(tolerance, weights[:, count:], targets[count:]):
            enough = count
        else:
            few = count
    return _between_zero_and_one(targets[:enough].unflatten(-1, (-1, 3)), weights[:, :enough])


def _between_zero_and_one(
    targets: Float[Tensor, "K V 3"], weights: Float[Tensor, "T K"]
) -> Correctives:
    """Each direction and its opposite as targets of their own.

    Blender clamps weights to 0..1. Between two keys of different signs nothing is lost: one weight
    falls to zero while the other rises from it, and their difference runs straight.
    """
    both = torch.cat([weights, -weights], 1).clamp(min=0)
    largest = both.amax(0)
    used = largest > 0
    scaled = torch.cat([targets, -targets])[used] * largest[used, None, None]
    return Correctives(scaled, both[:, used] / largest[used])


def _within(
    tolerance: float, weights: Float[Tensor, "T K"], targets: Float[Tensor, "K V*3"]
) -> bool:
    """Whether no vertex is displaced by more (metres) in any frame."""
    targets = targets.float()
    moved = (block @ targets for block in weights.float().split(_FRAMES_AT_ONCE))
    return all(bool((m.unflatten(-1, (-1, 3)).norm(dim=-1) <= tolerance).all()) for m in moved)
