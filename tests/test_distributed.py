"""Two processes started by `torchrun`, on the CPU: through the door, and on a toy."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_model import TINY_MODEL
from toy_mocap import write_mocap
from toy_task import ToyTask, settings, trained

from temporal_hmr.errors import InputError
from temporal_hmr.training import distributed
from temporal_hmr.training.distributed import STRIDE

TESTS = Path(__file__).parent
LESSONS = ("tokenizer", "frames", "motion", "rotations")
CONFIG = (
    TINY_MODEL
    + """
tokenizer_training: {steps: 3, clips: 4, save_every: 3, warmup: 2}
frame_training: {steps: 3, clips: 4, save_every: 3, warmup: 2, accumulate: 2}
motion_training: {steps: 2, clips: 4, save_every: 2, warmup: 2, best_by: clean_pa_mpjpe}
"""
)
ROTATIONS = """
held_out: [b]
vertices: 20
tokenizer: {tokens: 8, width: 16, residual_blocks: 1, codes: 16, code_dim: 8}
training: {steps: 3, clips: 4, warmup: 1, save_every: 2}
"""
PROCESS = """
import sys
from pathlib import Path
import torch
from temporal_hmr import train
from temporal_hmr.errors import InputError
from temporal_hmr.training import distributed, rotation_task, run, sources
from toy_task import ToyTask, trained

folder = Path(sys.argv[1])
sources.EVALUATION_CLIPS = 4
rotation_task.EVALUATION_POSES = 16

def noted(fit):
    def fit_and_note(task, settings, lesson, device):
        module = fit(task, settings, lesson, device)
        states = {"averaged": module.state_dict(), "last": task.module.state_dict()}
        torch.save(states, folder / f"{lesson.name}{distributed.rank()}.pt")
        return module
    return fit_and_note

run.fit, rotation_task.fit = noted(run.fit), noted(rotation_task.fit)
with distributed.joined_processes(torch.device("cpu")):
    for name in ("door", "rotations"):
        words = [str(folder / f"{name}.yaml"), "--data", str(folder / "mocap"), "--device", "cpu"]
        train.main([*words, "-o", str(folder / name)])
    for name, parts in (("toy", 1), ("parts", 2)):
        task = ToyTask()
        task.noise = 0.0
        module = trained(folder / name, task, steps=6, accumulate=parts)
        torch.save({"averaged": module.state_dict()}, folder / f"{name}{distributed.rank()}.pt")
    try:
        trained(folder / "uneven", clips=9)
    except InputError as error:
        (folder / f"uneven{distributed.rank()}").write_text(str(error))
"""


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which two processes trained: once for all tests, as starting them takes long."""
    folder = tmp_path_factory.mktemp("two")
    write_mocap(folder / "mocap")
    (folder / "door.yaml").write_text(CONFIG)
    (folder / "rotations.yaml").write_text(ROTATIONS)
    (folder / "process.py").write_text(PROCESS)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    paths = os.pathsep.join([str(TESTS), str(TESTS.parent), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, *launch, str(folder / "process.py"), str(folder)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        timeout=120,
    )
    (folder / "stdout").write_text(done.stdout)
    (folder / "stderr").write_text(done.stderr)
    assert done.returncode == 0, done.stderr
    return folder


def state(path: Path, kind: str = "averaged") -> dict[str, torch.Tensor]:
    return torch.load(path, weights_only=True)[kind]


@pytest.mark.parametrize(
    ("lesson", "kind"),
    [(lesson, kind) for lesson in LESSONS for kind in ("averaged", "last")]
    + [("toy", "averaged"), ("parts", "averaged")],
)
def test_both_hold_the_same_weights_in_the_end(two: Path, lesson: str, kind: str) -> None:
    """Codebooks and their moving averages too; of the toy, a buffer that each moved by itself."""
    ours, others = (state(two / f"{lesson}{rank}.pt", kind) for rank in (0, 1))
    assert ours.keys() == others.keys()
    assert not [name for name in ours if not torch.equal(ours[name], others[name])]


def test_the_first_alone_writes_and_prints(two: Path) -> None:
    printed = (two / "stdout").read_text().splitlines()
    weights = ["door/model.safetensors", "rotations/rotation_tokenizer.safetensors"]
    assert printed == [str(two / name) for name in weights]
    assert "interrupted" not in (two / "stderr").read_text()
    lines = [json.loads(line) for line in (two / "door/frames/log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [3, 3]
    assert (two / "door/motion/best.safetensors").exists()


def test_a_step_of_two_is_that_of_one_with_both_shards(two: Path, tmp_path: Path) -> None:
    """Gradients are averaged: the same as one process that draws what the two draw."""

    class BothShards(ToyTask):
        def draw(self, clips: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
            seeds = [generator.initial_seed() + rank * STRIDE for rank in (0, 1)]
            generators = [torch.Generator().manual_seed(seed) for seed in seeds]
            shards = [super(BothShards, self).draw(clips // 2, each) for each in generators]
            return torch.cat([x for x, _ in shards]), torch.cat([y for _, y in shards])

    task = BothShards()
    task.noise = 0.0
    alone = trained(tmp_path, task, steps=6)
    for run in ("toy", "parts"):
        together = state(two / f"{run}0.pt")
        for name, value in alone.named_parameters():
            torch.testing.assert_close(together[name], value, rtol=1e-4, atol=1e-6)
    figures = [
        json.loads(line)
        for folder in (tmp_path, two / "toy")
        for line in (folder / "log.jsonl").read_text().splitlines()
    ]
    ours, others = (row for row in figures if "total" in row)
    assert ours["total"] == pytest.approx(others["total"], rel=1e-4)


def test_a_batch_that_cannot_be_shared_evenly(two: Path) -> None:
    said = "clips: 9 cannot be shared evenly by 2 processes in 1 parts each: give a multiple of 2"
    assert (two / "uneven0").read_text() == (two / "uneven1").read_text() == said


def test_an_error_says_whose_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if this were the second of two processes."""
    for name, value in (("TORCHELASTIC_RUN_ID", "x"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed.distributed, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    with (
        pytest.raises(InputError, match="process 1: no such thing"),
        distributed.joined_processes(torch.device("cpu")),
    ):
        raise InputError("no such thing")
    with (
        pytest.raises(InputError, match="a GPU of its own: pass --device cuda, not cuda:0"),
        distributed.joined_processes(torch.device("cuda:0")),
    ):
        pass


def test_one_process_shares_nothing() -> None:
    module = torch.nn.Linear(2, 2)
    assert distributed.sharing_gradients(module) is module
    assert distributed.process_count() == 1 and distributed.is_first()
    assert distributed.own_share(settings().clips, 4) == 8
