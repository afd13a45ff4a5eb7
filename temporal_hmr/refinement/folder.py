"""Where refined results go: nothing is lost there but an earlier refinement, which they replace."""

import json
import logging
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from temporal_hmr.checks.reading import result_files
from temporal_hmr.errors import InputError
from temporal_hmr.interchange.folder import files_below
from temporal_hmr.output.folder import OVERLAY, SUMMARY, seen_from, tracked_video
from temporal_hmr.output.manifest import EXPORTS, MANIFEST, clear_exports
from temporal_hmr.output.partial import PREFIX
from temporal_hmr.output.viewer.page import PAGE, is_page

REPORT = "refined.json"
_log = logging.getLogger(__name__)


def check_folder(folder: Path, result: Path) -> None:
    """Raise `InputError` if writing there would touch the input or lose anything of others'."""
    source = (result if result.is_dir() else result.parent).resolve()
    inside = result.is_dir() and source in folder.resolve().parents
    if folder.resolve() == source or inside:
        raise InputError(
            f"{folder} is where the results to refine are, which stay as they are; choose another "
            "place with --output-dir"
        )
    if not folder.is_dir() or (folder / REPORT).is_file():
        return
    if any(not path.name.startswith(PREFIX) for path in folder.iterdir()):
        raise InputError(
            f"{folder} holds something else, which would be lost; choose another place with "
            "--output-dir"
        )


def files_to_refine(result: Path) -> list[Path]:
    """The file; of folders of ours the people's; of others all that may be results.

    Raises `InputError` if there is none.
    """
    if not result.is_dir() or (result / SUMMARY).exists():
        return result_files(result)
    ours = _ours_below(result)
    listed = [path for files in ours.values() for path in files]
    others = [path for path in files_below(result) if path.parent not in ours]
    return sorted([*listed, *others])


def _ours_below(result: Path) -> dict[Path, list[Path]]:
    """By folder of results of ours, the files of the people that its summary lists."""
    found = {}
    for summary in sorted(result.rglob(SUMMARY)):
        hidden = any(part.startswith(".") for part in summary.relative_to(result).parts)
        if not hidden:
            try:
                found[summary.parent] = result_files(summary.parent)
            except InputError:  # somebody else's
                continue
    return found


def copy_summaries(result: Path, files: Sequence[Path], partial: Path, folder: Path) -> None:
    """Those of ours that list the files, with the way to the video as it is from the new folder."""
    if not result.is_dir():
        return
    for source in _ours_below(result).keys() & {file.parent for file in files}:
        where = source.relative_to(result)
        shutil.copy(source / SUMMARY, partial / where / SUMMARY)
        video = tracked_video(source)
        if video is not None:
            summary = json.loads((partial / where / SUMMARY).read_text(encoding="utf-8"))
            summary["source_path"] = seen_from(folder / where, video)
            text = json.dumps(summary, indent=2) + "\n"
            (partial / where / SUMMARY).write_text(text, encoding="utf-8")


def written_files(partial: Path) -> list[str]:
    """All there, by their ways from the folder."""
    files = (path for path in partial.rglob("*") if path.is_file())
    return sorted(path.relative_to(partial).as_posix() for path in files)


def publish(partial: Path, folder: Path) -> None:
    """Move everything into the folder, in place of an earlier refinement's files.

    What was made of those goes with them, and a warning says so.
    """
    coming = written_files(partial)
    gone = [name for name in _former(folder) if name not in coming]
    places = sorted({(folder / name).parent for name in [*coming, *gone]})
    stale = [path for place in places for path in _made_of(place)]
    for path in [*(folder / name for name in gone), *stale]:
        if path.name == EXPORTS:
            clear_exports(path)
        else:
            path.unlink(missing_ok=True)
    for name in coming:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.replace(partial / name, folder / name)
    if stale:
        names = ", ".join(path.relative_to(folder).as_posix() for path in stale)
        _log.warning("%s: gone, being of the refinement before: %s", folder, names)


def _former(folder: Path) -> list[str]:
    """What an earlier refinement wrote into the folder, as far as it lies there."""
    try:
        files = json.loads((folder / REPORT).read_text(encoding="utf-8"))["files"]
        named = [Path(str(name)) for name in files]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [path.as_posix() for path in named if not path.is_absolute() and ".." not in path.parts]


def _made_of(place: Path) -> list[Path]:
    """Exports, page and overlay of results in a folder."""
    found = [place / EXPORTS] if (place / EXPORTS / MANIFEST).is_file() else []
    found += [place / PAGE] if is_page(place / PAGE) else []
    return found + ([place / OVERLAY] if (place / OVERLAY).is_file() else [])
