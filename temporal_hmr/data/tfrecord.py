"""Files of TensorFlow's examples, read without TensorFlow.

A TFRecord file is a row of records: length (8 bytes, little endian), its checksum (4), the bytes,
their checksum (4). A record is a protobuf message `Example`, which names lists of bytes, floats or
integers. Of protobuf's wire format this takes what `Example` is made of.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy import ndarray

from temporal_hmr.errors import InputError

Feature = list[memoryview] | ndarray
"""Pieces of bytes, float32 or int64."""
_BYTES, _FLOATS, _INTEGERS = 1, 2, 3
"""Numbers of the fields of `Feature`; all else in an `Example` is field 1, but a map's value, 2."""
_VARINT, _LENGTH_DELIMITED, _FIXED32 = 0, 2, 5
_POLYNOMIAL = 0x82F63B78
_MASK = 0xA282EAD8
_WORD = 0xFFFFFFFF


def read_examples(path: Path) -> Iterator[dict[str, Feature]]:
    """The named features of each record, one record in memory at a time.

    Raises `InputError` when it comes to where the file is absent, cut or damaged. The checksums of
    the lengths are checked, those of the contents are not.
    """
    try:
        with path.open("rb") as file:
            number = 0
            while (content := _record(file)) is not None:
                yield _features(content)
                number += 1
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; check the path") from error
    except (ValueError, IndexError) as error:
        raise InputError(
            f"{path} is damaged in record {number} ({error}); get the file anew"
        ) from error


def _record(file: BinaryIO) -> memoryview | None:
    head = file.read(12)
    if not head:
        return None
    length = int.from_bytes(head[:8], "little")
    if len(head) < 12 or _masked_checksum(head[:8]) != int.from_bytes(head[8:], "little"):
        raise ValueError("no whole record begins there")
    content = file.read(length)
    if len(content) < length or len(file.read(4)) < 4:
        raise ValueError("it is cut off")
    return memoryview(content)


def _masked_checksum(content: bytes) -> int:
    """CRC-32C as TFRecords have it: turned by 15 bits, and a constant added."""
    register = _WORD
    for byte in content:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
    checksum = register ^ _WORD
    return ((checksum >> 15 | checksum << 17) + _MASK) & _WORD


def _features(example: memoryview) -> dict[str, Feature]:
    features: dict[str, Feature] = {}
    for message in _pieces(example, 1):
        for entry in _pieces(message, 1):
            name = bytes(_pieces(entry, 1)[0]).decode()
            features[name] = _feature(_pieces(entry, 2)[0])
    return features


def _feature(message: memoryview) -> Feature:
    for kind, piece in _fields(message):
        if kind == _BYTES:
            return _pieces(piece, 1)
        parts = _pieces(piece, 1)
        if kind == _FLOATS:
            return np.frombuffer(b"".join(parts), "<f4")
        if kind == _INTEGERS:
            numbers = [number for part in parts for number in _integers(part)]
            return np.array(numbers, np.uint64).view(np.int64)
    return []


def _integers(content: memoryview) -> Iterator[int]:
    """Numbers that are packed one after another, or one that stands alone."""
    position = 0
    while position < len(content):
        number, position = _varint(content, position)
        yield number


def _pieces(message: memoryview, field: int) -> list[memoryview]:
    return [piece for number, piece in _fields(message) if number == field]


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of each field in turn."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        wire = tag & 7
        if wire == _LENGTH_DELIMITED:
            length, position = _varint(message, position)
            end = position + length
        elif wire == _VARINT:
            end = _varint(message, position)[1]
        elif wire == _FIXED32:
            end = position + 4
        else:
            raise ValueError(f"wire type {wire} has no place in an example")
        if end > len(message):
            raise ValueError("a field is longer than what holds it")
        yield tag >> 3, message[position:end]
        position = end


def _varint(content: memoryview, position: int) -> tuple[int, int]:
    """A number in groups of seven bits, the lowest first, and the position after it."""
    number = shift = 0
    while True:
        byte = content[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position
        if shift > 63:
            raise ValueError("a number is too long")
