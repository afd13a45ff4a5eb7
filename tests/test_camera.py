"""The pinhole camera against its matrix, its field of view and OpenCV."""

import math

import cv2
import numpy as np
import pytest
import torch

from temporal_hmr.camera import Camera


def points(*shape: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(*shape, 3, generator=generator)
    return drawn + torch.tensor([0.0, 0.0, 6.0])


def test_projection_is_the_matrix_then_division() -> None:
    camera = Camera(torch.tensor([900.0, 1100.0]), torch.tensor([300.0, 250.0]), 640, 480)
    seen = points(5)
    homogeneous = seen @ camera.matrix().mT
    assert torch.allclose(homogeneous[:, :2] / homogeneous[:, 2:], camera.project(seen), atol=1e-3)


def test_projection_is_opencvs() -> None:
    camera = Camera(torch.tensor([900.0, 1100.0]), torch.tensor([300.0, 250.0]), 640, 480)
    seen = points(20)
    nothing = np.zeros(3)
    expected, _ = cv2.projectPoints(
        seen.numpy().astype(np.float64), nothing, nothing, camera.matrix().numpy(), None
    )
    assert np.abs(camera.project(seen).numpy() - expected[:, 0]).max() < 1e-3


def test_axes_point_right_down_and_forward() -> None:
    camera = Camera.with_focal(500, 640, 480)
    center, right, down, far = camera.project(
        torch.tensor([[0.0, 0, 2], [1, 0, 2], [0, 1, 2], [1, 1, 4]])
    ).tolist()
    assert center == [320, 240]
    assert right == [570, 240]
    assert down == [320, 490]
    assert far == [445, 365]


@pytest.mark.parametrize("size", [(640, 480), (1080, 1920), (7, 3)])
def test_assumed_focal_sees_53_degrees_along_the_diagonal(size: tuple[int, int]) -> None:
    camera = Camera.with_assumed_focal(*size)
    assert camera.assumed
    assert not Camera.with_focal(500, *size).assumed
    diagonal = math.hypot(*size)
    view = 2 * math.atan(diagonal / 2 / float(camera.focal[0]))
    assert math.degrees(view) == pytest.approx(53.13, abs=0.01)
    corner = torch.tensor([[size[0] / 2, size[1] / 2, diagonal]])
    assert torch.allclose(camera.project(corner), torch.tensor([[float(size[0]), size[1]]]))


def test_batches_of_cameras_project_each_its_own_points() -> None:
    focal = torch.tensor([[500.0, 500], [800, 700], [900, 1000]])
    center = torch.tensor([[320.0, 240], [300, 200], [310, 250]])
    batch = Camera(focal, center, 640, 480)
    seen = points(3, 7)
    assert batch.matrix().shape == (3, 3, 3)
    for index in range(3):
        single = Camera(focal[index], center[index], 640, 480)
        assert torch.equal(batch.project(seen)[index], single.project(seen[index]))
        assert torch.equal(batch.matrix()[index], single.matrix())


def test_one_camera_serves_any_batch_of_points() -> None:
    camera = Camera.with_assumed_focal(640, 480)
    seen = points(2, 4, 7)
    assert torch.equal(camera.project(seen)[1, 2], camera.project(seen[1, 2]))


def test_gradients_reach_points_and_focal() -> None:
    focal = torch.tensor([500.0, 600.0], requires_grad=True)
    seen = points(4).requires_grad_()
    camera = Camera(focal, torch.zeros(2), 640, 480)
    (camera.project(seen).sum() + camera.matrix().sum()).backward()
    assert focal.grad is not None
    assert seen.grad is not None
    assert focal.grad.isfinite().all()
    assert (seen.grad != 0).all()
