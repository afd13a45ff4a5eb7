"""AMASS and the layouts of WHAM, VIBE and GVHMR, read again by what reads those systems' files."""

import pickle
import pickletools
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from exported_people import doing, open_body, somebody, standing, toy_body
from result_motions import make_motion

from temporal_hmr.data.mocap import read_take
from temporal_hmr.errors import InputError
from temporal_hmr.interchange.files import read_predictions
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.output.amass import write_amass
from temporal_hmr.output.exported import exported
from temporal_hmr.output.layouts import write_gvhmr, write_vibe, write_wham
from temporal_hmr.output.obj import write_obj
from temporal_hmr.output.pickled import InParts, write_pickle
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import SMPL24

Y_UP = np.array([1.0, -1.0, -1.0])
HANDS = SMPL24.indices("left_hand", "right_hand")


def assert_same_pose(ours, theirs, hands: bool = True) -> None:
    joints = [joint for joint in range(24) if hands or joint not in HANDS]
    angles = geodesic_angle(ours.rotations()[:, joints].double(), theirs.rotations()[:, joints])
    assert angles.max() < 1e-5


def unpickled(path: Path) -> dict:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return pickle.loads(path.read_bytes())


class TestAmass:
    def test_joints_are_the_same_in_a_world_with_z_up(self, tmp_path) -> None:
        person = somebody(5)
        write_amass(person, tmp_path / "a_poses.npz")
        body, betas = person.body, person.smpl.betas
        rest = body.rest_joints(betas[0])
        take = read_take(tmp_path / "a_poses.npz", "z", rest[0].float())
        expected = body.joints(person.smpl).numpy() * Y_UP
        smpl = person.smpl.from_rotations(take.rotations.double(), betas, take.translation.double())
        # The hands turn nothing but themselves.
        assert np.allclose(body.joints(smpl), expected, atol=1e-5)
        assert take.fps == pytest.approx(person.fps)
        assert np.allclose(take.betas, betas[0])

    def test_up_is_z_for_somebody_who_stands(self, tmp_path) -> None:
        body = open_body()
        write_amass(doing(standing(4, body), body), tmp_path / "a_poses.npz")
        assert read_take(tmp_path / "a_poses.npz", "auto").rotations[0, 0, 1, 1] > 0.99
        with np.load(tmp_path / "a_poses.npz") as arrays:
            assert np.allclose(arrays["poses"][0, :3], [np.pi / 2, 0, 0])

    def test_keys_and_shapes_are_those_of_amass(self, tmp_path) -> None:
        person = somebody(3)
        write_amass(person, tmp_path / "a_poses.npz")
        with np.load(tmp_path / "a_poses.npz", allow_pickle=False) as arrays:
            shapes = {key: arrays[key].shape for key in arrays.files}
            assert float(arrays["start_time"]) == person.times[0]
        assert shapes["poses"] == (3, 156) and shapes["trans"] == (3, 3)
        assert shapes["betas"] == (16,) and shapes["dmpls"] == (3, 8)
        assert shapes["gender"] == shapes["mocap_framerate"] == ()


class TestWham:
    def test_everybody_comes_back(self, tmp_path) -> None:
        people = somebody(4), somebody(3, person_id=5)
        write_wham(people, tmp_path / "wham_output.pkl")
        back = read_predictions(tmp_path / "wham_output.pkl")
        assert [motion.name for motion in back] == [
            "wham_output.pkl person 0",
            "wham_output.pkl person 5",
        ]
        for person, motion in zip(people, back, strict=True):
            assert motion.source == "wham"
            assert np.array_equal(motion.frames, person.frames)
            assert_same_pose(person.smpl, motion.smpl)
            assert np.allclose(motion.smpl.transl, person.smpl.transl, atol=1e-6)
            assert np.allclose(motion.smpl.betas, person.smpl.betas, atol=1e-6)

    def test_the_world_is_the_cameras_turned_upright(self, tmp_path) -> None:
        person = somebody(4)
        write_wham([person], tmp_path / "wham_output.pkl")
        (motion,) = read_predictions(tmp_path / "wham_output.pkl")
        assert motion.world is not None
        world = replace(motion.world, betas=person.smpl.betas)
        expected = person.body.joints(person.smpl).numpy() * Y_UP
        assert np.allclose(person.body.joints(world), expected, atol=1e-5)

    def test_a_world_of_the_systems_own_stays(self, tmp_path) -> None:
        first = PredictedMotion.of(make_motion(3), "x")
        motion = replace(first, world=PredictedMotion.of(make_motion(3, 1), "y").smpl)
        write_wham([exported(motion, toy_body(), True, 0, 30.0)], tmp_path / "wham_output.pkl")
        (back,) = read_predictions(tmp_path / "wham_output.pkl")
        assert back.world is not None and motion.world is not None
        assert_same_pose(motion.world, back.world)

    def test_shapes_of_the_open_body_are_not_passed_off_as_smpls(self, tmp_path) -> None:
        write_wham([somebody(2, body=toy_body("open"))], tmp_path / "wham_output.pkl")
        (motion,) = read_predictions(tmp_path / "wham_output.pkl")
        assert not motion.smpl.betas.any()

    def test_the_pickle_is_for_every_numpy(self, tmp_path) -> None:
        """numpy 2 would name `numpy._core`, which older ones, and so their tools, do not have."""
        path = tmp_path / "wham_output.pkl"
        write_wham([somebody(2)], path)
        opcodes = pickletools.genops(path.read_bytes())
        named = {str(argument) for opcode, argument, _ in opcodes if "GLOBAL" in opcode.name}
        assert named == {"numpy.core.multiarray _reconstruct", "numpy ndarray", "numpy dtype"}
        assert unpickled(path)[0]["pose"].shape == (2, 72)


