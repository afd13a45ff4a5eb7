"""Non-negative regressor rows: convex combinations of skin vertices that follow a point."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

RIDGE = 2e-4  # square metres; spreads a row over a ring of vertices instead of a few
SMALLEST_SHARE = 1e-4


def fit_row(
    vertices: np.ndarray,
    targets: np.ndarray,
    radius: float,
    *,
    allowed: np.ndarray,
    moving_weight: np.ndarray | None = None,
) -> np.ndarray:
    """(V,) non-negative row, summing to 1, whose points are nearest `targets` on average.

    Args:
        vertices: (N, V, 3) bodies.
        targets: (N, 3) point to follow in each.
        radius: metres around the mean target in which vertices may be used.
        allowed: (V,) which vertices may be used.
        moving_weight: (V,) skinning weight of the joint at the point. Vertices are then also
            balanced around the point weighted by it, so that the point stays when the joint turns.
    """
    mean_offset = vertices.mean(axis=0) - targets.mean(axis=0)
    chosen = np.flatnonzero(allowed & (np.linalg.norm(mean_offset, axis=1) < radius))
    if len(chosen) < 3:
        raise ValueError("too few vertices near the point to be regressed")
    # With rows summing to 1 the error is linear in the offsets vertex - target.
    offsets = (vertices[:, chosen] - targets[:, None]).transpose(0, 2, 1).reshape(-1, len(chosen))
    gram = offsets.T @ offsets / len(vertices)
    if moving_weight is not None:
        balance = mean_offset[chosen].T * moving_weight[chosen]
        gram = gram + balance.T @ balance
    factor = np.linalg.cholesky(gram + RIDGE * np.eye(len(chosen))).T
    # The cost is homogeneous: a row of ones with any positive right side fixes only the scale.
    scale = np.sqrt(np.trace(gram) / len(chosen))
    system = np.concatenate([factor, np.full((1, len(chosen)), scale)])
    right = np.zeros(len(system))
    right[-1] = scale
    shares, _ = nnls(system, right)
    shares[shares < SMALLEST_SHARE * shares.sum()] = 0.0
    row = np.zeros(vertices.shape[1])
    row[chosen] = shares / shares.sum()
    return row


def mirror_rows(rows: np.ndarray, flip_rows: np.ndarray, flip_vertices: np.ndarray) -> np.ndarray:
    """(K, V) rows of the mirror image: each row's mirror on the mirrored vertices."""
    return rows[flip_rows][:, flip_vertices]
