"""Whose work is in a result, and on what terms: `python -m temporal_hmr.licenses [RESULT]`."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from temporal_hmr.command_line import DoorParser, run_door
from temporal_hmr.errors import InputError


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the terms of everything in a result, or of the installed package.

    Raises `InputError` for what is no result of ours.
    """
    options = _parse(arguments)
    if options.result is None:
        print(_installed(options.json), end="")
        return
    if not options.result.exists():
        raise InputError(f"there is nothing at {options.result}: check the path")
    print(_result(options), end="")


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser(
        "temporal-hmr licenses",
        "List everything that touched a result (video, body, weights, detector, packages) with "
        "its terms, and whether it may be used commercially. Without RESULT: what comes with this "
        "package and what it stands on.",
    )
    add = parser.add_argument
    add(
        "result",
        nargs="?",
        type=Path,
        metavar="RESULT",
        help="result folder, or one npz of it",
    )
    add("--json", action="store_true", help="print everything as JSON instead")
    return parser.parse_args(arguments)


def _result(options: Namespace) -> str:
    from temporal_hmr.licensing.report import as_json, result_text
    from temporal_hmr.licensing.results import terms_of

    found = terms_of(options.result)
    if not options.json:
        return result_text(found)
    return as_json(
        found.terms,
        result=found.result,
        made_by=found.made_by,
        licensed_body=found.licensed_body,
    )


def _installed(json: bool) -> str:
    from temporal_hmr.licensing.assets import (
        CODE,
        DETECTOR,
        OWN_BODY,
        OWN_WEIGHTS,
        SAMPLE,
        own_body_licence,
    )
    from temporal_hmr.licensing.packages import package_terms, required
    from temporal_hmr.licensing.report import as_json, installed_text

    packages = [found for name in required() if (found := package_terms(name)) is not None]
    own = [CODE, OWN_BODY, OWN_WEIGHTS, SAMPLE, DETECTOR]
    if json:
        return as_json([*own, *packages], open_body_licence=own_body_licence())
    return installed_text([*own, *packages])


if __name__ == "__main__":
    run_door(main)
