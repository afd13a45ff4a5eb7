"""BVH, read again by our own reader and by another that is as plain as can be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from exported_people import doing, open_body, somebody, standing, toy_body, turned_about_y

from temporal_hmr.data.bvh import read_bvh
from temporal_hmr.data.bvh_file import parse_bvh
from temporal_hmr.output.bvh import euler_angles, write_bvh
from temporal_hmr.output.exported import Exported
from temporal_hmr.rotation import axis_angle_to_matrix, geodesic_angle
from temporal_hmr.skeleton import SMPL24

Y_UP = np.array([1.0, -1.0, -1.0])
MILLIMETRE = 1e-3


def saved(tmp_path: Path, person: Exported, unit: str = "m") -> Path:
    write_bvh(person, tmp_path / "person.bvh", unit)
    return tmp_path / "person.bvh"


def turn(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return {
        "X": np.array([[1, 0, 0], [0, c, -s], [0, s, c]]),
        "Y": np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]),
        "Z": np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]),
    }[axis]


def naive_positions(path: Path) -> dict[str, list[np.ndarray]]:
    """Places of all named joints in every frame, by walking the text word by word."""
    head, motion = path.read_text().split("MOTION")
    rows = [list(map(float, line.split())) for line in motion.strip().splitlines()[2:]]
    places: dict[str, list[np.ndarray]] = {}
    for row in rows:
        values, stack = iter(row), [(np.eye(3), np.zeros(3))]
        words = iter(head.split())
        name, offset = "", np.zeros(3)
        for word in words:
            if word in ("ROOT", "JOINT", "End"):
                name = next(words)
            elif word == "OFFSET":
                offset = np.array([float(next(words)) for _ in range(3)])
                rotation, place = stack[-1]
                stack.append((rotation, place + rotation @ offset))
            elif word == "CHANNELS":
                rotation, place = stack[-1]
                for channel in [next(words) for _ in range(int(next(words)))]:
                    if channel.endswith("position"):
                        place = place + np.eye(3)["XYZ".index(channel[0])] * next(values)
                    else:
                        rotation = rotation @ turn(channel[0], next(values))
                stack[-1] = (rotation, place)
                places.setdefault(name, []).append(place)
            elif word == "}":
                stack.pop()
    return places


@pytest.mark.parametrize(("unit", "metre"), [("m", 1), ("cm", 100)])
def test_joints_by_two_readers(tmp_path, unit, metre) -> None:
    person = somebody(4)
    path = saved(tmp_path, person, unit)
    ours = person.body.joints(person.smpl).numpy() * Y_UP
    naive, parsed = naive_positions(path), parse_bvh(path)
    for joint, name in enumerate(SMPL24.joints):
        assert np.abs(np.array(naive[name]) / metre - ours[:, joint]).max() < MILLIMETRE
        read = parsed.positions[:, parsed.names.index(name)] / metre
        assert np.abs(read - ours[:, joint]).max() < MILLIMETRE
    assert parsed.frame_rate == pytest.approx(person.fps, rel=1e-6)


def test_our_reader_of_motion_capture_has_the_pose_again(tmp_path) -> None:
    """Joints known by names, unit by the legs, up by looking. SMPL's rest pose is guessed
    from bones that do not all point where it has them.
    """
    body = open_body()
    smpl = standing(3, body, left_elbow=(0.2, -1.2, 0.1), right_knee=(0.9, 0.0, 0.0))
    take = read_bvh(saved(tmp_path, doing(smpl, body), "cm"))
    body_joints = SMPL24.indices("left_elbow", "right_knee", "spine2", "left_shoulder")
    expected = smpl.rotations()[:, body_joints].float()
    angles = geodesic_angle(take.rotations[:, body_joints], expected)
    assert angles.max() < np.radians(15)
    pelvis = body.joints(smpl)[:, 0].numpy() * Y_UP
    assert np.allclose(take.translation, pelvis, atol=1e-4)


def test_a_bent_left_elbow_moves_the_left_hand_forward(tmp_path) -> None:
    body, angle = open_body(), -1.2
    smpl = standing(1, body, left_elbow=(0.0, angle, 0.0))
    rest = body.rest_joints(smpl.betas[0]).numpy()
    elbow, hand = (rest[SMPL24.index(f"left_{part}")] for part in ("elbow", "hand"))
    places = naive_positions(saved(tmp_path, doing(smpl, body)))
    moved = places["left_hand"][0] - places["pelvis"][0]
    assert np.allclose(moved, elbow + turned_about_y(angle, hand - elbow) - rest[0], atol=1e-5)
    assert moved[2] > 0.2
    assert places["head"][0][1] > places["left_foot"][0][1] + 1, "y is up"
    assert places["pelvis"][0][2] < -3.9, "4 m before the camera"


def test_ends_are_about_the_crown_and_the_soles(tmp_path) -> None:
    body = open_body()
    motion = parse_bvh(saved(tmp_path, doing(standing(1, body), body)))
    crown, toe = (motion.zero_pose[motion.names.index(f"{n}_end")] for n in ("head", "left_foot"))
    heights = body.v_template[:, 1].numpy()
    assert crown[1] - toe[1] == pytest.approx(np.ptp(heights), abs=0.1)


def test_angles_run_on_and_gimbal_lock_is_survived(capsys, recwarn) -> None:
    """Two turns about y, then up to lying face down, where two of the axes fall together."""
    angles = torch.linspace(0, 4 * np.pi, 60).double()
    upright = axis_angle_to_matrix(angles[:, None] * torch.tensor([0.0, 1, 0]).double())
    lying = axis_angle_to_matrix(torch.tensor([[np.pi / 2, 0, 0]]).double())
    rotations = torch.cat([upright, lying]).numpy()
    found = euler_angles(rotations[:, None])[:, 0]
    assert np.abs(np.diff(found[:60], axis=0)).max() < 15
    assert found[59, 2] == pytest.approx(720)
    for (z, x, y), rotation in zip(found, rotations, strict=True):
        assert np.allclose(turn("Z", z) @ turn("X", x) @ turn("Y", y), rotation, atol=1e-6)
    assert not recwarn


def test_uneven_times_and_holes_are_put_on_an_even_grid(tmp_path) -> None:
    """A pelvis that moves at a metre a second does so at the constant rate too."""
    times = np.array([0.0, 0.03, 0.1, 0.12, 0.2, 0.5])
    smpl = standing(6, toy_body())
    smpl.transl[:, 0] = torch.from_numpy(times)
    person = doing(smpl, toy_body(), times=times, frames=np.array([0, 1, 2, 3, 4, 9]), fps=20.0)
    places = np.array(naive_positions(saved(tmp_path, person))["pelvis"])
    assert len(places) == 11
    assert np.allclose(np.diff(places[:, 0]), 0.05, atol=1e-6)


def test_frames_on_an_even_grid_are_left_as_they_are() -> None:
    """Times that a container rounds to milliseconds are even enough."""
    person = somebody(6)
    rounded = replace(person, times=np.round(person.times, 3))
    assert rounded.at_even_times(person.smpl) is person.smpl
    turned = replace(person, times=person.times * 1.05).at_even_times(person.smpl)
    assert torch.allclose(turned.rotations()[0], person.smpl.rotations()[0])
