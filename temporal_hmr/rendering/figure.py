"""The body made ready to be dressed: a mesh to draw, and a map of its skin.

The map (atlas) shows the body in T-pose from the front and, beside that, from behind, so that cloth
and faces are painted as on a paper doll, in metres of the rest pose.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy.spatial import KDTree
from torch import Tensor

from temporal_hmr.body.coarse_mesh import load_coarse_mesh
from temporal_hmr.body.load import OPEN_BODY
from temporal_hmr.body.model import BodyModel
from temporal_hmr.errors import InputError
from temporal_hmr.rasterize import Surface
from temporal_hmr.skeleton import SMPL24

ATLAS = 400
"""Pixels of the side of each of the map's two views."""
_MARGIN_PIXELS = 5.0
"""Paint beyond the outline, so that no bare texel is ever sampled."""

_AMONG = 0.05
"""Metres within which the skin's vertices have neighbours."""

_PARTS = {
    "head": ("head",),
    "neck": ("neck",),
    "arm": ("shoulder", "elbow"),
    "hand": ("wrist", "hand"),
    "leg": ("hip", "knee"),
    "foot": ("ankle", "foot"),
}
"""Joints whose weights make a part; everything else is trunk."""


@dataclass(frozen=True, eq=False)
class Points:
    """Points of the skin in the rest pose."""

    position: Float[ndarray, "n 3"]
    """Metres; y up, facing +z."""
    part: dict[str, Bool[ndarray, "n"]]
    """head, neck, arm, hand, leg, foot, trunk: which each point belongs to most."""
    front: Bool[ndarray, "n"]
    """Whether the point is drawn on the map's front view."""


@dataclass(frozen=True, eq=False)
class Figure:
    """A body's mesh with its map."""

    vertices: Int[Tensor, "v"]
    """The body model's vertices that are drawn."""
    skin: Surface
    """The mesh of those vertices."""
    surface: Surface
    """The same mesh cut along the border of the map's two views; to be drawn."""
    twins: Int[ndarray, "w"]
    """For each vertex of the cut mesh the one of the skin that it is."""
    map_place: Float[ndarray, "w 2"]
    """Column and row on the map of the cut mesh's vertices."""
    points: Points
    """The skin's vertices in the rest pose."""
    texels: Points
    texel_place: tuple[Int[ndarray, "n"], Int[ndarray, "n"]]
    """Row and column on the map of the texels that show skin."""
    joints: dict[str, Float[ndarray, "3"]]
    """Rest positions of the mean body's joints by name."""
    landmarks: dict[str, Float[ndarray, "3"]]
    """Rest positions of nose, eyes and ears."""

    @staticmethod
    def of(body: BodyModel, full_detail: bool = False) -> "Figure":
        """The open body is drawn with a quarter of its vertices unless in full detail.

        Raises `InputError` for a body that does not say where its face is.
        """
        if missing := {"nose", "left_eye", "right_eye", "left_ear"} - body.landmarks.keys():
            raise InputError(
                f"the body {body.name} cannot be dressed: it has no landmark {min(missing)}"
            )
        template = body.v_template.cpu().float().numpy()
        weights = body.weights.cpu().float().numpy()
        faces, chosen = body.faces.cpu().numpy(), np.arange(len(template))
        normals = Surface(faces, len(template)).normals(template)
        if body.name == OPEN_BODY and not full_detail:
            coarse = load_coarse_mesh(body)
            faces, chosen = coarse.middle_faces, coarse.full_to_middle.indices
        middle = 0.5 * (template.min(0) + template.max(0))[:2]
        scale = ATLAS * 0.93 / np.ptp(template, axis=0)[:2].max()
        cut_faces, twins, front = _split(faces, normals[chosen])
        points = Points(template[chosen], _parts(weights[chosen]), normals[chosen, 2] >= 0)
        place = _on_map(template[chosen][twins], front, middle, scale)
        texels, texel_place = _texels(template, weights, normals, middle, scale)
        rest = body.rest_joints(torch.zeros(10)).cpu().float().numpy()
        return Figure(
            torch.from_numpy(chosen.astype(np.int64)),
            Surface(faces, len(chosen)),
            Surface(cut_faces, len(twins)),
            twins,
            place,
            points,
            texels,
            texel_place,
            dict(zip(SMPL24.joints, rest, strict=True)),
            {name: template[number] for name, number in body.landmarks.items()},
        )


