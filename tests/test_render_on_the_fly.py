"""Training on images that are drawn as it goes: the same for the same seed, whoever draws them."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rendered_clips import write_clips
from safetensors.torch import load_file
from test_synthetic import swinging_take
from torch import Generator
from toy_mocap import write_mocap
from toy_task import rows

from temporal_hmr import train
from temporal_hmr.body.load import load_body
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.synthetic import Augmentation, MotionBank
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.rendering.figure import Figure
from temporal_hmr.rendering.renderer import Renderer
from temporal_hmr.rendering.settings import RenderingConfig
from temporal_hmr.training import sources
from temporal_hmr.training.opening import DataConfig, Given, open_source
from temporal_hmr.training.prefetch import Prefetched
from temporal_hmr.training.sources import MocapWindows, without_images
from temporal_hmr.training.step import Step

SIDE = 32
BUSY = RenderingConfig(side=SIDE, occluder_share=0.6, company_share=0.6, motion_blur_share=0.5)
MODEL = {
    "encoder": {
        "kind": "postometro",
        "side": SIDE,
        "backbone": {"kind": "resnet", "width": 4, "layers": [1, 1, 1, 1]},
        "image": {"grid": [1, 1]},
        "pose": {"tokens": 4, "code_dim": 8, "joints": 23, "mixer_layers": 1, "token_hidden": 8},
        "decoder": {"size": "S", "width": 16, "hidden": 16, "heads": 2},
    },
    "tokenizer": {"width": 16, "layers": 1, "codes": 32, "code_dim": 8, "tokens": 4},
    "decoder": {"heads": 2, "layers": 1},
    "motion": None,
    "window": 3,
}
RUN = {
    "mocap": {"held_out": ["b"]},
    "rendering": {"company_share": 1.0},
    "workers": 1,
    "model": MODEL,
    "short_clip": 2,
    "tokenizer_training": {"steps": 1, "clips": 2, "warmup": 1},
    "frame_training": {"steps": 3, "clips": 1, "warmup": 1, "save_every": 2},
}


@pytest.fixture(scope="module")
def windows() -> MocapWindows:
    posed = PosedBody(load_body()).requires_grad_(False)
    bank, other = (MotionBank.of([swinging_take(phase=phase)]) for phase in (0.0, 1.0))
    renderer = Renderer(posed.body, BUSY)
    noise = DetectorNoise()
    return MocapWindows(bank, other, posed, Augmentation(), noise, 3, renderer=renderer)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch, windows: MocapWindows) -> None:
    """Few windows judge, and the body's map is made once."""
    assert windows.renderer is not None
    figure = windows.renderer.figure
    monkeypatch.setattr(sources, "EVALUATION_CLIPS", 2)
    monkeypatch.setattr(Figure, "of", staticmethod(lambda *_: figure))


def images(source: sources.Source, seed: int, clips: int = 2) -> torch.Tensor:
    window, _ = source.draw(clips, Generator().manual_seed(seed))
    assert window.images is not None
    return window.images


def test_the_same_generator_draws_the_same_images(windows: MocapWindows) -> None:
    first, second = (windows.draw(2, Generator().manual_seed(1)) for _ in range(2))
    assert first[0].images is not None and first[0].images.shape == (2, 3, 3, SIDE, SIDE)
    assert torch.equal(first[0].images, second[0].images)
    assert torch.equal(first[0].keypoints, second[0].keypoints)
    assert torch.equal(first[1].joints, second[1].joints)
    assert not torch.equal(first[0].images, images(windows, 2))


def test_threads_draw_what_one_would(windows: MocapWindows) -> None:
    """All share a renderer, and none leaves anything of its own in it."""
    short, seeds = windows.of_length(2), range(10, 14)
    expected = [short.draw(2, Generator().manual_seed(seed)) for seed in seeds]
    prefetched = Prefetched(short, workers=2, ahead=2)
    found = [prefetched.draw(2, Generator().manual_seed(seed)) for seed in seeds]
    prefetched.close()
    for (ours, truth), (window, target) in zip(found, expected, strict=True):
        assert torch.equal(ours.images, window.images)
        assert torch.equal(ours.keypoints, window.keypoints)
        assert torch.equal(truth.smpl.betas, target.smpl.betas)


def test_every_clip_shows_something(windows: MocapWindows) -> None:
    """A clip that is not valid is black: batch statistics must not see it."""
    blind = DetectorNoise(clean_share=0.0, missing=1.0)
    hard = replace(windows, noise=blind, frames=1)
    without = replace(hard, renderer=None)
    assert not without.draw(8, Generator().manual_seed(0))[0].valid.all()
    window, target = hard.draw(8, Generator().manual_seed(0))
    assert window.images is not None and len(target.joints) == 8
    assert window.valid.all()
    assert (window.images.flatten(1).float().std(1) > 2).all()


