"""Rotations through time made steady: each joint's likeliest smooth path through what was measured.

The path so far is unrolled into three numbers a frame, by adding up its turns as the body feels
them; what was measured beside it goes along as it deviates; a smooth curve is put through that and
rolled up again (Jupp and Kent, "Fitting smooth paths to spherical data", Applied Statistics 1987).
So rotations are never averaged as vectors, and nothing depends on the frame of reference.

Errors have long tails (Student's t): measurements far off count for little. How freely a joint
moves is learned from how it moves around each moment, so that stillness is smoothed more than
sport.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.refinement.splines import Fit, Roughness, fit_spline
from temporal_hmr.rotation import (
    axis_angle_to_matrix,
    interpolate,
    matrix_to_axis_angle,
    nearest_rotation,
)

TAIL = 6.0
"""Degrees of freedom of Student's t."""
HOLE_TRUST = 0.1
"""How much the shortest way through a hole counts, where a measurement counts 1."""
_FIRST_REACH = 0.1
"""Seconds to either side over which the first path is averaged."""
_LIVELY_REACH = 0.25
"""Seconds to either side over which it is judged how freely a joint moves."""
_STEADY_SHARE = 0.2
"""Of the roughness that is allowed for whatever moment."""
_ROUNDS, _SEARCHES = 4, 2
"""Rounds of unrolling, and in how many of them the amount of noise is sought anew."""
_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class SteadyRotations:
    """Smooth paths of some joints."""

    rotations: Float[Tensor, "T J 3 3"]
    noise: Float[ndarray, "J"]
    """Radians about each axis: standard deviation of what was taken off."""
    shares: Float[ndarray, "J"]
    """How much of the model's motion is believed, 0 where there is none."""


def steady_rotations(
    measured: Float[Tensor, "T J 3 3"],
    believed: Bool[ndarray, "T J"],
    times: Float[ndarray, "T"],
    motion: Float[Tensor, "T J 3 3"] | None = None,
) -> SteadyRotations:
    """Smooth paths near what was measured, in float64; `times` in seconds, increasing.

    Frames that are not believed are filled in. With `motion`, a model's, a joint's path is smooth
    beside it instead: by as much of it as makes the measurements likeliest (none, half, or all).
    """
    measured = measured.double()
    plain = Roughness.at(times)
    if not len(plain.rows):
        still = np.zeros(measured.shape[1])
        return SteadyRotations(measured, still, still)
    first = first_path(measured, believed, times)
    # Left to itself, a curve that is smooth in acceleration swings far out in a long hole.
    measured = torch.where(torch.from_numpy(believed)[..., None, None], measured, first)
    paths, noise, shares = [], [], []
    for joint in range(measured.shape[1]):
        trust = np.where(believed[:, joint], 1.0, HOLE_TRUST)
        path = _Path(first[:, joint], measured[:, joint], trust, plain)
        path = path.settled(2, None)
        lively = _lively(plain.of(unrolled(path.rotations)), times)
        freed = plain.weighted(1 / (_STEADY_SHARE + (1 - _STEADY_SHARE) * lively))
        model = None if motion is None else motion[:, joint].double()
        path = _Path(path.rotations, measured[:, joint], trust, freed).settled(_ROUNDS, model)
        paths.append(path.rotations)
        noise.append(path.noise)
        shares.append(path.share)
    return SteadyRotations(torch.stack(paths, 1), np.array(noise), np.array(shares))


def unrolled(path: Float[Tensor, "T 3 3"]) -> Float[ndarray, "T 3"]:
    """The turns from frame to frame, as the body feels them, added up; radians."""
    turns = matrix_to_axis_angle(path[:-1].mT @ path[1:]).numpy()
    return np.concatenate([np.zeros((1, 3)), np.cumsum(turns, 0)])


def first_path(
    measured: Float[Tensor, "T J 3 3"], believed: Bool[ndarray, "T J"], times: Float[ndarray, "T"]
) -> Float[Tensor, "T J 3 3"]:
    """Means over a tenth of a second to either side; between neighbours where none is believed."""
    total = torch.zeros_like(measured)
    weights = np.zeros(believed.shape)
    usual = float(np.median(np.diff(times)))
    reach = min(round(_FIRST_REACH / usual) + 1, len(times) - 1)
    for lag in range(-reach, reach + 1):
        here = slice(max(0, -lag), len(times) - max(0, lag))
        there = slice(max(0, lag), len(times) - max(0, -lag))
        near = np.maximum(1 - np.abs(times[there] - times[here]) / _FIRST_REACH, 0)
        weight = near[:, None] * believed[there]
        weights[here] += weight
        total[here] += torch.from_numpy(weight)[..., None, None] * measured[there]
    known = weights > 0
    mean = torch.where(
        torch.from_numpy(known)[..., None, None], total, torch.eye(3, dtype=total.dtype)
    )
    mean = nearest_rotation(mean)
    joints = range(measured.shape[1])
    return torch.stack([_bridged(mean[:, each], known[:, each], times) for each in joints], 1)


