"""Files that appear whole or not at all, and disks that do not take them."""

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from temporal_hmr.errors import InputError

PARTIAL = ".partial"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """The name beside `path` to write to: renamed to it when the block ends well, else removed.

    A process that is killed leaves it, always under the same name. Raises `InputError` where the
    disk does not take it.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        with refusals_told(path):
            yield partial
            partial.replace(path)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink()


@contextmanager
def refusals_told(path: Path) -> Iterator[None]:
    """Raise `InputError` naming `path` where the disk does not take what the block writes."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        # torch's zip writer has another word for it, and keeps the system's as context.
        refusal = error.__context__ if isinstance(error, RuntimeError) else error
        if not isinstance(refusal, OSError | SafetensorError):
            raise
        reason = getattr(refusal, "strerror", None) or refusal
        raise InputError(
            f"cannot write {path}: {reason}; what was written before stays: make room, and give "
            "the same command again"
        ) from error
