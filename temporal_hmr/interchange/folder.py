"""A folder of result files, each assigned to the video that its path names."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from temporal_hmr.errors import InputError
from temporal_hmr.interchange.files import UnknownFormat, read_predictions
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.output.manifest import MANIFEST

SUFFIXES = (".npz", ".pkl", ".pt")
_BYPRODUCTS = "preprocess"
"""Where GVHMR keeps what it computes on the way, in files that are no results."""
_START = r"(?<![^\W_])"
_END = r"(?![^\W_])"
"""No letter or digit may stand next to a name: `walk_1` is not in `walk_10`."""


@dataclass(frozen=True, eq=False)
class FolderEntry:
    """One result file and whom it is about."""

    video: str
    actor: int | None
    """Which of the video's people the file is about, where its name says so."""
    path: Path
    motions: tuple[PredictedMotion, ...]


@dataclass(frozen=True, eq=False)
class FolderPredictions:
    """What a folder of results holds for some videos."""

    entries: tuple[FolderEntry, ...]
    """By path."""
    unmatched: tuple[Path, ...]
    """Result files, by their names, of none of the videos; they were not read."""
    unknown: tuple[Path, ...] = ()
    """Files of a video that are the results of no system that we know."""


def read_folder(
    folder: Path | str, videos: Sequence[str], format: str | None = None
) -> FolderPredictions:
    """Read the *.npz, *.pkl and *.pt files anywhere in a folder.

    A file belongs to the video with the longest name that stands whole in its path from the folder
    on: as a folder or file name, or as a part of one that no letter or digit touches
    (`walk_1/wham_output.pkl`, `demo_walk_1.pkl`, `walk_1_0.npz`). A folder or file name that ends
    in the video's and a single digit (`walk_1_0`) says which actor it is about. Hidden files,
    GVHMR's `preprocess` folders and exports of our results are left alone. Raises `InputError` if
    there is no such folder or no file in it, if a path names two videos equally well, and whatever
    `read_predictions` raises.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder of result files")
    paths = files_below(folder)
    entries, unmatched, unknown = [], [], []
    for path in paths:
        names = _names(path.relative_to(folder))
        video = _video(path, names, videos)
        if video is None:
            unmatched.append(path)
            continue
        try:
            motions = tuple(read_predictions(path, format))
        except UnknownFormat:
            unknown.append(path)
        else:
            entries.append(FolderEntry(video, _actor(names, video), path, motions))
    return FolderPredictions(tuple(entries), tuple(unmatched), tuple(unknown))


def files_below(folder: Path) -> list[Path]:
    """What may be results anywhere in a folder, and not exports of ours or hidden; by path.

    Raises `InputError` if there is nothing.
    """
    paths = sorted(_may_be_results(folder))
    if not paths:
        raise InputError(f"there is no result file (*{', *'.join(SUFFIXES)}) in {folder}")
    return paths


def _may_be_results(folder: Path) -> Iterator[Path]:
    exports = {path.parent for path in folder.rglob(MANIFEST)} - {folder}
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        aside = _BYPRODUCTS in parts[:-1] or any(part.startswith(".") for part in parts)
        aside |= any(parent in exports for parent in path.parents)
        if path.suffix.lower() in SUFFIXES and not aside and path.is_file():
            yield path


def _names(path: Path) -> list[str]:
    """Of the folders on the way, and of the file without its suffix."""
    return [*path.parts[:-1], path.stem]


def _video(path: Path, names: list[str], videos: Sequence[str]) -> str | None:
    """The longest video name in the path."""
    named = [video for video in dict.fromkeys(videos) if any(_stands_in(video, n) for n in names)]
    longest = [video for video in named if len(video) == max(map(len, named))]
    if len(longest) > 1:
        raise InputError(
            f"{path} could be of {' or '.join(longest)}; name only one of them in its path"
        )
    return longest[0] if longest else None


def _stands_in(video: str, name: str) -> bool:
    return re.search(f"{_START}{re.escape(video)}{_END}", name) is not None


def _actor(names: list[str], video: str) -> int | None:
    """The digit after the video's name, in the innermost folder or file that has one."""
    for name in reversed(names):
        found = re.search(f"{_START}{re.escape(video)}_([0-9])$", name)
        if found:
            return int(found[1])
    return None
