"""Files of joblib, read as data: pickles with the bytes of arrays between their opcodes.

`joblib.dump` pickles a description of each array and writes the array's bytes right after the
opcode that gives the description its state. So such a file is no pickle, and can be followed only
by unpickling it step by step; it may be compressed as a whole. As in `temporal_hmr.pickles`,
nothing named in the file is imported, and nothing in it is run.
"""

import bz2
import io
import lzma
import math
import pickle
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
from numpy import ndarray

from temporal_hmr.errors import InputError
from temporal_hmr.pickles import (
    READERS,
    DataUnpickler,
    Record,
    Resolve,
    Unread,
    damage_named,
    read_dtype,
)

_WRAPPER = "joblib.numpy_pickle.NumpyArrayWrapper"
_EXPANSION = 100
_ROOM = 2**26
"""A compressed file may hold 64 MiB, or a hundred times its size: past that it is a bomb."""
_LZMA_MEMORY = 2**28
_CHUNK = 2**20
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS

_DECOMPRESSORS: dict[bytes, Callable[[], Any]] = {
    b"\x78": lambda: zlib.decompressobj(_ZLIB_OR_GZIP),
    b"\x1f\x8b": lambda: zlib.decompressobj(_ZLIB_OR_GZIP),
    b"BZh": bz2.BZ2Decompressor,
    b"\xfd7zXZ": lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY),
    b"\x5d\x00": lambda: lzma.LZMADecompressor(memlimit=_LZMA_MEMORY),
}
_UNREADABLE = {
    b"\x04\x22\x4d\x18": "is compressed with lz4",
    b"ZF": "is of a joblib older than 0.10",
}


def load_joblib(path: str | Path) -> object:
    """Contents of a file of `joblib.dump` (0.10 or later, any compression but lz4), or of a pickle.

    As `temporal_hmr.pickles.load_pickle` has them; arrays that joblib wrote may be read-only, and
    where they hold objects they come back as `Unread`. Takes as much memory as the file does, or
    what it expands to. Raises `InputError` for a file that is missing or damaged, that expands to
    more than a hundred times its size (and 64 MiB), or that names anything else.
    """
    path = Path(path)
    with damage_named(path):
        return _JoblibUnpickler(_decompressed(path)).read()


def _decompressed(path: Path) -> bytes:
    """All bytes of the file, without the compression that its first bytes tell of."""
    raw = path.read_bytes()
    for start, reason in _UNREADABLE.items():
        if raw.startswith(start):
            raise InputError(f"{reason}; load it with joblib and dump it anew with compress=3")
    for start, decompressor in _DECOMPRESSORS.items():
        if raw.startswith(start):
            return _expanded(raw, decompressor())
    return raw


def _expanded(raw: bytes, decompressor: Any) -> bytes:
    limit = max(_ROOM, _EXPANSION * len(raw))
    parts: list[bytes] = []
    room = limit
    try:
        for start in range(0, len(raw), _CHUNK):
            # Less than the most we take means that all of the chunk was consumed.
            part = decompressor.decompress(raw[start : start + _CHUNK], room + 1)
            parts.append(part)
            room -= len(part)
            if room < 0:
                raise InputError(
                    f"expands to more than {limit} bytes and is refused as a memory bomb; load it "
                    "with joblib, if you trust it, and dump it anew with compress=0"
                )
            if decompressor.eof:
                return b"".join(parts)
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise pickle.UnpicklingError(f"its compression is broken: {error}") from error
    raise pickle.UnpicklingError("its compressed bytes end too early")


def _wrapped(record: Record, resolve: Resolve) -> ndarray | Unread:
    """What was put there in place of the state, if the file gave it any."""
    return Unread(record.kind) if record.state is None else record.state


class _JoblibUnpickler(DataUnpickler):
    """Makes records of all objects, and arrays of joblib's."""

    readers = MappingProxyType({**READERS, _WRAPPER: _wrapped})

    def __init__(self, raw: bytes):
        super().__init__(raw)
        self._raw = raw

    def _load_build(self) -> None:
        """A record gets its state; if that describes an array of joblib's, the array follows."""
        DataUnpickler.dispatch[pickle.BUILD[0]](self)
        record = self.stack[-1]
        if isinstance(record, Record) and record.kind == _WRAPPER:
            record.state = self._array(record.state)

    dispatch: ClassVar[Mapping[int, Callable[[Any], None]]] = {
        **DataUnpickler.dispatch,
        pickle.BUILD[0]: _load_build,
    }

    def _array(self, state: dict) -> ndarray | Unread:
        dtype = read_dtype(state["dtype"])
        if dtype.hasobject:
            self._pass_over_pickle()
            return Unread("numpy array of objects")
        if state.get("numpy_array_alignment_bytes") is not None:
            padding = self.stream.read(1)[0]
            self.stream.seek(padding, io.SEEK_CUR)
        shape = tuple(int(size) for size in state["shape"])
        count = math.prod(shape)
        start = self.stream.tell()
        end = start + count * dtype.itemsize
        if min(shape, default=0) < 0 or end > len(self._raw):
            raise pickle.UnpicklingError(f"an array of shape {shape} is not all there")
        self.stream.seek(end)
        if count == 0:
            return np.empty(shape, dtype)
        flat = np.frombuffer(self._raw, dtype, count, start)
        return flat.reshape(shape, order=state["order"])

    def _pass_over_pickle(self) -> None:
        """Where joblib writes an array of objects it writes a pickle of its own."""
        inner = _JoblibUnpickler(self._raw)
        inner.stream.seek(self.stream.tell())
        inner.load()
        self.stream.seek(inner.stream.tell())
