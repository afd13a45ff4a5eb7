"""Occlusion sensitivity: which joint's error grows where a grey patch hides part of the crop.

After Zeiler and Fergus (ECCV 2014), for bodies Kocabas et al. (PARE, ICCV 2021, figure 2) and
PostoMETRO (WACV 2025): a patch of 40 of the crop's 224 pixels slides over it, and every frame is
recovered anew at each of its positions.

The patch hides what it covers from the detector too: keypoints under it lose their score. What a
model looks at decides which of the two matters: one of images sees only the pixels change, one of
keypoints only the scores. The box stays where it was.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from temporal_hmr import metrics
from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.command_line import Stage
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.clips import ClipTrial
from temporal_hmr.models.hmr import PosedBody, project_to_box
from temporal_hmr.models.image_input import IMAGENET_MEAN
from temporal_hmr.training.sources import Labelled
from temporal_hmr.training.tasks import CLIPS_AT_ONCE

PATCH_SHARE = 40 / 224
"""Of the crop's side, as in both papers."""
GREY = tuple(round(255 * value) for value in IMAGENET_MEAN)
"""What networks read as zero."""
CELLS = 32
"""Along a side of the crop, of the maps that say where the body is."""

Recover = Callable[[CropWindow], Float[Tensor, "B T 24 3"]]
"""SMPL's joints (metres) that a model sees in a window."""


