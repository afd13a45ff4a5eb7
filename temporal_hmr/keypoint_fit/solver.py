"""Linear least squares for whole clips: what was seen, what is likely, what is smooth.

Moving frames know of each other only through what is smooth, one and two frames on, unknown by
unknown: the matrix is a band about its diagonal, whose Cholesky factor costs the same for every
frame (Golub and Van Loan, "Matrix computations", 4.3). Frames that know nothing of each other but
share some unknowns are solved one by one, each as large as what was seen in it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import cho_solve_banded, cholesky_banded
from torch import Tensor

from temporal_hmr.keypoint_fit.second_differences import Roughness


@dataclass(frozen=True, eq=False)
class Smooth:
    """That something moves smoothly: unknowns and what they are counted from, together."""

    roughness: Roughness
    stiffness: Float[ndarray, "n"]
    """How much the roughness of each unknown counts."""
    path: Float[ndarray, "T n"]
    """What the unknowns are counted from."""


class ClipProblem:
    """Minimises |r + J (x - x0)|^2 + sum prior x^2 + sum of roughnesses of (x + path), over x.

    Its memory serves one step after another: before each, every frame is seen once. Where downhill
    is, is found in float64 always, so that steps end where they should.
    """

    def __init__(
        self,
        prior: Float[ndarray, "T"],
        smooth: tuple[Smooth, ...],
        unknowns: int,
        dtype: torch.dtype = torch.float64,
    ):
        """`prior` is the same for all unknowns of a frame; there are so many `unknowns` in each.

        The matrix is one of `dtype`: how far to go needs fewer digits.
        """
        self._prior, self._smooth = prior, smooth
        frames = len(prior)
        self._back = torch.empty(frames, unknowns, dtype=torch.float64)
        # Of each unknown what lies on the diagonal, and below it one after the other.
        self._band = torch.zeros(frames, unknowns, 2 * unknowns + 1, dtype=dtype)

    def see(
        self, part: slice, residuals: Float[Tensor, "t m"], jacobian: Float[Tensor, "t m n"]
    ) -> None:
        """Weighted residuals at x0 of some frames, and how they change with the unknowns."""
        self._back[part] = (jacobian.mT @ residuals[..., None]).squeeze(-1)
        frames, unknowns, _ = self._band[part].shape
        # Entries of a row come one after the other, each row beginning one further on.
        below = self._band[part].as_strided(
            (frames, unknowns, unknowns),
            (unknowns * (2 * unknowns + 1), 2 * unknowns, 1),
        )
        below.copy_((jacobian.mT @ jacobian).triu())

    def step(self, start: Float[ndarray, "T n"]) -> Float[ndarray, "T n"]:
        """From x0, which `start` is, to the minimum.

        Raises `numpy.linalg.LinAlgError` where the matrix needs more digits than it has.
        """
        back = self._back.numpy() + self._prior[:, None] * start
        unknowns, band = start.shape[1], self._band.numpy()
        band[..., 0] += self._prior[:, None]
        for each in self._smooth:
            back += each.stiffness * each.roughness.times(start + each.path)
            for offset, along in enumerate(each.roughness.bands):
                band[..., offset * unknowns] += along[:, None] * each.stiffness
        columns = band.reshape(-1, 2 * unknowns + 1).T
        root = cholesky_banded(columns, lower=True, overwrite_ab=True, check_finite=False)
        downhill = -back.reshape(-1).astype(root.dtype)
        solved = cho_solve_banded((root, True), downhill, overwrite_b=True, check_finite=False)
        self._band.zero_()
        return solved.reshape(start.shape)


@dataclass(frozen=True, eq=False)
class Unknowns:
    """A number for each unknown of each frame, and for each that all frames share."""

    of_frames: Float[Tensor, "T n"]
    shared: Float[Tensor, "s"]


@dataclass(frozen=True, eq=False)
class SharingProblem:
    """Minimises |r + J (x - x0) + S (y - y0)|^2 + sum prior x^2 + shared prior y^2, over both."""

    jacobian: Float[Tensor, "T m n"]
    """Of the weighted residuals by the unknowns of their frame, x."""
    shared_jacobian: Float[Tensor, "T m s"]
    """By the unknowns that all frames share, y."""
    prior: Float[Tensor, "T"]
    """The same for all unknowns of a frame; more than 0."""
    shared_prior: float

    def step(self, residuals: Float[Tensor, "T m"], start: Unknowns) -> Unknowns:
        """From x0 and y0, which `start` is, to the minimum; `residuals` are those there.

        Whatever y is, the best x of a frame is -J' K r(y), where K = (J J' + prior)^-1 and r(y) is
        what x = 0 would leave; that leaves r(y)' K r(y) times the prior (Bishop, "Pattern
        recognition and machine learning", 6.1). There are fewer residuals than unknowns.
        """
        own, sharing = self.jacobian, self.shared_jacobian
        left = residuals[..., None] - own @ start.of_frames[..., None]
        kernel = own @ own.mT
        kernel.diagonal(dim1=-2, dim2=-1).add_(self.prior[:, None])
        columns = torch.cat([left, sharing], -1)
        solved = torch.cholesky_solve(columns, torch.linalg.cholesky(kernel))
        normal = torch.einsum("t,tma,tmb->ab", self.prior, sharing, solved).double()
        matrix = normal[:, 1:] + self.shared_prior * torch.eye(len(normal)).double()
        back = normal[:, 0] + self.shared_prior * start.shared.double()
        shared = torch.linalg.solve(matrix, -back).to(own)
        best = -own.mT @ (solved[..., :1] + solved[..., 1:] @ shared[:, None])
        return Unknowns(best.squeeze(-1) - start.of_frames, shared)
