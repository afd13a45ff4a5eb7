"""Tracks from keypoints that somebody else annotated or detected, as what our models look at."""

import json
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.archive import read_arrays
from temporal_hmr.crops import extents
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.motion import Track
from temporal_hmr.output.npz import skeleton_named
from temporal_hmr.skeleton import COCO23, Skeleton

_STANDS_FOR = {"left_big_toe": "left_foot", "right_big_toe": "right_foot"}
"""Taken for a joint of COCO23 that a skeleton lacks."""


def as_coco23(keypoints: Float[ndarray, "T J 3"], skeleton: Skeleton) -> Float[ndarray, "T 23 3"]:
    """The same keypoints as COCO23, by the joints' names; joints that are lacking become 0 0 0.

    Of SMPL's joints come hips, knees, ankles, shoulders, elbows, wrists, and `foot` for the big
    toe. They are not quite the points that COCO's annotators mark: SMPL's joints are the body's
    turning points inside it, its hips lie lower and closer together than they look, its foot turns
    where the toes begin; and no face comes with them.

    Raises `InputError` if the skeleton has none of the joints.
    """
    converted = np.zeros((len(keypoints), len(COCO23), 3))
    pairs = [
        (ours, skeleton.index(name))
        for ours, joint in enumerate(COCO23.joints)
        for name in (joint if joint in skeleton.joints else _STANDS_FOR.get(joint),)
        if name in skeleton.joints
    ]
    if not pairs:
        raise InputError(f"{skeleton.name} has no joint in common with {COCO23.name}")
    ours, theirs = (list(positions) for positions in zip(*pairs, strict=True))
    converted[:, ours] = keypoints[:, theirs]
    return converted


def dataset_track(person: LabelledSequence) -> Track | None:
    """The sequence's own annotated keypoints; None if there are none in any frame."""
    return _track(person, np.arange(len(person)), person.keypoints, person.skeleton)


def keypoint_file(person: LabelledSequence, folder: Path) -> Path:
    """Where a folder has the keypoints of one person, whether or not it does."""
    return folder / f"{person.name}.npz"


def file_track(person: LabelledSequence, folder: Path) -> Track | None:
    """The keypoints in `<sequence name>.npz`; None if nothing is known in any frame.

    The file holds `keypoints2d` (T J 3; pixels and a confidence in 0..1), `frame_ids` (T) and the
    name of their `skeleton`, one of ours; or it is one of our results, whose `meta` names it.

    Raises `InputError` if the file is absent or holds something else.
    """
    path = keypoint_file(person, folder)
    if not path.is_file():
        raise InputError(
            f"there are no keypoints at {path}: give a folder with one such file for each person"
        )
    arrays = read_arrays(path, lambda names: _fields(path, names))
    try:
        skeleton = skeleton_named(_skeleton_name(arrays))
    except (InputError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"the keypoints of {path} are of no known skeleton: {error}") from error
    keypoints, frames = arrays["keypoints2d"], arrays["frame_ids"]
    wrong = _wrong_keypoints(keypoints, skeleton) or _wrong_frames(frames, keypoints, len(person))
    if wrong:
        raise InputError(f"{path}: {wrong}")
    return _track(person, frames, keypoints, skeleton)


def _fields(path: Path, names: list[str]) -> Iterable[str]:
    naming = [name for name in ("skeleton", "meta") if name in names][:1]
    missing = [name for name in ("keypoints2d", "frame_ids") if name not in names]
    missing += [] if naming else ["skeleton"]
    if missing:
        raise InputError(f"{path} holds no keypoints that we can read: it lacks {missing[0]}")
    return ("keypoints2d", "frame_ids", *naming)


def _skeleton_name(arrays: dict[str, ndarray]) -> str:
    if "skeleton" in arrays:
        return str(arrays["skeleton"])
    return json.loads(str(arrays["meta"]))["skeleton"]


def _wrong_keypoints(keypoints: ndarray, skeleton: Skeleton) -> str | None:
    expected = (len(skeleton), 3)
    if keypoints.dtype.kind not in "fiu" or keypoints.shape[1:] != expected:
        return (
            f"keypoints2d is {keypoints.dtype} of shape {keypoints.shape}, where {skeleton.name} "
            f"needs numbers of shape (frames, {expected[0]}, 3)"
        )
    confidence = keypoints[..., 2]
    if not ((confidence >= 0) & (confidence <= 1)).all():
        return "the confidences in keypoints2d must lie in 0..1"
    if not np.isfinite(keypoints[confidence > 0]).all():
        return "keypoints2d has places that are not finite; give what is unknown the confidence 0"
    return None


def _wrong_frames(frames: ndarray, keypoints: ndarray, count: int) -> str | None:
    if frames.dtype.kind not in "iu" or frames.shape != keypoints.shape[:1]:
        return f"frame_ids must be {len(keypoints)} whole numbers, one per row of keypoints2d"
    if not (np.diff(frames.astype(np.int64)) > 0).all():
        return "frame_ids must increase"
    if len(frames) and not 0 <= frames[0] <= frames[-1] < count:
        return (
            f"frame_ids run from {frames[0]} to {frames[-1]}, where the video has frames 0 to "
            f"{count - 1}"
        )
    return None


def _track(
    person: LabelledSequence,
    frames: Int[ndarray, "T"],
    keypoints: Float[ndarray, "T J 3"],
    skeleton: Skeleton,
) -> Track | None:
    """Without the frames in which nothing is known.

    What lies outside the image is unknown, as it is to our detector and to models in training.
    """
    keypoints = as_coco23(keypoints, skeleton)
    size = (person.camera.width, person.camera.height)
    inside = (keypoints[..., :2] >= 0).all(-1) & (keypoints[..., :2] < size).all(-1)
    known = inside & (keypoints[..., 2] > 0)
    keypoints = np.where(known[..., None], keypoints, 0.0)
    keypoints[..., 2] = keypoints[..., 2].clip(max=1)
    present = known.any(-1)
    if not present.any():
        return None
    frames, keypoints = frames[present].astype(np.int64), keypoints[present]
    boxes = person.boxes[frames]
    boxed = np.isfinite(boxes).all(-1, keepdims=True)
    boxes = np.where(boxed, boxes, extents(keypoints))
    return Track(0, frames, frames / person.fps, boxes, keypoints, COCO23)
