"""An icosahedron, refined twice: the smallest closed surface with three levels."""

import numpy as np
from scipy import sparse

from temporal_hmr.body.coarse_mesh import CoarseMesh, edges_of, neighbours_in

GOLDEN = (1 + 5**0.5) / 2


def icosahedron() -> tuple[np.ndarray, np.ndarray]:
    """12 vertices, each with five neighbours, and 20 faces."""
    corners = np.array([(0, a, b * GOLDEN) for a in (-1, 1) for b in (-1, 1)], float)
    vertices = np.concatenate([np.roll(corners, shift, 1) for shift in range(3)])
    near = np.linalg.norm(vertices[:, None] - vertices[None], axis=-1) < 2.1
    faces = [
        (i, j, k)
        for i in range(12)
        for j in range(i + 1, 12)
        for k in range(j + 1, 12)
        if near[i, j] and near[j, k] and near[i, k]
    ]
    return vertices / np.linalg.norm(vertices[0]), np.array(faces)


def refined(count: int, faces: np.ndarray) -> tuple[np.ndarray, sparse.csr_matrix]:
    """Faces cut into four, and the matrix that puts new vertices amid the edges."""
    edges = edges_of(faces)
    number = {tuple(edge): count + index for index, edge in enumerate(edges.tolist())}
    finer = []
    for a, b, c in faces.tolist():
        ab, bc, ca = (number[min(p), max(p)] for p in ((a, b), (b, c), (c, a)))
        finer += [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    rows = np.concatenate([np.arange(count), np.repeat(count + np.arange(len(edges)), 2)])
    columns = np.concatenate([np.arange(count), edges.ravel()])
    weights = np.concatenate([np.ones(count), np.full(2 * len(edges), 0.5)])
    shape = (count + len(edges), count)
    return np.array(finer), sparse.csr_matrix((weights, (rows, columns)), shape)


def small_mesh() -> CoarseMesh:
    """12, 42 and 162 vertices."""
    _, faces = icosahedron()
    middle_faces, to_middle = refined(12, faces)
    _, to_full = refined(42, middle_faces)
    return CoarseMesh(
        neighbours=neighbours_in(faces, 12),
        middle_faces=middle_faces,
        coarse_to_middle=to_middle,
        middle_to_full=to_full,
        full_to_middle=sparse.csr_matrix(np.eye(42, 162)),
        full_to_coarse=sparse.csr_matrix(np.eye(12, 162)),
    )
