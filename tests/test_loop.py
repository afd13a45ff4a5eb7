"""The training loop on a toy: laws of its settings, and how it ends when something is wrong."""

import json
import math
import sys
import time
from functools import partialmethod
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Generator, Tensor, nn
from toy_task import ToyTask, require_equal, rows, settings, trained

from temporal_hmr.configuration import load_config, parse_config
from temporal_hmr.errors import InputError
from temporal_hmr.tokenizers.codebook import Codebook
from temporal_hmr.tokenizers.rotation_codebook import RotationCodebook
from temporal_hmr.training import loop
from temporal_hmr.training.distributed import STRIDE, step_seed
from temporal_hmr.training.run import TrainingConfig
from temporal_hmr.training.schedule import (
    Constant,
    Cosine,
    Milestones,
    parameter_groups,
    share_of_rate,
)
from temporal_hmr.training.settings import LoopSettings

CONFIGS = Path(__file__).parents[1] / "configs"


def test_is_plain_adamw_with_clipping_and_a_moving_average(tmp_path: Path) -> None:
    """Against a loop written out naively."""
    found = trained(tmp_path, steps=5, warmup=2, clip_norm=0.5, average=0.9)
    task = ToyTask()
    weights = dict(task.module.named_parameters())
    decayed = [value for value in weights.values() if value.requires_grad and value.ndim > 1]
    others = [value for value in weights.values() if value.requires_grad and value.ndim == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.01}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.99),
    )
    shares = [0.5, 1.0] + [0.01 + 0.99 * (1 + math.cos(math.pi * n / 3)) / 2 for n in (1, 2, 3)]
    for step, share in enumerate(shares, 1):
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * share
        torch.manual_seed(step)
        task.module.train()
        batch = task.draw(8, Generator().manual_seed(step))
        optimizer.zero_grad()
        sum(task.losses(batch, Generator()).values()).backward()
        norm = math.sqrt(
            sum(float((p.grad**2).sum()) for p in weights.values() if p.grad is not None)
        )
        for parameter in weights.values():
            if parameter.grad is not None:
                parameter.grad *= min(1.0, 0.5 / norm)
        optimizer.step()
        now = {name: value.detach().clone() for name, value in weights.items()}
        average = now if step == 1 else {n: 0.9 * average[n] + 0.1 * now[n] for n in now}
    for name, value in found.named_parameters():
        torch.testing.assert_close(value, average[name], rtol=1e-4, atol=1e-6)


def test_parts_of_a_batch_do_what_the_batch_does(tmp_path: Path) -> None:
    """Accumulation is for memory, and changes nothing but rounding where losses are means."""

    class Still(ToyTask):
        """Without what draws or moves at every pass."""

        def losses(self, batch: tuple[Tensor, Tensor], generator: Generator) -> dict[str, Tensor]:
            x, y = batch
            assert len(x) == self.expected
            return {"squares": ((self.module(x) - y) ** 2).mean()}

    found = []
    for parts in (1, 2, 4):
        task = Still()
        task.expected = 8 // parts
        found.append(trained(tmp_path / str(parts), task, accumulate=parts))
    for other in found[1:]:
        for (name, value), same in zip(
            found[0].named_parameters(), other.parameters(), strict=True
        ):
            torch.testing.assert_close(same, value, rtol=1e-4, atol=1e-5, msg=name)
    first, second = (rows(tmp_path / parts)[-2] for parts in ("1", "4"))
    assert first["squares"] == pytest.approx(second["squares"], rel=1e-4)
    assert first["gradient"] == pytest.approx(second["gradient"], rel=1e-4)


