"""Plain filters of motion: what a clip can be smoothed with when nothing is known of bodies."""

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError
from temporal_hmr.rotation import nearest_rotation


def one_euro(
    values: Float[ndarray, "T C"],
    times: Float[ndarray, "T"],
    min_cutoff: float = 1.0,
    beta: float = 0.0,
    derivative_cutoff: float = 1.0,
) -> Float[ndarray, "T C"]:
    """The one-euro filter (Casiez et al., CHI 2012), each channel by itself; `times` in seconds.

    It looks back only: a low-pass filter whose cut-off (Hz) rises by `beta` with the speed of the
    signal (units per second), so that fast motion lags less. Raises `InputError` for times that do
    not increase.
    """
    steps = np.diff(times)
    if (steps <= 0).any():
        raise InputError("times must increase from frame to frame")
    smooth = np.array(values, np.float64)
    slope = np.zeros(values.shape[1])
    for frame, step in enumerate(steps, 1):
        raw = (values[frame] - smooth[frame - 1]) / step
        slope += _share(derivative_cutoff, step) * (raw - slope)
        share = _share(min_cutoff + beta * np.abs(slope), step)
        smooth[frame] = smooth[frame - 1] + share * (values[frame] - smooth[frame - 1])
    return smooth


def _share(cutoff: float | ndarray, step: float) -> float | ndarray:
    """How much a first-order low-pass filter takes of a new value after `step` seconds."""
    rate = 2 * np.pi * cutoff * step
    return rate / (1 + rate)


def one_euro_smpl(
    smpl: SmplParams,
    times: Float[ndarray, "T"],
    min_cutoff: float = 1.0,
    beta: float = 0.5,
) -> SmplParams:
    """A motion through `one_euro`; rotations number by number, then made rotations again.

    `min_cutoff` in Hz; `beta` per unit of a rotation matrix, or per metre, and second. Raises
    `InputError` as `one_euro` does.
    """
    return _filtered(smpl, lambda values: one_euro(values, times, min_cutoff, beta))


def savitzky_golay_smpl(smpl: SmplParams, window: int = 11, order: int = 2) -> SmplParams:
    """A motion through a Savitzky-Golay filter: polynomials of an order, fitted to `window` frames.

    Shorter motions are fitted over the largest odd window that they have; those of no more frames
    than the order stay as they are.
    """
    longest = len(smpl.transl) - 1 + len(smpl.transl) % 2
    window = min(window, longest)
    if window <= order:
        return smpl
    from scipy.signal import savgol_filter  # which takes its time to import

    return _filtered(smpl, lambda values: np.asarray(savgol_filter(values, window, order, axis=0)))


def _filtered(
    smpl: SmplParams, change: Callable[[Float[ndarray, "T C"]], Float[ndarray, "T C"]]
) -> SmplParams:
    """Rotation matrices filtered number by number and made rotations again.

    A linear filter gives the same whatever frame the motion is stated in; one-euro nearly so, as
    its cut-off follows each number's own speed.
    """
    rotations = smpl.rotations()
    together = torch.cat([rotations.flatten(1), smpl.transl], 1)
    changed = torch.from_numpy(change(together.double().numpy())).to(together)
    matrices, transl = changed[:, :-3].reshape(rotations.shape), changed[:, -3:]
    return SmplParams.from_rotations(nearest_rotation(matrices), smpl.betas, transl)
