"""Curves of one sequence over time, as small plots stacked on one time axis and drawn to SVG.

The SVG is meant to stand inside a page: its colours are the page's (`var(--line)` and so on), so
that they follow the reader's light or dark scheme, and its text is text, in the page's font.
"""

import html
import io
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from numpy import ndarray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_POINTS = 1500
"""Of one curve; more could not be told apart at the width of a page."""

_COLORS = {
    "ink": "#000001",
    "muted": "#000002",
    "rule": "#000003",
    "page": "#000004",
    "line": "#000005",
    "reference": "#000006",
    "missing": "#000007",
    "missing-edge": "#000008",
    "unscored": "#000009",
}
"""What Matplotlib is told to draw with, replaced in its SVG by the page's colour of that name."""

_WIDTH, _LEFT, _RIGHT = 9.6, 0.55, 0.08
_PLOT, _HEADING, _TIME_AXIS, _MARKS = 0.72, 0.30, 0.48, 0.17
"""Inches: the figure across; upwards a plot, the line above it, the axis, a row of marks."""
_MARK_ROWS = 4
"""Marks nearer than a badge's width evade upwards, so often; then they overlap."""
_POINT_SIZE = {"heading": 8, "small": 7, "mark": 6.5}


@dataclass(frozen=True, eq=False)
class Curve:
    """One quantity over time."""

    name: str
    unit: str
    frames: Int[ndarray, "N"]
    """Ascending frame numbers that the values belong to."""
    values: Float[ndarray, "N"]
    """NaN breaks the line."""
    reference: Float[ndarray, "N"] | None = None
    """A second line to compare with, such as the jitter of the truth itself."""
    reference_name: str = "truth"


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame worth looking at."""

    frame: int
    seconds: float
    what: str
    """Why, such as `MPJPE 312 mm`."""
    picture: UInt8[ndarray, "h w 3"] | None = None
    """RGB."""


@dataclass(frozen=True, eq=False)
class SequencePlots:
    """What is shown of one sequence of T frames, numbered from 0."""

    name: str
    fps: float
    curves: tuple[Curve, ...]
    missing: Bool[ndarray, "T"]
    """Frames that the protocol wants, but for which there is no prediction."""
    unscored: Bool[ndarray, "T"]
    """Frames that the protocol leaves out."""
    moments: tuple[Moment, ...] = ()
    """The worst ones, worst first; numbered from 1 in the plots and below them."""
    note: str = ""
    """What else the reader should know, such as why there are no pictures."""


def number_text(value: float, largest: float) -> str:
    """A value with as many decimals as suit the largest magnitude in its column."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "infinite"
    if 0 < largest < 0.01:
        return f"{value:.2g}"
    decimals = 3 if largest < 1 else 2 if largest < 10 else 1 if largest < 1000 else 0
    return f"{value:.{decimals}f}"


def decimated(values: Float[ndarray, "N"], most: int = MOST_POINTS) -> Int[ndarray, "M"]:
    """Ascending positions of at most `most` values that draw the same line.

    They are, of each of equal stretches, the lowest and the highest value and the first break.
    """
    if len(values) <= most:
        return np.arange(len(values))
    kept: list[int] = []
    for stretch in np.array_split(np.arange(len(values)), most // 3):
        finite = np.isfinite(values[stretch])
        chosen = set()
        if finite.any():
            chosen.add(stretch[np.where(finite, values[stretch], np.inf).argmin()])
            chosen.add(stretch[np.where(finite, values[stretch], -np.inf).argmax()])
        if not finite.all():
            chosen.add(stretch[finite.argmin()])
        kept.extend(sorted(chosen))
    return np.array(kept)


def draw_timeline(plots: SequencePlots, salt: str) -> str:
    """The plots as one `<svg>` element, empty without curves.

    `salt` keeps the ids of several drawings in one page apart.
    """
    import matplotlib
    from matplotlib.figure import Figure

    if not plots.curves:
        return ""
    with matplotlib.rc_context():
        # A style of the user's own would change the report.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": salt})
        rows = _rows_of_marks(plots)
        marks = _MARKS * (max(rows, default=-1) + 1)
        height = _TIME_AXIS + len(plots.curves) * (_PLOT + _HEADING) + marks
        figure = Figure(figsize=(_WIDTH, height))
        axes = [_add_plot(figure, plots, number) for number in range(len(plots.curves))]
        _add_time_axis(axes[-1], plots.fps)
        _add_bands(figure, axes[0], plots)
        _add_marks(figure, axes[0], plots, rows)
        buffer = io.StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    return _fit_for_page(buffer.getvalue(), f"{plots.name}: values over time")


def _add_plot(figure: "Figure", plots: SequencePlots, number: int) -> "Axes":
    curve, inches = plots.curves[number], figure.get_figheight()
    bottom = _TIME_AXIS + (len(plots.curves) - 1 - number) * (_PLOT + _HEADING)
    place = (_LEFT / _WIDTH, bottom / inches, 1 - (_LEFT + _RIGHT) / _WIDTH, _PLOT / inches)
    axes = figure.add_axes(place)
    axes.set_xlim(-0.5 / plots.fps, (max(len(plots.missing), 1) - 0.5) / plots.fps)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=_COLORS["muted"], linewidth=0.6)
    axes.tick_params(colors=_COLORS["muted"], labelsize=_POINT_SIZE["small"], width=0.6, length=3)
    axes.tick_params(axis="y", length=0)
    axes.tick_params(axis="x", labelbottom=False)
    axes.locator_params(axis="y", nbins=3)
    axes.locator_params(axis="x", nbins=12)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.grid(axis="y", color=_COLORS["rule"], linewidth=0.5)
    axes.set_axisbelow(True)
    title = f"{curve.name}, {curve.unit}" if curve.unit else curve.name
    for across, text, side, color, size in (
        (0, title, "left", "ink", "heading"),
        (1, _summary(curve), "right", "muted", "small"),
    ):
        style = {"ha": side, "color": _COLORS[color], "size": _POINT_SIZE[size]}
        axes.text(across, 1.06, text, transform=axes.transAxes, parse_math=False, **style)
    _add_lines(axes, curve, plots.fps)
    return axes


