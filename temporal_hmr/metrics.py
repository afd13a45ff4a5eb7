"""Errors of recovered bodies, as the field reports them.

Points come in metres, in any float type, and are compared in float64. Lengths go out in
millimetres. Every function gives one value per frame (or per run of neighbouring frames, for those
that take differences in time) and leaves the averaging to the caller: a data set's figure is the
mean over the frames of all its clips. A frame with NaN in it has the value NaN. Differences are
taken only between neighbouring frames that are all `valid`, never across a gap; where there are too
few frames no value comes out, and the mean of none is NaN.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from temporal_hmr.skeleton import SMPL24

PELVIS = (SMPL24.index("pelvis"),)
"""The root by default: joints are SMPL's unless the caller says otherwise."""
MILLIMETRES = 1000.0
_JITTER_UNIT = 10.0


@dataclass(frozen=True, eq=False)
class Similarity:
    """x' = scale * rotation x + translation; any batch axes."""

    scale: Float[Tensor, "*b"]
    rotation: Float[Tensor, "*b 3 3"]
    translation: Float[Tensor, "*b 3"]

    def __call__(self, points: Float[Tensor, "*b P 3"]) -> Float[Tensor, "*b P 3"]:
        """The points moved by the similarity, in float64."""
        turned = points.double() @ self.rotation.mT
        return self.scale[..., None, None] * turned + self.translation[..., None, :]


def procrustes(source: Float[Tensor, "*b P 3"], target: Float[Tensor, "*b P 3"]) -> Similarity:
    """The similarity that takes each frame's source points nearest to its target points.

    Least squares over scale, rotation (never a reflection) and translation, solved for every frame
    by itself (Umeyama 1991, eq. 40-43), so that the batch size cannot matter. Source points that
    all coincide have no scale: they go to the centroid of the target. Frames that are not finite
    give NaN.
    """
    source, target = source.double(), target.double()
    finite = (source.isfinite() & target.isfinite()).all(-1).all(-1)
    keep = finite[..., None, None]
    source, target = source.where(keep, 0.0), target.where(keep, 0.0)
    source_mean, target_mean = source.mean(-2), target.mean(-2)
    source, target = source - source_mean[..., None, :], target - target_mean[..., None, :]
    left, spread, right = torch.linalg.svd(target.mT @ source)
    handed = torch.ones_like(spread)
    handed[..., 2] = torch.linalg.det(left @ right).sign()
    rotation = (left * handed[..., None, :]) @ right
    variance = (source * source).sum((-2, -1))
    # Points that coincide leave rounding behind when their mean is taken off.
    floor = source.shape[-2] * (1e-12 * (1 + source_mean.abs().amax(-1))) ** 2
    scale = torch.where(variance > floor, (spread * handed).sum(-1) / variance, 0.0)
    turned_mean = (rotation @ source_mean[..., None]).squeeze(-1)
    nan = torch.where(finite, 0.0, torch.nan)
    return Similarity(scale + nan, rotation, target_mean - scale[..., None] * turned_mean)


def relative_to(points: Float[Tensor, "*b P 3"], root: Sequence[int]) -> Float[Tensor, "*b P 3"]:
    """Points seen from the mean of some of them, e.g. both hips (`SMPL24.indices(...)`)."""
    return points - points[..., list(root), :].mean(-2, keepdim=True)


def mpjpe(
    predicted: Float[Tensor, "*b J 3"],
    true: Float[Tensor, "*b J 3"],
    root: Sequence[int] | None = PELVIS,
) -> Float[Tensor, "*b"]:
    """Mean per-joint position error in mm, each side relative to its own root joints.

    `root` are the joints whose mean is the origin (benchmarks differ: the pelvis, or both hips);
    None compares positions as they stand.
    """
    predicted, true = _rooted(predicted, root), _rooted(true, root)
    return _mean_distance(predicted, true)


def pa_mpjpe(
    predicted: Float[Tensor, "*b J 3"], true: Float[Tensor, "*b J 3"]
) -> Float[Tensor, "*b"]:
    """MPJPE in mm after each frame's best similarity (`procrustes`)."""
    return _mean_distance(procrustes(predicted, true)(predicted), true.double())


def pve(
    predicted: Float[Tensor, "*b V 3"],
    true: Float[Tensor, "*b V 3"],
    predicted_root: Float[Tensor, "*b 3"],
    true_root: Float[Tensor, "*b 3"],
) -> Float[Tensor, "*b"]:
    """Mean per-vertex error in mm, each body relative to its root, a place in metres.

    The field's convention is the root of the MPJPE beside it: the pelvis of the *joints*.
    """
    predicted = predicted.double() - predicted_root.double()[..., None, :]
    return _mean_distance(predicted, true.double() - true_root.double()[..., None, :])


def acceleration_error(
    predicted: Float[Tensor, "T J 3"],
    true: Float[Tensor, "T J 3"],
    root: Sequence[int] | None = PELVIS,
    fps: float | None = None,
    valid: Bool[Tensor, "T"] | None = None,
) -> Float[Tensor, "triples"]:
    """Mean over joints of the distance between second differences in time.

    In mm/frame^2, or in m/s^2 if `fps` is given. One value per three neighbouring valid frames:
    T - 2 where all are. `root` as in `mpjpe`.
    """
    difference = _rooted(predicted, root) - _rooted(true, root)
    return acceleration(difference, fps, valid)


def acceleration(
    points: Float[Tensor, "T J 3"],
    fps: float | None = None,
    valid: Bool[Tensor, "T"] | None = None,
) -> Float[Tensor, "triples"]:
    """Mean over points of the size of the second difference in time.

    In mm/frame^2, or in m/s^2 if `fps` is given. One value per three neighbouring valid frames.
    """
    size = _difference_size(points, 2, valid)
    return size * MILLIMETRES if fps is None else size * fps**2


def jitter(
    points: Float[Tensor, "T J 3"], fps: float, valid: Bool[Tensor, "T"] | None = None
) -> Float[Tensor, "quadruples"]:
    """Mean over points of the size of the third derivative in time, in 10 m/s^3.

    Third difference times fps^3 over 10 (Yi et al., CVPR 2022, "Physical Inertial Poser"). One
    value per four neighbouring valid frames.
    """
    return _difference_size(points, 3, valid) * (fps**3 / _JITTER_UNIT)


def _rooted(points: Float[Tensor, "*b P 3"], root: Sequence[int] | None) -> Float[Tensor, "*b P 3"]:
    return points.double() if root is None else relative_to(points.double(), root)


def _mean_distance(
    first: Float[Tensor, "*b P 3"], second: Float[Tensor, "*b P 3"]
) -> Float[Tensor, "*b"]:
    return torch.linalg.vector_norm(first - second, dim=-1).mean(-1) * MILLIMETRES


def _difference_size(
    points: Float[Tensor, "T P 3"], order: int, valid: Bool[Tensor, "T"] | None
) -> Float[Tensor, "runs"]:
    """Mean length of the differences of an order in time, of runs of valid frames only."""
    frames = len(points)
    valid = torch.ones(frames, dtype=torch.bool) if valid is None else valid
    if valid.shape != (frames,):
        raise ValueError(f"valid has shape {tuple(valid.shape)}, the points have {frames} frames")
    if frames <= order:
        return points.new_empty(0, dtype=torch.float64)
    difference = torch.diff(points.double(), n=order, dim=0)
    whole = valid.to(points.device).unfold(0, order + 1, 1).all(-1)
    return torch.linalg.vector_norm(difference[whole], dim=-1).mean(-1)
