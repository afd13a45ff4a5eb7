"""Published protocols written out plainly, preset by preset, straight from the dataset's files.

Shares nothing with the package but the posing of bodies (tested against smplx elsewhere): points
are moved to the camera as points, never as SMPL parameters.
"""

from dataclasses import dataclass
from typing import Any

import naive_metrics as naive
import numpy as np
import torch

from temporal_hmr.body.params import SmplParams

LSP_IN_H36M = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]
PARTS = [0, 1, 2, 4, 5, 16, 17, 18, 19]
LIMBS = [1, 2, 4, 5, 7, 8, 16, 17, 18, 19, 20, 21]
ZEROED = [0, 7, 8, 10, 11, 20, 21, 22, 23]
FEET = [3216, 3387, 6617, 6787]
"""Toe and heel of the left foot, then of the right one, among SMPL's vertices."""


@dataclass
class Person:
    """Points of one side in the camera frame and in the world."""

    vertices: np.ndarray
    joints: np.ndarray
    world_vertices: np.ndarray
    world_joints: np.ndarray
    at_origin: np.ndarray
    """Vertices in camera orientation with zero SMPL translation."""
    joints_at_origin: np.ndarray
    turned: np.ndarray
    """Global rotations in the camera frame."""
    world_root: np.ndarray
    trans: np.ndarray


def smpl_params(poses, betas, trans) -> SmplParams:
    poses, betas, trans = (torch.from_numpy(np.asarray(a, float)) for a in (poses, betas, trans))
    return SmplParams.from_poses(poses, betas.expand(len(poses), -1), trans)


def in_world(poses, betas, trans, rotation, translation, body) -> Person:
    """A body whose parameters are in the world frame, seen by cameras x' = R x + t."""
    smpl = smpl_params(poses, betas, trans)
    vertices, joints = body.vertices(smpl).numpy(), body.joints(smpl).numpy()
    turned = body.global_rotations(smpl).numpy()
    rest = body.rest_joints(smpl.betas)[:, 0].numpy()
    pelvis = rest + np.asarray(trans, float)

    def see(points):
        return points @ rotation.swapaxes(1, 2) + translation[:, None]

    def turn(points):
        return (points - pelvis[:, None]) @ rotation.swapaxes(1, 2) + rest[:, None]

    return Person(
        see(vertices), see(joints), vertices, joints, turn(vertices), turn(joints),
        rotation[:, None] @ turned, smpl.global_orient.numpy(), np.asarray(trans, float),
    )  # fmt: skip


def visible(poses2d) -> np.ndarray:
    """VIBE's frames: a track from its first to its last box, then more than six body joints."""
    confidence = poses2d[:, 2]
    usable = []
    for t in range(len(poses2d)):
        good = confidence[t] > 0.3
        extent = np.ptp(poses2d[t, :2, good], axis=0) if good.any() else np.zeros(2)
        usable.append(np.hypot(*extent) >= 0.5)
    first, last = np.flatnonzero(usable)[[0, -1]]
    return np.array(
        [first <= t <= last and (confidence[t, 2:14] > 0.3).sum() > 6 for t in range(len(poses2d))]
    )


def challenge(poses2d, camera_valid) -> np.ndarray:
    return np.array([poses2d[t].any() and camera_valid[t] > 0 for t in range(len(poses2d))])


