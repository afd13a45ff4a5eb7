"""What of an image can ever be looked at of a person, for who stores no more than that."""

import logging
import math
from collections.abc import Sequence as Many

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.crops import BOX_MARGIN, SMOOTHING_SECONDS, extents
from temporal_hmr.data.augmentation import CropAugmentation
from temporal_hmr.data.clip_labels import Intrinsics
from temporal_hmr.data.sequence import Sequence, ShardFrames
from temporal_hmr.data.sequence_parts import NEAREST
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody

_log = logging.getLogger(__name__)
_NEIGHBOURS = 2 * SMOOTHING_SECONDS
"""Seconds to frames that a smooth box leans on noticeably."""


def cutouts(
    sequence: Sequence, body: PosedBody, margin: float
) -> tuple[Int[ndarray, "T 4"], Float[ndarray, "T"]]:
    """What to cut out of each frame, and the side (pixels) that it has where no image ends.

    x_min, y_min, x_max, y_max in whole pixels of the image: a square `margin` times as large as
    the box of whatever is labelled of the person in the frame and shortly before and after it. The
    whole image where nothing is.
    """
    width, height = sequence.image_size
    boxes = _over_time(_boxes(sequence, body), sequence.times)
    nothing = np.isnan(boxes).any(1)
    boxes[nothing] = [0, 0, width, height]
    middle = (boxes[:, :2] + boxes[:, 2:]) / 2
    side = margin * (boxes[:, 2:] - boxes[:, :2]).max(1)
    size = np.array([width, height])
    low = np.clip(np.floor(middle - side[:, None] / 2), 0, size - 1)
    high = np.clip(np.ceil(middle + side[:, None] / 2), low + 1, size)
    return np.concatenate([low, high], 1).astype(np.int64), side


def margin_needed(augmentation: CropAugmentation) -> float:
    """Sides of what crops of training reach of the image, over those of the person's box."""
    scale, shift = 1.0, 0.0
    if augmentation.varied_share > 0:
        scale, shift = max(augmentation.scale), augmentation.shift
    widest = math.pi / 4
    angle = min(2 * augmentation.rotation, widest) if augmentation.rotated_share > 0 else 0.0
    return (scale + 2 * shift) * (math.cos(angle) + math.sin(angle))


def require_room(
    sequences: Many[Sequence], augmentation: CropAugmentation, side: int | None, name: str
) -> None:
    """Raise `InputError` if crops of training reach farther than what shards hold of images.

    Crops that are sharper than that are a warning: `side` is theirs in pixels.
    """
    stored = [each.images for each in sequences if isinstance(each.images, ShardFrames)]
    cut = [(each.margin, each.box_side) for each in stored if each.margin and each.box_side]
    if side is None or not cut:
        return
    margin, box_side = min(margin for margin, _ in cut), min(side for _, side in cut)
    if margin < (needed := margin_needed(augmentation)):
        raise InputError(
            f"{name}: shards hold {margin:g} times the box of a person, crops of training reach "
            f"{needed:.3g} times: make them with --margin {math.ceil(10 * needed) / 10}, or let "
            "datasets.augmentation vary scale, shift and rotation less"
        )
    if box_side < side:
        _log.warning(
            "%s: shards hold %.0f pixels across a person's box, the model looks at %d: sharper "
            "ones are made with --side %d",
            *(name, box_side, side, math.ceil(margin * side)),
        )


def _boxes(sequence: Sequence, body: PosedBody) -> Float[ndarray, "T 4"]:
    """The smallest rectangle of labelled and cut boxes in each frame; NaN where there is none."""
    points = extents(_points(sequence, body))
    low, high = points[:, :2], points[:, 2:]
    half = BOX_MARGIN / 2 * (high - low).max(1, keepdims=True)
    around = np.concatenate([(low + high) / 2 - half, (low + high) / 2 + half], 1)
    both = np.stack([around, np.asarray(sequence.boxes, float)])
    return _union(both)


def _points(sequence: Sequence, body: PosedBody) -> Float[ndarray, "T J 3"]:
    """Everything whose place in the image is known, with 1 or 0 for whether it is, in pixels."""
    found = [np.asarray(sequence.keypoints, float)]
    if sequence.focal is None:
        return found[0]
    camera = Intrinsics.of(sequence, np.arange(len(sequence)))
    spaces = [(torch.from_numpy(sequence.joints), sequence.has_joints)]
    if sequence.smpl is not None and sequence.has_smpl is not None:
        smpl = sequence.smpl.map(lambda tensor: tensor.float())
        points = body.body.regress(smpl, body.detector_points)
        spaces.append((points, np.repeat(sequence.has_smpl[:, None], points.shape[1], 1)))
    for points, known in spaces:
        before = points[..., 2:].numpy() > NEAREST
        pixels = camera.project(points).double().numpy()
        found.append(np.concatenate([pixels, known[..., None] & before], -1))
    return np.concatenate(found, 1)


def _union(boxes: Float[ndarray, "N T 4"]) -> Float[ndarray, "T 4"]:
    """The smallest rectangle of several; NaN where all are."""
    known = np.isfinite(boxes).all(-1, keepdims=True)
    low = np.where(known, boxes[..., :2], np.inf).min(0)
    high = np.where(known, boxes[..., 2:], -np.inf).max(0)
    return np.where(known.any(0), np.concatenate([low, high], -1), np.nan)


def _over_time(boxes: Float[ndarray, "T 4"], times: Float[ndarray, "T"]) -> Float[ndarray, "T 4"]:
    """The smallest rectangle of a frame's box and those of its neighbours in time.

    Where neither has any: of the nearest before and after that have one.
    """
    known = np.flatnonzero(np.isfinite(boxes).all(1))
    if not len(known):
        return np.full_like(boxes, np.nan)
    first = np.searchsorted(times[known], times - _NEIGHBOURS)
    stop = np.searchsorted(times[known], times + _NEIGHBOURS, side="right")
    found = []
    for low, high in zip(first.tolist(), stop.tolist(), strict=True):
        near = slice(low, high) if low < high else slice(max(low - 1, 0), low + 1)
        found.append(_union(boxes[known[near], None])[0])
    return np.array(found)
