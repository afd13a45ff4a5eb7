"""Batches: tensors inside (nested) dataclasses or tuples, the axis of clips first."""

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

Batch = TypeVar("Batch")


def mapped(values: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The same change to all tensors inside; everything else as it is."""
    if isinstance(values, Tensor):
        return change(values)  # type: ignore[return-value]
    if isinstance(values, tuple):
        return type(values)(mapped(value, change) for value in values)  # type: ignore[return-value]
    if is_dataclass(values):
        moved: dict[str, Any] = {
            field.name: mapped(getattr(values, field.name), change) for field in fields(values)
        }
        return type(values)(**moved)  # type: ignore[return-value]
    return values


def to_device(values: Batch, device: torch.device) -> Batch:
    """The same batch on another device."""
    return mapped(values, lambda tensor: tensor.to(device, non_blocking=True))


def split(values: Batch, parts: int) -> Iterator[Batch]:
    """The clips in equal parts, in order; their number must be a multiple of `parts`."""
    if parts == 1:
        yield values
        return
    for part in range(parts):
        yield mapped(values, lambda tensor, part=part: tensor.chunk(parts)[part])
