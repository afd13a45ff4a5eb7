"""From the scores of sequences to the figures of a dataset, as its protocol averages them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from temporal_hmr import metrics
from temporal_hmr.evaluation.protocol import Protocol
from temporal_hmr.evaluation.score import OTHER_GAPS, TRUTH, SequenceScores
from temporal_hmr.metrics import FrameValues, pooled

_CLIP_MEANS = ("jitter", "jitter_all_joints")
"""EMDB averages its jitter over clips, long or short, unlike everything else."""
_UNITS = {
    "mpjae": "deg",
    "pa_mpjae": "deg",
    "pck": "%",
    "auc": "",
    "jitter": "10 m/s^3",
    "jitter_all_joints": "10 m/s^3",
    "jitter_world": "10 m/s^3",
    "rte": "%",
    "erve": "mm/frame",
    "foot_sliding": "mm/frame",
}
LABELS = {
    "mpjpe": "MPJPE",
    "pa_mpjpe": "PA-MPJPE",
    "pve": "PVE",
    "pa_pve": "PA-PVE",
    "mpjae": "MPJAE",
    "pa_mpjae": "PA-MPJAE",
    "pck": "PCK@50",
    "auc": "AUC",
    "acceleration_error": "accel. error",
    "acceleration": "acceleration",
    "jitter": "jitter (EMDB)",
    "jitter_all_joints": "jitter (all joints)",
    "jitter_world": "jitter (world)",
    "w_mpjpe": "W-MPJPE",
    "wa_mpjpe": "WA-MPJPE",
    "rte": "RTE",
    "erve": "ERVE",
    "foot_sliding": "foot sliding",
}


@dataclass(frozen=True)
class Figure:
    """One number and what it rests on."""

    value: float
    """NaN if it rests on nothing, or on a NaN that was not to be skipped."""
    std: float
    """Population standard deviation of the values."""
    count: int
    """Values that the mean rests on (frames, runs of frames, or clips)."""
    num_nan: int
    """Values that are not a number, because a prediction is not."""


@dataclass(frozen=True, eq=False)
class Run:
    """One set of predictions under one protocol."""

    label: str
    protocol: Protocol
    scores: Sequence[SequenceScores]


def unit(name: str, protocol: Protocol) -> str:
    """Unit of a metric, also with the suffixes that `SequenceScores.values` uses."""
    base = base_metric(name)
    if base.startswith("acceleration"):
        return protocol.acceleration_unit
    return _UNITS.get(base, "mm")


def base_metric(name: str) -> str:
    """The metric's own name, without `OTHER_GAPS` and `TRUTH`."""
    return name.removesuffix(OTHER_GAPS).removesuffix(TRUTH)


def label(name: str, protocol: Protocol) -> str:
    """The field's name of a metric, for people to read."""
    text = LABELS[base_metric(name)]
    if name.endswith(TRUTH):
        return f"{text} of the truth"
    if name.endswith(OTHER_GAPS):
        safe = protocol.gaps == "crossing"
        return f"{text}, {'gap-safe' if safe else 'across gaps'}"
    return text


def sequence_figures(scores: SequenceScores, skip_nan: bool = False) -> dict[str, Figure]:
    """Figures of one sequence, by metric."""
    return {name: _figure(values, skip_nan) for name, values in scores.values.items()}


def dataset_figures(run: Run, skip_nan: bool = False) -> dict[str, Figure]:
    """Figures over all sequences, by metric, averaged as the protocol says."""
    names = dict.fromkeys(name for scores in run.scores for name in scores.values)
    figures = {}
    for name in names:
        parts = [scores.values[name] for scores in run.scores if name in scores.values]
        if name == "acceleration_error" and run.protocol.stitched:
            figures[name] = _figure(_stitched_acceleration(run), skip_nan)
        elif run.protocol.averaging == "clips" or base_metric(name) in _CLIP_MEANS:
            figures[name] = _over_clips(parts, skip_nan)
        else:
            figures[name] = _figure(pooled(parts), skip_nan)
    return figures


def _figure(values: FrameValues, skip_nan: bool) -> Figure:
    return Figure(
        float(values.mean(skip_nan)),
        float(values.std(skip_nan)),
        int(values.count(skip_nan)),
        int(values.num_nan()),
    )


def _over_clips(parts: Sequence[FrameValues], skip_nan: bool) -> Figure:
    """Unweighted mean of the clips' means; a clip too short for a single value has none."""
    means = [part.mean(skip_nan) for part in parts if int(part.count(skip_nan))]
    num_nan = sum(int(part.num_nan()) for part in parts)
    if not means:
        return Figure(float("nan"), float("nan"), 0, num_nan)
    clips = torch.stack(means)
    return Figure(float(clips.mean()), float(clips.std(correction=0)), len(means), num_nan)


def _stitched_acceleration(run: Run) -> FrameValues:
    """All sequences laid end to end: two second differences straddle every border (VIBE, INT)."""
    rooted = [scores.rooted for scores in run.scores if scores.rooted is not None]
    predicted = torch.cat([sides[0] for sides in rooted])
    true = torch.cat([sides[1] for sides in rooted])
    fps = run.scores[0].fps if run.protocol.acceleration_unit == "m/s^2" else None
    trim = run.protocol.acceleration_trim
    return metrics.acceleration_error(predicted, true, root=None, fps=fps, trim=trim)
