#!/usr/bin/env python3
"""Time steps of training against a plain loop, and tell what share of them waits for data.

    python scripts/benchmark_training.py

Made-up motion is learned from, seen through random cameras: by the lessons of configs/temporal.yaml
after its tokenizer, and by the model of configs/temporal_images.yaml on windows that are rendered
as they are drawn. The plain loop draws, goes forward and back, and steps AdamW: no threads, no
average, no clipping, float32. Each row is measured in a process of its own; the plain loop before
and after the others of its lesson, which tells how steady the machine was.
"""

import multiprocessing
import os
import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from statistics import median

import torch
from torch import Generator

from temporal_hmr.body.load import load_body
from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.configuration import load_config
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.synthetic import Augmentation, MotionBank
from temporal_hmr.data.take import MocapTake
from temporal_hmr.device import choose_device
from temporal_hmr.errors import InputError
from temporal_hmr.losses import LossWeights
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.rendering.renderer import Renderer
from temporal_hmr.rendering.settings import RenderingConfig
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.training.journal import SECONDS, WAITING
from temporal_hmr.training.loop import new_state
from temporal_hmr.training.opening import ahead
from temporal_hmr.training.run import TrainingConfig
from temporal_hmr.training.settings import LoopSettings
from temporal_hmr.training.sources import MocapWindows
from temporal_hmr.training.step import Step
from temporal_hmr.training.tasks import HmrTask, Lesson

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
WORKERS = (0, 2)
IMAGE_CLIPS = {"cpu": 1, "cuda": 8}
"""Clips of images in a batch: what a step can be waited for."""
QUICK_SHARE, QUICK_FRAMES = 8, 4
"""With `--quick` one clip in so many, and so many frames of images."""


@dataclass(frozen=True)
class Subject:
    """A lesson to be timed."""

    name: str
    model: HmrConfig
    lesson: Lesson
    settings: LoopSettings
    frames: int
    """Of a clip; how many clips there are in a batch the settings say."""


@dataclass(frozen=True)
class Way:
    """How its steps are taken."""

    workers: int
    precision: str
    compiled: bool = False
    plain: bool = False


PLAIN = Way(0, "float32", plain=True)


@dataclass(frozen=True)
class Timing:
    """Steps as they were taken."""

    seconds: tuple[float, ...]
    """Of each step."""
    waiting: tuple[float, ...]
    """Of that, until its batch was there."""
    megabytes: float
    """At the peak: allocated on a GPU, else of the whole process."""

    def and_again(self, other: "Timing") -> "Timing":
        """Both measurements as one."""
        peak = max(self.megabytes, other.megabytes)
        return Timing(self.seconds + other.seconds, self.waiting + other.waiting, peak)


@dataclass(frozen=True)
class Budget:
    """How much is measured."""

    warm_up: int
    """Steps that are not counted, in which threads, caches and compilers start."""
    steps: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, lesson by lesson."""
    parser = DoorParser("benchmark_training.py", (__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small batches, few steps")
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="counted steps (10)")
    parser.add_argument("--lessons", nargs="+", metavar="NAME", help="only these (all)")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu or cuda (auto)")
    options = parser.parse_args(arguments)
    device = choose_device(options.device)
    subjects = {each.name: each for each in all_subjects(device, options.quick)}
    if unknown := set(options.lessons or ()) - set(subjects):
        raise InputError(f"there is no lesson {min(unknown)}; there are {', '.join(subjects)}")
    budget = Budget(1, 3) if options.quick else Budget(6, options.steps)
    print(machine(device), flush=True)
    print(heading(), flush=True)
    for name in options.lessons or subjects:
        for line in lines(subjects[name], budget, device, options.quick):
            print(line, flush=True)


def all_subjects(device: torch.device, quick: bool) -> list[Subject]:
    """The lessons of the default model after its tokenizer, and single images in long clips."""
    config = load_config(CONFIGS / "temporal.yaml", TrainingConfig)
    subjects = []
    for each in config.lessons():
        clips = -(-each.settings.clips // (QUICK_SHARE if quick else 1))
        frames = config.model.window if each.long else config.short_clip
        settings = each.settings.model_copy(update={"clips": clips})
        subjects.append(Subject(each.folder, config.model, each.kind, settings, frames))
    images = load_config(CONFIGS / "temporal_images.yaml", TrainingConfig)
    assert images.frame_training is not None, "its first lesson"
    clips = 1 if quick else IMAGE_CLIPS[device.type]
    settings = images.frame_training.model_copy(update={"clips": clips})
    frames = QUICK_FRAMES if quick else images.model.window
    return [*subjects, Subject("images", images.model, "frames", settings, frames)]


def ways(subject: Subject, quick: bool) -> list[Way]:
    """Keypoints as configured; images in all ways, compiled ones unless it must be quick."""
    if subject.model.image_side() is None:
        return [Way(workers, subject.settings.precision) for workers in WORKERS]
    compiled = (False,) if quick else (False, True)
    return [Way(*each) for each in product(WORKERS, ("float32", "bfloat16"), compiled)]


def lines(subject: Subject, budget: Budget, device: torch.device, quick: bool) -> Iterator[str]:
    """The rows of one lesson; what could not be measured says why."""
    before = measured_apart(subject, PLAIN, budget, device)
    others = {way: measured_apart(subject, way, budget, device) for way in ways(subject, quick)}
    after = measured_apart(subject, PLAIN, budget, device)
    if isinstance(before, str) or isinstance(after, str):
        why = before if isinstance(before, str) else after
        yield f"{subject.name}: the plain loop failed: {why}"
        return
    reference = before.and_again(after)
    for way, timing in {PLAIN: reference, **others}.items():
        yield row(subject, way, timing, reference)


def measured_apart(
    subject: Subject, way: Way, budget: Budget, device: torch.device
) -> Timing | str:
    """In a process of its own, whose peak of memory is its own too; or why it failed."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_attempt, (subject, way, budget, device))