def _split(
    faces: Int[ndarray, "f 3"], normals: Float[ndarray, "v 3"]
) -> tuple[Int[ndarray, "f 3"], Int[ndarray, "w"], Bool[ndarray, "w"]]:
    """Faces of front and back made disjoint: new faces, old number of each vertex, its side."""
    front = normals[faces, 2].sum(1) >= 0
    corners = faces + len(normals) * front[:, None]
    used, renumbered = np.unique(corners, return_inverse=True)
    return (
        renumbered.reshape(faces.shape).astype(np.int32),
        used % len(normals),
        used >= len(normals),
    )


def _parts(weights: Float[ndarray, "n 24"]) -> dict[str, Bool[ndarray, "n"]]:
    names = [*_PARTS, "trunk"]
    owner = [
        next((part for part, ends in _PARTS.items() if joint.endswith(ends)), "trunk")
        for joint in SMPL24.joints
    ]
    shares = np.stack([weights[:, [o == name for o in owner]].sum(1) for name in names], 1)
    best = shares.argmax(1)
    return {name: best == number for number, name in enumerate(names)}


def _on_map(
    position: Float[ndarray, "n 3"],
    front: Bool[ndarray, "n"],
    middle: Float[ndarray, "2"],
    scale: float,
) -> Float[ndarray, "n 2"]:
    offset = (position[:, :2] - middle) * np.array([scale, -scale]) + ATLAS / 2
    return (offset + np.stack([np.where(front, 0, ATLAS), 0 * front], 1)).astype(np.float32)


def _texels(
    template: Float[ndarray, "V 3"],
    weights: Float[ndarray, "V 24"],
    normals: Float[ndarray, "V 3"],
    middle: Float[ndarray, "2"],
    scale: float,
) -> tuple[Points, tuple[Int[ndarray, "n"], Int[ndarray, "n"]]]:
    """Texels near a vertex of their view, with the place in space they show."""
    grid = np.indices((ATLAS, ATLAS)).reshape(2, -1).T
    plane = (grid[:, ::-1] - ATLAS / 2) / np.array([scale, -scale]) + middle
    found = []
    for front in (True, False):
        towards = 1.0 if front else -1.0
        side = np.flatnonzero(towards * normals[:, 2] >= -0.1)
        side = side[_outermost(template[side], towards)]
        tree = KDTree(template[side, :2])
        distance, nearest = tree.query(plane, k=3, distance_upper_bound=_AMONG)
        # What has three neighbours is skin; beside it a margin belongs to it.
        inside = np.isfinite(distance[:, 2])
        near = distance[:, 0] < np.where(inside, 0.02, 0) + _MARGIN_PIXELS / scale
        nearest = np.where(np.isfinite(distance), nearest, np.asarray(nearest)[:, :1])
        share = 1 / (distance[near] + 1e-3)
        share /= share.sum(1, keepdims=True)
        neighbours = side[nearest[near]]
        depth = (template[neighbours, 2] * share).sum(1)
        blended = (weights[neighbours] * share[..., None]).sum(1)
        rows, columns = grid[near].T
        position = np.concatenate([plane[near], depth[:, None]], 1)
        found.append((position, blended, rows, columns + (0 if front else ATLAS)))
    position, blended, rows, columns = (np.concatenate(parts) for parts in zip(*found, strict=True))
    points = Points(position.astype(np.float32), _parts(blended), columns < ATLAS)
    return points, (rows, columns)


def _outermost(points: Float[ndarray, "n 3"], towards: float) -> Bool[ndarray, "n"]:
    """Which points have no other one right before them, seen along z (1: from the front)."""
    _, around = KDTree(points[:, :2]).query(points[:, :2], k=12, distance_upper_bound=0.012)
    height = np.append(towards * points[:, 2], -np.inf)
    return height[:-1] > height[around].max(1) - 0.02
