"""npz files of labels with one row per picture of a person, checked as they are taken out."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.archive import read_arrays
from temporal_hmr.errors import InputError

Size = int | tuple[int, ...] | None
"""Of an axis: one size, several that may be, or any."""


class LabelArrays:
    """The named columns of one file; every method raises `InputError` naming file and key."""

    def __init__(self, path: Path, required: tuple[str, ...], optional: tuple[str, ...] = ()):
        self.path = path
        self._arrays = read_arrays(path, lambda names: self._choose(names, required, optional))
        first = self._arrays[required[0]]
        self.rows = len(first) if first.ndim else 0
        """As many as the first required column has."""
        if not self.rows:
            raise InputError(f"{path}: {required[0]!r} is empty: get the file anew")

    def _choose(
        self, names: list[str], required: tuple[str, ...], optional: tuple[str, ...]
    ) -> list[str]:
        missing = [key for key in required if key not in names]
        if missing:
            listed = ", ".join(map(repr, missing))
            raise InputError(f"{self.path} has no {listed} (it has {', '.join(names)})")
        return [key for key in (*required, *optional) if key in names]

    def __contains__(self, key: str) -> bool:
        return key in self._arrays

    def numbers(self, key: str, *shape: Size) -> Float[ndarray, "N ..."]:
        """Every row's numbers as float64, finite or not; `shape` is that of one row."""
        array = self._arrays[key]
        if array.dtype.kind not in "fiub":
            raise InputError(f"{self.path}: {key!r} holds {array.dtype}, not numbers")
        self._check_rows(key, array)
        fits = array.ndim == 1 + len(shape) and all(
            size is None or length in np.atleast_1d(size)
            for size, length in zip(shape, array.shape[1:], strict=True)
        )
        if not fits:
            sizes = ", ".join(_written(size) for size in (self.rows, *shape))
            raise InputError(f"{self.path}: {key!r} has the shape {array.shape}, not ({sizes})")
        return array.astype(np.float64)

    def require_finite(self, keys: Sequence[str], rows: Sequence[int]) -> None:
        """Of some rows; columns that the file lacks are passed over."""
        for key in keys:
            array = self._arrays.get(key)
            if array is None or array.dtype.kind != "f":
                continue
            finite = np.isfinite(array[rows]).reshape(len(rows), -1).all(1)
            if not finite.all():
                first = rows[int(finite.argmin())]
                raise InputError(
                    f"{self.path}: {key!r} is not finite in {int((~finite).sum())} of {len(rows)} "
                    f"rows of one person, the first {first}"
                )

    def texts(self, key: str) -> list[str]:
        """A text for every row; bytes are texts too."""
        array = self._arrays[key]
        if array.dtype.kind not in "US" or array.ndim != 1:
            raise InputError(f"{self.path}: {key!r} holds {array.dtype}, not one text a row")
        self._check_rows(key, array)
        return [text.decode() if isinstance(text, bytes) else str(text) for text in array.tolist()]

    def _check_rows(self, key: str, array: ndarray) -> None:
        rows = len(array) if array.ndim else 0
        if rows != self.rows:
            raise InputError(
                f"{self.path}: {key!r} has {rows} rows where the other columns have {self.rows}"
            )


def _written(size: Size) -> str:
    if size is None:
        return "any"
    return " or ".join(map(str, np.atleast_1d(size)))
