"""What BlazePose says of one body, as a person with COCO's joints; and where to look for a body."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.motion import Person2D
from temporal_hmr.people.blazepose import BlazePose, ImagePacket, Landmarks, Region
from temporal_hmr.people.similarity import keypoint_similarity
from temporal_hmr.skeleton import BLAZEPOSE23, BLAZEPOSE33, COCO17, COCO23

_COCO17_IN_23 = COCO23.indices(*COCO17.joints)
_FROM_BLAZEPOSE = [
    (ours, theirs)
    for ours, theirs in enumerate(COCO23.positions_in(BLAZEPOSE33))
    if theirs is not None
]

_APART = 0.03
"""Of the person's extent: keypoints read so far apart are believed by half."""


def person_from(landmarks: Landmarks, image_shape: tuple[int, ...]) -> Person2D:
    """BlazePose's landmarks as BLAZEPOSE23; what lies outside the image is unknown."""
    ours, theirs = (list(positions) for positions in zip(*_FROM_BLAZEPOSE, strict=True))
    keypoints = np.zeros((len(COCO23), 3))
    points = landmarks.points[theirs]
    keypoints[ours, :2] = points[:, :2]
    keypoints[ours, 2] = points[:, 2] * points[:, 3]
    height, width = image_shape[:2]
    inside = (keypoints[:, :2] >= 0).all(-1) & (keypoints[:, :2] < (width, height)).all(-1)
    keypoints[~inside] = 0
    return Person2D(tight_box(keypoints), keypoints, BLAZEPOSE23, landmarks.score)


def weighed(person: Person2D, mirrored: Person2D) -> Person2D:
    """With less confidence in what was read elsewhere in the picture's mirror image.

    BlazePose is as sure of what it takes for an arm as of an arm, but takes it for one hardly ever
    both ways.
    """
    ours, theirs = person.keypoints, mirrored.keypoints
    known = ours[:, 2] > 0
    if not known.any():
        return person
    size = np.ptp(ours[known, :2], axis=0).max()
    apart = np.linalg.norm(ours[:, :2] - theirs[:, :2], axis=-1) / max(size, 1e-6)
    both = known & (theirs[:, 2] > 0)
    keypoints = ours.copy()
    keypoints[both, 2] /= 1 + (apart[both] / _APART) ** 2
    return replace(person, keypoints=keypoints)


def tight_box(keypoints: Float[ndarray, "J 3"]) -> Float[ndarray, "4"]:
    """Around the joints that are rather seen than not, or around all if hardly any is."""
    seen = keypoints[:, 2] > 0.5
    return box_around(keypoints[seen if seen.sum() >= 3 else keypoints[:, 2] > 0, :2])


def box_around(points: Float[ndarray, "n 2"]) -> Float[ndarray, "4"]:
    """With a margin of a twentieth of its longer side; zeros around nothing."""
    if not len(points):
        return np.zeros(4)
    low, high = points.min(0), points.max(0)
    margin = 0.05 * (high - low).max()
    return np.concatenate([low - margin, high + margin])


def sureness(person: Person2D) -> float:
    """Mean confidence of COCO's 17 joints."""
    return float(person.keypoints[_COCO17_IN_23, 2].mean())


def likeness(a: Person2D, b: Person2D) -> float:
    """OKS of two readings of one image, at the size of the larger."""
    scale = max(float(np.sqrt(np.prod(box[2:] - box[:2]))) for box in (a.box, b.box))
    return keypoint_similarity(a.keypoints, b.keypoints, scale, a.skeleton)


def read_settled(blazepose: BlazePose, packet: ImagePacket, region: Region) -> Landmarks | None:
    """The body at a region; if it lies elsewhere than the region says, read anew at that place."""
    landmarks = blazepose.read(packet, region)
    if landmarks is not None and not agree(region, landmarks.region):
        return blazepose.read(packet, landmarks.region)
    return landmarks


def agree(a: Region, b: Region) -> bool:
    """Whether two regions hold the same body at about the same size."""
    distance = float(np.hypot(a.x - b.x, a.y - b.y))
    larger, smaller = max(a.size, b.size), max(min(a.size, b.size), 1e-9)
    return distance < 0.15 * smaller and larger < 1.35 * smaller


def near(a: Region, b: Region) -> bool:
    """Whether two regions can hold one body in neighbouring frames."""
    distance = float(np.hypot(a.x - b.x, a.y - b.y))
    larger, smaller = max(a.size, b.size), max(min(a.size, b.size), 1e-9)
    return distance < 0.25 * smaller and larger < 1.5 * smaller


def region_around(box: Float[ndarray, "4"]) -> Region:
    """Where a body lies that stands upright and fills a box (x_min, y_min, x_max, y_max in px)."""
    x, y = (box[:2] + box[2:]).tolist()
    return Region(x / 2, y / 2, 1.25 * float((box[2:] - box[:2]).max()), 0.0)


def close_up(
    image: UInt8[ndarray, "H W 3"], region: Region, closeness: float
) -> tuple[UInt8[ndarray, "side side 3"], int, int]:
    """The upright square about a region, black beyond the image, and where its corner lies (px).

    `closeness` is its side over the region's.
    """
    side = max(int(region.size * closeness), 1)
    x, y = int(region.x - side / 2), int(region.y - side / 2)
    shown = np.zeros((side, side, 3), np.uint8)
    part = image[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)]
    row, column = max(-y, 0), max(-x, 0)
    shown[row : row + part.shape[0], column : column + part.shape[1]] = part
    return shown, x, y
