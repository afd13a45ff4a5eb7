"""Which way is up, and where the ground is, from people who stand and walk on it.

Two witnesses. Balance: whoever does not fall has the centre of mass above the middle of the feet,
at every moment if they stand still, on average if they walk. And the ground: a plane through the
places where feet came to rest, which tells the slope the better the wider they lie apart. Each is
weighed by its variance, so that a person who stands still is judged by balance and one who walks
about by the steps.

A wrong depth of somebody by the factor 1 + e moves all their steps along the lines of sight, and
their ground, at the height -h below the camera, up by e h, parallel to itself. So everybody has a
height of ground of their own, and all share one slope. Still these heights are of one ground but
for such errors and a kerb: of people far apart they tell the slope best of all.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.world.feet import Walker, lasting

_UPRIGHT = 0.7
"""Least length of the mean of the up directions: below, somebody lies or rolls about."""
_FORWARD = np.tan(np.radians(4.2))
"""By which the centre of mass seems to be before the middle of the feet: median of 554 stretches of
motion capture, five seconds each; they scatter about it by 3.4 degrees, and by 2.8 to the sides."""
_LEAN = np.radians(6.5)
"""Standard deviation of one person's mean direction of balance in a clip, as far as we see it: root
mean square over 523 people in rendered videos. Of true motion it is 2.5 degrees."""
_SHARED = 0.5
"""Share of its variance that people of a clip have in common: they are seen from one height, and
those who walk together from one side."""
_BENT = 35.0
"""Degrees from the usual direction beyond which a frame says nothing of up (somebody sits)."""
_SCATTER = 0.03
"""Metres; how far resting points scatter about the ground (a foot rolls from heel to toe)."""
_DEPTH_ERROR = 0.06
"""Of the camera's height: what slow errors of depth do to heights, however many steps there are.
With it and `_LEAN`, the errors of those 523 people are 1.1 times what is stated."""
_SIZE_ERROR = 0.1
"""Standard deviation of somebody's depth, as a share of it, beside that of others."""
_KERB = 0.15
"""Metres by which one stands higher than another."""
_FEWEST_PLACES = 3
"""Two people on two floors make a slope, too."""
_OTHER_LEVELS = 12.0
"""Squared standard deviations between the slope from place to place and what balance and steps say,
beyond which people stand on different levels."""
_ON_GROUND = 0.10
"""Metres from the plane; points further away are not on it."""
_WIDER = (5.0, 3.5, 2.5, 1.7, 1.3, 1.0, 1.0, 1.0, 1.0)
"""Of both, round by round: a slope that is wrong by degrees lifts far steps by decimetres."""
_OWN_SLOPE = np.radians(12.0)
"""How far somebody's own ground may slope against the balance of all."""
_LOWEST = 0.08
"""Metres above the lowest point of somebody's soles up to which others may bear them too."""
_STEP = 0.5
"""Seconds; frames nearer in time tell the same thing."""
_STEEPEST = 25.0
"""Degrees between what steps and balance say, beyond which feet rest on something else."""
_LEAST_STEPS = 3.0
_ROUNDS = 4
_TELLING = 0.85
"""Of balance's own uncertainty; steps that do not lessen it to that tell nothing of the slope."""


@dataclass(frozen=True, eq=False)
class Footing:
    """Up and the ground, in the camera frame."""

    up: Float[ndarray, "3"]
    """Unit length."""
    uncertainty: float
    """Radians; standard deviation of its direction, in any one direction."""
    height: float
    """Metres of the ground along `up`: negative below the camera."""
    heights: tuple[float, ...]
    """Of the ground under each person."""
    steps: float
    """How many independent steps it rests on."""
    from_steps: bool
    """False where balance alone tells which way is up."""
    contacts: tuple[Bool[ndarray, "T 2 3"], ...]
    """Of each person: which points of the soles stand on the ground."""


def find_footing(walkers: Sequence[Walker]) -> Footing | str:
    """Up and the ground, or why neither can be told."""
    usual = _usual_up(walkers)
    if isinstance(usual, str):
        return usual
    up, lean = usual
    fitted = _by_steps(walkers, up, lean)
    steep = fitted is not None and fitted.up @ up < np.cos(np.radians(_STEEPEST))
    if fitted is None or steep:
        return _by_balance_alone(walkers, up, lean)
    return fitted


def _usual_up(walkers: Sequence[Walker]) -> tuple[Float[ndarray, "3"], float] | str:
    """The mean direction of everybody's balance, and its standard deviation in radians."""
    directions, frames = [], []
    for person in walkers:
        balance = _balance(person)
        mean = balance.mean(0) if len(balance) else np.zeros(3)
        if np.linalg.norm(mean) > _UPRIGHT:
            mean = mean / np.linalg.norm(mean)
            upright = balance[balance @ mean > np.cos(np.radians(_BENT))]
            if len(upright):
                directions.append(upright.mean(0) / np.linalg.norm(upright.mean(0)))
                frames.append(len(balance))
    if not directions:
        return "nobody is seen on their feet for most of the time"
    # Somebody seen for a moment tells less than somebody seen throughout.
    shares = np.array(frames) / sum(frames)
    mean = shares @ np.array(directions)
    length = np.linalg.norm(mean)
    if length < _UPRIGHT:
        return "people are upright in different directions"
    return mean / length, float(_LEAN * np.sqrt(_SHARED + (1 - _SHARED) * (shares**2).sum()))


