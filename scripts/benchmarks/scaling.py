"""How time and memory of `track` grow with the frames of a video and with the people in it.

Every point is a process of its own, measured by `measure_memory`: its detector is a stand-in, for
a real one's time is that of its networks, a person more or less.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from measure_memory import FPS, STAGES, in_own_process, parse

FRAMES, PEOPLE = (300, 900, 1800, 3600), (1, 2, 4, 8)
_FIXED_FRAMES, _FIXED_PEOPLE = 300, 1
_FIXED = {"frames": f"{_FIXED_PEOPLE} person", "people": f"{_FIXED_FRAMES} frames"}


@dataclass(frozen=True)
class Point:
    """One video."""

    frames: int
    people: int
    seconds: float
    """Of everything but starting the process and loading the model."""
    mebibytes: float
    """Resident at most."""


@dataclass(frozen=True)
class Growth:
    """A straight line through what was measured, by least squares."""

    at_none: float
    each: float
    """For one frame, or one person, more."""

    @staticmethod
    def of(across: Sequence[int], values: Sequence[float]) -> "Growth":
        each, at_none = np.polyfit(across, values, 1)
        return Growth(float(at_none), float(each))


@dataclass(frozen=True, eq=False)
class Way:
    """One thing that grows, all else the same."""

    name: str
    label: str
    points: Sequence[Point]

    def across(self) -> list[int]:
        return [getattr(point, self.name) for point in self.points]

    def values(self, value: str) -> list[float]:
        return [getattr(point, value) for point in self.points]

    def growth(self, value: str) -> Growth | None:
        """None of fewer than two points."""
        return Growth.of(self.across(), self.values(value)) if len(self.points) > 1 else None

    def told(self) -> list[str]:
        """What one more takes."""
        seconds, mebibytes = self.growth("seconds"), self.growth("mebibytes")
        if seconds is None or mebibytes is None:
            return []
        scale = 1000 if self.name == "frames" else 1
        per = "1000 frames" if self.name == "frames" else "a person"
        return [
            f"{scale * seconds.each:.1f} s for {per} ({_FIXED[self.name]})",
            f"{scale * mebibytes.each:.0f} MiB for {per} beside {mebibytes.at_none:.0f}",
        ]


def scaling(frames: Sequence[int] = FRAMES, people: Sequence[int] = PEOPLE) -> list[Point]:
    """Longer and longer videos, then more and more people in one; Linux only."""
    sizes = [(count, _FIXED_PEOPLE) for count in frames]
    sizes += [(_FIXED_FRAMES, count) for count in people]
    return [_point(*size) for size in dict.fromkeys(sizes)]


def _point(frames: int, people: int) -> Point:
    minutes = frames / FPS / 60
    row = in_own_process(minutes, parse(["--minutes", str(minutes), "--people", str(people)]))
    of_track = STAGES[:4]
    seconds = sum(row["seconds"][name] for name in of_track)
    return Point(frames, people, seconds, max(row["peaks"][name] for name in of_track))


def told(points: Sequence[Point]) -> str:
    """A table, and what one more takes."""
    lines = [f"{'frames':>7} {'people':>7} {'seconds':>8} {'MiB':>6}"]
    lines += [f"{p.frames:7} {p.people:7} {p.seconds:8.1f} {p.mebibytes:6.0f}" for p in points]
    return "\n".join([*lines, *(text for way in _ways(points) for text in way.told())])


def plot(points: Sequence[Point], file: Path) -> None:
    """Time and memory against frames and against people, each from zero on."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2, sharey="row")
    for column, way in enumerate(_ways(points)):
        across = way.across()
        for row, (value, unit) in enumerate((("seconds", "seconds"), ("mebibytes", "MiB at most"))):
            shown, growth = axes[row, column], way.growth(value)
            shown.plot(across, way.values(value), "o")
            if growth is not None:
                ends = [0, max(across)]
                shown.plot(ends, [growth.at_none + growth.each * end for end in ends], "-")
                shown.set_title(way.told()[row], fontsize="medium")
            shown.grid(alpha=0.3)
            shown.set_xlim(0)
            shown.set_xlabel(way.label)
            if column == 0:
                # Both columns share it.
                shown.set_ylim(0, 1.1 * max(getattr(point, value) for point in points))
                shown.set_ylabel(unit)
    figure.savefig(file, dpi=120)


def _ways(points: Sequence[Point]) -> list[Way]:
    by_frames = sorted((p for p in points if p.people == _FIXED_PEOPLE), key=lambda p: p.frames)
    by_people = sorted((p for p in points if p.frames == _FIXED_FRAMES), key=lambda p: p.people)
    return [
        Way("frames", f"frames ({_FIXED['frames']})", by_frames),
        Way("people", f"people ({_FIXED['people']})", by_people),
    ]