def _summary(curve: Curve) -> str:
    finite = curve.values[np.isfinite(curve.values)]
    if len(finite) == 0:
        return "no value"
    largest = float(np.abs(finite).max())
    parts = [
        f"mean {number_text(float(finite.mean()), largest)}",
        f"highest {number_text(float(finite.max()), largest)}",
    ]
    if curve.reference is not None and np.isfinite(curve.reference).any():
        reference = float(curve.reference[np.isfinite(curve.reference)].mean())
        parts.append(f"mean of {curve.reference_name} {number_text(reference, abs(reference))}")
    infinite = int(np.isinf(curve.values).sum())
    if infinite:
        parts.append(f"{infinite} infinite, not drawn")
    return "   ".join(parts)


def _add_lines(axes: "Axes", curve: Curve, fps: float) -> None:
    lines = [("line", 1.0, curve.values)]
    if curve.reference is not None:
        lines.insert(0, ("reference", 0.8, curve.reference))
    low, high = 0.0, 0.0
    for role, width, values in lines:
        drawn = np.where(np.isfinite(values), values, np.nan)
        at = decimated(drawn)
        times, drawn = curve.frames[at] / fps, drawn[at]
        finite = np.isfinite(drawn)
        if not finite.any():
            continue
        low, high = min(low, drawn[finite].min()), max(high, drawn[finite].max())
        axes.plot(times, drawn, color=_COLORS[role], linewidth=width, solid_capstyle="round")
        # A value between two breaks makes no line.
        alone = finite & ~np.r_[False, finite[:-1]] & ~np.r_[finite[1:], False]
        axes.plot(times[alone], drawn[alone], "o", color=_COLORS[role], markersize=1.5)
    finite = curve.values[np.isfinite(curve.values)]
    if len(finite):
        axes.axhline(finite.mean(), color=_COLORS["ink"], linewidth=0.7, linestyle=(0, (5, 3)))
    room = 0.06 * (high - low) or 1.0
    axes.set_ylim(low - (room if low < 0 else 0), high + room)


def _add_time_axis(axes: "Axes", fps: float) -> None:
    """Seconds, and below them the frame numbers."""
    axes.tick_params(axis="x", labelbottom=True)
    frames = axes.secondary_xaxis(
        "bottom",
        functions=(lambda seconds: np.asarray(seconds) * fps, lambda at: np.asarray(at) / fps),
    )
    frames.spines["bottom"].set(position=("outward", 17), visible=False)
    frames.tick_params(colors=_COLORS["muted"], labelsize=_POINT_SIZE["small"], length=0, pad=1)
    frames.locator_params(axis="x", nbins=12, integer=True)
    for text, below in (("seconds", 5), ("frame", 17.5)):
        axes.annotate(
            text,
            (0, 0),
            (-_LEFT * 72 + 1, -below),
            xycoords="axes fraction",
            textcoords="offset points",
            va="top",
            size=_POINT_SIZE["small"],
            color=_COLORS["muted"],
        )


