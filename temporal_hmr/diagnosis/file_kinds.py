"""How a file is written, by its first bytes; and where body files may lie."""

import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

USUAL_PLACES = ("body_models", "data/body_models", "data/smpl", "models", "~/body_models")
"""Looked at when no folder is named; `$SMPL_DIR` too."""
DEPTH = 4
MOST_FILES = 5000
LARGEST = 2 * 2**30
"""Bytes of a pickle that is looked into; the largest SMPL file has an eighth of that."""
_SUFFIXES = (".pkl", ".pickle", ".npz", ".zip")
_BODY_WORDS = ("smpl", "mano", "flame", "star", "basicmodel", "supr")
_BODY_KEY = b"v_template"
_ZIP = b"PK\x03\x04"
_STARTS = {
    "gzip": b"\x1f\x8b",
    "web page": (b"<!doctype html", b"<html", b"<?xml"),
    "git-lfs pointer": b"version https://git-lfs",
    # Protocol 2 and later say so; 0 and 1 begin with what makes a dict, a list or an object.
    "pickle": (b"\x80", b"(", b"}", b"]", b"c"),
}
"""First bytes, spaces left out and in lower case."""


def file_kind(path: Path) -> str:
    """npz, pickle, zip, web page, gzip, git-lfs pointer, empty or other."""
    with path.open("rb") as file:
        head = file.read(512)
    if not head:
        return "empty"
    if head.startswith(_ZIP):
        return "npz" if _holds_arrays(path) else "zip"
    start = head.lstrip().lower()
    return next((kind for kind, starts in _STARTS.items() if start.startswith(starts)), "other")


def _holds_arrays(path: Path) -> bool:
    """A zip that is cut short has no list of contents any more; its first entry's name is left."""
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith(".npy") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        with path.open("rb") as file:
            return b".npy" in file.read(512)


@dataclass(frozen=True)
class Search:
    """Where body files were looked for, and what was found."""

    places: tuple[Path, ...]
    """Those that exist."""
    files: tuple[Path, ...]
    """Files that hold or claim to hold a body."""
    others: int
    """Files of such kinds that hold none."""
    cut_off: bool
    """Whether there was more than could be looked at."""


def usual_places() -> list[Path]:
    """Those that exist."""
    chosen = [os.environ["SMPL_DIR"]] if os.environ.get("SMPL_DIR") else []
    places = [Path(place).expanduser() for place in (*chosen, *USUAL_PLACES)]
    return [place for place in places if place.is_dir()]


def search(places: Sequence[Path]) -> Search:
    """Body files below these folders, and those named themselves."""
    files, others, seen = [], 0, 0
    for place in places:
        if place.is_file():
            files.append(place)
            continue
        for file in _below(place, DEPTH):
            seen += 1
            if seen > MOST_FILES:
                return Search(tuple(places), tuple(dict.fromkeys(files)), others, cut_off=True)
            if file.suffix.lower() in _SUFFIXES:
                claims = _claims_a_body(file)
                files += [file] if claims else []
                others += not claims
    return Search(tuple(places), tuple(dict.fromkeys(files)), others, cut_off=False)


def _below(folder: Path, depth: int) -> Iterator[Path]:
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    folders = []
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            folders.append(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)
    for below in folders:
        if depth and not below.name.startswith("."):
            yield from _below(below, depth - 1)


def _claims_a_body(file: Path) -> bool:
    """By its name, or by the name of the array that every body has."""
    if any(word in file.stem.lower() for word in _BODY_WORDS):
        return True
    try:
        if file.stat().st_size > LARGEST:
            return False
        if file_kind(file) == "npz":
            with zipfile.ZipFile(file) as archive:
                return "v_template.npy" in archive.namelist()
        return file_kind(file) == "pickle" and _holds(file, _BODY_KEY)
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False


def _holds(file: Path, word: bytes) -> bool:
    kept = b""
    with file.open("rb") as stream:
        while block := stream.read(1 << 22):
            if word in kept + block:
                return True
            kept = block[-len(word) :]
    return False
