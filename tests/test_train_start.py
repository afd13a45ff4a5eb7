"""All lessons of a model with context, and going on from the weights of a whole model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from toy_mocap import write_mocap

from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.configuration import load_config
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.recover import CHECKPOINT_KIND
from temporal_hmr.train import main
from temporal_hmr.training import sources
from temporal_hmr.training.run import TrainingConfig

MODEL = """
mocap: {held_out: [b]}
short_clip: 2
model:
  tokenizer: {width: 16, layers: 1, codes: 32, code_dim: 8, tokens: 6}
  encoder: {width: 32, heads: 2}
  context: {width: 32, heads: 2, layers: 1}
  decoder: {heads: 2, layers: 1}
  motion: {heads: 2, layers: 1}
  window: 6
"""
FIRST = (
    MODEL
    + """
tokenizer_training: {steps: 2, clips: 4, warmup: 1}
reading_training: {steps: 3, clips: 8, warmup: 1, optimizer: muon}
context_training: {steps: 2, clips: 4, warmup: 1, optimizer: muon}
motion_training: {steps: 2, clips: 4, warmup: 1, optimizer: muon}
"""
)
SECOND = (
    MODEL
    + """
frame_training: {steps: 1, clips: 4, warmup: 1}
"""
)


@pytest.fixture(autouse=True)
def few_judges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "EVALUATION_CLIPS", 4)


def run(folder: Path, config: str, *words: object) -> Path:
    mocap = folder.parent / "mocap"
    if not mocap.exists():
        write_mocap(mocap)
    folder.mkdir()
    path = folder / "config.yaml"
    path.write_text(config)
    main([str(path), "--data", str(mocap), "-o", str(folder / "run"), *map(str, words)])
    return folder / "run"


def test_all_lessons_and_then_another(tmp_path: Path) -> None:
    """Each lesson begins where the one before ended, and a second run where the first did."""
    first = run(tmp_path / "first", FIRST)
    lessons = ("tokenizer", "readings", "context", "motion")
    assert all((first / lesson / "last.pt").is_file() for lesson in lessons)
    rows = (first / "context/log.jsonl").read_text().splitlines()
    figures = [row for row in map(json.loads, rows) if "evaluation" in row][-1]["evaluation"]
    assert {"clean_pa_mpjpe", "clean_per_frame_pa_mpjpe", "noisy_acceleration_error"} <= {*figures}

    weights = first / "model.safetensors"
    second = run(tmp_path / "second", SECOND, "--start", weights)
    assert not (second / "tokenizer").exists()
    before, after = load_file(weights), load_file(second / "model.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved and not any(name.startswith(("motion.", "encoder.tokenizer.")) for name in moved)
    largest = max(float((before[name] - after[name]).abs().max()) for name in moved)
    assert largest < 0.01, "one small step from where the first run ended"
    assert "start" in json.loads((second / "config.json").read_text())["weights"]


@pytest.mark.parametrize(
    ("config", "words", "said"),
    [
        (FIRST, (), "tokenizer_training: the weights given with --start have it inside"),
        (SECOND, ("--tokenizer", "x"), "--tokenizer: the weights given with --start"),
        (SECOND.replace("width: 32, heads: 2}", "width: 16, heads: 2}", 1), (), "model.encoder"),
    ],
)
def test_what_does_not_go_with_a_start(
    tmp_path: Path, config: str, words: tuple[str, ...], said: str
) -> None:
    path = tmp_path / "stored.yaml"
    path.write_text(MODEL)
    model = Hmr(load_config(path, TrainingConfig).model)
    save_checkpoint(model, model.config, CHECKPOINT_KIND, tmp_path / "w.safetensors", half=True)
    (tmp_path / "x").write_bytes(b"")
    given = [tmp_path / "x" if word == "x" else word for word in words]
    with pytest.raises(InputError, match=said):
        run(tmp_path / "run", config, "--start", tmp_path / "w.safetensors", *given)
