"""Reading, resampling and mending motion capture."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from mocap_takes import small_poses, take_of, write_take, z_up
from scipy.spatial.transform import Rotation, Slerp

from temporal_hmr.body.params import flip_rotations
from temporal_hmr.data.mocap import (
    looked_up_axis,
    read_take,
    read_takes,
    resample,
    share_shoulder_elevation,
)
from temporal_hmr.errors import InputError
from temporal_hmr.rotation import axis_angle_to_matrix, geodesic_angle
from temporal_hmr.skeleton import SMPL24

CORPUS = Path(__file__).parents[2] / "shared" / "data" / "mocap"
COLLARS = SMPL24.indices("left_collar", "right_collar")
SHOULDERS = SMPL24.indices("left_shoulder", "right_shoulder")


def world_rotations(rotations):
    world = []
    for joint, parent in enumerate(SMPL24.parents):
        local = rotations[..., joint, :, :]
        world.append(local if parent < 0 else world[parent] @ local)
    return torch.stack(world, -3)


def random_rotations(count, spread=0.6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rotations = axis_angle_to_matrix(spread * torch.randn(count, 24, 3, generator=generator))
    rotations[:, COLLARS] = torch.eye(3)
    return rotations


def test_a_take_is_read_as_stored(tmp_path):
    take = read_take(write_take(tmp_path / "42" / "42_07_poses.npz"))
    expected = Rotation.from_rotvec(small_poses().reshape(-1, 3)).as_matrix().reshape(7, 24, 3, 3)
    torch.testing.assert_close(take.rotations, torch.from_numpy(expected).float())
    assert (take.name, take.subject, take.fps) == ("42_07", "42", 120.0)
    torch.testing.assert_close(take.translation, torch.tensor([[0.2, 0.9, -0.4]]).expand(7, 3))
    assert take.betas.tolist() == list(range(10))


@pytest.mark.parametrize("width", [156, 165])
def test_other_bodies_give_their_first_22_joints_and_hands_at_rest(tmp_path, width):
    poses = small_poses(width=width)
    take = read_take(write_take(tmp_path / "a.npz", poses=poses))
    only = read_take(
        write_take(tmp_path / "b.npz", poses=np.concatenate([poses[:, :66], np.zeros((7, 6))], 1))
    )
    assert torch.equal(take.rotations, only.rotations)
    assert torch.equal(take.rotations[:, 22:], torch.eye(3).expand(7, 2, 3, 3))


@pytest.mark.parametrize("key", ["mocap_framerate", "mocap_frame_rate", "fps"])
def test_every_name_of_the_frame_rate_is_known(tmp_path, key):
    path = write_take(tmp_path / "a.npz", **{"mocap_framerate": None, key: np.array([59.94])})
    assert read_take(path).fps == pytest.approx(59.94, abs=1e-4)


def with_nan(array):
    array = array.copy()
    array[2, 1] = np.nan
    return array


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"poses": None}, "'poses'"),
        ({"trans": None, "betas": None}, "'trans', 'betas'"),
        ({"mocap_framerate": None}, "'mocap_framerate'"),
        ({"poses": small_poses(width=63)}, "'poses' has shape"),
        ({"poses": np.zeros((0, 72)), "trans": np.zeros((0, 3))}, "'poses' has shape"),
        ({"poses": small_poses().ravel()}, "'poses' has shape"),
        ({"trans": np.zeros((6, 3))}, "'trans' has shape"),
        ({"betas": np.zeros(9)}, "'betas' has shape"),
        ({"betas": np.zeros((7, 10))}, "'betas' has shape"),
        ({"mocap_framerate": np.float64(0)}, "frame rate"),
        ({"mocap_framerate": np.array([30.0, 60.0])}, "frame rate"),
        ({"mocap_framerate": np.float64(np.nan)}, "'mocap_framerate' holds NaN"),
        ({"poses": with_nan(small_poses())}, "'poses' holds NaN"),
        ({"trans": with_nan(np.zeros((7, 3)))}, "'trans' holds NaN"),
        ({"trans": np.full((7, 3), 1e300)}, "'trans' holds NaN, or values that are infinite"),
        ({"betas": np.array(["a"] * 10)}, "'betas' holds"),
        ({"betas": np.array([object()] * 10)}, "plain arrays"),
    ],
)
def test_a_broken_take_is_refused_by_file_and_key(tmp_path, changes, said):
    path = write_take(tmp_path / "broken.npz", **changes)
    with pytest.raises(InputError, match=r"broken\.npz") as error:
        read_take(path)
    assert said in str(error.value)


def test_pickles_we_do_not_need_are_never_opened(tmp_path):
    path = write_take(tmp_path / "a.npz", gender=np.array([{"not": "plain"}], dtype=object))
    assert len(read_take(path)) == 7


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04broken"])
def test_what_is_no_npz_is_refused(tmp_path, content):
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.npz"):
        read_take(path)
    with pytest.raises(InputError, match="absent"):
        read_take(tmp_path / "absent.npz")


def test_folders_are_read_with_their_subjects(tmp_path):
    write_take(tmp_path / "B" / "2_poses.npz")
    write_take(tmp_path / "A" / "deep" / "1_poses.npz")
    write_take(tmp_path / "A" / "other.npz")
    (tmp_path / "A" / "shape.npz").write_bytes(b"AMASS keeps body shapes beside the motions")
    (tmp_path / "A" / "._other.npz").write_bytes(b"macOS keeps what its files have beside them")
    (tmp_path / "notes.txt").write_text("not a take")
    takes = read_takes(tmp_path)
    assert [(take.subject, take.name) for take in takes] == [
        ("deep", "1"),
        ("A", "other"),
        ("B", "2"),
    ]
    with pytest.raises(InputError, match="holds no motion capture"):
        read_takes(tmp_path / "C")


@pytest.mark.parametrize("fps", [24.0, 30.0, 60.0, 90.0, 29.97])
def test_resampling_follows_the_shortest_rotation(fps):
    frames = 31
    take = take_of(random_rotations(frames, 0.3), fps=60.0)
    resampled = resample(take, fps)
    times = np.arange(len(resampled)) / fps
    assert times[-1] <= 0.5 + 1e-9 < times[-1] + 1 / fps + 1e-6
    slerp = Slerp(np.arange(frames) / 60, Rotation.from_matrix(take.rotations[:, 5].double()))
    expected = slerp(np.minimum(times, 0.5)).as_matrix()
    np.testing.assert_allclose(resampled.rotations[:, 5], expected, atol=1e-5)
    assert resampled.fps == fps


def test_resampling_is_exact_on_the_old_samples():
    take = take_of(random_rotations(13), torch.randn(13, 3), fps=30.0)
    assert torch.equal(resample(take, 30.0).rotations, take.rotations)
    for factor in (2, 4):
        finer = resample(take, 30.0 * factor)
        assert len(finer) == 12 * factor + 1
        assert torch.equal(finer.rotations[::factor], take.rotations)
        assert torch.equal(finer.translation[::factor], take.translation)
        coarser = resample(finer, 30.0)
        assert torch.equal(coarser.rotations, take.rotations)


def test_resampled_translation_keeps_a_smooth_path():
    times = torch.arange(31) / 30.0
    path = torch.stack([(4 * times).sin(), 0.9 + 0.0 * times, times**2], -1)
    finer = resample(take_of(torch.eye(3).repeat(31, 24, 1, 1), path), 100.0)
    fine = torch.arange(len(finer)) / 100.0
    expected = torch.stack([(4 * fine).sin(), 0.9 + 0.0 * fine, fine**2], -1)
    torch.testing.assert_close(finer.translation, expected, atol=2e-5, rtol=0)


def test_a_single_frame_and_bad_rates():
    take = take_of(random_rotations(1), torch.ones(1, 3))
    assert len(resample(take, 60.0)) == 1
    for fps in (0.0, -30.0, math.inf, math.nan):
        with pytest.raises(InputError, match="frame rate"):
            resample(take, fps)


def test_shared_shoulders_keep_everything_from_the_upper_arm_outwards():
    rotations = random_rotations(50)
    shared = share_shoulder_elevation(rotations)
    before, after = world_rotations(rotations), world_rotations(shared)
    others = [joint for joint in range(24) if joint not in COLLARS]
    torch.testing.assert_close(after[:, others], before[:, others], atol=1e-5, rtol=0)
    assert geodesic_angle(shared[:, COLLARS], rotations[:, COLLARS]).mean() > math.radians(5)


def test_a_collar_with_a_constant_rest_offset_was_not_captured():
    rotations = random_rotations(50)
    rotations[:, COLLARS] = axis_angle_to_matrix(torch.tensor([0.002, 0.0, 0.007]))
    shared = share_shoulder_elevation(rotations)
    before, after = world_rotations(rotations), world_rotations(shared)
    torch.testing.assert_close(after[:, SHOULDERS], before[:, SHOULDERS], atol=1e-5, rtol=0)
    assert geodesic_angle(shared[:, COLLARS], rotations[:, COLLARS]).mean() > math.radians(5)


def test_sharing_commutes_with_the_mirror():
    rotations = random_rotations(50)
    torch.testing.assert_close(
        share_shoulder_elevation(flip_rotations(rotations)),
        flip_rotations(share_shoulder_elevation(rotations)),
        atol=1e-5,
        rtol=0,
    )


@pytest.mark.parametrize(
    ("elevation", "raised", "tolerance"),
    [(-90, -20, 2), (-60, -20, 2), (-30, -10, 1), (0, 0, 0.01), (45, 15, 1), (90, 30, 1)],
)
def test_collars_take_a_third_of_the_elevation_past_the_setting_phase(elevation, raised, tolerance):
    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    for side, shoulder in zip((1, -1), SHOULDERS, strict=True):
        turn = Rotation.from_euler("z", side * elevation, degrees=True).as_matrix()
        rotations[:, shoulder] = torch.from_numpy(turn).float()
    shared = share_shoulder_elevation(rotations)
    for side, collar in zip((1, -1), COLLARS, strict=True):
        vector = Rotation.from_matrix(shared[0, collar].double().numpy()).as_rotvec(degrees=True)
        np.testing.assert_allclose(vector, [0, 0, side * raised], atol=tolerance)


def test_a_reaching_arm_takes_its_collar_forward():
    rotations = torch.eye(3).repeat(1, 24, 1, 1)
    for side, shoulder in zip((1, -1), SHOULDERS, strict=True):
        turn = Rotation.from_euler("y", -90 * side, degrees=True).as_matrix()
        rotations[:, shoulder] = torch.from_numpy(turn).float()
    shared = share_shoulder_elevation(rotations)
    for side, collar in zip((1, -1), COLLARS, strict=True):
        assert shared[0, collar, 2, 0] * side > math.sin(math.radians(10))


def test_sharing_is_continuous_everywhere():
    """Arms swept along great circles through every direction, the poles included."""
    steps = torch.linspace(0, 2 * math.pi, 3601)
    for axis in (
        [0.0, 0.0, 1.0],
        [0.0, 1.0, 0.0],
        [1.0, 0.0, 0.0],
        [0.5, 0.5, 0.7],
        [-0.2, 0.9, 0.4],
    ):
        rotations = torch.eye(3).repeat(3601, 24, 1, 1)
        vectors = steps[:, None] * torch.nn.functional.normalize(torch.tensor(axis), dim=0)
        rotations[:, SHOULDERS] = axis_angle_to_matrix(vectors)[:, None]
        collars = share_shoulder_elevation(rotations)[:, COLLARS]
        step = torch.rad2deg(geodesic_angle(collars[1:], collars[:-1])).max()
        assert step < 0.1, "an arm that moves by 0.1 degrees moves the collar by less"


def test_collars_that_were_captured_are_left_alone():
    rotations = random_rotations(20)
    rotations[3:9, COLLARS[0]] = axis_angle_to_matrix(torch.tensor([0.0, 0.0, 0.2]))
    shared = share_shoulder_elevation(rotations)
    left, right = (
        SMPL24.indices(f"{side}_collar", f"{side}_shoulder") for side in ("left", "right")
    )
    assert torch.equal(shared[:, left], rotations[:, left])
    assert not torch.equal(shared[:, right], rotations[:, right])


@pytest.mark.skipif(not CORPUS.is_dir(), reason="needs ../shared/data/mocap")
def test_the_corpus_reads_y_up():
    takes = read_takes(CORPUS / "val")
    assert len(takes) == 52
    assert sum(map(len, takes)) == 11_646
    assert {take.subject for take in takes} == {"07", "09", "17", "94", "131"}
    for take in takes:
        assert looked_up_axis(take) == "y"
        assert looked_up_axis(z_up(take)) == "z"
