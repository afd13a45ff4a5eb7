"""Keeping the chatter of native libraries off the user's terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any


class _StandardError:
    """The process's one standard error; threads that want it silent at the same time share that."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._users = 0
        self._kept = -1

    def hush(self) -> None:
        """Send it nowhere; raises `OSError` if the process has none."""
        with self._lock:
            if self._users == 0:
                self._kept = os.dup(2)
                _send_nowhere()
            self._users += 1

    def release(self) -> None:
        """Back to where it went before, once the last user is done."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                os.dup2(self._kept, 2)
                os.close(self._kept)

    @contextmanager
    def heard(self) -> Iterator[None]:
        """As if nobody wanted it silent."""
        with self._lock:
            if self._users:
                os.dup2(self._kept, 2)
            try:
                yield
            finally:
                if self._users:
                    _send_nowhere()


def _send_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


_STANDARD_ERROR = _StandardError()


class HeardStandardError:
    """Standard error for words of our own, which come through while other threads are `silenced`.

    What is written there must be little: those threads wait with what they begin or end meanwhile.
    """

    def write(self, text: str) -> None:
        """At once; nothing if the process has no standard error."""
        if sys.stderr is None:
            return
        with _STANDARD_ERROR.heard():
            sys.stderr.write(text)
            sys.stderr.flush()

    def flush(self) -> None:
        """Nothing is left to flush."""

    def __getattr__(self, name: str) -> Any:
        """All else is that of the stream itself."""
        return getattr(sys.stderr, name)


@contextmanager
def silenced() -> Iterator[None]:
    """Nothing that C or C++ code writes to standard error meanwhile reaches the terminal.

    Python exceptions are untouched: they are printed after this context is left. Keep the body
    short, since what other threads write to standard error meanwhile is lost as well, unless they
    write to `HeardStandardError`.
    """
    if sys.stderr is not None:
        sys.stderr.flush()
    try:
        _STANDARD_ERROR.hush()
    except OSError:  # the process has no standard error: nothing to silence
        yield
        return
    try:
        yield
    finally:
        _STANDARD_ERROR.release()
