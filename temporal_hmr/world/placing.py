"""People of one clip in one world: y up, metres, the ground at y = 0.

The origin is on the ground below the first person's pelvis in their first frame, and the camera
looks towards -z, whatever its pitch: somebody who faces it faces +z, as SMPL's rest pose does.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.motion import BodyMotion, InWorld
from temporal_hmr.on_disk import chunks
from temporal_hmr.world.feet import Walker, walker
from temporal_hmr.world.foot_lock import Standing, steady
from temporal_hmr.world.gravity import Footing, find_footing

_SIZE_ERROR = 0.05
"""Standard deviation of somebody's depth, as a share of it, over a whole clip."""
_OWN_HEIGHT_ERROR = 0.02
"""Metres; the same of the height of their soles."""
_LONG = 0.5
"""Seconds of somebody that tell of their balance."""
_LEVEL = 0.1
"""Length of the level part of a direction below which it tells no heading."""


@dataclass(frozen=True, eq=False)
class World:
    """Where the world of a clip lies, x_world = rotation x_camera + translation."""

    rotation: Float[ndarray, "3 3"]
    translation: Float[ndarray, "3"]
    footing: Footing

    @property
    def pitch(self) -> float:
        """Radians by which the camera looks down."""
        return -float(np.arcsin(np.clip(self.footing.up[2], -1, 1)))

    @property
    def roll(self) -> float:
        """Radians by which the camera is turned clockwise about its line of sight."""
        x, y, _ = self.footing.up
        return float(np.arctan2(-x, -y))

    def matrix(self) -> Float[ndarray, "4 4"]:
        """From camera coordinates to those of the world."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.rotation, self.translation
        return matrix

    def told(self) -> dict[str, object]:
        """How it was found, for files and people."""
        footing = self.footing
        return {
            "axes": "x right of the camera, y up, the camera looks towards -z",
            "origin": "on the ground below the first person's pelvis in their first frame",
            "from": "balance and steps" if footing.from_steps else "balance alone",
            "steps": round(footing.steps, 1),
            "camera_pitch_degrees": round(float(np.degrees(self.pitch)), 2),
            "camera_roll_degrees": round(float(np.degrees(self.roll)), 2),
            "uncertainty_degrees": round(float(np.degrees(footing.uncertainty)), 2),
            "camera_height": round(-footing.height, 3),
        }


def find_world(
    motions: Sequence[BodyMotion], body: BodyModel, foot_lock: bool = False
) -> list[BodyMotion] | str:
    """The same people with their places in the world of a camera that stands still.

    Or else why there is none.

    The body is that of the motions. `foot_lock` also turns the legs so that
    feet stay where they stand and nothing of them is below the ground.
    """
    if not motions:
        return "nobody was found"
    body = copy.deepcopy(body).cpu().double()
    walkers = [walker(motion, body) for motion in motions]
    footing = find_footing(walkers)
    if isinstance(footing, str):
        return footing
    rotation = _level(footing.up)
    # On the ground, but for the origin still below the camera.
    world = World(rotation, np.array([0.0, -footing.height, 0.0]), footing)
    placed = [
        _stood(person, number, world, body, foot_lock) for number, person in enumerate(walkers)
    ]
    first = body.joints(placed[0][:1])[0, 0].numpy() * (1.0, 0.0, 1.0)
    world = replace(world, translation=world.translation - first)
    told = world.told() | {"foot_lock": foot_lock}
    shift = torch.from_numpy(first)
    return [
        replace(
            motion,
            world=InWorld(replace(smpl, transl=smpl.transl - shift), world.matrix(), told),
        )
        for motion, smpl in zip(motions, placed, strict=True)
    ]


def leveled(motions: Sequence[BodyMotion], body: BodyModel) -> Float[ndarray, "3 3"] | None:
    """The rotation from the camera to a frame with y up in which it looks towards -z.

    As if it stood still, by the balance and the steps of those who are there for long enough; None
    where they do not tell.
    """
    body = copy.deepcopy(body).cpu().double()
    walkers = [walker(each, body) for each in motions if each.times[-1] - each.times[0] > _LONG]
    footing = find_footing(walkers) if walkers else "nobody is there for long enough"
    return None if isinstance(footing, str) else _level(footing.up)


def _level(up: Float[ndarray, "3"]) -> Float[ndarray, "3 3"]:
    """The rotation from the camera to a frame with y up in which it looks towards -z."""
    ahead = np.array([0.0, 0.0, 1.0])
    level = ahead - (ahead @ up) * up
    if np.linalg.norm(level) < _LEVEL:
        # Looking straight down, ahead is where the top of the image is; straight up, the bottom.
        top = np.array([0.0, np.sign(ahead @ up), 0.0])
        level = top - (top @ up) * up
    back = -level / np.linalg.norm(level)
    return np.stack([np.cross(up, back), up, back])


def _stood(
    person: Walker, number: int, world: World, body: BodyModel, foot_lock: bool
) -> SmplParams:
    """Somebody in the world, on its ground; float64."""
    footing = world.footing
    smpl = person.smpl
    rest = body.rest_joints(smpl.betas[0])[0]
    seen = smpl.transl + rest
    # Who stands too high or too low is nearer or farther than it seems, for the most part.
    own = footing.heights[number]
    missing = footing.height - own
    gain = _SIZE_ERROR**2 * own / (_SIZE_ERROR**2 * own**2 + _OWN_HEIGHT_ERROR**2)
    scale = 1.0 + gain * missing
    rotation = torch.from_numpy(world.rotation)
    pelvis = (scale * seen) @ rotation.T + torch.from_numpy(world.translation)
    pelvis[:, 1] += missing - (scale - 1.0) * own
    orient = torch.empty_like(smpl.global_orient)
    for part in chunks(len(orient), smpl.body_pose):
        orient[part] = rotation @ smpl.global_orient[part]
    stood = SmplParams(orient, smpl.body_pose, smpl.betas, pelvis - rest)
    contacts, times = footing.contacts[number], person.motion.times
    return steady(Standing(stood, contacts, times, world.translation), body, foot_lock)
