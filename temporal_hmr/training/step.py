"""One step of training: what a task says it means, and how it is taken."""

import contextlib
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Generator, Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from temporal_hmr.tokenizers.codebook import gathering
from temporal_hmr.training import distributed
from temporal_hmr.training.batches import split
from temporal_hmr.training.checkpoints import State
from temporal_hmr.training.journal import SECONDS, WAITING
from temporal_hmr.training.schedule import share_of_rate
from temporal_hmr.training.settings import LoopSettings

AnyModule = TypeVar("AnyModule", bound=nn.Module)
Batch = TypeVar("Batch")


class Task(Protocol[AnyModule, Batch]):
    """What one training step means."""

    @property
    def module(self) -> AnyModule:
        """What is trained."""
        ...

    def draw(self, clips: int, generator: Generator) -> Batch:
        """A batch, drawn with the generator: tensors with the axis of clips first."""
        ...

    def losses(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Weighted terms, means over the clips; their sum is minimised."""
        ...

    def evaluate(self, module: AnyModule) -> dict[str, float]:
        """Figures on held-out data."""
        ...

    def save(self, module: AnyModule, path: Path) -> None:
        """Write weights with the settings that built the module."""
        ...


@runtime_checkable
class Shows(Protocol):
    """What a task may do besides, for people to look at."""

    def show(self, module: Any, path: Path) -> None:
        """Draw what the module makes of held-out data, as a PNG."""
        ...


class _Terms(nn.Module):
    """The losses of a task as a module, which is what processes can share gradients of."""

    def __init__(self, task: Task):
        super().__init__()
        self.module = task.module
        self._losses = task.losses

    def forward(self, batch: Any, generator: Generator) -> dict[str, Tensor]:
        return self._losses(batch, generator)


class Step:
    """One step: draw, compute, average over processes, clip, move, remember."""

    def __init__(
        self,
        task: Task,
        state: State,
        settings: LoopSettings,
        clips: int,
        device: torch.device,
    ):
        self.draw = task.draw
        self.terms = distributed.sharing_gradients(_Terms(task))
        self.state, self.settings = state, settings
        self.clips = clips
        self.device = device

    def take(self, step: int) -> dict[str, float]:
        """Train on the batch of a step; returns the terms, their total, and what else is told."""
        begun = time.monotonic()
        settings, state = self.settings, self.state
        state.module.train()
        rate = settings.learning_rate * share_of_rate(
            settings.schedule, step, settings.warmup, settings.steps
        )
        for mover in state.movers:
            mover.set_rate(rate)
        seed = distributed.step_seed(settings.seed, step)
        generator = Generator().manual_seed(seed)
        torch.manual_seed(seed)
        batch = self.draw(self.clips, generator)
        waited = time.monotonic() - begun
        state.module.zero_grad(set_to_none=True)
        terms = distributed.mean_over_processes(self._backward(batch, generator), self.device)
        for mover in state.movers:
            state.scaler.unscale_(mover.optimizer)
        norm = nn.utils.clip_grad_norm_(state.module.parameters(), settings.clip_norm)
        # One bad batch must not poison every weight; it is left out, and the log shows it. (The
        # average takes buffers such as codebooks over as they are: moving averages already.)
        if torch.isfinite(norm):
            for mover in state.movers:
                state.scaler.step(mover.optimizer)
            state.average.update_parameters(state.module)
        state.scaler.update()
        figures = terms | {"gradient": float(norm), "rate": rate}
        return figures | {SECONDS: time.monotonic() - begun, WAITING: waited}

    def _backward(self, batch: object, generator: Generator) -> dict[str, float]:
        """Accumulate the gradient of the batch; returns the means of the terms over its parts."""
        parts = self.settings.accumulate
        sums: dict[str, float] = {}
        for index, part in enumerate(split(batch, parts)):
            with contextlib.ExitStack() as until_the_last:
                if index + 1 < parts:
                    until_the_last.enter_context(distributed.not_yet(self.terms))
                    until_the_last.enter_context(gathering(self.state.module))
                with _attention(self.device), self._products():
                    terms = self.terms(part, generator)
                    total = torch.stack(list(terms.values())).sum()
                self.state.scaler.scale(total / parts).backward()
            for name, value in (terms | {"total": total}).items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
        return {name: value / parts for name, value in sums.items()}

    def _products(self) -> AbstractContextManager[object]:
        precision = self.settings.precision
        kind = torch.float16 if precision == "float16" else torch.bfloat16
        return torch.autocast(self.device.type, kind, enabled=precision != "float32")


def _attention(device: torch.device) -> AbstractContextManager[object]:
    """On the CPU the fused attention's backward pass is many times slower than plain products."""
    if device.type == "cpu":
        return sdpa_kernel(SDPBackend.MATH)
    return contextlib.nullcontext()
