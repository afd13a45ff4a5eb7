"""What readers of datasets share: keypoints and joints by name, boxes, and places in the camera."""

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.crops import BOX_MARGIN, extents
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23, SMPL24, Skeleton

NEAREST = 0.1
"""Metres before the camera that every joint of a person in a picture has at least."""
PIXELS_PER_SCALE = 200
"""A person's `scale` in MPII and what follows it is a side in units of so many pixels."""
_LEAST_POINTS = 3
"""Fewer projected points do not say where a body is."""


def coco_keypoints(
    keypoints: Float[ndarray, "T J 3"], skeleton: Skeleton
) -> Float[ndarray, "T 23 3"]:
    """Keypoints by name among COCO23; 0 0 0 for what the skeleton lacks or has no confidence in."""
    found = np.zeros((len(keypoints), len(COCO23), 3))
    for place, source in enumerate(COCO23.positions_in(skeleton)):
        if source is not None:
            found[:, place] = keypoints[:, source]
    return np.where(found[..., 2:] > 0, found, 0.0)


def smpl_joints(
    points: Float[ndarray, "T J 3"], known: Bool[ndarray, "T J"], skeleton: Skeleton
) -> tuple[Float[ndarray, "T 24 3"], Bool[ndarray, "T 24"]]:
    """Points by name among SMPL24, and which of them are known; zeros for the others.

    A pelvis that is not annotated is the middle of the hips.
    """
    joints = np.zeros((len(points), len(SMPL24), 3))
    has_joints = np.zeros((len(points), len(SMPL24)), bool)
    for place, source in enumerate(SMPL24.positions_in(skeleton)):
        if source is not None:
            joints[:, place], has_joints[:, place] = points[:, source], known[:, source]
    pelvis, *hips = SMPL24.indices("pelvis", "left_hip", "right_hip")
    between = ~has_joints[:, pelvis] & has_joints[:, hips].all(1)
    joints[between, pelvis] = joints[between][:, hips].mean(1)
    has_joints[between, pelvis] = True
    return np.where(has_joints[..., None], joints, 0.0), has_joints


def place_in_camera(
    points: Float[ndarray, "T J 3"],
    keypoints: Float[ndarray, "T J 3"],
    focal: Float[ndarray, "T 2"],
    center: Float[ndarray, "T 2"],
) -> Float[ndarray, "T 3"]:
    """The shift (m) after which the points are projected to their keypoints.

    f (X + x) / (Z + z) = u - c is linear in the shift; least squares over the points whose
    keypoints have confidence. NaN where there are fewer than three of those, or they fall together.
    """
    known = keypoints[..., 2] > 0
    offset = np.where(known[..., None], keypoints[..., :2] - center[:, None], 0.0)
    rows = np.zeros((*known.shape, 2, 3))
    rows[..., 0, 0], rows[..., 1, 1] = focal[:, :1], focal[:, 1:]
    rows[..., 2] = -offset
    rows *= known[..., None, None]
    wanted = (offset * points[..., 2:] - focal[:, None] * points[..., :2]) * known[..., None]
    normal = np.einsum("tjkx,tjky->txy", rows, rows)
    right = np.einsum("tjkx,tjk->tx", rows, wanted)
    enough = (known.sum(1) >= _LEAST_POINTS) & (np.linalg.cond(normal) < 1 / np.finfo(float).eps)
    normal[~enough] = np.eye(3)
    shift = np.linalg.solve(normal, right[..., None])[..., 0]
    return np.where(enough[:, None], shift, np.nan)


def require_before_camera(
    joints: Float[ndarray, "T 24 3"], has_joints: Bool[ndarray, "T 24"], where: str
) -> None:
    """Raises `InputError` naming the first frame with a known joint at or behind the camera."""
    behind = np.any(has_joints & (joints[..., 2] < NEAREST), axis=1)
    if behind.any():
        raise InputError(
            f"{where}: joints lie at or behind the camera in {int(behind.sum())} of {len(joints)} "
            f"frames, the first {int(behind.argmax())}: they are in other axes, units or order"
        )


def person_boxes(keypoints: Float[ndarray, "T J 3"]) -> Float[ndarray, "T 4"]:
    """The known keypoints' rectangle with room for what lies around joints.

    Its larger side becomes `BOX_MARGIN` times as long, and the smaller one longer by as much. NaN
    where no keypoint is known.
    """
    corners = extents(keypoints)
    low, high = corners[:, :2], corners[:, 2:]
    room = (BOX_MARGIN - 1) / 2 * (high - low).max(1, keepdims=True)
    return np.concatenate([low - room, high + room], 1)


def square_boxes(
    center: Float[ndarray, "T 2"], scale: Float[ndarray, "T"]
) -> Float[ndarray, "T 4"]:
    """Boxes as many datasets state them: centre, and side in units of `PIXELS_PER_SCALE`.

    NaN where the scale is not positive.
    """
    half = PIXELS_PER_SCALE / 2 * scale[:, None]
    return np.where(half > 0, np.concatenate([center - half, center + half], 1), np.nan)
