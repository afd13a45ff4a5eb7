"""`work` in a folder of results: what has been done so far, for the same command to go on from.

It is there while a video is tracked, and stays when the process is killed. What is kept says of
what it was made (the key of each journal), so that nothing of other settings is ever taken up.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from temporal_hmr.errors import InputError
from temporal_hmr.journal import Journal

WORK = "work"
_PACKAGE = Path(__file__).parents[1]

_log = logging.getLogger(__name__)


class Work:
    """The journals of one video's work."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def journal(self, name: str, made_of: Mapping[str, object]) -> Journal:
        """The records of what is called so and was made of just that, by this very code."""
        key = json.dumps({**made_of, "code": _code_digest()}, sort_keys=True, default=str)
        short = hashlib.sha256(key.encode()).hexdigest()[:16]
        return Journal(self._folder / f"{name}-{short}.jsonl", key)


@contextmanager
def working_in(folder: Path, keep: bool) -> Iterator[Work]:
    """The work of the results in `folder`; taken away when the block ends well unless `keep`.

    Raises `InputError` if another process is at work there, or the folder cannot be made.
    """
    place = folder / WORK
    there_before = [path for path in (folder, *folder.parents) if path.exists()]
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"cannot write to {folder}: {error.strerror}; choose another place with --output-dir"
        ) from error
    with _alone_in(place):
        _clear_litter(folder)
        try:
            yield Work(place)
        except BaseException:
            _remove_if_empty(place, there_before)
            raise
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


@contextmanager
def _alone_in(place: Path) -> Iterator[None]:
    """Nobody else is let in meanwhile; a process that is killed lets go of the folder."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise InputError(
            f"another run is at work in {place.parent}: wait for it, or choose another --output-dir"
        ) from None
    except OSError as error:  # some network file systems have no locks
        _log.debug("no lock on %s: %s", place, error)
    try:
        yield
    finally:
        os.close(handle)


def _clear_litter(folder: Path) -> None:
    """Take away what a run that was killed left half-written beside the results."""
    for path in (*folder.glob(".partial_*"), *folder.glob(".overlay.*.mp4")):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _remove_if_empty(place: Path, there_before: list[Path]) -> None:
    """Work that never began leaves no trace."""
    for path in (place, *place.parents):
        if path in there_before or any(path.iterdir()):
            return
        path.rmdir()


def _code_digest() -> str:
    """SHA-256 of this package's own code."""
    code = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        code.update(path.read_bytes())
    return code.hexdigest()
