"""One linear least-squares problem for a whole clip: what was seen, what is likely, what is smooth.

Frames know of each other only through what is smooth, one and two frames on, unknown by unknown.
The matrix is a band about its diagonal, whose Cholesky factor costs the same for every frame;
unknowns that all frames share are set apart (Golub and Van Loan, "Matrix computations", 4.3; the
Schur complement of bundle adjustment, Triggs et al., 1999, section 6).
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import Tensor

from temporal_hmr.keypoint_fit.second_differences import Roughness


@dataclass(frozen=True, eq=False)
class Unknowns:
    """A number for each unknown of each frame, and for each that all frames share."""

    of_frames: Float[ndarray, "T n"]
    shared: Float[ndarray, "s"]


@dataclass(frozen=True, eq=False)
class Smooth:
    """That something moves smoothly: unknowns and what they are counted from, together."""

    roughness: Roughness
    stiffness: Float[ndarray, "n"]
    """How much the roughness of each unknown counts."""
    path: Float[ndarray, "T n"]
    """What the unknowns are counted from."""


@dataclass(frozen=True, eq=False)
class ClipProblem:
    """Minimises |r + J (x - x0)|^2 + sum prior x^2 + sum of roughnesses of (x + path), over x."""

    jacobian: Float[Tensor, "T m n"]
    """Of the weighted residuals by the unknowns of their frame."""
    shared_jacobian: Float[Tensor, "T m s"]
    """By the unknowns that all frames share."""
    prior: Float[ndarray, "T"]
    """The same for all unknowns of a frame."""
    shared_prior: float
    smooth: tuple[Smooth, ...]

    def step(self, residuals: Float[Tensor, "T m"], start: Unknowns) -> Unknowns:
        """From x0 to the minimum; `residuals` are those at `start`, x0."""
        downhill = self._downhill(residuals, start)
        between = _numbers(self.jacobian.mT @ self.shared_jacobian).reshape(downhill[0].size, -1)
        root = cholesky_banded(self._band(), lower=True, overwrite_ab=True, check_finite=False)
        columns = np.column_stack([downhill[0].reshape(-1), between])
        solved = cho_solve_banded((root, True), columns, check_finite=False)
        alone, relieved = solved[:, 0], solved[:, 1:]
        among = _numbers(torch.einsum("tma,tmb->ab", self.shared_jacobian, self.shared_jacobian))
        among += self.shared_prior * np.eye(len(among))
        shared = np.linalg.solve(among - between.T @ relieved, downhill[1] - between.T @ alone)
        return Unknowns((alone - relieved @ shared).reshape(downhill[0].shape), shared)

    def _downhill(
        self, residuals: Float[Tensor, "T m"], start: Unknowns
    ) -> tuple[Float[ndarray, "T n"], Float[ndarray, "s"]]:
        """Half the gradient, the other way."""
        back = _numbers((self.jacobian.mT @ residuals[..., None]).squeeze(-1))
        back += self.prior[:, None] * start.of_frames
        for each in self.smooth:
            back += each.stiffness * each.roughness.times(start.of_frames + each.path)
        shared = _numbers(self.shared_jacobian.flatten(0, 1).mT @ residuals.flatten())
        return -back, -(shared + self.shared_prior * start.shared)

    def _band(self) -> Float[ndarray, "2n+1 T*n"]:
        """The matrix of what frames have of their own: its diagonal, and what lies below it."""
        frames, _, count = self.jacobian.shape
        blocks = _numbers(self.jacobian.mT @ self.jacobian)
        band = np.zeros((2 * count + 1, frames, count))
        for below in range(count):
            band[below, :, : count - below] = np.diagonal(blocks, -below, 1, 2)
        band[0] += self.prior[:, None]
        for each in self.smooth:
            for offset, along in enumerate(each.roughness.bands):
                band[offset * count] += along[:, None] * each.stiffness
        return band.reshape(2 * count + 1, -1)


def _numbers(values: Tensor) -> ndarray:
    return values.double().numpy()