@dataclass(frozen=True)
class PatchGrid:
    """Where the patch goes: evenly over the crop from edge to edge. Pixels of the crop."""

    side: int
    patch: int
    starts: tuple[int, ...]
    """First column, and first row, of the patch."""

    @staticmethod
    def over(side: int, patch_share: float = PATCH_SHARE, stride: int | None = None) -> "PatchGrid":
        """A stride (default: half the patch) is what positions lie apart at most.

        Raises `InputError` for a patch that is no part of the crop, or no stride.
        """
        patch = round(patch_share * side)
        stride = max(patch // 2, 1) if stride is None else stride
        if not 1 <= patch <= side or stride < 1:
            raise InputError(
                f"a patch of {patch} pixels cannot slide over {side} by {stride}: its share must "
                "lie between 0 and 1, and the stride be 1 or more"
            )
        count = -(-(side - patch) // stride) + 1
        starts = np.linspace(0, side - patch, count).round().astype(int)
        return PatchGrid(side, patch, tuple(starts.tolist()))


@dataclass(frozen=True, eq=False)
class OcclusionMaps:
    """Mean errors of SMPL's joints over all frames, relative to the pelvis, unaligned, mm."""

    grid: PatchGrid
    errors: Float[ndarray, "rows columns 24"]
    """With the patch at `grid.starts[row]` from above, `grid.starts[column]` from the left."""
    baseline: Float[ndarray, "24"]
    """Without a patch."""
    frames: int
    body: Float[ndarray, "cells cells"]
    """Share of the frames in which the body covers each part of the crop."""
    joints: Float[ndarray, "24 cells cells"]
    """Share of the frames in which a joint lies in each part of the crop."""

    def increase(self) -> Float[ndarray, "rows columns 24"]:
        """What hiding costs; negative where it helps."""
        return self.errors - self.baseline


def covered(window: CropWindow, left: int, top: int, grid: PatchGrid) -> CropWindow:
    """The window with the patch over it, the same in every frame; the given one stays as it is."""
    pixels = (window.keypoints + 1) / 2 * grid.side
    corner = torch.tensor([left, top], device=pixels.device)
    under = ((pixels >= corner) & (pixels < corner + grid.patch)).all(-1)
    images = window.images
    if images is not None:
        images = images.clone()
        grey = torch.tensor(GREY, dtype=images.dtype, device=images.device)
        images[..., top : top + grid.patch, left : left + grid.patch] = grey[:, None, None]
    return replace(window, scores=window.scores.masked_fill(under, 0.0), images=images)


def maps_of_clips(trial: ClipTrial) -> OcclusionMaps:
    """Of a model on rendered clips, with its temporal module if it has one."""
    temporal = next(iter(trial.kinds().values()))
    looks = trial.model.config.image_side() is not None
    batches = (
        (window if looks else replace(window, images=None), target)
        for window, target in trial.batches()
    )
    grid = PatchGrid.over(trial.clips.description.rendering.side)
    runs = -(-len(trial.chosen) // CLIPS_AT_ONCE) * (len(grid.starts) ** 2 + 1)
    return occlusion_maps(
        lambda window: trial.answers(window, temporal)[1],
        batches,
        grid,
        PosedBody(load_body()),
        (Stage("occlusion"), runs),
    )


def occlusion_maps(
    recover: Recover,
    batches: Iterable[Labelled],
    grid: PatchGrid,
    body: PosedBody,
    progress: tuple[Stage, int],
) -> OcclusionMaps:
    """Evaluate every batch at every position of the patch; one batch is in memory at a time.

    `progress` counts these evaluations up to their expected number. Raises `InputError` if no frame
    counts, or a prediction is not a number.
    """
    stage, total = progress
    rows = len(grid.starts)
    errors, baseline = torch.zeros(rows, rows, 24).double(), torch.zeros(24).double()
    bodies, joints = torch.zeros(CELLS, CELLS), torch.zeros(24, CELLS, CELLS)
    frames = 0
    for (window, target), place in stage.track(_runs(batches, grid), total, unit="evaluation"):
        if place is None:
            seen, into = window, baseline
            frames += int(window.valid.sum())
            where = _whereabouts(window, target, body)
            bodies += where[0]
            joints += where[1]
        else:
            row, column = place
            into = errors[row, column]
            seen = covered(window, grid.starts[column], grid.starts[row], grid)
        into += _summed_errors(recover(seen), target.joints, window.valid)
    if frames == 0:
        raise InputError("no frame of these clips counts: there is nothing to hide")
    if not (errors.isfinite().all() and baseline.isfinite().all()):
        raise InputError("predictions are not numbers: there is no map of their errors")
    shares = (tensor.numpy() / frames for tensor in (errors, baseline, bodies, joints))
    mapped, alone, body_share, joint_share = shares
    return OcclusionMaps(grid, mapped, alone, frames, body_share, joint_share)


def _runs(
    batches: Iterable[Labelled], grid: PatchGrid
) -> Iterator[tuple[Labelled, tuple[int, int] | None]]:
    """Every batch without a patch (None), then with it at each row and column."""
    for labelled in batches:
        yield labelled, None
        rows = columns = range(len(grid.starts))
        for row, column in product(rows, columns):
            yield labelled, (row, column)


def _summed_errors(
    predicted: Float[Tensor, "B T 24 3"],
    true: Float[Tensor, "B T 24 3"],
    valid: Bool[Tensor, "B T"],
) -> Float[Tensor, "24"]:
    """Millimetres, summed over the frames that count."""
    apart = metrics.relative_to(predicted.double() - true, metrics.PELVIS)
    return 1000 * torch.linalg.vector_norm(apart, dim=-1)[valid].sum(0)


def _whereabouts(
    window: CropWindow, target: BodyTarget, body: PosedBody
) -> tuple[Float[Tensor, "cells cells"], Float[Tensor, "24 cells cells"]]:
    """In how many frames the body covers each part of the crop, and each joint lies there."""
    vertices = _cells(project_to_box(body.body.vertices(target.smpl), window))[window.valid]
    covers = torch.zeros(len(vertices), CELLS**2 + 1).scatter_(1, vertices, 1.0).sum(0)
    joints = _cells(project_to_box(target.joints, window))[window.valid].mT
    lies = torch.zeros(24, CELLS**2 + 1).scatter_add_(1, joints, torch.ones(joints.shape))
    return covers[:-1].unflatten(0, (CELLS, CELLS)), lies[:, :-1].unflatten(1, (CELLS, CELLS))


def _cells(places: Float[Tensor, "*b 2"]) -> Int[Tensor, "*b"]:
    """Number of the cell that each point lies in, row by row; the last is all that is outside."""
    cell = ((places + 1) / 2 * CELLS).floor().clamp(-1, CELLS).long()
    outside = ((cell < 0) | (cell == CELLS)).any(-1)
    return (cell[..., 1] * CELLS + cell[..., 0]).masked_fill(outside, CELLS**2)
