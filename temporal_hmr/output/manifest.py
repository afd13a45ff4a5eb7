"""What an export wrote, listed beside it, so that it can be replaced and never mistaken."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath

from temporal_hmr.errors import InputError
from temporal_hmr.output.npz import atomic_path

EXPORTS = "export"
"""The folder in a folder of results."""
MANIFEST = "export.json"


@dataclass(frozen=True)
class Manifest:
    """The files in a folder of exports."""

    result: str = ""
    """Name of the folder or file that was exported."""
    result_sha256: str = ""
    people: tuple[Mapping[str, object], ...] = ()
    """Of each: name, person_id, first_frame, and start_time and fps, which BVH cannot state."""
    files: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """By format, relative to the folder, with forward slashes."""

    def paths(self, format: str) -> list[PurePosixPath]:
        """Of one format; only those that lie in the folder."""
        paths = [PurePosixPath(name) for name in self.files.get(format, ())]
        return [path for path in paths if not path.is_absolute() and ".." not in path.parts]


def read_manifest(folder: Path) -> Manifest:
    """An empty one where there is none, or none that is whole."""
    try:
        contents = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        files = {
            str(name): [str(path) for path in paths] for name, paths in contents["files"].items()
        }
        return Manifest(str(contents["result"]), str(contents["result_sha256"]), (), files)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return Manifest()


def is_current(folder: Path, result_sha256: str, formats: Sequence[str]) -> bool:
    """Whether the folder holds all of these formats of this very result."""
    manifest = read_manifest(folder)
    return manifest.result_sha256 == result_sha256 and all(
        manifest.files.get(format)
        and all((folder / path).is_file() for path in manifest.paths(format))
        for format in formats
    )


def check_replaceable(folder: Path, files: Mapping[str, Sequence[str]]) -> None:
    """Raise `InputError` if one of these files is there and no export wrote it."""
    manifest = read_manifest(folder)
    ours = {str(path) for format in manifest.files for path in manifest.paths(format)}
    for names in files.values():
        for name in names:
            if name not in ours and os.path.lexists(folder / name):
                raise InputError(
                    f"{folder / name} was not written by an export and would be lost; choose "
                    "another place with --output-dir"
                )


def publish(partial: Path, folder: Path, manifest: Manifest) -> None:
    """Move the files listed from one folder to another, in place of those of an earlier export.

    Of a format that is written anew all earlier files go; the other formats stay if they are of
    the same result. Raises `OSError` where the system refuses.
    """
    previous = read_manifest(folder)
    same = previous.result_sha256 == manifest.result_sha256
    gone = [name for name in previous.files if not same or name in manifest.files]
    _remove(folder, previous, gone)
    for format in manifest.files:
        for path in manifest.paths(format):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            os.replace(partial / path, folder / path)
    kept = {name: paths for name, paths in previous.files.items() if name not in gone}
    contents = asdict(manifest) | {"files": {**kept, **manifest.files}}
    with atomic_path(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(contents, indent=2) + "\n", encoding="utf-8")


def clear_exports(folder: Path) -> None:
    """Remove what exports wrote, and the folder if nothing else is in it."""
    manifest = read_manifest(folder)
    _remove(folder, manifest, list(manifest.files))
    if (folder / MANIFEST).is_file():
        (folder / MANIFEST).unlink()
        _remove_if_empty(folder)


def _remove(folder: Path, manifest: Manifest, formats: Sequence[str]) -> None:
    parents = set()
    for format in formats:
        for path in manifest.paths(format):
            (folder / path).unlink(missing_ok=True)
            parents |= {folder / parent for parent in path.parents if parent.name}
    for parent in sorted(parents, key=lambda path: -len(path.parts)):
        _remove_if_empty(parent)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
