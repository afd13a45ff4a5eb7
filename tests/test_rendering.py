"""Rendered clips: the picture shows the truth, and whoever looks at them sees clothed people."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from test_synthetic import swinging_take
from torch import Generator

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.detector_noise import CLEAN, DetectorNoise, detect
from temporal_hmr.data.scene import Scene
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rasterize import Surface
from temporal_hmr.rendering.backdrops import Photo, draw_outdoors, draw_room
from temporal_hmr.rendering.company import Company
from temporal_hmr.rendering.figure import ATLAS, Figure
from temporal_hmr.rendering.looks import Look
from temporal_hmr.rendering.occluders import Occluders
from temporal_hmr.rendering.patterns import Patterns
from temporal_hmr.rendering.renderer import Person, Renderer
from temporal_hmr.rendering.settings import PLAIN, RenderingConfig
from temporal_hmr.rendering.view import View
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import COCO23, SMPL24

GREEN = (0, 255, 0)
SIDE = 128
EASY = Augmentation(focal=(1.0, 1.5), shape_spread=0.5)


@pytest.fixture(scope="module")
def posed() -> PosedBody:
    return PosedBody(load_body()).requires_grad_(False)


@pytest.fixture(scope="module")
def bank() -> MotionBank:
    return MotionBank.of([swinging_take(), swinging_take(phase=1.0)])


@pytest.fixture(scope="module")
def green(tmp_path_factory) -> Path:
    """A backdrop of a colour that nobody wears."""
    path = tmp_path_factory.mktemp("pictures") / "green.png"
    cv2.imwrite(str(path), np.full((90, 120, 3), GREEN, np.uint8))
    return path


@pytest.fixture(scope="module")
def simple(posed, green) -> Renderer:
    """Nothing but people in tight clothes before the green."""
    return Renderer(posed.body, plain(), [green])


@pytest.fixture(scope="module")
def busy(posed) -> Renderer:
    """Everything at once."""
    settings = RenderingConfig(side=64, occluder_share=0.8, company_share=0.8)
    return Renderer(posed.body, settings)


def plain(**changes) -> RenderingConfig:
    return PLAIN.model_copy(update={"side": SIDE, **changes})


def rendered(
    renderer: Renderer, bank: MotionBank, posed: PosedBody, clips: int = 4, seed: int = 3
) -> tuple[CropWindow, BodyTarget]:
    generator = Generator().manual_seed(seed)
    return synthesise(bank, posed, (clips, 3), EASY, CLEAN, generator, renderer)


def silhouettes(window: CropWindow) -> np.ndarray:
    assert window.images is not None
    images = window.images.movedim(2, -1).numpy().astype(int)
    inside = images.any(-1, keepdims=True)
    return ((np.abs(images - GREEN) > 12) & inside).any(-1)


def in_crop(keypoints: torch.Tensor) -> np.ndarray:
    return ((keypoints + 1) * SIDE / 2).numpy()


class TestTruth:
    def test_the_silhouette_is_that_of_the_true_vertices(self, bank, posed, green) -> None:
        renderer = Renderer(posed.body, plain(full_detail=True), [green])
        told = EASY.model_copy(update={"assumed_focal_share": 0.0})
        generator = Generator().manual_seed(1)
        window, target = synthesise(bank, posed, (9, 2), told, CLEAN, generator, renderer)
        drawn = silhouettes(window)
        vertices = posed.body.vertices(target.smpl)
        pixels = vertices[..., :2] / vertices[..., 2:] * window.focal[:, None, None]
        pixels = pixels + window.center[:, None, None]
        places = (pixels - window.box_center[:, :, None]) / window.box_size[..., None, None]
        places = ((places + 0.5) * SIDE).numpy()
        compared = 0
        for clip, frame in np.ndindex(9, 2):
            low, high = places[clip, frame].min(0), places[clip, frame].max(0)
            image = window.images[clip, frame].numpy()
            whole = (low > 1).all() and (high < SIDE - 1).all() and image.any(0).all()
            if whole:
                rows, columns = np.nonzero(drawn[clip, frame])
                assert np.abs(low - (columns.min(), rows.min())).max() < 1.6
                assert np.abs(high - 1 - (columns.max(), rows.max())).max() < 1.6
                compared += 1
        assert compared >= 4

    def test_true_keypoints_lie_within_the_silhouette(self, bank, posed, simple) -> None:
        """Also where the window is told another focal length than the picture was taken with."""
        window, target = rendered(simple, bank, posed, 8)
        hits = {"true": [], "mirrored": []}
        for (clip, frame), drawn in zip(
            np.ndindex(8, 3), silhouettes(window).reshape(24, SIDE, SIDE), strict=True
        ):
            wide = cv2.dilate(drawn.astype(np.uint8), np.ones((3, 3)))
            places = in_crop(target.keypoints[clip, frame])
            visible = window.images[clip, frame].any(0).numpy()
            for name, points in (("true", places), ("mirrored", [SIDE, 0] - places * [1, -1])):
                columns, rows = np.floor(points).astype(int).T
                seen = (np.minimum(columns, rows) >= 0) & (np.maximum(columns, rows) < SIDE)
                seen[seen] = visible[rows[seen], columns[seen]]
                hits[name].append(wide[rows[seen], columns[seen]])
        assert np.concatenate(hits["true"]).mean() > 0.99
        assert np.concatenate(hits["mirrored"]).mean() < 0.9

    def test_left_is_left(self, bank, posed, green) -> None:
        """Somebody whose left half is red and whose right half is blue."""

        class TwoToned(Renderer):
            def person(self, smpl: SmplParams, rng: np.random.Generator) -> Person:
                texture = np.zeros((ATLAS, 2 * ATLAS, 3), np.uint8)
                # On the map's front view the person's left is on the right, as in a picture.
                texture[:] = (0, 0, 255)
                texture[:, ATLAS // 2 : ATLAS] = (255, 0, 0)
                texture[:, ATLAS + ATLAS // 2 :] = (255, 0, 0)
                person = super().person(smpl, rng)
                return replace(person, look=Look(texture, person.look.thickness))

        window, target = rendered(TwoToned(posed.body, plain(), [green]), bank, posed, 8)
        joints = [joint for joint in COCO23.joints if "wrist" in joint or "ankle" in joint]
        for side, channel in (("left", 0), ("right", 2)):
            right = []
            for joint in (joint for joint in joints if joint.startswith(side)):
                places = in_crop(target.keypoints[..., COCO23.index(joint), :])
                for clip, frame in np.ndindex(8, 3):
                    column, row = np.floor(places[clip, frame]).astype(int)
                    if min(column, row) >= 0 and max(column, row) < SIDE:
                        color = window.images[clip, frame, :, row, column].int()
                        if color.max() > 0 and color.argmax() != 1:
                            right.append(int(color.argmax()) == channel)
            assert len(right) > 20 and np.mean(right) > 0.7

    def test_nothing_is_seen_beyond_the_image(self, bank, posed, simple) -> None:
        window, _ = rendered(simple, bank, posed, 12)
        size = 2 * window.center
        grid = torch.arange(SIDE) + 0.5
        rows, columns = torch.meshgrid(grid, grid, indexing="ij")
        within = torch.stack([columns, rows], -1) / SIDE - 0.5
        pixels = (
            window.box_center[:, :, None, None] + within * window.box_size[..., None, None, None]
        )
        outside = ((pixels < 0) | (pixels > size[:, None, None, None])).any(-1)
        assert outside.any()
        lit = window.images.any(2)
        assert not (lit & outside).any()
        assert (lit | outside)[window.valid].float().mean() > 0.999

    def test_cut_mesh_has_no_cracks(self, posed) -> None:
        """The two halves of the doll meet although their borders' vertices are there twice."""
        figure = Figure.of(posed.body)
        skin = posed.body.v_template[figure.vertices].numpy() * [1, -1, -1] + [0, -0.3, 3]
        normals = figure.skin.normals(skin.astype(np.float32))
        view = View(200, np.zeros(2), 1.0, 280.0, np.full(2, 200.0), np.eye(3), np.zeros(3))
        thick = (skin + 0.02 * normals).astype(np.float32)
        whole = figure.skin.draw(thick, thick, view.camera())
        cut = figure.surface.draw(thick[figure.twins], thick[figure.twins], view.camera())
        assert np.array_equal(np.isfinite(whole.depth), np.isfinite(cut.depth))


