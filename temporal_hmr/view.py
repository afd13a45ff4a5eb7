"""Show a result in a browser, offline: `python -m temporal_hmr.view RESULT`."""

import logging
import math
from argparse import Namespace
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from temporal_hmr.command_line import DoorParser, counted, run_door
from temporal_hmr.errors import InputError

if TYPE_CHECKING:
    from temporal_hmr.output.viewer.result import Result
    from temporal_hmr.video import Clip

_log = logging.getLogger("temporal_hmr.view")

_ASSETS = Path(__file__).parent / "assets"


def main(arguments: Sequence[str] | None = None) -> None:
    """Write one page of HTML that shows the result, and print where.

    Raises `InputError` for whatever cannot be used.
    """
    options = _parse(arguments)
    if not 0 < options.megabytes < math.inf:
        raise InputError(f"--megabytes takes a positive number, not {options.megabytes:g}")
    if options.video is not None and options.no_video:
        raise InputError("give --video or --no-video, not both")

    from temporal_hmr.body.load import OPEN_BODY
    from temporal_hmr.output.viewer.page import PageSettings, build_page, write_page
    from temporal_hmr.output.viewer.result import open_result

    path = _page_path(options)
    result = open_result(options.result, options.body)
    clip, video_note = _video(options, result)
    settings = PageSettings(options.start, options.end, options.megabytes)
    page = build_page(result, clip, video_note, settings)
    write_page(page, path)
    if result.people[0].body.name != OPEN_BODY:
        _log.warning(
            "%s holds the shape of the body %s: pass it on only as the body's licence allows",
            path.name,
            result.people[0].body.name,
        )
    shown = f"{counted(page.people, 'person')} in {counted(len(page.frames), 'frame')}"
    print(f"{path}: {shown}, {path.stat().st_size / 1e6:.1f} MB")
    for note in page.notes:
        print(f"  {note}")


def _parse(arguments: Sequence[str] | None) -> Namespace:
    parser = DoorParser(
        "temporal-hmr view",
        "Write one HTML file with video, bodies in space, curves and findings. It opens offline in "
        "any browser, loads nothing, and can be sent by mail.",
    )
    add = parser.add_argument
    add("result", type=Path, metavar="RESULT", help="result folder of track, or one npz of it")
    add(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the page (view.html in the result folder)",
    )
    add(
        "--video",
        type=Path,
        metavar="VIDEO",
        help="the video that was tracked (where it lay then, else looked for by its name in and "
        "around the result folder)",
    )
    add("--no-video", action="store_true", help="bodies only")
    add("--body", type=Path, metavar="FILE", help="SMPL .pkl or .npz that the result was made with")
    add("--start", type=float, metavar="S", help="seconds (the beginning)")
    add("--end", type=float, metavar="S", help="seconds (the end)")
    add(
        "--megabytes",
        type=float,
        default=15.0,
        metavar="N",
        help="the page is no larger: long videos show fewer frames, smaller (15)",
    )
    return parser.parse_args(arguments)


def _page_path(options: Namespace) -> Path:
    from temporal_hmr.output.viewer.page import PAGE

    path = options.output
    if path is None:
        if options.result.is_dir():
            return options.result / PAGE
        return options.result.with_name(f"{options.result.stem}_view.html")
    if path.is_dir():
        raise InputError(f"{path} is a folder: give --output the name of a file in it")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}: make it, or choose another --output")
    return path


def _video(options: Namespace, result: "Result") -> "tuple[Clip | None, str]":
    """The video to show, and what must be said of it."""
    from temporal_hmr.video import open_clip

    if options.no_video:
        return None, "The video is not part of this page."
    if options.video is not None:
        clip = open_clip(options.video)
        _check_shape(clip, result)
        if not _is_source(options.video, result):
            _log.warning(
                "%s is not the very file that was tracked: frames are matched by their numbers",
                options.video,
            )
        return _without_lens(clip, result), ""
    for place in _places(options.result, result.source):
        if place.exists() and _is_source(place, result):
            return _without_lens(open_clip(place), result), ""
    return _stand_in(options.result, result)


def _without_lens(clip: "Clip", result: "Result") -> "Clip":
    """As the result has its pictures."""
    from temporal_hmr.given.lens import straight_clip, told_lens

    lens = told_lens(result.meta, result.camera)
    return clip if lens is None else straight_clip(clip, lens)


def _stand_in(path: Path, result: "Result") -> "tuple[Clip | None, str]":
    """The overlay that `track` drew, if its frames and they alone are those of the video."""
    from temporal_hmr.output.folder import OVERLAY
    from temporal_hmr.video import open_clip

    missing = f"The video {result.source} was not found (--video)"
    overlay = (path if path.is_dir() else path.parent) / OVERLAY
    settings = result.meta.get("settings")
    from_the_beginning = isinstance(settings, dict) and settings.get("start") is None
    if overlay.is_file() and from_the_beginning and result.step == 1:
        with suppress(InputError):
            clip = open_clip(overlay)
            if _is_same_shape(clip, result):
                return clip, f"{missing}: {OVERLAY} stands in, bodies drawn in."
    _log.warning("%s was not found: the page has no video; give --video", result.source)
    return None, f"{missing} when this page was made."


def _places(path: Path, source: str) -> list[Path]:
    """Where the video of a result may lie."""
    from temporal_hmr.output.folder import tracked_video

    name = Path(source).name
    if not name:
        return []
    folder = path if path.is_dir() else path.parent
    folders = [folder, folder.resolve().parent, folder.resolve().parent.parent, Path(), _ASSETS]
    stated = tracked_video(folder)
    return [*([] if stated is None else [stated]), *(each / name for each in folders)]


def _is_source(video: Path, result: "Result") -> bool:
    from temporal_hmr.tracking import digest

    try:
        return digest(video) == result.meta.get("source_sha256")
    except InputError:
        return False


def _is_same_shape(clip: "Clip", result: "Result") -> bool:
    camera = result.camera
    return abs(clip.width * camera.height / (clip.height * camera.width) - 1) <= 0.02


def _check_shape(clip: "Clip", result: "Result") -> None:
    """A smaller copy of the video will do, another picture will not."""
    camera = result.camera
    if not _is_same_shape(clip, result):
        raise InputError(
            f"{clip.path} is {clip.width} x {clip.height}, but the video that was tracked is "
            f"{camera.width} x {camera.height}: give that one"
        )


if __name__ == "__main__":
    run_door(main)
