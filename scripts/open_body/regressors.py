"""Joint regressors: the body's own 24 joints and the COCO, LSP and Human3.6M key points."""

from __future__ import annotations

import numpy as np

from open_body.joints import JOINT_FLIP, JOINT_NAMES, JOINT_PARENTS
from open_body.landmarks import left_ear
from open_body.row_fitting import fit_row, mirror_rows
from open_body.source import SourceBody

# Metres around each joint in which skin may take part in its regressor.
RADII = {
    "pelvis": 0.17, "left_hip": 0.15, "spine1": 0.17, "spine2": 0.17, "spine3": 0.17,
    "left_knee": 0.10, "left_ankle": 0.08, "left_foot": 0.07, "neck": 0.11, "head": 0.13,
    "left_collar": 0.13, "left_shoulder": 0.12, "left_elbow": 0.08, "left_wrist": 0.07,
    "left_hand": 0.06,
}  # fmt: skip
NEARBY_WEIGHT = 0.5  # least weight of the joint and its parent together on skin that takes part
TRUNK = ("pelvis", "spine1", "spine2", "spine3", "neck", "head")

# Hip key points lie outside of the hip joint: (factor on the sideways distance of the rig's thigh
# bone, metres above the hip joint). COCO annotators click near the groin's outer end, LSP and
# Human3.6M put their hips further out.
COCO_HIP = (0.92, 0.009)
WIDE_HIP = (1.16, 0.013)
HIP_POINT_RADIUS = 0.15

COCO_FEET_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder",
    "left_elbow", "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee",
    "right_knee", "left_ankle", "right_ankle", "left_big_toe", "left_small_toe", "left_heel",
    "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
H36M_NAMES = (
    "pelvis", "left_hip", "left_knee", "left_ankle", "right_hip", "right_knee", "right_ankle",
    "spine", "neck", "nose", "head_top", "left_shoulder", "left_elbow", "left_wrist",
    "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip
H36M_TO_LSP = (6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10)


def fit_joint_regressor(
    bodies: np.ndarray, joints: np.ndarray, weights: np.ndarray, flip: np.ndarray
) -> np.ndarray:
    """(24, V) rows that find joints (N, 24, 3) in (N, V, 3) bodies skinned by (V, 24) weights."""
    rows = np.zeros((24, bodies.shape[1]))
    for name, radius in RADII.items():
        joint = JOINT_NAMES.index(name)
        nearby = weights[:, joint] + weights[:, max(JOINT_PARENTS[joint], 0)]
        allowed = np.ones(len(weights), bool) if name in TRUNK else nearby > NEARBY_WEIGHT
        rows[joint] = fit_row(
            bodies, joints[:, joint], radius, allowed=allowed, moving_weight=weights[:, joint]
        )
        if JOINT_FLIP[joint] != joint:
            rows[JOINT_FLIP[joint]] = rows[joint][flip]
    return 0.5 * (rows + mirror_rows(rows, JOINT_FLIP, flip))


def hip_points(
    joints: np.ndarray, thigh_heads: np.ndarray, definition: tuple[float, float]
) -> np.ndarray:
    """(N, 3) left hip key points of bodies with joints (N, 24, 3).

    `thigh_heads` (N, 3) are the heads of the rig's left thigh bone; `definition` is `COCO_HIP` or
    `WIDE_HIP`.
    """
    sideways, raised = definition
    points = joints[:, JOINT_NAMES.index("left_hip")].copy()
    points[:, 0] = sideways * thigh_heads[:, 0]
    points[:, 1] += raised
    return points


def fit_hip_rows(
    bodies: np.ndarray, left_points: np.ndarray, weights: np.ndarray, flip: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Left and right rows (V,) that follow left hip key points (N, 3) and their mirror images."""
    hip, pelvis = (weights[:, JOINT_NAMES.index(name)] for name in ("left_hip", "pelvis"))
    left = fit_row(bodies, left_points, HIP_POINT_RADIUS, allowed=hip + pelvis > NEARBY_WEIGHT)
    return left, left[flip]


def surface_rows(
    body: SourceBody,
    template: np.ndarray,
    landmarks: dict[str, int],
    flip: np.ndarray,
    eyelids: np.ndarray,
) -> dict[str, np.ndarray]:
    """Rows (V,) of points on the skin: single landmarks, and the centres of eyes and ears."""
    count = len(flip)
    rows = {name: np.eye(1, count, vertex)[0] for name, vertex in landmarks.items()}
    left_eyelids = eyelids[template[eyelids, 0] > 0]
    for name, vertices in (("eye", left_eyelids), ("ear", left_ear(body, template))):
        row = np.bincount(vertices, minlength=count) / len(vertices)
        rows[f"left_{name}"], rows[f"right_{name}"] = row, row[flip]
    return rows


def coco_feet_regressor(
    joint_rows: np.ndarray,
    surface: dict[str, np.ndarray],
    hips: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """(23, V) COCO's 17 key points and six foot points in `COCO_FEET_NAMES` order."""
    own = dict(zip(JOINT_NAMES, joint_rows, strict=True))
    rows = own | {"left_hip": hips[0], "right_hip": hips[1]} | surface
    return np.stack([rows[name] for name in COCO_FEET_NAMES])


def h36m_regressor(
    joint_rows: np.ndarray,
    surface: dict[str, np.ndarray],
    hips: tuple[np.ndarray, np.ndarray],
) -> np.ndarray:
    """(17, V) Human3.6M key points in `H36M_NAMES` order."""
    own = dict(zip(JOINT_NAMES, joint_rows, strict=True))
    rows = own | {
        "left_hip": hips[0],
        "right_hip": hips[1],
        "pelvis": 0.5 * (hips[0] + hips[1]),
        "spine": 0.5 * (own["spine1"] + own["spine2"]),
        "nose": surface["nose"],
        "head_top": surface["head_top"],
    }
    return np.stack([rows[name] for name in H36M_NAMES])
