"""Takes of motion capture, and files of them."""

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from temporal_hmr.data.mocap import MocapTake

Z_UP = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""From a world with y up to the same with z up."""


def small_poses(frames=7, width=72, seed=0):
    poses = np.random.default_rng(seed).normal(0, 0.3, (frames, width)).astype(np.float32)
    poses[:, :3] *= 0.3
    return poses


def write_take(path, **changes):
    arrays: dict[str, Any] = {
        "poses": small_poses(),
        "trans": np.tile(np.array([0.2, 0.9, -0.4], np.float32), (7, 1)),
        "betas": np.arange(16, dtype=np.float64),
        "gender": np.array(b"female"),
        "mocap_framerate": np.array(120.0),
    } | changes
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def take_of(rotations, translation=None, fps=30.0):
    translation = torch.zeros(len(rotations), 3) if translation is None else translation
    return MocapTake("take", "subject", rotations, translation, fps, torch.zeros(10))


def z_up(take):
    root = Z_UP @ take.rotations[:, :1]
    rotations = torch.cat([root, take.rotations[:, 1:]], 1)
    return replace(take, rotations=rotations, translation=take.translation @ Z_UP.T)