def _balance(person: Walker) -> Float[ndarray, "N 3"]:
    """Unit vectors from the middle between the feet up to the body's centre of mass.

    Of both feet, in frames in which one is seen: it is told which of them stands by what is known
    badly, how far away each is, and what is too far in front of one is too far behind the other.
    """
    some = person.seen.any(1)
    balance = person.mass[some] - person.soles[some].mean((1, 2))
    balance /= np.linalg.norm(balance, axis=1, keepdims=True)
    balance -= _FORWARD * np.cross(person.left[some], balance)
    return balance / np.linalg.norm(balance, axis=1, keepdims=True)


def _by_balance_alone(
    walkers: Sequence[Walker], up: Float[ndarray, "3"], lean: float
) -> Footing | str:
    """With the ground under the lowest points of the feet."""
    heights = []
    for person in walkers:
        lowest = (person.lowered(up) @ up).min((1, 2))[person.motion.observed]
        heights.append(float(np.median(lowest)) if len(lowest) else np.nan)
    if np.isnan(heights).all():
        return "nobody was observed in any frame"
    height = float(np.nanmedian(heights))
    heights = tuple(height if np.isnan(each) else each for each in heights)
    contacts = tuple(
        _standing(person, up, each) for person, each in zip(walkers, heights, strict=True)
    )
    steps = sum(_count_steps(each, person) for each, person in zip(contacts, walkers, strict=True))
    return Footing(up, lean, height, heights, steps, False, contacts)


def _by_steps(walkers: Sequence[Walker], prior: Float[ndarray, "3"], lean: float) -> Footing | None:
    """One slope through everybody's steps, near the prior.

    None if there is but one person who hardly makes any.
    """
    across = np.linalg.svd(prior[None])[2][1:]
    grounds = [_own_ground(person, prior, across) for person in walkers]
    steps = [_count_steps(each, person) for each, person in zip(grounds, walkers, strict=True)]
    if sum(steps) < _LEAST_STEPS and len(walkers) < 2:
        return None
    matrix, vector = np.eye(2) / lean**2, np.zeros(2)
    for person, contacts, count in zip(walkers, grounds, steps, strict=True):
        if count < 1:
            continue
        spread = _Spread.of(person.lowered(prior)[contacts], prior, across)
        variance = (_SCATTER**2 + spread.scatter**2) / count + (_DEPTH_ERROR * spread.height) ** 2
        matrix += spread.flat / variance
        vector += spread.tall / variance
    resting = [_resting(*each, prior) for each in zip(walkers, grounds, strict=True)]
    middles = np.array([points.mean(0) for points in resting if len(points)]).reshape(-1, 3)
    up = prior
    # How wrong heights may be depends on how high they are.
    for _ in range(_ROUNDS):
        flat, tall = _by_places(middles, up, prior, across)
        if _surprise(flat, tall, matrix, vector) > _OTHER_LEVELS:
            flat, tall = np.zeros((2, 2)), np.zeros(2)
        covariance = np.linalg.inv(matrix + flat)
        up = _tilted(prior, covariance @ (vector + tall), across)
    own = [float(np.median(points @ up)) if len(points) else np.nan for points in resting]
    known = ~np.isnan(own)
    if not known.any():
        return None
    height = float(np.average(np.array(own)[known], weights=np.array(steps)[known] + 1e-6))
    uncertainty = float(np.sqrt(np.trace(covariance) / 2))
    return Footing(
        up=up,
        uncertainty=uncertainty,
        height=height,
        heights=tuple(height if np.isnan(each) else each for each in own),
        steps=float(sum(steps)),
        from_steps=uncertainty < _TELLING * lean,
        contacts=tuple(grounds),
    )


def _by_places(
    middles: Float[ndarray, "P 3"],
    up: Float[ndarray, "3"],
    prior: Float[ndarray, "3"],
    across: Float[ndarray, "2 3"],
) -> tuple[Float[ndarray, "2 2"], Float[ndarray, "2"]]:
    """Normal equations of the slope from one to another of the places where people stand.

    `up` is about the right one: how high places are along it tells how wrong they may be.
    """
    if len(middles) < _FEWEST_PLACES:
        return np.zeros((2, 2)), np.zeros(2)
    weights = 1 / ((_SIZE_ERROR * (middles @ up)) ** 2 + _KERB**2)
    away = middles - np.average(middles, 0, weights)
    places, heights = away @ across.T, away @ prior
    # Errors of depth displace people along their lines of sight, as if the ground ran along these:
    # what is expected of that is taken out.
    made_up = weights * (1 - weights / weights.sum()) * _SIZE_ERROR**2
    flat = (places.T * weights) @ places - (across @ middles.T * made_up) @ (middles @ across.T)
    tall = (places.T * weights) @ heights - (across @ middles.T * made_up) @ (middles @ prior)
    values, axes = np.linalg.eigh(flat)
    told = axes[:, values > 0]
    return (axes * values.clip(0)) @ axes.T, told @ (told.T @ tall)


