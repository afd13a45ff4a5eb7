"""Errors of trajectories in the world.

The worlds of truth and prediction are unrelated, so each metric aligns first, or needs no
alignment. Places in metres, joints of SMPL. `gaps` as in `smoothness`.
"""

import torch
from jaxtyping import Bool, Float

from temporal_hmr.metrics.alignment import align_groups, align_trajectory
from temporal_hmr.metrics.distances import MILLIMETRES, lengths, mean_length
from temporal_hmr.metrics.inputs import Array, check_mask, check_shapes, doubles
from temporal_hmr.metrics.runs import Gaps, find_runs, frames_before
from temporal_hmr.metrics.values import FrameValues

CHUNK = 100
"""Frames that are aligned together, as published figures have it."""


def w_mpjpe(
    predicted: Float[Array, "*b T J 3"],
    true: Float[Array, "*b T J 3"],
    *,
    valid: Bool[Array, "*b T"] | None = None,
    gaps: Gaps = "safe",
    chunk: int = CHUNK,
) -> FrameValues:
    """Mean per-joint error in mm, chunks aligned on their first two frames; one value per frame.

    The similarity (with scale) of those two frames' joints moves the whole chunk. Chunks are cut
    from the clip without its masked frames ("crossing", as published), or end at every gap as well
    ("safe"); the last may be short. Frames that are not finite are NaN and take no part in a fit.
    """
    return _chunkwise(predicted, true, valid, gaps, chunk, fitted=2)


def wa_mpjpe(
    predicted: Float[Array, "*b T J 3"],
    true: Float[Array, "*b T J 3"],
    *,
    valid: Bool[Array, "*b T"] | None = None,
    gaps: Gaps = "safe",
    chunk: int = CHUNK,
) -> FrameValues:
    """Mean per-joint error in mm, each chunk aligned as a whole; otherwise as `w_mpjpe`."""
    return _chunkwise(predicted, true, valid, gaps, chunk, fitted=chunk)


def rte(
    predicted_root: Float[Array, "*b T 3"],
    true_root: Float[Array, "*b T 3"],
    *,
    valid: Bool[Array, "*b T"] | None = None,
    gaps: Gaps = "safe",
) -> FrameValues:
    """Root trajectory error in percent of the length of the true path; one value per frame.

    The predicted path is laid on the true one by one rigid motion (no scale). The length of the
    path has the jumps over gaps in it ("crossing", as published) or not ("safe"). A path of length
    zero makes every error infinite, and a true root that is NaN makes them all NaN.
    """
    lead = check_shapes("3", predicted_root=predicted_root, true_root=true_root)
    mask = check_mask(valid, lead, predicted_root)
    predicted, true = doubles(predicted_root), doubles(true_root)
    fit = align_trajectory(
        predicted[..., None, :], true[..., None, :], valid=mask, with_scale=False
    )
    error = lengths(fit(predicted) - true)
    runs = find_runs(mask, 1, gaps)
    steps = lengths(torch.diff(runs.neighbours(true), dim=-2))
    path = steps.where(runs.counted, 0.0).sum(-1, keepdim=True)
    infinite = (path == 0) & ~error.isnan()
    return find_runs(mask, 0).values(torch.where(infinite, torch.inf, 100 * error / path))


def erve(
    predicted_root: Float[Array, "*b T 3"],
    true_root: Float[Array, "*b T 3"],
    predicted_orientation: Float[Array, "*b T 3 3"],
    true_orientation: Float[Array, "*b T 3 3"],
    *,
    valid: Bool[Array, "*b T"] | None = None,
    gaps: Gaps = "safe",
) -> FrameValues:
    """Egocentric root velocity error in mm/frame; N = T - 1.

    Each step of the root as the body sees it: the predicted step, turned by the rotation between
    the two root orientations of its first frame, less the true step (Wang et al., ECCV 2024,
    "TRAM").
    """
    lead = check_shapes("3", predicted_root=predicted_root, true_root=true_root)
    orientations = predicted_orientation, true_orientation
    check_shapes(
        "3 3", lead, predicted_orientation=orientations[0], true_orientation=orientations[1]
    )
    runs = find_runs(check_mask(valid, lead, predicted_root), 1, gaps)
    turn = doubles(true_orientation) @ doubles(predicted_orientation).mT
    predicted, true = (
        torch.diff(runs.neighbours(doubles(root)), dim=-2) for root in (predicted_root, true_root)
    )
    turn = runs.neighbours(turn)[..., : predicted.shape[-2], :, :]
    error = (turn @ predicted[..., None]).squeeze(-1) - true
    return runs.values(MILLIMETRES * lengths(error))


def _chunkwise(
    predicted: Float[Array, "*b T J 3"],
    true: Float[Array, "*b T J 3"],
    valid: Bool[Array, "*b T"] | None,
    gaps: Gaps,
    chunk: int,
    fitted: int,
) -> FrameValues:
    """Error after each chunk's similarity, fitted on its first frames."""
    lead = check_shapes("joints 3", predicted=predicted, true=true)
    mask = check_mask(valid, lead, predicted)
    place = frames_before(mask, gaps) % chunk
    # Every clip begins with a chunk of its own, so that all clips can be numbered through.
    group = ((place == 0) & mask).flatten().cumsum(0).sub(1).clamp(min=0)
    chunks = int(group[-1]) + 1 if len(group) else 1
    source, target = (doubles(points).flatten(0, len(lead) - 1) for points in (predicted, true))
    used = (mask & (place < fitted)).flatten()
    fit = align_groups(source, target, group, used, chunks)[group]
    error = mean_length(fit(source) - target)
    return find_runs(mask, 0).values(error.reshape(lead))
