"""What was made of a result, and shows the former one when that is corrected."""

from pathlib import Path

from temporal_hmr.output.folder import OVERLAY
from temporal_hmr.output.manifest import EXPORTS, read_manifest
from temporal_hmr.output.viewer.page import PAGE, is_page

_DOOR = ("python", "-m")


def outdated(folder: Path, source: str) -> list[tuple[str, list[str]]]:
    """What there is of it in the folder, and the command that makes each anew.

    `source` is the name of the video.
    """
    name = str(folder)
    found = []
    if (folder / OVERLAY).is_file():
        found.append((OVERLAY, [*_DOOR, "temporal_hmr.edit", name, "--render", source]))
    formats = list(read_manifest(folder / EXPORTS).files)
    if formats:
        found.append((f"{EXPORTS}/", [*_DOOR, "temporal_hmr.export", name, "--to", *formats]))
    if is_page(folder / PAGE):
        found.append((PAGE, [*_DOOR, "temporal_hmr.view", name]))
    return found


def clear_page(folder: Path) -> None:
    """Take away the page; overlay and exports go when a result is written."""
    if is_page(folder / PAGE):
        (folder / PAGE).unlink(missing_ok=True)