def test_large_arrays_are_streamed_and_bytes_are_those_of_pickle(tmp_path) -> None:
    rows = np.arange(90_000, dtype=np.float32).reshape(-1, 3)
    lazy = InParts(rows.shape, lambda part: rows[part], torch.zeros(0))
    told = [{"x": rows, "small": rows[:2], 3: None}, rows[:, 1], "numpy._core.kept"]
    write_pickle(told, tmp_path / "a.pkl")
    raw = pickle.dumps(told, 3).replace(b"cnumpy._core.", b"cnumpy.core.")
    assert (tmp_path / "a.pkl").read_bytes() == raw
    write_pickle([lazy], tmp_path / "lazy.pkl")
    write_pickle([rows], tmp_path / "rows.pkl")
    assert (tmp_path / "lazy.pkl").read_bytes() == (tmp_path / "rows.pkl").read_bytes()


class TestVibe:
    def test_pose_shape_frames_and_boxes_come_back(self, tmp_path) -> None:
        person = somebody(4)
        write_vibe([person], tmp_path / "vibe_output.pkl")
        (motion,) = read_predictions(tmp_path / "vibe_output.pkl")
        assert motion.source == "vibe" and np.array_equal(motion.frames, person.frames)
        assert_same_pose(person.smpl, motion.smpl)
        assert np.allclose(motion.smpl.betas, person.smpl.betas, atol=1e-6)
        assert person.boxes is not None and motion.boxes is not None
        centers = [(boxes[:, :2] + boxes[:, 2:]) / 2 for boxes in (person.boxes, motion.boxes)]
        assert np.allclose(*centers)
        sides = motion.boxes[:, 2:] - motion.boxes[:, :2]
        assert np.allclose(sides[:, 0], sides[:, 1]), "VIBE's boxes are squares"

    def test_both_cameras_put_the_pelvis_where_ours_does(self, tmp_path) -> None:
        person = somebody(4)
        write_vibe([person], tmp_path / "vibe_output.pkl")
        fields = unpickled(tmp_path / "vibe_output.pkl")[0]
        camera = person.camera
        assert camera is not None
        pelvis = person.body.joints(person.smpl)[:, 0]
        expected = camera.project(pelvis[:, None].float())[:, 0].numpy()
        x = person.body.rest_joints(person.smpl.betas)[:, 0, :2].numpy()
        scale, shift = fields["orig_cam"][:, :2], fields["orig_cam"][:, 2:]
        half = np.array([camera.width, camera.height]) / 2
        assert np.allclose(half * (1 + scale * (x + shift)), expected, atol=0.01)
        center, side = fields["bboxes"][:, :2], fields["bboxes"][:, 2:3]
        crop = fields["pred_cam"]
        # Focal lengths of 900 and 880: the crop's one scale lies between.
        seen = center + crop[:, :1] * side / 2 * (x + crop[:, 1:])
        off = np.abs(seen - center).max() * 0.012 + 0.01
        assert np.abs(seen - expected).max() < off

    def test_without_a_camera_it_is_refused(self, tmp_path) -> None:
        with pytest.raises(InputError, match="person_000 has no camera, which VIBE's layout"):
            write_vibe([replace(somebody(2), camera=None)], tmp_path / "vibe_output.pkl")
        assert not list(tmp_path.iterdir())


class TestGvhmr:
    def test_the_person_comes_back_but_for_the_hands(self, tmp_path) -> None:
        person = somebody(4)
        write_gvhmr(person, tmp_path / "hmr4d_results.pt")
        (motion,) = read_predictions(tmp_path / "hmr4d_results.pt")
        assert motion.source == "gvhmr"
        assert_same_pose(person.smpl, motion.smpl, hands=False)
        assert np.allclose(motion.smpl.transl, person.smpl.transl, atol=1e-6)
        assert motion.camera is not None and person.camera is not None
        assert torch.allclose(motion.camera.focal.float(), person.camera.focal)
        assert motion.world is not None
        up = motion.world.global_orient @ motion.smpl.global_orient.mT
        assert np.allclose(up, np.diag(Y_UP), atol=1e-5)

    def test_torch_loads_it_safely(self, tmp_path) -> None:
        write_gvhmr(somebody(4), tmp_path / "hmr4d_results.pt")
        contents = torch.load(tmp_path / "hmr4d_results.pt", weights_only=True)
        assert contents["K_fullimg"].shape == (4, 3, 3)
        assert contents["smpl_params_incam"]["body_pose"].shape == (4, 63)
        assert contents["frame_ids"].tolist() == [7, 8, 9, 10]


class TestObj:
    def test_every_second_frame_has_our_vertices_and_faces(self, tmp_path) -> None:
        person = somebody(5)
        write_obj(person, tmp_path / "out", every=2)
        assert [p.name for p in sorted((tmp_path / "out").iterdir())] == [
            "000007.obj",
            "000009.obj",
            "000011.obj",
        ]
        lines = (tmp_path / "out" / "000009.obj").read_text().splitlines()
        vertices = [list(map(float, line.split()[1:])) for line in lines if line.startswith("v ")]
        faces = [list(map(int, line.split()[1:])) for line in lines if line.startswith("f ")]
        expected = person.body.vertices(person.smpl)[2].numpy() * Y_UP
        assert np.abs(np.array(vertices) - expected).max() < 1e-5
        assert np.array_equal(np.array(faces) - 1, person.body.faces)
