"""Round the body's arrays to fine grids that compress well, and write them as one file."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

# Grids in metres (or shares), powers of two so that mirrored values stay exact mirror images.
GRIDS = {
    "v_template": 2.0**-20,
    "shapedirs": 2.0**-17,
    "posedirs": 2.0**-16,
    "upsample_431_full": 2.0**-17,
    "upsample_1723_full": 2.0**-17,
    "upsample_431_1723": 2.0**-17,
}
WEIGHT_GRID = 2.0**-16


def round_array(name: str, values: np.ndarray) -> np.ndarray:
    """`values` in float32 (integers stay integers), on the grid of that key if it has one."""
    if values.dtype.kind in "iuU":
        return values
    if name in GRIDS:
        values = np.round(values / GRIDS[name]) * GRIDS[name]
    return values.astype(np.float32) + np.float32(0.0)  # + 0 turns -0 into 0


def round_weights(weights: np.ndarray, flip: np.ndarray, joint_flip: np.ndarray) -> np.ndarray:
    """Skinning weights (V, J) on a grid with rows summing to exactly 1, mirror-symmetric.

    The rounding remainder goes to the largest weight; on the middle plane to the largest weight
    of an unpaired joint, so that left and right stay equal.
    """
    rounded = np.round(weights / WEIGHT_GRID) * WEIGHT_GRID
    middle_joints = joint_flip == np.arange(len(joint_flip))
    middle_vertices = flip == np.arange(len(flip))
    candidates = np.where(middle_vertices[:, None] & ~middle_joints, -1.0, rounded)
    rows = np.arange(len(rounded))
    rounded[rows, candidates.argmax(axis=1)] += 1.0 - rounded.sum(axis=1)
    right_half = flip < rows
    rounded[right_half] = rounded[flip[right_half]][:, joint_flip]
    return rounded


def write_body(path: Path, arrays: dict[str, np.ndarray], meta: dict[str, Any]) -> None:
    """Write the arrays and `meta` (as a JSON string) to `path`, replacing it only when whole."""
    packed: dict[str, Any] = {name: round_array(name, values) for name, values in arrays.items()}
    packed["meta"] = np.array(json.dumps(meta, indent=1, sort_keys=True))
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.stem + ".partial.npz")
    np.savez_compressed(partial, **packed)
    os.replace(partial, path)
