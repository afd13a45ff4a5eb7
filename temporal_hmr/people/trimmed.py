"""BlazePose's landmark network without its silhouette, which nobody here asks for.

Of its 386 million multiplications the silhouette's are 9 %, but they are done at 256 x 256 points:
without them a body is read in two thirds of the time, to the same landmarks.
"""

import shutil
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

_NETWORK = Path("mediapipe/modules/pose_landmark/pose_landmark_full.tflite")
"""Within the folder in which mediapipe looks for its networks."""
_OTHER = Path("mediapipe/modules/pose_detection/pose_detection.tflite")
"""The one that finds bodies."""
_SCORE, _SILHOUETTE = 1, 2
"""Places among the network's outputs."""


@contextmanager
def trimmed_networks(folder: Path) -> Iterator[Path]:
    """A folder to take BlazePose's networks from, for as long as they are being opened.

    `folder` is where mediapipe looks for them otherwise. There is one such place in a process.
    Raises `ValueError` if the network is not the one that is known, `OSError` if it cannot be read.
    """
    network = without_silhouette((folder / _NETWORK).read_bytes())
    with TemporaryDirectory(prefix="temporal-hmr-") as temporary:
        place, other = Path(temporary) / _NETWORK, Path(temporary) / _OTHER
        for each in (place, other):
            each.parent.mkdir(parents=True)
        place.write_bytes(network)
        shutil.copyfile(folder / _OTHER, other)
        yield Path(temporary)


def without_silhouette(network: bytes) -> bytes:
    """The network (a TensorFlow Lite file) with the score in the silhouette's place.

    What only the silhouette needed is no longer done. Raises `ValueError` if the network has other
    outputs than BlazePose's.
    """
    trimmed = bytearray(network)
    (graph,) = _Vector.of(network, _unsigned(network, 0), _GRAPHS).tables()
    outputs = _Vector.of(network, graph, _OUTPUTS)
    operators = _Vector.of(network, graph, _OPERATORS)
    if outputs.length != 5:
        raise ValueError("this is not BlazePose's landmark network")
    wanted = outputs.numbers()
    wanted[_SILHOUETTE] = wanted[_SCORE]
    kept = _needed(network, operators.tables(), wanted)
    _fill(trimmed, outputs.start, wanted)
    # A vector of tables holds how far away each is from its own place; the length comes before.
    start = operators.start
    _fill(trimmed, start, [table - (start + 4 * place) for place, table in enumerate(kept)])
    _fill(trimmed, start - 4, [len(kept)])
    return bytes(trimmed)


_GRAPHS, _OUTPUTS, _OPERATORS = 8, 8, 10
"""Where the table of a model, or of a graph, says where these are (TensorFlow Lite's schema)."""
_TAKEN, _MADE = 6, 8
"""The same of an operator: the tensors that go in and come out."""


def _needed(network: bytes, operators: list[int], outputs: list[int]) -> list[int]:
    """The operators without which there were no such outputs, in their order."""
    wanted, kept = set(outputs), []
    for operator in reversed(operators):
        if wanted.intersection(_Vector.of(network, operator, _MADE).numbers()):
            wanted.update(_Vector.of(network, operator, _TAKEN).numbers())
            kept.append(operator)
    return kept[::-1]


@dataclass(frozen=True)
class _Vector:
    """Numbers one after the other in a file of FlatBuffers."""

    network: bytes
    start: int
    length: int

    @staticmethod
    def of(network: bytes, table: int, slot: int) -> "_Vector":
        """The vector in a slot of the table that begins there; one of none where that is empty."""
        (back,) = struct.unpack_from("<i", network, table)
        size, *_ = struct.unpack_from("<H", network, table - back)
        (offset,) = struct.unpack_from("<H", network, table - back + slot) if slot < size else (0,)
        if offset == 0:
            return _Vector(network, 0, 0)
        start = table + offset + _unsigned(network, table + offset)
        return _Vector(network, start + 4, _unsigned(network, start))

    def numbers(self) -> list[int]:
        return list(struct.unpack_from(f"<{self.length}I", self.network, self.start))

    def tables(self) -> list[int]:
        """Where the tables begin that it points at."""
        return [self.start + 4 * place + away for place, away in enumerate(self.numbers())]


def _unsigned(network: bytes, at: int) -> int:
    return struct.unpack_from("<I", network, at)[0]


def _fill(network: bytearray, at: int, numbers: list[int]) -> None:
    struct.pack_into(f"<{len(numbers)}I", network, at, *numbers)
