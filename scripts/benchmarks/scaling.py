"""How time and memory of `track` grow with the frames of a video and with the people in it.

Every point is a process of its own, measured by `measure_memory`: its detector is a stand-in, for
a real one's time is that of its networks, a person more or less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from measure_memory import FPS, STAGES, in_own_process, parse

FRAMES, PEOPLE = (150, 300, 600, 1200), (1, 2, 4, 8)
_FIXED_FRAMES, _FIXED_PEOPLE = 300, 1


@dataclass(frozen=True)
class Point:
    """One video."""

    frames: int
    people: int
    seconds: float
    """Of everything but starting the process and loading the model."""
    mebibytes: float
    """Resident at most."""


def scaling(frames: Sequence[int] = FRAMES, people: Sequence[int] = PEOPLE) -> list[Point]:
    """Longer and longer videos, then more and more people in one; Linux only."""
    sizes = [(count, _FIXED_PEOPLE) for count in frames]
    sizes += [(_FIXED_FRAMES, count) for count in people]
    return [_point(*size) for size in sizes]


def _point(frames: int, people: int) -> Point:
    minutes = frames / FPS / 60
    row = in_own_process(minutes, parse(["--minutes", str(minutes), "--people", str(people)]))
    of_track = STAGES[:4]
    seconds = sum(row["seconds"][name] for name in of_track)
    return Point(frames, people, seconds, max(row["peaks"][name] for name in of_track))


def told(points: Sequence[Point]) -> str:
    """A table."""
    lines = [f"{'frames':>7} {'people':>7} {'seconds':>8} {'MiB':>6}"]
    lines += [f"{p.frames:7} {p.people:7} {p.seconds:8.1f} {p.mebibytes:6.0f}" for p in points]
    return "\n".join(lines)


def plot(points: Sequence[Point], file: Path) -> None:
    """Time and memory against frames and against people, each from zero on."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6))
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, sharey="row")
    ways = (
        ("frames", f"frames ({_FIXED_PEOPLE} person)", [p for p in points if _of_length(p)]),
        ("people", f"people ({_FIXED_FRAMES} frames)", [p for p in points if _of_people(p)]),
    )
    for column, (name, label, measured) in enumerate(ways):
        chosen = sorted(measured, key=lambda point: getattr(point, name))
        across = [getattr(point, name) for point in chosen]
        for row, (value, unit) in enumerate((("seconds", "seconds"), ("mebibytes", "MiB"))):
            shown = axes[row, column]
            shown.plot(across, [getattr(point, value) for point in chosen], "o-")
            shown.set_xlim(0)
            shown.set_ylim(0)
            shown.grid(alpha=0.3)
            shown.set_xlabel(label)
            if column == 0:
                shown.set_ylabel(unit)
    figure.savefig(file, dpi=120)


def _of_length(point: Point) -> bool:
    return point.people == _FIXED_PEOPLE


def _of_people(point: Point) -> bool:
    return point.frames == _FIXED_FRAMES
