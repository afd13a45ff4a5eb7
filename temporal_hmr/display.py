"""What mp4 and mov say of how their video is to be shown: turned, mirrored, a part of it."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from temporal_hmr.containers import iso_part
from temporal_hmr.streams import track_number

_LONG = (1).to_bytes(4, "big")
"""In place of a length, which then follows in eight bytes."""
_LARGEST_HEADER = 1 << 28
"""Bytes. That of a day of video has a tenth of it."""
SHOWN_AS_STORED = np.diag([1 << 16, 1 << 16, 1 << 30])


@dataclass(frozen=True, eq=False)
class Display:
    """Of the video in a file."""

    matrix: Int[ndarray, "3 3"]
    """The point (x, y, 1) of the picture as stored is shown at its product with this, in fixed
    point numbers."""
    seconds: float
    """How long it is shown from time 0 on, by its edit list; infinite if that is not said."""


def display_of(path: Path) -> Display | None:
    """None if the file is no mp4 or mov, or says nothing that can be understood."""
    header = _movie_header(path)
    videos = {
        _number(_inside(content, b"tkhd")): content
        for name, content in _parts(header)
        if name == b"trak" and _inside(content, b"mdia", b"hdlr")[8:12] == b"vide"
    }
    if not videos:
        return None
    # Of several the one that pictures are taken from: a cover may come before it.
    first, *others = videos
    meant = track_number(path) if others else first
    track = videos[meant if meant in videos else first]
    edits = _inside(track, b"edts", b"elst")
    return Display(
        _matrix(_inside(track, b"tkhd")), _shown_seconds(edits, _inside(header, b"mvhd"))
    )


def shown_range(
    path: Path, times: Float[ndarray, "N"], fps: float
) -> tuple[float | None, float | None]:
    """From when to when (s) players show a video whose frames have these times.

    None on the side where its edit list cuts nothing away.
    """
    display = display_of(path)
    seconds = np.inf if display is None else display.seconds
    if not ((times >= 0) & (times < seconds)).any():
        return None, None
    # Less than half a frame is rounding; and how long the last one lasts may not be counted.
    early, late = times[0] < -0.5 / fps, times[-1] > seconds + 0.5 / fps
    return 0.0 if early else None, seconds if late else None


def mirrored(
    image: UInt8[ndarray, "H W 3"], matrix: Int[ndarray, "3 3"]
) -> UInt8[ndarray, "H W 3"]:
    """An image that was turned as its display matrix says, mirrored if it says that, too.

    Decoders know of turns alone, and take from the matrix where the picture's rows run.
    """
    if not is_mirror(matrix):
        return image
    on_its_side = abs(matrix[0, 0]) < abs(matrix[0, 1])
    return np.ascontiguousarray(np.flip(image, 1 if on_its_side else 0))


def is_mirror(matrix: Int[ndarray, "3 3"]) -> bool:
    """Whether a display matrix shows writing the wrong way round."""
    return bool(matrix[0, 0] * matrix[1, 1] < matrix[0, 1] * matrix[1, 0])


def _movie_header(path: Path) -> bytes:
    """The content of the part `moov`; empty if there is none, and if the file cannot be read."""
    try:
        with path.open("rb") as file:
            return _movie_part(file, path.stat().st_size)
    except OSError:
        return b""


def _movie_part(file: BinaryIO, size: int) -> bytes:
    position = 0
    while position + 8 <= size:
        name, length = iso_part(file, position)
        file.seek(position)
        head = 16 if file.read(4) == _LONG else 8
        length = length or size - position  # the last part may reach to the end of the file
        if name == b"moov" and head <= length <= _LARGEST_HEADER:
            file.seek(position + head)
            return file.read(length - head)
        if length < head:
            break
        position += length
    return b""


def _parts(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of the parts of an mp4 that lie in another."""
    position = 0
    while position + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, position)
        if length < 8:
            return
        yield name, content[position + 8 : position + length]
        position += length


def _inside(content: bytes, *names: bytes) -> bytes:
    """The content of a part within parts, by their names; empty if it is not there."""
    for name in names:
        content = next((inner for found, inner in _parts(content) if found == name), b"")
    return content


def _number(track_header: bytes) -> int:
    at = 20 if track_header[:1] == b"\x01" else 12
    return int.from_bytes(track_header[at : at + 4], "big")


def _matrix(track_header: bytes) -> Int[ndarray, "3 3"]:
    at = 52 if track_header[:1] == b"\x01" else 40
    stored = np.frombuffer(track_header[at : at + 36], ">i4").astype(np.int64)
    return stored.reshape(3, 3) if stored.size == 9 else SHOWN_AS_STORED


def _shown_seconds(edits: bytes, movie: bytes) -> float:
    """From the content of `elst` and `mvhd`; of several stretches none is the whole."""
    scale = int.from_bytes(movie[20:24] if movie[:1] == b"\x01" else movie[12:16], "big")
    entry = struct.Struct(">QqI" if edits[:1] == b"\x01" else ">IiI")
    whole = edits[8 : 8 + (len(edits) - 8) // entry.size * entry.size] if scale else b""
    # Where nothing is shown for a while at first, the place is -1.
    durations = [duration for duration, place, _ in entry.iter_unpack(whole) if place >= 0]
    if len(durations) != 1 or durations[0] == 0:
        return np.inf
    return durations[0] / scale