class TestInTheWay:
    def occluders(self, clips: int = 20) -> tuple[Occluders, torch.Tensor]:
        generator = Generator().manual_seed(2)
        pixels = torch.rand(clips, 4, 23, 2, generator=generator) * 300 + 100
        times = (torch.arange(4) / 30).expand(clips, 4)
        return Occluders.draw(pixels, times, 3, 0.8, generator), pixels

    def test_what_covers_a_keypoint_is_painted_there_and_nowhere_else(self) -> None:
        occluders, _ = self.occluders(8)
        side, corner, scale = 60, np.array([50.0, 40.0]), 0.13
        grid = (torch.arange(side) + 0.5) / scale
        rows, columns = torch.meshgrid(grid, grid, indexing="ij")
        points = torch.stack([columns, rows], -1).flatten(0, 1) + torch.from_numpy(corner).float()
        expected = occluders.covers(points.expand(8, 4, -1, 2)).unflatten(-1, (side, side))
        assert 0.01 < float(expected.float().mean()) < 0.6
        white = [np.full((8, 8, 3), 255, np.uint8)] * 3
        wrong = 0
        for clip, frame in np.ndindex(8, 4):
            image = np.zeros((side, side, 3), np.uint8)
            occluders.paint(image, (clip, frame), corner, scale, white)
            wrong += int(((image > 0).all(-1) != expected[clip, frame].numpy()).sum())
        assert wrong <= 1e-5 * expected.numel()

    def test_share_and_shapes(self) -> None:
        occluders, pixels = self.occluders(200)
        assert float(occluders.present.any(1).float().mean()) == pytest.approx(0.8, abs=0.1)
        covered = occluders.covers(pixels).float().mean((1, 2))
        assert 0.05 < float(covered.mean()) < 0.5 and float(covered.std()) > 0.05
        assert not Occluders.none(3, 4).covers(pixels[:3]).any()

    def test_whoever_stands_in_front_hides_and_whoever_stands_behind_does_not(self, posed) -> None:
        upright = torch.diag(torch.tensor([1.0, -1, -1]))
        rotations = torch.eye(3).repeat(1, 2, 24, 1, 1)
        rotations[..., 0, :, :] = upright

        def standing(depth: float) -> SmplParams:
            place = torch.tensor([0.0, 0.0, depth]).expand(1, 2, 3)
            return SmplParams.from_rotations(rotations, torch.zeros(1, 2, 10), place)

        scene = Scene(
            standing(4.0),
            torch.tensor([[0, 0.1]]),
            torch.tensor([1000.0]),
            torch.tensor([[1200.0, 900]]),
            upright.expand(1, 2, 3, 3),
            torch.zeros(1, 2, 3),
        )
        points = posed.body.regress(scene.smpl, posed.detector_points)
        figure = Figure.of(posed.body)
        hidden = {
            depth: Company(standing(depth), torch.tensor([0])).hides(
                points, scene, posed.body, figure
            )
            for depth in (3.0, 6.0)
        }
        assert not hidden[6.0].any()
        shoulders = COCO23.indices("left_shoulder", "right_shoulder")
        hips = COCO23.indices("left_hip", "right_hip")
        assert hidden[3.0][..., shoulders + hips].all()
        assert not hidden[3.0][..., COCO23.indices("left_wrist")].all()

    def test_hidden_keypoints_are_unsure_and_the_rest_is_as_ever(self) -> None:
        generator = Generator().manual_seed(0)
        pixels = torch.rand(60, 8, 23, 2, generator=generator) * 300 + 100
        times = (torch.arange(8) / 30).expand(60, 8)
        size, noise = torch.full((60, 2), 600.0), DetectorNoise(clean_share=0.0)
        hidden = torch.zeros(pixels.shape[:-1], dtype=torch.bool)
        hidden[..., COCO23.index("left_knee")] = True
        blazepose = torch.zeros(len(pixels), dtype=torch.bool)
        found = detect(pixels, times, size, noise, Generator().manual_seed(1), blazepose, hidden)
        knees = COCO23.indices("left_knee", "right_knee")
        left, right = found.scores[..., knees].mean((0, 1)).tolist()
        assert left < 0.6 * right


