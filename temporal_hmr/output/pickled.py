"""Pickles of named arrays that joblib and pickle load, with any numpy.

numpy 2 names its own functions by places that numpy 1 does not have; both know the older ones. What
is large is written some rows at a time, as if it had been in one piece: memory holds an outline,
with tokens in the place of the arrays' numbers.
"""

import pickle
import pickletools
import secrets
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from torch import Tensor

from temporal_hmr.on_disk import let_go
from temporal_hmr.output.npz import atomic_path

_PROTOCOL = 3
"""The newest in which names are written out, so that they can be those that every numpy knows."""
_NEW, _OLD = b"numpy._core.", b"numpy.core."
_LARGE = 1 << 16
"""Bytes from which on numbers are left out of the outline."""
_ROWS_AT_ONCE = 64
_TOKEN = 32
"""Bytes of a token: no file has the same by chance."""
_MOST_IN_FOUR_BYTES = 2**32 - 1


@dataclass(frozen=True, eq=False)
class InParts:
    """An array of float32 that is made while it is written, some rows at a time."""

    shape: tuple[int, ...]
    make: Callable[[slice], ndarray]
    """The rows asked for."""
    touched: Tensor
    """What they are made of, to be let go of."""

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(np.float32)

    @property
    def nbytes(self) -> int:
        return int(np.prod(self.shape)) * self.dtype.itemsize

    def __getitem__(self, rows: slice) -> ndarray:
        return np.asarray(self.make(rows), self.dtype)


def write_pickle(contents: object, path: Path) -> None:
    """Write it; all of the file appears, or nothing. `InParts` become arrays like any others.

    Raises `InputError` if the place cannot be written to.
    """
    with BytesIO() as outline:
        pickler = _Outline(outline)
        pickler.dump(contents)
        text, left_out = outline.getvalue(), pickler.left_out
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        file.writelines(_whole(text, left_out))


class _Outline(pickle.Pickler):
    """Puts tokens in the place of what is large."""

    def __init__(self, file: BytesIO) -> None:
        super().__init__(file, _PROTOCOL)
        self.left_out: dict[bytes, ndarray | InParts] = {}

    def reducer_override(self, value: Any) -> Any:
        if not isinstance(value, InParts) and not _is_plain(value):
            return NotImplemented
        if not isinstance(value, InParts) and value.nbytes < _LARGE:
            return NotImplemented
        token = secrets.token_bytes(_TOKEN)
        self.left_out[token] = value
        function, arguments, (version, *_) = np.empty(0, value.dtype).__reduce__()  # type: ignore[misc]
        return function, arguments, (version, value.shape, value.dtype, False, token)


def _is_plain(value: object) -> bool:
    return type(value) is ndarray and not value.dtype.hasobject


def _whole(text: bytes, left_out: Mapping[bytes, ndarray | InParts]) -> Iterator[bytes]:
    """The outline with older names, and with numbers for tokens."""
    done = 0
    for opcode, argument, place in pickletools.genops(text):
        if place is None:
            continue
        if opcode.name == "GLOBAL" and text.startswith(_NEW, place + 1):
            yield text[done : place + 1] + _OLD
            done = place + 1 + len(_NEW)
        elif isinstance(argument, bytes) and argument in left_out:
            yield text[done:place]
            yield from _numbers(left_out[argument])
            # As SHORT_BINBYTES: an opcode, a length of one byte, and the token.
            done = place + 2 + _TOKEN
    yield text[done:]


def _numbers(values: ndarray | InParts) -> Iterator[bytes]:
    """As pickle writes bytes, row after row."""
    size = values.nbytes
    if size <= _MOST_IN_FOUR_BYTES:
        yield pickle.BINBYTES + struct.pack("<I", size)
    else:
        yield pickle.BINBYTES8 + struct.pack("<Q", size)
    for first in range(0, values.shape[0], _ROWS_AT_ONCE):
        yield values[first : first + _ROWS_AT_ONCE].tobytes()
        let_go(values.touched if isinstance(values, InParts) else values)