def _surprise(
    flat: Float[ndarray, "2 2"],
    tall: Float[ndarray, "2"],
    matrix: Float[ndarray, "2 2"],
    vector: Float[ndarray, "2"],
) -> float:
    """How far two tellings of a slope, by their normal equations, contradict each other.

    In standard deviations, squared.
    """
    apart = np.linalg.pinv(flat) @ tall - np.linalg.solve(matrix, vector)
    return float(apart @ flat @ np.linalg.solve(flat + matrix, matrix @ apart))


def _resting(
    person: Walker, contacts: Bool[ndarray, "T 2 3"], up: Float[ndarray, "3"]
) -> Float[ndarray, "N 3"]:
    """Where points of the soles stand; of who makes no step the lowest in each frame."""
    points = person.lowered(up)
    if contacts.any():
        return points[contacts]
    flat = points[person.motion.observed].reshape(-1, 6, 3)
    return np.take_along_axis(flat, (flat @ up).argmin(1)[:, None, None], 1)[:, 0]


@dataclass(frozen=True, eq=False)
class _Spread:
    """Moments of weighted points: their heights as a linear function of the place."""

    flat: Float[ndarray, "2 2"]
    tall: Float[ndarray, "2"]
    scatter: float
    """Metres; of the points about the plane that suits them best."""
    height: float

    @staticmethod
    def of(
        points: Float[ndarray, "N 3"],
        prior: Float[ndarray, "3"],
        across: Float[ndarray, "2 3"],
        weights: Float[ndarray, "N"] | None = None,
    ) -> "_Spread":
        """Heights along the prior, places across it."""
        share = np.ones(len(points)) if weights is None else weights
        share = share / share.sum()
        middle = share @ points
        flat, tall = (points - middle) @ across.T, (points - middle) @ prior
        moments, vector = (flat * share[:, None]).T @ flat, (flat * share[:, None]).T @ tall
        slope = np.linalg.lstsq(moments, vector, rcond=1e-3)[0]
        scatter = float(np.sqrt(share @ (tall - flat @ slope) ** 2))
        return _Spread(moments, vector, scatter, float(middle @ prior))


def _own_ground(
    person: Walker, prior: Float[ndarray, "3"], across: Float[ndarray, "2 3"]
) -> Bool[ndarray, "T 2 3"]:
    """Which points of one person's soles stand, judged by a plane of their own.

    However wrong the prior is, steps that lie in a plane are steps: where they are far apart the
    band about the plane that all people share would miss them.
    """
    up, height, contacts = prior, np.nan, np.zeros(person.slow.shape, bool)
    for wider in _WIDER:
        bearing = lasting(_bearing(person, up), person.motion.times)
        if not bearing.any():
            return bearing
        heights = person.lowered(up) @ up
        height = float(np.median(heights[bearing])) if np.isnan(height) else height
        contacts = bearing & (np.abs(heights - height) < _ON_GROUND * wider)
        if not contacts.any():
            return contacts
        away = (heights[contacts] - height) / (_SCATTER * wider)
        points = person.lowered(up)[contacts]
        spread = _Spread.of(points, prior, across, 1.0 / (1.0 + away**2))
        ridge = (_SCATTER / _OWN_SLOPE) ** 2 / max(_count_steps(contacts, person), 1.0)
        up = _tilted(prior, np.linalg.solve(spread.flat + ridge * np.eye(2), spread.tall), across)
        height = float(np.median(points @ up))
    return _standing(person, up, height)


def _tilted(
    prior: Float[ndarray, "3"], slope: Float[ndarray, "2"], across: Float[ndarray, "2 3"]
) -> Float[ndarray, "3"]:
    """The normal of a plane with a slope against the one whose normal is the prior."""
    up = prior - slope @ across
    return up / np.linalg.norm(up)


def _bearing(person: Walker, up: Float[ndarray, "3"]) -> Bool[ndarray, "T 2 3"]:
    """Points of the soles that may bear the body: seen, slow, and among the lowest."""
    heights = person.lowered(up) @ up
    low = heights - heights.min((1, 2), keepdims=True) < _LOWEST
    return low & person.slow & person.seen[..., None]


def _standing(person: Walker, up: Float[ndarray, "3"], height: float) -> Bool[ndarray, "T 2 3"]:
    """Points of the soles that stand: seen, slow and near the ground, for long enough."""
    near = np.abs(person.lowered(up) @ up - height) < _ON_GROUND
    return lasting(near & person.slow & person.seen[..., None], person.motion.times)


def _count_steps(contacts: Bool[ndarray, "T 2 3"], person: Walker) -> float:
    """Independent ones: each foot anew after a while."""
    times = person.motion.times
    if len(times) < 2:
        return float(contacts.any())
    interval = float(np.median(np.diff(times)))
    return float(contacts.any(2).sum()) * interval / _STEP
