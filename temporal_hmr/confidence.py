"""How likely each joint is right, from what was seen of it.

A detector's confidence is about its own picture: a hand behind a back may be plain to see and a
decimetre off in depth. Here confidence is the probability that a joint lies within `RIGHT` of where
it is, as seen from the pelvis: a logistic regression on what can be known of a frame without its
truth, fitted to the embedded model's errors on rendered videos (`scripts/calibrate_confidence.py`).
"""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.skeleton import COCO23, SMPL24

RIGHT = 0.1
"""Metres."""
ASSET = "confidence.json"
FEATURES = (
    "score of its keypoints",
    "score of all keypoints",
    "distance of its keypoints",
    "distance of all keypoints",
    "bone along the line of sight",
    "seconds from a frame in which somebody was seen",
)
_SEEN_AS = {
    "pelvis": ("hip",),
    "spine1": ("hip",),
    "spine2": ("hip", "shoulder"),
    "spine3": ("shoulder",),
    "neck": ("shoulder",),
    "collar": ("shoulder",),
    "head": ("nose", "ear"),
    "foot": ("big_toe", "heel"),
    "hand": ("wrist",),
}
"""Keypoints that tell of a joint, on its side where it has one; others have one of their name."""
_FAR = 0.1
"""Share of the box from which it does not matter how far a keypoint is off."""
_LONG = 0.5
"""Seconds from which it does not matter how long somebody has not been seen."""


@dataclass(frozen=True, eq=False)
class Seen:
    """What is known of a motion without its truth."""

    keypoints: Float[ndarray, "T 23 3"]
    """Detected: pixels and confidence, 0 where unseen."""
    projected: Float[ndarray, "T 23 2"]
    """The same points of the recovered body, pixels."""
    joints: Float[ndarray, "T 24 3"]
    """Recovered, camera frame, metres."""
    boxes: Float[ndarray, "T 4"]
    away: Float[ndarray, "T"]
    """Seconds from the nearest frame in which the person was observed (`seconds_away`)."""


def joint_confidence(seen: Seen) -> Float[ndarray, "T 24"]:
    """Probability that each joint is within `RIGHT` of the truth, as seen from the pelvis.

    The pelvis has that of the joints next to it.
    """
    weights, bias = _fitted()
    odds = features(seen) @ weights + bias
    likely = 1 / (1 + np.exp(-odds))
    children = [joint for joint, parent in enumerate(SMPL24.parents) if parent == 0]
    likely[:, 0] = likely[:, children].mean(1)
    return likely.astype(np.float32)


def features(seen: Seen) -> Float[ndarray, "T 24 6"]:
    """`FEATURES` of every joint in every frame, each of the order of 1."""
    score = seen.keypoints[..., 2]
    side = np.maximum((seen.boxes[:, 2:] - seen.boxes[:, :2]).max(1), 1.0)
    distance = np.linalg.norm(seen.projected - seen.keypoints[..., :2], axis=-1) / side[:, None]
    # A keypoint that was not seen could be anywhere.
    distance = np.where(score > 0, np.minimum(np.nan_to_num(distance, nan=1.0), _FAR), _FAR) / _FAR
    tells = _tells()
    own_score, own_distance = score @ tells.T, distance @ tells.T
    count = (score > 0).sum(1)
    known = np.maximum(count, 1)
    all_distance = np.where(count > 0, (distance * (score > 0)).sum(1) / known, 1.0)
    values = [
        own_score,
        np.broadcast_to(score.sum(1, keepdims=True) / known[:, None], own_score.shape),
        own_distance,
        np.broadcast_to(all_distance[:, None], own_score.shape),
        _along_sight(seen.joints),
        np.broadcast_to(np.minimum(seen.away, _LONG)[:, None] / _LONG, own_score.shape),
    ]
    return np.stack(values, -1)


@cache
def _tells() -> Float[ndarray, "24 23"]:
    """How much each keypoint counts for each joint."""
    rows = np.zeros((len(SMPL24), len(COCO23)))
    for row, joint in zip(rows, SMPL24.joints, strict=True):
        part = joint.removeprefix("left_").removeprefix("right_")
        sides = (joint.removesuffix(part),) if part != joint else ("left_", "right_", "")
        names = {side + name for side in sides for name in _SEEN_AS.get(part, (part,))}
        chosen = COCO23.indices(*sorted(names & set(COCO23.joints)))
        row[chosen] = 1 / len(chosen)
    return rows


def _along_sight(joints: Float[ndarray, "T 24 3"]) -> Float[ndarray, "T 24"]:
    """How much of the bone to each joint runs in depth, 0..1: pictures show the rest of it."""
    parents = np.maximum(np.array(SMPL24.parents), 0)
    bones = joints - joints[:, parents]
    return np.abs(bones[..., 2]) / np.maximum(np.linalg.norm(bones, axis=-1), 1e-6)


def seconds_away(times: Float[ndarray, "T"], observed: Bool[ndarray, "T"]) -> Float[ndarray, "T"]:
    """From the nearest time at which somebody was observed; infinite where they never were."""
    seen = times[observed]
    if not len(seen):
        return np.full(len(times), np.inf)
    after = np.searchsorted(seen, times).clip(0, len(seen) - 1)
    before = (after - 1).clip(0)
    return np.minimum(np.abs(times - seen[after]), np.abs(times - seen[before]))


@cache
def _fitted() -> tuple[Float[ndarray, "6"], Float[ndarray, "24"]]:
    text = (files("temporal_hmr") / "assets" / ASSET).read_text(encoding="utf-8")
    fitted = json.loads(text)
    weights = [fitted["weights"][name] for name in FEATURES]
    return np.array(weights), np.array([fitted["bias"][joint] for joint in SMPL24.joints])
