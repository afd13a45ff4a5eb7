"""A camera that its user has calibrated: numbers and files, its lens, and the bodies it gives."""

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from tracked_clips import DETECTOR, HEIGHT, WIDTH, FakeDetector, leave

from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.given.intrinsics import GivenCamera, read_camera
from temporal_hmr.given.lens import Lens, straight_clip
from temporal_hmr.motion import Person2D
from temporal_hmr.output.npz import load_motion
from temporal_hmr.tracked import TrackResult
from temporal_hmr.tracking import TrackSettings, track_video
from temporal_hmr.video import Clip, open_clip

FX, FY, CX, CY = 150.0, 160.0, 45.0, 70.0
BENT = (-0.2, 0.05, 0.003, -0.002, 0.01)
"""k1, k2, p1, p2, k3."""


def opencv_file(path: Path, **values: object) -> Path:
    """As OpenCV itself writes it; camera_matrix and so on by name, None leaves one out."""
    told: dict[str, object] = {
        "image_width": WIDTH,
        "image_height": HEIGHT,
        "camera_matrix": np.array([[FX, 0, CX - 0.5], [0, FY, CY - 0.5], [0, 0, 1]]),
        "distortion_coefficients": np.array([BENT]),
        **values,
    }
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    for name, value in told.items():
        if value is not None:
            storage.write(name, value)
    storage.release()
    return path


def colmap_text(folder: Path, *lines: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "cameras.txt").write_text("# Camera list\n" + "\n".join(lines) + "\n")
    return folder


def values_of(given: GivenCamera) -> list[float]:
    return [*given.camera.focal.tolist(), *given.camera.center.tolist()]


def naive_bent(point: tuple[float, float], k: tuple[float, ...]) -> tuple[float, float]:
    """The formula of OpenCV's documentation, word by word."""
    k1, k2, p1, p2, k3 = k
    x, y = (point[0] - CX) / FX, (point[1] - CY) / FY
    r2 = x * x + y * y
    radial = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    bent_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    bent_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return bent_x * FX + CX, bent_y * FY + CY


@pytest.fixture
def lens() -> Lens:
    camera = Camera(torch.tensor([FX, FY]), torch.tensor([CX, CY]), WIDTH, HEIGHT)
    return Lens(camera, BENT)


