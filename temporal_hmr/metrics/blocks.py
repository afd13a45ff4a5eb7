"""Metrics of single frames, computed on a block of frames after another.

Blocks fit the processor's cache, which makes a metric about as fast as its arrays can be read, and
bound its memory: single-precision vertices of a long video are never all held in double.
"""

import math
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from temporal_hmr.metrics.inputs import Array, check_mask, shared
from temporal_hmr.metrics.runs import find_runs
from temporal_hmr.metrics.values import FrameValues

_BLOCK_NUMBERS = 3 << 17
"""Numbers of one array in a block: 3 MB, which is 19 frames of SMPL's vertices."""


def per_frame(
    measure: Callable[..., Float[Tensor, "n"]],
    arrays: Sequence[Float[Array, "..."]],
    lead: tuple[int, ...],
    valid: Bool[Array, "*b T"] | None,
) -> FrameValues:
    """`measure` of all frames; `lead` are the axes `*b T` that the arrays share.

    `measure` takes a block of each array as a tensor of the array's own type, with one axis of
    frames in front, and gives float64.
    """
    runs = find_runs(check_mask(valid, lead, arrays[0]), 0)
    total = math.prod(lead)
    flat = [array.reshape(total, *array.shape[len(lead) :]) for array in arrays]
    step = frames_in_block(*flat[0].shape[1:])
    # At least one block: an empty clip still has a type and a device.
    starts = range(0, max(total, 1), step)
    parts = [measure(*(shared(array[start : start + step]) for array in flat)) for start in starts]
    return runs.values(torch.cat(parts).reshape(lead))


def frames_in_block(*axes: int) -> int:
    """How many frames of an array with such axes `per_frame` hands over at once, at most."""
    return max(_BLOCK_NUMBERS // max(math.prod(axes), 1), 1)
