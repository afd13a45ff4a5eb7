"""What a run tells of itself: `log.jsonl`, and TensorBoard where it is asked for."""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from temporal_hmr.dependencies import installation
from temporal_hmr.errors import InputError
from temporal_hmr.training.checkpoints import Progress, replace_text
from temporal_hmr.whole_files import refusals_told

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

SECONDS, WAITING = "seconds", "waiting"
"""Of a step, among its figures: how long it took, and how long of that its batch was awaited."""


class Journal:
    """Means of the steps' figures since the last line, and evaluations, as lines of JSON.

    A run that was killed after its last checkpoint repeats those steps: their lines are dropped.
    What was not yet in a line is part of `progress`, and so of the checkpoint.
    """

    def __init__(self, folder: Path, progress: Progress, clips: int, tensorboard: bool):
        """`clips` is the size of a batch; raises `InputError` for want of TensorBoard."""
        self.path = folder / "log.jsonl"
        self.progress = progress
        self.clips = clips
        self.writer = _writer(folder, progress.step) if tensorboard else None
        with contextlib.suppress(FileNotFoundError):
            kept = [row for row in _json_lines(self.path) if row["step"] <= progress.step]
            replace_text(self.path, "".join(json.dumps(row) + "\n" for row in kept))

    def add(self, figures: dict[str, float]) -> None:
        """Keep the figures of a step for the next line."""
        self.progress.pending.append(figures)

    def flush(self) -> float:
        """Write the line of the steps since the last; returns their mean loss.

        Raises `InputError` where the disk does not take it.
        """
        rows = self.progress.pending
        seconds = sum(row[SECONDS] for row in rows)
        line = {
            "seconds_per_step": round(seconds / len(rows), 4),
            WAITING: round(sum(row[WAITING] for row in rows) / max(seconds, 1e-9), 3),
            "samples_per_second": float(f"{self.clips * len(rows) / max(seconds, 1e-9):.4g}"),
            **{key: float(f"{value:.5g}") for key, value in _means(rows).items()},
        }
        self._write({"step": self.progress.step, **line}, "training", line)
        rows.clear()
        return line["total"]

    def evaluation(self, figures: Mapping[str, float]) -> None:
        """Write the line of an evaluation; raises `InputError` as `flush` does."""
        row = {"step": self.progress.step, "evaluation": dict(figures)}
        self._write(row, "evaluation", figures)

    def close(self) -> None:
        """Let TensorBoard write what it holds back."""
        if self.writer is not None:
            self.writer.close()

    def _write(self, row: dict[str, Any], kind: str, figures: Mapping[str, float]) -> None:
        with refusals_told(self.path), self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if self.writer is not None:
            for name, value in figures.items():
                self.writer.add_scalar(f"{kind}/{name}", value, self.progress.step)


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over steps; of `gradient` over those that had a finite one, the others `skipped`."""
    names = [name for name in rows[0] if name not in (SECONDS, WAITING)]
    means = {}
    for name in names:
        finite = [row[name] for row in rows if math.isfinite(row[name])]
        if len(finite) < len(rows):
            means["skipped"] = len(rows) - len(finite)
        if finite:
            means[name] = sum(finite) / len(finite)
    return means


def _writer(folder: Path, step: int) -> "SummaryWriter":
    try:
        from torch.utils.tensorboard.writer import SummaryWriter
    except ImportError as error:
        raise InputError(
            f"tensorboard is not installed: {installation('train')}, or leave tensorboard out of "
            "the configuration"
        ) from error
    return SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            row = json.loads(line)
            if isinstance(row, dict) and isinstance(row.get("step"), int):
                yield row
