"""Clips for the tests of metrics, and every metric beside its naive version."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import naive_metrics as naive
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from temporal_hmr import metrics
from temporal_hmr.skeleton import SMPL24

HIPS = SMPL24.indices("left_hip", "right_hip")
LIMBS = metrics.CHALLENGE_LIMBS
PELVIS = metrics.PELVIS
FPS = 25.0
CHUNK = 4


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that a metric may compare; tensors or arrays, time first (after batches)."""

    predicted: torch.Tensor
    true: torch.Tensor
    predicted_skin: torch.Tensor
    true_skin: torch.Tensor
    predicted_parts: torch.Tensor
    true_parts: torch.Tensor

    def map(self, function):
        return Scene(*(function(getattr(self, field.name)) for field in fields(self)))


def clip(frames=12, points=24, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(frames, points, 3, generator=generator, dtype=torch.float64).to(dtype)


def orientations(frames=12, parts=9, seed=0):
    quaternions = np.random.default_rng(seed).normal(size=(frames * parts, 4))
    matrices = Rotation.from_quat(quaternions.reshape(-1, 4)).as_matrix() if frames else quaternions
    return torch.from_numpy(matrices.reshape(frames, parts, 3, 3))


def scene(frames=12, seed=0):
    """A truth and a prediction some centimetres from it, joints, skin and parts."""
    true, skin = 0.4 * clip(frames, 24, seed), 0.4 * clip(frames, 10, seed + 1)
    return Scene(
        predicted=true + 0.05 * clip(frames, 24, seed + 2) + 0.1,
        true=true,
        predicted_skin=skin + 0.05 * clip(frames, 10, seed + 3) + 0.1,
        true_skin=skin,
        predicted_parts=orientations(frames, 9, seed),
        true_parts=orientations(frames, 9, seed + 1),
    )


def random_similarities(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scale = 0.5 + torch.rand(count, generator=generator, dtype=torch.float64)
    translation = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    return metrics.Similarity(scale, orientations(count, 1, seed)[:, 0], translation)


def mask(frames, gaps):
    valid = torch.ones(frames, dtype=torch.bool)
    valid[list(gaps)] = False
    return valid


def assert_counted(result, expected, rtol=1e-9):
    """The values that count, in order; and NaN everywhere else."""
    np.testing.assert_allclose(result.values[result.counted], expected, rtol=rtol, atol=1e-9)
    assert result.values[~result.counted].isnan().all()


@dataclass(frozen=True)
class Case:
    """A metric as we compute it, and its naive version on numpy arrays of one clip."""

    ours: Callable
    naive: Callable
    order: int = 0
    """How many frames fewer than the clip has values come out."""


FRAME_CASES = {
    "mpjpe": Case(
        lambda s, **k: metrics.mpjpe(s.predicted, s.true, HIPS, **k),
        lambda s, valid: naive.mpjpe(s.predicted, s.true, HIPS, valid),
    ),
    "pa_mpjpe": Case(
        lambda s, **k: metrics.pa_mpjpe(s.predicted, s.true, **k),
        lambda s, valid: naive.pa_mpjpe(s.predicted, s.true, valid),
    ),
    "pve": Case(
        lambda s, **k: metrics.pve(
            s.predicted_skin, s.true_skin, s.predicted[..., 0, :], s.true[..., 0, :], **k
        ),
        lambda s, valid: naive.pve(
            s.predicted_skin, s.true_skin, s.predicted[:, 0], s.true[:, 0], valid
        ),
    ),
    "pve_unaligned": Case(
        lambda s, **k: metrics.pve(s.predicted_skin, s.true_skin, **k),
        lambda s, valid: naive.mpjpe(s.predicted_skin, s.true_skin, None, valid),
    ),
    "pa_pve": Case(
        lambda s, **k: metrics.pa_pve(
            s.predicted_skin, s.true_skin, metrics.procrustes(s.predicted, s.true), **k
        ),
        lambda s, valid: naive.pa_pve(s.predicted_skin, s.true_skin, s.predicted, s.true, valid),
    ),
    "pck": Case(
        lambda s, **k: metrics.pck(s.predicted, s.true, threshold=0.1, **k),
        lambda s, valid: naive.pck(s.predicted, s.true, PELVIS, LIMBS, 0.1, valid),
    ),
    "auc": Case(
        lambda s, **k: metrics.auc(s.predicted, s.true, **k),
        lambda s, valid: naive.auc(s.predicted, s.true, PELVIS, LIMBS, valid),
    ),
    "mpjae": Case(
        lambda s, **k: metrics.mpjae(s.predicted_parts, s.true_parts, **k),
        lambda s, valid: naive.mpjae(s.predicted_parts, s.true_parts, valid),
    ),
    "pa_mpjae": Case(
        lambda s, **k: metrics.pa_mpjae(
            s.predicted_parts, s.true_parts, metrics.procrustes(s.predicted, s.true).rotation, **k
        ),
        lambda s, valid: naive.pa_mpjae(
            s.predicted_parts, s.true_parts, s.predicted, s.true, valid
        ),
    ),
}
"""Metrics of single frames; the naive version takes the scene and a list of booleans."""

GAP_CASES = {
    "acceleration_error": Case(
        lambda s, **k: metrics.acceleration_error(s.predicted, s.true, HIPS, FPS, **k),
        lambda s, valid, crossing: (
            FPS**2 * np.array(naive.acceleration_error(s.predicted, s.true, HIPS, valid, crossing))
        ),
        order=2,
    ),
    "acceleration": Case(
        lambda s, **k: metrics.acceleration(s.predicted, **k),
        lambda s, valid, crossing: (
            1000 * np.array(naive.acceleration(s.predicted, valid, crossing))
        ),
        order=2,
    ),
    "jitter": Case(
        lambda s, **k: metrics.jitter(s.predicted, FPS, **k),
        lambda s, valid, crossing: naive.jitter(s.predicted, FPS, valid, crossing),
        order=3,
    ),
    "w_mpjpe": Case(
        lambda s, **k: metrics.w_mpjpe(s.predicted, s.true, chunk=CHUNK, **k),
        lambda s, valid, crossing: naive.world_mpjpe(
            s.predicted, s.true, valid, crossing, CHUNK, 2
        ),
    ),
    "wa_mpjpe": Case(
        lambda s, **k: metrics.wa_mpjpe(s.predicted, s.true, chunk=CHUNK, **k),
        lambda s, valid, crossing: naive.world_mpjpe(
            s.predicted, s.true, valid, crossing, CHUNK, CHUNK
        ),
    ),
    "rte": Case(
        lambda s, **k: metrics.rte(s.predicted[..., 0, :], s.true[..., 0, :], **k),
        lambda s, valid, crossing: naive.rte(s.predicted[:, 0], s.true[:, 0], valid, crossing),
    ),
    "erve": Case(
        lambda s, **k: metrics.erve(
            s.predicted[..., 0, :],
            s.true[..., 0, :],
            s.predicted_parts[..., 0, :, :],
            s.true_parts[..., 0, :, :],
            **k,
        ),
        lambda s, valid, crossing: naive.erve(
            s.predicted[:, 0],
            s.true[:, 0],
            s.predicted_parts[:, 0],
            s.true_parts[:, 0],
            valid,
            crossing,
        ),
        order=1,
    ),
    "foot_sliding": Case(
        lambda s, **k: metrics.foot_sliding(
            s.predicted_skin[..., :4, :], s.true_skin[..., :4, :], 0.9, **k
        ),
        lambda s, valid, crossing: naive.foot_sliding(
            s.predicted_skin[:, :4], s.true_skin[:, :4], 0.9, valid, crossing
        ),
        order=1,
    ),
}
"""Metrics that look across frames; the naive version is told whether to cross gaps."""
