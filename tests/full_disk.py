"""A disk that is full, for those who write files."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def limited_files(size: int) -> Iterator[None]:
    """No file may grow beyond so many bytes: what a full disk looks like to those who write."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
