"""What the readers of labelled pictures share: checked labels, pictures, broken entries."""

import json
import logging
import struct
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.data.sequence import Sequence
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24

FEWEST_KEYPOINTS = 6
"""Pictures of people with fewer labelled keypoints are left out, as EFT's largest set does."""
OCCLUDED = 0.5
"""Confidence of a keypoint that the annotator placed without seeing it."""
PROBLEMS_NAMED = 20
"""Of more broken entries than these only the number is given."""

_ORIENTATION = 0x0112
"""EXIF's tag; from 5 on width and height change places."""
_MAT_DAMAGE = (
    *(OSError, ValueError, TypeError, KeyError, IndexError, EOFError, AttributeError),
    *(NotImplementedError, MemoryError, OverflowError, zlib.error, struct.error),
)
_log = logging.getLogger(__name__)
Item = TypeVar("Item")


@dataclass(frozen=True)
class Entry:
    """Labels of one thing in a file, checked as they are taken out.

    All methods raise `InputError` naming file, place and key.
    """

    file: Path
    place: str
    """Where in the file, e.g. "annotation 17"; empty for the whole."""
    values: Mapping[str, Any]

    @staticmethod
    def of(file: Path, place: str, values: object) -> "Entry":
        """Raises `InputError` if there are no named values."""
        if not isinstance(values, Mapping):
            where = f" {place}" if place else ""
            raise InputError(f"{file}:{where} is of type {type(values).__name__}, not a dict")
        return Entry(file, place, values)

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def fault(self, key: str, problem: str) -> InputError:
        """An error to raise about the value of a key."""
        return InputError(f"{self.file}: {self.place}{' ' * bool(self.place)}{key!r} {problem}")

    def value(self, key: str) -> Any:
        if key not in self:
            raise self.fault(key, "is missing")
        return self.values[key]

    def numbers(self, key: str, *shape: int | None) -> Float[ndarray, "..."]:
        """Finite float64; None in `shape` leaves that axis free."""
        array = self._array(key)
        if array.dtype.kind not in "fiub":
            raise self.fault(key, "holds no numbers, or rows of different lengths")
        fits = array.ndim == len(shape) and all(
            size in (None, length) for size, length in zip(shape, array.shape, strict=True)
        )
        if not fits:
            wanted = tuple("any" if size is None else size for size in shape)
            raise self.fault(key, f"has the shape {array.shape}, not {wanted}")
        if not np.isfinite(array).all():
            raise self.fault(key, "has entries that are not finite")
        return array.astype(np.float64)

    def row(self, key: str, count: int) -> Float[ndarray, "count"]:
        """So many numbers, however they are nested."""
        flat = Entry(self.file, self.place, {key: self._array(key).reshape(-1)})
        return flat.numbers(key, count)

    def _array(self, key: str) -> ndarray:
        """Of objects where it is no array."""
        value = self.value(key)
        try:
            return np.asarray(value)
        except ValueError:
            return np.asarray(None)

    def number(self, key: str) -> float:
        return float(self.numbers(key))

    def count(self, key: str) -> int:
        """A whole number of at least 0."""
        number = self.number(key)
        if not number.is_integer() or number < 0:
            raise self.fault(key, f"is {number:g}, not a whole number")
        return int(number)

    def text(self, key: str) -> str:
        value = self.value(key)
        if not isinstance(value, str):
            raise self.fault(key, f"is of type {type(value).__name__}, not a text")
        return value

    def entries(self, key: str, place: str) -> "list[Entry]":
        """A list of dicts, which are called "{place} {number}"."""
        value = self.value(key)
        if not isinstance(value, list):
            raise self.fault(key, f"is of type {type(value).__name__}, not a list")
        return [Entry.of(self.file, f"{place} {n}", item) for n, item in enumerate(value)]


def read_json(path: Path) -> Any:
    """Raises `InputError` if the file is absent or damaged."""
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); get the file anew") from error


def read_mat(path: Path) -> Entry:
    """Variables of a Matlab file of before version 7.3, squeezed; structs as objects.

    Raises `InputError` if the file is absent or damaged.
    """
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    if not path.is_file():
        raise InputError(f"there is no file at {path}: check the path")
    try:
        values = loadmat(str(path), squeeze_me=True, struct_as_record=False)
    except (*_MAT_DAMAGE, MatReadError) as error:
        raise InputError(f"{path} is damaged ({error}); get the file anew") from error
    return Entry(path, "", values)


