"""Named values in a result file, checked as they are taken out."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError

Shape = tuple[int | None, ...]
"""Sizes of the axes of an array; None where any size will do."""
_SLOWEST, _FASTEST = 1e-3, 1e5
"""Frames per second, from time lapses to the fastest cameras with room to spare."""
_log = logging.getLogger(__name__)


class Fields:
    """The values that a file holds under names, for one person or one frame.

    Everything that is missing or is not as it should be raises an `InputError` that names the
    file, the place in it and the key.
    """

    def __init__(self, path: Path, place: str, values: object):
        self.path = path
        self.place = place
        """Where in the file, for messages: `person 3`; nothing for the file as a whole."""
        if not isinstance(values, Mapping):
            self.refuse(f"values of type {type(values).__name__} where named ones are expected")
        self._values = values

    @property
    def name(self) -> str:
        """File and person, as `PredictedMotion` is named."""
        return f"{self.path.name} {self.place}".strip()

    def refuse(self, why: str) -> NoReturn:
        """Raises `InputError`; `why` says what the file has and should not have."""
        place = f", {self.place}" if self.place else ""
        raise InputError(f"{self.path}{place} has {why}; write the file anew")

    def __contains__(self, key: str) -> bool:
        return self._values.get(key) is not None

    def __getitem__(self, key: str) -> object:
        if key not in self:
            self.refuse(f"no {key!r}")
        return self._values[key]

    def within(self, key: str) -> "Fields":
        """The named values under a key."""
        return Fields(self.path, f"{self.place} {key!r}".strip(), self[key])

    def entries(self, key: str, count: int) -> list | tuple:
        """A list of so many things."""
        value = self[key]
        if not isinstance(value, list | tuple):
            self.refuse(f"{key!r} of type {type(value).__name__}, not a list")
        if len(value) != count:
            self.refuse(f"{len(value)} entries in {key!r} where {count} are expected")
        return value

    def numbers(self, key: str, *shapes: Shape) -> Float[ndarray, "..."]:
        """Numbers of one of these shapes as float64, NaN let through."""
        array = self._array(key, shapes)
        with np.errstate(invalid="ignore", over="ignore"):
            return array.astype(np.float64)

    def finite(self, key: str, *shapes: Shape) -> Float[ndarray, "..."]:
        """Finite numbers of one of these shapes as float64."""
        array = self.numbers(key, *shapes)
        if not np.isfinite(array).all():
            self.refuse(f"numbers in {key!r} that are not finite")
        return array

    def rate(self, key: str) -> float:
        """A number of frames per second."""
        rate = float(self.numbers(key, ()))
        if not _SLOWEST <= rate <= _FASTEST:
            self.refuse(f"{rate:g} in {key!r}, which is no frame rate")
        return rate

    def check_numbers(self, key: str, *shapes: Shape) -> None:
        """Refuse what are no numbers of one of these shapes."""
        self._array(key, shapes)

    def whole_numbers(self, key: str, *shapes: Shape) -> Int[ndarray, "..."]:
        """Whole numbers, none negative, of one of these shapes."""
        array = self._array(key, shapes)
        with np.errstate(invalid="ignore"):
            whole = array.astype(np.int64)
        if not np.array_equal(whole, array) or (whole < 0).any():
            self.refuse(f"entries in {key!r} that are no whole numbers from 0 on")
        return whole

    def frames(self, key: str) -> Int[ndarray, "T"]:
        """Frame numbers, strictly increasing, at least one."""
        frames = self.whole_numbers(key, (None,))
        if not len(frames):
            self.refuse(f"no frames in {key!r}")
        self.check_order(frames, key)
        return frames

    def check_order(self, frames: Int[ndarray, "T"], key: str) -> None:
        """Refuse frames that do not increase strictly."""
        steps = np.diff(frames)
        if (steps <= 0).any():
            at = int(np.argmax(steps <= 0))
            what = f"frame {frames[at]} {'twice' if steps[at] == 0 else f'before {frames[at + 1]}'}"
            self.refuse(f"{what} in {key!r}")

    def _array(self, key: str, shapes: tuple[Shape, ...]) -> ndarray:
        value = self[key]
        try:
            array = np.asarray(value)
        except (ValueError, TypeError):
            self.refuse(f"things of different sizes in {key!r}")
        if array.dtype.kind not in "fiu":
            self.refuse(f"{key!r} of type {type(value).__name__}, which holds no numbers")
        if not any(_fits(array, shape) for shape in shapes):
            expected = " or ".join(_written(shape) for shape in shapes)
            self.refuse(f"{key!r} of shape {_written(array.shape)}, not {expected}")
        return array


def people_with_frames(path: Path, contents: Mapping) -> Iterator[Fields]:
    """Everybody in a file that is kept by person; a log line names who is left out for no frames.

    Raises `InputError` for `frame_ids` that are no frame numbers.
    """
    for person, values in contents.items():
        fields = Fields(path, f"person {person}", values)
        if len(fields.whole_numbers("frame_ids", (None,))):
            yield fields
        else:
            _log.warning("%s of %s has no frames and is left out", fields.place, path)


def smpl_params(
    poses: Float[ndarray, "T 72"], betas: Float[ndarray, "T 10"], transl: Float[ndarray, "T 3"]
) -> SmplParams:
    """From the arrays that files hold."""
    return SmplParams.from_poses(
        torch.from_numpy(poses), torch.from_numpy(betas), torch.from_numpy(transl)
    )


def _fits(array: ndarray, shape: Shape) -> bool:
    return array.ndim == len(shape) and all(
        size in (None, length) for size, length in zip(shape, array.shape, strict=True)
    )


def _written(shape: Shape) -> str:
    """(T, 72), (3)"""
    return f"({', '.join('T' if size is None else str(size) for size in shape)})"
