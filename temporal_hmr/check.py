"""Judge results without ground truth: `python -m temporal_hmr.check RESULT`."""

import math
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.errors import InputError

if TYPE_CHECKING:
    from temporal_hmr.checks.run import Report
    from temporal_hmr.checks.thresholds import Thresholds

EXIT_FAILED = 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what is found in every person; leaves with status 1 if anything fails.

    Raises `InputError` for whatever cannot be used.
    """
    options = _parse(arguments)
    thresholds = _thresholds(options.set)
    if options.thresholds:
        print("\n".join(f"{name:24}{value:g}" for name, value in thresholds))
        return
    report = _check(options, thresholds)
    if report.verdict == "fail":
        sys.exit(EXIT_FAILED)


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser(
        "temporal-hmr check",
        "Judge a result without ground truth: smoothness, teleports, feet on the ground, constant "
        "bones, reprojection, exchanged people, missing and repeated frames. The exit status is 0 "
        "if nothing fails, 1 if something does, 2 if the result cannot be read.",
    )
    add = parser.add_argument
    add(
        "result",
        nargs="?",
        type=Path,
        metavar="RESULT",
        help="result folder, one npz of it, or a file of WHAM, VIBE, GVHMR or PHALP",
    )
    add("--fps", type=float, metavar="N", help="frame rate, for files that do not state it (30)")
    add("--format", metavar="NAME", help="ours, wham, vibe, gvhmr or phalp (told by content)")
    add("--body", type=Path, metavar="FILE", help="SMPL .pkl or .npz that the result was made with")
    add(
        *("-s", "--static-camera"),
        action="store_true",
        help="the camera stood still: judge feet in its frame where there is no world",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="another threshold, such as jitter_fail=60; repeatable",
    )
    add("--thresholds", action="store_true", help="list the thresholds, checking nothing")
    add("--json", type=Path, metavar="FILE", help="write everything that was found")
    return parser.parse_args(arguments)


def _thresholds(changes: Sequence[str]) -> "Thresholds":
    from temporal_hmr.checks.thresholds import Thresholds
    from temporal_hmr.configuration import parse_config

    values = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals:
            raise InputError(f"--set takes NAME=VALUE, such as jitter_fail=60, not {change!r}")
        values[name.strip().replace("-", "_")] = value
    return parse_config(values, Thresholds, "--set")


def _check(options: Namespace, thresholds: "Thresholds") -> "Report":
    """Check, write and print."""
    if options.result is None:
        raise InputError("give a RESULT to check: a result folder or file")
    if options.fps is not None and not 0 < options.fps < math.inf:
        raise InputError(f"--fps takes a positive number of frames per second, not {options.fps:g}")
    if options.json is not None:
        _check_writable(options.json)

    from temporal_hmr.checks.report import json_report, text_report
    from temporal_hmr.checks.run import CheckSettings, check_result

    settings = CheckSettings(
        body=options.body,
        fps=options.fps,
        format=options.format,
        static_camera=options.static_camera,
        thresholds=thresholds,
    )
    report = check_result(options.result, settings)
    if options.json is not None:
        options.json.write_text(json_report(report), encoding="utf-8")
    print(text_report(report), end="", flush=True)
    return report


def _check_writable(path: Path) -> None:
    """Before the work, not after it; leaves no trace."""
    existed = path.exists()
    try:
        with path.open("a"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; choose another --json") from error


if __name__ == "__main__":
    run_door(main)
