"""What numbers in the names of a folder's images say: which frames are missing among them."""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median_low

_FEW = 0.1
"""Share of all frames of which numbers are believed that they are missing."""
_NAMED = 3

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImageSeries:
    """The images of a folder as the frames of a clip."""

    files: tuple[Path, ...] = ()
    """One for each frame."""
    holes: frozenset[int] = frozenset()
    """Places of those that are not there, named as they would be."""

    def present(self) -> list[Path]:
        """The files that are there."""
        return [file for place, file in enumerate(self.files) if place not in self.holes]


def image_series(files: Sequence[Path]) -> ImageSeries:
    """Images in natural order as frames, of which a few may be missing by their numbers.

    Numbers are those of names that differ in nothing else, and may go in steps. Where so many are
    missing that they are hardly those of frames, images are consecutive, which a warning tells.
    """
    part = _counting_part(files)
    if part is None:
        return ImageSeries(tuple(files))
    numbers = [int(_parts(file)[part]) for file in files]
    steps = [after - before for before, after in pairwise(numbers)]
    usual = median_low(steps)
    if any(step % usual for step in steps):
        usual = 1
    frames = (numbers[-1] - numbers[0]) // usual + 1
    if frames - len(files) > _FEW * frames:
        _log.warning(
            "%s has %d images numbered %d to %d, without %s: they are taken as consecutive frames",
            *(files[0].parent.name, len(files), numbers[0], numbers[-1]),
            _told_missing(numbers, usual),
        )
        return ImageSeries(tuple(files))
    every = []
    for file, step in zip(files, [*steps, usual], strict=True):
        first = int(_parts(file)[part])
        missing = range(first + usual, first + step, usual)
        every += [file, *(_renumbered(file, part, number) for number in missing)]
    there = set(files)
    holes = [place for place, file in enumerate(every) if file not in there]
    return ImageSeries(tuple(every), frozenset(holes))


def _parts(file: Path) -> list[str]:
    """A name without its suffix: text, number, text and so on."""
    return re.split(r"([0-9]+)", file.stem)


def _counting_part(files: Sequence[Path]) -> int | None:
    """Which part of the names numbers them; None if it is not just one, or numbers repeat."""
    names = [_parts(Path(file.name.lower())) for file in files]
    if len(names) < 2 or len({len(parts) for parts in names}) > 1:
        return None
    values = [
        {int(part) for part in column} if place % 2 else set(column)
        for place, column in enumerate(zip(*names, strict=True))
    ]
    varying = [place for place, each in enumerate(values) if len(each) > 1]
    if len(varying) != 1 or varying[0] % 2 == 0 or len(values[varying[0]]) < len(names):
        return None
    return varying[0]


def _renumbered(file: Path, part: int, number: int) -> Path:
    parts = _parts(file)
    parts[part] = str(number).zfill(len(parts[part]))
    return file.with_name("".join(parts) + file.suffix)


def _told_missing(numbers: Sequence[int], step: int) -> str:
    """The numbers that are left out, `step` from one to the next."""
    gaps = [(low + step, high - step) for low, high in pairwise(numbers) if high - low > step]
    named = [f"{low}" if low == high else f"{low} to {high}" for low, high in gaps[:_NAMED]]
    more = len(gaps) - _NAMED
    return ", ".join(named) + (f" and {more} stretches more" if more > 0 else "")
