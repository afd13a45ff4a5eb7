"""The full-resolution topology: visible skin only, holes closed, and its mirror image."""

from __future__ import annotations

from collections import Counter

import numpy as np
from scipy.spatial import KDTree

from open_body.source import SourceBody

MIRROR = np.array([-1.0, 1.0, 1.0])

# Removal costs relative to the torso: the source spends most vertices on hands, feet and head.
PART_IMPORTANCE = {"finger": 0.18, "metacarpal": 0.18, "wrist": 0.18, "toe": 0.07, "foot": 0.5}
HEAD_IMPORTANCE = 0.75
EYELID_IMPORTANCE = 20.0


def close_visible_skin(source: SourceBody) -> tuple[SourceBody, list[np.ndarray]]:
    """Drop the cavities behind mouth and eyes and close the three holes they leave.

    Returns the closed body and its former holes as vertex loops (eyes and mouth).
    """
    kept = np.flatnonzero(~source.hidden)
    renumber = np.full(len(source.vertices), -1)
    renumber[kept] = np.arange(len(kept))
    faces = renumber[source.faces]
    faces = faces[(faces >= 0).all(axis=1)]
    used = np.unique(faces)
    compact = np.full(len(kept), -1)
    compact[used] = np.arange(len(used))
    body = source.subset(kept[used], compact[faces])
    loops = boundary_loops(body.faces)
    flip = mirror_vertices(body.vertices)
    patches = [_fill_loop(loop, body.vertices, flip) for loop in loops]
    closed = np.concatenate([body.faces, *[patch for patch in patches if len(patch)]])
    return body.subset(np.arange(len(body.vertices)), closed), loops


def mirror_vertices(vertices: np.ndarray, tolerance: float = 1e-6) -> np.ndarray:
    """(V,) index of the mirror image across x = 0 of each of (V, 3) symmetric vertices."""
    distance, index = map(np.asarray, KDTree(vertices).query(vertices * MIRROR))
    if distance.max() > tolerance or (index[index] != np.arange(len(index))).any():
        raise ValueError(f"the mesh is not mirror symmetric: off by {distance.max():.2e} m")
    return index


def boundary_loops(faces: np.ndarray) -> list[np.ndarray]:
    """Holes of an oriented mesh, each a closed vertex loop in the order a filling face needs."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    counted = Counter(map(tuple, edges.tolist()))
    following = {b: a for a, b in counted if (b, a) not in counted}
    loops = []
    while following:
        start = min(following)
        loop = [start]
        while (vertex := following.pop(loop[-1])) != start:
            loop.append(vertex)
        loops.append(np.array(loop))
    return loops


def _fill_loop(loop: np.ndarray, vertices: np.ndarray, flip: np.ndarray) -> np.ndarray:
    """Triangles (T, 3) that close `loop`; a right-hand loop is left to its mirror image."""
    points = vertices[loop]
    if points[:, 0].max() < 0:
        return np.empty((0, 3), dtype=np.int64)
    outer = int(np.argmax(points[:, 0]))
    rolled = np.roll(loop, -outer)
    ends = np.flatnonzero(flip[rolled] == rolled)  # the mouth: two vertices on the middle plane
    if len(ends) == 0:  # an eye: its inner corner
        ends = np.array([np.argmin(vertices[rolled, 0])])
    first = rolled[: ends[0] + 1]
    second = np.append(rolled[0], rolled[ends[-1] :][::-1])
    patch = _zip_chains(first, second, vertices)
    return np.concatenate([patch, flip[patch][:, ::-1]])


def _zip_chains(first: np.ndarray, second: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Triangulate between two chains that leave the same vertex, shortest crossing edge first.

    The chains may end in one shared vertex (an eye) or in two different ones (half a mouth).
    """
    triangles = []
    i, j = 0, 0
    while i < len(first) - 1 or j < len(second) - 1:
        ahead_first = np.inf
        ahead_second = np.inf
        if i < len(first) - 1:
            ahead_first = float(np.linalg.norm(vertices[first[i + 1]] - vertices[second[j]]))
        if j < len(second) - 1:
            ahead_second = float(np.linalg.norm(vertices[second[j + 1]] - vertices[first[i]]))
        if ahead_first <= ahead_second:
            triangle = (first[i], first[i + 1], second[j])
            i += 1
        else:
            triangle = (first[i], second[j + 1], second[j])
            j += 1
        if len(set(triangle)) == 3:
            triangles.append(triangle)
    return np.array(triangles)


def removal_importance(body: SourceBody, loops: list[np.ndarray]) -> np.ndarray:
    """(V,) factors on the cost of removing each vertex when the mesh is decimated."""
    per_bone = np.ones(len(body.bone_names))
    for bone, name in enumerate(body.bone_names):
        part = next((part for part in PART_IMPORTANCE if name.startswith(part)), None)
        if part:
            per_bone[bone] = PART_IMPORTANCE[part]
        elif name in ("head", "eye.L", "eye.R"):
            per_bone[bone] = HEAD_IMPORTANCE
    importance = body.weights @ per_bone
    for loop in eye_loops(body, loops):
        importance[loop] = EYELID_IMPORTANCE
    return importance


def eye_loops(body: SourceBody, loops: list[np.ndarray]) -> list[np.ndarray]:
    """The loops that do not cross the middle plane: the eyelid rims."""
    return [loop for loop in loops if np.ptp(np.sign(body.vertices[loop, 0])) == 0]


def triangle_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(F,) areas of the faces of (V, 3) vertices."""
    corners = vertices[faces]
    crossed = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return 0.5 * np.linalg.norm(crossed, axis=1)


def vertex_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V,) a third of the area around each vertex."""
    shares = np.repeat(triangle_areas(vertices, faces) / 3.0, 3)
    return np.bincount(faces.ravel(), weights=shares, minlength=len(vertices))


def enclosed_volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Volume in cubic metres inside a closed, outward oriented mesh."""
    corners = vertices[faces]
    return float(np.einsum("fi,fi", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6.0)
