"""Files of `torch.save`, read as data: a zip archive with a pickle that refers to arrays in it.

Not by `torch.load(weights_only=True)`, which before torch 2.6 a file could make run code
(CVE-2025-32434).
"""

import math
import pickle
import zipfile
import zlib
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy import ndarray

from temporal_hmr.errors import InputError
from temporal_hmr.pickles import (
    READERS,
    DataUnpickler,
    LeftRecord,
    Record,
    Resolve,
    damage_named,
)

_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_STORED = "array of the archive"
_DTYPES = {
    "torch.DoubleStorage": "f8",
    "torch.FloatStorage": "f4",
    "torch.HalfStorage": "f2",
    "torch.LongStorage": "i8",
    "torch.IntStorage": "i4",
    "torch.ShortStorage": "i2",
    "torch.CharStorage": "i1",
    "torch.ByteStorage": "u1",
    "torch.BoolStorage": "b1",
}
_REPEATED = 2**24
"""A tensor may repeat few stored numbers to make up to so many; past that it is a bomb."""
_ARCHIVE_DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError)


def load_tensors(path: str | Path) -> object:
    """Contents of a file of `torch.save` (torch 1.6 or later), its tensors as read-only arrays.

    All else as `temporal_hmr.pickles.load_pickle` has it; other objects of torch, and tensors of
    types that numpy lacks, come back as `Unread`. Raises `InputError` for a file that is missing or
    damaged or names anything else.
    """
    return _read(Path(path), _TorchUnpickler)


def load_checkpoint(path: str | Path) -> object:
    """As `load_tensors`, for training checkpoints, which hold settings of types of their own.

    Objects of types that we do not know come back as `Unread`: they are never made, so there is
    nothing to refuse.
    """
    return _read(Path(path), _CheckpointUnpickler)


def _read(path: Path, unpickler: "type[_TorchUnpickler]") -> object:
    with damage_named(path):
        try:
            with zipfile.ZipFile(path) as archive:
                return unpickler(_Archive(archive, path.stat().st_size)).read()
        except _ARCHIVE_DAMAGE as error:
            raise pickle.UnpicklingError(str(error)) from error


class _Archive:
    """The members of an archive of torch's, which does not compress them, each read once."""

    def __init__(self, archive: zipfile.ZipFile, size: int):
        self._archive = archive
        self._room = size
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise InputError("is not an archive that torch saved; get the file anew")
        self._folder = pickles[0].removesuffix("data.pkl")
        has_order = f"{self._folder}byteorder" in archive.namelist()
        order = self.member("byteorder") if has_order else b"little"
        self._order = ">" if order == b"big" else "<"
        self._arrays: dict[tuple[str, str], ndarray] = {}

    def member(self, name: str) -> bytes:
        info = self._archive.getinfo(self._folder + name)
        self._room -= info.file_size
        if info.compress_type != zipfile.ZIP_STORED or self._room < 0:
            raise pickle.UnpicklingError(f"{name} is not stored as torch does, plain and once")
        return self._archive.read(info)

    def array(self, key: str, dtype: str) -> ndarray:
        """All numbers stored under one key, in a row."""
        if (key, dtype) not in self._arrays:
            raw = self.member(f"data/{key}")
            self._arrays[key, dtype] = np.frombuffer(raw, self._order + dtype)
        return self._arrays[key, dtype]


def _tensor(record: Record, resolve: Resolve) -> Any:
    """`_rebuild_tensor_v2(storage, offset, shape, strides, ...)`, strides counting elements."""
    stored = resolve(record.arguments[0])
    if not isinstance(stored, ndarray):
        return stored
    offset, shape, strides = record.arguments[1:4]
    if 0 in shape:
        return np.empty(shape, stored.dtype)
    last = offset + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    if min(0, offset, *shape, *strides) < 0 or last >= len(stored):
        raise pickle.UnpicklingError(f"a tensor of shape {shape} is not all there")
    if math.prod(shape) > max(len(stored), _REPEATED):
        raise pickle.UnpicklingError(f"a tensor of shape {shape} repeats what little there is")
    return np.lib.stride_tricks.as_strided(
        stored[offset:],
        shape,
        [stride * stored.itemsize for stride in strides],
        writeable=False,
    )


def _parameter(record: Record, resolve: Resolve) -> Any:
    """`_rebuild_parameter(tensor, requires_grad, hooks)`"""
    return resolve(record.arguments[0])


class _TorchUnpickler(DataUnpickler):
    """Makes arrays of tensors."""

    readers = MappingProxyType(
        {
            **READERS,
            _TENSOR: _tensor,
            _PARAMETER: _parameter,
            _STORED: lambda record, resolve: record.arguments[0],
        }
    )

    def __init__(self, archive: _Archive):
        super().__init__(archive.member("data.pkl"))
        self._archive = archive

    def find_class(self, module: str, name: str, /) -> Any:
        if module == "torch" or module.startswith("torch."):
            return self.record_type(f"{module}.{name}")
        return super().find_class(module, name)

    def persistent_load(self, pid: Any) -> Any:
        """("storage", type, key, device, size); the size is what the member's length says."""
        kind, storage, key = pid[:3]
        if kind != "storage" or not isinstance(key, str):
            return super().persistent_load(pid)
        if storage.kind not in _DTYPES:
            return self.record_type(storage.kind)()
        return self.record_type(_STORED)(self._archive.array(key, _DTYPES[storage.kind]))


class _CheckpointUnpickler(_TorchUnpickler):
    """Lets unknown types stand for nothing instead of refusing the file."""

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return super().find_class(module, name)
        except InputError:
            return self.record_type(f"{module}.{name}", LeftRecord)
