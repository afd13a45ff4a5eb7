"""Arrays in files in the place of memory, for what grows with the length of a video.

They are tensors like any others, and so are numpy's views of them: the system brings in what is
touched. That stays in memory until it is let go of, after which it is still in the file.
"""

import ctypes
import logging
import math
import os
import sys
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

FRAMES_AT_ONCE = 2048
_SUFFIX = ".array"
_BLOCK = 1 << 16
_DONT_NEED = 4
"""Linux' MADV_DONTNEED; of a file that is mapped for all to see, nothing is lost by it."""

_log = logging.getLogger(__name__)


def zeros(
    shape: tuple[int, ...], folder: Path | None, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Zeros in a file in that folder, which nobody sees and which is gone when they are.

    In memory where there is no folder, or no room in it; on Windows always, which does not let go.
    """
    if folder is None or not math.prod(shape) or sys.platform == "win32":
        return torch.zeros(shape, dtype=dtype)
    try:
        return _in_file(math.prod(shape), folder, dtype).view(shape)
    # The latter where the system has no more mappings to give.
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or error
        _log.warning("arrays cannot be kept in %s: %s", folder, reason)
        return torch.zeros(shape, dtype=dtype)


def copied(array: ndarray, folder: Path | None) -> ndarray:
    """The same numbers in a file in that folder; in memory where there is no folder.

    Single numbers, and what is no float32 or float64, always in memory.
    """
    if not array.ndim or array.dtype not in (np.float32, np.float64):
        return array.copy()
    place = zeros(array.shape, folder, torch.from_numpy(array[:0]).dtype).numpy()
    np.copyto(place, array)
    let_go(place)
    return place


def scratch() -> Path | None:
    """The folder of the system for what nobody keeps, where there is one."""
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        return None


def chunks(frames: int, *touched: Tensor | ndarray) -> Iterator[slice]:
    """So many frames, some at a time; what is `touched` meanwhile is let go of each time."""
    for first in range(0, frames, FRAMES_AT_ONCE):
        yield slice(first, min(first + FRAMES_AT_ONCE, frames))
        let_go(*touched)


def let_go(*arrays: Tensor | ndarray) -> None:
    """Give back the memory of arrays in files, or of the whole ones of which these are parts."""
    for array in arrays:
        owner: object = array
        while isinstance(owner, ndarray):
            owner = owner.base
        if not isinstance(owner, Tensor) or sys.platform != "linux":
            continue
        storage = owner.untyped_storage()
        if (storage.filename or "").endswith(_SUFFIX):
            _system().madvise(storage.data_ptr(), storage.nbytes(), _DONT_NEED)


def _in_file(count: int, folder: Path, dtype: torch.dtype) -> Tensor:
    handle, name = tempfile.mkstemp(_SUFFIX, ".", folder)
    try:
        with open(handle, "wb") as file:
            # All of it now: a disk that is found to be full later ends the process.
            left = count * dtype.itemsize
            while left:
                left -= file.write(bytes(min(left, _BLOCK)))
        return torch.from_file(name, shared=True, size=count, dtype=dtype)
    finally:
        os.unlink(name)


@cache
def _system() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return library
