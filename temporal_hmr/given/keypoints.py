"""Keypoints or boxes from a file in place of the detector's, whatever the file's kind."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.data.annotations import read_json
from temporal_hmr.data.sequence_parts import coco_keypoints
from temporal_hmr.errors import InputError
from temporal_hmr.given.coco_file import read_annotations, read_list
from temporal_hmr.given.finders import BoxesOfFile, PeopleOfFile
from temporal_hmr.given.frame_numbers import count_frames
from temporal_hmr.given.mot_file import looks_like_boxes, read_boxes
from temporal_hmr.given.openpose_files import is_frame, read_frame, read_frames, read_frames_folder
from temporal_hmr.given.our_results import OF_A_FOLDER, read_results
from temporal_hmr.given.sightings import GivenFile, Sighting
from temporal_hmr.motion import Person2D
from temporal_hmr.output.folder import SUMMARY
from temporal_hmr.output.npz import package_version
from temporal_hmr.people.reading import sureness, tight_box
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23, Skeleton
from temporal_hmr.video import Clip

_FORMATS = (
    "COCO's or AlphaPose's json, a folder of OpenPose's, boxes of the MOT Challenge, or a result "
    "of ours"
)
_LEAST_SURE = 0.15
"""Mean confidence of COCO's 17 joints, below which people whom nobody has identified are taken for
noise; lists for COCO's evaluation are full of them."""
_SURELY_NO_PROBABILITY = 1.5
"""Confidences are a little above 1 now and then."""
_MOST_OUTSIDE = 0.3
"""Share of keypoints outside of the picture from which they are of another picture."""
_MANY_OUTSIDE = 0.1
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class GivenKeypoints:
    """What a file says of the frames of one clip."""

    told: str
    """What the file is, as its result tells it."""
    people: dict[int, list[Person2D]]
    """By frame; empty if there are only boxes."""
    boxes: dict[int, list[Sighting]]
    """By frame; empty if there are keypoints."""
    mirrored: bool = True
    """Whether people in boxes are read in the mirror image, too."""

    def __str__(self) -> str:
        """For the records of a result."""
        if not self.boxes:
            return self.told
        read = f"{self.told}, keypoints by BlazePose of mediapipe {package_version('mediapipe')}"
        return read + (", both ways round" if self.mirrored else "")

    def weights(self) -> Mapping[str, str]:
        """Of no network."""
        return {}

    def open(self, device: torch.device) -> PeopleOfFile | BoxesOfFile:
        """What finds these people in the frames of the clip; a context manager, on the CPU.

        Raises `InputError` if boxes are to be read and mediapipe is missing.
        """
        return BoxesOfFile(self.boxes, self.mirrored) if self.boxes else PeopleOfFile(self.people)


def read_keypoints(path: Path, clip: Clip) -> GivenKeypoints:
    """Keypoints or boxes of the people in a clip, from a file or folder told by its content.

    Keypoints become COCO23 by the names of joints; those that a format lacks, and those outside of
    the picture, have the confidence 0. Confidences are clipped to 0..1.

    Raises `InputError` if the file is none that we know, is damaged, or is not of this clip: other
    frames, another size.
    """
    given = _read(path, clip)
    if not given.sightings:
        raise InputError(f"{path} tells of nobody: there are no keypoints in it")
    _check_size(given, clip)
    counted = count_frames(
        path, (sighting.frame for sighting in given.sightings), given.counts_from, clip
    )
    frames = [counted.frames[sighting.frame] for sighting in given.sightings]
    _refuse_twins(given, frames)
    boxes: dict[int, list[Sighting]] = {}
    people: dict[int, list[Person2D]] = {}
    if given.sightings[0].box is not None:
        _check_places(given, np.array([s.box for s in given.sightings]).reshape(-1, 2), clip)
        for frame, sighting in zip(frames, given.sightings, strict=True):
            boxes.setdefault(frame, []).append(sighting)
        return GivenKeypoints(_told(given, "boxes", counted.how), people, boxes)
    for frame, person in zip(frames, _people(given, clip), strict=True):
        if person is not None:
            people.setdefault(frame, []).append(person)
    if not people:
        raise InputError(f"{path} has no keypoint of any confidence in the picture")
    joints = len(given.skeleton)
    return GivenKeypoints(_told(given, f"{joints} keypoints", counted.how), people, boxes)


def _told(given: GivenFile, what: str, how: str) -> str:
    return f"{what} of a file: {given.kind}, {how}"


def _read(path: Path, clip: Clip) -> GivenFile:
    if path.is_dir():
        if (path / SUMMARY).is_file() or any(path.glob(OF_A_FOLDER)):
            return read_results(path, clip)
        if any(path.glob("*.json")):
            return read_frames_folder(path)
        raise InputError(f"the folder {path} holds no keypoints that we know: give {_FORMATS}")
    beginning, text = _beginning(path)
    if beginning.startswith(b"PK"):
        return read_results(path, clip)
    if text[:1] in ("[", "{"):
        return _read_contents(path, read_json(path))
    if looks_like_boxes(text):
        return read_boxes(path, text)
    raise InputError(f"{path} holds no keypoints that we know: give {_FORMATS}")


