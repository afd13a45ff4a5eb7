"""Results go out and come back unchanged; pictures agree with an independent rasteriser."""

import json
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.folder import check_folder, write_results
from temporal_hmr.output.npz import Provenance, atomic_path, load_motion, save_motion
from temporal_hmr.output.overlay import Artist, OverlayStyle, require_encodable, write_overlay
from temporal_hmr.output.rasterize import NEAR, Surface
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import COCO23
from temporal_hmr.video import Frame

PROVENANCE = Provenance("walk.mp4", "ab" * 32, "toy", "CC0", "toy.safetensors", "cd" * 32, "0.0")


def make_motion(num_frames: int = 5, person_id: int = 0) -> BodyMotion:
    """A random motion in which the third frame was not observed."""
    draw = torch.Generator().manual_seed(person_id)
    poses = torch.randn(num_frames, 72, generator=draw) * 0.5
    betas = torch.randn(10, generator=draw).expand(num_frames, -1)
    transl = torch.randn(num_frames, 3, generator=draw) + torch.tensor([0.0, 0, 4])
    observed = np.arange(num_frames) != 2
    numbers = np.random.default_rng(person_id)
    return BodyMotion(
        person_id=person_id,
        frames=np.arange(7, 7 + num_frames),
        times=np.arange(7, 7 + num_frames) / 29.97,
        fps=29.97,
        smpl=SmplParams.from_poses(poses, betas, transl),
        joints=numbers.normal(size=(num_frames, 24, 3)),
        camera=Camera(torch.tensor([900.0, 880.0]), torch.tensor([300.0, 260.0]), 640, 480, True),
        boxes=numbers.uniform(0, 400, (num_frames, 4)),
        keypoints=numbers.uniform(0, 400, (num_frames, 23, 3)),
        skeleton=COCO23,
        observed=observed,
        confidence=observed * 0.75,
    )


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk looks like to those who write."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


class TestResultFile:
    def test_comes_back_unchanged(self, tmp_path: Path) -> None:
        motion = make_motion()
        save_motion(motion, tmp_path / "person.npz", PROVENANCE)
        back = load_motion(tmp_path / "person.npz")
        angles = geodesic_angle(motion.smpl.rotations(), back.smpl.rotations())
        assert angles.max() < 1e-5
        assert torch.allclose(motion.smpl.betas, back.smpl.betas)
        assert torch.allclose(motion.smpl.transl, back.smpl.transl)
        for name in ("frames", "times", "joints", "boxes", "keypoints", "observed", "confidence"):
            np.testing.assert_allclose(getattr(motion, name), getattr(back, name), rtol=1e-6)
        assert torch.equal(motion.camera.focal, back.camera.focal)
        assert torch.equal(motion.camera.center, back.camera.center)
        assert (back.camera.width, back.camera.height, back.camera.assumed) == (640, 480, True)
        assert back.skeleton is COCO23
        assert back.person_id == 0
        assert back.fps == pytest.approx(29.97)

    def test_is_plain_and_bears_the_common_names(self, tmp_path: Path) -> None:
        save_motion(make_motion(), tmp_path / "person.npz", PROVENANCE)
        with np.load(tmp_path / "person.npz", allow_pickle=False) as archive:
            arrays = dict(archive)
        shapes = {name: array.shape for name, array in arrays.items()}
        assert shapes == {
            "poses": (5, 72),
            "global_orient": (5, 3),
            "body_pose": (5, 69),
            "betas": (10,),
            "trans": (5, 3),
            "gender": (),
            "mocap_frame_rate": (),
            "fps": (),
            "frame_ids": (5,),
            "timestamps": (5,),
            "bbox_xyxy": (5, 4),
            "keypoints2d": (5, 23, 3),
            "joints3d": (5, 24, 3),
            "K": (3, 3),
            "observed": (5,),
            "confidence": (5,),
            "track_id": (),
            "meta": (),
        }
        meta = json.loads(str(arrays["meta"]))
        assert meta["source_sha256"] == PROVENANCE.source_sha256
        assert meta["body_licence"] == "CC0"
        assert meta["focal_assumed"] is True
        assert arrays["poses"].dtype == np.float32

    @pytest.mark.parametrize(
        ("body", "gender"),
        [
            ("open", "neutral"),
            ("SMPL_NEUTRAL", "neutral"),
            ("SMPL_FEMALE", "female"),
            ("basicModel_f_lbs_10_207_0_v1.0.0", "female"),
            ("basicmodel_m_lbs_10_207_0_v1.1.0", "male"),
            ("SMPL_MALE", "male"),
        ],
    )
    def test_gender_is_that_of_the_body(self, body: str, gender: str, tmp_path: Path) -> None:
        save_motion(make_motion(), tmp_path / "person.npz", replace(PROVENANCE, body=body))
        with np.load(tmp_path / "person.npz", allow_pickle=False) as archive:
            assert str(archive["gender"]) == gender

    def test_what_is_not_a_result_is_refused(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "other.npz", poses=np.zeros((1, 72)))
        (tmp_path / "noise.npz").write_bytes(b"PK\x03\x04 cut off")
        with (tmp_path / "array.npz").open("wb") as file:
            np.save(file, np.zeros(3))
        with pytest.raises(InputError, match="a single array"):
            load_motion(tmp_path / "array.npz")
        with pytest.raises(InputError, match="lacks betas"):
            load_motion(tmp_path / "other.npz")
        with pytest.raises(InputError, match="is damaged"):
            load_motion(tmp_path / "noise.npz")
        with pytest.raises(InputError, match="no file at"):
            load_motion(tmp_path / "absent.npz")

    def test_failure_leaves_the_old_file_and_nothing_else(self, tmp_path: Path) -> None:
        path = tmp_path / "person.npz"
        path.write_text("old")
        with pytest.raises(RuntimeError), atomic_path(path) as temporary:  # noqa: PT012
            temporary.write_text("half")
            raise RuntimeError
        assert path.read_text() == "old"
        assert list(tmp_path.iterdir()) == [path]


