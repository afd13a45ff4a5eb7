"""`python -m temporal_hmr.train` on a rotation tokenizer: it learns, goes on, errs in one line."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from toy_mocap import write_mocap

from temporal_hmr import train
from temporal_hmr.checkpoint import load_weights, read_config
from temporal_hmr.command_line import run_door
from temporal_hmr.tokenizers.rotations import RotationTokenizer, RotationTokenizerConfig
from temporal_hmr.training import rotation_task

CONFIG = """
held_out: [b]
vertices: 20
tokenizer: {tokens: 8, width: 16, residual_blocks: 1, codes: 16, code_dim: 8}
training: {steps: 3, clips: 4, warmup: 1, save_every: 2}
"""
WEIGHTS = "rotation_tokenizer.safetensors"


@pytest.fixture(scope="module", autouse=True)
def quick_evaluation() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rotation_task, "EVALUATION_POSES", 16)
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with motion capture and a finished run."""
    folder = tmp_path_factory.mktemp("trained")
    write_mocap(folder / "mocap")
    assert leave(folder) == 0
    return folder


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    """The same again, to go on from."""
    return shutil.copytree(trained, tmp_path / "folder")


def leave(folder: Path, config: str = CONFIG, run: str = "run") -> int:
    """The exit code of training on a folder's motion capture."""
    path = folder / "tiny.yaml"
    path.write_text(config)
    words = [str(path), "--data", str(folder / "mocap"), "--output", str(folder / run)]
    with pytest.raises(SystemExit) as ending:
        run_door(lambda: train.main([*words, "--device", "cpu"]))
    assert isinstance(ending.value.code, int)
    return ending.value.code


def evaluated(run: Path) -> list[int]:
    rows = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [row["step"] for row in rows if "evaluation" in row]


def weights(run: Path) -> dict[str, torch.Tensor]:
    config = read_config(run / WEIGHTS, rotation_task.CHECKPOINT_KIND, RotationTokenizerConfig)
    assert config.tokens == 8 and config.codes == 16
    tokenizer = RotationTokenizer(config)
    load_weights(tokenizer, run / WEIGHTS)
    return dict(tokenizer.state_dict())


def test_writes_weights_that_load_and_says_where(folder: Path, capsys) -> None:
    run = folder / "run"
    assert all(tensor.isfinite().all() for tensor in weights(run).values())
    assert evaluated(run) == [3]
    assert not (run / "model.safetensors").exists(), "this is no model"
    assert leave(folder) == 0
    assert capsys.readouterr().out.strip() == str(run / WEIGHTS)


def test_goes_on_where_it_stopped(folder: Path) -> None:
    """The same command again changes nothing; more steps go on from the last."""
    run = folder / "run"
    first = weights(run)
    assert leave(folder) == 0
    again = weights(run)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert leave(folder, CONFIG.replace("steps: 3", "steps: 5")) == 0
    assert evaluated(run) == [3, 5]
    longer = weights(run)
    assert any(not torch.equal(first[name], longer[name]) for name in first)


@pytest.mark.parametrize(
    ("old", "new", "differs"),
    [
        ("codes: 16", "codes: 32", "tokenizer"),
        ("clips: 4", "clips: 5", "training"),
        ("held_out: [b]", "held_out: [a]", "held_out"),
    ],
)
def test_other_settings_in_the_same_folder(
    folder: Path, old: str, new: str, differs: str, capsys
) -> None:
    """Even those that would fit: a subject moved into training would be a leak."""
    before = (folder / "run" / WEIGHTS).read_bytes()
    assert leave(folder, CONFIG.replace(old, new)) == 2
    assert f"another configuration ({differs} differs)" in capsys.readouterr().err
    assert (folder / "run" / WEIGHTS).read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("warmup: 1", "warmpu: 1", "training.warmpu: is no setting (did you mean warmup?)"),
        ("vertices: 20", "vertexes: 20", "vertexes: is no setting (did you mean vertices?)"),
        ("tokens: 8", "tokens: 7", "tokenizer.tokens"),
        ("held_out: [b]", "heldout: [b]", "heldout: is no setting (did you mean held_out?)"),
    ],
)
def test_mistakes_name_file_and_field(folder: Path, old: str, new: str, said: str, capsys) -> None:
    assert leave(folder, CONFIG.replace(old, new), run="other") == 2
    err = capsys.readouterr().err
    assert f"tiny.yaml: {said}" in err and err.count("\n") == 1
    assert not (folder / "other").exists()


def test_broken_takes_can_be_left_out(folder: Path, capsys) -> None:
    (folder / "mocap" / "a" / "broken.npz").write_bytes(b"")
    assert leave(folder, run="other") == 2
    assert "broken.npz" in capsys.readouterr().err
    assert leave(folder, CONFIG + "skip_broken: true\nup_axis: y\n", run="other") == 0
    assert "warning: skipped: " in capsys.readouterr().err


def test_an_unknown_subject_is_named(folder: Path, capsys) -> None:
    assert leave(folder, CONFIG.replace("[b]", "[zz]"), run="other") == 2
    err = capsys.readouterr().err
    assert "no subject zz to judge by; it has a, b: name some" in err and " as held_out in" in err


def test_settings_of_a_model_beside_those_of_a_tokenizer(folder: Path, capsys) -> None:
    """What decides the kind of run is `training`; the rest is a mistake, not left aside."""
    assert leave(folder, CONFIG + "frame_training: {steps: 1, clips: 1}\n") == 2
    assert "tiny.yaml: frame_training: is no setting" in capsys.readouterr().err
