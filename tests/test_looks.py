"""Pictures at evaluations: they show what is there, stay small, and change nothing."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from full_disk import limited_files
from test_tasks import Fixed, image_model
from torch import Generator, Tensor
from toy_task import CPU, Network, ToyTask, require_equal, rows, settings, trained
from windows import a_window

from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.synthetic import exact_target
from temporal_hmr.errors import InputError
from temporal_hmr.losses import LossWeights
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.skeleton import COCO23
from temporal_hmr.training import distributed, looks
from temporal_hmr.training.loop import fit
from temporal_hmr.training.sources import Labelled
from temporal_hmr.training.tasks import HmrTask

TILE, STRIP = 144, 18
WHITE, ORANGE, BLUE = (255, 255, 255), (255, 120, 40), (70, 160, 255)


def labelled(clips: int, frames: int = 5, side: int | None = None) -> Labelled:
    """Windows that say in their first keypoint which clip they are."""
    window = a_window(clips, frames, side)
    window.keypoints[:, 0, 0, 0] = torch.arange(clips)
    shape = (clips, frames)
    rotations = torch.eye(3).expand(*shape, 24, 3, 3)
    smpl = SmplParams.from_rotations(rotations, torch.zeros(*shape, 10), torch.zeros(*shape, 3))
    return window, exact_target(smpl, torch.zeros(*shape, 24, 3), torch.zeros(*shape, 23, 2))


def marks(labelled: Labelled) -> list[int]:
    return labelled[0].keypoints[:, 0, 0, 0].int().tolist()


def standing() -> Tensor:
    """COCO23 keypoints of somebody upright, left at the viewer's right, as T J 2."""
    heights = {"shoulder": -0.5, "elbow": -0.2, "wrist": 0.1, "hip": 0.1, "knee": 0.4, "ankle": 0.7}
    points = torch.zeros(len(COCO23), 2)
    points[:, 1] = -0.8
    for number, joint in enumerate(COCO23.joints):
        side = {"left": 1, "right": -1}.get(joint.split("_")[0], 0)
        out = 0.6 if joint.endswith(("elbow", "wrist")) else 0.3
        points[number, 0] = out * side
        for part, height in heights.items():
            if joint.endswith(part):
                points[number, 1] = height
    return points.expand(5, -1, -1)


def a_look(true: Tensor, predicted: Tensor, side: int | None = None) -> looks.Look:
    window, target = labelled(1, side=side)
    window = replace(window, scores=torch.zeros_like(window.scores))
    return looks.Look("some", window, replace(target, keypoints=true[None]), predicted)


def tile(look: looks.Look) -> np.ndarray:
    """The first frame shown."""
    return looks.sheet([look], [])[2 * STRIP :, :TILE]


def between(image: np.ndarray, points: Tensor, first: str, second: str) -> object:
    """About the colour halfway between two keypoints: edges of lines are soft."""
    middle = points[0, COCO23.indices(first, second)].mean(0)
    column, row = (0.5 * TILE * (middle + 1)).int().tolist()
    return pytest.approx(image[row, column].tolist(), abs=50)


class TestChoice:
    def test_all_sets_in_turn_and_other_clips_of_each(self) -> None:
        found = looks.chosen({"clean": labelled(8), "noisy": labelled(8)})
        assert {name: marks(some) for name, some in found.items()} == {
            "clean": [1, 5],
            "noisy": [3, 7],
        }
        assert marks(looks.chosen({"one": labelled(96)})["one"]) == [12, 36, 60, 84]
        assert list(looks.chosen({str(n): labelled(2) for n in range(9)})) == ["0", "1", "2", "3"]

    def test_clips_of_which_nothing_counts_are_passed_over(self) -> None:
        window, target = labelled(6)
        valid = window.valid.clone()
        valid[[1, 2, 3, 5]] = False
        assert marks(looks.chosen({"one": (replace(window, valid=valid), target)})["one"]) == [0, 4]

    def test_the_rest_is_not_kept_in_memory(self) -> None:
        some, _ = looks.chosen({"one": labelled(40, side=16)})["one"]
        assert some.images is not None
        assert some.images.untyped_storage().nbytes() == 4 * 5 * 3 * 16 * 16


