"""Results in the formats of other tools: `python -m temporal_hmr.export RESULT --to glb bvh`."""

import math
from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.errors import InputError
from temporal_hmr.output.formats import FORMATS, UNITS


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the formats asked for and name what was written.

    Raises `InputError` for whatever cannot be used or written.
    """
    options = _parse(arguments)
    _check(options)

    from temporal_hmr.output.export import ExportSettings, export_result
    from temporal_hmr.output.manifest import EXPORTS

    result: Path = options.result
    folder = options.output_dir
    if folder is None:
        # Beside a file, not in its folder's exports, which are of everybody.
        folder = result / EXPORTS if result.is_dir() else result.with_name(f"{result.stem}_export")
    settings = ExportSettings(
        formats=tuple(options.to),
        body=options.body,
        fps=options.fps,
        read_as=options.format,
        every=options.every or 1,
        unit=options.unit or "cm",
    )
    written = export_result(result, folder, settings)
    # Of OBJ there may be thousands: then the folders.
    print("\n".join(dict.fromkeys(str(p.parent if p.suffix == ".obj" else p) for p in written)))


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser(
        "temporal-hmr export",
        "Write a result in the formats of other tools. "
        + "; ".join(f"{name}: {meaning}" for name, meaning in FORMATS.items())
        + ".",
    )
    add = parser.add_argument
    add(
        "result",
        type=Path,
        metavar="RESULT",
        help="result folder, one npz of it, or a file of WHAM, VIBE, GVHMR or PHALP",
    )
    add("--to", nargs="+", choices=FORMATS, metavar="FORMAT", help=", ".join(FORMATS))
    add("-o", "--output-dir", type=Path, metavar="FOLDER", help="(RESULT/export)")
    add("--every", type=_count, metavar="N", help="of obj: write every N-th frame (1)")
    add("--unit", choices=UNITS, help="of bvh: unit of length (cm)")
    add("--body", type=Path, metavar="FILE", help="SMPL .pkl or .npz that the result was made with")
    add("--fps", type=float, metavar="N", help="frame rate, for files that do not state it (30)")
    add("--format", metavar="NAME", help="ours, wham, vibe, gvhmr or phalp (told by content)")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a positive whole number")
    return int(text)


def _check(options: Namespace) -> None:
    if options.to is None:
        meant = options.format if options.format in FORMATS else "glb bvh"
        raise InputError(f"say what to write: --to {meant} (--format is whose file RESULT is)")
    if options.fps is not None and not 0 < options.fps < math.inf:
        raise InputError(f"--fps takes a positive number of frames per second, not {options.fps:g}")
    for option, format in (("every", "obj"), ("unit", "bvh")):
        if getattr(options, option) is not None and format not in options.to:
            raise InputError(f"--{option} does nothing without --to {format}")


if __name__ == "__main__":
    run_door(main)
