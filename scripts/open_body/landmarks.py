"""Named skin vertices: face, finger tips, toes and heels, found from bones and geometry."""

from __future__ import annotations

import numpy as np

from open_body.source import SourceBody

FINGER_NAMES = ("thumb", "index", "middle", "ring", "pinky")
EAR_MOTION_SHARE = 0.05  # of the largest motion when the ear is scaled; below is not ear
EAR_VERTICES = 12
TIP_WEIGHT = 0.5  # of a digit's last bone, from which on a vertex belongs to its tip
HEEL_HEIGHT = 0.035  # metres above the sole, the back of the heel bone


def find_landmarks(
    body: SourceBody, template: np.ndarray, flip: np.ndarray, eyelids: np.ndarray
) -> dict[str, int]:
    """Landmark vertices of the T-posed (V, 3) template by name, "left_" and "right_" included.

    `eyelids` are the vertices of both eyelid rims.
    """
    middle = flip == np.arange(len(flip))
    left: dict[str, int] = {
        "eye": _nearest(template, template[eyelids[template[eyelids, 0] > 0]].mean(axis=0)),
        "ear": int(left_ear(body, template)[0]),
        "heel": _heel(body, template),
        "big_toe": _tip(body, template, "toe1-2.L", 2),
        "small_toe": _tip(body, template, "toe5-3.L", 2),
    }
    for number, finger in enumerate(FINGER_NAMES, start=1):
        left[finger] = _tip(body, template, f"finger{number}-3.L", 0 if number > 1 else None)
    found = {
        "nose": int(np.argmax(np.where(middle & _of_head(body), template[:, 2], -np.inf))),
        "head_top": int(np.argmax(np.where(middle, template[:, 1], -np.inf))),
    }
    for name, vertex in left.items():
        found[f"left_{name}"] = int(vertex)
        found[f"right_{name}"] = int(flip[vertex])
    return found


def left_ear(body: SourceBody, template: np.ndarray) -> np.ndarray:
    """The `EAR_VERTICES` vertices nearest the middle of the left ear, nearest first."""
    motion = body.left_ear_motion
    ear = np.flatnonzero(motion > EAR_MOTION_SHARE * motion.max())
    distance = np.linalg.norm(template[ear] - template[ear].mean(axis=0), axis=1)
    return ear[np.argsort(distance, kind="stable")[:EAR_VERTICES]]


def _of_head(body: SourceBody) -> np.ndarray:
    return body.weights[:, body.bone("head")] > TIP_WEIGHT


def _nearest(template: np.ndarray, point: np.ndarray) -> int:
    return int(np.argmin(np.linalg.norm(template - point, axis=1)))


def _tip(body: SourceBody, template: np.ndarray, bone: str, axis: int | None) -> int:
    """The furthest vertex of a digit's last bone: along an axis, or from the wrist if None."""
    of_digit = body.weights[:, body.bone(bone)] > TIP_WEIGHT
    if axis is not None:
        return int(np.argmax(np.where(of_digit, template[:, axis], -np.inf)))
    wrist = np.average(template, axis=0, weights=body.weights[:, body.bone("wrist.L")])
    distance = np.linalg.norm(template - wrist, axis=1)
    return int(np.argmax(np.where(of_digit, distance, -np.inf)))


def _heel(body: SourceBody, template: np.ndarray) -> int:
    """The rearmost vertex of the left foot low on the heel."""
    of_foot = body.weights[:, body.bone("foot.L")] > TIP_WEIGHT
    low = template[:, 1] < template[:, 1].min() + HEEL_HEIGHT
    return int(np.argmin(np.where(of_foot & low, template[:, 2], np.inf)))
