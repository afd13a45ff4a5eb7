"""Arrays inside a page: one block of bytes, and a table that says what lies where.

| kind | a number is |
|---|---|
| `float32`, `uint8`, `uint16`, `uint32` | itself, little-endian |
| `float16` | itself, half precision |
| `int16` | a whole number of steps of the array's `step`; -32768 is not a number |
"""

import base64
from typing import Literal

import numpy as np
from jaxtyping import Float, Int16
from numpy import ndarray

Kind = Literal["float32", "float16", "int16", "uint8", "uint16", "uint32"]

_STEPS = 32767
"""The largest number of steps; the number below minus this stands for NaN."""
_ALIGNMENT = 4


class Pack:
    """Arrays put one behind the other."""

    def __init__(self) -> None:
        self.table: list[dict[str, object]] = []
        """For each array, by its number: kind, shape, first byte and step."""
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, values: ndarray, kind: Kind) -> int:
        """The number by which the page finds the array."""
        entry: dict[str, object] = {"kind": kind, "shape": list(values.shape), "at": self._size}
        if kind == "int16":
            stored, entry["step"] = _in_steps(values)
        elif kind == "float16":
            # What is too large stays the largest there is, not infinity.
            stored = np.clip(values, -65504, 65504).astype("<f2")
        else:
            stored = np.ascontiguousarray(values).astype(np.dtype(kind).newbyteorder("<"))
        part = stored.tobytes()
        part += bytes(-len(part) % _ALIGNMENT)
        self.table.append(entry)
        self._parts.append(part)
        self._size += len(part)
        return len(self.table) - 1

    def __len__(self) -> int:
        """Bytes."""
        return self._size

    def text(self) -> str:
        """All of them in base64."""
        return base64.b64encode(b"".join(self._parts)).decode()


def _in_steps(values: Float[ndarray, "*n"]) -> tuple[Int16[ndarray, "*n"], float]:
    """Whole numbers of steps, and the step that lets the largest value just fit."""
    finite = np.isfinite(values)
    largest = float(np.abs(values[finite]).max(initial=0.0))
    step = largest / _STEPS if largest > 0 else 1.0
    steps = np.round(np.where(finite, values, 0.0) / step)
    return np.where(finite, steps, -_STEPS - 1).astype("<i2"), step
