"""`work` in a folder of results: what has been done so far, for the same command to go on from.

It is there while a video is tracked, and stays when the process is killed. What is kept says of
what it was made (the key of each journal), so that nothing of other settings is ever taken up.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from temporal_hmr.errors import InputError
from temporal_hmr.journal import Journal
from temporal_hmr.output.partial import clear_abandoned, held

WORK = "work"
_PACKAGE = Path(__file__).parents[1]


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
    with ExitStack() as alone:
        try:
            alone.enter_context(held(place))
        except BlockingIOError:
            raise InputError(
                f"another run is at work in {folder}: wait for it, or choose another --output-dir"
            ) from None
        _clear_litter(folder)
        try:
            yield Work(place)
        except BaseException:
            _remove_if_empty(place, there_before)
            raise
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


def _clear_litter(folder: Path) -> None:
    """Take away what a run that was killed left half-written beside the results."""
    clear_abandoned(folder)
    for path in folder.glob(".overlay.*.mp4"):
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