class TestLens:
    def points(self) -> np.ndarray:
        return np.random.default_rng(0).uniform(0, (WIDTH, HEIGHT), (40, 2))

    def test_bends_as_the_formula_says(self, lens) -> None:
        expected = [naive_bent((x, y), BENT) for x, y in self.points()]
        assert np.allclose(lens.bent(self.points()), expected, atol=1e-6)

    def test_straightens_what_it_bends(self, lens) -> None:
        assert np.allclose(lens.straight(lens.bent(self.points())), self.points(), atol=1e-4)
        assert lens.holds()
        assert lens.straight(np.zeros((0, 2))).shape == (0, 2)

    def test_pictures_go_with_points(self, lens, tmp_path) -> None:
        """A spot of the video is found where the straight picture should have it."""
        place = np.array([80.5, 110.5])
        rows, columns = np.mgrid[:HEIGHT, :WIDTH] + 0.5
        spot = np.exp(-((columns - place[0]) ** 2 + (rows - place[1]) ** 2) / 8)
        folder = tmp_path / "images"
        folder.mkdir()
        cv2.imwrite(
            str(folder / "0.png"), np.repeat((250 * spot).astype(np.uint8)[..., None], 3, 2)
        )
        (frame,) = straight_clip(open_clip(folder), lens)
        light = frame.image[..., 0].astype(float)
        found = np.array([(light * columns).sum(), (light * rows).sum()]) / light.sum()
        assert np.abs(found - lens.straight(place)).max() < 0.06
        assert np.abs(found - place).max() > 0.8

    def test_of_a_smaller_copy_bends_the_same(self, lens) -> None:
        half = lens.resized(WIDTH // 2, HEIGHT // 2)
        assert np.allclose(2 * half.bent(self.points() / 2), lens.bent(self.points()), atol=1e-4)


class TestReads:
    def test_four_numbers(self, clip) -> None:
        for words in ("150,160,45,70", "150, 160.0,45 70"):
            given = read_camera(words, clip)
            assert values_of(given) == [FX, FY, CX, CY] and given.lens is None
        assert not given.camera.assumed

    @pytest.mark.parametrize("suffix", ["yml", "json", "xml"])
    def test_files_of_opencv(self, clip, tmp_path, suffix) -> None:
        """Whose pixels count from the centre of the first one."""
        given = read_camera(opencv_file(tmp_path / f"c.{suffix}"), clip)
        assert np.allclose(values_of(given), [FX, FY, CX, CY])
        assert given.lens is not None and given.lens.coefficients == pytest.approx(BENT)

    def test_yaml_of_ros(self, clip, tmp_path) -> None:
        path = tmp_path / "ros.yaml"
        path.write_text(
            f"image_width: {WIDTH}\nimage_height: {HEIGHT}\ncamera_name: head\ncamera_matrix:\n"
            f"  rows: 3\n  cols: 3\n  data: [{FX}, 0, 44.5, 0, {FY}, 69.5, 0, 0, 1]\n"
            "distortion_model: plumb_bob\ndistortion_coefficients:\n  rows: 1\n  cols: 5\n"
            "  data: [0, 0, 0, 0, 0]\n"
        )
        given = read_camera(path, clip)
        assert values_of(given) == [FX, FY, CX, CY] and given.lens is None

    @pytest.mark.parametrize(
        ("number", "line", "values", "distortion"),
        [
            (0, "SIMPLE_PINHOLE", [150, 45, 70], []),
            (1, "PINHOLE", [150, 160, 45, 70], []),
            (2, "SIMPLE_RADIAL", [150, 45, 70, -0.1], [-0.1, 0, 0, 0]),
            (3, "RADIAL", [150, 45, 70, -0.1, 0.02], [-0.1, 0.02, 0, 0]),
            (4, "OPENCV", [150, 160, 45, 70, -0.1, 0.02, 0.003, 0.001], [-0.1, 0.02, 0.003, 0.001]),
        ],
    )
    def test_models_of_colmap(self, clip, tmp_path, number, line, values, distortion) -> None:
        text = colmap_text(
            tmp_path / "t", f"1 {line} {WIDTH} {HEIGHT} {' '.join(map(str, values))}"
        )
        packed = struct.pack(f"<QiiQQ{len(values)}d", 1, 7, number, WIDTH, HEIGHT, *values)
        (tmp_path / "b" / "sparse" / "0").mkdir(parents=True)
        (tmp_path / "b" / "sparse" / "0" / "cameras.bin").write_bytes(packed)
        for path in (text, text / "cameras.txt", tmp_path / "b"):
            given = read_camera(path, clip)
            fy = 160 if "fx" in line or number in (1, 4) else 150
            assert values_of(given) == [150, fy, 45, 70]
            told = [] if given.lens is None else given.lens.coefficients[:4]
            assert np.allclose(told, distortion)
            assert given.lens is None or not any(given.lens.coefficients[4:])

    @pytest.mark.parametrize(("x", "y", "told"), [(45, 70, 0), (23, 70, 1), (45, 97, 1)])
    def test_a_principal_point_far_from_the_middle_is_told_of(
        self, clip, caplog: pytest.LogCaptureFixture, x: int, y: int, told: int
    ) -> None:
        """As where a landscape calibration is given for a portrait video."""
        read_camera(f"150,160,{x},{y}", clip)
        assert len(caplog.messages) == told
        assert all(f"{x},{y} of fx,fy,cx,cy lies far" in line for line in caplog.messages)

    def test_of_several_cameras_that_of_the_video(self, clip, tmp_path) -> None:
        lines = (
            f"1 PINHOLE {WIDTH} {HEIGHT} 90 90 40 60",
            f"2 PINHOLE {WIDTH} {HEIGHT} 150 160 45 70",
        )
        folder = colmap_text(tmp_path / "m", *lines)
        with pytest.raises(InputError, match="has 2 different cameras"):
            read_camera(folder, clip)
        (folder / "images.txt").write_text(
            "# comment\n1 1 0 0 0 0 0 0 1 other/01.png\n\n2 1 0 0 0 0 0 0 2 walk/01.png\n1 2 3\n"
        )
        assert values_of(read_camera(folder, clip)) == [FX, FY, CX, CY]
        cameras = b"".join(
            struct.pack("<iiQQ4d", n, 1, WIDTH, HEIGHT, *k)
            for n, k in ((1, (90, 90, 40, 60)), (2, (150, 160, 45, 70)))
        )
        images = b"".join(
            struct.pack("<i7di", n, 1, 0, 0, 0, 0, 0, 0, n)
            + name
            + struct.pack("<Q", 1)
            + struct.pack("<ddq", 1, 2, 3)
            for n, name in ((1, b"other/1.png\0"), (2, b"walk/1.png\0"))
        )
        binary = tmp_path / "b"
        binary.mkdir()
        (binary / "cameras.bin").write_bytes(struct.pack("<Q", 2) + cameras)
        (binary / "images.bin").write_bytes(struct.pack("<Q", 2) + images)
        assert values_of(read_camera(binary, clip)) == [FX, FY, CX, CY]
        (binary / "images.bin").write_bytes(struct.pack("<Q", 2) + images[:-60])
        with pytest.raises(InputError, match=r"images\.bin is damaged"):
            read_camera(binary, clip)

    def test_another_size_of_the_same_shape_is_scaled(self, clip, tmp_path) -> None:
        line = f"1 PINHOLE {2 * WIDTH} {2 * HEIGHT} 300 320 90 140"
        assert values_of(read_camera(colmap_text(tmp_path / "m", line), clip)) == [FX, FY, CX, CY]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda _: "150,160,45", "takes four numbers"),
        (lambda _: "nowhere.yml", "neither four numbers nor there"),
        (lambda _: "0,160,45,70", "no focal length above 0"),
        (lambda _: "150,nan,45,70", "no focal length above 0"),
        (lambda _: "150,160,300,70", "lies outside the picture"),
        (lambda folder: folder, "is no COLMAP model"),
        (lambda folder: opencv_file(folder / "c.yml", image_width=300), "give the calibration of"),
        (
            lambda folder: opencv_file(folder / "c.yml", image_width=HEIGHT, image_height=WIDTH),
            "in the orientation of the video",
        ),
        (lambda folder: opencv_file(folder / "c.yml", camera_matrix=None), "no camera_matrix"),
        (lambda folder: opencv_file(folder / "c.yml", camera_matrix=np.eye(2)), "has 4 numbers"),
        (
            lambda folder: opencv_file(folder / "c.yml", camera_matrix=np.full((3, 3), np.nan)),
            "other than finite",
        ),
        (
            lambda folder: opencv_file(folder / "c.yml", camera_matrix=np.ones((3, 3))),
            "without skew",
        ),
        (
            lambda folder: opencv_file(folder / "c.yml", distortion_coefficients=np.ones(3)),
            "has 3 numbers, OpenCV",
        ),
        (lambda folder: opencv_file(folder / "c.yml", fisheye_model=1), "fisheye"),
        (
            lambda folder: opencv_file(
                folder / "c.yml", distortion_coefficients=np.array([-3.0, 0, 0, 0])
            ),
            "folds the corners",
        ),
        (lambda folder: write(folder / "c.yml", b""), "is empty"),
        (lambda folder: write(folder / "c.yml", b"\x00\xffrubbish"), "no file of OpenCV"),
        (lambda folder: write(folder / "c.json", b'{"camera_matrix": [1,'), "no file of OpenCV"),
        (lambda folder: colmap_text(folder / "m"), "holds no camera"),
        (lambda folder: colmap_text(folder / "m", "1 PINHOLE 98"), "is damaged"),
        (lambda folder: colmap_text(folder / "m", "1 PINHOLE 98 128 a b c d"), "is damaged"),
        (lambda folder: colmap_text(folder / "m", "1 PINHOLE 98 128 9"), "is damaged"),
        (lambda folder: colmap_text(folder / "m", "1 FOV 98 128 9 9 9 9 1"), "model FOV"),
        (lambda folder: write(folder / "cameras.bin", b"\1\0"), "is damaged"),
        (
            lambda folder: write(
                folder / "cameras.bin", struct.pack("<QiiQQ", 1, 1, 99, WIDTH, HEIGHT)
            ),
            "is damaged",
        ),
    ],
)
def test_what_is_no_camera_is_refused_in_one_line(clip, tmp_path, write, message) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_camera(write(tmp_path), clip)
    assert "\n" not in str(refused.value)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def tracked(clip: Clip, weights: Path, **chosen: object) -> TrackResult:
    settings = TrackSettings(weights=weights, refine=False, **chosen)  # type: ignore[arg-type]
    return track_video(clip.path, settings)


