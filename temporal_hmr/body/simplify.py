"""A mesh with fewer of its vertices, for drawing it small.

Edges are collapsed onto one of their ends in the order of quadric error (Garland and Heckbert,
"Surface simplification using quadric error metrics", SIGGRAPH 1997), all at once that are the
cheapest far and wide: some dozens of milliseconds, where one after the other takes seconds.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from temporal_hmr.body.model import BodyArrays, BodyModel

_ROUNDS = 16
_LEAST_GAIN = 0.02
"""Share of the vertices that a round must do away with for there to be another one."""
_LEAST_COSINE = 0.3
"""Between the normals of a triangle before and after: none may turn over."""
_LEAST_HEIGHT = 0.05
"""Twice the area of a triangle over the sum of its squared sides; of an equal-sided one 0.29."""


def simplified(body: BodyModel, tolerance: float) -> BodyModel:
    """The same body with fewer vertices, to be posed and drawn; `tolerance` in metres.

    Joints are the body's own; regressors and landmarks, which go by its vertices, it has not.
    """
    template = body.v_template.detach().cpu().float().numpy()
    kept, faces = np.unique(
        simplify(template, body.faces.cpu().numpy(), tolerance), return_inverse=True
    )
    which = torch.from_numpy(kept).to(body.faces)
    small = BodyModel(
        BodyArrays(
            name=body.name,
            licence=body.licence,
            v_template=template[kept],
            faces=faces.reshape(-1, 3),
            shapedirs=np.zeros((len(kept), 3, 0), np.float32),
            posedirs=np.zeros((len(kept), 3, 0), np.float32),
            joint_regressor=np.zeros((len(body.parents), len(kept)), np.float32),
            weights=np.zeros((len(kept), len(body.parents)), np.float32),
        ),
        body.v_template.dtype,
    ).to(body.v_template.device)
    # As they are: to take them apart and put them together again takes longer than all else.
    small.directions, small.weights = body.directions[:, which], body.weights[which]
    small.joint_template, small.joint_shapedirs = body.joint_template, body.joint_shapedirs
    return small


def simplify(
    points: Float[ndarray, "V 3"], faces: Int[ndarray, "F 3"], tolerance: float
) -> Int[ndarray, "G 3"]:
    """Faces over fewer of the points, a tolerance (of their unit) from the former ones at most.

    What is meant is the root mean square of the distances from a point that stays to the planes of
    the triangles that it replaces. Borders are left as they are.
    """
    points, faces = np.ascontiguousarray(points.T, np.float32), faces.T.astype(np.int64)
    count = points.shape[1]
    spent, fixed = np.zeros(count, np.float32), _unclosed(faces, count)
    for _ in range(_ROUNDS):
        onto, gone = _cheapest(points, faces, spent, tolerance, fixed)
        refused = _spoiling(points, faces, onto, gone)
        fixed |= refused
        gone &= ~refused
        spent[onto[gone]] = np.maximum(spent[onto[gone]], spent[gone])
        moved = np.where(gone, onto, np.arange(count))[faces]
        faces = moved[:, ~_collapsed(moved)]
        if gone.sum() < _LEAST_GAIN * faces.shape[1] / 2:
            break
    return faces.T


def _unclosed(faces: Int[ndarray, "3 F"], count: int) -> Bool[ndarray, "V"]:
    """Vertices that the triangles do not lie all around: borders, and what is no surface at all.

    Around the others each neighbour follows one triangle's corner and precedes another one's.
    """
    told = np.random.default_rng(0).integers(1, 2**40, count).astype(np.float64)
    following, preceding = (
        np.bincount(faces.ravel(), told[faces[order].ravel()], count)
        for order in ([1, 2, 0], [2, 0, 1])
    )
    return following != preceding


def _collapsed(faces: Int[ndarray, "3 F"]) -> Bool[ndarray, "F"]:
    a, b, c = faces
    return (a == b) | (b == c) | (c == a)


def _crossed(points: Float[ndarray, "3 V"], faces: Int[ndarray, "3 F"]) -> Float[ndarray, "3 F"]:
    """Normals as long as twice the area."""
    a, b, c = (points.take(corner, axis=1) for corner in faces)
    u, v = b - a, c - a
    return np.stack([u[i - 2] * v[i - 1] - u[i - 1] * v[i - 2] for i in range(3)])


def _cheapest(
    points: Float[ndarray, "3 V"],
    faces: Int[ndarray, "3 F"],
    spent: Float[ndarray, "V"],
    tolerance: float,
    fixed: Bool[ndarray, "V"],
) -> tuple[Int[ndarray, "V"], Bool[ndarray, "V"]]:
    """The neighbour that each vertex had best become, and which vertices are to do that now.

    No two of those are neighbours.
    """
    count = points.shape[1]
    crossed = _crossed(points, faces)
    double = np.sqrt((crossed**2).sum(0)) + 1e-20
    around = faces.ravel()
    weight = np.bincount(around, np.tile(double, 3), count) + 1e-20
    pairs = [(i, j) for i in range(3) for j in range(i, 3)]
    quadrics = [
        np.bincount(around, np.tile(crossed[i] * crossed[j] / double, 3), count) / weight
        for i, j in pairs
    ]
    start, end = around, faces[[1, 2, 0]].ravel()
    step = points.take(end, axis=1) - points.take(start, axis=1)
    cost = sum(
        (1 if i == j else 2) * quadric.astype(np.float32)[start] * step[i] * step[j]
        for (i, j), quadric in zip(pairs, quadrics, strict=True)
    )
    cost = np.maximum(cost, 0) + 1e-4 * (step**2).sum(0)
    least = np.full(count, np.inf, np.float32)
    np.minimum.at(least, start, cost)
    onto, best = np.arange(count), cost == least[start]
    onto[start[best]] = end[best]
    least += spent
    least[fixed | (least > tolerance**2)] = np.inf
    # No two alike; those of the same cost in no order, lest all of a row wait for the first.
    mixed = np.random.default_rng(0).permutation(count)
    rank = np.empty(count, np.int32)
    rank[mixed[np.argsort(least[mixed], kind="stable")]] = np.arange(count, dtype=np.int32)
    first = rank.copy()
    np.minimum.at(first, start, rank[end])
    gone = (first == rank) & np.isfinite(least)
    spent[gone] = least[gone]
    return onto, gone


def _spoiling(
    points: Float[ndarray, "3 V"],
    faces: Int[ndarray, "3 F"],
    onto: Int[ndarray, "V"],
    gone: Bool[ndarray, "V"],
) -> Bool[ndarray, "V"]:
    """Vertices that would turn a triangle over, make it a splinter, or tear the surface."""
    leaving = gone[faces]
    touched = leaving.any(0)
    faces, leaving = faces[:, touched], leaving[:, touched]
    who = faces[leaving.argmax(0), np.arange(faces.shape[1])]
    moved = np.where(leaving, onto[faces], faces)
    lost = _collapsed(moved)
    before, after = _crossed(points, faces), _crossed(points, moved)
    sizes = np.sqrt((before**2).sum(0) * (after**2).sum(0))
    corners = [points.take(corner, axis=1) for corner in moved]
    sides = sum(((corners[i] - corners[i - 1]) ** 2).sum(0) for i in range(3))
    turned = (before * after).sum(0) < _LEAST_COSINE * sizes
    splinter = np.sqrt((after**2).sum(0)) < _LEAST_HEIGHT * sides
    spoiled = np.zeros(len(gone), bool)
    spoiled[who[~lost & (turned | splinter)]] = True
    # Inside a surface, an edge has two triangles.
    return spoiled | (gone & (np.bincount(who[lost], minlength=len(gone)) != 2))