class TestResultFolder:
    def test_rerun_leaves_nobody_of_the_earlier_run(self, tmp_path: Path) -> None:
        folder = tmp_path / "out" / "walk"
        write_results(folder, [make_motion(3, 0), make_motion(3, 4)], {}, PROVENANCE)
        (folder / "overlay.mp4").write_bytes(b"old")
        (folder / "mine.txt").write_text("the user's own")
        check_folder(folder, PROVENANCE.source_sha256)
        paths = write_results(folder, [make_motion(3, 1)], {"fps": 30}, PROVENANCE)
        assert sorted(path.name for path in folder.iterdir()) == [
            "mine.txt",
            "person_001.npz",
            "result.json",
        ]
        summary = json.loads((folder / "result.json").read_text())
        assert [person["file"] for person in summary["people"]] == [paths[0].name]
        assert summary["people"][0]["frames_observed"] == 2

    def test_another_video_of_the_same_name_is_not_overwritten(self, tmp_path: Path) -> None:
        write_results(tmp_path / "walk", [make_motion()], {}, PROVENANCE)
        with pytest.raises(InputError, match="another video"):
            check_folder(tmp_path / "walk", "00" * 32)

    def test_check_makes_nothing_and_sees_a_file_in_the_way(self, tmp_path: Path) -> None:
        check_folder(tmp_path / "a" / "b", "")
        (tmp_path / "file").write_text("")
        with pytest.raises(InputError, match="cannot write"):
            check_folder(tmp_path / "file" / "b", "")
        assert [path.name for path in tmp_path.iterdir()] == ["file"]

    @pytest.mark.parametrize("name", ["a" * 300, "a\udcff"])
    def test_names_that_cannot_be_are_seen_before_any_work(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="--output-dir"):
            check_folder(tmp_path / name, "")

    def test_an_earlier_result_stays_if_the_new_one_does_not_fit(self, tmp_path: Path) -> None:
        folder = tmp_path / "walk"
        write_results(folder, [make_motion(3, 0)], {}, PROVENANCE)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with limited_files(500), pytest.raises(InputError, match="cannot write"):
            write_results(folder, [make_motion(4, 1)], {}, PROVENANCE)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before

    def test_folders_made_for_a_failed_write_go_away(self, tmp_path: Path, monkeypatch) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("temporal_hmr.output.folder.save_motion", full)
        with pytest.raises(InputError, match="No space left"):
            write_results(tmp_path / "a" / "b", [make_motion()], {}, PROVENANCE)
        assert list(tmp_path.iterdir()) == []


