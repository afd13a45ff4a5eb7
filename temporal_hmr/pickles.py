"""Pickles read as data: nothing named in the file is imported, and nothing in it is run.

A pickle is a program. Here each type it names is bound to an inert record of the call, and the
records that describe arrays are turned into arrays afterwards, from their bytes. numpy's own
unpickling is not used either, because it trusts what the file says of memory layouts.
"""

import io
import pickle
import re
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

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
    struct.error,
)
_SIMPLE_DTYPE = re.compile(r"[<>=|]?[biufcSU]\d+")


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
    with damage_named(path):
        return DataUnpickler(path.read_bytes()).read()


@contextmanager
def damage_named(path: Path) -> Iterator[None]:
    """Whatever reading and unpickling raise inside becomes an `InputError` that names the file."""
    if not path.is_file():
        raise InputError(f"{path} is not a file; check the path")
    try:
        yield
    except InputError as error:
        raise InputError(f"{path} {error}") from None
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{path} cannot be read ({reason}); check the file") from error
    except _DAMAGE as error:
        reason = str(error) or type(error).__name__
        raise InputError(
            f"{path} is damaged or not a pickle ({reason}); get the file anew"
        ) from error


class _Sealed(type):
    """The type of types that a file cannot alter."""

    def __setattr__(cls, name: str, value: object) -> None:
        raise pickle.UnpicklingError("it tries to alter a type")


class Record(metaclass=_Sealed):
    """An object that the file describes: its type, what it was built with, and its state."""

    __slots__ = ("arguments", "state")
    kind = ""
    arguments: tuple
    state: Any

    def __new__(cls, *arguments: object) -> "Record":
        record = object.__new__(cls)
        record.arguments = arguments
        record.state = None
        return record

    def __init__(self, *arguments: object):
        """Everything is done in `__new__`, which is all that some opcodes call."""

    def __setstate__(self, state: object) -> None:
        self.state = state


class LeftRecord(Record):
    """An object of a type that nobody interprets; what it is filled with is let go."""

    __slots__ = ()

    def __setitem__(self, key: object, value: object) -> None:
        """As a kind of dict."""

    def append(self, value: object) -> None:
        """As a kind of list."""

    def extend(self, values: object) -> None:
        """Likewise."""

    def add(self, value: object) -> None:
        """As a kind of set."""


class _DictWithDefault(metaclass=_Sealed):
    kind = "collections.defaultdict"

    def __new__(cls, _factory: object = None, items: Any = ()) -> dict:
        return dict(items)


class _Bytes(metaclass=_Sealed):
    """Python's own would make as many bytes as a number says."""

    kind = "builtins.bytes"

    def __new__(cls, source: object = b"", _encoding: str = "") -> bytes:
        return _bytes(source)


class _ByteArray(metaclass=_Sealed):
    kind = "builtins.bytearray"

    def __new__(cls, source: object = b"", _encoding: str = "") -> bytearray:
        return bytearray(_bytes(source))


class _Reconstructed(metaclass=_Sealed):
    """How protocols 0 and 1 make objects."""

    kind = "copyreg._reconstructor"

    def __new__(cls, wanted: object, _base: object, _state: object) -> Record:
        if not isinstance(wanted, type) or not issubclass(wanted, Record):
            raise pickle.UnpicklingError("it builds an object of a type that cannot be built")
        return wanted()


class _Reading:
    """Turns records into what they describe, each once, however often the file refers to it."""

    def __init__(self, readers: "Mapping[str, Reader]"):
        self._readers = readers
        self._known: dict[int, tuple[object, object]] = {}

    def resolve(self, value: Any) -> Any:
        """The same value with all records in it read."""
        if id(value) in self._known:
            return self._known[id(value)][1]
        if isinstance(value, dict | list):
            return self._fill(value)
        if isinstance(value, tuple | set | frozenset):
            result = type(value)(self.resolve(item) for item in value)
        elif isinstance(value, Record):
            reader = self._readers.get(value.kind, _unread)
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
Reader = Callable[[Record, Resolve], Any]
"""Makes what a record describes; other records in it are for `resolve` to read."""


def _unread(record: Record, resolve: Resolve) -> Unread:
    return Unread(record.kind)


def _bytes(value: object) -> bytes:
    """Raw memory; Python 2 writes it as a string."""
    if isinstance(value, str):
        return value.encode("latin1")
    if not isinstance(value, bytes | bytearray):
        raise pickle.UnpicklingError(f"an array is stored as {type(value).__name__}")
    return bytes(value)


def read_dtype(record: object) -> np.dtype:
    """What the record of an array's type describes."""
    if not isinstance(record, Record) or record.kind != "numpy.dtype":
        raise pickle.UnpicklingError("an array has no type")
    return _dtype(record, lambda value: value)


def _dtype(record: Record, resolve: Resolve) -> np.dtype:
    """`numpy.dtype(text, align, copy)`, with the byte order second in the state."""
    text = record.arguments[0]
    text = text.decode("latin1") if isinstance(text, bytes) else text
    if text in {"O", "O4", "O8", "|O"}:
        return np.dtype(object)
    if not isinstance(text, str) or not _SIMPLE_DTYPE.fullmatch(text):
        raise pickle.UnpicklingError(f"arrays of {text!r} are not supported")
    dtype = np.dtype(text)
    return dtype.newbyteorder(record.state[1]) if record.state else dtype


def _array(record: Record, resolve: Resolve) -> ndarray:
    """`_reconstruct(type, (0,), "b")`, with the state (version, shape, dtype, fortran, raw)."""
    _, shape, dtype, fortran, raw = record.state
    return _shaped(raw, dtype, shape, "F" if fortran else "C", resolve)


