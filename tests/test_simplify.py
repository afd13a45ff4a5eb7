"""Simplified bodies are the same bodies, but for what is too small to be seen."""

import numpy as np
import pytest
import torch
from body_files import made_up_body
from scipy.spatial import KDTree
from test_rasterize import icosphere

from temporal_hmr.body.model import BodyArrays, BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.body.simplify import simplified, simplify


def posed(body: BodyModel) -> SmplParams:
    generator = torch.Generator().manual_seed(0)
    angles = 0.3 * torch.randn(3, 24, 3, generator=generator)
    turned = torch.linalg.matrix_exp(
        torch.stack(
            [
                torch.stack([0 * angles[..., 0], -angles[..., 2], angles[..., 1]], -1),
                torch.stack([angles[..., 2], 0 * angles[..., 0], -angles[..., 0]], -1),
                torch.stack([-angles[..., 1], angles[..., 0], 0 * angles[..., 0]], -1),
            ],
            -2,
        )
    )
    betas = torch.randn(3, 10, generator=generator)
    return SmplParams.from_rotations(turned, betas, torch.randn(3, 3, generator=generator))


def edges(faces: np.ndarray) -> np.ndarray:
    """How many triangles each edge has."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0, return_counts=True)[1]


def volume(points: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (points[corner] for corner in faces.T)
    return float((np.cross(a, b) * c).sum() / 6)


@pytest.mark.parametrize(("tolerance", "most"), [(0.0015, 0.5), (0.003, 0.3)])
def test_fewer_vertices_span_the_same_closed_surface(body, tolerance: float, most: float) -> None:
    small = simplified(body, tolerance)
    faces, points = small.faces.numpy(), small.v_template.double().numpy()
    assert len(points) < most * len(body.v_template)
    assert (edges(faces) == 2).all() and len(faces) == 2 * len(points) - 4
    whole = volume(body.v_template.double().numpy(), body.faces.numpy())
    assert volume(points, faces) == pytest.approx(whole, rel=0.01)


@pytest.mark.parametrize("tolerance", [0.0015, 0.003])
def test_no_point_of_the_body_is_far_from_the_simplified_one(body, tolerance: float) -> None:
    small = simplified(body, tolerance)
    corners = small.v_template.double().numpy()[small.faces.numpy()]
    weights = np.array([[i, j, 12 - i - j] for i in range(13) for j in range(13 - i)]) / 12
    dense = np.einsum("wk,fkc->fwc", weights, corners).reshape(-1, 3)
    away = KDTree(dense).query(body.v_template.numpy())[0]
    assert np.sqrt((away**2).mean()) < tolerance
    assert away.max() < 6 * tolerance


def test_poses_are_those_of_the_body_at_its_vertices(body: BodyModel) -> None:
    small = simplified(body, 0.003)
    kept = KDTree(body.v_template.numpy()).query(small.v_template.numpy())[1]
    smpl = posed(body)
    torch.testing.assert_close(small.vertices(smpl), body.vertices(smpl)[:, kept])
    torch.testing.assert_close(small.joints(smpl), body.joints(smpl))


def test_the_same_every_time(body: BodyModel) -> None:
    template, faces = body.v_template.numpy(), body.faces.numpy()
    first, again = (simplify(template, faces, 0.002) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_nothing_is_given_up_without_tolerance() -> None:
    points, faces = icosphere()
    np.testing.assert_array_equal(simplify(points, faces, 1e-4), faces)


def test_flat_parts_go_and_corners_stay() -> None:
    """A box of a grid on every side."""
    grid = np.linspace(-1, 1, 9)
    points, faces = [], []
    for axis in range(3):
        for side in (-1, 1):
            begin = len(points)
            for u in grid:
                for v in grid:
                    points.append(np.roll([side, u, v], axis))
            for i in range(8):
                for j in range(8):
                    a = begin + 9 * i + j
                    quad = [[a, a + 9, a + 10], [a, a + 10, a + 1]]
                    faces += quad if side > 0 else [face[::-1] for face in quad]
    points, place = np.unique(np.array(points), axis=0, return_inverse=True)
    left = simplify(points, place.reshape(-1)[np.array(faces)], 1e-2)
    used = points[np.unique(left)]
    assert len(used) < 0.2 * len(points)
    assert (np.abs(used) == 1).all(1).sum() == 8
    assert volume(points, left) == pytest.approx(8)
    assert (edges(left) == 2).all()


@pytest.mark.parametrize("tolerance", [0.001, 0.1, 10.0])
def test_what_is_no_surface_at_all_survives(tolerance: float) -> None:
    made = made_up_body(60)
    body = BodyModel(
        BodyArrays(
            name="made up",
            licence="",
            v_template=made["v_template"],
            faces=made["f"],
            shapedirs=made["shapedirs"],
            posedirs=made["posedirs"],
            joint_regressor=made["J_regressor"],
            weights=made["weights"],
        )
    )
    small = simplified(body, tolerance)
    assert 0 < len(small.v_template) <= 60
    assert small.vertices(posed(body)).isfinite().all()


def test_an_open_surface_keeps_its_border() -> None:
    rows, columns = np.indices((12, 12)).reshape(2, -1)
    points = np.stack([rows, columns, 0 * rows], 1) / 10
    cell = np.array([[i * 12 + j for j in range(11)] for i in range(11)]).reshape(-1)
    faces = np.concatenate(
        [np.stack([cell, cell + 12, cell + 13], 1), np.stack([cell, cell + 13, cell + 1], 1)]
    )
    left = simplify(points, faces, 0.01)
    border = np.flatnonzero((rows % 11 == 0) | (columns % 11 == 0))
    assert set(border) <= set(left.ravel()) and len(left) < 0.6 * len(faces)
    a, b, c = (points[corner] for corner in left.T)
    assert np.cross(b - a, c - a)[:, 2].sum() / 2 == pytest.approx(1.21)
