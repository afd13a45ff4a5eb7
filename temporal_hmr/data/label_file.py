"""Pickled files of labels, checked key by key as they are taken out."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeGuard

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from temporal_hmr.data.labelled import Gender, LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.pickles import load_pickle

Place = tuple[str | int, ...]
"""Keys and positions that lead to a value: ("smpl", "trans"), ("poses", 0)."""

RUNS_NAMED = 6
"""Of more runs of frames than these only the number is given."""

LARGEST_COUNT = 10**6
"""Of frames or pixels; one beyond it is damage, and must not become a size of memory."""

_GENDERS: dict[str, Gender] = {
    "m": "male",
    "f": "female",
    "male": "male",
    "female": "female",
    "neutral": "neutral",
}


def read_label_files(
    paths: Sequence[Path],
    read: Callable[["LabelFile"], list[LabelledSequence]],
    on_broken: Callable[[str], object] | None,
) -> list[LabelledSequence]:
    """What `read` makes of every file; what it makes of files with problems is thrown away.

    Raises one `InputError` that lists everything wrong with any of the files, one problem a line.
    With `on_broken` it is given these lines instead, one at a time, and the other files' sequences
    are returned; only where every file is broken it raises all the same.
    """
    sequences: list[LabelledSequence] = []
    problems: list[str] = []
    whole = 0
    for path in paths:
        file = LabelFile(path)
        found = read(file)
        problems += file.lines()
        if not file.problems:
            sequences += found
            whole += 1
    if problems and (on_broken is None or not whole):
        broken = f"{len(paths) - whole} of {len(paths)} files of labels"
        listed = "\n".join(problems)
        raise InputError(f"{broken} cannot be used; get them anew or take them away:\n{listed}")
    if on_broken is not None:
        for problem in problems:
            on_broken(f"skipped: {problem}")
    return sequences


class LabelFile:
    """The contents of one file.

    What is wrong is noted, and a stand-in of the right kind is returned, so that one reading finds
    everything that is wrong. Nothing may be made of a file that has problems.
    """

    def __init__(self, path: Path):
        self.path = path
        self.problems: dict[str, str] = {}
        """The first problem of each place, by the place's name; "" is the whole file."""
        self.frames: int | None = None
        """How many frames `per_frame` expects; None while that is unknown."""
        self._frames_place = ""
        self._contents = self._load()

    def _load(self) -> object:
        try:
            contents = load_pickle(self.path)
        except (InputError, OSError) as error:
            self.problems[""] = str(error)
            return None
        if not isinstance(contents, dict):
            self.problems[""] = f"{self.path} holds no named labels: its type is {_kind(contents)}"
        return contents

    def lines(self) -> list[str]:
        """All problems, each with file and place."""
        return [
            f"{self.path}: {place!r} {problem}" if place else problem
            for place, problem in self.problems.items()
        ]

    def note(self, problem: str, *place: str | int) -> None:
        """Put down what is wrong, unless something is known to be wrong there or around it."""
        names = [_name(place[:depth]) for depth in range(len(place) + 1)]
        if not any(name in self.problems for name in names):
            self.problems[names[-1]] = problem

    def __contains__(self, key: str) -> bool:
        """Whether the file has the key; nothing is noted."""
        return isinstance(self._contents, dict) and _at_key(self._contents, key) is not None

    def length(self, *place: str | int) -> int | None:
        """How many entries a list or array has; None, and noted, where that cannot be told."""
        value = self._find(place)
        if value is None:
            return None
        if not _is_list(value):
            self.note(f"is of type {_kind(value)}, not a list", *place)
            return None
        return len(value)

    def expect_frames(self, count: int | None, *place: str | int) -> None:
        """How many frames everything `per_frame` must have, and the place that says so."""
        if count == 0:
            self.note("says that there are no frames", *place)
        self.frames = count or None
        self._frames_place = _name(place)

    def numbers(self, place: Place, *shape: int | None) -> Float[ndarray, "..."]:
        """Finite numbers as float64; None in `shape` leaves that axis free."""
        array = self._numbers(place)
        if array is not None and not _fits(array, shape):
            self.note(f"has the shape {array.shape}, not {_written(shape)}", *place)
        elif array is not None and not np.isfinite(array).all():
            self.note("has entries that are not finite", *place)
        elif array is not None:
            return array
        return np.zeros([size or 0 for size in shape])

    def per_frame(
        self, place: Place, *shape: int | None, within: Bool[ndarray, "T"] | None = None
    ) -> Float[ndarray, "T ..."]:
        """Numbers for each of the expected frames, finite, if only `within` some of them; float64.

        While it is unknown how many frames to expect, none is returned.
        """
        array = self._numbers(place)
        if array is not None and not _fits(array, (None, *shape)):
            expected = _written((self.frames, *shape))
            self.note(f"has the shape {array.shape}, not {expected}", *place)
        elif array is not None and self.frames not in (None, len(array)):
            expected = f"{self.frames} as {self._frames_place!r} says"
            self.note(f"has {len(array)} frames, not {expected}", *place)
        elif array is not None:
            unusable = np.any(~np.isfinite(array), axis=tuple(range(1, array.ndim)))
            if within is not None and len(within) == len(array):
                unusable = unusable & within
            if not unusable.any():
                return array[: self.frames or 0]
            self.note(f"is not finite in {written_frames(unusable)}", *place)
        return np.zeros([size or 0 for size in (self.frames, *shape)])

    def betas(self, *place: str | int) -> Float[ndarray, "10"]:
        """Ten shape coefficients: the first of a vector of ten or more, or of a single row."""
        array = self._numbers(place)
        if array is None:
            return np.zeros(10)
        vector = array[0] if array.ndim == 2 and len(array) == 1 else array
        if vector.ndim != 1 or len(vector) < 10:
            self.note(f"has the shape {array.shape}, not (10,) or longer", *place)
        elif not np.isfinite(vector).all():
            self.note("has entries that are not finite", *place)
        else:
            return vector[:10]
        return np.zeros(10)

    def flag(self, *place: str | int) -> bool:
        """A single truth value, as a bool or a number."""
        return bool(self.numbers(place))

    def count(self, *place: str | int) -> int:
        """A number of frames or pixels; 0, and noted, if it is none."""
        number = float(self.numbers(place))
        if number.is_integer() and 1 <= number <= LARGEST_COUNT:
            return int(number)
        self.note(f"is {number:g}, not a whole number from 1 to {LARGEST_COUNT}", *place)
        return 0

    def text(self, *place: str | int) -> str:
        """A string; bytes and numpy's strings are strings too."""
        value = self._find(place)
        if value is None:
            return ""
        if isinstance(value, ndarray) and value.ndim == 0:
            value = value[()]
        if isinstance(value, bytes):
            value = value.decode("latin1")
        if not isinstance(value, str):
            self.note(f"is of type {_kind(value)}, not a text", *place)
            return ""
        return str(value)

    def gender(self, *place: str | int) -> Gender:
        """Of a body, in a word or its first letter."""
        text = self.text(*place)
        if text not in _GENDERS:
            self.note(f"is {text!r}, not one of {', '.join(_GENDERS)}", *place)
        return _GENDERS.get(text, "neutral")

    def camera_matrix(self, *place: str | int) -> Float[ndarray, "3 3"]:
        """Intrinsics of a camera without skew, pixels."""
        matrix = self.numbers(place, 3, 3)
        (fx, cx), (fy, cy) = matrix[0, [0, 2]], matrix[1, 1:]
        expected = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
        if not (min(fx, fy, cx, cy) > 0 and np.allclose(matrix, expected, atol=1e-3)):
            self.note("is not [fx 0 cx; 0 fy cy; 0 0 1] with all four positive", *place)
        return matrix

    def world_to_camera(self, *place: str | int) -> Float[ndarray, "T 4 4"]:
        """Camera poses; whether their rotations are rotations is left to `verify`."""
        matrices = self.per_frame(place, 4, 4)
        strange = np.any(np.abs(matrices[:, 3] - [0, 0, 0, 1]) > 1e-6, axis=1)
        if strange.any():
            self.note(f"has a last row other than 0 0 0 1 in {written_frames(strange)}", *place)
        return matrices

    def _find(self, place: Place) -> object:
        """The value at a place; None, and noted, where there is none."""
        value = self._contents
        for depth, step in enumerate(place):
            if isinstance(step, str) and isinstance(value, dict):
                value = _at_key(value, step)
            elif isinstance(step, int) and _is_list(value):
                value = value[step] if step < len(value) else None
            else:
                expected = "a dict" if isinstance(step, str) else "a list"
                self.note(f"is of type {_kind(value)}, not {expected}", *place[:depth])
                return None
            if value is None:
                self.note("is missing", *place[: depth + 1])
                return None
        return value

    def _numbers(self, place: Place) -> Float[ndarray, "..."] | None:
        value = self._find(place)
        if value is None:
            return None
        try:
            array = np.asarray(value)
        except ValueError:
            self.note("is a list of things of different sizes, not an array", *place)
            return None
        if array.dtype.kind not in "fiub":
            self.note(f"is of type {_kind(value)} and holds no numbers", *place)
            return None
        return array.astype(np.float64)