class TestSheet:
    def test_truth_and_prediction_in_their_colours(self) -> None:
        true = standing()
        predicted = true + torch.tensor([0.1, 0.0])
        image = tile(a_look(true, predicted))
        for side, colour in (("left", ORANGE), ("right", BLUE)):
            bone = (f"{side}_knee", f"{side}_ankle")
            assert between(image, true, *bone) == WHITE
            assert between(image, predicted, *bone) == colour

    def test_what_is_not_known_is_not_drawn(self) -> None:
        true, far = standing(), torch.full((5, 23, 2), 9.0)
        look = a_look(true, far)
        known = look.target.has_keypoints.clone()
        known[..., COCO23.index("left_ankle")] = False
        image = tile(replace(look, target=replace(look.target, has_keypoints=known)))
        assert between(image, true, "right_knee", "right_ankle") == WHITE
        assert between(image, true, "left_knee", "left_ankle") == looks._GROUND

    @pytest.mark.parametrize("wild", [1e30, -1e30, float("inf"), float("nan")])
    def test_a_model_that_knows_nothing_yet(self, wild: float) -> None:
        true = standing()
        image = tile(a_look(true, torch.full_like(true, wild)))
        assert between(image, true, "right_knee", "right_ankle") == WHITE

    def test_frames_from_the_first_to_the_last_that_counts_on_their_images(self) -> None:
        hidden = torch.full((5, 23, 2), 9.0)
        look = a_look(hidden, hidden, side=16)
        images = 50 * torch.arange(5, dtype=torch.uint8)[None, :, None, None, None]
        valid = torch.tensor([[False, True, True, True, True]])
        window = replace(look.window, images=images.expand(1, 5, 3, 16, 16), valid=valid)
        row = looks.sheet([replace(look, window=window)], [])[-TILE // 2]
        assert row[TILE // 2 :: TILE + 2, 0].tolist() == [40, 80, 160]
        once = replace(window, valid=torch.tensor([[False, False, False, True, False]]))
        row = looks.sheet([replace(look, window=once)], [])[-TILE // 2]
        assert row[TILE // 2 :: TILE + 2, 0].tolist() == [120, 0, 0], "no frame twice"

    def test_what_was_seen_is_dotted(self) -> None:
        far = torch.full((5, 23, 2), 9.0)
        look = a_look(far, far)
        window = replace(look.window, keypoints=standing()[None])
        window.scores[..., COCO23.index("left_wrist")] = 0.4
        image = tile(replace(look, window=window))
        spots = (image != looks._GROUND).any(-1).nonzero()
        assert 1 <= len(spots[0]) <= 25
        assert abs(spots[1].mean() - 0.5 * TILE * 1.6) < 1

    def test_titles(self) -> None:
        assert looks.title("clean", 81.4, 7.25) == "clean: 81 mm, 7.2 of 256 pixels"
        assert looks.title("coco val", None, 7.0) == "coco val: 7.0 of 256 pixels"
        assert looks.title("dark", None, None) == "dark: nothing known"

    def test_files_stay_small_whatever_they_show(self, tmp_path: Path) -> None:
        """Noise is what compresses worst."""
        sheet = looks.sheet([a_look(standing(), standing(), side=TILE)] * looks.CLIPS, [80.0])
        path = tmp_path / "looks" / "one.png"
        looks.write_sheet(sheet, path)
        assert path.stat().st_size < 300_000
        read = cv2.imread(str(path))
        assert read is not None and read.shape == sheet.shape
        assert [each.name for each in path.parent.iterdir()] == ["one.png"]

    def test_a_full_disk_is_told_and_leaves_nothing(self, tmp_path: Path) -> None:
        sheet = looks.sheet([a_look(standing(), standing(), side=TILE)], [])
        with limited_files(500), pytest.raises(InputError, match=r"cannot write .*one\.png"):
            looks.write_sheet(sheet, tmp_path / "one.png")
        assert not list(tmp_path.iterdir())


class Counted(Fixed):
    """A source that counts how often its held-out windows are asked for, and differs by clip."""

    def __init__(self) -> None:
        self.asked = 0
        with torch.no_grad():
            self.batch = super().draw(2, Generator())

    def draw(self, clips: int, generator: Generator) -> Labelled:
        return self.batch

    def held_out(self) -> Mapping[str, Labelled]:
        self.asked += 1
        return {"some": self.batch}


@pytest.mark.parametrize("lesson", ["frames", "motion"])
def test_a_model_is_shown_and_nothing_else_changes(tmp_path: Path, lesson) -> None:
    """The same log and weights with pictures and without, dropout and all."""
    found = []
    for asked in (True, False):
        torch.manual_seed(0)
        source = Counted()
        task = HmrTask(Hmr(image_model()), source, LossWeights(), CPU, lesson)
        once = settings(steps=3, clips=2, evaluate_every=2, looks=asked)
        folder = tmp_path / str(asked)
        found.append((fit(task, once, folder, CPU), rows(folder)))
        pictures = sorted(path.name for path in folder.glob("looks/*"))
        assert pictures == (["step_000002.png", "step_000003.png"] if asked else [])
        assert source.asked == 2, "once for each evaluation"
    require_equal(found[0][0], found[1][0])
    assert found[0][1] == found[1][1]
    image = cv2.imread(str(tmp_path / "True/looks/step_000003.png"))
    assert image is not None and image.shape == (STRIP + 2 * (STRIP + TILE), 3 * TILE + 4, 3)


def test_what_is_drawn_is_what_the_model_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = []
    monkeypatch.setattr(looks, "write_sheet", lambda image, path: None)
    monkeypatch.setattr(looks, "sheet", lambda *what: drawn.append(what))
    source = Counted()
    torch.manual_seed(5)
    model = Hmr(image_model())
    HmrTask(model, source, LossWeights(), CPU, "motion").show(model, tmp_path / "one.png")
    ((shown, errors),) = drawn
    expected = model.eval()(source.batch[0], source.body).keypoints
    for number, look in enumerate(shown):
        torch.testing.assert_close(look.keypoints, expected[number], atol=1e-4, rtol=0)
        assert torch.equal(look.window.keypoints[0], source.batch[0].keypoints[number])
    # The batch is what this very model says of it: weights of one seed.
    assert errors == pytest.approx([0.0, 0.0], abs=0.1)
    assert shown[0].title == "some: 0 mm, 0.0 of 256 pixels"


class Painter(ToyTask):
    """Shows something, and notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[bool, Path]] = []

    def show(self, module: Network, path: Path) -> None:
        self.shown.append((module is self.module, path))


def test_the_averaged_module_is_shown_at_each_evaluation(tmp_path: Path) -> None:
    task = Painter()
    trained(tmp_path, task)
    names = ("step_000005.png", "step_000010.png", "step_000012.png")
    assert task.shown == [(False, tmp_path / "looks" / name) for name in names]
    task = Painter()
    trained(tmp_path / "blind", task, looks=False)
    assert not task.shown
    trained(tmp_path / "toy")
    assert not (tmp_path / "toy" / "looks").exists()


def test_only_the_first_process_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = Painter()
    monkeypatch.setattr(distributed, "is_first", lambda: False)
    trained(tmp_path, task)
    assert not task.shown