def test_codebooks_follow_the_parts_of_a_batch_as_the_batch(tmp_path: Path) -> None:
    """One step of the moving averages for one of the weights."""

    class Coded(ToyTask):
        def __init__(self, book: Codebook) -> None:
            super().__init__()
            self.book = book
            self.module.add_module("book", book)

        def losses(self, batch: tuple[Tensor, Tensor], generator: Generator) -> dict[str, Tensor]:
            return super().losses(batch, generator) | {"commitment": self.book(batch[0]).commitment}

    for kind in (Codebook, RotationCodebook):
        books = []
        for parts in (1, 4):
            torch.manual_seed(0)
            # Without restarts, which draw one of the inputs of the last part.
            books.append(book := kind(3, 4, 0.9, 0.0))
            book.register_buffer("begun", torch.tensor(True))
            trained(tmp_path / f"{kind.__name__}{parts}", Coded(book), accumulate=parts)
        for (name, value), same in zip(books[0].named_buffers(), books[1].buffers(), strict=True):
            torch.testing.assert_close(same, value, msg=name)


def test_schedules() -> None:
    assert [share_of_rate(Constant(), step, 4, 100) for step in (1, 4, 5, 100)] == [0.25, 1, 1, 1]
    fall = Milestones(milestones=(10, 20), factor=0.5)
    shares = [share_of_rate(fall, step, 2, 100) for step in (1, 2, 10, 11, 20, 21, 100)]
    assert shares == [0.5, 1, 1, 0.5, 0.5, 0.25, 0.25]
    cosine = [share_of_rate(Cosine(floor=0.2), step, 10, 110) for step in (5, 10, 60, 110)]
    assert cosine == pytest.approx([0.5, 1.0, 0.6, 0.2])
    assert share_of_rate(Cosine(), 100, 10, 100) == pytest.approx(0.01)


