"""Archives of plain arrays (npz), read without running or trusting anything in them."""

import lzma
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy import ndarray

from temporal_hmr.errors import InputError

_DAMAGE = (
    *(OSError, ValueError, TypeError, LookupError, ArithmeticError, EOFError, MemoryError),
    *(NotImplementedError, RuntimeError, SyntaxError, struct.error, tokenize.TokenError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)
"""What numpy and zipfile raise for archives that are cut, garbled, encrypted or lie of sizes."""


def read_arrays(
    path: Path,
    choose: Callable[[list[str]], Iterable[str]],
    keep: Callable[[ndarray], ndarray] = np.asarray,
) -> dict[str, ndarray]:
    """Those arrays of an npz file that `choose` picks from the list of all names; no pickle.

    What is kept of each is what `keep` makes of it before the next is read.

    Raises `InputError` if the file is absent, damaged, or one of them is not a plain array.
    """
    if not path.is_file():
        raise InputError(f"there is no file at {path}: check the path")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, np.lib.npyio.NpzFile):
            raise InputError(f"{path} holds a single array: give an npz file of named arrays")
        with archive:
            return {name: keep(archive[name]) for name in choose(archive.files)}
    except InputError:
        raise
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{path} is damaged or holds more than plain arrays ({reason}); get the file anew"
        ) from error
