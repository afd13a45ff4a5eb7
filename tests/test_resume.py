"""A run that is cut off anywhere goes on as if nothing had been, bit for bit."""

import json
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from full_disk import limited_files
from safetensors.torch import load_file
from tiny_model import TINY_MODEL
from torch import nn
from toy_mocap import write_mocap
from toy_task import TIMES, ToyTask, require_equal, rows, trained

from temporal_hmr.checkpoint import save_state
from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.training import checkpoints, journal, loop
from temporal_hmr.training.claiming import claim
from temporal_hmr.training.run import TrainingConfig

CONFIG = (
    TINY_MODEL
    + """
tokenizer_training: {steps: 8, clips: 4, save_every: 3, warmup: 2, evaluate_every: 50}
frame_training: {steps: 8, clips: 4, save_every: 1, warmup: 2, evaluate_every: 50}
motion_training:
  {steps: 8, clips: 4, save_every: 3, warmup: 2, evaluate_every: 4, best_by: clean_pa_mpjpe}
"""
)


class Padded(Config):
    """Settings that take room."""

    text: str = 9000 * "x"


DOOR = """
import os, signal, sys, time
import torch
import torch._dynamo  # torch's optimizers import it at their first use
from temporal_hmr import train
from temporal_hmr.training import run, sources

torch.set_num_threads(1)
sources.EVALUATION_CLIPS = 4
*words, undisturbed, broken, shares = sys.argv[1:]

def train_into(folder, seconds):
    # Every attempt is a process of its own, forked to save the seconds of importing.
    child = os.fork()
    if child == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        train.main([*words, "-o", folder])
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

begun = time.monotonic()
assert train_into(undisturbed, None) == 0
needed = time.monotonic() - begun
codes = [train_into(broken, float(share) * needed) for share in shares.split()]
print("ended by", codes)
assert train_into(broken, None) == 0
"""


