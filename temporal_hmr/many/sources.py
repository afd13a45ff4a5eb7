"""Which videos are meant by the words of a command: files, folders, lists and patterns."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from glob import glob
from pathlib import Path

from temporal_hmr.containers import VIDEO_SUFFIXES
from temporal_hmr.errors import InputError
from temporal_hmr.images import IMAGE_SUFFIXES

LIST_SUFFIX = ".txt"
_ADDRESS = re.compile(r"[A-Za-z][\w+.-]+://")

_log = logging.getLogger(__name__)


def camera_number(words: Sequence[str]) -> int | None:
    """Of the camera that `camera:0` alone means, or `0` where nothing else is called so."""
    found = re.fullmatch(r"(camera:)?(\d{1,3})", words[0]) if len(words) == 1 else None
    if found is None or (not found[1] and os.path.lexists(words[0])):
        return None
    return int(found[2])


def find_sources(words: Sequence[str]) -> list[Path]:
    """The videos and folders of images that the words name, in that order, each once.

    A word may also be a folder of videos (those directly in it, by name), a `.txt` file with one
    path in each line (from that file's folder on; lines with # are comments), or a pattern that the
    shell left alone. A path at which there is nothing stays: opening it will say so.

    Raises `InputError` for an empty word, for an address of the net, for a folder with both videos
    and images, and for a list that cannot be read or names nothing.
    """
    if "" in words:
        raise InputError("a SOURCE is empty, as a variable is that was never set: give its path")
    return _each_once(
        source
        for word in words
        for path in _matches(word)
        for source in (_listed(path) if _is_list(path) else _videos_in(path))
    )


def _is_list(path: Path) -> bool:
    return path.suffix.lower() == LIST_SUFFIX and os.path.isfile(path)


def _matches(pattern: str, folder: Path = Path()) -> list[Path]:
    """By name; the pattern itself where it exists as a path, or matches nothing."""
    if os.path.lexists(folder / pattern):
        return [folder / pattern]
    if _ADDRESS.match(pattern):
        raise InputError(f"{pattern} is an address: download the video first, and give the file")
    names = sorted(glob(pattern, root_dir=folder, recursive=True))
    return [folder / name for name in names or [pattern]]


def _listed(file: Path) -> Iterator[Path]:
    try:
        text = file.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"the list {file} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise InputError(f"{file} is not text in UTF-8: give a list with one path in each line")
    lines = [line.strip() for line in text.splitlines()]
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines:
        raise InputError(f"the list {file} names no video: write one path in each line")
    for line in lines:
        for path in _matches(line, file.parent):
            yield from _videos_in(path)


def _videos_in(path: Path) -> list[Path]:
    """Those in a folder of videos; anything else is itself a source."""
    try:
        files = sorted(path.iterdir()) if os.path.isdir(path) else []
    except OSError:  # opening it will say why
        return [path]
    files = [file for file in files if not file.name.startswith(".") and os.path.isfile(file)]
    videos = [file for file in files if file.suffix.lower() in VIDEO_SUFFIXES]
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    if videos and images:
        raise InputError(
            f"the folder {path} holds videos ({videos[0].name}) and images ({images[0].name}): "
            f"name the videos themselves, or give the images a folder of their own"
        )
    return videos or [path]


def _each_once(sources: Iterator[Path]) -> list[Path]:
    first: dict[str, Path] = {}
    again: dict[Path, None] = {}
    for source in sources:
        place = os.path.realpath(source)
        if place in first:
            again[first[place]] = None
        first.setdefault(place, source)
    if again:
        named = [str(source) for source in again]
        rest = f" and {len(named) - 3} more" if len(named) > 3 else ""
        _log.warning("named more than once, taken once: %s%s", ", ".join(named[:3]), rest)
    return list(first.values())