def test_the_schedule_reaches_the_log(tmp_path: Path) -> None:
    schedule = {"kind": "step", "milestones": [50], "factor": 0.1}
    trained(tmp_path, steps=100, schedule=schedule, warmup=1)
    rates = [row["rate"] for row in rows(tmp_path) if "rate" in row]
    assert rates == pytest.approx([0.01, 0.001])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"schedule": {"kind": "sine"}}, r"schedule: there is no 'sine'.*cosine.*step.*constant"),
        ({"schedule": {"kind": "step", "milestones": [5, 5]}}, "milestones: .*rising"),
        ({"schedule": {"kind": "step"}}, "milestones"),
        ({"schedule": {"kind": "constant", "floor": 0}}, "floor: is no setting"),
        ({"accumulate": 3}, "clips 8 is no multiple of accumulate 3"),
        ({"rates": {"encoder": 0}}, "rates are factors above 0"),
        ({"bfloat16": True, "precision": "bfloat16"}, "give precision: bfloat16"),
        ({"precision": "float8"}, "precision"),
        ({"clip_norm": 0}, "clip_norm"),
    ],
)
def test_settings_that_cannot_be(given: dict, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_config({"steps": 1, "clips": 8} | given, LoopSettings, "here")


def test_the_older_word_for_precision() -> None:
    assert settings(bfloat16=True) == settings(precision="bfloat16")
    assert settings(bfloat16=False) == settings()


def test_parts_of_a_module_at_rates_of_their_own(tmp_path: Path) -> None:
    """Adam's first step moves every parameter by its rate, whatever the gradient's size."""
    before = ToyTask().module
    rates = {"encoder": 0.5, "encoder.0.bias": 0.1}
    once = {"steps": 1, "warmup": 1, "weight_decay": 0.0, "average": 0.0}
    after = trained(tmp_path, rates=rates, schedule={"kind": "constant"}, **once)
    moved = {
        name: float((value - before.state_dict()[name]).detach().abs().median())
        for name, value in after.named_parameters()
    }
    assert moved["head.weight"] == pytest.approx(0.01, rel=1e-3)
    assert moved["encoder.0.weight"] == pytest.approx(0.005, rel=1e-3)
    assert moved["encoder.0.bias"] == pytest.approx(0.001, rel=1e-3)
    assert moved["idle.weight"] == moved["frozen.weight"] == 0


def test_each_parameter_is_in_one_group_and_small_ones_do_not_decay() -> None:
    module = ToyTask().module
    groups = parameter_groups(module, 0.3, {"encoder.0": 0.1})
    ours = [value for group in groups for value in group.parameters]
    trained_ones = [value for value in module.parameters() if value.requires_grad]
    assert sorted(map(id, ours)) == sorted(map(id, trained_ones))
    for group in groups:
        for value in group.parameters:
            assert group.weight_decay == (0.3 if value.ndim > 1 else 0.0)


@pytest.mark.parametrize(
    ("beginning", "said"),
    [
        ("encodr", "no parameter's name begins with encodr; near ones are encoder"),
        ("enc", "begins with enc; near ones are encoder"),
        ("zzz", "near ones are encoder, head, idle"),
        ("frozen", "frozen is not trained in this lesson"),
    ],
)
def test_rates_of_what_is_not_there(tmp_path: Path, beginning: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        trained(tmp_path, rates={beginning: 0.1})


def test_float16_needs_cuda(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="float16 needs CUDA; on cpu take bfloat16"):
        trained(tmp_path, precision="float16")


def test_bfloat16_is_for_products_only(tmp_path: Path) -> None:
    kinds = set()

    class Watched(ToyTask):
        def draw(self, clips: int, generator: Generator) -> tuple[Tensor, Tensor]:
            kinds.add(("draw", (torch.ones(2, 2) @ torch.ones(2, 2)).dtype))
            return super().draw(clips, generator)

        def losses(self, batch: tuple[Tensor, Tensor], generator: Generator) -> dict[str, Tensor]:
            kinds.add(("losses", self.module(batch[0]).dtype))
            return super().losses(batch, generator)

    network = trained(tmp_path, Watched(), precision="bfloat16", steps=2)
    assert kinds == {("draw", torch.float32), ("losses", torch.bfloat16)}
    assert all(value.dtype == torch.float32 for value in network.state_dict().values())


def test_the_best_weights_are_kept_beside_the_last(tmp_path: Path) -> None:
    """Evaluations after the one that only asks for names: 5, 3, 4."""
    task = ToyTask(figures=[9.0, 5.0, 3.0, 4.0])
    last = trained(tmp_path, task, best_by="error", steps=15)
    best = load_file(tmp_path / "best.safetensors")
    ten = trained(tmp_path / "ten", steps=15, best_by="error", best_is="lowest")
    assert not all(torch.equal(best[name], last.state_dict()[name]) for name in best)
    require_equal(last, ten)
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize(
    ("best_is", "figures", "evaluation"),
    [("lowest", [5.0, 3.0, 4.0], 2), ("highest", [1.0, math.nan, 0.5], 1)],
)
def test_which_weights_are_best(
    tmp_path: Path, best_is: str, figures: list[float], evaluation: int
) -> None:
    saved = []
    task = ToyTask(figures=[9.0, *figures])
    task.save = lambda module, path: saved.append(len(figures) - len(task.figures))
    trained(tmp_path, task, best_by="error", best_is=best_is, steps=15)
    assert saved[-1] == evaluation


def test_a_figure_that_there_is_not_is_named_before_the_first_step(tmp_path: Path) -> None:
    task = ToyTask()
    with pytest.raises(InputError, match="no figure eror; it has error, other"):
        trained(tmp_path, task, best_by="eror")
    assert task.steps == 0


def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path) -> None:
    """The last good state stays, and the run can be continued from it."""
    task = ToyTask()
    task.before_losses = lambda step: math.nan if step == 7 else 1.0
    said = r"at step 7 the loss term squares is nan; the last good state is kept in .*last\.pt"
    with pytest.raises(InputError, match=said):
        trained(tmp_path, task)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    assert state["step"] == 4
    assert all(value.isfinite().all() for value in state["module"].values())
    require_equal(trained(tmp_path), trained(tmp_path / "undisturbed"))


def test_a_loss_that_is_no_number_before_anything_was_kept(tmp_path: Path) -> None:
    task = ToyTask()
    task.before_losses = lambda step: math.inf if step == 2 else 1.0
    with pytest.raises(InputError, match="at step 2 the loss term squares is inf; nothing was"):
        trained(tmp_path, task)


def endless(parameter: nn.Parameter, when: list[int], task: ToyTask) -> None:
    """Give a parameter infinite gradients at some steps, while the loss stays finite."""
    parameter.register_hook(lambda g: torch.full_like(g, math.inf) if task.steps in when else g)


def test_one_step_without_a_finite_gradient_is_left_out(tmp_path: Path) -> None:
    task = ToyTask()
    endless(task.module.head.weight, [3], task)
    network = trained(tmp_path, task)
    assert all(value.isfinite().all() for value in network.state_dict().values())
    row = next(row for row in rows(tmp_path) if "total" in row)
    assert row["skipped"] == 1 and math.isfinite(row["gradient"])
    assert "NaN" not in (tmp_path / "log.jsonl").read_text()


def test_many_steps_without_a_finite_gradient_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "MOST_SKIPPED", 5)
    task = ToyTask()
    endless(task.module.head.weight, [2, *range(4, 100)], task)
    with pytest.raises(InputError, match="no finite gradient in 6 steps up to 9"):
        trained(tmp_path, task)


