"""Folders in which files wait until all of them are whole.

A run that is killed leaves its own behind, for the next one to clear away.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PREFIX = ".partial_"
"""What their names begin with."""
_ABANDONED_AFTER = 24 * 3600
"""Seconds after which nobody is at work any more, where the system has no locks to tell."""
_TRIES = 5


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A new folder within `folder`, which goes at the end, as do those of runs that were killed.

    Raises `OSError` where the system refuses.
    """
    clear_abandoned(folder)
    with ExitStack() as stack:
        yield _begun(folder, stack)


def _begun(folder: Path, stack: ExitStack, tries: int = _TRIES) -> Path:
    made = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder)))
    try:
        stack.enter_context(held(made))
    except (BlockingIOError, FileNotFoundError):
        # Another run took it for one that was left, before we held it.
        if tries == 1:
            raise
        return _begun(folder, stack, tries - 1)
    return made


def clear_abandoned(folder: Path) -> None:
    """Take away what killed runs left in `folder`; what is of runs at work stays."""
    for path in folder.glob(f"{PREFIX}*"):
        try:
            with held(path) as surely:
                if surely or time.time() - path.stat().st_mtime > _ABANDONED_AFTER:
                    shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue


@contextmanager
def held(folder: Path) -> Iterator[bool]:
    """Nobody else holds the folder meanwhile; a process that is killed lets go of it.

    True, or False where the system has no locks, and nobody holds anything. Raises
    `BlockingIOError` if another process holds it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield False
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        surely = True
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # some network file systems have none
            surely = False
        yield surely
    finally:
        os.close(handle)
