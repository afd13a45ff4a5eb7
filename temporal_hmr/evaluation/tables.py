"""Scores as people and programs read them: a text table, JSON and CSV."""

import csv
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import StringIO

from temporal_hmr.evaluation.protocol import Protocol, described
from temporal_hmr.evaluation.score import DIFFERENCES, OTHER_GAPS, TRUTH, SequenceScores, coverage
from temporal_hmr.evaluation.summary import (
    Figure,
    Run,
    base_metric,
    dataset_figures,
    label,
    sequence_figures,
    unit,
)

_NAME_WIDTH = 34
_SHOWN = 120
"""Sequences that the text lists; of more the files have all."""


@dataclass(frozen=True, eq=False)
class Results:
    """Everything that one evaluation found."""

    facts: tuple[tuple[str, str], ...]
    """What was measured: dataset, predictions, weights, version and so on."""
    runs: Sequence[Run]
    warnings: tuple[str, ...] = ()
    skip_nan: bool = False
    """Whether frames whose prediction is not a number were left out."""


def text_report(results: Results) -> str:
    """Facts; for every run its protocol and the dataset's figures, for the first every sequence.

    Where they are too many to read only their number is told.
    """
    parts = ["\n".join(f"{name}: {value}" for name, value in results.facts)]
    for number, run in enumerate(results.runs):
        parts.append(_run_text(run, results.skip_nan, every_sequence=number == 0))
    if len(results.runs) > 1:
        parts.append(_comparison(results))
    return "\n\n".join(parts) + "\n"


def _run_text(run: Run, skip_nan: bool, every_sequence: bool) -> str:
    names = [str(metric) for metric in run.protocol.metrics]
    widths = [max(len(label(name, run.protocol)), 8) for name in names]
    head = f"{'':{_NAME_WIDTH}} frames  cover"
    units = " " * len(head)
    for name, width in zip(names, widths, strict=True):
        head += f"  {label(name, run.protocol):>{width}}"
        units += f"  {unit(name, run.protocol):>{max(width, len(unit(name, run.protocol)))}}"
    lines = [f"== {run.label}", f"protocol: {switches(run.protocol)}", head, units]
    listed = run.scores if every_sequence else ()
    if len(listed) > _SHOWN:
        lines.append(f"({len(listed)} sequences: too many to list here)")
        listed = ()
    for scores in listed:
        figures = sequence_figures(scores, skip_nan)
        lines.append(_row(scores.name, [scores], figures, names, widths))
    figures = dataset_figures(run, skip_nan)
    lines.append(_row("overall", run.scores, figures, names, widths))
    lines += _beside(run, figures)
    return "\n".join(lines)


def switches(protocol: Protocol) -> str:
    """Every switch of a protocol and its value, in one line; the metrics are in the table."""
    return ", ".join(f"{name} {value}" for name, value in described(protocol) if name != "metrics")


def _row(
    name: str,
    scores: Sequence[SequenceScores],
    figures: dict[str, Figure],
    names: Sequence[str],
    widths: Sequence[int],
) -> str:
    frames = sum(int(each.scored.sum()) for each in scores)
    line = f"{name:{_NAME_WIDTH}} {frames:6d} {100 * coverage(scores):5.1f}%"
    for metric, width in zip(names, widths, strict=True):
        figure = figures.get(metric)
        line += f"  {_number(figure.value, metric) if figure else '-':>{width}}"
    return line


def _beside(run: Run, figures: dict[str, Figure]) -> list[str]:
    """What goes with the figures: gaps treated the other way where it matters, the truth's own."""
    lines = []
    for name, figure in figures.items():
        usual = figures[base_metric(name)].value
        if name.endswith(TRUTH) or (name.endswith(OTHER_GAPS) and figure.value != usual):
            text = f"{label(name, run.protocol)}: {_number(figure.value, name)}"
            lines.append(f"  {text} {unit(name, run.protocol)}")
    nan = max((figure.num_nan for figure in figures.values()), default=0)
    if nan:
        lines.append(f"  {nan} scored values are not a number, because predictions are not")
    return lines


