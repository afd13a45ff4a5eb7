"""Find out what is wrong with an installation, and whose body files these are:
`python -m temporal_hmr.doctor [FOLDER ...]`.
"""

import shutil
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from temporal_hmr.command_line import DoorParser, counted, run_door
from temporal_hmr.diagnosis.examination import Examination, examine
from temporal_hmr.diagnosis.findings import Finding, as_json, as_line, verdict
from temporal_hmr.errors import InputError


def main(arguments: Sequence[str] | None = None) -> None:
    """Print what is found, line by line.

    Raises `InputError`, which leaves with status 2, if something that is needed does not work.
    """
    options = _parse(arguments)
    findings: list[Finding] = []
    for finding in examine(_examination(options)):
        findings.append(finding)
        if not options.json:
            print(as_line(finding, _width()), flush=True)
    if options.json:
        print(as_json(findings), end="")
    _conclude(findings, quiet=options.json)


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser(
        "temporal-hmr doctor",
        "Look at everything this package stands on, each part tried for real, and say what to do "
        "about what does not work. In FOLDERs (else body_models, data/body_models, data/smpl, "
        "models, ~/body_models and $SMPL_DIR) find SMPL files and tell by their content what they "
        "are. The exit status is 0 if the package can be used, 2 if something it needs is broken.",
    )
    add = parser.add_argument
    add(
        "folders",
        nargs="*",
        type=Path,
        metavar="FOLDER",
        help="body files, or folders of them (4 folders deep)",
    )
    add(
        "--convert",
        type=Path,
        metavar="OUT",
        help="write the SMPL files that are found as plain arrays into this folder: npz for "
        "--body, and in its for_smplx pickles that smplx reads without chumpy",
    )
    add("--run", action="store_true", help="also track two seconds of video (a minute or so)")
    add("--device", default="auto", metavar="NAME", help="auto, or cuda if it must work (auto)")
    add(
        "-o",
        "--output-dir",
        type=Path,
        default=Path("outputs"),
        metavar="FOLDER",
        help="where results shall go (outputs/)",
    )
    add("--json", action="store_true", help="print everything as JSON instead")
    return parser.parse_args(arguments)


def _examination(options: Namespace) -> Examination:
    for folder in options.folders:
        if not folder.exists():
            raise InputError(f"there is nothing at {folder}: check the path")
    if not (options.device in ("auto", "cpu") or options.device.startswith("cuda")):
        raise InputError(f"--device takes auto, cpu or cuda, not {options.device!r}")
    return Examination(
        folders=tuple(options.folders),
        convert_to=options.convert,
        run=options.run,
        device=options.device,
        output_dir=options.output_dir,
    )


def _width() -> int | None:
    """Columns of the terminal; None in files and pipes, where a line is a line."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _conclude(findings: Sequence[Finding], quiet: bool) -> None:
    errors, warnings = (
        sum(finding.level == level for finding in findings) for level in ("error", "warning")
    )
    if verdict(findings) == "error":
        first = next(finding.area for finding in findings if finding.level == "error")
        raise InputError(
            f"{counted(errors, 'error')} above, the first of {first}: do what its line says, and "
            "ask again"
        )
    if not quiet:
        print(f"\nusable: {counted(warnings, 'warning')}" if warnings else "\nall is well")


if __name__ == "__main__":
    run_door(main)