def _attempt(subject: Subject, way: Way, budget: Budget, device: torch.device) -> Timing | str:
    try:
        return measure(subject, way, budget, device)
    except Exception as error:
        # Compilers and full memories fail in many ways; the other rows still count.
        return (str(error).strip().splitlines() or [type(error).__name__])[0]


def measure(subject: Subject, way: Way, budget: Budget, device: torch.device) -> Timing:
    """Take steps in this process."""
    torch.manual_seed(0)
    model = Hmr(subject.model).to(device)
    with ahead(made_up_windows(subject), way.workers) as windows:
        task = HmrTask(model, windows, LossWeights(), device, subject.lesson)
        take = plain_steps if way.plain else our_steps
        steps = take(task, subject.settings, way, budget.warm_up + budget.steps)
        taken = list(steps)[budget.warm_up :]
    seconds, waiting = zip(*taken, strict=True)
    return Timing(seconds, waiting, _peak_megabytes(device))


def plain_steps(
    task: HmrTask, settings: LoopSettings, way: Way, count: int
) -> Iterator[tuple[float, float]]:
    """Seconds of each step and of its drawing, in a loop as one would write it down."""
    trained = [value for value in task.module.parameters() if value.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=settings.learning_rate)
    task.module.train()
    for number in range(count):
        begun = time.monotonic()
        generator = Generator().manual_seed(number)
        batch = task.draw(settings.clips, generator)
        drawn = time.monotonic() - begun
        total = torch.stack(list(task.losses(batch, generator).values())).sum()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        # Asking for the value waits for the GPU.
        float(total.detach())
        yield time.monotonic() - begun, drawn


def our_steps(
    task: HmrTask, settings: LoopSettings, way: Way, count: int
) -> Iterator[tuple[float, float]]:
    """Seconds of each step and of its waiting, in our loop."""
    changes = {"precision": way.precision, "compile": way.compiled}
    settings = settings.model_copy(update=changes)
    state = new_state(task.module, settings)
    if settings.compile:
        state.module.compile()
    step = Step(task, state, settings, settings.clips, task.device)
    for number in range(1, count + 1):
        figures = step.take(number)
        yield figures[SECONDS], figures[WAITING]


def made_up_windows(subject: Subject) -> MocapWindows:
    """Someone who waves all limbs while walking, with images for a model that looks at them."""
    body = PosedBody(load_body()).requires_grad_(False)
    times = torch.arange(600)[:, None, None] / 30
    generator = Generator().manual_seed(0)
    rate, phase = (torch.rand(1, 24, 3, generator=generator) for _ in range(2))
    turns = 0.4 * torch.sin(2 * torch.pi * (rate * times + phase))
    turns[:, SMPL24.index("pelvis")] = 0
    walk = torch.tensor([0.0, 0.95, 0.0]) + times[:, 0] * torch.tensor([0.3, 0.0, 0.5])
    take = MocapTake("waving", "nobody", axis_angle_to_matrix(turns), walk, 30.0, torch.zeros(10))
    bank, side = MotionBank.of([take]), subject.model.image_side()
    renderer = None if side is None else Renderer(body.body, RenderingConfig(side=side))
    varied, noise = Augmentation(), DetectorNoise()
    return MocapWindows(bank, bank, body, varied, noise, subject.frames, renderer=renderer)


def _peak_megabytes(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Linux counts kilobytes, macOS bytes.
    return peak / (2**20 if sys.platform == "darwin" else 2**10)


def machine(device: torch.device) -> str:
    """What it ran on, and how busy that was."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    load = f"load {os.getloadavg()[0]:.1f} before" if hasattr(os, "getloadavg") else ""
    cores = f"{os.cpu_count()} cores, {torch.get_num_threads()} threads"
    return f"{name}; {cores}; torch {torch.__version__}; {load}"


def heading() -> str:
    """Names of the columns."""
    return (
        f"{'lesson':9} {'clips':>9} {'workers':>7} {'optimizer':>9} {'precision':>9} "
        f"{'compiled':>8} "
        f"{'step, s: min/median/max':>24} {'clips/s':>8} {'frames/s':>8} {'waiting':>7} "
        f"{'to plain':>8} {'peak, MB':>8}"
    )


def row(subject: Subject, way: Way, timing: Timing | str, reference: Timing) -> str:
    """One line; rates are over all counted steps together."""
    clips = subject.settings.clips
    optimizer = "adamw" if way.plain else subject.settings.optimizer
    start = (
        f"{subject.name:9} {f'{clips} x {subject.frames}':>9} "
        f"{'plain' if way.plain else way.workers:>7} {optimizer:>9} {way.precision:>9} "
        f"{'yes' if way.compiled else 'no':>8}"
    )
    if isinstance(timing, str):
        return f"{start} {timing}"
    seconds = timing.seconds
    spread = f"{min(seconds):.3f}/{median(seconds):.3f}/{max(seconds):.3f}"
    rate, plain = (clips * len(each) / sum(each) for each in (seconds, reference.seconds))
    return (
        f"{start} {spread:>24} {rate:8.2f} {rate * subject.frames:8.1f} "
        f"{sum(timing.waiting) / sum(seconds):7.0%} {rate / plain:8.2f} {timing.megabytes:8.0f}"
    )


if __name__ == "__main__":
    run_door(main)
