"""Maps of what hiding part of a crop costs: non-zero exactly where a model looks."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rendered_clips import a_batch
from torch import Tensor

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.command_line import Stage
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation import occlusion
from temporal_hmr.evaluation.occlusion import (
    CELLS,
    GREY,
    OcclusionMaps,
    PatchGrid,
    Recover,
    covered,
    occlusion_maps,
)
from temporal_hmr.evaluation.occlusion_report import summary, write_maps
from temporal_hmr.models.hmr import PosedBody, project_to_box
from temporal_hmr.skeleton import COCO23, SMPL24

SIDE = 24
GRID = PatchGrid.over(SIDE, 6 / SIDE, 3)
HAND = SMPL24.index("left_hand")

Batch = tuple[CropWindow, BodyTarget]


@pytest.fixture(scope="module")
def batch() -> Batch:
    return a_batch(3, 2, SIDE)


@pytest.fixture(scope="module")
def body() -> PosedBody:
    return PosedBody(load_body())


def measure(recover: Recover, *batches: Batch, grid: PatchGrid = GRID) -> OcclusionMaps:
    total = len(batches) * (len(grid.starts) ** 2 + 1)
    stage = Stage("occlusion", shown=False)
    return occlusion_maps(recover, batches, grid, PosedBody(load_body()), (stage, total))


def off_by(metres: Tensor, true: Tensor) -> Tensor:
    """The truth somewhere else, with one hand so far off."""
    joints = true + torch.tensor([0.3, -0.2, 1.0])
    joints[..., HAND, 0] += metres
    return joints


class TestGrid:
    def test_patches_reach_from_edge_to_edge(self) -> None:
        for side, share, stride in ((224, 40 / 224, None), (128, 40 / 224, None), (31, 0.2, 4)):
            grid = PatchGrid.over(side, share, stride)
            steps = np.diff(grid.starts)
            assert grid.starts[0] == 0 and grid.starts[-1] == side - grid.patch
            assert steps.min() > 0 and steps.max() <= (stride or grid.patch // 2)
        assert PatchGrid.over(224).patch == 40, "as in the papers"

    def test_a_patch_of_the_whole_crop_has_one_place(self) -> None:
        assert PatchGrid.over(10, 1.0).starts == (0,)

    @pytest.mark.parametrize(("share", "stride"), [(0.0, None), (1.2, None), (0.5, 0)])
    def test_what_cannot_slide_is_refused(self, share: float, stride: int | None) -> None:
        with pytest.raises(InputError, match="cannot slide"):
            PatchGrid.over(20, share, stride)


class TestCovering:
    def test_pixels_under_the_patch_turn_grey_and_no_others(self, batch: Batch) -> None:
        window = batch[0]
        assert window.images is not None
        before = window.images.clone()
        hidden = covered(window, 5, 9, GRID).images
        assert hidden is not None
        changed = (hidden != before).any(2)
        inside = torch.zeros(SIDE, SIDE, dtype=torch.bool)
        inside[9:15, 5:11] = True
        assert not changed[..., ~inside].any()
        for channel, grey in enumerate(GREY):
            assert (hidden[:, :, channel][..., inside] == grey).all()
        assert torch.equal(window.images, before), "what was given stays as it was"

    def test_keypoints_lose_their_score_exactly_when_inside(self, batch: Batch) -> None:
        window = batch[0]
        pixels = torch.tensor([[5.01, 9.01], [4.99, 9.01], [10.99, 14.99], [11.01, 12], [8, 15.01]])
        keypoints = torch.full((3, 2, 23, 2), 2.0)
        keypoints[:, :, :5] = pixels / SIDE * 2 - 1
        window = replace(window, keypoints=keypoints, scores=torch.full((3, 2, 23), 0.7))
        scores = covered(window, 5, 9, GRID).scores
        lost = torch.tensor([True, False, True, False, False] + 18 * [False])
        assert (scores[..., lost] == 0).all() and (scores[..., ~lost] == 0.7).all()
        assert torch.equal(covered(window, 0, 0, GRID).keypoints, keypoints)

    def test_windows_without_images_lose_scores_alone(self, batch: Batch) -> None:
        assert covered(replace(batch[0], images=None), 0, 0, GRID).images is None


class TestMaps:
    def test_one_region_of_pixels_shows_exactly_there(self, batch: Batch) -> None:
        window, target = batch
        images = torch.full_like(window.images, 255)  # type: ignore[arg-type]
        images[..., 13, 7] = 0

        def recover(seen: CropWindow) -> Tensor:
            assert seen.images is not None
            hidden = seen.images[:, :, 0, 13, 7] > 0
            return off_by(0.05 * hidden, target.joints)

        maps = measure(recover, (replace(window, images=images), target))
        starts = np.array(GRID.starts)
        rows, columns = ((starts <= at) & (at < starts + GRID.patch) for at in (13, 7))
        expected = 50.0 * (rows[:, None] & columns)
        assert np.allclose(maps.increase()[..., HAND], expected, atol=1e-3)
        assert np.allclose(np.delete(maps.increase(), HAND, -1), 0, atol=1e-3)
        assert 0 < expected.astype(bool).sum() < expected.size

    def test_one_keypoint_shows_exactly_there(self, batch: Batch) -> None:
        window, target = batch
        nose = COCO23.index("nose")
        scores = torch.ones_like(window.scores)

        def recover(seen: CropWindow) -> Tensor:
            return off_by(0.01 + 0.05 * (seen.scores[..., nose] == 0), target.joints)

        maps = measure(recover, (replace(window, scores=scores, images=None), target))
        pixels = (window.keypoints[..., nose, :] + 1) / 2 * SIDE
        for row, top in enumerate(GRID.starts):
            for column, left in enumerate(GRID.starts):
                corner = torch.tensor([left, top])
                under = ((pixels >= corner) & (pixels < corner + GRID.patch)).all(-1)
                share = float(under.float().mean())
                assert maps.increase()[row, column, HAND] == pytest.approx(50 * share, abs=1e-3)
        assert maps.increase()[..., HAND].any()
        assert maps.baseline[HAND] == pytest.approx(10, abs=1e-3)

    def test_a_patch_that_covers_nothing_changes_nothing(self, batch: Batch) -> None:
        window, target = batch
        grey = torch.tensor(GREY, dtype=torch.uint8)[:, None, None].expand_as(window.images)  # type: ignore[arg-type]
        away = torch.full_like(window.keypoints, 3.0)
        window = replace(window, images=grey.clone(), keypoints=away)

        def recover(seen: CropWindow) -> Tensor:
            assert seen.images is not None
            return off_by(seen.images.float().mean((2, 3, 4)) + seen.scores.sum(-1), target.joints)

        maps = measure(recover, (window, target))
        assert (maps.errors == maps.baseline).all() and maps.baseline[HAND] > 100

    def test_errors_are_seen_from_the_pelvis_and_frames_that_do_not_count_are_left_out(
        self, batch: Batch
    ) -> None:
        window, target = batch
        valid = window.valid.clone()
        valid[0] = False
        off = torch.full((3, 2), 0.02)
        off[0] = 9.0
        maps = measure(
            lambda seen: off_by(off, target.joints), (replace(window, valid=valid), target)
        )
        assert maps.frames == 4
        assert maps.baseline[HAND] == pytest.approx(20, abs=1e-3)
        assert np.delete(maps.baseline, HAND).max() < 1e-3
        none = replace(window, valid=torch.zeros_like(valid))
        with pytest.raises(InputError, match="no frame"):
            measure(lambda seen: target.joints, (none, target))

    def test_batches_weigh_by_their_frames(self, batch: Batch) -> None:
        window, target = batch

        def part(which: slice) -> Batch:
            smpl = target.smpl.map(lambda tensor: tensor[which])
            cut = replace(target, smpl=smpl, joints=target.joints[which])
            return window.map(lambda tensor: tensor[which]), cut

        def recover(seen: CropWindow) -> Tensor:
            return seen.scores[..., :1, None] * torch.arange(72.0).reshape(24, 3)

        whole = measure(recover, batch)
        parts = measure(recover, part(slice(0, 1)), part(slice(1, 3)))
        for name in ("errors", "baseline", "body", "joints"):
            assert np.allclose(getattr(whole, name), getattr(parts, name)), name

    def test_numbers_that_are_none_are_told(self, batch: Batch) -> None:
        with pytest.raises(InputError, match="not numbers"):
            measure(lambda seen: torch.full((3, 2, 24, 3), torch.nan), batch)

    def test_where_bodies_and_joints_are(self, batch: Batch, body: PosedBody) -> None:
        window, target = batch
        maps = measure(lambda seen: target.joints, batch)
        joints = np.zeros((24, CELLS, CELLS))
        covers = np.zeros((CELLS, CELLS))
        places = project_to_box(target.joints, window).flatten(0, 1).numpy()
        surface = project_to_box(body.body.vertices(target.smpl), window).flatten(0, 1).numpy()
        for frame in range(6):
            for joint, (x, y) in enumerate(places[frame]):
                column, row = int((x + 1) / 2 * CELLS), int((y + 1) / 2 * CELLS)
                if -1 <= x < 1 and -1 <= y < 1:
                    joints[joint, row, column] += 1 / 6
            seen = surface[frame][(np.abs(surface[frame]) < 1).all(1)]
            cells = {tuple(cell) for cell in ((seen + 1) / 2 * CELLS).astype(int)}
            for column, row in cells:
                covers[row, column] += 1 / 6
        assert np.allclose(maps.joints, joints, atol=1e-6)
        assert np.allclose(maps.body, covers, atol=1e-6)


class TestFiles:
    @pytest.fixture
    def maps(self) -> OcclusionMaps:
        rows = len(GRID.starts)
        errors = np.full((rows, rows, 24), 30.0)
        errors[2, 4, HAND] = 90.0
        where = np.zeros((CELLS, CELLS))
        where[8:24, 12:20] = 1.0
        joints = np.zeros((24, CELLS, CELLS))
        joints[:, 10, 15] = 1.0
        return OcclusionMaps(GRID, errors, np.full(24, 30.0), 7, where, joints)

    def test_the_summary_says_what_hurts_where(self, maps: OcclusionMaps) -> None:
        found = summary(maps)
        assert found["most_hurt"][0] == "left_hand"  # type: ignore[index]
        hand = found["joints"]["left_hand"]  # type: ignore[index]
        assert hand["largest_increase"] == 60 and hand["error"] == 30
        assert hand["mean_increase"] == pytest.approx(60 / len(GRID.starts) ** 2)
        assert hand["error_averaged_over_area"] == 30 + hand["mean_increase"]
        half = GRID.patch / 2
        assert hand["most_sensitive_to"] == [GRID.starts[4] + half, GRID.starts[2] + half]
        assert found["mean"]["largest_increase"] == pytest.approx(60 / 24)  # type: ignore[index]

    def test_files(self, maps: OcclusionMaps, tmp_path: Path) -> None:
        names = write_maps(maps, {"data": "clips", "weights": "mine"}, tmp_path)
        assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
        arrays = np.load(tmp_path / "occlusion.npz", allow_pickle=False)
        assert np.array_equal(arrays["errors"], maps.errors)
        assert arrays["positions"].tolist() == list(GRID.starts)
        found = json.loads((tmp_path / "occlusion.json").read_text())
        assert found["facts"]["weights"] == "mine" and set(found["joints"]) == set(SMPL24.joints)
        picture = cv2.imread(str(tmp_path / "occlusion.png"))
        assert picture is not None
        blue, green, red = np.moveaxis(picture.astype(int), -1, 0)
        reddest = (red - green > 100) & (blue < 120)
        assert 20 < reddest.sum() < 0.02 * reddest.size, "one map has one hot place"


def test_grey_is_what_networks_read_as_zero() -> None:
    assert all(
        abs(grey / 255 - mean) < 0.002
        for grey, mean in zip(GREY, occlusion.IMAGENET_MEAN, strict=True)
    )