def test_a_detector_that_sees_nothing_is_an_error(
    windows: MocapWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_ATTEMPTS", 3)
    original = sources.synthesise

    def unseen(*arguments: object) -> sources.Labelled:
        window, target = original(*arguments[:-1])
        return replace(window, valid=torch.zeros_like(window.valid)), target

    monkeypatch.setattr(sources, "synthesise", unseen)
    with pytest.raises(InputError, match=r"next to nothing in 3 attempts: lower noise\.missing"):
        windows.draw(2, Generator().manual_seed(0))


def test_windows_that_judge_are_drawn_once(
    windows: MocapWindows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "EVALUATION_FRAMES", 3)
    source = windows.of_length(2)
    found = source.held_out()
    assert list(found) == ["clean", "noisy"]
    assert source.held_out() is found
    for window, target in found.values():
        assert window.images is not None and window.images.shape[:2] == (1, 2)
        assert window.valid.all() and len(target.joints) == 1
    again = replace(source).held_out()
    assert torch.equal(again["noisy"][0].images, found["noisy"][0].images)
    assert source.of_length(2) is source and source.of_length(3).frames == 3


def test_a_tokenizer_of_keypoints_spares_the_drawing(windows: MocapWindows) -> None:
    window, _ = without_images(windows).draw(2, Generator().manual_seed(0))
    assert window.images is None
    plain = replace(windows, renderer=None)
    assert without_images(plain) is plain


def opened(mocap: Path, **settings: object) -> sources.Source:
    backgrounds = settings.pop("backgrounds", None)
    model = HmrConfig.model_validate(settings.pop("model", MODEL))
    config = DataConfig.model_validate({"mocap": {"held_out": ["b"]}} | settings)
    assert backgrounds is None or isinstance(backgrounds, Path)
    return open_source(config, model, Given(mocap, backgrounds=backgrounds))


def test_the_side_is_the_models(tmp_path: Path) -> None:
    mocap = write_mocap(tmp_path)
    for rendering in ({}, {"side": SIDE}):
        assert images(opened(mocap, rendering=rendering), 0).shape[-1] == SIDE


def test_pictures_hang_behind_people(tmp_path: Path) -> None:
    mocap, pictures = write_mocap(tmp_path / "mocap"), tmp_path / "pictures"
    (pictures / "deeper").mkdir(parents=True)
    green = np.full((90, 120, 3), (0, 255, 0), np.uint8)
    cv2.imwrite(str(pictures / "deeper" / "green.png"), green)
    rendering = {"photo_share": 1.0, "occluder_share": 0.0, "noise": 0.0}
    source = opened(mocap, rendering=rendering, backgrounds=pictures)
    red, green, blue = images(source, 0, 4).int().unbind(2)
    assert ((green > 120) & (red < 60) & (blue < 60)).float().mean() > 0.2


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, r"rendering: \{\} in the configuration.*scripts/render_clips\.py"),
        ({"rendering": {"side": 48}}, "rendering.side is 48, the model looks at images of 32"),
        ({"rendering": {}, "model": {}}, "rendering does nothing for a model of keypoints"),
        ({"backgrounds": Path("x")}, "--backgrounds are for people who are rendered"),
        ({"rendering": {}, "backgrounds": Path("x")}, "x holds no pictures"),
    ],
)
def test_what_does_not_go_together(tmp_path: Path, settings: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        opened(write_mocap(tmp_path), **settings)


def test_rendering_is_idle_with_other_data(tmp_path: Path) -> None:
    clips = write_clips(tmp_path / "clips")
    with pytest.raises(InputError, match="rendering does nothing with rendered clips"):
        open_source(DataConfig(rendering=BUSY), HmrConfig(), Given(clips))
    parts = [{"dataset": "coco"}]
    datasets = {"datasets": {"train": parts, "judge": parts}, "rendering": {}}
    with pytest.raises(InputError, match="rendering does nothing with datasets"):
        open_source(DataConfig.model_validate(datasets), HmrConfig(), Given(tmp_path))


def test_a_rotation_tokenizer_has_no_pictures(tmp_path: Path) -> None:
    path = tmp_path / "rotations.yaml"
    path.write_text("training: {steps: 1, clips: 1}\n")
    with pytest.raises(InputError, match="--backgrounds does nothing for a rotation tokenizer"):
        train.main([str(path), "--data", str(tmp_path), "--backgrounds", str(tmp_path)])


def test_trains_and_resumes_exactly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off in the third step of frames, past its checkpoint: the same log and weights."""
    config, mocap = tmp_path / "run.yaml", write_mocap(tmp_path / "mocap")
    config.write_text(json.dumps(RUN))

    def run(name: str) -> Path:
        words = [config, "--data", mocap, "-o", tmp_path / name, "--device", "cpu"]
        train.main([str(word) for word in words])
        return tmp_path / name

    whole, taken, original = run("whole"), [], Step.take

    def until_cut(step: Step, number: int) -> dict[str, float]:
        taken.append(number)
        if len(taken) == 4:
            raise KeyboardInterrupt
        return original(step, number)

    with monkeypatch.context() as patch:
        patch.setattr(Step, "take", until_cut)
        with pytest.raises(KeyboardInterrupt):
            run("cut")
    cut = run("cut")
    for lesson in ("tokenizer", "frames"):
        assert rows(cut / lesson) == rows(whole / lesson)
    ours, others = (load_file(folder / "model.safetensors") for folder in (cut, whole))
    assert ours.keys() == others.keys()
    assert not [name for name in ours if not torch.equal(ours[name], others[name])]
    # A setting of what is drawn is a setting of the run.
    config.write_text(json.dumps(RUN | {"rendering": {}}))
    with pytest.raises(InputError, match="rendering differs"):
        run("cut")
