"""BlazePose's landmark network without its silhouette, which nobody here asks for.

Of its 386 million multiplications the silhouette's are 9 %, but they are done at 256 x 256 points:
without them a body is read in two thirds of the time, to the same landmarks.
"""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_NETWORK = Path("mediapipe/modules/pose_landmark/pose_landmark_full.tflite")
"""Within the folder in which mediapipe looks for its networks."""
_SCORE, _SILHOUETTE = 1, 2
"""Places among the network's outputs."""


@contextmanager
def trimmed_networks(folder: Path) -> Iterator[Path]:
    """A folder to take the landmark network from, for as long as it is being opened.

    `folder` is where mediapipe looks for its networks otherwise.
    Raises `ValueError` if the network is not the one that is known, `OSError` if it cannot be read.
    """
    network = without_silhouette((folder / _NETWORK).read_bytes())
    with TemporaryDirectory(prefix="temporal-hmr-") as temporary:
        place = Path(temporary) / _NETWORK
        place.parent.mkdir(parents=True)
        place.write_bytes(network)
        yield Path(temporary)


def without_silhouette(network: bytes) -> bytes:
    """The network (a TensorFlow Lite file) with the score in the silhouette's place.

    What only the silhouette needed is no longer done. Raises `ValueError` if the network has other
    outputs than BlazePose's.
    """
    from mediapipe.tasks.metadata.schema_py_generated import Model

    trimmed = bytearray(network)
    graph = Model.GetRootAs(trimmed, 0).Subgraphs(0)
    if graph is None or graph.OutputsLength() != 5:
        raise ValueError("this is not BlazePose's landmark network")
    outputs = [graph.Outputs(place) for place in range(5)]
    outputs[_SILHOUETTE] = outputs[_SCORE]
    kept = _needed(graph, outputs)
    _fill(trimmed, _start(graph, _OUTPUTS), outputs)
    # A vector of tables holds how far away each is from its own place; the length comes before.
    start = _start(graph, _OPERATORS)
    tables = [start + 4 * place + _number(network, start + 4 * place) for place in kept]
    _fill(trimmed, start, [table - (start + 4 * place) for place, table in enumerate(tables)])
    _fill(trimmed, start - 4, [len(kept)])
    return bytes(trimmed)


_OUTPUTS, _OPERATORS = 8, 10
"""Slots of a subgraph's table, from TensorFlow Lite's schema."""


def _needed(graph, outputs: list[int]) -> list[int]:
    """Places of the operators without which there were no such outputs, in their order."""
    wanted, kept = set(outputs), []
    for place in reversed(range(graph.OperatorsLength())):
        operator = graph.Operators(place)
        if any(operator.Outputs(at) in wanted for at in range(operator.OutputsLength())):
            wanted.update(operator.Inputs(at) for at in range(operator.InputsLength()))
            kept.append(place)
    return kept[::-1]


def _start(graph, slot: int) -> int:
    return graph._tab.Vector(graph._tab.Offset(slot))


def _number(network: bytes, at: int) -> int:
    return struct.unpack_from("<I", network, at)[0]


def _fill(network: bytearray, at: int, numbers: list[int]) -> None:
    struct.pack_into(f"<{len(numbers)}I", network, at, *numbers)