def _buffer(record: Record, resolve: Resolve) -> ndarray:
    """`_frombuffer(raw, dtype, shape, order, axes)`, of protocol 5; axes with order K only."""
    raw, dtype, shape, order, *axes = record.arguments
    if order == "K":
        return _shaped(raw, dtype, shape, "C", resolve).transpose(*axes)
    return _shaped(raw, dtype, shape, order, resolve)


def _shaped(raw: Any, dtype: Any, shape: Any, order: Any, resolve: Resolve) -> ndarray:
    dtype = read_dtype(dtype)
    if dtype.hasobject:
        if not isinstance(raw, list):
            raise pickle.UnpicklingError("an array of objects is not stored as a list")
        items = np.empty(len(raw), object)
        for index, item in enumerate(raw):
            items[index] = resolve(item)
        return items.reshape(shape, order=order)
    return np.frombuffer(_bytes(raw), dtype).reshape(shape, order=order).copy(order=order)


def _scalar(record: Record, resolve: Resolve) -> Any:
    """`scalar(dtype, raw)`."""
    dtype, raw = record.arguments
    return _shaped(raw, dtype, (), "C", resolve)[()]


def _sparse(record: Record, resolve: Resolve) -> Any:
    """A compressed scipy matrix, its indices checked: scipy trusts them when it computes."""
    state = resolve(record.state)
    build = sparse.csc_matrix if record.kind.endswith("csc_matrix") else sparse.csr_matrix
    shape = state["_shape"] if "_shape" in state else state["shape"]
    matrix = build((state["data"], state["indices"], state["indptr"]), shape=shape)
    matrix.check_format(full_check=True)
    return matrix


def _variable(record: Record, resolve: Resolve) -> ndarray:
    """A chumpy variable holds its value as `x`."""
    return np.asarray(resolve(record.state["x"]))


def _selection(record: Record, resolve: Resolve) -> ndarray:
    """chumpy's `a.ravel()[idxs]`, in `preferred_shape` if it has one."""
    chosen = np.ravel(resolve(record.state["a"]))[resolve(record.state["idxs"])]
    shape = resolve(record.state.get("preferred_shape"))
    return chosen if shape is None else chosen.reshape(shape)


def _reshaped(record: Record, resolve: Resolve) -> ndarray:
    return np.asarray(resolve(record.state["a"])).reshape(resolve(record.state["newshape"]))


_STAND_INS: dict[str, type] = {
    **{f"builtins.{made.__name__}": made for made in (set, frozenset, list, dict, tuple, complex)},
    "builtins.bytes": _Bytes,
    "builtins.bytearray": _ByteArray,
    "_codecs.encode": _Bytes,
    "collections.OrderedDict": OrderedDict,
    "collections.defaultdict": _DictWithDefault,
    "copy_reg._reconstructor": _Reconstructed,
    "copyreg._reconstructor": _Reconstructed,
}
"""Harmless types, and stand-ins for functions; types, for what a file can alter is no type."""

READERS: Mapping[str, Reader] = {
    "numpy.ndarray": _unread,
    "numpy.dtype": _dtype,
    "builtins.object": _unread,
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

_OPCODES: Mapping[int, Callable[[Any], None]] = pickle._Unpickler.dispatch


class DataUnpickler(pickle._Unpickler):
    """Makes records of all objects, then of the records what they describe.

    It stands on the unpickler that is written in Python: that in C reads ahead of what it is at,
    and makes as much room as the file says it needs.
    """

    stack: list[Any]
    readers: ClassVar[Mapping[str, Reader]] = READERS
    """Of the kinds of objects that a file may hold."""

    def __init__(self, raw: bytes):
        self.stream = io.BytesIO(raw)
        super().__init__(self.stream, encoding="latin1")
        self._records: dict[str, type[Record]] = {}

    def read(self) -> Any:
        """The contents, with everything in them read."""
        return _Reading(self.readers).resolve(self.load())

    def find_class(self, module: str, name: str, /) -> Any:
        """What a name in the file stands for; raises `InputError` for names we do not know."""
        full = f"{module.replace('__builtin__', 'builtins')}.{name}"
        if full in _STAND_INS:
            return _STAND_INS[full]
        if full not in self.readers and not module.startswith("chumpy."):
            raise InputError(f"asks to import {module}.{name}; refusing to run it")
        return self.record_type(full)

    def record_type(self, kind: str, base: type[Record] = Record) -> type[Record]:
        """The type of the records of one kind, which serves this file only."""
        if kind not in self._records:
            name = kind.rpartition(".")[2]
            self._records[kind] = _Sealed(name, (base,), {"__slots__": (), "kind": kind})
        return self._records[kind]

    def persistent_load(self, pid: Any) -> Any:
        """Objects that the file only refers to."""
        self._refuse_outside()

    def _refuse_outside(self) -> None:
        raise InputError("fetches objects from outside the file; refusing to run it")

    def _load_bytearray(self) -> None:
        """Python's own makes room for it before it looks whether it is there."""
        _OPCODES[pickle.BINBYTES8[0]](self)
        self.stack[-1] = bytearray(self.stack[-1])

    dispatch: ClassVar[Mapping[int, Callable[[Any], None]]] = {
        **_OPCODES,
        pickle.BYTEARRAY8[0]: _load_bytearray,
        pickle.EXT1[0]: _refuse_outside,
        pickle.EXT2[0]: _refuse_outside,
        pickle.EXT4[0]: _refuse_outside,
    }