def test_killed_at_random_moments(tmp_path: Path) -> None:
    """SIGKILL, several times, then to the end: the same log and the same weights."""
    write_mocap(tmp_path / "mocap")
    (tmp_path / "tiny.yaml").write_text(CONFIG)
    shares = [random.uniform(0.1, 0.8) for _ in range(3)]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    words = [tmp_path / "tiny.yaml", "--data", tmp_path / "mocap", "--device", "cpu"]
    moments = " ".join(f"{share:.3f}" for share in shares)
    done = subprocess.run(
        [sys.executable, "-c", DOOR, *map(str, words), str(whole), str(broken), moments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "-9" in done.stdout, f"no run was cut off: {done.stdout} {shares}"
    for lesson in ("tokenizer", "frames", "motion"):
        assert rows(broken / lesson) == rows(whole / lesson), (lesson, shares)
    for weights in ("tokenizer", "model", "motion/best"):
        ours, others = (load_file(f / f"{weights}.safetensors") for f in (broken, whole))
        assert ours.keys() == others.keys()
        assert not [name for name in ours if not torch.equal(ours[name], others[name])], shares
    assert not list(broken.rglob("*.partial"))


class Cut(BaseException):
    """Nothing in the loop catches this."""


def cut_at(number: int, where: str, patch: pytest.MonkeyPatch) -> None:
    """Cut the run off at the nth time that it comes by a place."""
    owner, name = {
        "before a step": (ToyTask, "draw"),
        "after the backward pass": (torch.optim.AdamW, "step"),
        "before a line": (journal.Journal, "flush"),
        "between line and state": (loop, "save"),
        "while the state is written": (checkpoints.os, "fsync"),
        "before the state is in its place": (Path, "replace"),
    }[where]
    original, calls = getattr(owner, name), []

    def until_cut(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) == number:
            raise Cut
        return original(*arguments, **named)

    patch.setattr(owner, name, until_cut)


@pytest.mark.parametrize(
    "where",
    [
        "before a step",
        "after the backward pass",
        "before a line",
        "between line and state",
        "while the state is written",
        "before the state is in its place",
    ],
)
def test_cut_off_in_every_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Lines of three steps, states of four: what a line waits for is part of the state."""
    monkeypatch.setattr(loop, "STEPS_PER_LINE", 3)
    whole = trained(tmp_path / "whole", best_by="error")
    for number in (1, 2, 3):
        folder = tmp_path / str(number)
        with monkeypatch.context() as patch:
            cut_at(number, where, patch)
            with pytest.raises(Cut):
                trained(folder, best_by="error")
        require_equal(trained(folder, best_by="error"), whole)
        assert rows(folder) == rows(tmp_path / "whole")
        best = load_file(folder / "best.safetensors")
        for name, value in load_file(tmp_path / "whole/best.safetensors").items():
            assert torch.equal(best[name], value)


def test_a_line_that_was_half_written_is_dropped(tmp_path: Path) -> None:
    trained(tmp_path / "whole")
    folder = tmp_path / "cut"
    task = ToyTask()
    task.before_losses = lambda step: 1 / 0 if step == 10 else 1.0
    with pytest.raises(ZeroDivisionError):
        trained(folder, task)
    with (folder / "log.jsonl").open("a") as file:
        file.write('{"step": 10, "tot')
    (folder / "last.pt.partial").write_bytes(b"half")
    trained(folder)
    assert rows(folder) == rows(tmp_path / "whole")
    assert not (folder / "last.pt.partial").exists()


@pytest.mark.parametrize(
    ("size", "name"), [(20, "log.jsonl"), (1500, "last.pt"), (6000, "best.safetensors")]
)
def test_a_disk_that_was_full(tmp_path: Path, size: int, name: str) -> None:
    """The file is named, nothing half-written stays, and with room again the run goes on."""
    whole = trained(tmp_path / "whole")
    folder = tmp_path / "full"
    task = ToyTask()
    task.before_losses = lambda step: 1 / 0 if step == 7 else 1.0
    with pytest.raises(ZeroDivisionError):
        trained(folder, task)
    task = ToyTask()
    task.save = lambda module, path: save_state(module.state_dict(), Padded(), "toy", path)
    best = "error" if name.startswith("best") else None
    with limited_files(size), pytest.raises(InputError, match=f"cannot write .*{name}: .*File too"):
        trained(folder, task, best_by=best)
    assert not list(folder.rglob("*.partial"))
    assert torch.load(folder / "last.pt", weights_only=True)["step"] == 4
    require_equal(trained(folder), whole)
    assert rows(folder) == rows(tmp_path / "whole")


def test_states_of_earlier_versions_are_gone_on_from(tmp_path: Path) -> None:
    """They had no more than these four, and no lines that wait."""
    whole = trained(tmp_path / "whole", steps=8)
    trained(tmp_path / "old", steps=8, save_every=8)
    trained(tmp_path / "old/half", steps=8, save_every=4)
    for folder in (tmp_path / "old", tmp_path / "old/half"):
        state = torch.load(folder / "last.pt", weights_only=True)
        kept = {name: state[name] for name in ("step", "module", "average")}
        torch.save(kept | {"optimizer": state["optimizers"][0]}, folder / "last.pt")
        require_equal(trained(folder, steps=8), whole)


def test_the_state_of_another_module_is_refused(tmp_path: Path) -> None:
    trained(tmp_path)
    task = ToyTask()
    task.module.head = nn.Linear(8, 2)
    with pytest.raises(InputError, match="run with another configuration"):
        trained(tmp_path, task)


def begin(folder: Path, steps: int = 1) -> None:
    """As if a lesson had been learned so far."""
    folder.mkdir(parents=True)
    torch.save({"step": steps}, folder / "last.pt")


def planned(**changes: object) -> TrainingConfig:
    lesson = {"steps": 3, "clips": 4}
    lessons = dict.fromkeys(("tokenizer_training", "frame_training", "motion_training"), lesson)
    return TrainingConfig.model_validate(lessons | changes)


def test_a_lesson_that_kept_nothing_may_be_corrected(tmp_path: Path) -> None:
    other = {"steps": 3, "clips": 4, "learning_rate": 0.1}
    claim(tmp_path, planned())
    claim(tmp_path, planned(tokenizer_training=other, short_clip=2))
    begin(tmp_path / "tokenizer", 3)
    claim(tmp_path, planned(tokenizer_training=other, short_clip=2, motion_training=None))
    claim(tmp_path, planned(tokenizer_training=other, short_clip=2, frame_training=other, tals={}))
    for changes in ({"tokenizer_training": {"steps": 3, "clips": 4}}, {"short_clip": 4}):
        with pytest.raises(InputError, match=f"{next(iter(changes))} differs"):
            claim(tmp_path, planned(**{"tokenizer_training": other, "short_clip": 2} | changes))
    begin(tmp_path / "frames", 3)
    with pytest.raises(InputError, match="tals differs"):
        claim(tmp_path, planned(tokenizer_training=other, short_clip=2, frame_training=other))


def test_steps_that_another_lesson_was_built_on(tmp_path: Path) -> None:
    longer = {"steps": 5, "clips": 4}
    claim(tmp_path, planned())
    begin(tmp_path / "tokenizer", 3)
    claim(tmp_path, planned(tokenizer_training=longer))
    begin(tmp_path / "frames", 3)
    claim(tmp_path, planned(frame_training=longer))
    said = r"tokenizer_training.steps is 5, but \S+frames was built on 3 steps of it: give it 3"
    with pytest.raises(InputError, match=said):
        claim(tmp_path, planned(tokenizer_training=longer))
    begin(tmp_path / "motion", 2)
    with pytest.raises(InputError, match=r"or delete \S+frames and \S+motion for a new"):
        claim(tmp_path, planned(tokenizer_training=longer))
    (tmp_path / "frames/last.pt").unlink()
    with pytest.raises(InputError, match=r"built on 0 steps of it: delete \S+motion for"):
        claim(tmp_path, planned())
    claim(tmp_path / "given", planned(), {"keypoints": "aa"})
    begin(tmp_path / "given/frames", 3)
    claim(tmp_path / "given", planned(), {"keypoints": "aa"})


def test_other_data_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    claim(tmp_path, planned(), subjects={"a": 2})
    begin(tmp_path / "tokenizer")
    claim(tmp_path, planned(), subjects={"a": 2})
    assert not caplog.messages
    claim(tmp_path, planned(), subjects={"a": 1, "b": 3})
    (said,) = caplog.messages
    assert "takes of a: 2 then, 1 now; 1 other subject changed too" in said


def test_a_folder_of_an_earlier_version_is_claimed(tmp_path: Path) -> None:
    """Settings that it did not know had their defaults in it, and `bfloat16` was a word of it."""
    lesson = {"clips": 4, "learning_rate": 0.001, "weight_decay": 0.01, "warmup": 300}
    lesson |= {"clip_norm": 1.0, "average": 0.998, "bfloat16": True, "seed": 0}
    given = {"frame_training": lesson}
    (tmp_path / "config.json").write_text(json.dumps(given))
    begin(tmp_path / "frames")

    def config(**changes: object) -> TrainingConfig:
        values = {"frame_training": lesson | {"steps": 9} | changes}
        return TrainingConfig.model_validate(values)

    claim(tmp_path, config())
    claim(tmp_path, config(accumulate=2, tensorboard=True, best_by="clean_mpjpe"))
    for changes in ({"bfloat16": False}, {"rates": {"encoder": 0.1}}, {"clips": 8}):
        with pytest.raises(InputError, match="frame_training differs"):
            claim(tmp_path, config(**changes))


def test_a_run_that_started_from_other_weights_is_refused(tmp_path: Path) -> None:
    config = TrainingConfig.model_validate({"frame_training": {"steps": 1, "clips": 1}})
    claim(tmp_path, config, {"keypoints": "aa"})
    begin(tmp_path / "frames")
    claim(tmp_path, config, {"keypoints": "aa"})
    for weights in ({"keypoints": "bb"}, {}):
        with pytest.raises(InputError, match="weights of keypoints differs"):
            claim(tmp_path, config, weights)


def test_times_are_all_that_a_log_says_of_the_machine(tmp_path: Path) -> None:
    trained(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    names = {name for line in lines for name in line}
    terms = {"squares", "size", "total", "gradient", "rate"}
    assert names == {"step", "evaluation", *TIMES, *terms}
