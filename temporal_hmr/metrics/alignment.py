"""Laying one set of points on another: frame by frame, or a whole trajectory at once."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from temporal_hmr.metrics.inputs import Array, check_mask, check_shapes, doubles
from temporal_hmr.skeleton import SMPL24

PELVIS = (SMPL24.index("pelvis"),)
"""The root by default: joints are SMPL's unless the caller says otherwise."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """x' = scale * rotation x + translation; any batch axes, float64."""

    scale: Float[Tensor, "*b"]
    rotation: Float[Tensor, "*b 3 3"]
    translation: Float[Tensor, "*b 3"]

    def __call__(self, points: Float[Array, "*b P 3"]) -> Float[Tensor, "*b P 3"]:
        """The points moved by the similarity."""
        scaled = self.scale[..., None, None] * self.rotation
        return doubles(points) @ scaled.mT + self.translation[..., None, :]

    def __getitem__(self, which: Int[Tensor, "*n"]) -> "Similarity":
        """Some of a row of similarities."""
        return Similarity(self.scale[which], self.rotation[which], self.translation[which])


def procrustes(source: Float[Array, "*b P 3"], target: Float[Array, "*b P 3"]) -> Similarity:
    """The similarity that takes each frame's source points nearest to its target points.

    Least squares over scale, rotation (never a reflection) and translation, solved for every frame
    by itself (Umeyama 1991, eq. 40-43), so that the batch size cannot matter. Source points that
    all coincide have no scale: they go to the centroid of the target. Frames that are not finite
    give NaN.
    """
    source, target = doubles(source), doubles(target)
    finite = _finite(source, target)
    source, target = (points.where(finite[..., None, None], 0.0) for points in (source, target))
    source_mean, target_mean = source.mean(-2), target.mean(-2)
    source, target = source - source_mean[..., None, :], target - target_mean[..., None, :]
    moments = _Moments(
        count=finite * source.shape[-2],
        source_mean=source_mean,
        target_mean=target_mean,
        correlation=target.mT @ source,
        variance=(source * source).sum((-2, -1)),
    )
    return _solve(moments, with_scale=True)


def align_trajectory(
    source: Float[Array, "*b T P 3"],
    target: Float[Array, "*b T P 3"],
    *,
    valid: Bool[Array, "*b T"] | None = None,
    with_scale: bool = True,
) -> Similarity:
    """One similarity per clip (or rigid motion), fitted on the points of all its valid frames.

    Frames that are not finite take no part; a clip without any that does gives NaN.
    """
    lead = check_shapes("points 3", source=source, target=target)
    mask = check_mask(valid, lead, source)
    source, target = (doubles(points).flatten(0, len(lead) - 1) for points in (source, target))
    clips = torch.arange(math.prod(lead[:-1]), device=mask.device)
    group = clips.repeat_interleave(lead[-1])
    fitted = align_groups(source, target, group, mask.flatten(), len(clips), with_scale)
    return fitted[clips.reshape(lead[:-1])]


def align_groups(
    source: Float[Tensor, "F P 3"],
    target: Float[Tensor, "F P 3"],
    group: Int[Tensor, "F"],
    used: Bool[Tensor, "F"],
    groups: int,
    with_scale: bool = True,
) -> Similarity:
    """One similarity per group of frames, fitted on its used frames (float64); `groups` in all.

    `group` is the number of each frame's group. Frames that are not finite take no part; a group
    without any that does gives NaN.
    """
    used = used & _finite(source, target)
    source, target = (points.where(used[:, None, None], 0.0) for points in (source, target))

    def total(values: Float[Tensor, "F *n"]) -> Float[Tensor, "groups *n"]:
        return values.new_zeros(groups, *values.shape[1:]).index_add(0, group, values)

    count = total(used.double()) * source.shape[-2]
    source_mean, target_mean = (
        total(points.sum(1)) / count[:, None] for points in (source, target)
    )
    centred = [
        (points - mean[group][:, None]).where(used[:, None, None], 0.0)
        for points, mean in ((source, source_mean), (target, target_mean))
    ]
    moments = _Moments(
        count=count,
        source_mean=source_mean.nan_to_num(),
        target_mean=target_mean.nan_to_num(),
        correlation=total(centred[1].mT @ centred[0]),
        variance=total((centred[0] * centred[0]).sum((-2, -1))),
    )
    return _solve(moments, with_scale)


def relative_to(
    points: Float[Tensor, "*b P 3"], root: Sequence[int] | None
) -> Float[Tensor, "*b P 3"]:
    """Points seen from the mean of some of them, e.g. both hips; None leaves them as they stand."""
    if root is None:
        return points
    return points - points[..., list(root), :].mean(-2, keepdim=True)


@dataclass(frozen=True, eq=False)
class _Moments:
    """Sums over pairs of points that determine their best similarity; all finite."""

    count: Float[Tensor, "*b"]
    """How many pairs; with none the answer is NaN."""
    source_mean: Float[Tensor, "*b 3"]
    target_mean: Float[Tensor, "*b 3"]
    correlation: Float[Tensor, "*b 3 3"]
    """Sum of target times source^T, means taken off."""
    variance: Float[Tensor, "*b"]
    """Sum of squares of the source, mean taken off."""


def _finite(source: Float[Tensor, "*b P 3"], target: Float[Tensor, "*b P 3"]) -> Bool[Tensor, "*b"]:
    return (source.isfinite() & target.isfinite()).all(-1).all(-1)


def _solve(moments: _Moments, with_scale: bool) -> Similarity:
    left, spread, right = torch.linalg.svd(moments.correlation)
    handed = torch.ones_like(spread)
    handed[..., 2] = torch.linalg.det(left @ right).sign()
    rotation = (left * handed[..., None, :]) @ right
    scale = torch.ones_like(moments.variance)
    if with_scale:
        # Points that coincide leave rounding behind when their mean is taken off.
        rounding = 1e-12 * (1 + moments.source_mean.abs().amax(-1))
        extended = moments.variance > moments.count * rounding**2
        scale = torch.where(extended, (spread * handed).sum(-1) / moments.variance, 0.0)
    turned_mean = (rotation @ moments.source_mean[..., None]).squeeze(-1)
    nan = torch.where(moments.count > 0, 0.0, torch.nan)
    return Similarity(
        scale + nan,
        rotation + nan[..., None, None],
        moments.target_mean - scale[..., None] * turned_mean + nan[..., None],
    )
