"""How alike two poses of one image are: COCO's object keypoint similarity (OKS)."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.skeleton import Skeleton

_FALLOFF = {
    "nose": 0.026,
    "eye": 0.025,
    "ear": 0.035,
    "shoulder": 0.079,
    "elbow": 0.072,
    "wrist": 0.062,
    "hip": 0.107,
    "knee": 0.087,
    "ankle": 0.089,
    "big_toe": 0.068,
    "small_toe": 0.066,
    "heel": 0.066,
}
"""Standard deviations of annotators over the object scale (COCO; feet: COCO-WholeBody)."""


def falloffs(skeleton: Skeleton) -> Float[ndarray, "J"]:
    """The OKS constant of every joint; joints that COCO lacks get that of a shoulder."""
    names = [joint.removeprefix("left_").removeprefix("right_") for joint in skeleton.joints]
    return np.array([_FALLOFF.get(name, _FALLOFF["shoulder"]) for name in names])


def keypoint_similarity(
    a: Float[ndarray, "J 3"],
    b: Float[ndarray, "J 3"],
    scale: float,
    skeleton: Skeleton,
    widening: float = 1.0,
) -> float:
    """OKS in 0..1 of two poses (x, y px, confidence), weighted by both confidences.

    `scale` is the square root of the person's area in px. `widening` multiplies the falloffs, for
    poses that need not coincide. 0 where the two share no confident joint.
    """
    weights = a[:, 2] * b[:, 2]
    if weights.sum() < 1e-6 or scale <= 0:
        return 0.0
    squared = ((a[:, :2] - b[:, :2]) ** 2).sum(-1)
    spread = 2 * falloffs(skeleton) * widening * scale
    return float((weights * np.exp(-squared / (2 * spread**2))).sum() / weights.sum())


def box_overlap(a: Float[ndarray, "n 4"], b: Float[ndarray, "m 4"]) -> Float[ndarray, "n m"]:
    """Intersection over union of every box of `a` with every box of `b` (xyxy)."""
    return paired_overlap(a[:, None], b[None])


def paired_overlap(a: Float[ndarray, "*n 4"], b: Float[ndarray, "*n 4"]) -> Float[ndarray, "*n"]:
    """Intersection over union of each box of `a` with its partner in `b` (xyxy)."""
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., 2:], b[..., 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).clip(0).prod(-1) for boxes in (a, b)]
    return shared / np.maximum(areas[0] + areas[1] - shared, 1e-9)
