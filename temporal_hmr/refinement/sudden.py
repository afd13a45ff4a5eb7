"""Frames that cannot belong to a motion: flips, exchanged sides and teleports of a few frames.

A path is kept that passes over some frames. Whoever goes from one value to the next pays distance^2
over the time of one step (a thirtieth of a second at least), so there and back is dear; for passing
over a frame one pays as if having moved at the greatest plausible speed meanwhile. So frames are
passed over just where they would ask for more than that, and a jump that is not taken back is no
reason. The cheapest path is found exactly, by dynamic programming.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.rotation import geodesic_angle, matrix_to_axis_angle

Squared = Callable[[slice, int], Float[ndarray, "_ J"]]
"""Squared distances of the values of some frames from those of one, per column."""
FASTEST_TURN = np.radians(1000.0)
"""Radians per second, there and back; the motion capture at hand has 870 at most for the pelvis."""
FASTEST_MOVE = 10.0
"""Metres per second, there and back."""
SHORTEST_STEP = 1 / 30
"""Seconds: in less, nobody moves so far that it had to be dear."""
LONGEST = 1.0
"""Seconds that may be passed over; whatever lasts longer could be true."""
_NOISES = 2.5
"""Standard deviations of noise, per frame, allowed beyond the greatest speed."""
_CROWDED = 0.4
_CROWD_REACH = 0.5
"""Where more than so large a share of the frames so near (seconds) would be passed over, none is:
then it is no exception, and nobody knows which frames are right."""


def sudden_turns(
    rotations: Float[Tensor, "T J 3 3"], times: Float[ndarray, "T"]
) -> Bool[ndarray, "T J"]:
    """Of each joint, the frames that it cannot have turned into and back from."""
    if len(times) < 3:
        return np.zeros(rotations.shape[:2], bool)
    rotations = rotations.double()
    turns = matrix_to_axis_angle(rotations[:-1].mT @ rotations[1:]).numpy()
    noise = _noise(np.diff(turns, axis=0))

    def squared(before: slice, frame: int) -> Float[ndarray, "_ J"]:
        return geodesic_angle(rotations[before], rotations[frame]).numpy() ** 2

    return _passed_over(squared, noise, FASTEST_TURN, times)


def sudden_moves(places: Float[ndarray, "T 3"], times: Float[ndarray, "T"]) -> Bool[ndarray, "T"]:
    """The frames that somebody cannot have gone to and back from; places in metres."""
    if len(times) < 3:
        return np.zeros(len(times), bool)
    noise = _noise(np.diff(places[:, None], n=2, axis=0))

    def squared(before: slice, frame: int) -> Float[ndarray, "_ 1"]:
        return ((places[frame] - places[before]) ** 2).sum(1, keepdims=True)

    return _passed_over(squared, noise, FASTEST_MOVE, times)[:, 0]


def _noise(bends: Float[ndarray, "K J 3"]) -> Float[ndarray, "J"]:
    """Standard deviation of what is new in every frame, by the median of second differences."""
    # 0.6745: the median of a standard normal's size; 6: the squares of 1, -2 and 1.
    return np.median(np.abs(bends), axis=(0, 2)) / (0.6745 * 6**0.5)


def _passed_over(
    squared: Squared,
    noise: Float[ndarray, "J"],
    fastest: float,
    times: Float[ndarray, "T"],
) -> Bool[ndarray, "T J"]:
    usual = float(np.median(np.diff(times)))
    toll = (fastest**2 + (_NOISES * noise / usual) ** 2) * usual
    reach = int(min(len(times) - 1, max(round(LONGEST / usual), 1) + 1))
    return _exceptional(~_cheapest(squared, toll, times, reach), times)


def _cheapest(
    squared: Squared, toll: Float[ndarray, "J"], times: Float[ndarray, "T"], reach: int
) -> Bool[ndarray, "T J"]:
    """The frames on the cheapest path from near the first to near the last, per column."""
    frames, columns = len(times), np.arange(len(toll))
    cost = np.full((frames, len(toll)), np.inf)
    came = np.full((frames, len(toll)), -1)
    cost[0] = 0.0
    for frame in range(1, frames):
        before = slice(max(frame - reach, 0), frame)
        passed = np.arange(frame - before.start - 1, -1, -1)[:, None]
        step = (times[frame] - times[before])[:, None] / (passed + 1)
        paid = squared(before, frame) / np.maximum(step, SHORTEST_STEP)
        through = cost[before] + paid + passed * toll
        best = through.argmin(0)
        cost[frame], came[frame] = through[best, columns], before.start + best
        if frame < reach:
            begins = frame * toll < cost[frame]
            cost[frame] = np.where(begins, frame * toll, cost[frame])
            came[frame] = np.where(begins, -1, came[frame])
    last = np.arange(max(frames - reach, 0), frames)
    at = last[(cost[last] + (frames - 1 - last)[:, None] * toll).argmin(0)]
    kept = np.zeros((frames, len(toll)), bool)
    while (at >= 0).any():
        on = at >= 0
        kept[at[on], columns[on]] = True
        at = np.where(on, came[at, columns], -1)
    return kept


def _exceptional(passed: Bool[ndarray, "T J"], times: Float[ndarray, "T"]) -> Bool[ndarray, "T J"]:
    """Those that are few among their neighbours in time."""
    before = np.searchsorted(times, times - _CROWD_REACH)
    after = np.searchsorted(times, times + _CROWD_REACH, side="right")
    total = np.concatenate([np.zeros((1, passed.shape[1])), np.cumsum(passed, 0)])
    share = (total[after] - total[before]) / (after - before)[:, None]
    return passed & (share <= _CROWDED)
