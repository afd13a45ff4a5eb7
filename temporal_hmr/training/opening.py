"""Opening what a run learns from: motion capture, rendered clips, or the field's datasets."""

import logging
from collections.abc import Iterator
from collections.abc import Sequence as Many
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from temporal_hmr.body.load import load_body
from temporal_hmr.checkpoint import file_hash
from temporal_hmr.configuration import Config
from temporal_hmr.data.augmentation import CropAugmentation
from temporal_hmr.data.cutouts import require_room
from temporal_hmr.data.datasets import read_sequences
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.mocap import TakesConfig, counted_subjects, read_takes, split_subjects
from temporal_hmr.data.pseudo_labels import PseudoLabels
from temporal_hmr.data.read_people import Readings, ReadingsConfig, ReadPeople
from temporal_hmr.data.rendered import RenderedClips, holds_clips
from temporal_hmr.data.restated_shapes import restated
from temporal_hmr.data.sequence import Sequence, ShardFrames
from temporal_hmr.data.shards import dealt
from temporal_hmr.data.synthetic import Augmentation, MotionBank
from temporal_hmr.data.windows import WindowCutter, WindowSettings
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.rendering.renderer import Renderer, find_pictures
from temporal_hmr.rendering.settings import RenderingConfig
from temporal_hmr.training import distributed
from temporal_hmr.training.dataset_source import DatasetWindows
from temporal_hmr.training.prefetch import Prefetched
from temporal_hmr.training.sources import MocapWindows, RenderedWindows, Source

_log = logging.getLogger(__name__)
_OF_MOCAP = ("mocap", "augmentation", "noise", "pseudo_labels", "rendering", "readings")
"""Settings of how motion capture becomes windows."""


class MocapConfig(TakesConfig):
    """How motion capture is read, which of it trains, and which is held out."""

    held_out: tuple[str, ...] = ()
    """Whole subjects (folder names) for evaluation only."""
    ignored: tuple[str, ...] = ()
    """Subjects used for neither, such as those who may appear among unnamed takes."""


class DatasetPart(Config):
    """One part of one dataset."""

    dataset: str
    """Its name, and that of its folder in the folder of data."""
    part: str = "train"
    weight: float = Field(default=1.0, gt=0)
    """How likely a clip of training is from it, relative to the others."""


class DatasetsConfig(Config):
    """Labelled pictures and videos, and how they become windows."""

    train: tuple[DatasetPart, ...] = Field(min_length=1)
    judge: tuple[DatasetPart, ...] = Field(min_length=1)
    windows: WindowSettings = WindowSettings()
    """Frames and side of the crops are the model's."""
    augmentation: CropAugmentation = CropAugmentation()
    detector: bool = False
    """Whether a detector with `noise` stands in for the annotators of keypoints."""
    skip_broken: bool = False
    """Leave out what is broken, and say so; else it is an error."""


class DataConfig(Config):
    """What a run learns from, and how it varies."""

    mocap: MocapConfig = MocapConfig()
    augmentation: Augmentation = Augmentation()
    noise: DetectorNoise = DetectorNoise()
    pseudo_labels: PseudoLabels | None = None
    """Makes some labels as wrong as fits to pictures are, to measure what that does."""
    rendering: RenderingConfig | None = None
    """Draw motion capture as it trains, for models of images; the side is the model's."""
    readings: ReadingsConfig = ReadingsConfig()
    """How much of motion capture is what a detector really read, if that is given."""
    datasets: DatasetsConfig | None = None
    """Learn from these instead of motion capture."""
    workers: int = Field(default=0, ge=0)
    """Threads that make batches while the last one is being learned; 0 makes them when asked."""


