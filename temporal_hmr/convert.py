"""Published checkpoints as ours: `python -m temporal_hmr.convert SOURCE.pth --from int`.

Every tensor of the file is used, left for a stated reason, or an error; nothing in it is run.
"""

from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.errors import InputError

if TYPE_CHECKING:
    from temporal_hmr.configuration import Config
    from temporal_hmr.conversion.tensors import Conversion

SYSTEMS = ("int", "tokenhmr", "tokenhmr-tokenizer", "pct", "postometro")


@dataclass(frozen=True, eq=False)
class Converted:
    """What a published checkpoint became."""

    kind: str
    """Of the weights, as `checkpoint.read_config` asks for it."""
    config: "Config"
    conversion: "Conversion"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the weights as safetensors with their settings, and the fate of every tensor.

    Raises `InputError` if the file is not what the system publishes, or cannot be written.
    """
    options = _options(arguments)
    output = options.output or options.source.with_name(options.source.stem + ".safetensors")
    report = output.with_suffix(".report.txt")
    _check_writable(output)
    converted = convert(options.source, options.system, options.tokenizer)
    _write(converted, output, report)
    conversion = converted.conversion
    print(
        f"{output}: {converted.kind}, {len(conversion.used)} tensors used, "
        f"{len(conversion.left)} left (why: {report}), none missing"
    )


def _options(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser(
        "temporal-hmr convert", "Make weights of ours of a checkpoint that others publish."
    )
    add = parser.add_argument
    add("source", type=Path, metavar="SOURCE", help="the published file (.pth, .ckpt, .pt)")
    add("--from", choices=SYSTEMS, required=True, dest="system", help="whose it is")
    add("--tokenizer", type=Path, metavar="FILE", help="of tokenhmr: its tokenizer's own file")
    add("-o", "--output", type=Path, metavar="FILE", help="(beside SOURCE, as .safetensors)")
    return parser.parse_args(arguments)


def convert(source: Path, system: str, tokenizer: Path | None = None) -> Converted:
    """Read a published checkpoint of one of `SYSTEMS`.

    Raises `InputError` naming tensors that are missing, unexpected or of another shape.
    """
    if (tokenizer is not None) != (system == "tokenhmr"):
        raise InputError(
            "--tokenizer FILE goes with --from tokenhmr, whose codebook and decoder are in a file "
            "of their own (tokenizer.pth)"
        )
    contents = _contents(source)
    try:
        return _converted(system, contents, None if tokenizer is None else _contents(tokenizer))
    except InputError as error:
        raise InputError(f"{source} as a checkpoint of {system}: {error}") from None


def _converted(
    system: str, contents: Mapping[str, object], tokenizer: Mapping[str, object] | None
) -> Converted:
    if system == "int":
        from temporal_hmr.conversion.int_system import read_int

        found = read_int(contents)
        return Converted("hmr", found.config, found.conversion)
    if system == "postometro":
        from temporal_hmr.conversion.postometro import read_postometro

        published = read_postometro(contents)
        return Converted("postometro", published.config, published.conversion)
    if system == "pct":
        from temporal_hmr.conversion.pct import PCT_KINDS, read_pct

        config, conversion = read_pct(contents)
        return Converted(PCT_KINDS[type(config)], config, conversion)
    from temporal_hmr.conversion.tokenhmr import read_tokenhmr, read_tokenizer

    if tokenizer is None:
        conversion, rotations = read_tokenizer(contents)
        return Converted("rotation-tokenizer", rotations, conversion)
    conversion, whole = read_tokenhmr(contents, tokenizer)
    return Converted("hmr", whole, conversion)


def _contents(path: Path) -> Mapping[str, object]:
    """What a training checkpoint holds, its arrays as tensors."""
    from temporal_hmr.torch_files import load_checkpoint

    contents = load_checkpoint(path)
    if not isinstance(contents, Mapping):
        raise InputError(f"{path} holds no table of tensors: give the file as it was published")
    return {str(name): _as_tensors(value) for name, value in contents.items()}


def _as_tensors(value: object) -> object:
    import numpy as np
    import torch

    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Mapping):
        return {name: _as_tensors(item) for name, item in value.items()}
    return value


def _check_writable(path: Path) -> None:
    """Before the work, not after it."""
    from temporal_hmr.output.npz import atomic_path

    if path.is_dir():
        raise InputError(f"{path} is a folder: give --output a file")
    with atomic_path(path.with_suffix(".report.txt")) as temporary:
        temporary.write_text("")


def _write(converted: Converted, output: Path, report: Path) -> None:
    from temporal_hmr.checkpoint import save_state
    from temporal_hmr.output.npz import atomic_path

    save_state(converted.conversion.state, converted.config, converted.kind, output)
    with atomic_path(report) as temporary:
        temporary.write_text(converted.conversion.report() + "\n", encoding="utf-8")


if __name__ == "__main__":
    run_door(main)
