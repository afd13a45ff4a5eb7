"""The folder of one video's results: `person_000.npz` and so on, `result.json`, `overlay.mp4`."""

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

from temporal_hmr.archive import read_arrays
from temporal_hmr.errors import InputError
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.former import bring_back, former_aside
from temporal_hmr.output.manifest import EXPORTS, clear_exports
from temporal_hmr.output.npz import SCHEMA_VERSION, Provenance, save_motion
from temporal_hmr.output.partial import partial_folder

SUMMARY = "result.json"
OVERLAY = "overlay.mp4"


def check_folder(folder: Path, source_sha256: str) -> None:
    """Make sure, leaving no trace, that results of this source may and can be written to `folder`.

    Raises `InputError` if the system does not let us write there, or if the folder holds the
    results of another video (of the same name, perhaps), which we would not mix or overwrite.
    """
    try:
        os.path.realpath(folder).encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the path {str(folder)!r} is not valid UTF-8; choose another place with --output-dir"
        ) from None
    existing = folder
    while not os.path.lexists(existing):
        existing = existing.parent
    try:
        # A name too long for the file system exists nowhere, and could be made nowhere.
        longest = os.pathconf(existing, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255
        if any(len(os.fsencode(name)) > longest for name in folder.parts):
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {existing}: {error.strerror}; choose another place with "
            "--output-dir"
        ) from error
    other = _another_source(folder, source_sha256)
    if other is not None:
        raise InputError(
            f"{folder} holds the results of another video ({other}); choose another place with "
            "--output-dir, or move them away"
        )


def require_replaceable(folder: Path, source_sha256: str) -> None:
    """Raise `InputError` if `folder` has results that nothing would bring back.

    Those are results of another source, and such as were corrected.
    """
    other, edits = _another_source(folder, source_sha256), corrections(folder)
    if other is None and not edits:
        return
    what = "corrected results" if edits else f"the results of another video ({other})"
    lost = f" ({' '.join(edits)})" if edits else ""
    raise InputError(
        f"{folder} holds {what}, which would be lost{lost}: choose another folder, or say "
        "overwrite=True"
    )


def _another_source(folder: Path, source_sha256: str) -> str | None:
    """The name of the other video whose results lie in a folder, None if they are of none."""
    previous = _read_summary(folder)
    if previous is None and (folder / SUMMARY).exists():
        previous = _told_by_people(folder)
    if previous is None or previous.get("source_sha256") == source_sha256:
        return None
    return str(previous.get("source"))


def finished_results(folder: Path, provenance: Provenance) -> dict[str, Any] | None:
    """The summary of the results in `folder` if they are whole and were made in just this way.

    Else None. What is drawn or exported of them is not looked at.
    """
    summary = _read_summary(folder)
    if summary is None:
        return None
    made = {"schema_version": SCHEMA_VERSION, **asdict(provenance)}
    if not made.items() <= summary.items():
        return None
    names = [person["file"] for person in summary["people"]]
    return summary if all((folder / name).is_file() for name in names) else None


def corrections(folder: Path) -> list[str]:
    """How the results in a folder were corrected since they were made, as one would type it."""
    edits = (_read_summary(folder) or {}).get("edits")
    told = [each for each in edits if isinstance(each, dict)] if isinstance(edits, list) else []
    return [str(step) for each in told for step in each.get("steps", [])]


def seen_from(folder: Path, source: Path) -> str:
    """The path of the tracked video as results in `folder` state it: relative where it can be."""
    there, here = os.path.realpath(source), os.path.realpath(folder)
    try:
        return Path(os.path.relpath(there, here)).as_posix()
    except ValueError:  # another drive of Windows
        return Path(there).as_posix()


def tracked_video(folder: Path) -> Path | None:
    """Where the results in a folder say that their video lies; None if nothing is there."""
    stated = (_read_summary(folder) or {}).get("source_path")
    if not isinstance(stated, str) or not stated or "\0" in stated:
        return None
    path = Path(os.path.realpath(Path(os.path.realpath(folder)) / stated))
    return path if path.exists() else None