def threedpw_scores(
    preset: str, true: Person, predicted: Person, regressor: np.ndarray, valid: np.ndarray, fps=30.0
) -> dict[str, Any]:
    """Lists of values by metric."""
    if preset == "3dpw-challenge":
        pelvis = [0]
        sides = predicted.joints, true.joints
        return {
            "mpjpe": naive.mpjpe(*sides, pelvis, valid),
            "pa_mpjpe": naive.pa_mpjpe(*sides, valid),
            "pck": naive.pck(*sides, pelvis, LIMBS, 0.05, valid),
            "auc": naive.auc(*sides, pelvis, LIMBS, valid),
            "mpjae": naive.mpjae(predicted.turned[:, PARTS], true.turned[:, PARTS], valid),
            "pa_mpjae": naive.pa_mpjae(
                predicted.turned[:, PARTS], true.turned[:, PARTS], *sides, valid
            ),
        }
    if preset == "hmr2":
        chosen = [*range(13), 18]
        sides = [regressor @ side.at_origin for side in (predicted, true)]
        sides = [all19[:, chosen] - all19[:, [14]] for all19 in sides]
        return {
            "mpjpe": naive.mpjpe(*sides, None, valid),
            "pa_mpjpe": naive.pa_mpjpe(*sides, valid),
        }
    surfaces = [
        side.vertices if preset == "gvhmr" else side.at_origin for side in (predicted, true)
    ]
    joints = [(regressor @ surface)[:, LSP_IN_H36M] for surface in surfaces]
    roots = [side[:, [2, 3]].mean(1) for side in joints]
    rooted = [side - root[:, None] for side, root in zip(joints, roots, strict=True)]
    if preset in ("vibe", "tcmr", "int"):
        origin = [np.zeros_like(root) for root in roots]
        per_vertex = naive.pve(*surfaces, *origin, valid)
    else:
        per_vertex = naive.pve(*surfaces, *roots, valid)
    acceleration = [
        value * (1000 if preset in ("vibe", "tcmr", "int") else fps**2)
        for value in naive.acceleration_error(*rooted, None, valid, crossing=True)
    ]
    if preset == "wham":
        acceleration = acceleration[1:-1]
    result = {
        "mpjpe": naive.mpjpe(*rooted, None, valid),
        "pa_mpjpe": naive.pa_mpjpe(*rooted, valid),
        "pve": per_vertex,
        "acceleration_error": acceleration,
        "rooted": [side[valid] for side in rooted],
    }
    if preset == "3dpw":
        safe = naive.acceleration_error(*rooted, None, valid, crossing=False)
        result["acceleration_error_other_gaps"] = [value * fps**2 for value in safe]
    return result


def emdb_scores(
    preset: str, true: Person, predicted: Person, neutral: np.ndarray, valid: np.ndarray, fps=30.0
) -> dict[str, Any]:
    """`neutral` is the neutral body's own joint regressor, which some use for both sides."""
    sides = predicted, true
    if preset in ("gvhmr", "hmr2"):
        surfaces = [side.vertices if preset == "gvhmr" else side.at_origin for side in sides]
        joints = [neutral @ surface for surface in surfaces]
    else:
        surfaces = [side.at_origin for side in sides]
        joints = [side.joints_at_origin for side in sides]
    roots = [side[:, [1, 2]].mean(1) for side in joints]
    turned = [side.turned[:, PARTS] for side in sides]
    acceleration = [
        value * fps**2 for value in naive.acceleration_error(*joints, [1, 2], valid, crossing=True)
    ]
    still = predicted.joints_at_origin.copy()
    still[:, ZEROED] = 0
    true_still = true.joints.copy()
    true_still[:, ZEROED] = 0
    return {
        "mpjpe": naive.mpjpe(*joints, [1, 2], valid),
        "pa_mpjpe": naive.pa_mpjpe(*joints, valid),
        "pve": naive.pve(*surfaces, *roots, valid),
        "pa_pve": naive.pa_pve(*surfaces, *joints, valid),
        "mpjae": naive.mpjae(*turned, valid),
        "pa_mpjae": naive.pa_mpjae(*turned, *joints, valid),
        "acceleration_error": acceleration[1:-1] if preset == "wham" else acceleration,
        "jitter": naive.jitter(still, fps, valid, crossing=True),
        "jitter_truth": naive.jitter(true_still, fps, valid, crossing=True),
        "jitter_all_joints": naive.jitter(predicted.joints_at_origin, fps, valid, crossing=True),
    }


def emdb_world_scores(
    preset: str,
    true: Person,
    predicted: Person,
    neutral: np.ndarray,
    valid: np.ndarray,
    feet: list[int],
    fps=30.0,
) -> dict[str, Any]:
    """`feet` are the places of `FEET` among the vertices of these bodies."""
    joints = predicted.world_joints, true.world_joints
    kinematic = joints
    if preset == "gvhmr":
        joints = neutral @ predicted.world_vertices, neutral @ true.world_vertices
    if preset == "wham":
        paths = predicted.trans, true.trans
    else:
        paths = tuple(side[:, 0] for side in joints)
    soles = predicted.world_vertices[:, feet], true.world_vertices[:, feet]
    return {
        "wa_mpjpe": naive.world_mpjpe(*joints, valid, True, 100, 100),
        "w_mpjpe": naive.world_mpjpe(*joints, valid, True, 100, 2),
        "rte": naive.rte(*paths, valid, crossing=True),
        "jitter_world": naive.jitter(joints[0], fps, valid, crossing=True),
        "foot_sliding": naive.foot_sliding(*soles, 0.01, valid, crossing=True),
        "erve": naive.erve(
            kinematic[0][:, 0],
            kinematic[1][:, 0],
            predicted.world_root,
            true.world_root,
            valid,
            True,
        ),
    }
