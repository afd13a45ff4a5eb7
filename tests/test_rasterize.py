"""Pictures of surfaces agree with an independent ray caster."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial import ConvexHull

from temporal_hmr.camera import Camera
from temporal_hmr.rasterize import NEAR, Surface


def icosphere() -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere of 320 triangles, counter-clockwise seen from outside."""
    golden = (1 + math.sqrt(5)) / 2
    ends = [(-1, golden), (1, golden), (-1, -golden), (1, -golden)]
    vertices = np.array(
        [(a, b, 0) for a, b in ends] + [(0, a, b) for a, b in ends] + [(b, 0, a) for a, b in ends],
        float,
    )
    points = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    for _ in range(2):
        edges = {
            tuple(sorted(pair))
            for f in ConvexHull(points).simplices
            for pair in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))
        }
        middles = np.array([points[a] + points[b] for a, b in edges])
        points = np.concatenate([points, middles / np.linalg.norm(middles, axis=1, keepdims=True)])
    # The faces of the convex hull, wound outwards.
    faces = ConvexHull(points).simplices
    a, b, c = (points[faces[:, corner]] for corner in range(3))
    inwards = (np.cross(b - a, c - a) * a).sum(-1) < 0
    faces[inwards] = faces[inwards][:, ::-1]
    return points, faces


def cast_rays(
    vertices: np.ndarray, faces: np.ndarray, colors: np.ndarray, camera: Camera
) -> tuple[np.ndarray, np.ndarray]:
    """Colour and depth by intersecting the ray of every pixel centre with every triangle."""
    columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    pixels = np.stack([columns, rows], -1).reshape(-1, 2)
    rays = (pixels - camera.center.numpy()) / camera.focal.numpy()
    rays = np.concatenate([rays, np.ones((len(rays), 1))], 1)
    color = np.zeros((len(rays), 3))
    depth = np.full(len(rays), np.inf)
    for face in faces:
        # Solve ray * depth = corners^T weights, with the weights summing to one.
        weights = rays @ np.linalg.inv(vertices[face])
        total = weights.sum(1)
        weights /= total[:, None]
        hit = (weights >= 0).all(1) & (total > 0) & (1 / total < depth)
        depth[hit] = 1 / total[hit]
        color[hit] = weights[hit] @ colors[face]
    shape = (camera.height, camera.width)
    return color.reshape(*shape, 3), depth.reshape(shape)


class TestRasterize:
    CAMERA = Camera(torch.tensor([150.0, 110.0]), torch.tensor([30.0, 61.0]), 97, 83)
    """Unequal focal lengths and a principal point far off the centre."""

    def scene(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        points, faces = icosphere()
        points = points * [0.5, 0.8, 0.6] + [0.4, -0.3, 2.6]
        colors = np.random.default_rng(0).uniform(0.1, 1, points.shape)
        return points.astype(np.float32), faces, colors.astype(np.float32)

    def test_agrees_with_ray_casting(self) -> None:
        vertices, faces, colors = self.scene()
        drawing = Surface(faces, len(vertices)).draw(vertices, colors, self.CAMERA)
        assert drawing is not None
        depth = np.full((83, 97), np.inf)
        color = np.zeros((83, 97, 3))
        depth[drawing.window.slices] = drawing.depth
        color[drawing.window.slices] = drawing.color
        true_color, true_depth = cast_rays(vertices, faces, colors, self.CAMERA)
        both = np.isfinite(depth) & np.isfinite(true_depth)
        assert both.sum() > 1500
        # On the very outline a ray may pass either side of an edge.
        assert (np.isfinite(depth) != np.isfinite(true_depth)).sum() <= 5
        assert np.abs(depth[both] - true_depth[both]).max() < 1e-3
        assert np.median(np.abs(depth[both] - true_depth[both])) < 1e-5
        assert np.quantile(np.abs(color - true_color)[both], 0.999) < 5e-3

    @pytest.mark.parametrize("distance", np.linspace(2, 30, 29))
    def test_what_is_not_covered_is_infinitely_far(self, distance: float) -> None:
        points, faces = icosphere()
        vertices = (points + np.array([0, 0, distance])).astype(np.float32)
        drawing = Surface(faces, len(points)).draw(vertices, np.ones_like(vertices), self.CAMERA)
        assert drawing is not None
        drawn = np.isfinite(drawing.depth)
        assert drawn.any() and not drawn.all()
        assert np.array_equal(drawn, drawing.color.any(axis=-1))

    def test_triangles_through_the_camera_plane_are_left_out(self) -> None:
        vertices, faces, colors = self.scene()
        through = np.array([[0, 0, -1], [0.5, 0, 3], [0, 0.5, 3]], np.float32)
        surface = Surface(
            np.concatenate([faces, [[len(vertices), len(vertices) + 1, len(vertices) + 2]]]),
            len(vertices) + 3,
        )
        drawing = surface.draw(
            np.concatenate([vertices, through]),
            np.concatenate([colors, np.ones((3, 3), np.float32)]),
            self.CAMERA,
        )
        alone = Surface(faces, len(vertices)).draw(vertices, colors, self.CAMERA)
        assert drawing is not None and alone is not None
        assert np.isfinite(drawing.depth).sum() == np.isfinite(alone.depth).sum()

    @pytest.mark.parametrize("shift", [(0, 0, -9), (50, 0, 0), (0, 0, NEAR - 2.6)])
    def test_nothing_in_view_draws_nothing(self, shift: tuple[float, float, float]) -> None:
        vertices, faces, colors = self.scene()
        surface = Surface(faces, len(vertices))
        drawing = surface.draw(vertices + np.array(shift, np.float32), colors, self.CAMERA)
        assert drawing is None or not np.isfinite(drawing.depth).any()

    def test_normals_are_means_of_triangles_weighted_by_area(self) -> None:
        points, faces = icosphere()
        points = points * [0.5, 0.8, 1.7]
        expected = np.zeros_like(points)
        for face in faces:
            a, b, c = points[face]
            expected[face] += np.cross(b - a, c - a) / 2
        expected /= np.linalg.norm(expected, axis=1, keepdims=True)
        normals = Surface(faces, len(points)).normals(points)
        assert np.abs(normals - expected).max() < 1e-6

    def test_normals_point_outwards_and_light_comes_from_above(self) -> None:
        points, faces = icosphere()
        surface = Surface(faces, len(points))
        assert (surface.normals(points) * points).sum(-1).min() > 0.99
        light = surface.shade(points, np.array([1.0, 1.0, 1.0]))[:, 0]
        # y points down in the camera frame.
        assert light[points[:, 1].argmin()] > light[points[:, 1].argmax()] + 0.2
