"""Weights with the settings that built them, in one safetensors file."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from temporal_hmr.configuration import Config, parse_config
from temporal_hmr.errors import InputError

AnyConfig = TypeVar("AnyConfig", bound=Config)

FORMAT = "temporal_hmr/1"


def save_checkpoint(module: nn.Module, config: Config, kind: str, path: Path, half: bool) -> None:
    """Write a module's parameters and buffers; `half` stores float16 (loaded back as float32).

    `kind` says what the weights are for ("hmr", "keypoint-tokenizer") and is checked on loading.
    """
    tensors = {
        name: tensor.half() if half and tensor.is_floating_point() else tensor
        for name, tensor in module.state_dict().items()
    }
    save_state(tensors, config, kind, path)


def save_state(state: Mapping[str, Tensor], config: Config, kind: str, path: Path) -> None:
    """Write tensors by name with the settings of the module that they fill."""
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    metadata = {"format": FORMAT, "kind": kind, "config": config.model_dump_json()}
    partial = path.with_name(path.name + ".partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, partial, metadata)
    partial.replace(path)


def read_config(path: Path, kind: str, config: type[AnyConfig]) -> AnyConfig:
    """The settings stored in a weights file; raises `InputError` if it is not one of that kind."""
    metadata = _metadata(path)
    if metadata.get("format") != FORMAT or metadata.get("kind") != kind:
        found = metadata.get("kind", "no description of ours")
        raise InputError(f"{path} holds {found}, not {kind} weights of temporal_hmr")
    try:
        values = json.loads(metadata["config"])
    except (KeyError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: its stored settings are damaged; get the file anew") from error
    return parse_config(values, config, f"{path} (stored settings)")


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module; raises `InputError` naming the first tensor that does not match."""
    with _opened(path) as file:
        stored = set(file.keys())
        wanted = module.state_dict()
        missing, unknown = sorted(set(wanted) - stored), sorted(stored - set(wanted))
        if missing or unknown:
            first = f"{missing[0]} is missing" if missing else f"{unknown[0]} is not in the model"
            raise InputError(
                f"{path}: the weights do not match their settings: {first} ({len(missing)} "
                f"missing, {len(unknown)} unknown); use the file as it was published"
            )
        tensors = {}
        for name, current in wanted.items():
            tensor = file.get_tensor(name)
            if tensor.shape != current.shape:
                raise InputError(
                    f"{path}: the weights do not match their settings: {name} is "
                    f"{tuple(tensor.shape)}, the settings ask for {tuple(current.shape)}"
                )
            if not tensor.isfinite().all():
                raise InputError(f"{path} is damaged: {name} holds NaN or infinity; get it anew")
            tensors[name] = tensor.to(current.dtype)
    module.load_state_dict(tensors)


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal: names weights and sources in results."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _opened(path: Path) -> safe_open:
    if not path.is_file():
        raise InputError(f"no weights at {path}; give --weights a .safetensors file")
    try:
        return safe_open(path, framework="pt", device="cpu")
    except SafetensorError as error:
        raise InputError(f"{path} is not a safetensors file: {error}") from error


def _metadata(path: Path) -> dict[str, str]:
    with _opened(path) as file:
        return file.metadata() or {}
