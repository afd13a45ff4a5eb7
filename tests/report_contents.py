"""What reports are made of, made up."""

from dataclasses import replace

import numpy as np

from temporal_hmr.output.report import (
    Curve,
    Moment,
    SequencePlots,
)

NAN = float("nan")


def make_sequence(num_frames: int = 60, name: str = "walk_0", **changes) -> SequencePlots:
    random = np.random.default_rng(num_frames)
    frames = np.arange(num_frames)
    missing, unscored = (frames >= 20) & (frames < 25), frames < 5
    names = (("MPJPE", "mm"), ("acceleration error", "m/s²"), ("jitter", "10 m/s³"))
    curves = []
    for quantity, unit in names:
        values = random.uniform(20, 80, num_frames)
        values[missing | unscored] = NAN
        curves.append(Curve(quantity, unit, frames, values))
    picture = np.zeros((100, 50, 3), np.uint8) + np.array([200, 30, 30], np.uint8)
    moments = (Moment(40, 40 / 30, "MPJPE 312 mm", picture), Moment(8, 8 / 30, "jitter 99"))
    plots = SequencePlots(name, 30.0, tuple(curves), missing, unscored, moments, "a note")
    return replace(plots, **changes)
