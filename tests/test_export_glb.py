"""The GLB, read again by others: the body's own vertices, in the right place at the right time."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh
from exported_people import doing, open_body, somebody, standing, toy_body, turned_about_y
from glb_reader import Glb
from result_motions import make_motion

from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.output.correctives import principal_correctives
from temporal_hmr.output.exported import Exported, exported
from temporal_hmr.output.glb import write_glb
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24

MILLIMETRE = 1e-3
Y_UP = np.array([1.0, -1.0, -1.0])
"""x right, y down, z forward as x right, y up, z back."""


def saved(tmp_path: Path, *people: Exported) -> Glb:
    write_glb(people, tmp_path / "people.glb")
    return Glb(tmp_path / "people.glb")


def joint_at(glb: Glb, joint: str, time: float, name: str = "person_000") -> np.ndarray:
    return glb.matrix(glb.named(f"{name}_{joint}"), time)[:3, 3]


def assert_same_vertices(glb: Glb, person: Exported, limit: float = MILLIMETRE) -> None:
    ours = person.body.vertices(person.smpl).numpy() * Y_UP
    for time, vertices in zip(person.times, ours, strict=True):
        theirs = glb.vertices(f"{person.name}_body", time)
        assert np.abs(theirs - vertices).max() < limit


class TestVertices:
    def test_of_two_people_in_any_poses(self, tmp_path) -> None:
        people = somebody(5), somebody(4, person_id=3)
        glb = saved(tmp_path, *people)
        for person in people:
            assert_same_vertices(glb, person)

    def test_of_the_open_body_some_of_which_hang_on_seven_joints(self, tmp_path) -> None:
        person = somebody(3, body=open_body())
        glb = saved(tmp_path, person)
        assert_same_vertices(glb, person)
        attributes = glb.gltf.meshes[0].primitives[0].attributes
        first, second = (glb.array(getattr(attributes, f"WEIGHTS_{n}")) for n in (0, 1))
        assert np.allclose(first.sum(1) + second.sum(1), 1, atol=1e-6)
        assert (first.min(1) >= second.max(1)).all(), "viewers that read one set take the first"

    def test_correctives_matter_and_are_there(self, tmp_path) -> None:
        """Without the morph targets it is centimetres off."""
        person = somebody(3)
        glb = saved(tmp_path, person)
        glb.gltf.meshes[0].primitives[0].targets = []
        with pytest.raises(AssertionError):
            assert_same_vertices(glb, person, limit=0.01)

    def test_trimesh_reads_the_mesh_in_the_zero_pose(self, tmp_path) -> None:
        person = somebody(2)
        saved(tmp_path, person)
        scene = trimesh.load(tmp_path / "people.glb", process=False)
        (mesh,) = scene.geometry.values()
        body, betas = person.body, person.smpl.betas[0]
        shaped = (body.v_template + body.shapedirs @ betas).numpy()
        assert np.allclose(mesh.vertices, shaped, atol=1e-6)
        assert np.array_equal(mesh.faces, body.faces)


class TestCorrectives:
    def test_all_weights_lie_where_editors_clamp_them(self) -> None:
        person = somebody(12)
        found = principal_correctives(person.body, person.smpl)
        assert found.weights.min() >= 0 and found.weights.max() <= 1

    def test_a_looser_tolerance_takes_fewer_targets_and_is_kept(self) -> None:
        person = somebody(12)
        body = person.body
        feature = (person.smpl.body_pose - torch.eye(3)).flatten(1)
        exact = torch.einsum("vcp,tp->tvc", body.posedirs, feature)
        counts = []
        for tolerance in (1e-4, 0.2):
            found = principal_correctives(body, person.smpl, tolerance)
            made = torch.einsum("tk,kvc->tvc", found.weights, found.targets)
            assert (made - exact).norm(dim=-1).max() <= tolerance * 1.001
            counts.append(len(found.targets))
        assert counts[1] < counts[0]

    def test_in_parts_it_is_the_same(self, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
        person = somebody(23)
        whole = saved(tmp_path, person)
        monkeypatch.setattr("temporal_hmr.on_disk.FRAMES_AT_ONCE", 5)
        parts = saved(tmp_path, person)
        assert_same_vertices(parts, person)
        for (_, path), (_, keys, _) in whole.channels.items():
            assert len(keys) == 23, path
        for time in (person.times[4], person.times[4:6].mean(), person.times[-1]):
            both = [glb.vertices("person_000_body", time) for glb in (whole, parts)]
            assert np.abs(both[0] - both[1]).max() < 1e-6

    def test_the_zero_pose_needs_none(self, tmp_path) -> None:
        person = doing(standing(2, toy_body()), toy_body())
        glb = saved(tmp_path, person)
        assert not glb.gltf.meshes[0].primitives[0].targets
        assert_same_vertices(glb, person)


class TestPlaces:
    def test_up_is_up_and_in_front_of_the_camera_is_at_minus_z(self, tmp_path) -> None:
        glb = saved(tmp_path, doing(standing(1, open_body()), open_body()))
        head, feet = joint_at(glb, "head", 0), joint_at(glb, "left_foot", 0)
        assert head[1] > feet[1] + 1
        assert joint_at(glb, "pelvis", 0)[2] == pytest.approx(-4, abs=0.1)
        # They look at the camera, so that their left is at the right of the picture.
        assert joint_at(glb, "left_hand", 0)[0] > 0.5
        (camera,) = [node for node in glb.gltf.nodes if node.camera is not None]
        assert camera.rotation is None and camera.translation is None

    def test_a_bent_left_elbow_moves_the_left_hand_and_nothing_else(self, tmp_path) -> None:
        body, angle = open_body(), -1.2
        smpl = standing(1, body, left_elbow=(0.0, angle, 0.0))
        rest = body.rest_joints(smpl.betas[0]).numpy()
        elbow, hand = (rest[SMPL24.index(f"left_{part}")] for part in ("elbow", "hand"))
        bent = elbow + turned_about_y(angle, hand - elbow)
        assert bent[2] > 0.2, "forward"
        # Half a turn to face the camera and another to have y up: all is as at rest.
        glb = saved(tmp_path, doing(smpl, body))
        pelvis = joint_at(glb, "pelvis", 0)
        assert np.allclose(joint_at(glb, "left_hand", 0) - pelvis, bent - rest[0], atol=1e-6)
        other = rest[SMPL24.index("right_hand")]
        assert np.allclose(joint_at(glb, "right_hand", 0) - pelvis, other - rest[0], atol=1e-6)

    def test_the_camera_sees_joints_where_ours_does(self, tmp_path) -> None:
        camera = Camera(torch.tensor([900.0, 700.0]), torch.tensor([320.0, 240.0]), 640, 480)
        person = replace(somebody(2), camera=camera)
        glb = saved(tmp_path, person)
        lens = glb.gltf.cameras[0].perspective
        x, y, z = joint_at(glb, "left_wrist", person.times[1])
        height = np.tan(lens.yfov / 2)
        device = np.array([x / (lens.aspectRatio * height), y / height]) / -z
        pixels = (device * [1, -1] + 1) / 2 * [640, 480]
        wrist = person.body.joints(person.smpl)[1, SMPL24.index("left_wrist")].float()
        assert np.allclose(pixels, camera.project(wrist[None])[0], atol=1e-2)

    def test_without_a_camera_there_is_none(self, tmp_path) -> None:
        assert not saved(tmp_path, replace(somebody(2), camera=None)).gltf.cameras


class TestTimes:
    def test_keys_are_at_the_presentation_times(self, tmp_path) -> None:
        """Frames of a phone: neither from zero nor evenly spaced."""
        times = np.array([10.0, 10.03, 10.09, 10.10])
        person = replace(somebody(4), times=times)
        glb = saved(tmp_path, person)
        keys, _, how = glb.channels[glb.named("person_000_left_knee"), "rotation"]
        assert np.allclose(keys, times, atol=1e-6) and how == "LINEAR"
        assert_same_vertices(glb, person)

    def test_times_before_zero_are_moved_to_it(self, tmp_path) -> None:
        times = np.array([-0.08, -0.04, 0.0])
        glb = saved(tmp_path, replace(somebody(3), times=times))
        keys, _, _ = glb.channels[glb.named("person_000_left_knee"), "rotation"]
        assert np.allclose(keys, times + 0.08, atol=1e-6)

    def test_the_shorter_way_around(self, tmp_path) -> None:
        """Several whole turns, whose quaternions change sign on the way."""
        angles = torch.linspace(0, 15, 40).double()
        smpl = standing(40, toy_body())
        turns = axis_angle_to_matrix(angles[:, None] * torch.tensor([0.0, 1.0, 0.0]).double())
        smpl.global_orient[:] = turns @ smpl.global_orient
        glb = saved(tmp_path, doing(smpl, toy_body()))
        _, keys, _ = glb.channels[glb.named("person_000_pelvis"), "rotation"]
        assert ((keys[1:] * keys[:-1]).sum(1) > 0).all()

    def test_nobody_is_shown_who_is_not_there(self, tmp_path) -> None:
        """One in frames 0 to 9, the other in 3, 4 and 7: hidden before, in between and after."""
        first = doing(standing(10, toy_body()), toy_body())
        frames = np.array([3, 4, 7])
        other = doing(standing(3, toy_body()), toy_body(), frames=frames, times=frames / 30)
        glb = saved(tmp_path, first, replace(other, name="person_001", person_id=1))
        assert (glb.named("person_000"), "scale") not in glb.channels
        node = glb.named("person_001")
        shown = [glb.value(node, "scale", frame / 30)[0] for frame in range(10)]
        assert shown == [0, 0, 0, 1, 1, 0, 0, 1, 0, 0]
        hidden = glb.vertices("person_001_body", 5 / 30)
        assert np.ptp(hidden, axis=0).max() < 1e-6, "a point, which draws nothing"

    def test_a_clip_that_starts_late_shows_its_people_at_once(self, tmp_path) -> None:
        """Viewers that do not play stand at zero."""
        person = replace(somebody(3), times=np.array([600.0, 600.04, 600.08]))
        glb = saved(tmp_path, person)
        assert (glb.named("person_000"), "scale") not in glb.channels
        pelvis = glb.gltf.nodes[glb.named("person_000_pelvis")]
        assert np.allclose(pelvis.translation, joint_at(glb, "pelvis", 600.0), atol=1e-6)


def test_names_licence_and_one_animation(tmp_path) -> None:
    glb = saved(tmp_path, somebody(2), somebody(2, person_id=12))
    names = {node.name for node in glb.gltf.nodes}
    assert {"camera", "person_000", "person_012", "person_012_left_elbow"} <= names
    assert glb.gltf.asset.copyright == "CC0, made up"
    assert len(glb.gltf.animations) == 1


def test_a_shape_of_many_frames_becomes_one() -> None:
    """Others' files have a shape for every frame: a skin has one, which bends no bone."""
    motion = PredictedMotion.of(make_motion(4), "wham_output.pkl person 0")
    shapes = torch.arange(4.0).double()[:, None].expand(4, 10)
    motion = replace(motion, smpl=replace(motion.smpl, betas=shapes))
    person = exported(motion, toy_body(), True, 0, 30.0)
    assert (person.smpl.betas == 1.5).all()
    assert np.array_equal(person.smpl_betas, shapes), "as they were, for files that have so many"


@pytest.mark.parametrize("what", ["not finite", "no frames", "times that do not increase"])
def test_what_no_format_can_hold_is_refused(what) -> None:
    motion = PredictedMotion.of(make_motion(4), "walk.npz")
    if what == "not finite":
        motion.smpl.transl[2, 0] = torch.nan
        what = "not finite in frame 9"
    elif what == "no frames":
        motion = replace(motion, frames=np.array([], int))
    else:
        motion = replace(motion, times=np.array([0.0, 0.1, 0.1, 0.2]))
    with pytest.raises(InputError, match=f"^walk.npz has .*{what}"):
        exported(motion, toy_body(), True, 0, 30.0)
