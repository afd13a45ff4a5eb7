"""Errors of places of joints, frame by frame.

Points come in metres, `predicted` and `true` of the same shape, one value per frame goes out.
`root` are the joints whose mean is the origin of each side (benchmarks differ: the pelvis, or both
hips); None compares positions as they stand.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from temporal_hmr.metrics.alignment import PELVIS, procrustes, relative_to
from temporal_hmr.metrics.blocks import per_frame
from temporal_hmr.metrics.distances import MILLIMETRES, lengths, mean_length
from temporal_hmr.metrics.inputs import Array, check_shapes
from temporal_hmr.metrics.values import FrameValues
from temporal_hmr.skeleton import SMPL24

CHALLENGE_LIMBS = tuple(
    SMPL24.index(f"{side}_{joint}")
    for joint in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist")
    for side in ("left", "right")
)
"""The twelve joints that PCK and AUC of the 3DPW challenge look at."""
_AUC_LAST = 199
"""Largest threshold of the challenge's curve, mm; the first is 0, the step 1."""


def mpjpe(
    predicted: Float[Array, "*b T J 3"],
    true: Float[Array, "*b T J 3"],
    root: Sequence[int] | None = PELVIS,
    *,
    valid: Bool[Array, "*b T"] | None = None,
) -> FrameValues:
    """Mean per-joint position error in mm, each side relative to its own root joints."""
    lead = check_shapes("joints 3", predicted=predicted, true=true)

    def measure(p: Tensor, q: Tensor) -> Tensor:
        return mean_length(relative_to(p.double() - q, root))

    return per_frame(measure, (predicted, true), lead, valid)


def pa_mpjpe(
    predicted: Float[Array, "*b T J 3"],
    true: Float[Array, "*b T J 3"],
    *,
    valid: Bool[Array, "*b T"] | None = None,
) -> FrameValues:
    """MPJPE in mm after each frame's best similarity (`procrustes`)."""
    lead = check_shapes("joints 3", predicted=predicted, true=true)

    def measure(p: Tensor, q: Tensor) -> Tensor:
        return mean_length(procrustes(p, q)(p) - q)

    return per_frame(measure, (predicted, true), lead, valid)


def pck(
    predicted: Float[Array, "*b T J 3"],
    true: Float[Array, "*b T J 3"],
    root: Sequence[int] | None = PELVIS,
    joints: Sequence[int] = CHALLENGE_LIMBS,
    threshold: float = 0.05,
    *,
    valid: Bool[Array, "*b T"] | None = None,
) -> FrameValues:
    """Percentage of `joints` that are at most `threshold` metres from the truth (3DPW challenge).

    Each side is relative to its own root; no Procrustes.
    """
    lead = check_shapes("joints 3", predicted=predicted, true=true)

    def measure(p: Tensor, q: Tensor) -> Tensor:
        distance = lengths(relative_to(p.double() - q, root)[..., list(joints), :])
        hits = (distance <= threshold).double()
        return 100 * hits.where(~distance.isnan(), torch.nan).mean(-1)

    return per_frame(measure, (predicted, true), lead, valid)


def auc(
    predicted: Float[Array, "*b T J 3"],
    true: Float[Array, "*b T J 3"],
    root: Sequence[int] | None = PELVIS,
    joints: Sequence[int] = CHALLENGE_LIMBS,
    *,
    valid: Bool[Array, "*b T"] | None = None,
) -> FrameValues:
    """Area under the curve of PCK at thresholds 0, 1, ..., 199 mm, in 0..1 (3DPW challenge).

    By trapezoids, the axis of thresholds scaled to 0..1. The curve is a sum of steps, so each
    joint adds an area of its own: the thresholds that it meets, half for either end.
    """
    lead = check_shapes("joints 3", predicted=predicted, true=true)

    def measure(p: Tensor, q: Tensor) -> Tensor:
        distance = MILLIMETRES * lengths(relative_to(p.double() - q, root)[..., list(joints), :])
        met = (_AUC_LAST + 1 - distance.ceil()).clamp(min=0)
        ends = (distance <= 0).double() + (distance <= _AUC_LAST).double()
        return ((met - ends / 2) / _AUC_LAST).mean(-1)

    return per_frame(measure, (predicted, true), lead, valid)
