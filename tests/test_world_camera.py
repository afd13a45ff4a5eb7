"""Whether a camera moves, from what is behind the people; and how the door refuses."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from jaxtyping import Float, UInt8
from numpy import ndarray
from test_world import filmed, walking

from temporal_hmr.body.load import load_body
from temporal_hmr.camera import Camera
from temporal_hmr.output.npz import Provenance
from temporal_hmr.tracked import TrackResult
from temporal_hmr.tracking import _in_world
from temporal_hmr.video import Clip, Frame
from temporal_hmr.world.camera_watch import CameraMotion, CameraWatch

WIDTH, HEIGHT = 320, 180
FPS = 10.0
NOBODY = np.zeros((0, 4))


@cache
def wall() -> UInt8[ndarray, "600 900 3"]:
    """Something to see, larger than the picture; left alone by all who use it."""
    numbers = np.random.default_rng(0)
    rough = cv2.resize(numbers.uniform(0, 255, (60, 90, 3)), (900, 600))
    fine = cv2.resize(numbers.uniform(0, 255, (200, 300, 3)), (900, 600))
    return (0.6 * rough + 0.4 * fine).astype(np.uint8)


def view(
    x: float = 0.0, y: float = 0.0, zoom: float = 1.0, angle: float = 0.0
) -> UInt8[ndarray, "H W 3"]:
    """The wall about its middle, displaced by pixels, enlarged and turned (degrees)."""
    matrix = cv2.getRotationMatrix2D((450, 300), angle, zoom)
    matrix[:, 2] += (WIDTH / 2 - 450 + x, HEIGHT / 2 - 300 + y)
    return cv2.warpAffine(wall(), matrix, (WIDTH, HEIGHT))


def watched(
    images: list[UInt8[ndarray, "H W 3"]], boxes: Float[ndarray, "people 4"] = NOBODY
) -> CameraMotion:
    watch = CameraWatch()
    numbers = np.random.default_rng(1)
    # Every second one: more often nobody looks.
    for number, image in list(enumerate(images))[::2]:
        noise = numbers.normal(0, 4, (*image.shape[:2], 1)).astype(np.float32)
        noisy = np.clip(image + noise, 0, 255).astype(np.uint8)
        # What videos do to pictures.
        coded = cv2.imdecode(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1)
        assert coded is not None
        watch.add(Frame(number, number / FPS, coded), boxes)
    return watch.told()


class TestStill:
    def test_a_still_camera(self) -> None:
        told = watched([view()] * 20)
        assert told.verdict == "static" and told.shift < 0.5
        assert told.pictures == 9 and told.corners > 50
        assert "stands still" in str(told)

    def test_lamps_and_clouds(self) -> None:
        light = 1.0 + 0.4 * np.sin(np.arange(30) / 4)
        images = [np.clip(view() * each, 0, 255).astype(np.uint8) for each in light]
        assert watched(images).verdict == "static"

    def test_people_who_go_by_unnoticed(self) -> None:
        """Half of the picture is covered by somebody whom no detector found, for a while."""
        images = []
        for number in range(40):
            image = view().copy()
            columns = slice(max(30 * number - 300, 0), max(30 * number - 140, 0))
            width = image[:, columns].shape[1]
            image[:, columns] = wall()[300 : 300 + HEIGHT, 100 : 100 + width]
            images.append(image)
        assert watched(images).verdict == "static"

    def test_somebody_before_the_lens(self) -> None:
        hidden = [wall()[:HEIGHT, :WIDTH]] * 15
        assert watched([view()] * 10 + hidden + [view()] * 10).verdict == "static"

    def test_corners_of_people_do_not_count(self) -> None:
        """They fill most of the picture and walk, and only the rest is the background."""
        images = []
        for number in range(20):
            image = view().copy()
            image[:, 125:] = view(3.0 * number)[:, 125:]
            images.append(image)
        boxes = np.array([[150.0, 0.0, 320.0, 180.0]])
        assert watched(images).verdict == "moving"
        assert watched(images, boxes).verdict == "static"


class TestMoving:
    @pytest.mark.parametrize(
        "step",
        [{"x": 1.0}, {"y": 0.5}, {"zoom": 0.01}, {"angle": 0.5}, {"x": 12.0, "y": 5.0}],
        ids=str,
    )
    def test_pans_tilts_zooms_and_rolls(self, step: dict[str, float]) -> None:
        grown = [{key: each * n for key, each in step.items()} for n in range(25)]
        images = [view(**{k: v + (k == "zoom") for k, v in each.items()}) for each in grown]
        told = watched(images)
        assert told.verdict == "moving" and told.moved_at is not None and told.moved_at < 1.5

    def test_it_says_when_and_how_far(self) -> None:
        told = watched([view()] * 15 + [view(20.0)] * 15)
        assert told.verdict == "moving"
        assert told.moved_at == pytest.approx(1.6, abs=0.11)
        assert told.shift == pytest.approx(20.0, abs=0.5)
        assert "first at 1.6 s and by up to 20 px" in str(told)

    def test_pixels_are_those_of_the_video(self) -> None:
        """However small the pictures are that are looked at."""
        large = [cv2.resize(image, None, fx=3, fy=3) for image in (view(), view(10.0))]
        assert watched([large[0]] * 3 + [large[1]] * 10).shift == pytest.approx(30.0, abs=1.5)

    def test_a_hand_that_shakes(self) -> None:
        time = np.arange(40) / FPS
        images = [view(6 * np.sin(5 * t), 4 * np.sin(7 * t)) for t in time]
        assert watched(images).verdict == "moving"

    def test_slow_drift_adds_up(self) -> None:
        assert watched([view(0.12 * number) for number in range(30)]).verdict == "moving"

    def test_a_cut(self) -> None:
        told = watched([view()] * 10 + [view(200.0, 90.0, angle=50.0)] * 15)
        assert told.verdict == "moving" and "to another view" in str(told)

    def test_a_notice_in_the_corner_does_not_make_it_still(self) -> None:
        images = []
        for number in range(20):
            image = view(4.0 * number).copy()
            cv2.putText(image, "12:34 LIVE", (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255,) * 3, 2)
            images.append(image)
        assert watched(images).verdict == "moving"


class TestUnknown:
    def test_an_empty_wall(self) -> None:
        told = watched([np.full((3 * HEIGHT, 3 * WIDTH, 3), 120, np.uint8)] * 12)
        assert told.verdict == "unknown" and "too little" in str(told)

    def test_one_frame_and_none(self) -> None:
        assert watched([view()]).verdict == "unknown"
        assert watched([]).verdict == "unknown"

    def test_a_clip_that_begins_in_the_dark(self) -> None:
        dark = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        assert watched([dark] * 4 + [view()] * 20).verdict == "static"
        assert watched([dark] * 4 + [view(3.0 * n) for n in range(20)]).verdict == "moving"


class _Nothing(Clip):
    def _decode(self, first: int, stop: int) -> Iterator[Frame]:
        return iter(())


def result(tmp_path) -> TrackResult:
    motion = filmed(walking(30), 15.0)
    clip = _Nothing(tmp_path / "walk.mp4", 640, 480, 30.0, motion.times)
    provenance = Provenance("walk.mp4", "ab" * 32, "open", "CC0", "w", "cd" * 32, "0.0")
    camera = Camera.with_assumed_focal(640, 480)
    return TrackResult([motion], clip, camera, load_body(), motion.frames, motion.times, provenance)


class TestResult:
    def test_a_camera_that_moves_gets_no_world_and_loses_nothing(self, tmp_path) -> None:
        given = _in_world(result(tmp_path), CameraMotion("moving", 2.5, 18.0, 9, 60), False)
        assert given.no_world is not None and "2.5 s" in given.no_world
        (path,) = given.save(tmp_path / "out")
        with np.load(path) as arrays:
            assert "trans" in arrays and "trans_world" not in arrays
        assert '"missing"' in (tmp_path / "out" / "result.json").read_text()

    def test_a_camera_that_stands_gets_one(self, tmp_path) -> None:
        given = _in_world(result(tmp_path), CameraMotion("static", None, 0.2, 9, 60), True)
        (path,) = given.save(tmp_path / "out")
        with np.load(path) as arrays:
            assert arrays["poses_world"].shape == (30, 72)
            assert arrays["world_from_camera"].shape == (4, 4)
        assert "camera_pitch_degrees" in (tmp_path / "out" / "result.json").read_text()

    def test_a_camera_nobody_can_tell_of_is_believed_with_a_warning(self, tmp_path, caplog) -> None:
        given = _in_world(result(tmp_path), CameraMotion("unknown"), False)
        assert given.motions[0].world is not None
        assert "taken to stand still" in caplog.text

    def test_where_nobody_is_found_the_camera_does_not_matter(self, tmp_path, caplog) -> None:
        nobody = replace(result(tmp_path), motions=[])
        assert _in_world(nobody, CameraMotion("unknown"), False).motions == []
        assert caplog.text == ""

    def test_people_who_lie_down_give_a_reason(self, tmp_path) -> None:
        given = result(tmp_path)
        blind = replace(given.motions[0], observed=np.zeros(30, bool))
        given = _in_world(replace(given, motions=[blind]), CameraMotion("static"), False)
        assert given.no_world == "nobody is seen on their feet for most of the time"
