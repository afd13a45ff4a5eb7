"""Faults of captured motion that must not be learned: cuts, flipped joints, frozen stretches.

Fits to motion capture fail here and there: markers are exchanged, a forearm is found turned the
other way round, a file repeats its last pose. What no body can do is cut out; whatever a body can
do stays, however fast.
"""

import math
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from temporal_hmr.data.take import MocapTake
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import SMPL24

SHORTEST = 0.5
"""Seconds that a piece of a cut take must last."""

_ACCELERATION = 50.0
"""Of the pelvis, m/s^2, over a thirtieth of a second or more. Landing from a jump or a dive gives
up to 44 in CMU's captures, whose faults begin at 50."""
_THIRTIETH = 1 / 30
_TURNING = 60.0
"""Of a joint, rad/s. A pitcher's elbow reaches 46, a skater's whole body 36; forearms and feet that
flip reach 60 to 94, which is half a turn from one frame to the next."""
_SHOULDER_TURNING = 150.0
"""A pitcher's upper arm turns about itself at 145 rad/s (Fleisig et al., J. Biomech. 1999)."""
_FROZEN = 0.1
"""Seconds for which not one number of a pose may stay the same next to motion."""
_MOVING, _TRAVELLING = 1.0, 0.3
"""What counts as motion: turning of the fastest joint in rad/s, or speed of the pelvis in m/s."""
_SETTLING, _SETTLED = 0.1, 0.3
"""Seconds from the first frame within which a displaced one is left, and by which the body moves as
it does; the fits of some subjects start at a rest pose."""
_SETTLING_TURNING, _SETTLING_RATIO = 3.0, 3.0
"""Root mean square over the joints, rad/s, in the first stretch, and its ratio to the second's."""


def sound_pieces(take: MocapTake) -> list[MocapTake]:
    """The take without its faults: itself if it has none, else its sound pieces in order.

    Pieces shorter than `SHORTEST` are dropped, so that there may be none. A piece that starts at
    frame 120 is named after it (`walk+120`).
    """
    faulty = faulty_frames(take)
    if not faulty.any():
        return [take]
    return [
        replace(
            take,
            name=f"{take.name}+{start}" if start else take.name,
            rotations=take.rotations[start:stop],
            translation=take.translation[start:stop],
        )
        for start, stop in _runs(~faulty)
        if stop - start >= SHORTEST * take.fps
    ]


def faulty_frames(take: MocapTake) -> Bool[Tensor, "T"]:
    """Frames next to a jump that no body can make, within a frozen stretch, or a displaced start.

    - A jump of the pelvis: its velocity changes by more than `_ACCELERATION` allows.
    - A jump of a joint: it turns faster than `_TURNING` (`_SHOULDER_TURNING`).
    - Frozen: nothing at all changes for longer than `_FROZEN`, between moving frames or at the end
      of some. Somebody captured standing still is never the same to the last digit.
    - Displaced start: the joints turn `_SETTLING_RATIO` times as fast as they do right after.
    """
    speed = geodesic_angle(take.rotations[1:], take.rotations[:-1]) * take.fps
    velocity = take.translation.diff(dim=0) * take.fps
    moving = (speed > _MOVING).any(1) | (velocity.norm(dim=-1) > _TRAVELLING)
    return _jumps(take, speed, velocity) | _frozen(take, moving) | _displaced_start(take, speed)


def _jumps(
    take: MocapTake, speed: Float[Tensor, "T-1 24"], velocity: Float[Tensor, "T-1 3"]
) -> Bool[Tensor, "T"]:
    limits = torch.full_like(speed[:1], _TURNING)
    limits[:, SMPL24.indices("left_shoulder", "right_shoulder")] = _SHOULDER_TURNING
    flipped = (speed > limits).any(1)
    change = velocity.diff(dim=0).norm(dim=-1)
    # Noise of a millimetre is much acceleration at high frame rates, but little speed.
    thrown = change > _ACCELERATION * max(1 / take.fps, _THIRTIETH)
    return _at_either_end(flipped) | functional.pad(thrown, (1, 1))[: len(take)]


def _frozen(take: MocapTake, moving: Bool[Tensor, "T-1"]) -> Bool[Tensor, "T"]:
    same = (take.rotations[1:] == take.rotations[:-1]).flatten(1).all(1)
    same &= (take.translation[1:] == take.translation[:-1]).all(1)
    frozen = torch.zeros_like(same)
    for start, stop in _runs(same):
        beside_motion = bool(moving[max(start - 1, 0)] | moving[min(stop, len(moving) - 1)])
        if stop - start > _FROZEN * take.fps and beside_motion:
            frozen[start:stop] = True
    return _at_either_end(frozen)


def _displaced_start(take: MocapTake, speed: Float[Tensor, "T-1 24"]) -> Bool[Tensor, "T"]:
    settling, settled = (math.ceil(seconds * take.fps) for seconds in (_SETTLING, _SETTLED))
    faulty = torch.zeros(len(take), dtype=torch.bool)
    if not settling < settled <= len(speed):
        return faulty
    overall = speed.square().mean(1).sqrt()
    first, then = overall[:settling].amax(), overall[settling:settled].amax()
    faulty[:settling] = (first > _SETTLING_TURNING) & (first > _SETTLING_RATIO * then)
    return faulty


def _runs(mask: Bool[Tensor, "T"]) -> list[tuple[int, int]]:
    """Start of each run of True, and what follows its end."""
    edges = functional.pad(mask.int(), (1, 1)).diff().nonzero().flatten().tolist()
    return list(zip(edges[::2], edges[1::2], strict=True))


def _at_either_end(steps: Bool[Tensor, "T-1"]) -> Bool[Tensor, "T"]:
    """The frames between which the steps lead."""
    return functional.pad(steps, (0, 1)) | functional.pad(steps, (1, 0))
