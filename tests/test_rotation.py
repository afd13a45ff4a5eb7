"""Laws of the rotation conversions, with scipy and plain loops as oracles."""

import math

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation, Slerp

from temporal_hmr.rotation import (
    axis_angle_to_matrix,
    geodesic_angle,
    interpolate,
    matrix_to_axis_angle,
    matrix_to_quaternion,
    matrix_to_sixd,
    nearest_rotation,
    sixd_to_matrix,
    skew,
)

DTYPES = [torch.float32, torch.float64]
TOLERANCE = {torch.float32: 2e-6, torch.float64: 1e-14}
NEAR_PI = [1e-1, 1e-3, 1e-5, 1e-7]


def axes(count: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """Unit vectors in all directions, the coordinate axes first."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randn(count, 3, dtype=dtype, generator=generator)
    drawn = torch.cat([torch.eye(3, dtype=dtype), -torch.eye(3, dtype=dtype), drawn])
    return torch.nn.functional.normalize(drawn, dim=-1)


def random_rotations(*shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return axis_angle_to_matrix(2 * torch.randn(*shape, 3, dtype=dtype, generator=generator))


def assert_rotations(matrix: torch.Tensor, tolerance: float) -> None:
    identity = torch.eye(3, dtype=matrix.dtype)
    assert (matrix @ matrix.mT - identity).abs().max() < tolerance
    assert (torch.linalg.det(matrix) - 1).abs().max() < tolerance


def test_skew_is_the_cross_product() -> None:
    v, w = axes(5)[:, None], axes(5)[None]
    crossed = torch.linalg.cross(v.expand(11, 11, 3), w.expand(11, 11, 3))
    assert torch.allclose((skew(v) @ w[..., None]).squeeze(-1), crossed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("angle", [0, 1e-12, 1e-8, 1e-4, 1e-2, 1.0, 3.0, math.pi, 5.0, 20.0])
def test_axis_angle_against_scipy(angle: float, dtype: torch.dtype) -> None:
    vectors = angle * axes(30, dtype)
    matrix = axis_angle_to_matrix(vectors)
    expected = Rotation.from_rotvec(vectors.double().numpy()).as_matrix()
    tolerance = TOLERANCE[dtype] * max(1.0, angle)
    assert np.abs(matrix.double().numpy() - expected).max() < tolerance
    assert_rotations(matrix, 3 * tolerance)


@pytest.mark.parametrize(
    "angle", [0, 1e-30, 1e-12, 1e-6, 0.3, 3.1, *(math.pi - x for x in NEAR_PI)]
)
def test_round_trip_below_pi(angle: float) -> None:
    vectors = angle * axes(30)
    returned = matrix_to_axis_angle(axis_angle_to_matrix(vectors))
    # Close to pi the sine, from which the side is told, has few digits left.
    assert (returned - vectors).abs().max() < 1e-13 / min(1.0, math.pi - angle)
    single = vectors.float()
    returned = matrix_to_axis_angle(axis_angle_to_matrix(single))
    if angle < 3.13:
        assert (returned - single).abs().max() < 5e-6


@pytest.mark.parametrize("dtype", DTYPES)
def test_at_pi_either_axis_comes_out(dtype: torch.dtype) -> None:
    matrix = axis_angle_to_matrix(math.pi * axes(30, dtype))
    vectors = matrix_to_axis_angle(matrix)
    assert (vectors.norm(dim=-1) - math.pi).abs().max() < 1e-5
    assert (axis_angle_to_matrix(vectors) - matrix).abs().max() < 4 * TOLERANCE[dtype]
    half_turns = torch.diag_embed(2 * torch.eye(3, dtype=dtype) - 1)
    assert torch.allclose(
        matrix_to_axis_angle(half_turns).abs(), math.pi * torch.eye(3, dtype=dtype)
    )


def test_quaternions_against_scipy() -> None:
    matrix = random_rotations(200)
    quaternion = matrix_to_quaternion(matrix)
    expected = Rotation.from_matrix(matrix.numpy()).as_quat()[:, [3, 0, 1, 2]]
    expected *= np.where(expected[:, :1] < 0, -1, 1)
    assert np.abs(quaternion.numpy() - expected).max() < 1e-14
    assert (quaternion[:, 0] >= 0).all()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("angle", [0.0, 1e-20, 1e-7, 1e-3])
def test_gradients_at_and_near_zero(angle: float, dtype: torch.dtype) -> None:
    """dR/da at zero is the generator of rotations; there and back it is the identity."""
    vector = (angle * torch.tensor([0.6, 0.0, 0.8], dtype=dtype)).requires_grad_()
    jacobian = torch.autograd.functional.jacobian(axis_angle_to_matrix, vector)
    generators = skew(torch.eye(3, dtype=dtype)).permute(1, 2, 0)
    assert (jacobian - generators).abs().max() < max(1e-6, angle)

    def there_and_back(v: torch.Tensor) -> torch.Tensor:
        return matrix_to_axis_angle(axis_angle_to_matrix(v))

    jacobian = torch.autograd.functional.jacobian(there_and_back, vector)
    assert (jacobian - torch.eye(3, dtype=dtype)).abs().max() < 2e-3


def test_gradients_are_right_and_finite_at_pi() -> None:
    vectors = torch.cat([0.2 * axes(0), 2.0 * axes(0)[:2]]).requires_grad_()
    assert torch.autograd.gradcheck(axis_angle_to_matrix, vectors)
    assert torch.autograd.gradcheck(
        lambda v: matrix_to_axis_angle(axis_angle_to_matrix(v)), vectors
    )
    half = (math.pi * axes(20)).requires_grad_()
    matrix_to_axis_angle(axis_angle_to_matrix(half)).sum().backward()
    assert half.grad is not None
    assert half.grad.isfinite().all()


def test_sixd_keeps_rotations_and_mends_others() -> None:
    matrix = random_rotations(4, 5)
    sixd = matrix_to_sixd(matrix)
    assert torch.equal(sixd[..., :3], matrix[..., 0])
    assert torch.equal(sixd[..., 3:], matrix[..., 1])
    assert torch.allclose(sixd_to_matrix(sixd), matrix, atol=1e-14)
    generator = torch.Generator().manual_seed(3)
    anything = torch.randn(100, 6, dtype=torch.float64, generator=generator)
    mended = sixd_to_matrix(anything)
    assert_rotations(mended, 1e-12)
    first = torch.nn.functional.normalize(anything[:, :3], dim=-1)
    assert torch.allclose(mended[..., 0], first)
    assert torch.autograd.gradcheck(sixd_to_matrix, anything[:3].requires_grad_())


def test_nearest_rotation_is_nearest() -> None:
    rotations = random_rotations(50)
    assert torch.allclose(nearest_rotation(rotations), rotations, atol=1e-13)
    assert torch.allclose(nearest_rotation(3 * rotations), rotations, atol=1e-13)
    generator = torch.Generator().manual_seed(4)
    matrix = torch.randn(50, 3, 3, dtype=torch.float64, generator=generator)
    nearest = nearest_rotation(matrix)
    assert_rotations(nearest, 1e-12)
    distance = (matrix - nearest).square().sum((-2, -1))
    others = 0.2 * torch.randn(50, 40, 3, dtype=torch.float64, generator=generator)
    others = axis_angle_to_matrix(others) @ nearest[:, None]
    assert ((matrix[:, None] - others).square().sum((-2, -1)) >= distance[:, None]).all()


def test_mean_of_two_rotations_is_halfway() -> None:
    first, second = random_rotations(2, 20)
    mean = nearest_rotation(first + second)
    half = torch.full((20,), 0.5, dtype=torch.float64)
    assert geodesic_angle(mean, interpolate(first, second, half)).max() < 1e-6


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-3, 1.0, 3.0, math.pi - 1e-9, math.pi])
def test_geodesic_angle_is_the_angle_between(angle: float) -> None:
    first = random_rotations(36)
    second = first @ axis_angle_to_matrix(angle * axes(30))
    measured = geodesic_angle(first, second)
    assert (measured - angle).abs().max() < 1e-14
    assert torch.allclose(measured, geodesic_angle(second, first), atol=1e-14)
    cosine = ((first.mT @ second).diagonal(dim1=-2, dim2=-1).sum(-1) - 1) / 2
    assert (measured - cosine.clamp(-1, 1).arccos()).abs().max() < 1e-7


def test_geodesic_angle_has_finite_gradients_at_zero() -> None:
    first = random_rotations(3).requires_grad_()
    geodesic_angle(first, first.detach()).sum().backward()
    assert first.grad is not None
    assert first.grad.isfinite().all()


def test_interpolation_against_scipy() -> None:
    first, second = random_rotations(2, 10)
    fractions = torch.linspace(0, 1, 5, dtype=torch.float64)
    path = interpolate(first[:, None], second[:, None], fractions)
    assert torch.allclose(path[:, 0], first, atol=1e-13)
    assert torch.allclose(path[:, -1], second, atol=1e-13)
    for ours, begin, end in zip(path, first, second, strict=True):
        ends = Rotation.from_matrix(torch.stack([begin, end]).numpy())
        assert np.abs(Slerp([0, 1], ends)(fractions).as_matrix() - ours.numpy()).max() < 1e-13


def test_batch_axes_are_free() -> None:
    matrix = random_rotations(2, 3, 4)
    for shape in ((), (4,), (3, 4), (2, 3, 4)):
        part = matrix[tuple(0 for _ in range(3 - len(shape)))]
        assert matrix_to_axis_angle(part).shape == (*shape, 3)
        assert axis_angle_to_matrix(matrix_to_axis_angle(part)).shape == (*shape, 3, 3)
        assert sixd_to_matrix(matrix_to_sixd(part)).shape == (*shape, 3, 3)
        assert nearest_rotation(part).shape == (*shape, 3, 3)
        assert geodesic_angle(part, part).shape == shape
