"""Pickles read as data: nothing named in the file is imported, and nothing in it is run.

A pickle is a program. Here each type it names is bound to an inert record of the call, and the
records that describe arrays are turned into arrays afterwards, from their bytes. numpy's own
unpickling is not used either, because it trusts what the file says of memory layouts.
"""

import pickle
import pickletools
import re
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray
from scipy import sparse

from temporal_hmr.errors import InputError

_DAMAGE = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    MemoryError,
    RecursionError,
)
_BEYOND_THE_FILE = {"EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID"}
_SIMPLE_DTYPE = re.compile(r"[<>=|]?[biufcSU]\d+")
_BUILTINS: dict[str, type] = {
    kind.__name__: kind for kind in (set, frozenset, list, dict, tuple, complex, bytes, bytearray)
}


class Unread:
    """What stands where the file holds an object that we do not interpret."""

    def __init__(self, kind: str):
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}, not read>"


def load_pickle(path: str | Path) -> object:
    """Contents of a pickle of any protocol, Python 2's included (its strings as latin-1).

    Dicts (ordered ones and those with a default come back plain), lists, tuples, sets, strings,
    numbers; numpy arrays and scalars; scipy's csc and csr matrices; chumpy's variables, and
    selections and reshapings of them, as the arrays they hold. Other chumpy nodes, which stand for
    computations, come back as `Unread`. Raises `InputError` for a file that is missing or damaged
    or names anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file; check the path")
    try:
        _check_opcodes(path)
        with path.open("rb") as file:
            return _Reading().resolve(_RecordingUnpickler(file, path).load())
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{path} is damaged or not a pickle ({reason}); get the file anew"
        ) from error


def _check_opcodes(path: Path) -> None:
    """Refuse what `find_class` does not see: objects fetched by number, and memory bombs."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name in _BEYOND_THE_FILE:
                raise InputError(f"fetches objects by opcode {opcode.name}; refusing to run it")
            if opcode.name in {"PUT", "LONG_BINPUT"} and not 0 <= int(argument or 0) <= size:
                raise pickle.UnpicklingError("it numbers more objects than it can hold")


class _Sealed(type):
    """The type of types that a file cannot alter."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError("it tries to alter a type")


class _Record(metaclass=_Sealed):
    """An object that the file describes: its type, what it was built with, and its state."""

    __slots__ = ("arguments", "state")
    kind = ""
    arguments: tuple
    state: Any

    def __new__(cls, *arguments: object) -> "_Record":
        record = object.__new__(cls)
        record.arguments = arguments
        record.state = None
        return record

    def __init__(self, *arguments: object):
        """Everything is done in `__new__`, which is all that some opcodes call."""

    def __setstate__(self, state: object) -> None:
        self.state = state


class _RecordingUnpickler(pickle.Unpickler):
    """Binds the names in the file to records, to a few harmless builtins, or to nothing."""

    def __init__(self, file: Any, path: Path):
        super().__init__(file, encoding="latin1")
        self._path = path
        self._records: dict[str, type[_Record]] = {}

    def find_class(self, module: str, name: str, /) -> Any:
        full = f"{module}.{name}"
        if module in {"builtins", "__builtin__"} and name in _BUILTINS:
            return _BUILTINS[name]
        if full == "collections.OrderedDict":
            return OrderedDict
        if full == "collections.defaultdict":
            return self._dict_with_default
        if full in {"copy_reg._reconstructor", "copyreg._reconstructor"}:
            return self._reconstruct
        if full == "_codecs.encode":
            return self._encode
        if full not in _READERS and not module.startswith("chumpy."):
            raise InputError(f"asks to import {full}; refusing to run it")
        if full not in self._records:
            self._records[full] = _Sealed(name, (_Record,), {"__slots__": (), "kind": full})
        return self._records[full]

    def _dict_with_default(self, _factory: object = None, items: Any = ()) -> dict:
        return dict(items)

    def _encode(self, text: str, _encoding: str) -> bytes:
        """How Python 3 writes bytes for Python 2."""
        return _bytes(text)

    def _reconstruct(self, wanted: object, _base: object, _state: object) -> _Record:
        """How protocols 0 and 1 make objects."""
        if not isinstance(wanted, type) or not issubclass(wanted, _Record):
            raise pickle.UnpicklingError("it builds an object of a type that cannot be built")
        return wanted()


class _Reading:
    """Turns records into what they describe, each once, however often the file refers to it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[object, object]] = {}

    def resolve(self, value: Any) -> Any:
        """The same value with all records in it read."""
        if id(value) in self._known:
            return self._known[id(value)][1]
        if isinstance(value, dict | list):
            return self._fill(value)
        if isinstance(value, tuple | set | frozenset):
            result = type(value)(self.resolve(item) for item in value)
        elif isinstance(value, _Record):
            reader = _READERS.get(value.kind, _unread)
            result = reader(value, self.resolve)
        elif isinstance(value, type):
            result = Unread(getattr(value, "kind", value.__name__))
        else:
            return value
        return self._remember(value, result)

    def _fill(self, value: Any) -> Any:
        """Dicts and lists may contain themselves, so they are known before they are filled."""
        if isinstance(value, dict):
            mapping = self._remember(value, {})
            for key, item in value.items():
                mapping[self.resolve(key)] = self.resolve(item)
            return mapping
        items = self._remember(value, [])
        items.extend(self.resolve(item) for item in value)
        return items

    def _remember(self, value: Any, result: Any) -> Any:
        self._known[id(value)] = (value, result)
        return result