def _bridged(
    path: Float[Tensor, "T 3 3"], known: Bool[ndarray, "T"], times: Float[ndarray, "T"]
) -> Float[Tensor, "T 3 3"]:
    """Unknown frames on the shortest turn between those known; as they are if none is."""
    places = np.flatnonzero(known)
    if len(places) in (0, len(path)):
        return path
    frames = np.arange(len(path))
    after = places[np.searchsorted(places, frames).clip(max=len(places) - 1)]
    before = places[(np.searchsorted(places, frames, side="right") - 1).clip(min=0)]
    span = np.where(after > before, times[after] - times[before], 1.0)
    fraction = torch.from_numpy(((times - times[before]) / span).clip(0, 1))
    return torch.where(
        torch.from_numpy(known)[:, None, None],
        path,
        interpolate(path[before], path[after], fraction),
    )


@dataclass(frozen=True, eq=False)
class _Path:
    """One joint's path so far, and what it is to come near."""

    rotations: Float[Tensor, "T 3 3"]
    measured: Float[Tensor, "T 3 3"]
    trust: Float[ndarray, "T"]
    """Of the measurements, 1 for those that are some."""
    roughness: Roughness
    noise: float = 0.0
    share: float = 0.0

    def settled(self, rounds: int, motion: Float[Tensor, "T 3 3"] | None) -> "_Path":
        """After so many rounds of unrolling, smoothing and rolling up."""
        path, weights = self.rotations, self.trust
        fit, share = None, 0.0
        for turn in range(rounds):
            away = matrix_to_axis_angle(path.mT @ self.measured).numpy()
            plain = unrolled(path)
            aside = np.zeros_like(plain) if motion is None else _felt(motion, path)
            if fit is None or turn < _SEARCHES:
                shares = (0.0,) if motion is None else (0.0, 0.5, 1.0)
                fit, share = self._likeliest(plain + away, weights, aside, shares)
            else:
                fit = fit_spline(plain + away - share * aside, weights, self.roughness, fit.ratio)
            step = fit.values + share * aside - plain
            path = path @ axis_angle_to_matrix(torch.from_numpy(step))
            missed = ((away - step) ** 2).sum(1) / max(fit.noise**2, _TINY)
            weights = self.trust * (TAIL + 3) / (TAIL + missed)
        noise = 0.0 if fit is None else fit.noise
        return _Path(path, self.measured, self.trust, self.roughness, noise, share)

    def _likeliest(
        self,
        values: Float[ndarray, "T 3"],
        weights: Float[ndarray, "T"],
        aside: Float[ndarray, "T 3"],
        shares: tuple[float, ...],
    ) -> tuple[Fit, float]:
        fits = [fit_spline(values - share * aside, weights, self.roughness) for share in shares]
        best = int(np.argmax([fit.likelihood for fit in fits]))
        return fits[best], shares[best]


def _felt(motion: Float[Tensor, "T 3 3"], path: Float[Tensor, "T 3 3"]) -> Float[ndarray, "T 3"]:
    """A model's turns, added up as a body that follows the path would feel them."""
    turns = matrix_to_axis_angle(motion[:-1].mT @ motion[1:])
    seen = path.mT @ motion
    felt = (0.5 * (seen[:-1] + seen[1:]) @ turns[..., None]).squeeze(-1).numpy()
    return np.concatenate([np.zeros((1, 3)), np.cumsum(felt, 0)])


def _lively(rough: Float[ndarray, "K 3"], times: Float[ndarray, "T"]) -> Float[ndarray, "K"]:
    """How rough the path is around each moment, relative to its mean."""
    squared = (rough**2).sum(1)
    middle = np.lib.stride_tricks.sliding_window_view(times, len(times) - len(rough) + 1).mean(1)
    before = np.searchsorted(middle, middle - _LIVELY_REACH)
    after = np.searchsorted(middle, middle + _LIVELY_REACH, side="right")
    total = np.concatenate([[0.0], np.cumsum(squared)])
    local = (total[after] - total[before]) / (after - before)
    return local / max(local.mean(), np.finfo(float).tiny)
