"""SMPL's pose blend shapes over one motion, as few morph targets with animated weights.

The blend shapes move the vertices of the rest pose by P f, with P their `posedirs` and f the pose
feature, linearly in 207 numbers, before they are skinned: just what morph targets are. A motion
needs few directions of them, the leading principal ones of its displacements F P^T, F being its
features. With P^T P = H H^T they are P H^-T times the leading eigenvectors of H^T F^T F H, which is
summed up some frames at a time. Nothing is centred: weights of zero are the rest pose.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from temporal_hmr.body.model import BodyModel, pose_feature
from temporal_hmr.body.params import SmplParams
from temporal_hmr.on_disk import chunks, scratch, zeros

TOLERANCE = 5e-4
"""Metres that no vertex may be off in any frame."""

_FRAMES_AT_ONCE = 64
_NOTHING = 1e-12
"""Of the largest: directions whose squared size is less move no vertex."""


@dataclass(frozen=True, eq=False)
class Correctives:
    """Displacements of the rest pose's vertices: the sum over k of weights[t, k] * targets[k]."""

    targets: Float[Tensor, "K V 3"]
    """Metres."""
    weights: Float[Tensor, "T K"]
    """Within 0..1; on the disk."""


def principal_correctives(
    body: BodyModel, smpl: SmplParams, tolerance: float = TOLERANCE
) -> Correctives:
    """As few targets as keep every vertex of every frame within `tolerance` (metres).

    Skinning does not enlarge the error: it turns displacements and averages them.
    """
    shapes = body.posedirs.flatten(0, 1).double()
    sizes, axes = torch.linalg.eigh(shapes.mT @ shapes)
    known = sizes > _NOTHING * sizes[-1]
    root, axes = sizes[known].sqrt(), axes[:, known]
    half = axes * root
    moments = half.new_zeros(len(root), len(root))
    for part in chunks(len(smpl.transl), smpl.body_pose):
        mixed = pose_feature(smpl[part]).double() @ half
        moments += mixed.mT @ mixed
    leading = torch.linalg.eigh(moments).eigenvectors.flip(1)
    weighing, targets = half @ leading, (shapes @ (axes / root @ leading)).mT
    few, enough = -1, len(targets)
    while enough - few > 1:
        count = (few + enough) // 2
        if _within(tolerance, smpl, weighing[:, count:], targets[count:]):
            enough = count
        else:
            few = count
    return _between_zero_and_one(targets[:enough].unflatten(-1, (-1, 3)), smpl, weighing)


def _between_zero_and_one(
    targets: Float[Tensor, "K V 3"], smpl: SmplParams, weighing: Float[Tensor, "207 R"]
) -> Correctives:
    """Each direction and its opposite as targets of their own.

    Blender clamps weights to 0..1. Between two keys of different signs nothing is lost: one weight
    falls to zero while the other rises from it, and their difference runs straight.
    """
    count, weighing = len(smpl.transl), weighing[:, : len(targets)]
    largest = weighing.new_zeros(2 * len(targets))
    for part in chunks(count, smpl.body_pose):
        largest = torch.maximum(largest, _both(smpl[part], weighing).amax(0))
    used = largest > 0
    weights = zeros((count, int(used.sum())), scratch(), weighing.dtype)
    for part in chunks(count, weights, smpl.body_pose):
        weights[part] = _both(smpl[part], weighing)[:, used] / largest[used]
    return Correctives(torch.cat([targets, -targets])[used] * largest[used, None, None], weights)


def _both(smpl: SmplParams, weighing: Float[Tensor, "207 K"]) -> Float[Tensor, "T 2*K"]:
    weights = pose_feature(smpl).double() @ weighing
    return torch.cat([weights, -weights], 1).clamp(min=0)


def _within(
    tolerance: float,
    smpl: SmplParams,
    weighing: Float[Tensor, "207 K"],
    targets: Float[Tensor, "K V*3"],
) -> bool:
    """Whether no vertex is displaced by more (metres) in any frame."""
    targets = targets.float()
    for part in chunks(len(smpl.transl), smpl.body_pose):
        weights = (pose_feature(smpl[part]).double() @ weighing).float()
        for block in weights.split(_FRAMES_AT_ONCE):
            moved = (block @ targets).unflatten(-1, (-1, 3)).norm(dim=-1)
            if not bool((moved <= tolerance).all()):
                return False
    return True