class TestStreams:
    def test_same_seed_same_pixels_another_seed_others(self, bank, posed, busy) -> None:
        first, again, other = (
            rendered(busy, bank, posed, seed=seed)[0].images for seed in (3, 3, 4)
        )
        assert torch.equal(first, again)
        assert (first != other).float().mean() > 0.5

    def test_a_clip_looks_the_same_whatever_else_is_in_the_batch(self, bank, posed, busy) -> None:
        generator = Generator().manual_seed(3)
        scene, around, window = staged(busy, bank, posed, generator)
        state = generator.get_state()
        together = busy.draw(scene, around, window, generator)
        generator.set_state(state)
        first = replace(scene, **{name: getattr(scene, name)[:1] for name in scene.__dict__})
        alone = busy.draw(first, around, window.map(lambda tensor: tensor[:1]), generator)
        assert torch.equal(alone, together[:1])

    def test_looks_differ_between_clips_and_stay_within(self, bank, posed) -> None:
        quiet = RenderingConfig(side=64, occluder_share=0, company_share=0, noise=0, photo_share=1)
        images = rendered(Renderer(posed.body, quiet), bank, posed, 6)[0].images.float()
        colours = images.mean((-1, -2))
        assert colours.std(1).mean() < 0.35 * colours.std(0).mean()


