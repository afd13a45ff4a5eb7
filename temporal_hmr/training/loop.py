"""The training loop: it knows optimisers, checkpoints and progress, and nothing of bodies."""

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from temporal_hmr.errors import InputError
from temporal_hmr.training import distributed
from temporal_hmr.training.checkpoints import (
    BEST,
    LAST,
    Progress,
    State,
    remove_partial,
    resume,
    save,
)
from temporal_hmr.training.journal import Journal
from temporal_hmr.training.optimizers import movers
from temporal_hmr.training.settings import LoopSettings
from temporal_hmr.training.step import Shows, Step, Task

AnyModule = TypeVar("AnyModule", bound=nn.Module)
LOOKS = "looks"
STEPS_PER_LINE = 50
MOST_SKIPPED = 50
"""Steps in a row without a finite gradient before a run gives up."""


def fit(
    task: Task[AnyModule, Any], settings: LoopSettings, folder: Path, device: torch.device
) -> AnyModule:
    """Train, resuming from `folder` if an unfinished run lies there; returns the averaged weights.

    Batches are drawn with a generator seeded by step, so an interrupted run continues on the same
    batches as an uninterrupted one. The log is `log.jsonl` in the folder, the state `last.pt`; of
    tasks that can show something, each evaluation leaves a picture in `looks`.
    Under `torchrun` all processes call this; the first one writes and evaluates.
    Raises `InputError` if the folder holds a run with other parameters, if settings do not go
    with module, figures, device or number of processes, and if the loss stops being a number.
    """
    make_folder(folder)
    clips = own_clips(settings, device)
    state = new_state(task.module.to(device), settings)
    progress = resume(state, folder)
    distributed.require_same_step(progress.step, device)
    keeper = _Keeper(task, state, settings, folder, progress) if distributed.is_first() else None
    if settings.compile:
        state.module.compile()
    step = Step(task, state, settings, clips, device)
    try:
        while progress.step < settings.steps:
            progress.step += 1
            figures = step.take(progress.step)
            _require_sound(figures, progress, folder)
            if keeper is not None:
                keeper.after_step(figures)
    finally:
        if keeper is not None:
            keeper.close()
    distributed.as_the_first_has(state.averaged)
    return state.averaged


def own_clips(settings: LoopSettings, device: torch.device) -> int:
    """Clips of a batch that this process draws.

    Raises `InputError` if settings do not go with device or number of processes.
    """
    if settings.precision == "float16" and device.type != "cuda":
        raise InputError(f"precision: float16 needs CUDA; on {device.type} take bfloat16")
    return distributed.own_share(settings.clips, settings.accumulate)


def make_folder(folder: Path) -> None:
    """Create a run folder; raises `InputError` if that cannot be done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {folder}: {error.strerror}") from error


def new_state(module: AnyModule, settings: LoopSettings) -> State[AnyModule]:
    """The state of a beginning run."""
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(settings.average))
    scaler = GradScaler("cuda", enabled=settings.precision == "float16")
    return State(module, average, movers(module, settings), scaler)


def _require_sound(figures: dict[str, float], progress: Progress, folder: Path) -> None:
    """Raise `InputError` for a loss that is no number; what the step did is not kept."""
    path = folder / LAST
    kept = f"the last good state is kept in {path}" if path.exists() else "nothing was kept yet"
    remedy = f"lower learning_rate or clip_norm, and delete {folder} for this lesson to begin again"
    wrong = [name for name in figures if name != "gradient" and not math.isfinite(figures[name])]
    if wrong:
        raise InputError(
            f"{folder.name}: at step {progress.step} the loss term {wrong[0]} is "
            f"{figures[wrong[0]]}; {kept}; {remedy}"
        )
    progress.skipped = 0 if math.isfinite(figures["gradient"]) else progress.skipped + 1
    if progress.skipped > MOST_SKIPPED:
        raise InputError(
            f"{folder.name}: no finite gradient in {progress.skipped} steps up to "
            f"{progress.step}; {kept}; {remedy}"
        )


class _Keeper:
    """What the first process does between steps: tell, evaluate, save."""

    def __init__(
        self, task: Task, state: State, settings: LoopSettings, folder: Path, progress: Progress
    ):
        self.task, self.state, self.settings = task, state, settings
        self.folder, self.progress = folder, progress
        remove_partial(folder)
        if settings.best_by is not None and progress.step < settings.steps:
            # Hours later would be late to hear that there is no such figure.
            chosen_figure(task.evaluate(state.averaged), settings, folder.name)
        self.journal = Journal(folder, progress, settings.clips, settings.tensorboard)
        self.bar = tqdm(
            total=settings.steps,
            initial=progress.step,
            desc=folder.name,
            disable=None,
            unit="step",
        )

    def after_step(self, figures: dict[str, float]) -> None:
        step, settings = self.progress.step, self.settings
        self.bar.update()
        self.journal.add(figures)
        last = step == settings.steps
        if last or step % STEPS_PER_LINE == 0:
            self.bar.set_postfix_str(f"loss {self.journal.flush():.4f}")
        if last or step % settings.evaluate_every == 0:
            self._evaluate()
        if last or step % settings.save_every == 0:
            save(self.state, self.progress, self.folder)

    def close(self) -> None:
        self.bar.close()
        self.journal.close()

    def _evaluate(self) -> None:
        figures = self.task.evaluate(self.state.averaged)
        self.journal.evaluation(figures)
        if self.bar.disable:
            self._tell(figures)
        if self.settings.looks and isinstance(self.task, Shows):
            path = self.folder / LOOKS / f"step_{self.progress.step:06}.png"
            self.task.show(self.state.averaged, path)
        if self.settings.best_by is None:
            return
        name = f"{self.settings.best_is} {self.settings.best_by}"
        value = chosen_figure(figures, self.settings, self.folder.name)
        sign = 1 if self.settings.best_is == "lowest" else -1
        earlier = self.progress.best
        if earlier is None or earlier[0] != name or sign * value < sign * earlier[1]:
            self.task.save(self.state.averaged, self.folder / BEST)
            self.progress.best = (name, value)

    def _tell(self, figures: Mapping[str, float]) -> None:
        """A line where no bar is: hours of silence would look like a run that hangs."""
        told = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        count = f"step {self.progress.step} of {self.settings.steps}"
        print(f"{self.folder.name}: {count}: {told}", file=sys.stderr, flush=True)


def chosen_figure(figures: Mapping[str, float], settings: LoopSettings, lesson: str) -> float:
    """The figure that `best_by` names; raises `InputError` if an evaluation has none such."""
    name = settings.best_by
    if name is None or name not in figures:
        raise InputError(f"best_by: {lesson} has no figure {name}; it has {', '.join(figures)}")
    return figures[name]
