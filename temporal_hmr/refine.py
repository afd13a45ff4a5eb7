"""Anybody's results without their trembling: `python -m temporal_hmr.refine RESULT`."""

import math
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.errors import InputError

_METHODS = {
    "steady": "noise measured joint by joint, impossible frames mended, fast motion kept",
    "model": "the same beside the motion of our temporal model, as far as that helps",
    "one-euro": "the one-euro filter",
    "savgol": "a Savitzky-Golay filter of 11 frames",
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the refined results and print them before and after.

    Raises `InputError` for whatever cannot be used or written.
    """
    options = _parse(arguments)
    _check(options)

    from temporal_hmr.refinement.comparison import table
    from temporal_hmr.refinement.folder import check_folder
    from temporal_hmr.refinement.run import RefineSettings, refine_results

    result: Path = options.result
    folder = options.output_dir or result.with_name(f"{result.resolve().stem}_refined")
    check_folder(folder, result)
    model = None
    if options.method == "model":
        import torch

        from temporal_hmr.recover import load_model

        model = load_model(options.weights, torch.device("cpu"))
    settings = RefineSettings(
        method=options.method,
        body=options.body,
        fps=options.fps,
        read_as=options.format,
        fill=options.fill,
        one_shape=not options.keep_shape,
    )
    print(table(refine_results(result, folder, settings, model)))
    print(folder)


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser(
        "temporal-hmr refine",
        "Take the trembling out of somebody's results: WHAM's, VIBE's, GVHMR's, those of PHALP, "
        "4D-Humans and TokenHMR, AMASS's or plain npz, and ours. They are written in the layout "
        "they came in, and as plain npz; the input stays as it is. "
        + "; ".join(f"{name}: {meaning}" for name, meaning in _METHODS.items())
        + ".",
    )
    add = parser.add_argument
    add("result", type=Path, metavar="RESULT", help="result file, or a folder of them")
    add("-o", "--output-dir", type=Path, metavar="FOLDER", help="(RESULT_refined beside RESULT)")
    add(
        "--with",
        dest="method",
        choices=_METHODS,
        default="steady",
        metavar="METHOD",
        help=f"{', '.join(_METHODS)} (steady)",
    )
    add("--fill", type=float, default=0.5, metavar="SECONDS", help="longest hole to fill (0.5)")
    add("--keep-shape", action="store_true", help="leave shapes that change from frame to frame")
    add("--weights", type=Path, metavar="FILE", help="of the model (those that come along)")
    add("--body", type=Path, metavar="FILE", help="SMPL .pkl or .npz that the result was made with")
    add("--fps", type=float, metavar="N", help="frame rate, for files that do not state it (30)")
    add("--format", metavar="NAME", help="ours, wham, vibe, gvhmr or phalp (told by content)")
    return parser.parse_args(arguments)


def _check(options: Namespace) -> None:
    if options.fps is not None and not 0 < options.fps < math.inf:
        raise InputError(f"--fps takes a positive number of frames per second, not {options.fps:g}")
    if not 0 <= options.fill < math.inf:
        raise InputError(f"--fill takes seconds, 0 or more, not {options.fill:g}")
    if options.weights is not None and options.method != "model":
        raise InputError("--weights does nothing without --with model")
    if not options.result.exists():
        raise InputError(f"there is nothing at {options.result}: check the path")


if __name__ == "__main__":
    run_door(main)
