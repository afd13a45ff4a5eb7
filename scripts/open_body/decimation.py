"""Mirror-symmetric mesh decimation by half-edge collapses ordered by quadric error.

Every collapse moves a vertex onto a neighbour and is made on both sides at once, so each level's
vertices are a subset of the level before it and weights or blendshapes need only be indexed.
Quadric error: Garland and Heckbert, "Surface simplification using quadric error metrics", 1997.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass

import numpy as np

LENGTH_PENALTY = 0.02  # times edge length ** 4 (m^4, as the quadric): keeps triangles even
MINIMUM_NORMAL_COSINE = 0.1  # a collapse may not turn a face further than this
MAXIMUM_VALENCE = 11


@dataclass(frozen=True)
class Level:
    """One decimated mesh: `index` (K,) original vertices and `faces` (F, 3) numbered within."""

    index: np.ndarray
    faces: np.ndarray


class SymmetricDecimation:
    """Collapses edges of one closed, mirror-symmetric mesh, further with each `reduce_to`."""

    def __init__(
        self, vertices: np.ndarray, faces: np.ndarray, flip: np.ndarray, importance: np.ndarray
    ) -> None:
        """Start from (V, 3) vertices, (F, 3) faces, (V,) mirror and (V,) cost factors."""
        self._points = vertices
        self._flip = flip
        self._importance = importance
        self._faces: dict[int, list[int]] = dict(enumerate(faces.tolist()))
        self._incident: list[set[int]] = [set() for _ in vertices]
        for number, face in self._faces.items():
            for vertex in face:
                self._incident[vertex].add(number)
        self._quadrics = _vertex_quadrics(vertices, faces)
        self._alive = np.ones(len(vertices), dtype=bool)
        self._version = np.zeros(len(vertices), dtype=np.int64)
        self._heap: list[tuple[float, int, int, int, int]] = []
        for vertex in range(len(vertices)):
            self._push_removals(vertex, self._ring(vertex))

    def reduce_to(self, count: int) -> Level:
        """Collapse until `count` vertices remain and return that level."""
        remaining = int(self._alive.sum())
        postponed = []
        while remaining > count:
            if not self._heap:
                raise ValueError(f"no legal collapse left at {remaining} vertices")
            entry = heapq.heappop(self._heap)
            _, removed, target, removed_version, target_version = entry
            if (
                not (self._alive[removed] and self._alive[target])
                or self._version[removed] != removed_version
                or self._version[target] != target_version
            ):
                continue
            on_middle = self._flip[removed] == removed
            if not on_middle and remaining - count == 1:
                postponed.append(entry)
                continue
            if self._collapse_symmetrically(removed, target):
                remaining -= 1 if on_middle else 2
        for entry in postponed:
            heapq.heappush(self._heap, entry)
        return self._level()

    def _level(self) -> Level:
        index = np.flatnonzero(self._alive)
        renumber = np.full(len(self._alive), -1)
        renumber[index] = np.arange(len(index))
        return Level(index, renumber[np.array(list(self._faces.values()))])

    def _ring(self, vertex: int) -> set[int]:
        ring = {v for number in self._incident[vertex] for v in self._faces[number]}
        ring.discard(vertex)
        return ring

    def _push_removals(self, removed: int, targets: set[int]) -> None:
        """Queue the collapses of `removed` onto each of `targets` (left or middle half only)."""
        mirrored = self._flip[removed]
        if mirrored < removed:
            return  # its mirror image stands for the pair
        allowed = [
            t for t in sorted(targets)
            if t != mirrored and (mirrored != removed or self._flip[t] == t)
        ]  # fmt: skip
        if not allowed:
            return
        points = self._points[allowed]
        homogeneous = np.concatenate([points, np.ones((len(points), 1))], axis=1)
        quadric = self._quadrics[removed] + self._quadrics[allowed]
        error = np.einsum("ki,kij,kj->k", homogeneous, quadric, homogeneous)
        length = np.linalg.norm(points - self._points[removed], axis=1)
        cost = self._importance[removed] * (np.abs(error) + LENGTH_PENALTY * length**4)
        for value, target in zip(cost.tolist(), allowed, strict=True):
            versions = (int(self._version[removed]), int(self._version[target]))
            heapq.heappush(self._heap, (value, removed, target, *versions))

    def _collapse_symmetrically(self, removed: int, target: int) -> bool:
        """Collapse `removed` onto `target` and their mirror images; false if not legal."""
        if not self._is_legal(removed, target):
            return False
        mirrored, mirrored_target = int(self._flip[removed]), int(self._flip[target])
        if mirrored == removed:
            self._collapse(removed, target)
            self._requeue([target])
            return True
        if mirrored in self._ring(removed):
            return False
        undo = self._collapse(removed, target)
        if not self._is_legal(mirrored, mirrored_target):
            self._restore(removed, target, *undo)
            return False
        self._collapse(mirrored, mirrored_target)
        self._requeue([target, mirrored_target])
        return True

    def _is_legal(self, removed: int, target: int) -> bool:
        """Whether the collapse keeps the surface a manifold and turns no face over."""
        ring, target_ring = self._ring(removed), self._ring(target)
        if len(ring & target_ring) != 2:
            return False
        if len(ring | target_ring) - 4 > max(MAXIMUM_VALENCE, len(target_ring)):
            return False
        for number in self._incident[removed]:
            face = self._faces[number]
            if target in face:
                continue
            before = self._points[face]
            after = self._points[[target if v == removed else v for v in face]]
            old = np.cross(before[1] - before[0], before[2] - before[0])
            new = np.cross(after[1] - after[0], after[2] - after[0])
            limit = MINIMUM_NORMAL_COSINE * np.sqrt((old @ old) * (new @ new))
            if old @ new <= limit:
                return False
        return True

    def _collapse(self, removed: int, target: int) -> tuple[dict[int, list[int]], np.ndarray]:
        """Move `removed` onto `target`; return what `_restore` needs to undo it."""
        before = {number: self._faces[number] for number in self._incident[removed]}
        for number, face in before.items():
            if target in face:
                del self._faces[number]
                for vertex in face:
                    self._incident[vertex].discard(number)
            else:
                self._faces[number] = [target if v == removed else v for v in face]
                self._incident[target].add(number)
        quadric = self._quadrics[target].copy()
        self._quadrics[target] += self._quadrics[removed]
        self._incident[removed] = set()
        self._alive[removed] = False
        return before, quadric

    def _restore(
        self, removed: int, target: int, before: dict[int, list[int]], quadric: np.ndarray
    ) -> None:
        for number, face in before.items():
            self._incident[target].discard(number)
            self._faces[number] = face
            for vertex in face:
                self._incident[vertex].add(number)
        self._quadrics[target] = quadric
        self._alive[removed] = True

    def _requeue(self, changed: list[int]) -> None:
        """Price anew every collapse from or onto a changed vertex."""
        for vertex in changed:
            self._version[vertex] += 1
        for vertex in set(changed):
            ring = self._ring(vertex)
            self._push_removals(vertex, ring)
            for neighbour in sorted(ring - set(changed)):
                self._push_removals(neighbour, {vertex})


def _vertex_quadrics(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """(V, 4, 4) sums of area-weighted squared-plane-distance forms of each vertex's faces."""
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    doubled_area = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = normals / np.maximum(doubled_area, 1e-15)
    planes = np.concatenate([normals, -(normals * corners[:, 0]).sum(1, keepdims=True)], axis=1)
    forms = 0.5 * doubled_area[:, :, None] * planes[:, :, None] * planes[:, None, :]
    quadrics = np.zeros((len(vertices), 4, 4))
    for corner in range(3):
        np.add.at(quadrics, faces[:, corner], forms)
    return quadrics
