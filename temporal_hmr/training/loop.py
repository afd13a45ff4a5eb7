"""The training loop: it knows optimisers, checkpoints and progress, and nothing of bodies."""

import contextlib
import json
import pickle
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar, cast

import torch
from pydantic import Field
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class LoopSettings(Config):
    """How long and how fast to train."""

    steps: int = Field(gt=0)
    clips: int = Field(gt=0)
    """Clips in a batch."""
    learning_rate: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: int = Field(default=300, gt=0)
    clip_norm: float = Field(default=1.0, gt=0)
    average: float = Field(default=0.998, ge=0, lt=1)
    """Decay of the moving average of the weights, which is what is kept in the end."""
    bfloat16: bool = False
    """Mixed precision; pays where the processor multiplies bfloat16 in hardware."""
    save_every: int = Field(default=250, gt=0)
    evaluate_every: int = Field(default=1000, gt=0)
    seed: int = 0


class Task(Protocol[AnyModule]):
    """What one training step means."""

    @property
    def module(self) -> AnyModule:
        """What is trained."""
        ...

    def losses(self, clips: int, generator: Generator) -> dict[str, Tensor]:
        """Weighted terms of one batch, drawn with the generator; their sum is minimised."""
        ...

    def evaluate(self, module: AnyModule) -> dict[str, float]:
        """Figures on held-out data."""
        ...


@dataclass(frozen=True, eq=False)
class _State(Generic[AnyModule]):
    module: AnyModule
    average: AveragedModel
    optimizer: torch.optim.Optimizer


def fit(
    task: Task[AnyModule], settings: LoopSettings, folder: Path, device: torch.device
) -> AnyModule:
    """Train, resuming from `folder` if an unfinished run lies there; returns the averaged weights.

    Batches are drawn with a generator seeded by step, so an interrupted run continues on the same
    batches as an uninterrupted one. The log is `log.jsonl` in the folder, the state `last.pt`.
    Raises `InputError` if the folder holds a run with other parameters.
    """
    make_folder(folder)
    state = _prepare(task.module.to(device), settings)
    averaged = cast(AnyModule, state.average.module)
    step = _resume(state, folder)
    log = _Log(folder / "log.jsonl", step)
    bar = tqdm(total=settings.steps, initial=step, desc=folder.name, disable=None, unit="step")
    try:
        while step < settings.steps:
            step += 1
            terms = _step(task, state, settings, step, device)
            bar.update()
            log.add(step, terms)
            if step % 50 == 0 or step == settings.steps:
                bar.set_postfix_str(log.flush(step))
            if step % settings.evaluate_every == 0 or step == settings.steps:
                log.write({"step": step, "evaluation": task.evaluate(averaged)})
            if step % settings.save_every == 0 or step == settings.steps:
                _save(state, step, folder)
    finally:
        bar.close()
    return averaged


def make_folder(folder: Path) -> None:
    """Create a run folder; raises `InputError` if that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error


def _prepare(module: nn.Module, settings: LoopSettings) -> _State:
    trained = [p for p in module.parameters() if p.requires_grad]
    # Norms and biases are not decayed: pulling them to zero only fights the layer they serve.
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.99))
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
    return _State(module, average, optimizer)


def _step(
    task: Task, state: _State, settings: LoopSettings, step: int, device: torch.device
) -> dict[str, float]:
    state.module.train()
    rate = settings.learning_rate * _schedule(step, settings)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    generator = Generator().manual_seed(settings.seed * 1_000_003 + step)
    torch.manual_seed(settings.seed * 1_000_003 + step)
    with (
        _attention(device),
        torch.autocast(device.type, torch.bfloat16, enabled=settings.bfloat16),
    ):
        terms = task.losses(settings.clips, generator)
        total = torch.stack(list(terms.values())).sum()
    state.optimizer.zero_grad(set_to_none=True)
    total.backward()
    norm = nn.utils.clip_grad_norm_(state.module.parameters(), settings.clip_norm)
    # One bad batch must not poison every weight; it is left out, and the log shows it. (The average
    # takes buffers such as codebooks over as they are: they are moving averages already.)
    if torch.isfinite(norm):
        state.optimizer.step()
        state.average.update_parameters(state.module)
    return {name: float(term.detach()) for name, term in terms.items()} | {
        "total": float(total.detach()),
        "gradient": float(norm),
        "rate": rate,
    }


def _attention(device: torch.device) -> AbstractContextManager[object]:
    """On the CPU the fused attention's backward pass is many times slower than plain products."""
    if device.type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return contextlib.nullcontext()


def _schedule(step: int, settings: LoopSettings) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    if step <= settings.warmup:
        return step / settings.warmup
    progress = (step - settings.warmup) / max(settings.steps - settings.warmup, 1)
    return 0.01 + 0.99 * 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * progress))))


def _save(state: _State, step: int, folder: Path) -> None:
    partial = folder / "last.pt.partial"
    torch.save(
        {
            "step": step,
            "module": state.module.state_dict(),
            "average": state.average.state_dict(),
            "optimizer": state.optimizer.state_dict(),
        },
        partial,
    )
    partial.replace(folder / "last.pt")


def _resume(state: _State, folder: Path) -> int:
    path = folder / "last.pt"
    if not path.exists():
        return 0
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, EOFError, OSError, RuntimeError) as error:
        raise InputError(f"{path} is damaged; delete it to start that lesson again") from error
    try:
        state.module.load_state_dict(saved["module"])
        state.average.load_state_dict(saved["average"])
        state.optimizer.load_state_dict(saved["optimizer"])
    except (RuntimeError, ValueError, KeyError) as error:
        raise InputError(
            f"{path} is the state of a run with another configuration; "
            "continue it with its own, or give this one another --output folder"
        ) from error
    return int(saved["step"])


class _Log:
    """Means of the losses since the last line, as JSON lines."""

    def __init__(self, path: Path, step: int):
        self.path = path
        self.rows: list[dict[str, float]] = []
        self.since = time.monotonic()
        with contextlib.suppress(FileNotFoundError):
            # A run that was killed after its last checkpoint repeats those steps: drop their lines.
            kept = [row for row in _json_lines(path) if row["step"] <= step]
            path.write_text("".join(json.dumps(row) + "\n" for row in kept))

    def add(self, step: int, terms: dict[str, float]) -> None:
        self.rows.append(terms)

    def flush(self, step: int) -> str:
        means = {key: sum(row[key] for row in self.rows) / len(self.rows) for key in self.rows[0]}
        seconds = (time.monotonic() - self.since) / len(self.rows)
        self.write({"step": step, "seconds_per_step": round(seconds, 4), **_rounded(means)})
        self.rows.clear()
        self.since = time.monotonic()
        return f"loss {means['total']:.4f}"

    def write(self, row: dict[str, object]) -> None:
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def _rounded(values: dict[str, float]) -> dict[str, float]:
    return {key: float(f"{value:.5g}") for key, value in values.items()}


def _json_lines(path: Path) -> Iterator[dict[str, int]]:
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            yield json.loads(line)
