"""A task so small that a run of it is a matter of milliseconds."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Generator, Tensor, nn

from temporal_hmr.training.loop import fit
from temporal_hmr.training.settings import LoopSettings

CPU = torch.device("cpu")
TIMES = ("seconds_per_step", "waiting", "samples_per_second")


class Network(nn.Module):
    """Two layers, something that a run does not train, and a buffer that moves."""

    mean: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 8), nn.Tanh())
        self.head = nn.Linear(8, 1)
        self.frozen = nn.Linear(2, 2).requires_grad_(False)
        self.idle = nn.Linear(3, 3)
        self.register_buffer("mean", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean.lerp_(x.detach().mean(), 0.1)
        return self.head(self.encoder(x))[..., 0]


class ToyTask:
    """The sum of the inputs is to be found."""

    def __init__(self, figures: Sequence[float] = ()) -> None:
        """`figures` are what evaluations say, one after the other; else the true error."""
        torch.manual_seed(0)
        self.module = Network()
        self.figures = list(figures)
        self.before_losses: Callable[[int], float] = lambda _: 1.0
        self.noise = 0.001
        self.steps = 0

    def draw(self, clips: int, generator: Generator) -> tuple[Tensor, Tensor]:
        x = torch.rand(clips, 4, generator=generator)
        return x, x.sum(-1)

    def losses(self, batch: tuple[Tensor, Tensor], generator: Generator) -> dict[str, Tensor]:
        x, y = batch
        found = self.module(x)
        self.steps += 1
        factor = self.before_losses(self.steps)
        # Noise from the global generator, as dropout would draw it.
        shaken = found + self.noise * torch.randn(())
        return {"squares": factor * ((shaken - y) ** 2).mean(), "size": 0.01 * (found**2).mean()}

    @torch.no_grad()
    def evaluate(self, module: Network) -> dict[str, float]:
        module.eval()
        if self.figures:
            return {"error": self.figures.pop(0), "other": 1.0}
        x, y = self.draw(16, Generator().manual_seed(9))
        return {"error": float(((module(x) - y) ** 2).mean()), "other": 1.0}

    def save(self, module: Network, path: Path) -> None:
        save_file(dict(module.state_dict()), path)


def settings(**changes: object) -> LoopSettings:
    """Twelve steps, of which every fourth is saved."""
    values = {
        "steps": 12,
        "clips": 8,
        "warmup": 3,
        "learning_rate": 0.01,
        "save_every": 4,
        "evaluate_every": 5,
    }
    return LoopSettings.model_validate(values | changes)


def trained(folder: Path, task: ToyTask | None = None, **changes: object) -> Network:
    """The averaged network of a run."""
    return fit(task or ToyTask(), settings(**changes), folder, CPU)


def rows(folder: Path) -> list[dict]:
    """The log's lines, without what depends on the machine."""
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in row if key not in TIMES} for row in lines]


def require_equal(first: nn.Module, second: nn.Module) -> None:
    """The same names, and the same bits."""
    ours, others = first.state_dict(), second.state_dict()
    assert ours.keys() == others.keys()
    assert not [name for name in ours if not torch.equal(ours[name], others[name])]
