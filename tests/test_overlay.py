"""Bodies are drawn where they are, over the video, and the video is written whole or not at all."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from full_disk import limited_files

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.body.simplify import simplified
from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output import overlay
from temporal_hmr.output.overlay import (
    Artist,
    OverlayStyle,
    person_color,
    tolerance_for,
    write_overlay,
)
from temporal_hmr.rasterize import Surface
from temporal_hmr.skeleton import COCO23
from temporal_hmr.video import Frame


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

    def test_drawn_over_the_image_itself_it_is_the_same(self, body: BodyModel) -> None:
        near, far = standing(body, 0, (0, 0, 3)), standing(body, 1, (0.1, 0, 4))
        for motions in ([], [near], [near, far]):
            image = self.frame(0).image
            drawn = Artist(motions, body, self.PLAIN).draw_over(image, 0)
            assert drawn is image
            np.testing.assert_array_equal(image, self.drawn(*motions, body=body))

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

    def test_what_was_drawn_before_leaves_no_trace(self, body: BodyModel) -> None:
        """The depth buffer is kept from frame to frame."""
        people = standing(body, 0, (0, 0, 3)), standing(body, 1, (0.1, 0, 4))
        artist = Artist(people, body, self.PLAIN)
        before, again = artist.draw(self.frame(0)), artist.draw(self.frame(0))
        np.testing.assert_array_equal(before, again)
        large = Frame(1, 0.1, np.full((240, 320, 3), self.GRAY, np.uint8))
        np.testing.assert_array_equal(
            artist.draw(large), Artist(people, body, self.PLAIN).draw(large)
        )

    @pytest.mark.parametrize("distance", [3.0, 1.1, 0.4])
    def test_pixels_are_painted_as_the_formula_says(self, distance: float, body) -> None:
        """To the rounding of bytes; of small people, of large ones and of cut ones."""
        motion, opacity = standing(body, 0, (0, 0, distance)), self.PLAIN.opacity
        tolerance = tolerance_for(motion, slice(0, 2))
        drawn = simplified(body, tolerance) if tolerance else body
        surface = Surface(drawn.faces.numpy(), len(drawn.v_template))
        vertices = drawn.vertices(motion.smpl)[0].numpy()
        colors = surface.shade(vertices, np.array(person_color(0)))
        drawing = surface.draw(vertices, colors, motion.camera)
        assert drawing is not None
        picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
        inside, color = np.zeros((120, 160)), np.zeros((120, 160, 3))
        inside[drawing.window.slices] = np.isfinite(drawing.depth)
        color[drawing.window.slices] = 255 * drawing.color
        inside, color = cv2.blur(inside, (3, 3))[..., None], cv2.blur(color, (3, 3))
        expected = (1 - inside * opacity) * picture + opacity * color
        seen = Artist([motion], body, self.PLAIN).draw(Frame(0, 0.0, picture)).astype(float)
        error = np.abs(seen - expected).max(-1)
        assert error.mean() < 0.6
        # Two ways to compute the outline may disagree on a pixel, which is softened over nine.
        assert (error > 2).sum() <= 3 * 9

    @pytest.mark.parametrize("opacity", [0.85, 0.4])
    def test_who_is_alone_looks_as_in_company(self, opacity: float, body: BodyModel) -> None:
        """There is a short way for one, and a long one for several."""
        here, away = standing(body, 0, (0, 0, 3)), standing(body, 1, (40, 0, 3))
        style = OverlayStyle(person_ids=False, opacity=opacity)
        picture = np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)
        images = [
            Artist(people, body, style).draw(Frame(0, 0.0, picture)).astype(int)
            for people in ([here], [here, away])
        ]
        assert np.abs(images[0] - images[1]).max() <= 2

    def test_how_much_is_left_out_goes_by_the_size_in_pixels(self, body: BodyModel) -> None:
        near, far, farther = (standing(body, 0, (0, 0, z)) for z in (0.3, 0.7, 3))
        assert [tolerance_for(each, slice(0, 2)) for each in (near, far, farther)] == [
            *(0, 0.0015, 0.003)
        ]
        steps = torch.tensor([[0.0, 0, 0.0], [0, 0, -2.8]])
        coming = replace(farther, joints=farther.joints + steps[:, None].numpy())
        assert tolerance_for(coming, slice(0, 2)) == 0
        behind = replace(farther, joints=farther.joints - 9)
        assert tolerance_for(behind, slice(0, 2)) == 0

    @pytest.mark.parametrize("distance", [0.72, 1.5, 4.0])
    def test_nobody_sees_that_details_are_left_out(self, distance: float, body, monkeypatch):
        motion, black = standing(body, 0, (0, 0, distance)), np.zeros((120, 160, 3), np.uint8)
        images = []
        for largest in (0.5, 0.0):
            monkeypatch.setattr(overlay, "_TOLERABLE", largest)
            artist = Artist([motion], body, self.PLAIN)
            images.append(artist.draw(Frame(0, 0.0, black)).astype(float))
        masks = [image.max(-1) > 35 for image in images]
        assert not np.array_equal(*images)
        for one, other in (masks, masks[::-1]):
            away = cv2.distanceTransform(1 - other.astype(np.uint8), cv2.DIST_L2, 5)
            assert away[one].max() < 1.5, "outlines, which are pixels, lie within one pixel"
        both = masks[0] & masks[1]
        assert np.abs(images[0] - images[1])[both].mean() < 4

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

    @pytest.mark.parametrize("name", ["absent/overlay.mp4", "overlay.nonsense"])
    def test_what_cannot_be_encoded_is_an_input_error(self, name, body, tmp_path, capfd) -> None:
        with pytest.raises(InputError, match="cannot encode"):
            write_overlay([self.frame(0)], 10, [], body, tmp_path / name)
        assert list(tmp_path.iterdir()) == []
        assert capfd.readouterr().err == ""