def _beginning(path: Path) -> tuple[bytes, str]:
    """The first bytes of a file, and all of it if it is text."""
    if not path.is_file():
        raise InputError(f"there are no keypoints at {path}: check the path")
    try:
        contents = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from error
    if not contents.strip():
        raise InputError(f"{path} is empty: give {_FORMATS}")
    try:
        text = "" if contents.startswith(b"PK") else contents.decode("utf-8-sig").lstrip()
    except UnicodeDecodeError:
        text = ""
    return contents[:4], text


def _read_contents(path: Path, contents: Any) -> GivenFile:
    if isinstance(contents, list):
        return read_list(path, contents)
    if "annotations" in contents:
        return read_annotations(path, contents)
    if is_frame(contents):
        return read_frame(path, contents)
    if contents and all(is_frame(frame) for frame in contents.values()):
        return read_frames(path, contents)
    keys = ", ".join(list(contents)[:6]) or "none"
    raise InputError(f"{path} holds no keypoints that we know (its keys: {keys}): give {_FORMATS}")


def _check_size(given: GivenFile, clip: Clip) -> None:
    size = given.image_size
    if size is not None and size != (clip.width, clip.height):
        raise InputError(
            f"{given.path} is of pictures of {size[0]} x {size[1]} pixels, and {clip.path.name} "
            f"has {clip.width} x {clip.height}: give keypoints in the pixels of this video"
        )


def _refuse_twins(given: GivenFile, frames: list[int]) -> None:
    seen = set()
    for frame, sighting in zip(frames, given.sightings, strict=True):
        who = (frame, sighting.person_id)
        if sighting.person_id is not None and who in seen:
            raise InputError(
                f"{given.path}: {sighting.place} is person {sighting.person_id} a second time in "
                f"frame {sighting.frame}: numbers must tell people apart, or be left out"
            )
        seen.add(who)


def _people(given: GivenFile, clip: Clip) -> list[Person2D | None]:
    """Each sighting's, None where nothing of it is known."""
    stacked = np.stack([np.asarray(s.keypoints, np.float64) for s in given.sightings])
    _refuse_not_finite(given, stacked)
    confidence = stacked[..., 2]
    if confidence.max() > _SURELY_NO_PROBABILITY:
        _log.warning(
            "%s has confidences up to %.3g, which are no probabilities: those above 1 count as 1",
            given.path,
            confidence.max(),
        )
    stacked[..., 2] = confidence.clip(0, 1)
    skeleton, keypoints = _in_our_joints(stacked, given.skeleton)
    known = keypoints[..., 2] > 0
    _check_places(given, keypoints[known, :2], clip)
    inside = (keypoints[..., :2] >= 0).all(-1)
    inside &= (keypoints[..., :2] < (clip.width, clip.height)).all(-1)
    keypoints[~(known & inside)] = 0
    people = [
        _person(sighting, each, skeleton)
        for sighting, each in zip(given.sightings, keypoints, strict=True)
    ]
    unsure = sum(person is None for person in people)
    if unsure:
        _log.warning("%s: %d of %d people are too unsure to use", given.path, unsure, len(people))
    return people


def _refuse_not_finite(given: GivenFile, stacked: Float[ndarray, "S J 3"]) -> None:
    broken = ~np.isfinite(stacked).all((1, 2))
    if broken.any():
        place = given.sightings[int(broken.argmax())].place
        raise InputError(
            f"{given.path}: {place} has keypoints that are not finite: give what is unknown as 0 0 "
            "with the confidence 0"
        )


def _in_our_joints(
    keypoints: Float[ndarray, "S J 3"], skeleton: Skeleton
) -> tuple[Skeleton, Float[ndarray, "S 23 3"]]:
    if skeleton == BLAZEPOSE23:
        return skeleton, np.where(keypoints[..., 2:] > 0, keypoints, 0.0)
    return COCO23, coco_keypoints(keypoints, skeleton)


def _person(
    sighting: Sighting, keypoints: Float[ndarray, "23 3"], skeleton: Skeleton
) -> Person2D | None:
    person = Person2D(
        box=tight_box(keypoints),
        keypoints=keypoints,
        skeleton=skeleton,
        score=min(max(sighting.score, 0.0), 1.0),
        person_id=sighting.person_id,
    )
    least = _LEAST_SURE if sighting.person_id is None else 0.0
    return person if keypoints[:, 2].any() and sureness(person) >= least else None


def _check_places(given: GivenFile, points: Float[ndarray, "n 2"], clip: Clip) -> None:
    """Refuse pixels of another picture, or what is not in pixels at all."""
    if not len(points):
        return
    largest = np.abs(points).max(0)
    if largest.max() <= 2 < min(clip.width, clip.height) / 8:
        raise InputError(
            f"{given.path} has places within {largest.max():.3g} of 0, as if in shares of the "
            "picture: give them in pixels (of OpenPose: --keypoint_scale 0)"
        )
    low, high = np.array([0.0, 0.0]), np.array([clip.width, clip.height], float)
    margin = 0.02 * high.max()
    outside = ((points < low - margin) | (points > high + margin)).any(-1).mean()
    told = (
        f"{100 * outside:.0f} % of the places in {given.path} lie outside of the picture of "
        f"{clip.width} x {clip.height} pixels, up to {largest[0]:.0f} x {largest[1]:.0f}: "
    )
    if outside > _MOST_OUTSIDE:
        raise InputError(told + "give keypoints in the pixels of this video")
    if outside > _MANY_OUTSIDE:
        _log.warning("%sare they of this video?", told)
