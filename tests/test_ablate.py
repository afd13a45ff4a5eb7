"""Tables of trained rows: `scripts/ablate.py`."""

import json
import sys
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from toy_mocap import write_mocap

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import ablate

from temporal_hmr import train
from temporal_hmr.command_line import run_door
from temporal_hmr.configuration import load_config, parse_config
from temporal_hmr.training import sources
from temporal_hmr.training.run import TrainingConfig

TABLE = """
about: Heads and widths.
base:
  mocap: {held_out: [b]}
  short_clip: 2
  model:
    tokenizer: {width: 16, layers: 1, codes: 32, code_dim: 8, tokens: 6}
    encoder: {width: 32, heads: 2}
    decoder: {heads: 2, layers: 1}
    motion: null
    window: 4
  tokenizer_training: {steps: 1, clips: 2, warmup: 1}
  frame_training: {steps: 1, clips: 2, warmup: 1}
rows:
  plain: {}
  wide: {model: {encoder: {width: 64}}}
"""


def in_this_process(command: list[str], **settings: Any) -> CompletedProcess[str]:
    """In the place of `subprocess.run`: the door is the same, and torch is there already."""
    assert command[:3] == [sys.executable, "-m", "temporal_hmr.train"]
    assert settings["env"]["OMP_NUM_THREADS"], "rows side by side must not take all cores each"
    train.main(command[3:])
    return CompletedProcess(command, 0, "", "")


def leave(folder: Path, table: str, *more: str) -> int:
    path = folder / "table.yaml"
    path.write_text(table)
    words = [str(path), "-o", str(folder / "out"), "--data", str(folder / "mocap"), *more]
    with pytest.raises(SystemExit) as ending:
        run_door(lambda: ablate.main(words))
    assert isinstance(ending.value.code, int)
    return ending.value.code


def test_a_group_of_another_kind_replaces_the_whole_group() -> None:
    base = {"a": {"kind": "x", "size": 1}, "b": {"c": 1, "d": 2}}
    assert ablate.merged(base, {"a": {"kind": "y"}})["a"] == {"kind": "y"}
    assert ablate.merged(base, {"a": {"size": 2}})["a"] == {"kind": "x", "size": 2}
    assert ablate.merged(base, {"b": {"d": 3}})["b"] == {"c": 1, "d": 3}
    assert base["b"] == {"c": 1, "d": 2}


def test_only_heads_that_choose_get_rotations() -> None:
    plain = ablate.Run("a", Path("a"), {"model": {}})
    chooses = ablate.Run("b", Path("b"), {"model": {"head": {"kind": "tokens"}}})
    assert ablate.words_for(plain, ["--data", "d"], "r") == ["--data", "d"]
    assert ablate.words_for(chooses, [], "r") == ["--rotations", "r"]


def test_rows_are_trained_once_and_never_passed_off_as_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablate.subprocess, "run", in_this_process)
    monkeypatch.setattr(sources, "EVALUATION_CLIPS", 4)
    write_mocap(tmp_path / "mocap")
    assert leave(tmp_path, TABLE, "--rows", "plain") == 0
    shown = capsys.readouterr().out
    assert "| plain |" in shown and "| wide |" not in shown
    figures = json.loads((tmp_path / "out" / "table.json").read_text())
    assert figures["plain"]["clean_per_frame_mpjpe"] > 0
    weights = tmp_path / "out" / "plain" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    assert leave(tmp_path, TABLE, "--rows", "plain") == 0
    assert weights.stat().st_mtime_ns == before
    capsys.readouterr()
    changed = TABLE.replace("frame_training: {steps: 1", "frame_training: {steps: 2")
    assert leave(tmp_path, changed, "--rows", "plain") == 2
    assert "another settings.yaml" in capsys.readouterr().err
    assert leave(tmp_path, TABLE, "--rows", "narrow") == 2
    assert "no row narrow" in capsys.readouterr().err
    broken = TABLE.replace("width: 64", "widht: 64")
    assert leave(tmp_path, broken) == 2
    assert "row wide: model.encoder.widht" in capsys.readouterr().err


def test_every_table_of_the_package_is_valid() -> None:
    folder = Path(__file__).parents[1] / "configs" / "ablations"
    for path in sorted(folder.glob("*.yaml")):
        if "rows:" in path.read_text():
            table = load_config(path, ablate.Table)
            for name, changes in table.rows.items():
                parse_config(ablate.merged(table.base, changes), TrainingConfig, f"{path} {name}")
