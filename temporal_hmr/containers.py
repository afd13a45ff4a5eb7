"""What the containers of videos say of themselves: how long they are, where their index lies.

Of ISO media (mp4, mov), Matroska (mkv, webm) and RIFF (avi), by their first bytes.
"""

from pathlib import Path
from typing import BinaryIO

_ISO = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
"""With what parts files begin."""
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_RIFF = b"RIFF"
_TAIL = 4096


def breaks_off(path: Path) -> bool:
    """Whether the file is shorter than it says, or ends in nothing but zeros.

    False where it does not say. Zeros are what a download leaves that was given its full length
    first; of ISO media they may be filling, and its frames tell.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(12)
        if head[4:8] in _ISO:
            return _iso_length(file, size) > size
        if head[:4] == _EBML:
            return _matroska_length(file) > size or _ends_in_zeros(file, size)
        if head[:4] == _RIFF:
            return _riff_length(file, size) > size or _ends_in_zeros(file, size)
    return False


def is_iso(path: Path) -> bool:
    """Whether it is an mp4, a mov or the like."""
    with path.open("rb") as file:
        return file.read(8)[4:] in _ISO


def lacks_index(path: Path) -> bool:
    """Whether it is an mp4 or mov without its `moov`, which recorders write when they are done."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(8)[4:] not in _ISO:
            return False
        position = 0
        while position + 8 <= size:
            name, length = _iso_part(file, position)
            whole = 0 < length <= size - position
            if name == b"moov" or not whole:
                return not whole
            position += length
    return True


def _iso_length(file: BinaryIO, size: int) -> int:
    """Where the last part ends."""
    position = 0
    while position + 8 <= size:
        length = _iso_part(file, position)[1]
        if length == 0:  # this part reaches to the end of the file
            return size
        position += max(length, 8)
    return position


def _iso_part(file: BinaryIO, position: int) -> tuple[bytes, int]:
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


def _ends_in_zeros(file: BinaryIO, size: int) -> bool:
    file.seek(max(size - _TAIL, 0))
    return not any(file.read())