def test_the_log_tells_what_was_waited_for(tmp_path: Path) -> None:
    class Slow(ToyTask):
        def draw(self, clips: int, generator: Generator) -> tuple[Tensor, Tensor]:
            time.sleep(0.02)
            return super().draw(clips, generator)

    trained(tmp_path, Slow(), steps=6)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    row = next(line for line in lines if "total" in line)
    assert 0.5 < row["waiting"] <= 1
    assert row["samples_per_second"] == pytest.approx(8 / row["seconds_per_step"], rel=0.01)
    assert row["seconds_per_step"] > 0.02


def test_a_compiled_module_has_the_same_names_and_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a compiler that only traces: the real one takes minutes."""
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    compiled = trained(tmp_path / "compiled", compile=True, steps=4)
    plain = trained(tmp_path / "plain", steps=4)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value)
    trained(tmp_path / "compiled", steps=6)


def test_tensorboard_that_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(InputError, match=r"run `pip install 'tensorboard>=2\.14'` \(the extra"):
        trained(tmp_path, tensorboard=True)


def test_tensorboard_shows_what_the_log_says(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trained(tmp_path, tensorboard=True)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    shown = {event.step: event.value for event in events.Scalars("evaluation/error")}
    told = {
        row["step"]: row["evaluation"]["error"] for row in rows(tmp_path) if "evaluation" in row
    }
    assert shown == pytest.approx(told)
    assert [event.step for event in events.Scalars("training/total")] == [12]


def test_processes_never_share_a_seed() -> None:
    """Generators read 32 bits of a seed: two processes far apart in 64 could draw the same."""
    draws = [torch.rand(1, generator=Generator().manual_seed(s)) for s in (1, 1 + 2**32)]
    assert torch.equal(*draws), "seeds differ in their last 32 bits, or do not differ"
    apart = [count * STRIDE % 2**32 for count in range(1, 61)]
    assert min(min(each, 2**32 - each) for each in apart) > 20_000_000
    assert step_seed(2, 5) == 2_000_011, "the first process draws as one alone"


@pytest.mark.parametrize(
    "name",
    [
        "temporal",
        "temporal_images",
        "temporal_images_small",
        "smoke",
        "video_datasets",
        "finetune_3dpw",
    ],
)
def test_shipped_configurations_are_valid(name: str) -> None:
    config = load_config(CONFIGS / f"{name}.yaml", TrainingConfig)
    lessons = [lesson.kind for lesson in config.lessons()]
    assert len(lessons) > 1 and lessons[-1] == "motion"


def test_the_smoke_configuration_has_every_lesson() -> None:
    config = load_config(CONFIGS / "smoke.yaml", TrainingConfig)
    lessons = [lesson.folder for lesson in config.lessons()]
    assert config.tokenizer_training is not None
    assert lessons == ["readings", "context", "frames", "motion"]
