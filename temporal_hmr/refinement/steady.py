"""A person's motion made steady: rotations, place and shape, whatever system they come from."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from temporal_hmr.body.params import SmplParams
from temporal_hmr.checks.timing import frame_step
from temporal_hmr.errors import InputError
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.refinement.rotations import HOLE_TRUST, TAIL, steady_rotations
from temporal_hmr.refinement.splines import Roughness, fit_spline
from temporal_hmr.refinement.sudden import sudden_moves, sudden_turns
from temporal_hmr.rotation import interpolate
from temporal_hmr.skeleton import SMPL24

_ROUNDS = 3
_TINY = 1e-18
_SAME = 1e-4
"""Numbers of rotations nearer than this are of one, through files in single precision."""
_FEWEST = 5
"""Frames from which on places are smoothed."""
_PELVIS = SMPL24.index("pelvis")


@dataclass(frozen=True, eq=False)
class Evidence:
    """A motion as it was given, with a row for every frame that is wanted, and what is believed."""

    motion: PredictedMotion
    """In frames that the file lacks, between its neighbours in time."""
    times: Float[ndarray, "T"]
    """Seconds, increasing."""
    added: Bool[ndarray, "T"]
    """The file lacks this frame."""
    guessed: Bool[ndarray, "T"]
    """It lacks it, calls it a guess itself, or has numbers in it that are not finite."""
    sudden: Bool[ndarray, "T 24"]
    """The joint cannot have turned so."""
    jumped: Bool[ndarray, "T"]
    """The body cannot have moved so."""

    def believed(self) -> Bool[ndarray, "T 24"]:
        """The rotations that are measurements."""
        return ~(self.sudden | self.guessed[:, None])

    def placed(self) -> Bool[ndarray, "T"]:
        """Frames whose place is a measurement."""
        return ~(self.guessed | self.jumped)

    def mended(self) -> Bool[ndarray, "T"]:
        """Frames in which anything was sudden."""
        return self.sudden.any(1) | self.jumped


@dataclass(frozen=True, eq=False)
class Steady:
    """A steady motion, and what was found on the way."""

    motion: PredictedMotion
    noise: Float[ndarray, "24"]
    """Degrees about each axis that each joint trembled by."""
    shares: Float[ndarray, "24"]
    """How much of a model's motion was believed."""


def weigh(motion: PredictedMotion, fps: float, longest_fill: float) -> Evidence:
    """What of a motion can be believed; holes of up to so many seconds get frames of their own.

    Raises `InputError` for a motion without frames or a single one that can be believed, or whose
    times do not increase.
    """
    filled, times, added = _filled(motion, fps, longest_fill)
    finite = _finite(filled.smpl)
    finite &= True if filled.world is None else _finite(filled.world)
    guessed = added | ~finite
    guessed |= False if filled.filled is None else filled.filled
    if not finite.any():
        raise InputError(f"{motion.name} has no frame whose numbers are all finite")
    if guessed.all():
        guessed = ~finite
    filled = _numbers_instead(filled, finite)
    sudden = np.zeros((len(filled), 24), bool)
    jumped = np.zeros(len(filled), bool)
    seen = np.flatnonzero(~guessed)
    sudden[seen] = sudden_turns(filled.smpl.rotations()[torch.from_numpy(seen)], times[seen])
    if filled.has_depth:
        jumped[seen] = sudden_moves(filled.smpl.transl.numpy()[seen], times[seen])
    return Evidence(filled, times, added, guessed, sudden, jumped)


def steady(
    evidence: Evidence,
    rest: Float[Tensor, "3"],
    model: Float[Tensor, "T 24 3 3"] | None = None,
    one_shape: bool = True,
) -> Steady:
    """The likeliest steady motion; `rest` is the pelvis of the body in its rest pose (metres).

    `model` is what a model says of the rotations; its motion is believed as far as it helps.
    """
    motion, times = evidence.motion, evidence.times
    believed = evidence.believed()
    found = steady_rotations(motion.smpl.rotations(), believed, times, model)
    placed = evidence.placed()
    pelvis = motion.smpl.transl.numpy() + rest.numpy()
    if motion.smpl.transl.any():
        pelvis = _steady_view(pelvis, placed, times)
    betas = _one_shape(motion.smpl.betas, ~evidence.mended() & ~evidence.guessed, one_shape)
    transl = torch.from_numpy(pelvis) - rest
    smpl = SmplParams.from_rotations(found.rotations, betas, transl)
    world = motion.world
    if world is not None:
        world = _steady_world(world, motion.smpl, smpl, evidence)
    unseen = evidence.guessed | (motion.filled if motion.filled is not None else False)
    refined = replace(motion, smpl=smpl, world=world, filled=unseen)
    return Steady(refined, np.degrees(found.noise), found.shares)


def _steady_world(
    world: SmplParams, given: SmplParams, smpl: SmplParams, evidence: Evidence
) -> SmplParams:
    """The same in the world; `smpl` is what has become of `given`, which the camera saw.

    The pose is that one's unless the world had another: legs that hold feet where they stand.
    """
    believed, times = evidence.believed(), evidence.times
    moved = torch.from_numpy(_steady_numbers(world.transl.numpy(), evidence.placed(), times))
    if torch.allclose(world.body_pose, given.body_pose, atol=_SAME):
        orient = world.global_orient[:, None]
        turned = steady_rotations(orient, believed[:, [_PELVIS]], times).rotations[:, 0]
        return SmplParams(turned, smpl.body_pose, smpl.betas, moved)
    rotations = steady_rotations(world.rotations(), believed, times).rotations
    return SmplParams.from_rotations(rotations, smpl.betas, moved)