@pytest.mark.usefixtures("detector")
class TestTracks:
    def test_a_matrix_is_as_the_focal_length_of_the_same(self, clip, weights) -> None:
        (one,) = tracked(clip, weights, focal=200.0).motions
        (other,) = tracked(clip, weights, camera=f"200,200,{WIDTH / 2},{HEIGHT / 2}").motions
        assert torch.equal(one.smpl.body_pose, other.smpl.body_pose)
        assert torch.equal(one.smpl.transl, other.smpl.transl)
        assert torch.equal(one.camera.matrix(), other.camera.matrix())

    def test_keypoints_and_principal_point_move_together(self, clip, weights, monkeypatch) -> None:
        """What is seen from the same direction is the same body at the same place."""

        class Moved(FakeDetector):
            def people(self, frame) -> list[Person2D]:
                (person,) = super().people(frame)
                person.keypoints[:, :2] += (8, -6)
                return [person]

        (one,) = tracked(clip, weights, camera="150,160,45,70").motions
        monkeypatch.setattr(DETECTOR, Moved)
        (other,) = tracked(clip, weights, camera="150,160,53,64").motions
        assert torch.allclose(one.smpl.transl, other.smpl.transl, atol=1e-4)
        assert torch.allclose(one.smpl.global_orient, other.smpl.global_orient, atol=1e-4)

    def test_distortion_is_taken_out_and_told_of(self, clip, weights, tmp_path, lens) -> None:
        path = opencv_file(tmp_path / "c.yml")
        result = tracked(clip, weights, camera=path)
        (motion,) = result.motions
        frames = list(clip)
        (seen,) = FakeDetector().people(frames[2])
        expected = lens.straight(seen.keypoints[:, :2])
        assert np.abs(expected - seen.keypoints[:, :2]).max() > 1
        assert np.allclose(motion.keypoints[2, :, :2], expected, atol=1e-3)
        # The picture to draw over is the pinhole's.
        straight = list(straight_clip(clip, lens))[2].image
        assert np.abs(list(result.clip)[2].image.astype(int) - straight).max() <= 1
        assert result.provenance.settings["camera"] == {
            "given": "c.yml",
            "focal": [FX, FY],
            "center": [CX, CY],
            "distortion_taken_out": list(BENT),
        }

    def test_a_result_without_its_lens_is_tracked_anew_with_it(
        self, clip, weights, tmp_path
    ) -> None:
        """Its keypoints are bent back first, so that the lens is not taken out twice."""
        path = opencv_file(tmp_path / "c.yml")
        first = tracked(clip, weights, camera=path)
        first.save(tmp_path / "result")
        again = tracked(clip, weights, camera=path, keypoints=tmp_path / "result")
        assert np.allclose(
            first.motions[0].keypoints, again.motions[0].keypoints, rtol=0, atol=2e-3
        )

    def test_the_door_says_so_and_refuses_two_cameras(
        self, clip, weights, tmp_path, capsys
    ) -> None:
        words = (clip.path, "-o", tmp_path, "--weights", weights, "--no-refine", "--no-render")
        assert leave(*words, "--camera", "150,160,45,70") == 0
        made = json.loads((tmp_path / "walk" / "result.json").read_text())
        assert made["settings"]["camera"]["focal"] == [FX, FY]
        matrix = load_motion(tmp_path / "walk" / "person_000.npz").camera.matrix()
        assert matrix.tolist() == [[FX, 0, CX], [0, FY, CY], [0, 0, 1]]
        capsys.readouterr()
        assert leave(*words, "--camera", "150,160,45,70", "--focal", "9") == 2
        assert "both say what the camera is" in capsys.readouterr().err
        assert leave(0, "--camera", "150,160,45,70") == 2
        assert "--camera is for videos" in capsys.readouterr().err
