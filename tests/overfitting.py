"""Whether something can learn a few samples by heart."""

from collections.abc import Callable

import torch
from torch import Tensor


def share_left(
    loss: Callable[[], Tensor], optimizer: torch.optim.Optimizer, steps: int, enough: float = 0.1
) -> float:
    """The least loss of a training, as a share of the first one.

    It is over as soon as that is below `enough`, and at the latest after so many steps.
    """
    first = share = None
    for _ in range(steps):
        found = loss()
        first = first or float(found.detach())
        share = min(share or 1.0, float(found.detach()) / first)
        if share < enough:
            break
        optimizer.zero_grad()
        found.backward()
        optimizer.step()
    assert share is not None
    return share
