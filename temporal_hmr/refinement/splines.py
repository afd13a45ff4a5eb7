"""The likeliest smooth curve through noisy values, in seconds, with as much noise as they show.

A smoothing spline is the mean of a Gaussian process whose derivative of some order is white noise,
seen through white noise. What matters is the ratio of the two, and the values themselves tell it:
it is where their restricted likelihood is highest (Wahba, "A comparison of GCV and GML for choosing
the smoothing parameter", Annals of Statistics 1985). All matrices are banded: the work grows with
the number of frames.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy.linalg import cho_solve_banded, cholesky_banded

ORDER = 3
"""Of the derivative that is noise: people change their accelerations smoothly."""
TIME_UNIT = 1 / 30
"""Seconds; keeps matrices well scaled."""
_LOG_RATIOS = np.arange(-12.0, 13.0, 3.0)
"""Ratios tried (natural logarithms): from nothing taken off to what is slower than 1 Hz."""
_TINY = 1e-18
_REGULAR = 1e-9
"""The least of weights, which keeps the matrix regular where nothing is known."""


@dataclass(frozen=True, eq=False)
class Roughness:
    """The squared derivative of an order, integrated over time, as a banded matrix."""

    rows: Float[ndarray, "K M"]
    """Divided differences of neighbouring values, one row each, from the row's frame on."""

    @staticmethod
    def at(times: Float[ndarray, "T"], order: int = ORDER) -> "Roughness":
        """For values at increasing times in seconds; a curve of too few values has no rows."""
        count = len(times) - order
        if count <= 0:
            return Roughness(np.zeros((0, order + 1)))
        scaled = times / TIME_UNIT
        window = np.lib.stride_tricks.sliding_window_view(scaled, order + 1)
        gaps = window[:, :, None] - window[:, None, :] + np.eye(order + 1)
        rows = float(np.prod(np.arange(1, order + 1))) / gaps.prod(2)
        span = (window[:, -1] - window[:, 0]) / order
        return Roughness(rows * np.sqrt(span)[:, None])

    def weighted(self, by: Float[ndarray, "K"]) -> "Roughness":
        """The same with each row's square counting so much."""
        return Roughness(self.rows * np.sqrt(by)[:, None])

    def of(self, values: Float[ndarray, "T C"]) -> Float[ndarray, "K C"]:
        """The derivatives themselves, per row."""
        window = np.lib.stride_tricks.sliding_window_view(values, self.rows.shape[1], axis=0)
        return np.einsum("km,kcm->kc", self.rows, window[: len(self.rows)])

    def upper(self, frames: int) -> Float[ndarray, "M T"]:
        """Its Gram matrix in LAPACK's upper banded form."""
        width = self.rows.shape[1]
        banded = np.zeros((width, frames))
        count = len(self.rows)
        for first in range(width):
            for second in range(first, width):
                place = slice(second, second + count)
                banded[width - 1 - (second - first), place] += (
                    self.rows[:, first] * self.rows[:, second]
                )
        return banded


@dataclass(frozen=True, eq=False)
class Fit:
    """A smooth curve, and what was found on the way."""

    values: Float[ndarray, "T C"]
    noise: float
    """Standard deviation of what was taken off, per value of weight one."""
    ratio: float
    """Weight of the roughness."""
    likelihood: float
    """Twice the restricted log-likelihood at that ratio, up to a constant."""


def fit_spline(
    values: Float[ndarray, "T C"],
    weights: Float[ndarray, "T"],
    roughness: Roughness,
    ratio: float | None = None,
) -> Fit:
    """The smoothest curve near the values; the ratio is that of the highest likelihood if None.

    `weights` are inverse variances relative to the noise; a frame of weight 0 is filled in. With
    fewer known values than a curve needs nothing is changed.
    """
    known = int((weights > 0).sum())
    order = roughness.rows.shape[1] - 1
    if known <= order or not len(roughness.rows):
        return Fit(values, 0.0, 0.0, -np.inf)
    gram = roughness.upper(len(values))
    if ratio is None:
        ratio = _likeliest(values, weights, gram, order)
    return _at(values, weights, gram, order, ratio)


def _likeliest(
    values: Float[ndarray, "T C"],
    weights: Float[ndarray, "T"],
    gram: Float[ndarray, "M T"],
    order: int,
) -> float:
    found = [_at(values, weights, gram, order, np.exp(x)).likelihood for x in _LOG_RATIOS]
    best = int(np.argmax(found))
    if not 0 < best < len(_LOG_RATIOS) - 1:
        return float(np.exp(_LOG_RATIOS[best]))
    # The top of the parabola through the three highest.
    before, top, after = found[best - 1 : best + 2]
    curvature = before - 2 * top + after
    shift = 0.5 * (before - after) / curvature if curvature < 0 else 0.0
    return float(np.exp(_LOG_RATIOS[best] + shift * (_LOG_RATIOS[1] - _LOG_RATIOS[0])))


def _at(
    values: Float[ndarray, "T C"],
    weights: Float[ndarray, "T"],
    gram: Float[ndarray, "M T"],
    order: int,
    ratio: float,
) -> Fit:
    matrix = ratio * gram
    matrix[-1] += weights + _REGULAR * ratio
    factor = cholesky_banded(matrix, lower=False, check_finite=False)
    weighted = weights[:, None] * values
    smooth = cho_solve_banded((factor, False), weighted, check_finite=False)
    channels = values.shape[1]
    free = max(int((weights > 0).sum()) - order, 1)
    variance = max(float((weighted * (values - smooth)).sum()) / (free * channels), _TINY)
    determinant = 2 * np.log(factor[-1]).sum()
    likelihood = channels * (free * (np.log(ratio) - np.log(variance)) - determinant)
    return Fit(smooth, float(np.sqrt(variance)), ratio, float(likelihood))
