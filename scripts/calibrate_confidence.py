"""Fit what `confidence` says to the errors of the embedded model on rendered videos.

    python scripts/render_clips.py MOCAP --videos -o VIDEOS --clips 80 --frames 40 --side 720 \
        --except 07 09 17 94 131 --seed 21
    python scripts/render_clips.py MOCAP --videos -o JUDGES --clips 20 --frames 60 --side 720 \
        --subjects 09 17 94 131 --seed 7
    python scripts/calibrate_confidence.py VIDEOS --judge JUDGES --plot confidence.png

BlazePose reads everybody in boxes around what can be seen of them, `recover` makes bodies of that,
and a logistic regression learns which joints come out within a decimetre of the truth, as seen from
the pelvis. Printed and plotted is how often joints of each confidence are right in the videos that
judge, whose people and motions are others.
"""

import argparse
import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import nn

from temporal_hmr import confidence
from temporal_hmr.body.load import load_body
from temporal_hmr.camera import Camera
from temporal_hmr.command_line import Stage, run_door
from temporal_hmr.confidence import FEATURES, RIGHT, Seen, features, seconds_away
from temporal_hmr.crops import READABLE_JOINTS, extents
from temporal_hmr.evaluation.readings import Reading, read_videos_in_boxes
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.motion import Track
from temporal_hmr.recover import default_weights, load_model, recover
from temporal_hmr.skeleton import BLAZEPOSE23, SMPL24

BINS = (0.0, 0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
SHORTEST = 8
"""Frames in which a person must have been read."""

Sample = tuple[Float[ndarray, "n 24 6"], Bool[ndarray, "n 24"]]


def main(arguments: Sequence[str] | None = None) -> None:
    """Fit, judge and write; raises `InputError` for folders without rendered videos."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    add = parser.add_argument
    add("videos", type=Path, metavar="VIDEOS", help="rendered videos to fit to")
    add("--judge", type=Path, required=True, metavar="VIDEOS", help="videos of other subjects")
    add("--plot", type=Path, metavar="PNG", help="a picture of confidence against truth")
    place = default_weights().parent / confidence.ASSET
    add("-o", "--output", type=Path, default=place, metavar="JSON", help="(the package's own)")
    options = parser.parse_args(arguments)
    fitted = fit(*gathered(options.videos))
    table = reliability(*gathered(options.judge), fitted)
    weights, bias = (
        {name: round(float(value), 4) for name, value in zip(names, values, strict=True)}
        for names, values in zip((FEATURES, SMPL24.joints), fitted, strict=True)
    )
    options.output.write_text(json.dumps({"weights": weights, "bias": bias}, indent=1) + "\n")
    print(f"confidence    joints   of these within {1000 * RIGHT:.0f} mm")
    for low, high, count, mean, right in table:
        print(
            f"{low:.2f} - {high:.2f}  {count:7}   {100 * right:5.1f} %  (said {100 * mean:5.1f} %)"
        )
    if options.plot:
        plot(table, options.plot)


def gathered(folder: Path) -> Sample:
    """Features, and whether each joint is right, of everybody in the videos of a folder."""
    model, body = load_model(None, torch.device("cpu")), load_body()
    posed = PosedBody(body)
    values, rights = [], []
    readings = read_videos_in_boxes(folder)
    for reading in Stage("recovering").track(readings, len(readings), unit="person"):
        track = track_of(reading)
        if track is None:
            continue
        truth = reading.truth
        camera = Camera.with_assumed_focal(truth.camera.width, truth.camera.height)
        motion = recover(model, body, track, camera, truth.fps)
        points = body.regress(motion.smpl, posed.points_of(BLAZEPOSE23))
        seen = Seen(
            motion.keypoints,
            camera.project(points).numpy(),
            motion.joints,
            motion.boxes,
            seconds_away(motion.times, motion.observed),
        )
        true = truth.joints[np.searchsorted(truth.frames, motion.frames)]
        error = (motion.joints - motion.joints[:, :1]) - (true - true[:, :1])
        values.append(features(seen))
        rights.append(np.linalg.norm(error, axis=-1) < RIGHT)
    return np.concatenate(values), np.concatenate(rights)


def track_of(reading: Reading) -> Track | None:
    """What `track` would follow; None for somebody who was hardly read."""
    truth, found = reading.truth, reading.found.astype(np.float32)
    rows = np.flatnonzero((found[..., 2] > 0).sum(-1) >= READABLE_JOINTS)
    if len(rows) < SHORTEST:
        return None
    boxes = extents(found[rows]).astype(np.float32)
    return Track(0, truth.frames[rows], truth.times[rows], boxes, found[rows], BLAZEPOSE23)


def fit(
    values: Float[ndarray, "n 24 6"], right: Bool[ndarray, "n 24"]
) -> tuple[Float[ndarray, "6"], Float[ndarray, "24"]]:
    """Logistic regression: one weight for each feature, one bias for each joint but the pelvis."""
    inputs = torch.from_numpy(np.ascontiguousarray(values[:, 1:])).float()
    answers = torch.from_numpy(right[:, 1:]).float()
    weights = torch.zeros(inputs.shape[-1], requires_grad=True)
    bias = torch.zeros(inputs.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        odds = inputs @ weights + bias
        value = nn.functional.binary_cross_entropy_with_logits(odds, answers)
        value = value + 1e-4 * (weights.square().sum() + bias.square().sum())
        value.backward()
        return value

    optimizer.step(loss)
    # The pelvis, where everything is measured from, has the others' word.
    return weights.detach().numpy(), np.concatenate([[0.0], bias.detach().numpy()])


def reliability(
    values: Float[ndarray, "n 24 6"],
    right: Bool[ndarray, "n 24"],
    fitted: tuple[Float[ndarray, "6"], Float[ndarray, "24"]],
) -> list[tuple[float, float, int, float, float]]:
    """Bounds, number of joints, mean confidence and share that is right, bin by bin."""
    said = (1 / (1 + np.exp(-(values @ fitted[0] + fitted[1]))))[:, 1:]
    table = []
    for low, high in itertools.pairwise(BINS):
        chosen = (said >= low) & (said < high)
        if chosen.any():
            mean, share = float(said[chosen].mean()), float(right[:, 1:][chosen].mean())
            table.append((low, high, int(chosen.sum()), mean, share))
    return table


def plot(table: list[tuple[float, float, int, float, float]], path: Path) -> None:
    """Said against so."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5))
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([row[3] for row in table], [row[4] for row in table], "o-")
    axes.set_xlabel("confidence")
    axes.set_ylabel(f"share of joints within {1000 * RIGHT:.0f} mm")
    axes.set_aspect("equal")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    run_door(main)