def _finite(smpl: SmplParams) -> Bool[ndarray, "T"]:
    numbers = torch.cat([smpl.rotations().flatten(1), smpl.betas, smpl.transl], 1)
    return numbers.isfinite().all(1).numpy()


def _numbers_instead(motion: PredictedMotion, finite: Bool[ndarray, "T"]) -> PredictedMotion:
    """Frames that are not finite take the next that is: nobody will look at them."""
    if finite.all():
        return motion
    known = np.flatnonzero(finite)
    after = np.searchsorted(known, np.arange(len(motion))).clip(max=len(known) - 1)
    nearest = torch.from_numpy(known[after])
    world = None if motion.world is None else motion.world[nearest]
    return replace(motion, smpl=motion.smpl[nearest], world=world)


def _filled(
    motion: PredictedMotion, fps: float, longest_fill: float
) -> tuple[PredictedMotion, Float[ndarray, "T"], Bool[ndarray, "T"]]:
    """With rows for the frames in short holes, everything in them between its neighbours."""
    if not len(motion):
        raise InputError(f"{motion.name} has no frames")
    given = np.asarray(motion.frames)
    times = given / fps if motion.times is None else motion.times.astype(np.float64)
    if (np.diff(times) <= 0).any():
        raise InputError(f"{motion.name} has times that do not increase: mend them")
    frames = _wanted(given, times, longest_fill, frame_step([motion]))
    added = ~np.isin(frames, given)
    smpl = motion.smpl.map(lambda tensor: tensor.detach().cpu().double())
    world = None if motion.world is None else motion.world.map(lambda tensor: tensor.double())
    after = np.searchsorted(given, frames)
    before = np.where(added, after - 1, after)
    span = np.maximum(given[after] - given[before], 1)
    share = torch.from_numpy((frames - given[before]) / span)
    filled = motion.filled if motion.filled is not None else np.zeros(len(given), bool)
    wanted = np.interp(frames, given, times)
    between = replace(
        motion,
        frames=frames,
        times=wanted,
        smpl=_between(smpl, before, after, share),
        world=None if world is None else _between(world, before, after, share),
        filled=np.where(added, True, filled[before]),
        boxes=None if motion.boxes is None else _blend(motion.boxes, before, after, share.numpy()),
        keypoints=None,
        skeleton=None,
        fps=fps if motion.fps is None else motion.fps,
    )
    return between, wanted, added


def _wanted(
    given: Int[ndarray, "N"], times: Float[ndarray, "N"], longest: float, step: int
) -> Int[ndarray, "T"]:
    """What is given, and every so manieth frame in holes that are short enough."""
    parts = [
        np.arange(first, last, step) if last_time - first_time <= longest else np.array([first])
        for first, last, first_time, last_time in zip(
            given[:-1], given[1:], times[:-1], times[1:], strict=True
        )
    ]
    return np.concatenate([*parts, given[-1:]]).astype(np.int64)


def _between(
    smpl: SmplParams,
    before: Int[ndarray, "T"],
    after: Int[ndarray, "T"],
    share: Float[Tensor, "T"],
) -> SmplParams:
    first, second = smpl[before], smpl[after]
    turned = interpolate(first.rotations(), second.rotations(), share[:, None].expand(-1, 24))
    exact = torch.from_numpy(before == after)[:, None, None, None]
    rotations = torch.where(exact, first.rotations(), turned)
    mix = share[:, None]
    return SmplParams.from_rotations(
        rotations,
        torch.lerp(first.betas, second.betas, mix),
        torch.lerp(first.transl, second.transl, mix),
    )


def _blend(
    values: Float[ndarray, "N C"],
    before: Int[ndarray, "T"],
    after: Int[ndarray, "T"],
    share: Float[ndarray, "T"],
) -> Float[ndarray, "T C"]:
    return values[before] + share[:, None] * (values[after] - values[before])


def _one_shape(
    betas: Float[Tensor, "T 10"], sound: Bool[ndarray, "T"], one_shape: bool
) -> Float[Tensor, "T 10"]:
    """The median of the frames that are sound: bones do not change."""
    if not one_shape:
        return betas
    chosen = betas[torch.from_numpy(sound)] if sound.any() else betas
    return chosen.median(0).values.expand_as(betas)


def _steady_view(
    places: Float[ndarray, "T 3"], believed: Bool[ndarray, "T"], times: Float[ndarray, "T"]
) -> Float[ndarray, "T 3"]:
    """As a camera sees them: how far away is far less certain than in which direction."""
    distance = np.maximum(np.linalg.norm(places, axis=1, keepdims=True), _TINY)
    far = _steady_numbers(np.log(distance), believed, times)
    direction = _steady_numbers(places / distance, believed, times)
    return direction / np.linalg.norm(direction, axis=1, keepdims=True) * np.exp(far)


def _steady_numbers(
    values: Float[ndarray, "T C"], believed: Bool[ndarray, "T"], times: Float[ndarray, "T"]
) -> Float[ndarray, "T C"]:
    """The smooth curve near the values, outliers counting for little."""
    roughness = Roughness.at(times)
    if believed.sum() < _FEWEST or len(values) < _FEWEST:
        return values
    center = np.median(values[believed], 0)
    known = [np.interp(times, times[believed], column[believed]) for column in (values - center).T]
    measured = np.stack(known, 1)
    trust = np.where(believed, 1.0, HOLE_TRUST)
    weights, smooth = trust, measured
    for _ in range(_ROUNDS):
        fit = fit_spline(measured, weights, roughness)
        smooth = fit.values
        missed = ((measured - smooth) ** 2).sum(1) / max(fit.noise**2, _TINY)
        weights = trust * (TAIL + values.shape[1]) / (TAIL + missed)
    return smooth + center
