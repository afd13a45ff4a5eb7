"""An evaluation as one page of HTML that opens offline: no script, font or picture from elsewhere.

It knows nothing of datasets and metrics; whoever measured says what is on it.
"""

import base64
import hashlib
import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8
from numpy import ndarray

from temporal_hmr.output.moments import LONGEST_SIDE
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.output.timeline import Curve, Moment, SequencePlots, draw_timeline, number_text

__all__ = ["Column", "Curve", "Moment", "Report", "Row", "SequencePlots", "write_report"]

_JPEG_QUALITY = 82


@dataclass(frozen=True)
class Column:
    """One metric of the table."""

    name: str
    unit: str
    lower_is_better: bool = True


@dataclass(frozen=True)
class Row:
    """One sequence, or all of them together."""

    name: str
    frames: int
    """How many the values rest on."""
    coverage: float
    """0..1: of the frames that the protocol wants, the share with a prediction; NaN if it wants
    none."""
    values: tuple[float | None, ...]
    """One for each column; None where there is nothing to measure, NaN where a prediction is not a
    number."""
    note: str = ""


@dataclass(frozen=True, eq=False)
class Report:
    """All that is on the page; text is plain text."""

    title: str
    facts: tuple[tuple[str, str], ...]
    """What was measured, and how: protocol and every switch, data, weights, versions."""
    warnings: tuple[str, ...]
    """What a reader must know before believing the numbers."""
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    overall: Row
    sequences: tuple[SequencePlots, ...] = ()
    """Those that are shown over time; a row of the same name links to them."""
    picture_key: str = ""
    """How to read the pictures of the moments."""


def write_report(report: Report, path: Path | str) -> None:
    """Write the page; all of the file appears, or nothing. Equal reports make equal files.

    Raises `InputError` if the place cannot be written to, `ValueError` if a row has not one value
    for each column.
    """
    for row in (*report.rows, report.overall):
        if len(row.values) != len(report.columns):
            raise ValueError(
                f"{row.name} has {len(row.values)} values for {len(report.columns)} columns"
            )
    # Names of files may hold bytes that are no text.
    page = _page(report).encode("utf-8", "xmlcharrefreplace")
    with atomic_path(Path(path)) as temporary:
        temporary.write_bytes(page)


def _page(report: Report) -> str:
    style, script = (
        (resources.files("temporal_hmr") / "assets" / name).read_text(encoding="utf-8")
        for name in ("report.css", "report.js")
    )
    fingerprint = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    # The browser itself makes sure that the page loads nothing and runs only our script.
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{fingerprint}'"
    )
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{_text(report.title)}</title>",
        f"<style>\n{style}</style>\n</head>\n<body>",
        f"<h1>{_text(report.title)}</h1>",
        _facts(report.facts),
        _warnings(report.warnings),
        _overall(report),
        _table(report),
        _key(report),
        *(_sequence(plots, number) for number, plots in enumerate(report.sequences, start=1)),
        f"<script>{script}</script>\n</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _text(text: str) -> str:
    return html.escape(text)


