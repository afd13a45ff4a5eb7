"""A file of work done so far, which survives that its process is killed.

One record a line, each with the checksum of its text: what was half written when the end came, and
all that follows it, is as if it had never been written.
"""

import logging
import zlib
from pathlib import Path

_log = logging.getLogger(__name__)


class Journal:
    """Records of earlier, one after the other, as long as there are any; then new ones.

    A journal of another key (other work) is begun anew. Where the disk has no room for it the work
    goes on without. Use as a context manager, or `close` it.
    """

    def __init__(self, path: Path, key: str) -> None:
        self._path = path
        self._recalling = True
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("a+b")
            self._file.seek(0)
            if self._next() != key:
                self._file.truncate(0)
                self._recalling = False
                self._file.write(_line(key))
                self._file.flush()
        except OSError as error:
            self._give_up(error)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    @property
    def folder(self) -> Path:
        """Where it lies, and where there is room for more."""
        return self._path.parent

    def close(self) -> None:
        """What was recorded stays; closing twice does nothing."""
        if self._file is not None:
            self._file.close()

    def recall(self) -> str | None:
        """The next record of earlier; None from the first that is absent or damaged on."""
        if self._file is None or not self._recalling:
            return None
        self._before = self._file.tell()
        record = self._next()
        if record is None:
            self.forget()
        return record

    def forget(self) -> None:
        """The record that was recalled last and all after it are of no use: drop them."""
        if self._file is not None and self._recalling:
            self._recalling = False
            self._file.truncate(self._before)

    def record(self, text: str) -> None:
        """Add one (a single line), to be found again even if the process is killed at once.

        Raises `ValueError` while there are earlier ones that were not recalled.
        """
        if self._file is None:
            return
        if self._recalling:
            raise ValueError("there are records of earlier to recall first")
        try:
            self._file.write(_line(text))
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def _next(self) -> str | None:
        line = self._file.readline() if self._file is not None else b""
        checksum, _, text = line.removesuffix(b"\n").partition(b" ")
        whole = line.endswith(b"\n") and checksum == _checksum(text)
        return text.decode() if whole else None

    def _give_up(self, error: OSError) -> None:
        _log.warning("work cannot be kept in %s: %s", self._path, error.strerror)
        self._file = None
        self._recalling = False


def _line(text: str) -> bytes:
    return _checksum(text.encode()) + b" " + text.encode() + b"\n"


def _checksum(text: bytes) -> bytes:
    return b"%08x" % zlib.crc32(text)
