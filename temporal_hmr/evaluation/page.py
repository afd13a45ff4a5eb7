"""The report of an evaluation: from scores to what stands on its page."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray

from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.score import OTHER_GAPS, TRUTH, SequenceScores, coverage
from temporal_hmr.evaluation.summary import (
    Figure,
    Run,
    base_metric,
    dataset_figures,
    label,
    sequence_figures,
    unit,
)
from temporal_hmr.evaluation.tables import Results, switches
from temporal_hmr.images import read_image
from temporal_hmr.metrics import FrameValues
from temporal_hmr.output.moments import PICTURE_KEY, blank_picture, skeleton_picture
from temporal_hmr.output.report import Column, Curve, Moment, Report, Row, SequencePlots

MOMENTS = 3
"""Worst moments shown of a sequence."""
APART = 0.5
"""Seconds between two of them at least."""
SHOWN = 120
"""Sequences shown over time, the worst first; the table has all of them."""
_PLOTTED = ("mpjpe", "pa_mpjpe", "acceleration_error", "jitter", "jitter_all_joints",
            "jitter_world", "wa_mpjpe")  # fmt: skip
_HIGHER_IS_BETTER = ("pck", "auc")


def page(title: str, results: Results, sequences: Mapping[str, LabelledSequence]) -> Report:
    """The first run in full, the others by their overall figures."""
    run = results.runs[0]
    names = [str(metric) for metric in run.protocol.metrics]
    columns = tuple(
        Column(label(name, run.protocol), _unit(name, run), name not in _HIGHER_IS_BETTER)
        for name in names
    )
    rows = tuple(
        _row(scores.name, [scores], sequence_figures(scores, results.skip_nan), names)
        for scores in run.scores
    )
    figures = dataset_figures(run, results.skip_nan)
    facts = (
        *results.facts,
        ("switches", switches(run.protocol)),
        *_beside(run, figures),
        *_other_runs(results),
    )
    predicted = [scores for scores in _worst_first(run, names[0]) if scores.scored.any()]
    shown = predicted[:SHOWN]
    warnings = list(results.warnings)
    if len(shown) < len(predicted):
        warnings.append(f"of {len(predicted)} sequences the {SHOWN} worst are shown over time")
    return Report(
        title=title,
        facts=facts,
        warnings=tuple(warnings),
        columns=columns,
        rows=rows,
        overall=_row("overall", run.scores, figures, names),
        sequences=tuple(_plots(scores, run, sequences[scores.name]) for scores in shown),
        picture_key=PICTURE_KEY,
    )


def _row(
    name: str,
    scores: Sequence[SequenceScores],
    figures: Mapping[str, Figure],
    names: Sequence[str],
) -> Row:
    values = tuple(_value(figures.get(n)) for n in names)
    frames = sum(int(each.scored.sum()) for each in scores)
    note = "; ".join(note for each in scores for note in each.notes) if len(scores) == 1 else ""
    return Row(name, frames, coverage(scores), values, note)


def _value(figure: Figure | None) -> float | None:
    """None without anything to measure; NaN only where a prediction is not a number."""
    if figure is None or (math.isnan(figure.value) and not figure.num_nan):
        return None
    return figure.value


def _beside(run: Run, figures: Mapping[str, Figure]) -> list[tuple[str, str]]:
    return [
        (label(name, run.protocol), _with_unit(name, figure, run))
        for name, figure in figures.items()
        if name.endswith(TRUTH)
        or (name.endswith(OTHER_GAPS) and figure.value != figures[base_metric(name)].value)
    ]


def _other_runs(results: Results) -> list[tuple[str, str]]:
    facts = []
    for run in results.runs[1:]:
        figures = dataset_figures(run, results.skip_nan)
        values = [
            f"{label(name, run.protocol)} {_with_unit(name, figure, run)}"
            for name, figure in figures.items()
            if name == base_metric(name)
        ]
        facts.append((f"overall, {run.label}", ", ".join(values)))
    return facts


def _with_unit(name: str, figure: Figure, run: Run) -> str:
    value = _value(figure)
    if value is None:
        return "no value"
    return "not a number" if math.isnan(value) else f"{value:.2f} {_unit(name, run)}"


def _unit(name: str, run: Run) -> str:
    """As typeset rather than typed."""
    return unit(name, run.protocol).replace("^2", "²").replace("^3", "³")


def _worst_first(run: Run, metric: str) -> list[SequenceScores]:
    def badness(scores: SequenceScores) -> float:
        values = scores.values.get(metric)
        mean = float(values.mean()) if values is not None else np.nan
        return -np.inf if np.isnan(mean) else -mean

    return sorted(run.scores, key=badness)


def _plots(scores: SequenceScores, run: Run, sequence: LabelledSequence) -> SequencePlots:
    curves = tuple(
        _curve(name, scores, run)
        for name in _PLOTTED
        if name in scores.values and len(scores.values[name].values)
    )
    missing = scores.wanted & ~scores.predicted
    note = "" if sequence.images else "this data has no images: skeletons on grey"
    return SequencePlots(
        scores.name, scores.fps, curves, missing, ~scores.wanted, _moments(scores, sequence), note
    )


def _curve(name: str, scores: SequenceScores, run: Run) -> Curve:
    truth = scores.values.get(name + TRUTH)
    frames, values = _over_time(scores.values[name], len(scores.wanted))
    reference = None if truth is None else _over_time(truth, len(scores.wanted))[1]
    return Curve(label(name, run.protocol), _unit(name, run), frames, values, reference)


def _over_time(values: FrameValues, frames: int) -> tuple[Float[ndarray, "T"], Float[ndarray, "T"]]:
    """Values at their frames, NaN between them."""
    result = np.full(frames, np.nan)
    counted = values.counted.numpy()
    result[values.frames.numpy()[counted]] = values.values.numpy()[counted]
    return np.arange(frames), result


def _moments(scores: SequenceScores, sequence: LabelledSequence) -> tuple[Moment, ...]:
    """The frames of largest error, each some time from the others, with a picture."""
    values = scores.values.get("mpjpe", scores.values.get("wa_mpjpe"))
    if values is None or scores.predicted_joints is None or scores.true_joints is None:
        return ()
    _, errors = _over_time(values, len(scores.wanted))
    place = np.cumsum(scores.scored) - 1
    chosen: list[int] = []
    for frame in np.argsort(-np.nan_to_num(errors, nan=-1.0), kind="stable"):
        if len(chosen) == MOMENTS or np.isnan(errors[frame]):
            break
        if all(abs(frame - other) >= APART * scores.fps for other in chosen):
            chosen.append(int(frame))
    draw = _artist(scores, sequence)
    name = "MPJPE" if "mpjpe" in scores.values else "WA-MPJPE"
    return tuple(
        Moment(
            frame,
            frame / scores.fps,
            f"{name}\xa0{errors[frame]:.0f}\xa0mm",
            draw(frame, int(place[frame])),
        )
        for frame in chosen
    )


def _artist(
    scores: SequenceScores, sequence: LabelledSequence
) -> Callable[[int, int], UInt8[ndarray, "h w 3"] | None]:
    def draw(frame: int, place: int) -> UInt8[ndarray, "h w 3"] | None:
        assert scores.predicted_joints is not None and scores.true_joints is not None
        sides = scores.predicted_joints[place], scores.true_joints[place]
        if any(float(joints[:, 2].min()) <= 0 for joints in sides):
            return None
        predicted, true = (sequence.camera.project(joints).numpy() for joints in sides)
        image = _image(sequence.images[frame]) if sequence.images else None
        if image is None:
            return blank_picture(predicted, true, label=f"frame {frame}")
        return skeleton_picture(image, predicted, true, label=f"frame {frame}")

    return draw


def _image(path: Path) -> UInt8[ndarray, "h w 3"] | None:
    try:
        return read_image(path)
    except InputError:
        return None
