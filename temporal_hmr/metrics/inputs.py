"""What metrics take: numpy arrays or tensors of equal shapes, and a mask of frames."""

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.errors import InputError

Array = Tensor | ndarray


def shared(values: Float[Array, "..."]) -> Float[Tensor, "..."]:
    """The values as a tensor on the same memory, without gradients.

    Read-only and reversed numpy arrays, which a tensor cannot share, are copied.
    """
    if isinstance(values, Tensor):
        return values.detach()
    return torch.from_numpy(np.require(values, requirements=["C", "W"]))


def doubles(values: Float[Array, "..."]) -> Float[Tensor, "..."]:
    """The values in float64, without gradients; not copied if that is what they are."""
    return shared(values).double()


def check_shapes(
    trailing: str, lead: tuple[int, ...] | None = None, **arrays: Array
) -> tuple[int, ...]:
    """The leading axes `*b T` of arrays that must all have the same shape.

    `trailing` names the axes after them, a number being the size that an axis must have; `lead`
    says which leading axes they must be, if that is known.

    Raises `InputError` if a shape is another: nothing is broadcast, because a clip that stretches
    to another's length is a mistake more often than a wish.
    """
    axes = trailing.split()
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    first = next(iter(shapes.values()))
    found, sizes = first[: -len(axes)], first[-len(axes) :]
    right = len(found) > 0 and lead in {None, found}
    right &= all(
        int(axis) == size for axis, size in zip(axes, sizes, strict=False) if axis.isdigit()
    )
    if not right or any(shape != first for shape in shapes.values()):
        leading = ["...", "T"] if lead is None else [str(size) for size in lead]
        raise InputError(
            f"a metric was given {', '.join(f'{name} {shape}' for name, shape in shapes.items())}: "
            f"the shape must be ({', '.join([*leading, *axes])}), the same for all of them"
        )
    return found


def check_mask(
    valid: Bool[Array, "*b T"] | None, lead: tuple[int, ...], like: Array
) -> Bool[Tensor, "*b T"]:
    """The mask as a tensor beside `like`; all frames where there is none.

    Raises `InputError` if it is not boolean or not of the shape `lead`.
    """
    device = like.device if isinstance(like, Tensor) else None
    if valid is None:
        return torch.ones(lead, dtype=torch.bool, device=device)
    mask = valid if isinstance(valid, Tensor) else torch.from_numpy(np.array(valid))
    if mask.dtype != torch.bool or mask.shape != lead:
        raise InputError(
            f"valid has shape {tuple(mask.shape)} and type {mask.dtype}: give one boolean per "
            f"frame, shape {lead}"
        )
    return mask.to(device)