Resolve = Callable[[Any], Any]


def _unread(record: _Record, resolve: Resolve) -> Unread:
    return Unread(record.kind)


def _bytes(value: object) -> bytes:
    """Raw memory; Python 2 writes it as a string."""
    if isinstance(value, str):
        return value.encode("latin1")
    if not isinstance(value, bytes | bytearray):
        raise pickle.UnpicklingError(f"an array is stored as {type(value).__name__}")
    return bytes(value)


def _dtype(record: _Record, resolve: Resolve) -> np.dtype:
    """`numpy.dtype(text, align, copy)`, with the byte order second in the state."""
    text = record.arguments[0]
    text = text.decode("latin1") if isinstance(text, bytes) else text
    if text in {"O", "O4", "O8", "|O"}:
        return np.dtype(object)
    if not isinstance(text, str) or not _SIMPLE_DTYPE.fullmatch(text):
        raise pickle.UnpicklingError(f"arrays of {text!r} are not supported")
    dtype = np.dtype(text)
    return dtype.newbyteorder(record.state[1]) if record.state else dtype


def _array(record: _Record, resolve: Resolve) -> ndarray:
    """`_reconstruct(type, (0,), "b")`, with the state (version, shape, dtype, fortran, raw)."""
    _, shape, dtype, fortran, raw = record.state
    return _shaped(raw, dtype, shape, "F" if fortran else "C", resolve)


def _buffer(record: _Record, resolve: Resolve) -> ndarray:
    """`_frombuffer(raw, dtype, shape, order)`, of protocol 5."""
    raw, dtype, shape, order = record.arguments
    return _shaped(raw, dtype, shape, order, resolve)


def _shaped(raw: Any, dtype: Any, shape: Any, order: Any, resolve: Resolve) -> ndarray:
    dtype = resolve(dtype)
    if not isinstance(dtype, np.dtype):
        raise pickle.UnpicklingError("an array has no type")
    if dtype.hasobject:
        if not isinstance(raw, list):
            raise pickle.UnpicklingError("an array of objects is not stored as a list")
        items = np.empty(len(raw), object)
        for index, item in enumerate(raw):
            items[index] = resolve(item)
        return items.reshape(shape, order=order)
    return np.frombuffer(_bytes(raw), dtype).reshape(shape, order=order).copy(order=order)


def _scalar(record: _Record, resolve: Resolve) -> Any:
    """`scalar(dtype, raw)`."""
    dtype, raw = record.arguments
    return _shaped(raw, dtype, (), "C", resolve)[()]


def _sparse(record: _Record, resolve: Resolve) -> Any:
    """A compressed scipy matrix, its indices checked: scipy trusts them when it computes."""
    state = resolve(record.state)
    build = sparse.csc_matrix if record.kind.endswith("csc_matrix") else sparse.csr_matrix
    shape = state["_shape"] if "_shape" in state else state["shape"]
    matrix = build((state["data"], state["indices"], state["indptr"]), shape=shape)
    matrix.check_format(full_check=True)
    return matrix


def _variable(record: _Record, resolve: Resolve) -> ndarray:
    """A chumpy variable holds its value as `x`."""
    return np.asarray(resolve(record.state["x"]))


def _selection(record: _Record, resolve: Resolve) -> ndarray:
    """chumpy's `a.ravel()[idxs]`, in `preferred_shape` if it has one."""
    chosen = np.ravel(resolve(record.state["a"]))[resolve(record.state["idxs"])]
    shape = resolve(record.state.get("preferred_shape"))
    return chosen if shape is None else chosen.reshape(shape)


def _reshaped(record: _Record, resolve: Resolve) -> ndarray:
    return np.asarray(resolve(record.state["a"])).reshape(resolve(record.state["newshape"]))


_READERS: dict[str, Callable[[_Record, Resolve], Any]] = {
    "numpy.ndarray": _unread,
    "numpy.dtype": _dtype,
    "builtins.object": _unread,
    "__builtin__.object": _unread,
    "chumpy.ch.Ch": _variable,
    "chumpy.reordering.Select": _selection,
    "chumpy.reordering.Reshape": _reshaped,
    **{
        f"numpy.{core}.{name}": reader
        for core in ("core", "_core")
        for name, reader in (
            ("multiarray._reconstruct", _array),
            ("multiarray.scalar", _scalar),
            ("numeric._frombuffer", _buffer),
        )
    },
    **{
        f"scipy.sparse.{module}.{layout}_matrix": _sparse
        for layout in ("csc", "csr")
        for module in (layout, f"_{layout}")
    },
}
