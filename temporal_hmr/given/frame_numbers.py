"""Which frame of a video a file of keypoints means by its numbers and names."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from temporal_hmr.errors import InputError
from temporal_hmr.video import Clip

_MOST_DIGITS = 18


@dataclass(frozen=True)
class Counted:
    """Frames of a clip, from 0, by the keys of a file."""

    frames: dict[int | str, int]
    how: str
    """In words, for the result."""


def count_frames(path: Path, keys: Iterable[int | str], counts_from: int, clip: Clip) -> Counted:
    """Frames by the names of the clip's images, or else by number.

    Names mean images of a folder where all are among them, with or without their suffix; else the
    number at their end. Numbers count from 0 if 0 is among them, from 1 if that of the whole
    video's length is, and else from `counts_from`, as is the custom of the format.

    Raises `InputError` for names without a number, two names of one number, and numbers beyond the
    video.
    """
    keys = list(dict.fromkeys(keys))
    by_name = _by_name(keys, clip)
    if by_name is not None:
        return Counted(by_name, "frames by the names of images")
    numbers = {key: key if isinstance(key, int) else _number(path, key) for key in keys}
    _refuse_twice(path, numbers)
    length = len(clip.times)
    first = counts_from
    if 0 in numbers.values():
        first = 0
    elif length in numbers.values():
        first = 1
    beyond = [number for number in numbers.values() if not 0 <= number - first < length]
    if beyond:
        raise InputError(
            f"{path} tells of frame {max(beyond)}, and {clip.path.name} has {length} "
            f"({first} to {length - 1 + first}): give the keypoints of this very video"
        )
    frames = {key: number - first for key, number in numbers.items()}
    return Counted(frames, f"frames counted from {first}")


def _by_name(keys: list[int | str], clip: Clip) -> dict[int | str, int] | None:
    names = clip.frame_names()
    positions = {Path(name).stem: position for position, name in enumerate(names)}
    positions |= {name: position for position, name in enumerate(names)}
    found = {key: positions.get(PurePosixPath(str(key)).name) for key in keys}
    if not found or any(isinstance(key, int) for key in keys) or None in found.values():
        return None
    return {key: position for key, position in found.items() if position is not None}


def _number(path: Path, name: str) -> int:
    # `0.jpg`, `walk_000012`, `video/frame7.png`, but not the 4 of a suffix `.mp4`.
    stem = re.sub(r"\.[A-Za-z]\w{1,4}$", "", name)
    digits = re.search(r"(\d+)\D*$", stem)
    if digits is None or len(digits[1]) > _MOST_DIGITS:
        raise InputError(f"{path} tells of a frame {name!r}, whose name ends in no number")
    return int(digits[1])


def _refuse_twice(path: Path, numbers: dict[int | str, int]) -> None:
    names: dict[int, int | str] = {}
    for key, number in numbers.items():
        other = names.setdefault(number, key)
        if other != key:
            raise InputError(
                f"{path} tells of {other!r} and of {key!r}, which both would be frame {number}: "
                "give a file of one video"
            )
