"""Boxes of people in the text format of the MOT Challenge (Milan et al., 2016).

A line each: frame, id, left, top, width, height, confidence and more. Nine numbers are the
challenge's ground truth, whose seventh says whether to heed the line and whose eighth is a class.
"""

import logging
import re
from pathlib import Path

import numpy as np

from temporal_hmr.data.annotations import corners
from temporal_hmr.errors import InputError
from temporal_hmr.given.sightings import GivenFile, Sighting
from temporal_hmr.skeleton import BLAZEPOSE23

_LEAST = 6
_GROUND_TRUTH = 9
_PEOPLE = (1, 2, 7)
"""Classes of ground truth: pedestrian, person on a vehicle, static person."""
_log = logging.getLogger(__name__)


def looks_like_boxes(text: str) -> bool:
    """Whether its first line begins like one of the format."""
    words = _words(next(iter(text.splitlines()), ""))
    return len(words) >= _LEAST and re.fullmatch(r"[\d.]+", words[0]) is not None


def read_boxes(path: Path, text: str) -> GivenFile:
    """Frames are counted from 1; an id below 0 says nothing of who it is.

    Raises `InputError` for a line that is not as it should be.
    """
    sightings, others = [], 0
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        place = f"line {number}"
        values = _numbers(path, place, line)
        if len(values) == _GROUND_TRUTH and (values[6] == 0 or _other_class(values[7])):
            others += 1
            continue
        frame, identity = values[:2]
        box = corners(values[2:6])
        if not np.isfinite(box).all():
            raise InputError(f"{path}: the box of {place} has no area: it is {line.strip()[:60]}")
        sightings.append(
            Sighting(
                frame=int(frame),
                place=place,
                box=box,
                person_id=int(identity) if identity >= 0 else None,
            )
        )
    if others:
        _log.warning("%s: %d lines are not of people who count, and are left out", path, others)
    return GivenFile(path, "MOT Challenge", BLAZEPOSE23, sightings, counts_from=1)


def _words(line: str) -> list[str]:
    return [word for word in re.split(r"[,;\s]+", line.strip()) if word]


def _numbers(path: Path, place: str, line: str) -> np.ndarray:
    try:
        values = np.array([float(word) for word in _words(line)])
    except ValueError:
        values = np.zeros(0)
    if len(values) < _LEAST or not np.isfinite(values).all():
        raise InputError(
            f"{path}: {place} is not frame,id,left,top,width,height,...: {line.strip()[:60]!r}"
        )
    if (values[:2] % 1).any() or values[0] < 0:
        raise InputError(f"{path}: {place} has no whole numbers for frame and id")
    return values


def _other_class(number: float) -> bool:
    return number > 0 and number not in _PEOPLE
