"""AMASS as published: subsets, subjects and motions of SMPL-H and SMPL-X."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation
from training_trees import write_amass

from temporal_hmr.data.amass import read_amass
from temporal_hmr.errors import InputError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for place in (
        *("CMU/01/01_01_poses.npz", "CMU/01/01_02_poses.npz", "KIT/01/walk01_poses.npz"),
        *("HumanEva/S1/Box_1_poses.npz", "SFU/0005/0005_Jogging001_poses.npz"),
        *("Transitions_mocap/mazen_c3d/jump_poses.npz",),
    ):
        write_amass(tmp_path, place)
    write_amass(tmp_path, "ACCAD/Female1General_c3d/A1_stageii.npz", width=165)
    np.savez(tmp_path / "CMU" / "01" / "shape.npz", betas=np.zeros(16))
    np.savez(tmp_path / "ACCAD" / "Female1General_c3d" / "A1_stagei.npz", betas=np.zeros(16))
    return tmp_path


def test_parts_are_the_fields_subsets(tree: Path) -> None:
    parts = {
        part: [take.name for take in read_amass(tree, part)]
        for part in ("train", "validation", "test")
    }
    assert parts == {
        "train": ["ACCAD/Female1General_c3d/A1", "CMU/01/01_01", "CMU/01/01_02", "KIT/01/walk01"],
        "validation": ["HumanEva/S1/Box_1", "SFU/0005/0005_Jogging001"],
        "test": ["Transitions_mocap/mazen_c3d/jump"],
    }
    with pytest.raises(InputError, match="no part 'val'"):
        read_amass(tree, "val")


def test_people_of_two_subsets_are_two_people(tree: Path) -> None:
    subjects = [take.subject for take in read_amass(tree, "train")]
    assert subjects == ["ACCAD/Female1General_c3d", "CMU/01", "CMU/01", "KIT/01"]


def test_both_formats_are_read_with_their_frame_rates(tree: Path) -> None:
    for take in read_amass(tree, "train"):
        assert take.fps == 120 and len(take) == 8 and take.betas.shape == (10,)
        assert torch.equal(take.rotations[:, 22:], torch.eye(3).expand(8, 2, 3, 3))


def test_the_stored_rotations_and_shape_come_back(tree: Path) -> None:
    take = read_amass(tree, "train")[1]
    with np.load(tree / "CMU/01/01_01_poses.npz") as stored:
        vectors = stored["poses"][:, 3:66].reshape(-1, 3)
        expected = Rotation.from_rotvec(vectors).as_matrix().reshape(8, 21, 3, 3)
        np.testing.assert_allclose(take.rotations[:, 1:22], expected, atol=1e-6)
        np.testing.assert_allclose(take.betas, stored["betas"][:10], atol=1e-6)


def test_z_up_becomes_y_up(tree: Path) -> None:
    """Who stands in AMASS's world stands in ours: up is y, and the head is above."""
    take = read_amass(tree, "train")[1]
    np.testing.assert_allclose(take.translation[0], [0.1, 0.9, -0.2], atol=1e-6)
    np.testing.assert_allclose(take.rotations[:, 0], np.tile(np.eye(3), (8, 1, 1)), atol=1e-6)


def test_somebody_lying_is_not_turned_upright(tmp_path: Path) -> None:
    """AMASS always has z up; looking at the motion would take y for it here."""
    lying = np.zeros((8, 156))
    write_amass(tmp_path, "CMU/02/02_01_poses.npz", poses=lying)
    (take,) = read_amass(tmp_path, "train")
    expected = Rotation.from_euler("x", -90, degrees=True).as_matrix()
    np.testing.assert_allclose(take.rotations[0, 0], expected, atol=1e-6)


def test_the_pelvis_term_is_exact_where_the_rest_is_known(tmp_path: Path) -> None:
    write_amass(tmp_path, "CMU/02/02_01_poses.npz")
    rest = torch.tensor([0.0, -0.2, 0.03])
    (take,) = read_amass(tmp_path, "train", rest_pelvis=rest)
    pelvis = torch.tensor([0.1, 0.2, 0.9]) + rest
    expected = torch.stack([pelvis[0], pelvis[2], -pelvis[1]])
    torch.testing.assert_close(take.translation[0] + rest, expected)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"poses": None}, "'poses'"),
        ({"trans": None}, "'trans'"),
        ({"betas": None}, "'betas'"),
        ({"mocap_framerate": None}, "'mocap_framerate'"),
        ({"poses": np.zeros((8, 63))}, "'poses' has shape"),
        ({"poses": np.full((8, 156), np.nan)}, "'poses' holds NaN"),
        ({"trans": np.zeros((7, 3))}, "'trans' has shape"),
        ({"mocap_framerate": np.array(0.0)}, "frame rate"),
    ],
)
def test_broken_motions_are_refused_or_left_out(
    tree: Path, caplog: pytest.LogCaptureFixture, changes: dict, said: str
) -> None:
    write_amass(tree, "CMU/01/01_02_poses.npz", **changes)
    with pytest.raises(InputError, match=r"01_02_poses\.npz") as error:
        read_amass(tree, "train")
    assert said in str(error.value)
    names = [take.name for take in read_amass(tree, "train", skip_broken=True)]
    assert len(names) == 3 and "CMU/01/01_02" not in names
    assert "01_02_poses.npz" in caplog.text


def test_there_must_be_something(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no motions of train"):
        read_amass(tmp_path, "train")
    path = write_amass(tmp_path, "CMU/01/01_01_poses.npz")
    path.write_bytes(b"")
    with pytest.raises(InputError, match="nothing can be used"):
        read_amass(tmp_path, "train", skip_broken=True)
