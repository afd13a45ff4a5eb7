"""A whole run: the lessons of a configuration in order, from whatever source there is."""

from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import Field, model_validator

from temporal_hmr.checkpoint import load_weights, read_config, save_checkpoint
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
from temporal_hmr.training.checkpoints import LAST
from temporal_hmr.training.claiming import FOLDERS, claim
from temporal_hmr.training.distributed import is_first
from temporal_hmr.training.loop import LoopSettings, chosen_figure, fit, own_clips
from temporal_hmr.training.opening import DataConfig, Given, ahead, open_source
from temporal_hmr.training.optimizers import movers
from temporal_hmr.training.rotation_task import CHECKPOINT_KIND as ROTATION_KIND
from temporal_hmr.training.sources import MixedLengths, MocapWindows, Source, without_images
from temporal_hmr.training.tals_terms import JUDGED
from temporal_hmr.training.tasks import KEYPOINT_KIND, HmrTask, Lesson, TokenizerTask

CLASSIFIER_KIND = "image-pose-tokens"
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
            ("reading_training", "readings", self.reading_training, False),
            ("context_training", "readings", self.context_training, True),
            ("frame_training", "frames", self.frame_training, False),
            ("motion_training", "motion", motion, True),
        )
        return [
            PlannedLesson(name, kind, settings, long)
            for name, kind, settings, long in planned
            if settings is not None
        ]


@dataclass(frozen=True)
class PlannedLesson:
    """One lesson of a run."""

    name: str
    """Of its settings in the configuration."""
    kind: Lesson
    settings: LoopSettings
    long: bool
    """Whether on whole windows, not on short clips."""

    @property
    def folder(self) -> str:
        """Where it lies below the run's."""
        return FOLDERS[self.name]


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
    _look_ahead(config, lessons, sources, folder, device)
    subjects = windows.subjects if isinstance(windows, MocapWindows) else {}
    claim(folder, config, given.hashes(), subjects)
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


def _look_ahead(
    config: TrainingConfig,
    lessons: list[PlannedLesson],
    sources: list[Source],
    folder: Path,
    device: torch.device,
) -> None:
    """Raise `InputError` now for what lessons would raise it for when they begin, hours later."""
    if config.tals is not None:
        config.tals.keypoint_limits(JUDGED)
        config.tals.angle_limits()
    if config.tokenizer_training is not None:
        own_clips(config.tokenizer_training, device)
    model = Hmr(config.model).to(device)
    for lesson, source in zip(lessons, sources, strict=True):
        task = HmrTask(model, source, config.losses, device, lesson.kind, config.tals)
        settings = lesson.settings
        try:
            own_clips(settings, device)
            movers(model, settings)
        except InputError as error:
            raise InputError(f"{lesson.name}: {error}") from error
        begun = (folder / lesson.folder / LAST).exists()
        if settings.best_by is not None and is_first() and not begun:
            chosen_figure(task.evaluate(model), settings, lesson.folder)
        task.release(model)


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
