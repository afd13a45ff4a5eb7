"""Where a person's box is going: a Kalman filter of constant velocity, in units of its own size."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.people.deferred import deferred_functions

# For likelihoods, which nobody here asks for: they take SciPy's statistics, which take half a
# second to import.
with deferred_functions("filterpy.stats"):
    from filterpy.kalman import KalmanFilter

_POSITION_NOISE = 0.06
"""Standard deviation of a detected box's centre, over the person's size."""
_SIZE_NOISE = 0.3
"""Standard deviation of the logarithm of a detected box's width and height."""
_ACCELERATION = 1.0
"""People change their velocity by about this many of their sizes per second, every second."""
_SIZE_DRIFT = 0.4
"""The same for the logarithm of width and height."""
_FIRST_SPEED = 1.0
"""Standard deviation of the velocity of somebody just seen, sizes per second."""


class MotionFilter:
    """State: centre x, y (px), log width, log height, and the rates of the four per second."""

    def __init__(self, box: Float[ndarray, "4"]) -> None:
        self._size = _size(box)
        self._filter = KalmanFilter(dim_x=8, dim_z=4)
        self._filter.x = np.concatenate([_measured(box), np.zeros(4)])[:, None]
        self._filter.H = np.eye(4, 8)
        rate = np.array([_FIRST_SPEED * self._size] * 2 + [_SIZE_DRIFT] * 2) ** 2
        self._filter.P = np.diag(np.concatenate([self._noise(), rate]))

    def predict(self, seconds: float) -> None:
        """Move on by so much time."""
        self._filter.F = np.eye(8) + seconds * np.eye(8, k=4)
        change = np.array([_ACCELERATION * self._size] * 2 + [_SIZE_DRIFT] * 2) ** 2
        # White noise of the acceleration with density `change`, integrated over the interval.
        self._filter.Q = np.block(
            [
                [np.diag(change * seconds**3 / 3), np.diag(change * seconds**2 / 2)],
                [np.diag(change * seconds**2 / 2), np.diag(change * seconds)],
            ]
        )
        self._filter.predict()

    def correct(self, box: Float[ndarray, "4"]) -> None:
        """Take in a detected box (xyxy)."""
        self._size = _size(box)
        self._filter.update(_measured(box)[:, None], R=np.diag(self._noise()))

    def box(self) -> Float[ndarray, "4"]:
        """The box (xyxy) expected now."""
        center, log_extent = self._filter.x[:2, 0], self._filter.x[2:4, 0]
        half = np.exp(log_extent) / 2
        return np.concatenate([center - half, center + half])

    def surprise(self, box: Float[ndarray, "4"]) -> float:
        """Squared Mahalanobis distance (4 degrees of freedom) of a box from the expected one."""
        difference = _measured(box) - self._filter.x[:4, 0]
        covariance = self._filter.P[:4, :4] + np.diag(self._noise())
        return float(difference @ np.linalg.solve(covariance, difference))

    def _noise(self) -> Float[ndarray, "4"]:
        return np.array([_POSITION_NOISE * self._size] * 2 + [_SIZE_NOISE] * 2) ** 2


def _measured(box: Float[ndarray, "4"]) -> Float[ndarray, "4"]:
    extent = np.maximum(box[2:] - box[:2], 1.0)
    return np.concatenate([(box[:2] + box[2:]) / 2, np.log(extent)])


def _size(box: Float[ndarray, "4"]) -> float:
    """The longer side, px: a standing person's height."""
    return float(np.maximum(box[2:] - box[:2], 1.0).max())
