"""Which axis of a take points up: seen, said, or told by those beside it."""

import numpy as np
import pytest
import torch
from mocap_takes import Z_UP, small_poses, take_of, write_take, z_up
from scipy.spatial.transform import Rotation

from temporal_hmr.data.mocap import TakesConfig, looked_up_axis, read_take, read_takes
from temporal_hmr.errors import InputError


def test_z_up_is_seen_and_turned_back_exactly(tmp_path):
    upright = read_take(write_take(tmp_path / "y.npz"))
    turned = z_up(upright)
    poses = small_poses()
    root = Rotation.from_matrix(turned.rotations[:, 0].double().numpy()).as_rotvec()
    poses[:, :3] = root
    path = write_take(tmp_path / "z.npz", poses=poses, trans=turned.translation.numpy())
    for axis in ("auto", "z"):
        back = read_take(path, up_axis=axis)
        torch.testing.assert_close(back.rotations, upright.rotations, atol=1e-5, rtol=0)
        torch.testing.assert_close(back.translation, upright.translation)
    assert looked_up_axis(turned) == "z"
    torch.testing.assert_close(read_take(path, up_axis="y").rotations, turned.rotations)


def test_turning_to_y_up_carries_the_rest_pelvis(tmp_path):
    """The pelvis, J0 + transl, must be turned about the world's origin; and so must every point."""
    pelvis = torch.tensor([0.01, -0.24, 0.03])
    path = write_take(tmp_path / "z.npz")
    raw, turned = read_take(path, "y"), read_take(path, "z", rest_pelvis=pelvis)
    rest_point = torch.tensor([0.3, 0.5, 0.1])

    def posed(take):
        arm = take.rotations[:, 0] @ (rest_point - pelvis)
        return arm + pelvis + take.translation

    torch.testing.assert_close(posed(turned), posed(raw) @ Z_UP)
    shift = read_take(path, "z").translation - turned.translation
    torch.testing.assert_close(shift, shift[:1].expand_as(shift))


def test_the_heading_does_not_matter_to_the_up_axis():
    for turn in range(0, 360, 30):
        heading = torch.from_numpy(Rotation.from_euler("y", turn, degrees=True).as_matrix())
        rotations = torch.eye(3).repeat(5, 24, 1, 1)
        lean = Rotation.from_euler("x", 35, degrees=True).as_matrix()
        rotations[:, 0] = (heading @ torch.from_numpy(lean)).float()
        take = take_of(rotations, torch.tensor([0.0, 0.9, 0.0]).repeat(5, 1))
        assert looked_up_axis(take) == "y"
        assert looked_up_axis(z_up(take)) == "z"


def test_somebody_lying_is_told_by_height_and_else_asked_for(tmp_path):
    lying = torch.eye(3).repeat(5, 24, 1, 1)
    lying[:, 0] = torch.from_numpy(Rotation.from_euler("z", 90, degrees=True).as_matrix()).float()
    on_bed = take_of(lying, torch.tensor([5.0, 0.6, -4.0]).repeat(5, 1))
    assert looked_up_axis(on_bed) == "y"
    assert looked_up_axis(z_up(on_bed)) == "z"
    with pytest.raises(InputError, match="up_axis='y' or up_axis='z'"):
        looked_up_axis(take_of(lying))


def test_a_camera_frame_with_y_down_is_not_taken_for_a_world():
    rotations = torch.eye(3).repeat(5, 24, 1, 1)
    rotations[:, 0] = torch.diag(torch.tensor([1.0, -1.0, -1.0]))
    with pytest.raises(InputError, match="cannot tell"):
        looked_up_axis(take_of(rotations, torch.tensor([0.0, 0.2, 4.0]).repeat(5, 1)))


STANDING_Y_UP, STANDING_Z_UP, LYING_Z_UP, ON_THE_SIDE = (0, 0, 0), (90, 0, 0), (0, 0, 0), (0, 0, 90)


def write_turned(path, turn):
    """Somebody who stands in a world with y up, turned about x, y and z (degrees)."""
    poses = np.zeros((7, 72))
    poses[:, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_rotvec()
    return write_take(path, poses=poses, trans=np.zeros((7, 3)))


def ups(takes):
    """The head's direction in each take."""
    return [take.rotations[0, 0, :, 1].round().int().tolist() for take in takes]


def test_who_lies_is_turned_as_those_beside(tmp_path, caplog):
    """Along y a lying body looks upright, and on its side it looks like nothing."""
    for name in ("1", "2", "3"):
        write_turned(tmp_path / "a" / f"{name}_poses.npz", STANDING_Z_UP)
    write_turned(tmp_path / "a" / "lies_poses.npz", LYING_Z_UP)
    write_turned(tmp_path / "b" / "side_poses.npz", ON_THE_SIDE)
    write_turned(tmp_path / "c" / "y_up_poses.npz", STANDING_Y_UP)
    takes = read_takes(tmp_path)
    assert ups(takes) == [[0, 1, 0]] * 3 + [[0, 0, -1], [-1, 0, 0], [0, 1, 0]]
    lies, side = caplog.messages
    assert "lies_poses.npz: looks as if y pointed up; read with z up, as 3 of the 4" in lies
    assert "side_poses.npz: cannot tell which axis is up; read with z up, as 3 of the 5" in side


def test_who_stands_is_not_outvoted(tmp_path, caplog):
    """Nor do files of one kind vote for those of another."""
    for name in ("1", "2", "3"):
        write_turned(tmp_path / f"{name}.npz", STANDING_Z_UP)
    poses = np.zeros((7, 72))
    high = np.tile(np.array([3.0, 1.1, 0.2], np.float32), (7, 1))
    write_take(tmp_path / "y_up.npz", poses=poses, trans=high)
    assert ups(read_takes(tmp_path)) == [[0, 1, 0]] * 4 and not caplog.messages


def test_the_axis_can_be_said_for_all(tmp_path, caplog):
    write_turned(tmp_path / "a" / "lies.npz", LYING_Z_UP)
    write_turned(tmp_path / "b" / "side.npz", ON_THE_SIDE)
    assert ups(read_takes(tmp_path, TakesConfig(up_axis="z"))) == [[0, 0, -1], [-1, 0, 0]]
    (tmp_path / "a" / "lies.npz").unlink()
    with pytest.raises(InputError, match=r"side\.npz: .* mocap\.up_axis.* --up-axis"):
        read_takes(tmp_path)
    assert not caplog.messages


def test_what_is_broken_can_be_left_out(tmp_path, caplog):
    write_take(tmp_path / "a" / "1.npz")
    (tmp_path / "a" / "2.npz").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"2\.npz"):
        read_takes(tmp_path)
    (take,) = read_takes(tmp_path, TakesConfig(skip_broken=True))
    assert take.name == "1" and "skipped: " in caplog.messages[0]
