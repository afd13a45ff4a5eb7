"""Whose prediction is whose: predicted people assigned to the labelled people of a video."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.command_line import counted
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.people.similarity import paired_overlap

LEAST_OVERLAP = 0.3
"""Mean overlap (IoU) of boxes, over the frames that both have, from which two are one person."""


@dataclass(frozen=True, eq=False)
class Assignment:
    """Who is who in one video."""

    motions: dict[str, PredictedMotion | None]
    """For every labelled sequence of the video, by name; None where nobody was predicted."""
    notes: tuple[str, ...] = ()
    """What a reader of the scores should know: parts joined, people left over."""


def assign(
    people: Sequence[LabelledSequence], motions: Sequence[PredictedMotion], bodies: Bodies
) -> Assignment:
    """Match by overlap of boxes in the image, over whole tracks.

    A lone prediction for a lone labelled person is theirs. Parts of one person's track that do not
    overlap in time are joined, and a note says so. Raises `InputError` if two predictions claim
    the same person in the same frames, or if nothing tells where in the image a prediction is.
    """
    if not motions:
        return Assignment({person.name: None for person in people})
    if len(people) == len(motions) == 1:
        return Assignment({people[0].name: motions[0]})
    boxes = [_boxes(motion, people[0], bodies) for motion in motions]
    claims: dict[str, list[int]] = {person.name: [] for person in people}
    left_over = []
    for number, motion in enumerate(motions):
        overlaps = [_overlap(person, motion, boxes[number]) for person in people]
        best = int(np.argmax(overlaps))
        if overlaps[best] >= LEAST_OVERLAP:
            claims[people[best].name].append(number)
        else:
            left_over.append(motion.name)
    notes = [f"nobody labelled: {', '.join(left_over)}"] if left_over else []
    chosen: dict[str, PredictedMotion | None] = {}
    for name, numbers in claims.items():
        parts = [motions[number] for number in numbers]
        chosen[name] = _joined(name, parts) if parts else None
        if len(parts) > 1:
            apart = any(part.world is not None for part in parts)
            notes.append(
                f"{name} is joined from {', '.join(part.name for part in parts)}"
                + (", whose world frames differ: the true cameras place them" if apart else "")
            )
    return Assignment(chosen, tuple(notes))


def _joined(name: str, parts: list[PredictedMotion]) -> PredictedMotion:
    """One motion from parts that follow each other."""
    parts = sorted(parts, key=lambda part: int(part.frames[0]))
    for first, second in combinations(parts, 2):
        shared = np.intersect1d(first.frames, second.frames)
        if len(shared):
            raise InputError(
                f"two predictions claim {name}: {first.name} and {second.name} both have frame "
                f"{shared[0]} ({counted(len(shared), 'frame')} in all); remove one of them"
            )
    if len(parts) == 1:
        return parts[0]
    return replace(
        parts[0],
        name=" + ".join(part.name for part in parts),
        frames=np.concatenate([part.frames for part in parts]),
        smpl=_concatenated([part.smpl for part in parts]),
        world=None,
        boxes=None,
        keypoints=None,
        filled=np.concatenate([_filled(part) for part in parts]),
        has_depth=all(part.has_depth for part in parts),
    )


def _filled(part: PredictedMotion) -> ndarray:
    return np.zeros(len(part), bool) if part.filled is None else part.filled


def _concatenated(parts: list[SmplParams]) -> SmplParams:
    return SmplParams(
        *(torch.cat([getattr(part, each.name) for part in parts]) for each in fields(SmplParams))
    )


def _boxes(
    motion: PredictedMotion, person: LabelledSequence, bodies: Bodies
) -> Float[ndarray, "N 4"]:
    """The prediction's own boxes, or those around its projected joints."""
    if motion.boxes is not None:
        return motion.boxes
    if not motion.has_depth:
        raise InputError(
            f"{motion.name} says neither where in the image nor how far the person is, and "
            f"{person.video} has several: name the files {person.video}_0, {person.video}_1, ..."
        )
    width, height = person.camera.width, person.camera.height
    camera = motion.camera or Camera.with_assumed_focal(width, height)
    return _around(motion.smpl, bodies.of(motion.gender), camera)


def _around(smpl: SmplParams, body: BodyModel, camera: Camera) -> Float[ndarray, "N 4"]:
    joints = body.joints(smpl)
    pixels = camera.project(torch.cat([joints[..., :2], joints[..., 2:].clamp(min=0.1)], -1))
    return torch.cat([pixels.amin(1), pixels.amax(1)], -1).numpy()


def _overlap(
    person: LabelledSequence, motion: PredictedMotion, boxes: Float[ndarray, "N 4"]
) -> float:
    """Mean IoU over the frames that both have; 0 if there are none."""
    inside = (motion.frames >= 0) & (motion.frames < len(person))
    true = person.boxes[motion.frames[inside]]
    own = boxes[inside]
    known = np.isfinite(true).all(-1) & np.isfinite(own).all(-1)
    if not known.any():
        return 0.0
    return float(paired_overlap(own[known], true[known]).mean())
