"""The state of a run on disk: written whole or not at all, and gone on from exactly."""

import os
import pickle
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel

from temporal_hmr.errors import InputError
from temporal_hmr.training.optimizers import Mover
from temporal_hmr.whole_files import PARTIAL, whole_file

AnyModule = TypeVar("AnyModule", bound=nn.Module)

LAST = "last.pt"
BEST = "best.safetensors"
_DAMAGE = (
    *(OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, EOFError),
    *(ArithmeticError, MemoryError, AssertionError, struct.error, pickle.UnpicklingError),
)
"""What torch raises for files that are cut or garbled, and for contents that do not fit."""


@dataclass(frozen=True, eq=False)
class State(Generic[AnyModule]):
    """What training changes."""

    module: AnyModule
    average: AveragedModel
    movers: list[Mover]
    scaler: GradScaler

    @property
    def averaged(self) -> AnyModule:
        """The module with averaged weights."""
        return cast(AnyModule, self.average.module)


@dataclass
class Progress:
    """How far a run has come. It changes with every step."""

    step: int = 0
    """The last one done."""
    skipped: int = 0
    """Steps in a row, up to the last, that were left out for want of a finite gradient."""
    pending: list[dict[str, float]] = field(default_factory=list)
    """Figures of the steps since the last line of the log."""
    best: tuple[str, float] | None = None
    """The figure that chooses the best weights, and its best value so far."""


def save(state: State, progress: Progress, folder: Path) -> None:
    """Write `last.pt`; whenever the process is killed, a whole one lies there.

    Raises `InputError` where the disk does not take it; then the one before stays.
    """
    with whole_file(folder / LAST) as partial, partial.open("wb") as file:
        torch.save(
            {
                "step": progress.step,
                "skipped": progress.skipped,
                "pending": progress.pending,
                "best": progress.best,
                "module": state.module.state_dict(),
                "average": state.average.state_dict(),
                "optimizers": [mover.optimizer.state_dict() for mover in state.movers],
                "scaler": state.scaler.state_dict(),
            },
            file,
        )
        file.flush()
        os.fsync(file.fileno())


def resume(state: State, folder: Path) -> Progress:
    """Take over what `last.pt` holds; without one, the beginning.

    Raises `InputError` if it is damaged, or of a run with other parameters.
    """
    path = folder / LAST
    if not path.exists():
        return Progress()
    with _damage_told(path):
        saved = torch.load(path, map_location="cpu", weights_only=True)
    try:
        return _take_over(saved, state)
    except _DAMAGE as error:
        raise InputError(
            f"{path} is the state of a run with another configuration; "
            "continue it with its own, or give this one another --output folder"
        ) from error


def steps_done(folder: Path) -> int:
    """The last step of the state in a folder, 0 without one; raises `InputError` if damaged."""
    path = folder / LAST
    if not path.exists():
        return 0
    with _damage_told(path):
        return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["step"])


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except _DAMAGE as error:
        raise InputError(f"{path} is damaged; delete it to start that lesson again") from error


def _take_over(saved: dict[str, Any], state: State) -> Progress:
    state.module.load_state_dict(saved["module"])
    state.average.load_state_dict(saved["average"])
    optimizers = saved["optimizers"] if "optimizers" in saved else [saved["optimizer"]]
    for mover, optimizer in zip(state.movers, optimizers, strict=True):
        mover.optimizer.load_state_dict(optimizer)
    if saved.get("scaler"):
        state.scaler.load_state_dict(saved["scaler"])
    # States of earlier versions have none of these, and one optimizer.
    skipped, pending = saved.get("skipped", 0), saved.get("pending", [])
    best = saved.get("best")
    return Progress(saved["step"], skipped, pending, None if best is None else tuple(best))


def remove_partial(folder: Path) -> None:
    """Delete what a killed process left half-written."""
    for path in folder.glob(f"*{PARTIAL}"):
        path.unlink(missing_ok=True)


def replace_text(path: Path, text: str) -> None:
    """Write a file such that either its old or its new text is there at any time.

    Raises `InputError` where the disk does not take it.
    """
    with whole_file(path) as partial:
        partial.write_text(text, encoding="utf-8")
