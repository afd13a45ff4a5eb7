"""A whole run: the lessons of a configuration in order, from whatever source there is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from pydantic import Field, model_validator

from temporal_hmr.checkpoint import load_weights, read_config, save_checkpoint
from temporal_hmr.configuration import Config, parse_config
from temporal_hmr.errors import InputError
from temporal_hmr.losses import LossWeights
from temporal_hmr.losses_tals import TalsConfig
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.image_pose_encoder import ImagePoseEncoder
from temporal_hmr.models.token_head import BodyTokenHeadConfig, TokenHeadConfig
from temporal_hmr.recover import CHECKPOINT_KIND
from temporal_hmr.tokenizers.keypoint_classifier import ImagePoseTokensConfig
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer, KeypointTokenizerConfig
from temporal_hmr.tokenizers.rotations import RotationTokenizer, RotationTokenizerConfig
from temporal_hmr.training.checkpoints import replace_text
from temporal_hmr.training.distributed import is_first, wait_for_all
from temporal_hmr.training.loop import LoopSettings, fit, make_folder
from temporal_hmr.training.opening import DataConfig, Given, ahead, open_source
from temporal_hmr.training.rotation_task import CHECKPOINT_KIND as ROTATION_KIND
from temporal_hmr.training.sources import MixedLengths, Source, without_images
from temporal_hmr.training.tasks import KEYPOINT_KIND, HmrTask, Lesson, TokenizerTask

CLASSIFIER_KIND = "image-pose-tokens"
TOKENIZER = "tokenizer.safetensors"
FREE_TO_CHANGE = (
    "steps",
    "accumulate",
    "compile",
    "save_every",
    "evaluate_every",
    "best_by",
    "best_is",
    "tensorboard",
    "looks",
)
"""Settings of a lesson that may differ when a run is continued."""


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
    reading_training: LoopSettings | None = None
    """First readings, of short clips; for models with a context, of detected keypoints."""
    context_training: LoopSettings | None = None
    """First readings again, of whole windows."""
    context_short_share: float = Field(default=0.0, ge=0, lt=1)
    """Share of the steps of context_training that see short clips still, as many frames of them."""
    frame_training: LoopSettings | None = None
    """Single frames, by all that is not temporal."""
    motion_training: LoopSettings | None = None
    """Whole windows; nothing for a model that is not temporal."""

    @model_validator(mode="after")
    def _lessons_fit(self) -> "TrainingConfig":
        read = self.reading_training or self.context_training
        if read and (self.model.context is None or self.model.encoder.kind != "keypoints"):
            raise ValueError(
                "reading_training and context_training are for a model.context, behind an encoder "
                "of keypoints"
            )
        if self.motion_training and not (read or self.frame_training):
            raise ValueError("motion_training: frames come first: give frame_training")
        return self

    def lessons(self) -> list["PlannedLesson"]:
        """What there is to learn of bodies, in order."""
        motion = self.motion_training if self.model.is_temporal() else None
        planned: tuple[tuple[str, Lesson, LoopSettings | None, bool], ...] = (
            ("readings", "readings", self.reading_training, False),
            ("context", "readings", self.context_training, True),
            ("frames", "frames", self.frame_training, False),
            ("motion", "motion", motion, True),
        )
        return [
            PlannedLesson(folder, kind, settings, long)
            for folder, kind, settings, long in planned
            if settings is not None
        ]


@dataclass(frozen=True)
class PlannedLesson:
    """One lesson of a run."""

    folder: str
    kind: Lesson
    settings: LoopSettings
    long: bool
    """Whether on whole windows, not on short clips."""


def train(config: TrainingConfig, given: Given, folder: Path, device: torch.device) -> Path:
    """The lessons in order; returns the path of the last one's weights.

    They are tokenizer, readings, context, frames and motion, as many as the configuration has. Each
    has its folder (state and log); beside them come `tokenizer.safetensors` and
    `model.safetensors`. Raises `InputError` if configuration, data, earlier weights or folder do
    not go together.
    """
    _refuse_with_start(config, given)
    rotations = None if given.start else _rotations(config.model, given.rotations)
    windows = open_source(config, config.model, given)
    short = windows.of_length(config.short_clip)
    lessons = config.lessons()
    long = windows.of_length(config.model.window)
    sources = [_source(each, config, short, long) for each in lessons]
    claim(folder, config, given.hashes())
    tokenizer = None
    if given.start is None:
        tokenizer = _keypoints(config, without_images(short), folder, device, given.keypoints)
    if not lessons:
        if tokenizer is None or given.keypoints is not None:
            raise InputError("the configuration has nothing to train: give it frame_training")
        return folder / TOKENIZER
    torch.manual_seed(lessons[0].settings.seed)
    model = Hmr(config.model, tokenizer, rotations)
    if given.start is None:
        _fill_classifier(model, given.classifier)
    else:
        _begin_from(model, given.start)
    for lesson, source in zip(lessons, sources, strict=True):
        with ahead(source, config.workers) as prepared:
            task = HmrTask(model, prepared, config.losses, device, lesson.kind, config.tals)
            model = fit(task, lesson.settings, folder / lesson.folder, device)
            task.release(model)
    path = folder / "model.safetensors"
    if is_first():
        save_checkpoint(model, model.config, CHECKPOINT_KIND, path, half=True)
    return path


def _source(lesson: PlannedLesson, config: TrainingConfig, short: Source, long: Source) -> Source:
    """What a lesson sees."""
    if not lesson.long:
        return short
    if lesson.kind != "readings" or config.context_short_share == 0:
        return long
    per_window = max(config.model.window // config.short_clip, 1)
    return MixedLengths(long, short, config.context_short_share, per_window)


def _refuse_with_start(config: TrainingConfig, given: Given) -> None:
    """Raise `InputError` for what trained weights of a whole model leave nothing to do for."""
    if given.start is None:
        return
    idle = {
        "tokenizer_training": config.tokenizer_training,
        "--tokenizer": given.keypoints,
        "--rotations": given.rotations,
        "--classifier": given.classifier,
    }
    for name, value in idle.items():
        if value is not None:
            raise InputError(f"{name}: the weights given with --start have it inside: leave it out")


def _begin_from(model: Hmr, path: Path) -> None:
    stored = read_config(path, CHECKPOINT_KIND, HmrConfig)
    names = [name for name in HmrConfig.model_fields if name != "window"]
    differing = [name for name in names if getattr(stored, name) != getattr(model.config, name)]
    if differing:
        raise InputError(
            f"{path} has other settings than the configuration (model.{differing[0]}): "
            "a model goes on as it was"
        )
    load_weights(model, path)


def _keypoints(
    config: TrainingConfig, short: Source, folder: Path, device: torch.device, path: Path | None
) -> KeypointTokenizer | None:
    """The tokenizer of detected keypoints, trained now or before; None for models without."""
    if not config.model.reads_keypoint_tokens():
        if path is not None:
            raise InputError("--tokenizer: this model reads no tokens of keypoints: leave it out")
        if config.tokenizer_training is not None:
            raise InputError("tokenizer_training: this model reads no tokens: leave it out")
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
    with ahead(short, config.workers) as source:
        lesson = TokenizerTask(tokenizer, source, device)
        tokenizer = fit(lesson, config.tokenizer_training, folder / "tokenizer", device)
    if is_first():
        lesson.save(tokenizer, folder / TOKENIZER)
    return tokenizer


def _tokenizer_from(path: Path, model: HmrConfig) -> KeypointTokenizer:
    stored = read_config(path, KEYPOINT_KIND, KeypointTokenizerConfig)
    if stored != model.tokenizer:
        raise InputError(f"{path} has other settings than model.tokenizer in the configuration")
    tokenizer = KeypointTokenizer(stored)
    load_weights(tokenizer, path)
    return tokenizer


def _fill_classifier(model: Hmr, path: Path | None) -> None:
    """Weights of the classifier inside, which stay as they are."""
    encoder = model.encoder
    classifier = encoder.classifier if isinstance(encoder, ImagePoseEncoder) else None
    if (classifier is None) != (path is None):
        if path is not None:
            raise InputError("--classifier: this model has no classifier: leave it out")
        raise InputError(
            "encoder.classifier reads pose tokens off images as it was taught to: give converted "
            "weights of PCT with --classifier"
        )
    if classifier is not None and path is not None:
        if read_config(path, CLASSIFIER_KIND, ImagePoseTokensConfig) != classifier.config:
            raise InputError(f"{path} has other settings than model.encoder.classifier")
        load_weights(classifier, path)


def _rotations(model: HmrConfig, path: Path | None) -> RotationTokenizer | None:
    """The rotation tokenizer of a head that chooses among poses; None for others."""
    head = model.head
    if not isinstance(head, BodyTokenHeadConfig | TokenHeadConfig):
        if path is not None:
            raise InputError(f"--rotations does nothing with a head of {head.kind}: leave it out")
        return None
    if path is None:
        raise InputError(
            f"a head of {head.kind} chooses among learned poses: give --rotations the weights that "
            "training configs/rotation_tokenizer.yaml ends in"
        )
    stored = read_config(path, ROTATION_KIND, RotationTokenizerConfig)
    if stored != head.tokenizer:
        raise InputError(f"{path} has other settings than model.head.tokenizer asks for")
    tokenizer = RotationTokenizer(stored)
    load_weights(tokenizer, path)
    return tokenizer


def claim(folder: Path, config: Config, given: Mapping[str, str] = MappingProxyType({})) -> None:
    """Refuse to continue a run with other settings; how long to train may change.

    `given` names, by hash, the weights that it starts from.
    """
    make_folder(folder)
    if is_first():
        _claim(folder / "config.json", config, dict(given))
    wait_for_all()


def _claim(path: Path, config: Config, weights: dict[str, str]) -> None:
    now = _what_must_stay(config)
    if path.exists():
        earlier = _earlier(path)
        # Earlier versions did not note them.
        earlier_weights = earlier.pop("weights", weights)
        for lesson in (name for name in earlier if name.endswith("training") and earlier[name]):
            earlier[lesson]["steps"] = 1  # any: it may change
        # Settings that are newer than the run had their default in it.
        then = _what_must_stay(parse_config(earlier, type(config), str(path)))
        differing = [name for name in now if now[name] != then[name]]
        for name in sorted(set(weights) | set(earlier_weights)):
            if weights.get(name) != earlier_weights.get(name):
                differing.append(f"weights of {name}")
        if differing:
            raise InputError(
                f"{path.parent} holds a run with another configuration ({differing[0]} differs); "
                "continue it with its own, or give this one another --output folder"
            )
    replace_text(path, json.dumps(now | {"weights": weights}, indent=1))


def _earlier(path: Path) -> dict[str, Any]:
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
        whole = isinstance(earlier, dict) and isinstance(earlier.get("weights", {}), dict)
        whole &= all(
            isinstance(earlier[name], dict | None) for name in earlier if name.endswith("training")
        )
    except (OSError, ValueError, RecursionError):
        whole = False
    if not whole:
        raise InputError(
            f"{path} is damaged, and nobody can tell whether the run is of this configuration: "
            "delete the file if it is, or give this one another --output folder"
        )
    return earlier


def _what_must_stay(config: Config) -> dict[str, Any]:
    values = config.model_dump(mode="json", exclude={"workers"})
    lessons = [name for name in values if name.endswith("training") and values[name] is not None]
    for name in lessons:
        for free in FREE_TO_CHANGE:
            del values[name][free]
    return values
