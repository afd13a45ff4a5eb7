"""Work done in several ways in turn, and the table of what that took."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

Work = Callable[[], object]


@dataclass(frozen=True)
class Settings:
    """How everything is measured."""

    repeat: int
    """Rounds; each does the work in every way once."""
    device: torch.device
    folder: Path
    """For files that are made on the way."""
    warm_up: int = 1
    """Rounds before, in which threads, caches and allocators start."""
    frames: int = 300
    """Of the longer clip of those that are tracked from end to end; 30 are a second."""


@dataclass(frozen=True)
class Timing:
    """The same work done several times."""

    wall: tuple[float, ...]
    """Seconds of each round."""
    cpu: tuple[float, ...]
    """Seconds that all threads of this process together worked in it."""


@dataclass(frozen=True)
class Row:
    """One line of the table: our way, and another one's if there is one."""

    part: str
    work: str
    amount: int
    """How many of `unit` each round does."""
    unit: str
    ours: Timing
    against: str = ""
    theirs: Timing | None = None
    note: str = ""

    def ratios(self) -> list[float]:
        """How many times as long the other way took, round by round."""
        if self.theirs is None:
            return []
        pairs = zip(self.theirs.wall, self.ours.wall, strict=True)
        return [theirs / ours for theirs, ours in pairs]

    def milliseconds(self, timing: Timing) -> tuple[float, float, float]:
        """Least, median and most for one of `unit`."""
        each = [1000 * seconds / self.amount for seconds in timing.wall]
        return min(each), median(each), max(each)

    def as_json(self) -> dict[str, object]:
        """Words and numbers that JSON knows; times in milliseconds for one of `unit`."""
        names = ("min", "median", "max")
        told: dict[str, object] = {"part": self.part, "work": self.work, "unit": self.unit}
        told["ours_ms"] = dict(zip(names, self.milliseconds(self.ours), strict=True))
        told["ours_cpu_ms"] = 1000 * median(self.ours.cpu) / self.amount
        if self.theirs is not None:
            told["against"] = self.against
            told["theirs_ms"] = dict(zip(names, self.milliseconds(self.theirs), strict=True))
            told["theirs_cpu_ms"] = 1000 * median(self.theirs.cpu) / self.amount
            ratios = self.ratios()
            told["ratio"] = {"min": min(ratios), "median": median(ratios), "max": max(ratios)}
        return told | ({"note": self.note} if self.note else {})


def in_turn(ways: Mapping[str, Work], settings: Settings) -> dict[str, Timing]:
    """Do the work in each way, round by round, so that a busy machine slows all of them alike.

    Every other round goes through them backwards: nobody is always the one who finds caches warm.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    names = list(ways)
    for number in range(-settings.warm_up, settings.repeat):
        for name in names if number % 2 == 0 else reversed(names):
            seconds = _seconds(ways[name], settings.device)
            if number >= 0:
                taken[name].append(seconds)
    columns = {name: tuple(zip(*rounds, strict=True)) for name, rounds in taken.items()}
    return {name: Timing(wall, cpu) for name, (wall, cpu) in columns.items()}


def _seconds(work: Work, device: torch.device) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def heading() -> str:
    """Names of the columns."""
    spread = "min/median/max"
    return (
        f"{'part':10} {'work':34} {'of':>13} {'ours, ms: ' + spread:>26} "
        f"{'against':22} {'theirs, ms: ' + spread:>28} {'ratio: ' + spread:>22}  note"
    )


def line(row: Row) -> str:
    """One row; times are for one of its unit, ratios how many times as fast ours is."""
    ours = "/".join(f"{each:.3g}" for each in row.milliseconds(row.ours))
    theirs = ratio = ""
    if row.theirs is not None:
        theirs = "/".join(f"{each:.3g}" for each in row.milliseconds(row.theirs))
        ratios = row.ratios()
        ratio = "/".join(f"{each:.3g}" for each in (min(ratios), median(ratios), max(ratios)))
    return (
        f"{row.part:10} {row.work:34} {row.unit:>13} {ours:>26} "
        f"{row.against:22} {theirs:>28} {ratio:>22}  {row.note}"
    ).rstrip()


def table(rows: Sequence[Row]) -> str:
    """All of it."""
    return "\n".join([heading(), *(line(row) for row in rows)])
