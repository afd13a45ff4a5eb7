"""What was made of a result, and shows the former one when that is corrected."""

from pathlib import Path

from temporal_hmr.editing.drawing import has_overlay
from temporal_hmr.editing.result import Result
from temporal_hmr.output.folder import OVERLAY, tracked_video
from temporal_hmr.output.manifest import EXPORTS, read_manifest
from temporal_hmr.output.viewer.page import PAGE, is_page

_DOOR = ("python", "-m")


def outdated(folder: Path, result: Result) -> list[tuple[str, list[str]]]:
    """What there is of it in the folder, in words, and the command that makes each anew.

    `result` is the former one.
    """
    name = str(folder)
    found = []
    if (folder / OVERLAY).is_file():
        # Without a path the video is where the result says.
        video = [] if tracked_video(result.folder) else [result.provenance.source]
        side = ["--side-view"] if has_overlay(folder, result.summary, side_view=True) else []
        found.append((OVERLAY, [*_DOOR, "temporal_hmr.edit", name, "--render", *video, *side]))
    formats = list(read_manifest(folder / EXPORTS).files)
    if formats:
        # Not the folder: it stays where something else is in it.
        exports = f"the export ({', '.join(formats)})"
        found.append((exports, [*_DOOR, "temporal_hmr.export", name, "--to", *formats]))
    if is_page(folder / PAGE):
        found.append((PAGE, [*_DOOR, "temporal_hmr.view", name]))
    return found


def clear_page(folder: Path) -> None:
    """Take away the page; overlay and exports go when a result is written."""
    if is_page(folder / PAGE):
        (folder / PAGE).unlink(missing_ok=True)