def _facts(facts: Iterable[tuple[str, str]]) -> str:
    pairs = (f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>" for name, value in facts)
    return '<dl class="facts">\n' + "\n".join(pairs) + "\n</dl>"


def _warnings(warnings: Sequence[str]) -> str:
    if not warnings:
        return ""
    items = "\n".join(f"<li>{_text(warning)}</li>" for warning in warnings)
    return f'<section class="warnings">\n<h2>Warnings</h2>\n<ul>\n{items}\n</ul>\n</section>'


def _overall(report: Report) -> str:
    row, tiles = report.overall, []
    for column, value, scale in zip(report.columns, row.values, _scales(report), strict=True):
        finite = value is not None and math.isfinite(value)
        unit = f" <small>{_text(column.unit)}</small>" if finite else ""
        number = _value_text(value, scale, row.coverage)
        tiles.append((_text(column.name), f"{number}{unit}", _value_class(value)))
    tiles.append(("coverage", _percent(row.coverage), _coverage_class(row.coverage)))
    tiles.append(("frames", f"{row.frames}", ""))
    pairs = "\n".join(
        f"<div><dt>{name}</dt><dd{_class(kind)}>{value}</dd></div>" for name, value, kind in tiles
    )
    note = f'\n<p class="hint">{_text(row.note)}</p>' if row.note else ""
    return f'<h2>{_text(row.name)}</h2>\n<dl class="overall">\n{pairs}\n</dl>{note}'


def _table(report: Report) -> str:
    heads = [
        '<th class="text">sequence</th>',
        "<th>frames</th>",
        "<th>coverage</th>",
        *(_heading(column) for column in report.columns),
    ]
    noted = any(row.note for row in report.rows)
    if noted:
        heads.append('<th class="text">note</th>')
    links = {
        plots.name: number for number, plots in reversed(list(enumerate(report.sequences, start=1)))
    }
    scales, worst = _scales(report), _worst(report)
    rows = [_row(row, links.get(row.name), scales, worst) for row in report.rows]
    foot = _row(report.overall, None, scales, [math.nan] * len(scales))
    if noted:
        rows = [row + _note(each.note) for row, each in zip(rows, report.rows, strict=True)]
        # Its note stands beside the large numbers already.
        foot += _note("")
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    return (
        '<h2 id="sequences">Sequences</h2>\n<div class="wide">\n<table class="sortable">\n'
        f"<thead><tr>{''.join(heads)}</tr></thead>\n<tbody>\n{body}\n</tbody>\n"
        f"<tfoot>\n<tr>{foot}</tr>\n</tfoot>\n</table>\n</div>\n"
        '<p class="hint">Lower is better where the heading does not say otherwise. '
        "Bold: the worst of its column.</p>"
    )


def _heading(column: Column) -> str:
    remarks = (column.unit, "" if column.lower_is_better else "higher is better")
    units = "".join(f'<span class="unit">{_text(remark)}</span>' for remark in remarks if remark)
    return f"<th>{_text(column.name)}{units}</th>"


def _scales(report: Report) -> list[float]:
    """For each column the magnitude that sets its decimals: the overall value's if it has one."""
    scales = []
    for number, overall in enumerate(report.overall.values):
        largest = max((abs(value) for value in _finite(report.rows, number)), default=0.0)
        scales.append(abs(overall) if overall and math.isfinite(overall) else largest)
    return scales


def _worst(report: Report) -> list[float]:
    """For each column its worst value; NaN where all are alike."""
    worst = []
    for number, column in enumerate(report.columns):
        values = _finite(report.rows, number)
        choose = max if column.lower_is_better else min
        worst.append(choose(values) if len(set(values)) > 1 else math.nan)
    return worst


def _finite(rows: Iterable[Row], column: int) -> list[float]:
    values = (row.values[column] for row in rows)
    return [value for value in values if value is not None and math.isfinite(value)]


def _row(row: Row, section: int | None, scales: list[float], worst: list[float]) -> str:
    name = _text(row.name)
    if section is not None:
        name = f'<a href="#sequence-{section}">{name}</a>'
    coverage = _class(_coverage_class(row.coverage))
    cells = [
        f'<th scope="row" class="text" data-sort="{_text(row.name)}">{name}</th>',
        f'<td data-sort="{row.frames}">{row.frames}</td>',
        f'<td{coverage} data-sort="{float(row.coverage)!r}">{_percent(row.coverage)}</td>',
    ]
    for value, scale, low in zip(row.values, scales, worst, strict=True):
        kind = "worst" if value == low else _value_class(value)
        sort = math.nan if value is None else float(value)
        text = _value_text(value, scale, row.coverage)
        cells.append(f'<td{_class(kind)} data-sort="{sort!r}">{text}</td>')
    return "".join(cells)


def _note(note: str) -> str:
    return f'<td class="text" data-sort="{_text(note)}">{_text(note)}</td>'


def _class(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _value_text(value: float | None, scale: float, coverage: float) -> str:
    if value is not None:
        return number_text(value, scale)
    return "no prediction" if coverage == 0 else "no value"


def _value_class(value: float | None) -> str:
    if value is None:
        return "absent"
    return "" if math.isfinite(value) else "nan"


def _coverage_class(coverage: float) -> str:
    return "absent" if math.isnan(coverage) else "partial" if coverage < 1 else ""


def _percent(share: float) -> str:
    if math.isnan(share):
        return "no frame counts"
    if share == 1:
        return "100\xa0%"
    percent = f"{100 * share:.1f}"
    # A single frame of many missing must not look like none.
    return "&gt; 99.9\xa0%" if percent == "100.0" else f"{percent}\xa0%"


def _key(report: Report) -> str:
    if not report.sequences:
        return ""
    references = sorted(
        {
            curve.reference_name
            for plots in report.sequences
            for curve in plots.curves
            if curve.reference is not None
        }
    )
    entries = [
        '<i class="line"></i>prediction',
        *(f'<i class="reference"></i>{_text(name)}' for name in references),
        '<i class="mean"></i>mean of the prediction',
        '<i class="unscored"></i>frame not scored',
        '<i class="missing"></i>no prediction',
        '<span class="badge">1</span> worst moments',
    ]
    items = "".join(f"<li>{entry}</li>" for entry in entries)
    pictures = f'\n<p class="hint">{_text(report.picture_key)}</p>' if report.picture_key else ""
    return f'<h2>Over time</h2>\n<ul class="key">{items}</ul>{pictures}'


def _sequence(plots: SequencePlots, number: int) -> str:
    name = f"sequence-{number}"
    counts = [
        f"{len(plots.missing)} frames at {plots.fps:g} per second",
        f"{int(np.sum(plots.unscored))} not scored",
        f"{int(np.sum(plots.missing))} without prediction",
    ]
    moments = "\n".join(
        _moment(moment, number) for number, moment in enumerate(plots.moments, start=1)
    )
    parts = [
        f'<section class="sequence" id="{name}">\n<h2>{_text(plots.name)}</h2>',
        f'<p class="where">{", ".join(counts)} · <a href="#sequences">all sequences</a></p>',
        f'<div class="wide">{draw_timeline(plots, name)}</div>',
        f'<div class="moments">\n{moments}\n</div>' if moments else "",
        f'<p class="hint">{_text(plots.note)}</p>' if plots.note else "",
        "</section>",
    ]
    return "\n".join(part for part in parts if part)


def _moment(moment: Moment, number: int) -> str:
    caption = f"frame {moment.frame}, {moment.seconds:.2f} s: {moment.what}"
    picture = ""
    if moment.picture is not None:
        source = f"data:image/jpeg;base64,{_jpeg(moment.picture)}"
        picture = f'<img src="{source}" alt="{_text(caption)}" loading="lazy">'
    return (
        f'<figure>{picture}<figcaption><span class="badge">{number}</span> {_text(caption)}'
        "</figcaption></figure>"
    )


def _jpeg(picture: UInt8[ndarray, "h w 3"]) -> str:
    """Base64 of a JPEG, made smaller if it is large."""
    height, width = picture.shape[:2]
    scale = LONGEST_SIDE / max(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        picture = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.uint8)
    image = cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return base64.b64encode(code.tobytes()).decode()
