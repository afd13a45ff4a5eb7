"""Who is who in a result, corrected: `python -m temporal_hmr.edit FOLDER --merge 0 2`."""

import logging
import shlex
from argparse import Action, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from temporal_hmr.command_line import DoorParser, counted, run_door
from temporal_hmr.errors import InputError

if TYPE_CHECKING:
    from temporal_hmr.body.model import BodyModel
    from temporal_hmr.editing.recovering import RecoverSettings
    from temporal_hmr.editing.result import Result
    from temporal_hmr.editing.run import EditedResult
    from temporal_hmr.video import Clip

_log = logging.getLogger("temporal_hmr.edit")


def main(arguments: Sequence[str] | None = None) -> None:
    """Correct a result, and list who is in it.

    Raises `InputError` for whatever cannot be used or written; then the result stays as it was.
    """
    options = _parse(arguments)
    _check(options)

    from temporal_hmr.editing.drawing import draw_overlay
    from temporal_hmr.editing.result import open_result
    from temporal_hmr.editing.steps import step_of

    steps = [step_of(kind, words, options.prefer) for kind, words in options.steps]
    result = open_result(options.result)
    folder: Path = options.output_dir or options.result
    canvas = None if options.render is None else _canvas(result, options)
    if steps:
        from temporal_hmr.editing.run import edit_result

        _save(edit_result(result, steps, _settings(options)), folder, canvas is not None)
        result = open_result(folder)
    if canvas is not None:
        print(draw_overlay(folder, *canvas))
    if options.list:
        from temporal_hmr.editing.listing import people_table

        print(people_table([person.motion for person in result.people]))


class _Step(Action):
    """Corrections of all kinds, in the order in which they are given."""

    def __call__(self, parser, namespace, values, option_string=None):  # type: ignore[override]
        namespace.steps = [*namespace.steps, (self.dest, tuple(values or ()))]


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser(
        "temporal-hmr edit",
        "Correct who is who in a result. Detections stay as they are and the video is not needed; "
        "the bodies of those whose sightings change hands are recovered anew, all others' stay bit "
        "by bit. Corrections are taken in the order given, and only when all is well is the result "
        "replaced.",
    )
    add = parser.add_argument
    add("result", type=Path, nargs="?", metavar="FOLDER", help="result folder of track")
    add("--list", action="store_true", help="tell who is in it, when, and how well seen")
    parser.set_defaults(steps=[])
    for kind, metavar, count, meaning in (
        ("drop", "N", "+", "leave these people out"),
        ("rename", "OLD=NEW", "+", "other numbers; 2=7 7=2 exchanges them"),
        ("merge", "N", "+", "these are one person, who has the number of the first"),
        ("split", "N@T", "+", "another person from then on (1@12.5, or 1@f375 for a frame)"),
    ):
        add(f"--{kind}", action=_Step, nargs=count, metavar=metavar, help=meaning)
    add(
        "--swap",
        action=_Step,
        nargs=2,
        metavar=("N", "N@FROM-TO"),
        help="two people exchanged from then to then (0 1@3.2-4.0, 0 1@f96-f120, 0 1@3.2-)",
    )
    add(
        "--prefer",
        choices=("surer", "first"),
        help="whom to believe where merged people are seen at once",
    )
    add("-o", "--output-dir", type=Path, metavar="FOLDER", help="write it there (in place)")
    add(
        "--render",
        type=Path,
        nargs="?",
        const=True,
        metavar="VIDEO",
        help="draw overlay.mp4 anew over the video (where the result says that it lies)",
    )
    add("--side-view", action="store_true", help="with --render: the bodies from the side too")
    add(
        "--video",
        type=Path,
        metavar="VIDEO",
        help="for weights that look at images (where the result says that it lies)",
    )
    add("--weights", type=Path, metavar="FILE", help="that the result was made with")
    add("--body", type=Path, metavar="FILE", help="SMPL .pkl or .npz that it was made with")
    add("--device", default="auto", metavar="NAME", help="auto, cpu or cuda (auto)")
    return parser.parse_args(arguments)


def _check(options: Namespace) -> None:
    if options.result is None:
        raise InputError("name the result folder, before the corrections: edit FOLDER --drop 3")
    if options.side_view and options.render is None:
        raise InputError("--side-view goes with --render, which draws overlay.mp4 anew: say both")
    if not (options.steps or options.list or options.render):
        raise InputError(
            "say what to correct (--drop, --rename, --merge, --split, --swap), or --list"
        )
    if options.prefer and not any(kind == "merge" for kind, _ in options.steps):
        raise InputError("--prefer does nothing without --merge")
    if options.output_dir and not options.steps:
        raise InputError("--output-dir does nothing without a correction")


def _settings(options: Namespace) -> "RecoverSettings":
    from temporal_hmr.editing.recovering import RecoverSettings

    return RecoverSettings(
        weights=options.weights,
        body=options.body,
        video=_video(options),
        device=options.device,
        progress=True,
    )


def _video(options: Namespace) -> Path | None:
    from temporal_hmr.output.folder import tracked_video

    given = options.video or (None if options.render is True else options.render)
    return given or tracked_video(options.result)


def _canvas(result: "Result", options: Namespace) -> "tuple[Clip, BodyModel, bool]":
    """What to draw on, the body, and whether from the side too, if nothing speaks against it."""
    from temporal_hmr.editing.drawing import has_overlay, require_drawable
    from temporal_hmr.editing.recovering import clip_of, result_body

    video = _video(options) if options.render is True else options.render
    if video is None:
        source = result.provenance.source
        raise InputError(f"the video {source} is not where it was: give --render its path")
    side_view = options.side_view or has_overlay(result.folder, result.summary, side_view=True)
    clip = clip_of(result, video)
    require_drawable(clip, side_view)
    return clip, result_body(result, options.body), side_view


def _save(edited: "EditedResult", folder: Path, drawn: bool) -> None:
    """Write it, take away what it outdates, and tell how that is made anew."""
    from temporal_hmr.editing.stale import clear_page, outdated
    from temporal_hmr.output.folder import OVERLAY, check_folder
    from temporal_hmr.output.work import WORK, working_in

    provenance = edited.result.provenance
    check_folder(folder, provenance.source_sha256)
    with working_in(folder, keep=(folder / WORK).exists()):
        gone = outdated(folder, edited.result)
        edited.save(folder)
        clear_page(folder)
    anew = ", ".join(str(number) for number in edited.anew)
    people = counted(len(edited.people), "person")
    print(f"{folder}: {people}, recovered anew: {anew or 'nobody'}")
    if not edited.people:
        _log.warning("nobody is left in %s: track the video with --again to have them back", folder)
    for name, command in gone:
        if name != OVERLAY or not drawn:
            print(f"{name} was of the former result and is gone; anew: {shlex.join(command)}")


if __name__ == "__main__":
    run_door(main)