def write_results(
    folder: Path, motions: Sequence[BodyMotion], clip: dict[str, object], provenance: Provenance
) -> list[Path]:
    """Write one npz per person, then the summary; returns the paths of the npz files.

    `clip` is what the summary says of the video. Results of an earlier run on the same video are
    replaced. Raises `InputError` if the folder cannot be written to; then folders made on the way
    are taken away again.
    """
    people = [described(motion) for motion in motions]
    summary = {"schema_version": SCHEMA_VERSION, **asdict(provenance), **clip, "people": people}

    def write(partial: Path) -> None:
        for motion in motions:
            save_motion(motion, partial / person_file(motion.person_id), provenance)

    publish_results(folder, summary, write)
    return [folder / person_file(motion.person_id) for motion in motions]


def publish_results(
    folder: Path, summary: Mapping[str, Any], write: Callable[[Path], None]
) -> None:
    """Put results into a folder: the summary, and the files of the people that it lists.

    `write` puts those into an empty folder that it is given. Only when all are complete do they
    take the place of an earlier run's, which stay whole if anything goes wrong. Raises `InputError`
    if the folder cannot be written to; then folders made on the way are taken away again.
    """
    names = [*(str(person["file"]) for person in summary["people"]), SUMMARY]
    with made_folder(folder), partial_folder(folder) as partial:
        write(partial)
        text = json.dumps(summary, indent=2) + "\n"
        (partial / SUMMARY).write_text(text, encoding="utf-8")
        bring_back(folder, SUMMARY)
        former = _read_summary(folder)
        if former is None:
            _move(names, partial, folder)
            return
        with former_aside(folder, _listed(former), names, SUMMARY):
            _move(names, partial, folder)
        clear_exports(folder / EXPORTS)


def _move(names: Sequence[str], source: Path, to: Path) -> None:
    for name in names:
        os.replace(source / name, to / name)


def person_file(person_id: int) -> str:
    """Name of somebody's file."""
    return f"person_{person_id:03d}.npz"


def described(motion: BodyMotion) -> dict[str, object]:
    """What the summary says of somebody."""
    return {
        "person_id": motion.person_id,
        "file": person_file(motion.person_id),
        "first_frame": int(motion.frames[0]),
        "last_frame": int(motion.frames[-1]),
        "frames_observed": int(motion.observed.sum()),
        "mean_confidence": round(float(motion.confidence.mean()), 4),
    }


def _read_summary(folder: Path) -> dict[str, Any] | None:
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return summary if isinstance(summary, dict) and _lists_people(summary) else None


def _lists_people(summary: Mapping[str, Any]) -> bool:
    people, edits = summary.get("people", []), summary.get("edits", [])
    return (
        isinstance(people, list)
        and all(isinstance(each, dict) and isinstance(each.get("file"), str) for each in people)
        and isinstance(edits, list)
        and all(
            isinstance(each, dict) and isinstance(each.get("steps", []), list) for each in edits
        )
    )


def _told_by_people(folder: Path) -> dict[str, Any] | None:
    """What the files of the people say of their making, for where the summary is damaged."""
    for path in sorted(folder.glob("person_*.npz")):
        try:
            made = json.loads(str(read_arrays(path, lambda _: ["meta"])["meta"]))
        except (InputError, ValueError, RecursionError):
            continue
        if isinstance(made, dict):
            return made
    return None


def _listed(summary: Mapping[str, Any]) -> list[str]:
    """An earlier run's files, which must go lest somebody of it is taken for somebody of this one.

    Only what its summary lists is ours to remove, and the exports that theirs lists.
    """
    names = [Path(person["file"]).name for person in summary.get("people", [])]
    return [*names, OVERLAY]


@contextmanager
def made_folder(folder: Path) -> Iterator[None]:
    """Make the folder and its parents; if the block fails, those made and still empty go again.

    Raises `InputError` for an `OSError` of the block.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for path in missing:
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if isinstance(error, OSError):
            raise InputError(
                f"cannot write to {folder}: {error.strerror}; choose another place with "
                "--output-dir"
            ) from error
        raise
