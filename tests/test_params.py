"""SMPL parameters: what files store, indexing, and the mirrored person."""

import dataclasses

import pytest
import torch

from temporal_hmr.body.params import SmplParams, flip_rotations
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24


def parameters(*shape: int, dtype: torch.dtype = torch.float64) -> SmplParams:
    generator = torch.Generator().manual_seed(0)

    def draw(*size: int) -> torch.Tensor:
        return torch.randn(*shape, *size, dtype=dtype, generator=generator)

    return SmplParams.from_poses(0.5 * draw(72), draw(10), draw(3))


def test_poses_round_trip() -> None:
    generator = torch.Generator().manual_seed(1)
    poses = 0.5 * torch.randn(4, 5, 72, dtype=torch.float64, generator=generator)
    smpl = SmplParams.from_poses(poses, torch.zeros(4, 5, 10), torch.zeros(4, 5, 3))
    assert torch.allclose(smpl.poses(), poses, atol=1e-13)
    assert smpl.global_orient.shape == (4, 5, 3, 3)
    assert smpl.body_pose.shape == (4, 5, 23, 3, 3)


def test_files_store_the_root_first_and_three_numbers_for_each_joint() -> None:
    poses = torch.zeros(72)
    knee = SMPL24.index("left_knee")
    poses[0], poses[3 * knee + 1] = 0.3, 0.7
    smpl = SmplParams.from_poses(poses, torch.zeros(10), torch.zeros(3))
    assert torch.allclose(smpl.global_orient, axis_angle_to_matrix(torch.tensor([0.3, 0, 0])))
    turned = axis_angle_to_matrix(torch.tensor([0, 0.7, 0]))
    assert torch.allclose(smpl.body_pose[knee - 1], turned)


def test_rotations_round_trip() -> None:
    smpl = parameters(3)
    again = SmplParams.from_rotations(smpl.rotations(), smpl.betas, smpl.transl)
    for field in dataclasses.fields(smpl):
        assert torch.equal(getattr(again, field.name), getattr(smpl, field.name))


def test_indexing_and_mapping_reach_all_four() -> None:
    smpl = parameters(3, 5)
    part = smpl[1, 2:4]
    for field in dataclasses.fields(smpl):
        assert torch.equal(getattr(part, field.name), getattr(smpl, field.name)[1, 2:4])
    single = smpl.map(lambda tensor: tensor.float())
    assert all(getattr(single, f.name).dtype == torch.float32 for f in dataclasses.fields(single))


def test_parameters_are_frozen() -> None:
    smpl = parameters()
    with pytest.raises(dataclasses.FrozenInstanceError):
        smpl.transl = torch.zeros(3)  # type: ignore[misc]


def test_mirroring_twice_is_nothing_and_keeps_rotations() -> None:
    rotations = parameters(6).rotations()
    mirrored = flip_rotations(rotations)
    assert torch.equal(flip_rotations(mirrored), rotations)
    assert torch.allclose(torch.linalg.det(mirrored), torch.ones((), dtype=torch.float64))
    assert not torch.allclose(mirrored, rotations)


def test_mirroring_swaps_sides_and_keeps_bending() -> None:
    """Rotation about x (bending forward) stays; about y and z it changes sign; sides swap."""
    left, right = SMPL24.indices("left_elbow", "right_elbow")
    vectors = torch.zeros(24, 3)
    vectors[left] = torch.tensor([0.1, 0.2, 0.3])
    mirrored = flip_rotations(axis_angle_to_matrix(vectors))
    expected = axis_angle_to_matrix(torch.tensor([0.1, -0.2, -0.3]))
    assert torch.allclose(mirrored[right], expected)
    assert torch.equal(mirrored[left], torch.eye(3))