def icosphere() -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere of 320 triangles, counter-clockwise seen from outside."""
    golden = (1 + math.sqrt(5)) / 2
    ends = [(-1, golden), (1, golden), (-1, -golden), (1, -golden)]
    vertices = np.array(
        [(a, b, 0) for a, b in ends] + [(0, a, b) for a, b in ends] + [(b, 0, a) for a, b in ends],
        float,
    )
    # The faces of the convex hull, wound outwards.
    from scipy.spatial import ConvexHull

    points = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    for _ in range(2):
        edges = {
            tuple(sorted(pair))
            for f in ConvexHull(points).simplices
            for pair in ((f[0], f[1]), (f[1], f[2]), (f[2], f[0]))
        }
        middles = np.array([points[a] + points[b] for a, b in edges])
        points = np.concatenate([points, middles / np.linalg.norm(middles, axis=1, keepdims=True)])
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

    def test_normals_point_outwards_and_light_comes_from_above(self) -> None:
        points, faces = icosphere()
        surface = Surface(faces, len(points))
        assert (surface.normals(points) * points).sum(-1).min() > 0.99
        light = surface.shade(points, np.array([1.0, 1.0, 1.0]))[:, 0]
        # y points down in the camera frame.
        assert light[points[:, 1].argmin()] > light[points[:, 1].argmax()] + 0.2


def standing(body: BodyModel, person_id: int, place: tuple[float, float, float]) -> BodyMotion:
    """Somebody in T-pose before a 160 x 120 camera for two frames; not observed in the second."""
    camera = Camera.with_focal(150.0, 160, 120)
    upright = torch.eye(3).repeat(2, 24, 1, 1)
    upright[:, 0] = torch.diag(torch.tensor([1.0, -1, -1]))
    smpl = SmplParams.from_rotations(upright, torch.zeros(2, 10), torch.tensor(place).repeat(2, 1))
    return BodyMotion(
        person_id=person_id,
        frames=np.arange(2),
        times=np.arange(2) / 10,
        fps=10,
        smpl=smpl,
        joints=body.joints(smpl).numpy(),
        camera=camera,
        boxes=np.zeros((2, 4)),
        keypoints=np.zeros((2, 23, 3)),
        skeleton=COCO23,
        observed=np.array([True, False]),
        confidence=np.array([1.0, 0]),
    )


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body()


class TestOverlay:
    GRAY = 60
    PLAIN = OverlayStyle(person_ids=False)

    def frame(self, index: int) -> Frame:
        return Frame(index, index / 10, np.full((120, 160, 3), self.GRAY, np.uint8))

    def drawn(self, *motions: BodyMotion, body: BodyModel, index: int = 0) -> np.ndarray:
        frame = self.frame(index)
        image = Artist(motions, body, self.PLAIN).draw(frame).astype(float)
        assert (frame.image == self.GRAY).all(), "the clip's own image stays untouched"
        return image

    def test_the_body_covers_its_own_joints_and_no_corner(self, body: BodyModel) -> None:
        motion = standing(body, 0, (0, 0, 3))
        image = self.drawn(motion, body=body)
        columns, rows = motion.camera.project(torch.from_numpy(motion.joints[0])).int().T.numpy()
        assert (np.abs(image[rows, columns] - self.GRAY).max(-1) > 20).all()
        assert (image[[0, 0, -1, -1], [0, -1, 0, -1]] == self.GRAY).all()

    def test_the_nearer_hides_the_farther_whatever_the_order(self, body: BodyModel) -> None:
        near, far = standing(body, 0, (0, 0, 3)), standing(body, 1, (0.1, 0, 4))
        alone = self.drawn(near, body=body)
        both = self.drawn(near, far, body=body)
        np.testing.assert_array_equal(both, self.drawn(far, near, body=body))
        vertices = body.vertices(near.smpl)[0].numpy()
        drawing = Surface(body.faces.numpy(), len(vertices)).draw(vertices, vertices, near.camera)
        assert drawing is not None
        covered = np.zeros(alone.shape[:2], np.uint8)
        covered[drawing.window.slices] = np.isfinite(drawing.depth)
        # Without the softened outline.
        inside = cv2.erode(covered, np.ones((3, 3))) > 0
        assert inside.sum() > 500
        np.testing.assert_array_equal(both[inside], alone[inside])
        assert (both != alone).any()

    def test_filled_in_frames_are_fainter(self, body: BodyModel) -> None:
        motion = standing(body, 0, (0, 0, 3))
        seen, filled = (self.drawn(motion, body=body, index=index) for index in (0, 1))
        ratio = np.abs(filled - self.GRAY).sum() / np.abs(seen - self.GRAY).sum()
        assert ratio == pytest.approx(self.PLAIN.opacity_filled_in / self.PLAIN.opacity, abs=0.03)

    def test_absent_people_are_not_drawn(self, body: BodyModel) -> None:
        assert (self.drawn(standing(body, 0, (0, 0, 3)), body=body, index=5) == self.GRAY).all()

    def test_numbers_and_keypoints_are_drawn_when_asked(self, body: BodyModel) -> None:
        motion = standing(body, 0, (9, 0, 3))
        motion.keypoints[0] = [[20 + 4 * joint, 60, 1] for joint in range(23)]
        motion.boxes[0] = [20, 30, 60, 100]
        style = OverlayStyle(keypoints=True)
        image = Artist([motion], body, style).draw(self.frame(0))
        assert (image[60, 30:90] != self.GRAY).any()
        assert (image[10:32, 30:50] != self.GRAY).any()

    def test_a_failed_drawing_leaves_no_file(self, body: BodyModel, tmp_path: Path) -> None:
        def frames():
            yield self.frame(0)
            raise InputError("the second frame is gone")

        with pytest.raises(InputError, match="second frame"):
            write_overlay(frames(), 10, [], body, tmp_path / "overlay.mp4")
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("fps", [0.5, 23.976, 29.97003, 120.123, 239.876, 333.333])
    def test_every_frame_rate_can_be_written(self, fps: float, body, tmp_path: Path) -> None:
        path = tmp_path / "overlay.mp4"
        write_overlay([self.frame(index) for index in range(3)], fps, [], body, path)
        capture = cv2.VideoCapture(str(path))
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(fps, rel=1e-4)
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3

    def test_a_relative_folder_with_a_colon_is_no_protocol(
        self, body, tmp_path: Path, monkeypatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("a:b").mkdir()
        write_overlay([self.frame(0)], 10, [], body, Path("a:b") / "overlay.mp4")
        assert (tmp_path / "a:b" / "overlay.mp4").stat().st_size > 0

    def test_a_full_disk_is_told_and_leaves_no_file(self, body, tmp_path: Path, capfd) -> None:
        noise = np.random.default_rng(0).integers(0, 255, (20, 120, 160, 3), np.uint8)
        frames = [Frame(index, index / 10, image) for index, image in enumerate(noise)]
        with limited_files(60_000), pytest.raises(InputError, match="make room on the disk"):
            write_overlay(frames, 10, [], body, tmp_path / "overlay.mp4")
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr().err == ""

    def test_sizes_beyond_the_format_are_refused(self) -> None:
        require_encodable(7680, 4320)
        with pytest.raises(InputError, match="--no-render"):
            require_encodable(4096, 8192)

    @pytest.mark.parametrize("name", ["absent/overlay.mp4", "overlay.nonsense"])
    def test_what_cannot_be_encoded_is_an_input_error(self, name, body, tmp_path, capfd) -> None:
        with pytest.raises(InputError, match="cannot encode"):
            write_overlay([self.frame(0)], 10, [], body, tmp_path / name)
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr().err == ""
