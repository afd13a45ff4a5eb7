"""The ground under the people, and a world with it at height zero and y up to look at them in."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.checks.parts import in_parts
from temporal_hmr.checks.plane import Ground, estimate_ground, soles_of
from temporal_hmr.checks.subject import Place, prepare
from temporal_hmr.checks.thresholds import Thresholds
from temporal_hmr.output.viewer.result import Person, Result
from temporal_hmr.skeleton import SMPL24

_IMAGE_UP = np.array([0.0, -1.0, 0.0])
"""Up of a camera that is held level, in its own axes."""
_LOW = 0.05
"""Quantile of the heights of feet where the ground is supposed if it cannot be estimated."""

_OF_RESULT = (
    "The world is that of the result; bodies are shown where the camera saw them, which is not "
    "quite where they stand in it."
)


@dataclass(frozen=True, eq=False)
class Stage:
    """Where the camera stands in a world of metres with y up and the ground at y = 0."""

    world_from_camera: Float[ndarray, "4 4"]
    """The world's z points from the people to the camera, level; its origin lies below them, or
    below the first of them at first."""
    note: str
    """On what the ground rests."""


def set_stage(result: Result) -> Stage:
    """The world of the result, where it has one.

    Else one whose ground is told by the feet of the person who is seen longest and walks on one;
    where nobody's feet tell, up is what is up in the image.
    """
    worlds = [person.motion.world_from_camera for person in result.people]
    if worlds[0] is not None and all(each is not None for each in worlds):
        return Stage(worlds[0], _OF_RESULT)
    places = [(person, _place(person, result)) for person in result.people]
    up, height, note = _ground(places, result.fps)
    pelvis = SMPL24.index("pelvis")
    pelvises = [in_parts(lambda each: each[:, pelvis], person.joints) for person, _ in places]
    centre = np.nanmedian(np.concatenate(pelvises), 0)
    centre = np.nan_to_num(centre)
    towards_camera = _level(np.array([0.0, 0.0, -1.0]), up)
    axes = np.stack([np.cross(up, towards_camera), up, towards_camera])
    origin = centre - (centre @ up - height) * up
    transform = np.eye(4)
    transform[:3, :3], transform[:3, 3] = axes, -axes @ origin
    return Stage(transform, note)


def _place(person: Person, result: Result) -> Place:
    subject = prepare(person.motion, person.body, person.own_body, result.fps, result.step)
    assert subject.camera_place is not None
    return subject.camera_place


def _ground(
    places: list[tuple[Person, Place]], fps: float
) -> tuple[Float[ndarray, "3"], float, str]:
    """Up, the ground's height along it, and on what they rest."""
    share = Thresholds().ground_share
    for person, place in sorted(places, key=lambda each: -len(each[0].motion)):
        ground = estimate_ground(place, fps, share, often_level=False)
        if isinstance(ground, Ground):
            note = f"The ground is laid under the feet of person {person.person_id}"
            return ground.normal, ground.height, f"{note}; others may float above it or sink."
    heights = [_lowest(place) for _, place in places]
    known = np.concatenate(heights)
    known = known[np.isfinite(known)]
    height = float(np.quantile(known, _LOW)) if len(known) else 0.0
    return _IMAGE_UP, height, "The ground is a guess: level with the camera, under the lowest feet."


def _lowest(place: Place) -> Float[ndarray, "T"]:
    feet = soles_of(place, _IMAGE_UP)
    return in_parts(lambda points: (feet(points) @ _IMAGE_UP).min(1), place.points)


def _level(direction: Float[ndarray, "3"], up: Float[ndarray, "3"]) -> Float[ndarray, "3"]:
    """The part of a direction that is square to up; for a camera that looks straight down, its
    image's down."""
    for candidate in (direction, -_IMAGE_UP):
        flat = candidate - (candidate @ up) * up
        length = np.linalg.norm(flat)
        if length > 0.2:
            break
    return flat / length
