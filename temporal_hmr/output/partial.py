"""Folders in which files wait until all of them are whole.

A run that is killed leaves its own behind, for the next one to clear away.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = ".partial_"
"""What their names begin with."""


@contextmanager
def partial_folder(folder: Path) -> Iterator[Path]:
    """A new folder within `folder`, which goes at the end, as do those of runs that were killed.

    Raises `OSError` where the system refuses.
    """
    clear_abandoned(folder)
    with tempfile.TemporaryDirectory(prefix=PREFIX, dir=folder) as made, held(Path(made)):
        yield Path(made)


def clear_abandoned(folder: Path) -> None:
    """Take away what killed runs left in `folder`; what is of runs at work stays."""
    for path in folder.glob(f"{PREFIX}*"):
        try:
            with held(path):
                shutil.rmtree(path, ignore_errors=True)
        except OSError:
            continue


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Nobody else holds the folder meanwhile; a process that is killed lets go of it.

    Raises `BlockingIOError` if another process holds it. Where the system has no locks nobody does.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:  # some network file systems have none
            pass
        yield
    finally:
        os.close(handle)
