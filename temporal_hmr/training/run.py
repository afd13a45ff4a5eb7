"""A whole run: tokenizer, frames, then motion, from whatever source there is."""

import json
from pathlib import Path

import torch
from pydantic import Field

from temporal_hmr.checkpoint import load_weights, read_config, save_checkpoint
from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.losses import LossWeights
from temporal_hmr.losses_tals import TalsConfig
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.token_head import BodyTokenHeadConfig, TokenHeadConfig
from temporal_hmr.recover import CHECKPOINT_KIND
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer, KeypointTokenizerConfig
from temporal_hmr.tokenizers.rotations import RotationTokenizer, RotationTokenizerConfig
from temporal_hmr.training.loop import LoopSettings, fit, make_folder
from temporal_hmr.training.opening import DataConfig, Given, ahead, open_source
from temporal_hmr.training.rotation_task import CHECKPOINT_KIND as ROTATION_KIND
from temporal_hmr.training.sources import Source
from temporal_hmr.training.tasks import HmrTask, TokenizerTask

KEYPOINT_KIND = "keypoint-tokenizer"
TOKENIZER = "tokenizer.safetensors"


class TrainingConfig(DataConfig):
    """A whole run: one YAML file."""

    model: HmrConfig = HmrConfig()
    losses: LossWeights = LossWeights()
    tals: TalsConfig | None = None
    """TokenHMR's losses in place of ours, while single frames are learned."""
    short_clip: int = Field(default=4, gt=0)
    """Frames of a clip while single poses are learned; many short clips differ more than few."""
    tokenizer_training: LoopSettings | None = None
    """None for models that read no tokens of keypoints, or with `--tokenizer`."""
    frame_training: LoopSettings | None = None
    """None stops after the tokenizer."""
    motion_training: LoopSettings | None = None
    """None, or a model without temporal module, stops after single frames."""


def train(config: TrainingConfig, given: Given, folder: Path, device: torch.device) -> Path:
    """The lessons in order (tokenizer, frames, motion); returns the path of the last's weights.

    The folder gets `tokenizer/`, `frames/` and `motion/` (state and log of each),
    `tokenizer.safetensors` and `model.safetensors`. Raises `InputError` if configuration, data,
    earlier weights or folder do not go together.
    """
    rotations = _rotations(config.model, given.rotations)
    windows = open_source(config, config.model, given)
    claim(folder, config)
    tokenizer = _keypoints(config, windows, folder, device, given.keypoints)
    if config.frame_training is None:
        if tokenizer is None or given.keypoints is not None:
            raise InputError("the configuration has nothing to train: give it frame_training")
        return folder / TOKENIZER
    torch.manual_seed(config.frame_training.seed)
    model = Hmr(config.model, tokenizer, rotations)
    with ahead(windows, config.short_clip, config.workers) as short:
        task = HmrTask(model, short, config.losses, device, temporal=False, tals=config.tals)
        model = fit(task, config.frame_training, folder / "frames", device)
    if config.motion_training is not None and model.motion is not None:
        with ahead(windows, config.model.window, config.workers) as long:
            task = HmrTask(model, long, config.losses, device, temporal=True)
            model = fit(task, config.motion_training, folder / "motion", device)
    path = folder / "model.safetensors"
    save_checkpoint(model, config.model, CHECKPOINT_KIND, path, half=True)
    return path


def _keypoints(
    config: TrainingConfig, windows: Source, folder: Path, device: torch.device, path: Path | None
) -> KeypointTokenizer | None:
    """The tokenizer of detected keypoints, trained now or before; None for models without."""
    if not config.model.reads_keypoint_tokens():
        return None
    if path is not None:
        return _tokenizer_from(path, config.model)
    if config.tokenizer_training is None:
        raise InputError(
            "this model reads tokens of keypoints: give tokenizer_training in the configuration, "
            "or a trained tokenizer with --tokenizer"
        )
    torch.manual_seed(config.tokenizer_training.seed)
    tokenizer = KeypointTokenizer(config.model.tokenizer)
    with ahead(windows, config.short_clip, config.workers) as short:
        lesson = TokenizerTask(tokenizer, short, device)
        tokenizer = fit(lesson, config.tokenizer_training, folder / "tokenizer", device)
    save_checkpoint(
        tokenizer, config.model.tokenizer, KEYPOINT_KIND, folder / TOKENIZER, half=False
    )
    return tokenizer


def _tokenizer_from(path: Path, model: HmrConfig) -> KeypointTokenizer:
    stored = read_config(path, KEYPOINT_KIND, KeypointTokenizerConfig)
    if stored != model.tokenizer:
        raise InputError(f"{path} has other settings than model.tokenizer in the configuration")
    tokenizer = KeypointTokenizer(stored)
    load_weights(tokenizer, path)
    return tokenizer


def _rotations(model: HmrConfig, path: Path | None) -> RotationTokenizer | None:
    """The rotation tokenizer of a head that chooses among poses; None for others."""
    head = model.head
    if not isinstance(head, BodyTokenHeadConfig | TokenHeadConfig):
        if path is not None:
            raise InputError(f"--rotations does nothing with a head of {head.kind}: leave it out")
        return None
    if path is None:
        raise InputError(
            f"a head of {head.kind} chooses among learned poses: train "
            "configs/rotation_tokenizer.yaml first, and give its model.safetensors as --rotations"
        )
    stored = read_config(path, ROTATION_KIND, RotationTokenizerConfig)
    if stored != head.tokenizer:
        raise InputError(f"{path} has other settings than model.head.tokenizer asks for")
    tokenizer = RotationTokenizer(stored)
    load_weights(tokenizer, path)
    return tokenizer


def claim(folder: Path, config: Config) -> None:
    """Refuse to continue a run with other settings; how long to train may change."""
    make_folder(folder)
    path = folder / "config.json"
    values = config.model_dump(mode="json", exclude={"workers"})
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
