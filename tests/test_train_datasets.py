"""`train` on labelled datasets and on rendered clips: from folders to weights."""

import json
from pathlib import Path

import pytest
import torch
from picture_trees import penn_labels, write_penn
from training_trees import human36m_columns, write_human36m

from temporal_hmr import train
from temporal_hmr.command_line import run_door
from temporal_hmr.data.pseudo_labels import PseudoLabels
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.recover import load_model
from temporal_hmr.training import sources
from temporal_hmr.training.opening import DataConfig, Given, open_source
from temporal_hmr.training.tasks import window_errors

MODEL = """
model:
  encoder:
    kind: postometro
    sees: both
    side: 32
    backbone: {kind: resnet, width: 4, layers: [1, 1, 1, 1]}
    image: {grid: [1, 1]}
    pose: {reads: coordinates, joints: 23, mixer_layers: 1, token_hidden: 8}
    decoder: {size: S, width: 16, hidden: 16, heads: 2}
  decoder: {heads: 2, layers: 1}
  motion: {heads: 2, layers: 1}
  window: 4
short_clip: 2
workers: 2
frame_training: {steps: 2, clips: 4, warmup: 1}
motion_training: {steps: 2, clips: 4, warmup: 1}
"""
TOKENIZER = "tokenizer_training: {steps: 1, clips: 1}\n"
PENN = """
datasets:
  train: [{dataset: penn-action}]
  judge: [{dataset: penn-action, part: test}]
"""
MIXED = """
datasets:
  train: [{dataset: penn-action, weight: 0.5}, {dataset: human3.6m}]
  judge: [{dataset: human3.6m, part: evaluation}]
"""


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a folder for each dataset."""
    monkeypatch.setattr(sources, "EVALUATION_CLIPS", 4)
    penn = tmp_path / "data" / "penn-action"
    write_penn(penn, "0001", penn_labels(6))
    write_penn(penn, "0002", penn_labels(5, 1, train=-1))
    columns, _ = human36m_columns(6)
    for name in ("h36m_train.npz", "h36m_valid_protocol1.npz"):
        write_human36m(tmp_path / "data" / "human3.6m", columns, name)
    return tmp_path / "data"


def leave(config: str, data: Path, *more: object) -> int:
    path = data.parent / "run.yaml"
    path.write_text(config)
    words = [path, "--data", data, "-o", data.parent / "run", "--device", "cpu", *more]
    with pytest.raises(SystemExit) as ending:
        run_door(lambda: train.main([str(word) for word in words]))
    assert isinstance(ending.value.code, int)
    return ending.value.code


def evaluation(data: Path) -> dict[str, float]:
    log = data.parent / "run" / "motion" / "log.jsonl"
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    return [row["evaluation"] for row in rows if "evaluation" in row][-1]


def test_video_with_keypoints_only(data: Path) -> None:
    """Nothing 3D is known: nothing 3D is judged, and the model still learns and loads."""
    assert leave(MODEL + PENN, data) == 0
    figures = evaluation(data)
    assert set(figures) == {"penn-action test_pixels", "penn-action test_per_frame_pixels"}
    model = load_model(data.parent / "run" / "model.safetensors", torch.device("cpu"))
    assert model.config.image_side() == 32


def test_datasets_mix_and_people_with_joints_judge(data: Path) -> None:
    assert leave(MODEL + MIXED, data) == 0
    figures = evaluation(data)
    assert figures["human3.6m evaluation_mpjpe"] > 0
    assert figures["human3.6m evaluation_pa_mpjpe"] > 0


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("dataset: penn-action}]\n  judge", "dataset: pen-action}]\n  judge", "penn-action"),
        ("part: test", "part: train", "split the people"),
        ("  train: [{", "  windows: {side: 64}\n  train: [{", "windows.side is the model's"),
        ("datasets:", "workers: -1\ndatasets:", "workers"),
        ("datasets:", "mocap: {}\ndatasets:", "mocap does nothing with datasets"),
        ("datasets:", "noise: {}\ndatasets:", "noise does nothing with datasets"),
        ("short_clip", TOKENIZER + "short_clip", "tokenizer_training: this model reads no"),
        ("weight", "wight", "weight"),
        ("datasets:", "pseudo_labels: {}\ndatasets:", "pseudo_labels"),
        ("  train: [{dataset: penn-action}]", "  train: [{dataset: coco}]", "coco"),
    ],
)
def test_what_cannot_be_is_one_line(
    data: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, said: str
) -> None:
    config = (MODEL + PENN).replace(old, new)
    if old == "weight":
        config = MODEL + MIXED.replace(old, new)
    assert leave(config, data) == 2
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1 and said in error[0], error


def test_shapes_of_smpl_need_smpl(data: Path) -> None:
    columns, _ = human36m_columns(6, mosh=True)
    write_human36m(data / "human3.6m", columns)
    config = DataConfig.model_validate(
        {
            "datasets": {
                "train": [{"dataset": "human3.6m"}],
                "judge": [{"dataset": "human3.6m", "part": "evaluation"}],
            }
        }
    )
    with pytest.raises(InputError, match="SMPL"):
        open_source(config, HmrConfig(), Given(data, smpl=data))


def test_a_model_of_images_cannot_learn_from_motion_capture(data: Path) -> None:
    model = HmrConfig.model_validate({"encoder": {"kind": "int"}, "decoder": None})
    with pytest.raises(InputError, match="render_clips"):
        open_source(DataConfig(), model, Given(data))
    with pytest.raises(InputError, match="only datasets"):
        open_source(DataConfig(), HmrConfig(body="smpl"), Given(data))
    with pytest.raises(InputError, match="--held-out"):
        open_source(DataConfig(pseudo_labels=PseudoLabels()), HmrConfig(), Given(data, [data]))


def test_unknown_joints_and_frames_are_not_judged() -> None:
    """What is unknown may be anything; a clip with too little counts for nothing."""
    torch.manual_seed(0)
    true = torch.randn(3, 5, 24, 3)
    ours = true + 0.1 * torch.randn_like(true)
    known = torch.ones(3, 5, 24, dtype=torch.bool)
    known[0, 3:] = False
    known[1, :, 12:] = False
    known[2, :, 0] = False
    figures = window_errors(ours, true, known)
    wild = torch.where(known[..., None], ours, 99.0)
    assert window_errors(wild, true, known) == figures
    first = window_errors(ours[:1, :3], true[:1, :3])
    second = window_errors(ours[1:2, :, :12], true[1:2, :, :12], known[1:2, :, :12])
    for name, value in figures.items():
        assert value == pytest.approx((first[name] + second[name]) / 2, rel=1e-5)
    assert window_errors(ours[2:], true[2:], known[2:]) == {}
