"""Whose prediction is whose: predicted people assigned to the labelled people of a video."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

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
_MOST_SHARED = 0.5
"""Share of a track's frames that somebody surer has already: beyond it, it is another person."""
_SQUARE = 0.01
"""Sides of square boxes differ by less than this share."""


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
    """Match everybody labelled in a video with everybody predicted, by overlap of boxes.

    Where a system's boxes are square, around the person, those of the labels are made so too.
    Whole tracks are matched, the surest first; a track that shares most of its frames with a surer
    one of the same person is somebody else, or a duplicate that is left out. Parts of one person's
    track are joined; where they overlap in time the surer is taken, and frames that a system calls
    guesses yield to seen ones. Notes say all of this. A lone prediction for a lone labelled person
    is theirs. Raises `InputError` if nothing tells where in the image a prediction is.
    """
    if not motions:
        return Assignment({person.name: None for person in people})
    if len(people) == len(motions) == 1:
        return Assignment({people[0].name: motions[0]})
    parts: dict[str, list[PredictedMotion]] = {person.name: [] for person in people}
    claims, best = [], 0.0
    for number, motion in enumerate(motions):
        boxes = _boxes(motion, people[0], bodies)
        for person in people:
            mean, total = _overlap(person, motion, boxes)
            best = max(best, mean)
            if mean >= LEAST_OVERLAP:
                claims.append((-total, number, person.name))
    placed, likely = set(), {}
    for _, number, name in sorted(claims):
        likely.setdefault(number, name)
        if number not in placed and not _is_taken(motions[number], parts[name]):
            parts[name].append(motions[number])
            placed.add(number)
    strangers = [m.name for n, m in enumerate(motions) if n not in placed and n not in likely]
    notes = [f"nobody labelled: {', '.join(strangers)}"] if strangers else []
    if not placed:
        notes[0] += f" (boxes overlap by {best:.2f} at best, and {LEAST_OVERLAP} is needed)"
    for number, name in likely.items():
        if number not in placed:
            notes.append(f"{motions[number].name} claims {name} as well and is left out")
    notes += [_note(name, found) for name, found in parts.items() if len(found) > 1]
    return Assignment(
        {name: _joined(found) if found else None for name, found in parts.items()}, tuple(notes)
    )


def _is_taken(motion: PredictedMotion, others: Sequence[PredictedMotion]) -> bool:
    seen = _seen_frames(motion)
    shared = np.isin(seen, np.concatenate([_seen_frames(each) for each in others] or [seen[:0]]))
    return bool(len(seen)) and shared.mean() > _MOST_SHARED


def _seen_frames(motion: PredictedMotion) -> ndarray:
    return motion.frames[~_filled(motion)]


def _note(name: str, parts: Sequence[PredictedMotion]) -> str:
    note = f"{name} is joined from {', '.join(part.name for part in parts)}"
    frames = np.concatenate([_seen_frames(part) for part in parts])
    doubled = len(frames) - len(np.unique(frames))
    if doubled:
        note += f"; both have {counted(doubled, 'frame')}, where the one named first is taken"
    if any(part.world is not None for part in parts):
        note += "; their world frames differ, so the true cameras place them in the world"
    return note


def _joined(parts: Sequence[PredictedMotion]) -> PredictedMotion:
    """One motion from parts, the surest first."""
    if len(parts) == 1:
        return parts[0]
    frames = np.concatenate([part.frames for part in parts])
    filled = np.concatenate([_filled(part) for part in parts])
    rank = np.concatenate([np.full(len(part), number) for number, part in enumerate(parts)])
    order = np.lexsort((rank, filled, frames))
    # Of every frame the first: seen before guessed, then the surer part.
    rows = order[np.unique(frames[order], return_index=True)[1]]
    return replace(
        parts[0],
        name=" + ".join(part.name for part in parts),
        frames=frames[rows],
        smpl=_concatenated([part.smpl for part in parts])[torch.from_numpy(rows)],
        world=None,
        boxes=None,
        keypoints=None,
        filled=filled[rows],
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
) -> tuple[float, float]:
    """Mean and sum of IoU over the frames that both have and nobody guessed; 0 without any."""
    inside = (motion.frames >= 0) & (motion.frames < len(person)) & ~_filled(motion)
    true = person.boxes[motion.frames[inside]]
    own = boxes[inside]
    known = np.isfinite(true).all(-1) & np.isfinite(own).all(-1)
    if not known.any():
        return 0.0, 0.0
    own, true = own[known], true[known]
    overlaps = paired_overlap(own, _squared(true) if _are_square(own) else true)
    return float(overlaps.mean()), float(overlaps.sum())


def _are_square(boxes: Float[ndarray, "N 4"]) -> bool:
    """As VIBE and TCMR crop: of an upright person such a box is mostly beside them."""
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    return np.allclose(width, height, rtol=_SQUARE)


def _squared(boxes: Float[ndarray, "N 4"]) -> Float[ndarray, "N 4"]:
    """With the same centre and the longer side."""
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).max(1, keepdims=True) / 2
    return np.concatenate([center - half, center + half], 1)
