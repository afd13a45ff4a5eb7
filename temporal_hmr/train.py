"""Train tokenizer, frames, then motion: `python -m temporal_hmr.train CONFIG --data MOCAP`.

A configuration with a single lesson, `training`, is that of the rotation tokenizer.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import Field

from temporal_hmr.body.load import load_body
from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.configuration import Config, parse_config, read_settings
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.mocap import read_takes, split_subjects
from temporal_hmr.data.synthetic import Augmentation, MotionBank
from temporal_hmr.device import choose_device
from temporal_hmr.errors import InputError
from temporal_hmr.losses import LossWeights
from temporal_hmr.models.hmr import Hmr, HmrConfig, PosedBody
from temporal_hmr.recover import CHECKPOINT_KIND
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer
from temporal_hmr.training.loop import LoopSettings, fit, make_folder
from temporal_hmr.training.rotation_task import RotationTrainingConfig, train_rotations
from temporal_hmr.training.tasks import HmrTask, TokenizerTask, Windows


class MocapConfig(Config):
    """Which motion capture trains, and which is held out."""

    held_out: tuple[str, ...] = ()
    """Whole subjects (folder names) for evaluation only."""
    ignored: tuple[str, ...] = ()
    """Subjects used for neither, such as those who may appear among unnamed takes."""


class TrainingConfig(Config):
    """A whole run: one YAML file."""

    mocap: MocapConfig = MocapConfig()
    model: HmrConfig = HmrConfig()
    augmentation: Augmentation = Augmentation()
    noise: DetectorNoise = DetectorNoise()
    losses: LossWeights = LossWeights()
    short_clip: int = Field(default=4, gt=0)
    """Frames of a clip while single poses are learned; many short clips differ more than few."""
    tokenizer_training: LoopSettings
    frame_training: LoopSettings
    motion_training: LoopSettings | None = None
    """None, or a model without temporal module, stops after single frames."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Train what the configuration says, resuming whatever lies unfinished in the output folder.

    Raises `InputError` if configuration, data or output folder cannot be used.
    """
    parser = DoorParser("temporal-hmr train", "Train the tokenizer, then the model.")
    parser.add_argument("config", type=Path, metavar="CONFIG", help="YAML file, see configs/")
    parser.add_argument(
        "--data", type=Path, required=True, metavar="FOLDER", help="motion capture (npz, bvh)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FOLDER", help="run folder (runs/<name of CONFIG>)"
    )
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu or cuda (auto)")
    options = parser.parse_args(arguments)
    values = read_settings(options.config)
    # Only the rotation tokenizer has a single lesson.
    alone = isinstance(values, dict) and "training" in values
    folder = options.output or Path("runs") / options.config.stem
    device = choose_device(options.device)
    source = str(options.config)
    try:
        if alone:
            rotations = parse_config(values, RotationTrainingConfig, source)
            _claim(folder, rotations)
            takes = read_takes(options.data)
            print(train_rotations(rotations, takes, load_body(), folder, device))
        else:
            config = parse_config(values, TrainingConfig, source)
            print(train(config, options.data, folder, device))
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            f"the same command continues {folder} from its last checkpoint"
        ) from None


def train(config: TrainingConfig, data: Path, folder: Path, device: torch.device) -> Path:
    """The lessons in order (tokenizer, frames, motion); returns the path of the model's weights.

    The folder gets `tokenizer/`, `frames/` and `motion/` (state and log of each),
    `tokenizer.safetensors` and `model.safetensors`.
    """
    windows = _windows(config, data)
    _claim(folder, config)
    torch.manual_seed(config.tokenizer_training.seed)
    tokenizer = KeypointTokenizer(config.model.tokenizer)
    lesson = TokenizerTask(tokenizer, replace(windows, frames=config.short_clip), device)
    tokenizer = fit(lesson, config.tokenizer_training, folder / "tokenizer", device)
    tokenizer_path = folder / "tokenizer.safetensors"
    save_checkpoint(
        tokenizer, config.model.tokenizer, "keypoint-tokenizer", tokenizer_path, half=False
    )
    torch.manual_seed(config.frame_training.seed)
    model = Hmr(config.model, tokenizer)
    short = replace(windows, frames=config.short_clip)
    task = HmrTask(model, short, config.losses, device, temporal=False)
    model = fit(task, config.frame_training, folder / "frames", device)
    if config.motion_training is not None and model.motion is not None:
        task = HmrTask(model, windows, config.losses, device, temporal=True)
        model = fit(task, config.motion_training, folder / "motion", device)
    path = folder / "model.safetensors"
    save_checkpoint(model, config.model, CHECKPOINT_KIND, path, half=True)
    return path


def _claim(folder: Path, config: Config) -> None:
    """Refuse to continue a run with other settings; how long to train may change."""
    make_folder(folder)
    path = folder / "config.json"
    values = config.model_dump(mode="json")
    lessons = [name for name in values if name.endswith("training")]
    for name in (name for name in lessons if values[name] is not None):
        for free in ("steps", "save_every", "evaluate_every"):
            del values[name][free]
    if path.exists():
        earlier = json.loads(path.read_text())
        for name, value in values.items():
            if earlier.get(name) != value:
                raise InputError(
                    f"{folder} holds a run with another configuration ({name} differs); "
                    "continue it with its own, or give this one another --output folder"
                )
    path.write_text(json.dumps(values, indent=1))


def _windows(config: TrainingConfig, data: Path) -> Windows:
    takes = read_takes(data)
    mocap = config.mocap
    training, evaluation = split_subjects(takes, mocap.held_out, mocap.ignored)
    body = load_body()
    if config.model.body != body.name:
        raise InputError(f"model.body: there is no body {config.model.body}, only {body.name}")
    return Windows(
        MotionBank.of(training),
        MotionBank.of(evaluation),
        PosedBody(body).requires_grad_(False),
        config.augmentation,
        config.noise,
        config.model.window,
    )


if __name__ == "__main__":
    run_door(main)
