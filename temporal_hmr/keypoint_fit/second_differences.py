"""Second differences over uneven times, and the banded matrix of their squares."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

FRAME_SECONDS = 1 / 30
"""The unit of time in which changes are smooth."""


@dataclass(frozen=True, eq=False)
class Roughness:
    """The quadratic form x -> sum_t weight_t |second difference of x at t|^2."""

    bands: Float[ndarray, "3 T"]
    """Of its matrix: the diagonal, and what lies one and two below it."""

    @staticmethod
    def of(times: Float[ndarray, "T"], weight: Float[ndarray, "T"]) -> "Roughness":
        """Divided differences per (1/30 s)^2; times (s) that stand still count as a thirtieth.

        Each is weighed by what its middle frame weighs.
        """
        bands = np.zeros((3, len(times)))
        if len(times) > 2:
            row = _differences(times)
            inner = weight[1:-1]
            for i in range(3):
                for j in range(i, 3):
                    bands[j - i, i : i + len(inner)] += inner * row[i] * row[j]
        return Roughness(bands)

    def times(self, values: Float[ndarray, "T C"]) -> Float[ndarray, "T C"]:
        """The matrix times some columns: half the gradient of the form."""
        diagonal, below, far_below = self.bands[..., None]
        product = diagonal * values
        for offset, band in ((1, below), (2, far_below)):
            product[offset:] += band[:-offset] * values[:-offset]
            product[:-offset] += band[:-offset] * values[offset:]
        return product


def _differences(times: Float[ndarray, "T"]) -> Float[ndarray, "3 T-2"]:
    """What the second difference takes of the frame before, of the frame itself and of the next."""
    gap = np.diff(times) / FRAME_SECONDS
    gap = np.where(gap > 0, gap, 1.0)
    across = (gap[:-1] + gap[1:]) / 2
    before, after = 1 / (gap[:-1] * across), 1 / (gap[1:] * across)
    return np.stack([before, -(before + after), after])
