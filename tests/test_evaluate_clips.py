"""`evaluate --dataset clips` from end to end, on a few clips written by the tests."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from evaluated import leave, scores
from rendered_clips import write_clips

from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.data.rendered import RenderedClips
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation import tables
from temporal_hmr.evaluation.clips import ClipTrial, chosen_clips, labelled
from temporal_hmr.models.backbones_vit import VitConfig
from temporal_hmr.models.body_decoder import BodyDecoderConfig
from temporal_hmr.models.encoder import FrameEncoderConfig
from temporal_hmr.models.hmr import Hmr, project_to_box
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.joint_motion import JointMotionConfig
from temporal_hmr.recover import CHECKPOINT_KIND
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.tokenizers.keypoints import KeypointTokenizerConfig
from temporal_hmr.training.tasks import window_errors

pytestmark = pytest.mark.usefixtures("undrawn")
KEYPOINTS = HmrConfig(
    tokenizer=KeypointTokenizerConfig(tokens=4, width=16, codes=8, code_dim=8, layers=1),
    encoder=FrameEncoderConfig(width=16, heads=2),
    decoder=BodyDecoderConfig(heads=2, layers=1),
    motion=None,
    window=4,
)
IMAGES = KEYPOINTS.model_copy(
    update={
        "encoder": VitConfig(
            crop=24, cut_columns=0, patch=8, padding=0, width=16, depth=1, heads=2, expansion=2
        )
    }
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_clips(tmp_path_factory.mktemp("clips") / "clips")


def weights(config: HmrConfig, path: Path) -> Path:
    torch.manual_seed(0)
    save_checkpoint(Hmr(config), config, CHECKPOINT_KIND, path, half=False)
    return path


def run(folder: Path, out: Path, *words: object) -> int:
    return leave("--dataset", "clips", "--data", folder, "-o", out, *words)


def trial(folder: Path, config: HmrConfig, path: Path) -> ClipTrial:
    return ClipTrial.open(weights(config, path), folder, None, torch.device("cpu"))


def test_figures_are_those_of_training(folder: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    assert run(folder, out) == 0
    found = scores(out)
    assert [each["label"] for each in found["runs"]] == ["temporal", "per frame"]
    shown = capsys.readouterr().out
    assert "clip 00002" in shown and "3 of 3, 4 frames each" in shown and "01, 05" in shown
    assert (out / "scores.csv").exists() and "clip 00000" in (out / "report.html").read_text()
    opened = ClipTrial.open(None, folder, None, torch.device("cpu"))
    ((window, target),) = opened.batches()
    for each, temporal in zip(found["runs"], (True, False), strict=True):
        joints = opened.answers(window, temporal)[1]
        expected = window_errors(joints, target.joints)
        for name, value in expected.items():
            assert each["overall"]["metrics"][name]["value"] == pytest.approx(value, rel=1e-3)
        assert each["overall"]["metrics"]["pve"]["value"] > 0
        assert each["overall"]["frames"] == 12


def test_lists_too_long_to_read_are_told_not_printed(
    folder: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_SHOWN", 2)
    path = weights(KEYPOINTS, tmp_path / "w.safetensors")
    assert run(folder, tmp_path / "out", "--weights", path) == 0
    shown = capsys.readouterr().out
    assert "clip 00000" not in shown and "3 sequences: too many to list" in shown
    assert "clip 00000" in (tmp_path / "out" / "scores.csv").read_text()


def test_maps_beside_the_scores(folder: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out", weights(IMAGES, tmp_path / "w.safetensors")
    assert run(folder, out, "--weights", path, "--occlusion", "--clips", "1") == 0
    found = json.loads((out / "occlusion.json").read_text())
    figures = scores(out)["runs"][0]["overall"]["metrics"]
    assert found["mean"]["error"] == pytest.approx(figures["mpjpe"]["value"], rel=1e-3)
    assert "w.safetensors" in found["facts"]["weights"] and found["frames"] == 4
    arrays = np.load(out / "occlusion.npz")
    assert arrays["errors"].shape == (len(found["starts"]), len(found["starts"]), 24)
    assert np.abs(arrays["errors"] - arrays["baseline"]).max() > 0, "it looks at the pixels"
    assert (out / "occlusion.png").stat().st_size > 10_000


def test_a_model_without_motion_has_one_run(folder: Path, tmp_path: Path) -> None:
    out, path = tmp_path / "out", weights(KEYPOINTS, tmp_path / "w.safetensors")
    assert run(folder, out, "--weights", path, "--set", "metrics=mpjpe") == 0
    assert [each["label"] for each in scores(out)["runs"]] == [
        "per frame",
        "per frame, clips with metrics=mpjpe",
    ]


def test_motion_needs_two_frames_and_knows_so_many(folder: Path, tmp_path: Path) -> None:
    moving = KEYPOINTS.model_copy(
        update={"motion": JointMotionConfig(heads=2, layers=1), "window": 3}
    )
    opened = trial(folder, moving, tmp_path / "w.safetensors")
    assert list(opened.kinds()) == ["temporal", "per frame"]
    assert "learned on windows of 3" in opened.doubts()[0]
    single = RenderedClips.open(write_clips(tmp_path / "single", frames=1))
    assert list(replace(opened, clips=single).kinds()) == ["per frame"]
    assert replace(opened, clips=single).doubts() == []


def test_clips_are_spread_evenly(folder: Path) -> None:
    clips = RenderedClips.open(folder)
    assert chosen_clips(clips, None) == [0, 1, 2] and chosen_clips(clips, 2) == [0, 1]
    with pytest.raises(InputError, match="has 3 clips, not 4"):
        chosen_clips(clips, 4)


def test_the_camera_sees_the_body_where_the_box_is(folder: Path) -> None:
    window, target = RenderedClips.open(folder).read([(1, 0)], 4)
    sequence = labelled(1, window, target, 0)
    step = float(window.times[0, 1] - window.times[0, 0])
    assert sequence.fps == pytest.approx(1 / step, rel=1e-4)
    pixels = sequence.camera.project(target.joints[0])
    corners = torch.from_numpy(sequence.boxes)[:, None]
    relative = (pixels - corners[..., :2]) / (corners[..., 2:] - corners[..., :2])
    assert torch.allclose(relative, (project_to_box(target.joints, window)[0] + 1) / 2, atol=1e-3)
    assert len(SMPL24.joints) == relative.shape[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--clips", "4"), "has 3 clips, not 4"),
        (("--clips", "0"), "'0' is not a positive whole number"),
        (("--predictions", "x"), "--predictions does nothing with --dataset clips"),
        (("--subjects", "01"), "--subjects does nothing with --dataset clips"),
        (("--split", "test"), "--split does nothing with --dataset clips"),
        (("--protocol", "mocap"), "for clips there are clips"),
        (("--weights", "absent"), "no weights at absent"),
    ],
)
def test_wrong_words(folder: Path, tmp_path: Path, capsys, words, message: str) -> None:
    assert run(folder, tmp_path / "out", *words) == 2
    told = capsys.readouterr().err
    assert message in told and told.count("\n") == 1


@pytest.mark.parametrize("word", ["--occlusion", "--clips=2"])
def test_what_is_for_clips_only(tmp_path: Path, capsys, word: str) -> None:
    words = ("--dataset", "mocap", "--data", tmp_path, "-o", tmp_path / "out", word)
    assert leave(*words) == 2
    assert "does nothing with --dataset mocap" in capsys.readouterr().err


def test_models_that_do_not_fit(folder: Path, tmp_path: Path, capsys) -> None:
    other_body = weights(KEYPOINTS.model_copy(update={"body": "smpl"}), tmp_path / "a.safetensors")
    assert run(folder, tmp_path / "out", "--weights", other_body) == 2
    assert "the model speaks of smpl's shapes" in capsys.readouterr().err
    small = write_clips(tmp_path / "small", side=16)
    images = weights(IMAGES, tmp_path / "b.safetensors")
    assert run(small, tmp_path / "out", "--weights", images) == 2
    assert "images of 16 pixels, the model looks at 24" in capsys.readouterr().err
    assert run(tmp_path, tmp_path / "out") == 2
    told = capsys.readouterr().err
    assert "holds no rendered clips" in told and told.count("\n") == 1