def _comparison(results: Results) -> str:
    """The overall figures of all runs, one below the other."""
    names = list(dict.fromkeys(str(m) for run in results.runs for m in run.protocol.metrics))
    width = max(len(run.label) for run in results.runs)
    lines = ["== overall"]
    protocol = results.runs[0].protocol
    units = {name: {unit(name, run.protocol) for run in results.runs} for name in names}
    labels = [f"{label(name, protocol)} [{' or '.join(sorted(units[name]))}]" for name in names]
    lines.append(" " * width + "".join(f"  {text:>10}" for text in labels))
    for run in results.runs:
        figures = dataset_figures(run, results.skip_nan)
        line = f"{run.label:{width}}"
        for name, text in zip(names, labels, strict=True):
            value = _number(figures[name].value, name) if name in figures else "-"
            if len(units[name]) > 1 and name in figures:
                value += f" {unit(name, run.protocol)}"
            line += f"  {value:>{max(10, len(text))}}"
        lines.append(line)
    return "\n".join(lines)


def _number(value: float, metric: str) -> str:
    if math.isnan(value):
        return "nan"
    decimals = {"auc": 3}.get(metric, 2 if base_metric(metric) in DIFFERENCES else 1)
    return f"{value:.{decimals}f}"


def json_report(results: Results) -> str:
    """The same for programs; what is not a number is null."""
    runs = [
        {
            "label": run.label,
            "protocol": run.protocol.model_dump(mode="json"),
            "units": _units(run),
            "overall": {
                "frames": sum(int(each.scored.sum()) for each in run.scores),
                "coverage": coverage(run.scores),
                **_plain(dataset_figures(run, results.skip_nan)),
            },
            "sequences": [_plain_sequence(each, results.skip_nan) for each in run.scores],
        }
        for run in results.runs
    ]
    contents = {
        "facts": dict(results.facts),
        "warnings": list(results.warnings),
        "skip_nan": results.skip_nan,
        "runs": runs,
    }
    return json.dumps(_without_nan(contents), indent=1, allow_nan=False) + "\n"


def _units(run: Run) -> dict[str, str]:
    names = dict.fromkeys(name for scores in run.scores for name in scores.values)
    return {name: unit(name, run.protocol) for name in names}


def _plain_sequence(scores: SequenceScores, skip_nan: bool) -> dict[str, object]:
    return {
        "name": scores.name,
        "video": scores.video,
        "frames": len(scores.wanted),
        "wanted": int(scores.wanted.sum()),
        "scored": int(scores.scored.sum()),
        "filled": int((scores.scored & scores.filled).sum()),
        "coverage": coverage([scores]),
        "notes": list(scores.notes),
        **_plain(sequence_figures(scores, skip_nan)),
    }


def _plain(figures: dict[str, Figure]) -> dict[str, object]:
    return {"metrics": {name: asdict(figure) for name, figure in figures.items()}}


def _without_nan(value: object) -> object:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def csv_report(results: Results) -> str:
    """One line per sequence and run, and one for each run's dataset figures."""
    names = list(dict.fromkeys(n for run in results.runs for s in run.scores for n in s.values))
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["run", "sequence", "frames", "coverage", *names])
    skip_nan = results.skip_nan
    for run in results.runs:
        rows = [(each.name, [each], sequence_figures(each, skip_nan)) for each in run.scores]
        rows.append(("overall", list(run.scores), dataset_figures(run, skip_nan)))
        for name, scores, figures in rows:
            frames = sum(int(each.scored.sum()) for each in scores)
            values = [figures[n].value if n in figures else "" for n in names]
            writer.writerow([run.label, name, frames, coverage(scores), *values])
    return stream.getvalue()