@dataclass(frozen=True)
class Given:
    """What a run is given to learn from."""

    data: Path
    """Motion capture, rendered clips, or a folder with a folder for each dataset."""
    held_out: Many[Path] = ()
    """Rendered clips of other subjects to judge by."""
    backgrounds: Path | None = None
    """Folder of pictures for behind the people who are rendered; None makes pictures up."""
    readings: Path | None = None
    """Of people in rendered videos, by the built-in detector (scripts/read_videos.py); None leaves
    it at made-up detections."""
    keypoints: Path | None = None
    """Weights of a keypoint tokenizer, which stay as they are; None trains one first."""
    rotations: Path | None = None
    """Weights of a rotation tokenizer, which a head of tokens needs."""
    classifier: Path | None = None
    """Weights of PCT's classifier of images, which an encoder with one needs."""
    start: Path | None = None
    """Weights of a whole model to go on from; tokenizers and classifier are in them."""
    smpl: Path | None = None
    """Folder of SMPL bodies, for datasets whose labels are SMPL's."""

    def hashes(self) -> dict[str, str]:
        """SHA-256 of weights and readings; raises `InputError` for those not there."""
        weights = {
            "keypoints": self.keypoints,
            "rotations": self.rotations,
            "classifier": self.classifier,
            "start": self.start,
        }
        for name, path in weights.items():
            if path is not None and not path.is_file():
                raise InputError(f"there are no weights of {name} at {path}")
        if self.readings is not None and not self.readings.is_file():
            raise InputError(f"there are no readings at {self.readings}")
        files = {**weights, "readings": self.readings}
        return {name: file_hash(path) for name, path in files.items() if path is not None}


def open_source(config: DataConfig, model: HmrConfig, given: Given) -> Source:
    """Windows to learn from; raises `InputError` where settings and data do not go together."""
    if given.backgrounds is not None and config.rendering is None:
        raise InputError(
            "--backgrounds are for people who are rendered as they train: leave them out, or give "
            "the configuration rendering: {}"
        )
    drawn = config.datasets or config.rendering or holds_clips(given.data)
    if given.readings is not None and drawn:
        raise InputError(
            "--readings go with motion capture for models of keypoints: leave them out here"
        )
    if config.datasets is not None:
        return _datasets(config, config.datasets, model, given)
    if model.body != "open":
        raise InputError(f"model.body: only datasets teach the shapes of {model.body}")
    body = PosedBody(load_body()).requires_grad_(False)
    if holds_clips(given.data):
        return _rendered(config, model, given, body)
    if given.held_out:
        raise InputError(
            "--held-out goes with rendered clips; of motion capture mocap.held_out says who judges"
        )
    renderer = _renderer(config.rendering, model.image_side(), given, body)
    takes = read_takes(given.data, config.mocap)
    training, judging = split_subjects(takes, config.mocap.held_out, config.mocap.ignored, "mocap.")
    return MocapWindows(
        MotionBank.of(training),
        MotionBank.of(judging),
        body,
        config.augmentation,
        config.noise,
        model.window,
        config.pseudo_labels,
        renderer,
        _readings(config, given.readings, body),
        counted_subjects(takes),
    )


def _readings(config: DataConfig, path: Path | None, body: PosedBody) -> Readings | None:
    if path is None:
        if "readings" in config.model_fields_set:
            raise InputError(
                "the configuration wants readings: give a file made by scripts/read_videos.py with "
                "--readings, or leave them out"
            )
        return None
    people = ReadPeople.open(path, body)
    people.require_none_of((*config.mocap.held_out, *config.mocap.ignored))
    return Readings(people, config.readings)


@contextmanager
def ahead(source: Source, workers: int) -> Iterator[Source]:
    """A source whose batches are made ahead by so many threads.

    At the end log lines say how many images could not be read, or lacked what shards do not hold.
    """
    if workers == 0:
        yield source
    else:
        prefetched = Prefetched(source, workers, ahead=2 * workers)
        try:
            yield prefetched
        finally:
            prefetched.close()
    if isinstance(source, DatasetWindows):
        for account in (source.cutter.unreadable, source.cutter.uncovered):
            if len(account):
                _log.warning("%s", account.summary())


