"""Networks as `transformers` writes them: in a folder here, or on the hub, and from there here."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from temporal_hmr.dependencies import installation
from temporal_hmr.errors import InputError

DETECTOR, POSE = "detector", "pose"
DEFAULTS = {
    DETECTOR: "PekingU/rtdetr_r50vd_coco_o365",
    POSE: "usyd-community/vitpose-base-simple",
}
"""Names on the hub. The terms of both are Apache-2.0, as their model cards state."""
HUB = "https://huggingface.co/"
_CONFIG, _PREPROCESSING = "config.json", "preprocessor_config.json"
_WEIGHTS = "model*.safetensors"


@dataclass(frozen=True)
class Kind:
    """A kind of network that we know what to do with."""

    title: str
    role: str
    model_class: str
    """Of transformers."""


KINDS = {
    "rt_detr": Kind("RT-DETR", DETECTOR, "RTDetrForObjectDetection"),
    "rt_detr_v2": Kind("RT-DETRv2", DETECTOR, "RTDetrV2ForObjectDetection"),
    "vitpose": Kind("ViTPose", POSE, "VitPoseForPoseEstimation"),
}
"""By the `model_type` of their settings."""


@dataclass(frozen=True)
class Pretrained:
    """The files of one network."""

    folder: Path
    origin: str
    """Its address on the hub, or the name of the folder."""
    kind: Kind

    def __str__(self) -> str:
        return f"{self.kind.title} {self.origin}"

    @cached_property
    def sha256(self) -> str:
        """Of settings and weights, hexadecimal."""
        from temporal_hmr.checkpoint import file_hash

        settings = [self.folder / name for name in (_CONFIG, _PREPROCESSING)]
        files = [file for file in settings if file.is_file()] + sorted(self.folder.glob(_WEIGHTS))
        told = "".join(f"{file.name} {file_hash(file)}\n" for file in files)
        return hashlib.sha256(told.encode()).hexdigest()

    def preprocessing(self) -> Mapping[str, Any]:
        """How images are to be prepared, as far as the files say.

        Raises `InputError` if they are damaged.
        """
        file = self.folder / _PREPROCESSING
        return _object_in(file) if file.is_file() else {}


def find_networks(sources: Sequence[str | Path]) -> tuple[Pretrained, Pretrained]:
    """What finds people, and what reads their poses: as given, or the `DEFAULTS` of the hub.

    A source is a folder written by `save_pretrained`, one that holds two such (`detector` and
    `pose`), or a name on the hub, from where it is fetched unless it was before. Raises
    `InputError` if transformers or a network is missing, or is not what it should be.
    """
    if find_spec("transformers") is None:
        raise _absent()
    found: dict[str, Pretrained] = {}
    for part in [part for source in sources for part in _parts(source)]:
        network = _located(part)
        if network.kind.role in found:
            raise InputError(
                f"--detector-weights: {found[network.kind.role]} and {network} do the same; "
                "give one that finds people (RT-DETR) and one that reads poses (ViTPose)"
            )
        found[network.kind.role] = network
    detector, pose = (
        found[role] if role in found else _located(DEFAULTS[role]) for role in (DETECTOR, POSE)
    )
    return detector, pose


def _absent() -> InputError:
    return InputError(f"--detector vitpose needs the package transformers: {installation('vit')}")


def load_module(network: Pretrained) -> Any:
    """The network with its weights, as a module of torch on the CPU, to be used as it is.

    Raises `InputError` if transformers does not know its kind, or the files do not fit.
    """
    try:
        import transformers
    except ImportError as error:
        raise _absent() from error
    model_class = getattr(transformers, network.kind.model_class, None)
    if model_class is None:
        raise InputError(
            f"transformers {transformers.__version__} does not know {network.kind.title}; "
            "run `pip install -U transformers`"
        )
    folder = network.folder
    try:
        with _QuietTransformers():
            module, told = model_class.from_pretrained(
                folder, output_loading_info=True, use_safetensors=True, local_files_only=True
            )
    except Exception as error:  # its own kinds of errors, torch's and those of safetensors
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise InputError(
            f"{folder} does not load as {network.kind.title}: {reason[0]}; get it anew"
        ) from error
    missing = sorted(set(told["missing_keys"]) & {name for name, _ in module.named_parameters()})
    if missing:
        raise InputError(
            f"{folder}: the weights do not match the settings: {missing[0]} is missing "
            f"({len(missing)} in all); get it anew"
        )
    wrong = [name for name, values in module.named_parameters() if not values.isfinite().all()]
    if wrong:
        raise InputError(f"{folder}: {wrong[0]} has entries that are not finite; get it anew")
    return module.eval()


class _QuietTransformers:
    """Meanwhile it neither draws bars nor reports to those who train networks."""

    def __enter__(self) -> None:
        from transformers.utils import logging

        self._verbosity = logging.get_verbosity()
        self._bars = logging.is_progress_bar_enabled()
        logging.set_verbosity_error()
        logging.disable_progress_bar()

    def __exit__(self, *_) -> None:
        from transformers.utils import logging

        logging.set_verbosity(self._verbosity)
        if self._bars:
            logging.enable_progress_bar()


def _parts(source: str | Path) -> list[str | Path]:
    """The folders in a folder of two networks; else the source itself."""
    folder = Path(source)
    if not folder.is_dir() or (folder / _CONFIG).is_file():
        return [source]
    parts: list[str | Path] = [folder / role for role in (DETECTOR, POSE)]
    if not all(Path(part).is_dir() for part in parts):
        raise InputError(
            f"{folder} holds no network: there is neither {_CONFIG} nor a folder {DETECTOR} and a "
            f"folder {POSE}; give what save_pretrained of transformers writes"
        )
    return parts


def _located(source: str | Path) -> Pretrained:
    folder = Path(source)
    if folder.is_dir():
        return _pretrained(folder, folder.absolute().name)
    if isinstance(source, str) and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", source):
        return _pretrained(_fetched(source), HUB + source)
    raise InputError(
        f"--detector-weights: there is no folder {source}; give one, or a name on the hub like "
        f"{DEFAULTS[POSE]}"
    )


def _pretrained(folder: Path, origin: str) -> Pretrained:
    if not (folder / _CONFIG).is_file():
        raise InputError(f"{folder} holds no network: there is no {_CONFIG}; get it anew")
    model_type = _object_in(folder / _CONFIG).get("model_type")
    kind = KINDS.get(model_type) if isinstance(model_type, str) else None
    if kind is None:
        raise InputError(
            f"{folder / _CONFIG}: model_type is {model_type!r}; --detector vitpose knows "
            + ", ".join(KINDS)
        )
    if not any(folder.glob(_WEIGHTS)):
        raise InputError(f"{folder} has no model.safetensors; other weights are not read")
    return Pretrained(folder, origin, kind)


def _object_in(file: Path) -> Mapping[str, Any]:
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read as JSON ({error}); get it anew") from error
    if not isinstance(told, dict):
        raise InputError(f"{file} holds no settings of a network; get it anew")
    return told


def _fetched(name: str) -> Path:
    """The folder of a network of the hub, fetched unless it was before."""
    from huggingface_hub import snapshot_download

    wanted = [_CONFIG, _PREPROCESSING, _WEIGHTS, f"{_WEIGHTS}.index.json"]
    reason: Exception | None = None
    for only_here in (True, False):
        try:
            folder = snapshot_download(name, allow_patterns=wanted, local_files_only=only_here)
        # Its own kinds of errors, and those of more than one package for HTTP.
        except Exception as error:
            reason = error
            continue
        if (Path(folder) / _CONFIG).is_file() and any(Path(folder).glob(_WEIGHTS)):
            return Path(folder)
        reason = FileNotFoundError(f"it has no {_CONFIG} or no model.safetensors")
    said = str(reason).strip().splitlines() or [type(reason).__name__]
    raise InputError(f"{name} is not here and could not be fetched ({said[0]}): {_remedy(name)}")


def _remedy(name: str) -> str:
    files = "(config.json, preprocessor_config.json, model.safetensors)"
    if name not in DEFAULTS.values():
        return f"download {HUB}{name} {files} to a FOLDER, and say --detector-weights FOLDER"
    both = " and ".join(f"{HUB}{each} to FOLDER/{role}" for role, each in DEFAULTS.items())
    return f"download {both} {files}, and say --detector-weights FOLDER"