def corners(box: Float[ndarray, "*b 4"]) -> Float[ndarray, "*b 4"]:
    """x, y, width, height to x_min, y_min, x_max, y_max; NaN where there is no area."""
    low, size = box[..., :2], box[..., 2:]
    return np.where(
        (size > 0).all(-1, keepdims=True), np.concatenate([low, low + size], -1), np.nan
    )


def without_body(
    name: str,
    dataset: str,
    images: tuple[Path, ...],
    image_size: tuple[int, int],
    times: Float[ndarray, "T"],
    boxes: Float[ndarray, "T 4"],
    keypoints: Float[ndarray, "T 23 3"],
) -> Sequence:
    """Frames of which only the keypoints are known."""
    frames = len(times)
    joints = np.zeros((frames, len(SMPL24), 3))
    return Sequence(
        name=name,
        dataset=dataset,
        trusted=True,
        images=images,
        image_size=image_size,
        times=times,
        focal=None,
        center=None,
        boxes=boxes,
        keypoints=keypoints,
        joints=joints,
        has_joints=np.zeros(joints.shape[:2], bool),
    )


class Pictures:
    """Which image files there are, and their sizes; each folder and file is looked at once."""

    def __init__(self) -> None:
        self._folders: dict[Path, set[str]] = {}
        self._sizes: dict[Path, tuple[int, int]] = {}

    def __contains__(self, path: Path) -> bool:
        folder = path.parent
        if folder not in self._folders:
            names = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
            self._folders[folder] = names
        return path.name in self._folders[folder]

    def size(self, path: Path) -> tuple[int, int]:
        """Width and height of the upright image, by its header; raises `InputError`."""
        if path not in self:
            raise MissingImageError(path)
        if path not in self._sizes:
            self._sizes[path] = _size(path)
        return self._sizes[path]

    def absent(self, sequence: Sequence) -> list[Path]:
        """Those images of a sequence that are not there."""
        files = sequence.images
        paths = files if isinstance(files, tuple) else (files.path,)
        return [path for path in paths if path not in self]


class MissingImageError(InputError):
    """An image is not where the labels say."""

    def __init__(self, path: Path):
        super().__init__(f"the image {path} is missing")
        self.path = path


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image

    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(_ORIENTATION, 1) >= 5
    except (OSError, ValueError, SyntaxError, struct.error) as error:
        raise InputError(f"{path} cannot be read as an image ({error}): replace it") from error
    return (height, width) if turned else (width, height)


def gather(
    items: Iterable[Item],
    read: Callable[[Item], list[Sequence]],
    pictures: Pictures,
    skip_broken: bool,
) -> list[Sequence]:
    """What `read` makes of every item, if it can and its images are there.

    Raises one `InputError` that lists what is wrong and counts missing images; with `skip_broken`
    what is broken is logged and left out, and only if nothing remains it raises all the same.
    """
    sequences: list[Sequence] = []
    broken: list[str] = []
    missing: list[Path] = []
    for item in items:
        try:
            found = read(item)
        except MissingImageError as error:
            missing.append(error.path)
            found = []
            if skip_broken:
                _log.warning("skipped: %s", error)
        except InputError as error:
            broken.append(str(error))
            found = []
        for sequence in found:
            if absent := pictures.absent(sequence):
                missing += absent
                if skip_broken:
                    _log.warning(
                        "skipped: %s %s: %d of its %d images are missing, first %s",
                        *(sequence.dataset, sequence.name, len(absent), len(sequence), absent[0]),
                    )
            else:
                sequences.append(sequence)
    if (broken or missing) and not (skip_broken and sequences):
        raise InputError(_listed(broken, missing))
    for problem in broken:
        _log.warning("skipped: %s", problem)
    return sequences


def _listed(broken: list[str], missing: list[Path]) -> str:
    lines = broken[:PROBLEMS_NAMED]
    if len(broken) > len(lines):
        lines.append(f"and {len(broken) - len(lines)} more broken entries")
    if missing:
        lines.append(f"{len(set(missing))} images are missing, first {missing[0]}")
    listed = "\n".join(lines)
    return (
        f"the labels cannot be used as they are; get them anew, or skip what is broken:\n{listed}"
    )
