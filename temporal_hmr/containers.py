"""What the containers of videos say of themselves: how long they are, where their index lies.

Of ISO media (mp4, mov), Matroska (mkv, webm) and RIFF (avi), by their first bytes.
"""

import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Bool
from numpy import ndarray

VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv"),
    *(".3gp", ".ts", ".mts", ".m2ts", ".ogv"),
)
_ISO = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
"""With what parts files begin."""
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_RIFF = b"RIFF"
_TAIL = 4096
_INDEX_ENTRY = np.dtype([("name", "S4"), ("flags", "<u4"), ("place", "<u4"), ("length", "<u4")])
"""Of an avi: from some place on, the part's name, length and content."""


def breaks_off(path: Path) -> bool | None:
    """Whether the file is shorter than it says, or ends in nothing but zeros.

    None where it does not say. Zeros are what a download leaves that was given its full length
    first; of ISO media they may be filling, and its frames tell. Of an avi that is whole by what it
    says, frames may be missing as well.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in _ISO:
            return _iso_length(file, size) > size
        if head[:4] == _EBML:
            length = _matroska_length(file)
            return length > size or _ends_in_zeros(file, size) or (None if length == 0 else False)
        if head[:4] == _RIFF:
            return _riff_length(file, size) > size or _ends_in_zeros(file, size) or None
    return None


def lacks_index(path: Path) -> bool:
    """Whether it is an mp4 or mov without its `moov`, which recorders write when they are done."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(8)[4:] not in _ISO:
            return False
        position = 0
        while position + 8 <= size:
            name, length = iso_part(file, position)
            whole = 0 < length <= size - position
            if name == b"moov" or not whole:
                return not whole
            position += length
    return True


def _iso_length(file: BinaryIO, size: int) -> int:
    """Where the last part ends."""
    position = 0
    while position + 8 <= size:
        length = iso_part(file, position)[1]
        if length == 0:  # this part reaches to the end of the file
            return size
        position += max(length, 8)
    return position


def iso_part(file: BinaryIO, position: int) -> tuple[bytes, int]:
    """Name and length."""
    file.seek(position)
    header = file.read(16)
    length = int.from_bytes(header[:4], "big")
    if length == 1:
        length = int.from_bytes(header[8:16], "big")
    return header[4:8], length


def _matroska_length(file: BinaryIO) -> int:
    """Where the segment ends that holds everything; 0 if that is not said, as of live streams."""
    file.seek(len(_EBML))
    head = _element_size(file)
    if head is None:
        return 0
    file.seek(head, 1)
    if file.read(len(_SEGMENT)) != _SEGMENT:
        return 0
    length = _element_size(file)
    return 0 if length is None else file.tell() + length


def _element_size(file: BinaryIO) -> int | None:
    """A number whose first byte tells by its leading zeros how many follow; None if all ones."""
    first = file.read(1)
    if first in (b"", b"\0"):
        return None
    more = 8 - first[0].bit_length()
    bits = 7 * (more + 1)
    number = int.from_bytes(first + file.read(more), "big") & ((1 << bits) - 1)
    return None if number == (1 << bits) - 1 else number


def _riff_length(file: BinaryIO, size: int) -> int:
    """Where the last of its parts ends: large ones have several."""
    position = 0
    while position + 8 <= size:
        file.seek(position)
        header = file.read(8)
        length = int.from_bytes(header[4:], "little")
        if header[:4] != _RIFF or length == 0:
            break
        position += 8 + length + length % 2
    return position


def intact_frames(path: Path) -> Bool[ndarray, "N"] | None:
    """Of each frame that an avi's index lists, whether it lies there; None without an index."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[:4] != _RIFF or head[8:] != b"AVI ":
            return None
        parts = {}
        position = 12
        while position + 12 <= size:
            file.seek(position)
            name, length, kind = struct.unpack("<4sI4s", file.read(12))
            parts[kind if name == b"LIST" else name] = position + 8, length
            position += 8 + length + length % 2
        if not {b"hdrl", b"movi", b"idx1"} <= parts.keys():
            return None
        listed = _listed_frames(file, parts)
        if not len(listed):
            return None
        # Places are counted from the beginning of the file by some, of the frames by most.
        offset = 0 if int(listed["place"][0]) >= parts[b"movi"][0] else parts[b"movi"][0]
        return np.array([_lies_at(file, offset, each) for each in listed])


def _listed_frames(file: BinaryIO, parts: Mapping[bytes, tuple[int, int]]) -> ndarray:
    """What the index of an avi says of the frames of its first video stream."""
    (header_at, header_length), (index_at, index_length) = parts[b"hdrl"], parts[b"idx1"]
    file.seek(header_at)
    header = file.read(header_length)
    kinds = [header[at + 8 : at + 12] for at in _places(header, b"strh")]
    if b"vids" not in kinds:
        return np.zeros(0, _INDEX_ENTRY)
    stream = b"%02d" % kinds.index(b"vids")
    file.seek(index_at)
    content = file.read(index_length)
    entries = np.frombuffer(content[: len(content) // 16 * 16], _INDEX_ENTRY)
    return entries[np.isin(entries["name"], [stream + b"dc", stream + b"db"])]


def _places(content: bytes, name: bytes) -> Iterator[int]:
    at = content.find(name)
    while at >= 0:
        yield at
        at = content.find(name, at + 1)


def _lies_at(file: BinaryIO, offset: int, entry: np.void) -> bool:
    file.seek(offset + int(entry["place"]))
    return file.read(8) == entry["name"].item() + struct.pack("<I", int(entry["length"]))


def _ends_in_zeros(file: BinaryIO, size: int) -> bool:
    file.seek(max(size - _TAIL, 0))
    return not any(file.read())
