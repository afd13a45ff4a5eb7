"""Weights with the settings that built them, in one safetensors file."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from temporal_hmr.configuration import Config, parse_config
from temporal_hmr.errors import InputError
from temporal_hmr.whole_files import refusals_told, whole_file

AnyConfig = TypeVar("AnyConfig", bound=Config)

FORMAT = "temporal_hmr/1"
_CHECKSUM = "tensors_sha256"


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
    """Write tensors by name with the settings of the module that they fill.

    Raises `InputError` where the disk does not take them.
    """
    tensors = {name: tensor.contiguous() for name, tensor in state.items()}
    settings = config.model_dump_json()
    metadata = {"format": FORMAT, "kind": kind, "config": settings}
    metadata[_CHECKSUM] = checksum(tensors, settings)
    with refusals_told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        save_file(tensors, partial, metadata)
        _sort_metadata(partial)


def _sort_metadata(path: Path) -> None:
    """Equal contents, equal bytes: safetensors writes metadata in an order left to chance."""
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        file.seek(8)
        file.write(text.ljust(size))


class Unfilled(TorchFunctionMode):
    """What modules made meanwhile begin with is left to chance: a file is to fill them."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        kwargs = kwargs or {}
        if getattr(func, "__module__", None) == nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


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
    """Fill a module; raises `InputError` naming the first tensor that does not match.

    What a file says of the sum of its tensors must be true; files of old say nothing.
    """
    with _opened(path) as file:
        metadata = file.metadata() or {}
        stored = set(file.keys())
        wanted = module.state_dict()
        missing, unknown = sorted(set(wanted) - stored), sorted(stored - set(wanted))
        if missing or unknown:
            first = f"{missing[0]} is missing" if missing else f"{unknown[0]} is not in the model"
            raise InputError(
                f"{path}: the weights do not match their settings: {first} ({len(missing)} "
                f"missing, {len(unknown)} unknown); use the file as it was published"
            )
        tensors: dict[str, Tensor] = {}
        for name, current in wanted.items():
            tensor = file.get_tensor(name)
            if tensor.shape != current.shape:
                raise InputError(
                    f"{path}: the weights do not match their settings: {name} is "
                    f"{tuple(tensor.shape)}, the settings ask for {tuple(current.shape)}"
                )
            # A sum is quick, and finite where all is, but for numbers that nobody has.
            if not math.isfinite(tensor.sum(dtype=torch.float32)) and not tensor.isfinite().all():
                raise InputError(f"{path} is damaged: {name} holds NaN or infinity; get it anew")
            tensors[name] = tensor
    stated = metadata.get(_CHECKSUM)
    if stated is not None and stated != checksum(tensors, metadata.get("config", "")):
        raise InputError(f"{path} is damaged: what it holds is not what was written; get it anew")
    module.load_state_dict({name: tensors[name].to(wanted[name].dtype) for name in wanted})


def checksum(tensors: Mapping[str, Tensor], settings: str) -> str:
    """SHA-256 of tensors by name as they are stored, and of settings; hexadecimal."""
    digest = hashlib.sha256(settings.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def file_hash(path: Path) -> str:
    """SHA-256 of a file's bytes, hexadecimal: names weights and sources in results."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the names and contents of all files in a folder; hexadecimal.

    Raises `InputError` for what cannot be read.
    """
    try:
        if not path.is_dir():
            return file_hash(path)
        names_and_hashes = [
            f"{file.name} {file_hash(file)}\n" for file in sorted(path.iterdir()) if file.is_file()
        ]
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}") from error
    return hashlib.sha256("".join(names_and_hashes).encode()).hexdigest()


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
