"""Coarse meshes nested in the full one, and the matrices that upsample from them."""

from __future__ import annotations

import numpy as np

from open_body.decimation import Level

NEIGHBOURS = 10  # coarse vertices that may move a fine one
RIDGE = 2e-5  # square metres, towards the barycentric weights
NEAREST_FACES = 24


def barycentric_matrix(vertices: np.ndarray, level: Level) -> np.ndarray:
    """(V, K) weights of each vertex's nearest point on the coarse surface."""
    corners = vertices[level.index][level.faces]
    centres = corners.mean(axis=1)
    matrix = np.zeros((len(vertices), len(level.index)))
    for vertex, point in enumerate(vertices):
        distance = np.linalg.norm(centres - point, axis=1)
        near = np.argpartition(distance, NEAREST_FACES)[:NEAREST_FACES]
        weights = _closest_weights(point, corners[near])
        gaps = np.linalg.norm((weights[:, :, None] * corners[near]).sum(1) - point, axis=1)
        best = int(np.argmin(gaps))
        matrix[vertex, level.faces[near[best]]] = weights[best]
    matrix[level.index] = np.eye(len(level.index))
    return matrix


def _closest_weights(point: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """(F, 3) barycentric weights of the points of F triangles (F, 3, 3) closest to `point`."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    offset = point - corners[:, 0]
    gram = np.stack(
        [(first * first).sum(1), (first * second).sum(1), (second * second).sum(1)], axis=1
    )
    right_first, right_second = (first * offset).sum(1), (second * offset).sum(1)
    determinant = np.maximum(gram[:, 0] * gram[:, 2] - gram[:, 1] ** 2, 1e-18)
    v = (gram[:, 2] * right_first - gram[:, 1] * right_second) / determinant
    w = (gram[:, 0] * right_second - gram[:, 1] * right_first) / determinant
    inside = np.stack([1.0 - v - w, v, w], axis=1)
    candidates = [np.where((inside >= 0).all(axis=1, keepdims=True), inside, np.nan)]
    for start in range(3):
        end = (start + 1) % 3
        edge = corners[:, end] - corners[:, start]
        along = ((point - corners[:, start]) * edge).sum(1) / (edge * edge).sum(1)
        along = along.clip(0.0, 1.0)
        weights = np.zeros((len(corners), 3))
        weights[:, start], weights[:, end] = 1.0 - along, along
        candidates.append(weights)
    stacked = np.stack(candidates)
    reached = (stacked[..., None] * corners).sum(axis=2)
    gaps = np.nan_to_num(np.linalg.norm(reached - point, axis=2), nan=np.inf)
    return stacked[np.argmin(gaps, axis=0), np.arange(len(corners))]


def learned_matrix(
    bodies: np.ndarray, level: Level, barycentric: np.ndarray, flip: np.ndarray
) -> np.ndarray:
    """(V, K) local affine weights fitted to (N, V, 3) posed bodies; rows sum to 1.

    Each vertex follows `NEIGHBOURS` coarse vertices near its barycentric triangle, over the
    surface and not through the air, so fingers or thighs that touch do not drag each other.
    """
    coarse_flip = nested_flip(level.index, flip)
    rings = _coarse_rings(level, barycentric)
    matrix = np.zeros_like(barycentric)
    template = bodies[0]
    for vertex in np.flatnonzero(flip >= np.arange(len(flip))):
        chosen = np.array(sorted(rings[vertex]))
        gap = np.linalg.norm(template[level.index[chosen]] - template[vertex], axis=1)
        gap = gap - 1e3 * (barycentric[vertex, chosen] > 0)
        chosen = chosen[np.argsort(gap, kind="stable")[:NEIGHBOURS]]
        offsets = bodies[:, level.index[chosen]] - bodies[:, vertex, None]
        offsets = offsets.transpose(0, 2, 1).reshape(-1, len(chosen))
        gram = offsets.T @ offsets / len(bodies) + RIDGE * np.eye(len(chosen))
        right = RIDGE * barycentric[vertex, chosen]
        solved = np.linalg.solve(gram, np.column_stack([right, np.ones(len(chosen))]))
        shift = (1.0 - solved[:, 0].sum()) / solved[:, 1].sum()  # keeps the sum at 1
        matrix[vertex, chosen] = solved[:, 0] + shift * solved[:, 1]
    right_half = np.flatnonzero(flip < np.arange(len(flip)))
    matrix[right_half] = matrix[flip[right_half]][:, coarse_flip]
    matrix[level.index] = np.eye(len(level.index))
    return matrix


def nested_flip(index: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """(K,) mirror image of each vertex of a subset `index` (K,) closed under `flip` (V,)."""
    position = np.full(len(flip), -1)
    position[index] = np.arange(len(index))
    return position[flip[index]]


def _coarse_rings(level: Level, barycentric: np.ndarray) -> list[set[int]]:
    """Coarse vertices within two edges of each vertex's barycentric support."""
    neighbours: list[set[int]] = [{k} for k in range(len(level.index))]
    for face in level.faces.tolist():
        for vertex in face:
            neighbours[vertex].update(face)
    second = [set().union(*(neighbours[k] for k in ring)) for ring in neighbours]
    return [set().union(*(second[k] for k in np.flatnonzero(row))) for row in barycentric]