def written_frames(frames: Bool[ndarray, "T"]) -> str:
    """Frame numbers for people to read: "frames 0-3, 7"."""
    numbers = np.flatnonzero(frames)
    runs = np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs[:RUNS_NAMED]]
    more = f" and {len(runs) - RUNS_NAMED} more runs" if len(runs) > RUNS_NAMED else ""
    return f"{'frame' if len(numbers) == 1 else 'frames'} {', '.join(parts)}{more}"


def _is_list(value: object) -> TypeGuard[list | tuple | ndarray]:
    return isinstance(value, list | tuple) or (isinstance(value, ndarray) and value.ndim > 0)


def _at_key(mapping: Mapping, key: str) -> object:
    """The value of a key; Python 2's keys may have come as bytes."""
    return mapping.get(key, mapping.get(key.encode()))


def _name(place: Place) -> str:
    """smpl.trans, poses[0]"""
    name = ""
    for step in place:
        name += f"[{step}]" if isinstance(step, int) else f".{step}" if name else step
    return name


def _kind(value: object) -> str:
    return type(value).__name__


def _fits(array: ndarray, shape: tuple[int | None, ...]) -> bool:
    return array.ndim == len(shape) and all(
        size in (None, length) for size, length in zip(shape, array.shape, strict=True)
    )


def _written(shape: tuple[int | None, ...]) -> str:
    """(any, 72), (3,)"""
    sizes = ["any" if size is None else str(size) for size in shape]
    return f"({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"