def staged(renderer: Renderer, bank: MotionBank, posed: PosedBody, generator: Generator):
    """A scene of three clips, its surroundings and its windows."""
    kept = {}

    class Keeping:
        def surround(self, scene, *arguments):
            kept["scene"], kept["around"] = scene, renderer.surround(scene, *arguments)
            return kept["around"]

        def draw(self, *_arguments):
            return None

    window, _ = synthesise(bank, posed, (3, 3), EASY, CLEAN, generator, Keeping())  # type: ignore[arg-type]
    return kept["scene"], kept["around"], window


class TestBackdrops:
    def view(self, turn: tuple[float, float, float], focal: float = 1400.0) -> View:
        rotation = axis_angle_to_matrix(torch.tensor(turn).double()).numpy()
        rotation = rotation @ np.diag([1.0, -1, -1])
        position = np.array([0.3, 1.6, 0.0])
        return View(
            200, np.array([540.0, 260.0]), 0.5, focal, np.array([1600.0, 900.0]),
            rotation, -rotation @ position,
        )  # fmt: skip

    def test_a_picture_turns_with_the_camera(self) -> None:
        """A far point stays on its ray: K R direction, by another road."""
        image = np.zeros((450, 800, 3), np.uint8)
        facing = self.view((0, 0, 0)).rotation
        cv2.circle(image, (420, 210), 6, (255, 255, 255), -1)
        photo = Photo(image, facing, 700.0)
        ray = facing.T @ np.array([(420.5 - 400) / 700, (210.5 - 225) / 700, 1])
        for turn in ((0.0, 0.0, 0.0), (0.03, -0.05, 0.1), (-0.02, 0.04, -0.3)):
            view = self.view(turn)
            rows, columns = np.nonzero(photo.draw(view)[..., 0] > 128)
            x, y, z = view.rotation @ ray
            expected = (np.array([x, y]) / z * 1400 + [800, 450] - view.corner) * view.scale
            found = np.array([columns.mean(), rows.mean()]) + 0.5
            assert np.abs(found - expected).max() < 1.0

    @pytest.mark.parametrize("build", [draw_room, draw_outdoors])
    def test_places_have_floor_below_the_horizon(self, build) -> None:
        view = self.view((0.1, 0.0, 0.0), focal=250.0)
        around = np.array([[0.0, 1.0, -4.0], view.position])
        for seed in range(4):
            rng = np.random.default_rng(seed)
            image, floor = build(Patterns.make(), rng, around, 0.0).draw(view)
            grid = np.stack(np.meshgrid(np.arange(200) + 0.5, np.arange(200) + 0.5), -1)
            rays = np.concatenate([grid, np.ones((200, 200, 1))], -1)
            shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
            down = (rays @ np.linalg.inv(shift @ view.matrix()).T @ view.rotation)[..., 1]
            assert not floor[down > 0].any()
            assert floor[-20:].mean() > 230
            assert image[floor > 0].any()

    def test_views_lead_to_the_world_and_back(self) -> None:
        view = self.view((0.1, 0.2, 0.3))
        points = np.random.default_rng(0).normal(size=(5, 3))
        np.testing.assert_allclose(view.to_camera(view.to_world(points)), points, atol=1e-12)
        np.testing.assert_allclose(view.to_camera(view.position[None]), 0, atol=1e-12)

    def test_scenes_know_where_the_world_is(self, bank, posed, simple) -> None:
        """The pelvis in the world comes back up to the one motion that it walks."""
        scene, _, _ = staged(simple, bank, posed, Generator().manual_seed(0))
        joints = posed.body.joints(scene.smpl) - scene.world_origin[:, :, None]
        world = joints @ scene.world_to_camera
        head, feet = (world[..., SMPL24.index(name), 1] for name in ("head", "left_foot"))
        assert (head - feet > 0.8).all()
        drop = world[..., 0, 1]
        assert (drop - drop[:, :1]).abs().max() < 0.02


def test_occluded_pixels_are_not_the_bodys(bank, posed, green, simple) -> None:
    """What hides a keypoint from the detector hides it in the picture."""
    settings = plain(occluder_share=1.0)
    with_things = rendered(Renderer(posed.body, settings, [green]), bank, posed, 6)[0]
    without = rendered(simple, bank, posed, 6)[0]
    assert with_things.images is not None and without.images is not None
    changed = (with_things.images != without.images).any(2)
    assert 0.01 < float(changed.float().mean()) < 0.9


def test_surface_draws_all_faces_of_the_figure(posed) -> None:
    figure = Figure.of(posed.body)
    assert isinstance(figure.surface, Surface)
    assert len(figure.surface.faces) == len(figure.skin.faces)
    assert (figure.map_place >= 0).all() and (figure.map_place < [2 * ATLAS, ATLAS]).all()
