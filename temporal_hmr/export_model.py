"""The model as ONNX, for other runtimes: `python -m temporal_hmr.export_model -o FOLDER`."""

from argparse import ArgumentTypeError, Namespace
from collections.abc import Sequence
from pathlib import Path

from temporal_hmr.command_line import DoorParser, run_door


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the model and its description; print how far each file is from PyTorch.

    Raises `InputError` for whatever cannot be used or written, and for a copy that is not one.
    """
    options = _parse(arguments)

    from temporal_hmr.deployment.model_export import ModelExport, export_model

    settings = ModelExport(options.weights, options.int8, options.window)
    for path, parity in export_model(settings, options.output_dir).items():
        print(
            f"{path}: {path.stat().st_size / 1e6:.1f} MB; from PyTorch, mean and most: joints "
            f"{parity.joint_mean_mm:.2g} and {parity.joint_max_mm:.2g} mm, seen from the pelvis "
            f"{parity.from_pelvis_mean_mm:.2g} and {parity.from_pelvis_max_mm:.2g} mm, rotations "
            f"{parity.rotation_mean_deg:.2g} and {parity.rotation_max_deg:.2g} degrees"
        )


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser(
        "temporal-hmr export-model",
        "Write the model as ONNX, with a JSON file that says what goes in and comes out, and how "
        "far it is from PyTorch.",
    )
    add = parser.add_argument
    add("--weights", type=Path, metavar="FILE", help="your model instead of the embedded one")
    add(
        "-o",
        "--output-dir",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="gets model.onnx and model.json",
    )
    add("--int8", action="store_true", help="model_int8.onnx too: smaller, a little less exact")
    add("--window", type=_count, metavar="N", help="frames to compare on (those of training)")
    return parser.parse_args(arguments)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 2:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 2 on")
    return int(text)


if __name__ == "__main__":
    run_door(main)
