"""Measure TALS's thresholds anew: how far a trained model is from a truth that is known exactly.

    python scripts/estimate_thresholds.py configs/temporal.yaml --data MOCAP -o tals.yaml

TokenHMR's published thresholds hold for its camera and its joints. This measures those of any model
on held-out motion capture seen by an imitated detector, or on rendered clips, and writes the `tals`
settings of a training configuration. The configuration given says what the rest of them is (metric,
weights), who is held out, and what the detector is like; without one everybody's motion counts.
"""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import yaml
from torch import nn

from temporal_hmr.body.load import load_body
from temporal_hmr.command_line import DoorParser, Stage, run_door
from temporal_hmr.configuration import load_config
from temporal_hmr.data.mocap import read_takes, split_subjects
from temporal_hmr.data.rendered import RenderedClips, holds_clips
from temporal_hmr.data.synthetic import MotionBank
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.clips import ClipTrial
from temporal_hmr.losses_tals import TalsConfig, TalsPrediction, TalsTarget
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.recover import default_weights, load_model
from temporal_hmr.training.loop import LoopSettings
from temporal_hmr.training.run import TrainingConfig
from temporal_hmr.training.sources import Labelled, MocapWindows
from temporal_hmr.training.tals_terms import measured_thresholds, tals_prediction, tals_target
from temporal_hmr.training.tasks import in_parts


def main(arguments: Sequence[str] | None = None) -> None:
    """Print or write the settings; raises `InputError` for what cannot be measured."""
    options = _parse(arguments)
    weights = options.weights or default_weights()
    config = _training_config(options.config)
    model = load_model(weights, torch.device("cpu"))
    body = PosedBody(load_body()).requires_grad_(False)
    parts = _judged(model, body, _batches(options.data, config, model, body))
    tals = measured_thresholds(
        Stage("measuring").track(parts, unit="part"),
        config.tals or TalsConfig(),
        options.percentile,
    )
    text = _as_yaml(tals, _what(options, weights))
    if options.output is None:
        print(text, end="")
        return
    with atomic_path(options.output) as path:
        path.write_text(text, encoding="utf-8")
    print(f"{options.output}: tals settings for a training configuration")


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser("estimate_thresholds.py", "Measure thresholds of TokenHMR's losses.")
    add = parser.add_argument
    add("config", type=Path, nargs="?", metavar="CONFIG", help="of training; see configs/")
    add("--data", type=Path, required=True, metavar="FOLDER", help="mocap, or rendered clips")
    add("--weights", type=Path, metavar="FILE", help="your model instead of the embedded one")
    add("--percentile", type=float, metavar="P", help="of the errors (their mean)")
    add("-o", "--output", type=Path, metavar="FILE", help="YAML (standard output)")
    options = parser.parse_args(arguments)
    if options.percentile is not None and not 0 <= options.percentile <= 100:
        raise InputError(f"--percentile takes a number from 0 to 100, not {options.percentile:g}")
    return options


def _training_config(path: Path | None) -> TrainingConfig:
    """As given, or one of nothing but defaults."""
    if path is None:
        return TrainingConfig(frame_training=LoopSettings(steps=1, clips=1))
    return load_config(path, TrainingConfig)


def _batches(data: Path, config: TrainingConfig, model: Hmr, body: PosedBody) -> Iterator[Labelled]:
    """Windows whose truth is exact, a few at a time."""
    if holds_clips(data):
        clips = RenderedClips.open(data)
        clips.require_fit(model.config)
        yield from ClipTrial(model, body, clips, range(len(clips))).batches()
        return
    if (side := model.config.image_side()) is not None:
        raise InputError(
            f"this model looks at images of {side} pixels: give clips rendered with "
            "scripts/render_clips.py as --data, not motion capture"
        )
    if model.config.body != body.body.name:
        raise InputError(f"there is no body {model.config.body}, only {body.body.name}")
    takes, mocap = read_takes(data, config.mocap), config.mocap
    if mocap.held_out:
        takes = split_subjects(takes, mocap.held_out, mocap.ignored)[1]
    bank = MotionBank.of(takes)
    windows = MocapWindows(bank, bank, body, config.augmentation, config.noise, config.short_clip)
    yield from in_parts(windows.held_out()["noisy"])


def _judged(
    model: nn.Module, body: PosedBody, batches: Iterator[Labelled]
) -> Iterator[tuple[TalsPrediction, TalsTarget]]:
    """Frame by frame, as TALS judges them in training."""
    for window, target in batches:
        with torch.inference_mode():
            prediction = model(window, body, False)
            yield tals_prediction(prediction), tals_target(target, window, body)


def _what(options: Namespace, weights: Path) -> str:
    measure = "mean" if options.percentile is None else f"percentile {options.percentile:g} of the"
    return f"Thresholds: {measure} errors of {weights.name} on {options.data}."


def _as_yaml(tals: TalsConfig, what: str) -> str:
    """A group `tals`, to be put into a training configuration as it is."""
    values = {"tals": tals.model_dump(mode="json")}
    return f"# {what}\n{yaml.safe_dump(values, sort_keys=False)}"


if __name__ == "__main__":
    run_door(main)