def _renderer(
    settings: RenderingConfig | None, side: int | None, given: Given, body: PosedBody
) -> Renderer | None:
    """What draws motion capture for a model that looks at images of so many pixels, if it does."""
    if side is None:
        if settings is not None:
            raise InputError("rendering does nothing for a model of keypoints: leave it out")
        return None
    if settings is None:
        raise InputError(
            f"this model looks at images of {side} pixels: rendering: {{}} in the configuration "
            "draws motion capture as it trains; or give clips rendered with "
            "scripts/render_clips.py as --data"
        )
    if "side" in settings.model_fields_set and settings.side != side:
        raise InputError(
            f"rendering.side is {settings.side}, the model looks at images of {side} pixels: leave "
            "it out"
        )
    settings = settings.model_copy(update={"side": side})
    return Renderer(body.body, settings, find_pictures(given.backgrounds))


def _rendered(
    config: DataConfig, model: HmrConfig, given: Given, body: PosedBody
) -> RenderedWindows:
    _refuse_idle(config, _OF_MOCAP, "rendered clips")
    train = RenderedClips.open(given.data)
    if not given.held_out:
        raise InputError("give clips of other subjects to judge by with --held-out FOLDER")
    judges = {folder.name: RenderedClips.open(folder) for folder in given.held_out}
    if len(judges) < len(given.held_out):
        raise InputError("--held-out: two folders of one name; figures are told apart by it")
    for clips in (train, *judges.values()):
        clips.require_fit(model)
    for clips in judges.values():
        train.require_none_of(clips.description.subjects)
    return RenderedWindows(train, judges, body, model.window)


def _datasets(
    config: DataConfig, datasets: DatasetsConfig, model: HmrConfig, given: Given
) -> Source:
    if given.held_out:
        raise InputError("--held-out does nothing with datasets: leave it out")
    unused = [name for name in _OF_MOCAP if name != "noise" or not datasets.detector]
    _refuse_idle(config, unused, "datasets")
    # Only now: a run that is continued has noted all settings, these among them.
    for name in ("frames", "side"):
        if name in datasets.windows.model_fields_set:
            raise InputError(f"datasets: windows.{name} is the model's: leave it out")
    bodies = Bodies(given.smpl)
    body = load_body() if model.body == "open" else bodies.of("neutral").float()
    shapes = {"frames": model.window, "side": model.image_side()}
    cutter = WindowCutter(
        datasets.windows.model_copy(update=shapes),
        PosedBody(body).requires_grad_(False),
        datasets.augmentation,
        config.noise if datasets.detector else None,
    )

    def read(parts: tuple[DatasetPart, ...]) -> dict[str, list[Sequence]]:
        found: dict[str, list[Sequence]] = {}
        for part in parts:
            name = f"{part.dataset} {part.part}"
            if name in found:
                raise InputError(f"datasets: {name} is named twice")
            folder = given.data / part.dataset
            sequences = read_sequences(part.dataset, folder, part.part, datasets.skip_broken)
            found[name] = [_restated(each, bodies, model) for each in sequences]
        return found

    weights = {f"{part.dataset} {part.part}": part.weight for part in datasets.train}
    train, judges = read(datasets.train), read(datasets.judge)
    for name, sequences in train.items():
        require_room(sequences, datasets.augmentation, model.image_side(), name)
    own = {name: _own(sequences) for name, sequences in train.items()}
    return DatasetWindows(own, weights, judges, cutter)


def _own(sequences: list[Sequence]) -> list[Sequence]:
    """What this process learns from: of shards a part, of loose files everything."""
    if not any(isinstance(each.images, ShardFrames) for each in sequences):
        return sequences
    return dealt(sequences, distributed.rank(), distributed.process_count())


def _refuse_idle(config: DataConfig, names: Many[str], source: str) -> None:
    """Raise `InputError` for settings that were made and that this kind of data does not read."""
    made = [name for name in names if name in config.model_fields_set]
    if made:
        raise InputError(f"{made[0]} does nothing with {source}: leave it out")


def _restated(sequence: Sequence, bodies: Bodies, model: HmrConfig) -> Sequence:
    """With shapes that the model speaks of."""
    as_is = model.body == "smpl" and sequence.smpl_gender == "neutral"
    if sequence.smpl is None or as_is:
        return sequence
    other = load_body() if model.body == "open" else bodies.of("neutral")
    return restated(sequence, bodies.of(sequence.smpl_gender), other)