def _add_bands(figure: "Figure", axes: "Axes", plots: SequencePlots) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path
    from matplotlib.transforms import blended_transform_factory

    place = blended_transform_factory(axes.transData, figure.transFigure)
    bottom = _TIME_AXIS / figure.get_figheight()
    top = axes.get_position().y1
    for mask, fill, edge in (
        (plots.unscored, "unscored", "none"),
        (plots.missing, "missing", _COLORS["missing-edge"]),
    ):
        edges = (_runs(mask) - 0.5) / plots.fps
        if len(edges) == 0:
            continue
        corners = [[(a, bottom), (a, top), (b, top), (b, bottom), (a, bottom)] for a, b in edges]
        codes = [Path.MOVETO, Path.LINETO, Path.LINETO, Path.LINETO, Path.CLOSEPOLY] * len(edges)
        path = Path(np.array(corners).reshape(-1, 2), codes)
        # The rim keeps a single frame of a long sequence visible.
        style = {"facecolor": _COLORS[fill], "edgecolor": edge, "linewidth": 0.5}
        figure.add_artist(PathPatch(path, transform=place, zorder=-1, clip_on=False, **style))


def _runs(mask: Bool[ndarray, "T"]) -> Int[ndarray, "runs 2"]:
    """First frame of each run of True, and the first after it; coarser where frames are many."""
    stretch = max(math.ceil(len(mask) / MOST_POINTS), 1)
    whole = np.pad(mask, (0, -len(mask) % stretch)).reshape(-1, stretch).any(1)
    steps = np.flatnonzero(np.diff(np.r_[False, whole, False].astype(int)))
    return np.minimum(steps.reshape(-1, 2) * stretch, len(mask))


def _rows_of_marks(plots: SequencePlots) -> list[int]:
    """For each moment the row, from below, in which its badge touches no other."""
    across = (_WIDTH - _LEFT - _RIGHT) / max(len(plots.missing), 1)
    rows: list[int] = []
    for moment in plots.moments:
        taken = {
            row
            for row, other in zip(rows, plots.moments, strict=False)
            if abs(other.frame - moment.frame) * across < _MARKS
        }
        rows.append(next((row for row in range(_MARK_ROWS) if row not in taken), 0))
    return rows


def _add_marks(figure: "Figure", top: "Axes", plots: SequencePlots, rows: list[int]) -> None:
    """A numbered badge above each moment, and a hair line from it down through all plots."""
    from matplotlib.lines import Line2D
    from matplotlib.transforms import blended_transform_factory

    inches = figure.get_figheight()
    place = blended_transform_factory(top.transData, figure.transFigure)
    for number, (moment, row) in enumerate(zip(plots.moments, rows, strict=True), start=1):
        time = moment.frame / plots.fps
        height = top.get_position().y1 + (_HEADING + _MARKS * (row + 0.4)) / inches
        hair = {"color": _COLORS["ink"], "linewidth": 0.5, "linestyle": (0, (1, 2)), "zorder": 2}
        ends = [_TIME_AXIS / inches, height]
        figure.add_artist(Line2D([time, time], ends, transform=place, **hair))
        badge = {"marker": "o", "markersize": 10, "color": _COLORS["ink"], "markeredgewidth": 0}
        figure.add_artist(Line2D([time], [height], ls="none", transform=place, zorder=3, **badge))
        style = {"size": _POINT_SIZE["mark"], "color": _COLORS["page"], "weight": "bold"}
        # Digits stand on their line, their middle in the badge's.
        low = height - 0.033 / inches
        figure.text(time, low, f"{number}", transform=place, ha="center", zorder=4, **style)


def _fit_for_page(svg: str, label: str) -> str:
    """The element alone, its colours the page's, without what repeats or means nothing there."""
    svg = svg[svg.index("<svg") :]
    view = re.search(r'viewBox="([^"]*)"', svg)
    body = svg[svg.index(">") + 1 :]
    body = re.sub(r"<style\b.*?</style>", "", body, flags=re.DOTALL)
    body = re.sub(r'<g id="[^"]*"', "<g", body)
    body = re.sub(r"font-family: [^;]*; | transform=\"rotate\(-0 [^)]*\)\"", "", body)
    body = re.sub(r"\s*<g/>|(?<=\n) +", "", body)
    body = re.sub(r' d="[^"]*"', lambda path: _shortened(path.group()), body)
    for role, color in _COLORS.items():
        body = body.replace(color, f"var(--{role})")
    assert view is not None
    return (
        f'<svg class="timeline" viewBox="{view.group(1)}" role="img" '
        f'aria-label="{html.escape(label)}">{body}'
    )


def _shortened(path: str) -> str:
    """Hundredths of a point are far below what is seen."""
    return re.sub(r"(\.\d\d)\d+", r"\1", path).replace("\n", "")
