"""Files as others write them, for the tests of what reads bodies and pickles."""

import pickle
import struct
from pathlib import Path
from typing import Any

import numpy as np

from temporal_hmr.skeleton import SMPL24

Arrays = dict[str, Any]


def made_up_body(vertices: int, joints: int = 24) -> Arrays:
    """Arrays in SMPL's format and types, of no body in particular."""
    random = np.random.default_rng(0)
    weights = random.random((vertices, joints)) * (random.random((vertices, joints)) < 0.15)
    weights[:, 0] += 0.1
    rows = np.arange(vertices)
    regressor = np.zeros((joints, vertices))
    regressor[rows % joints, rows] = random.random(vertices)
    parents = np.array([2**32 - 1, *SMPL24.parents[1:]] + [0] * (joints - 24))[:joints]
    return {
        "v_template": random.normal(size=(vertices, 3)),
        "f": random.integers(0, vertices, (2 * vertices, 3)).astype(np.uint32),
        "shapedirs": random.normal(size=(vertices, 3, 12)) / 50,
        "posedirs": random.normal(size=(vertices, 3, 9 * (joints - 1))).astype(np.float32) / 50,
        "weights": weights / weights.sum(1, keepdims=True),
        "J_regressor": regressor / regressor.sum(1, keepdims=True),
        "kintree_table": np.stack([parents, np.arange(joints)]).astype(np.uint32),
    }


def small_body(joints: int = 24) -> Arrays:
    keypoints = np.zeros((23, 60))
    keypoints[np.arange(23), np.arange(23)] = 1
    return made_up_body(60, joints) | {"regressor_coco_feet": keypoints}


class Python2Pickler(pickle._Pickler):
    """Protocol 2 as Python 2's cPickle wrote it: all strings and bytes are `str`."""

    def save_str(self, value: str | bytes) -> None:
        raw = value.encode("latin1") if isinstance(value, str) else value
        short = len(raw) < 256
        head = b"U" + struct.pack("<B", len(raw)) if short else b"T" + struct.pack("<i", len(raw))
        self.write(head + raw)  # type: ignore[attr-defined]
        self.memoize(value)

    dispatch = dict(pickle._Pickler.dispatch) | {str: save_str, bytes: save_str}  # type: ignore[attr-defined]


def write_python2(contents: object, path: Path) -> None:
    """With the module names of the numpy and scipy of that time."""
    with path.open("wb") as file:
        Python2Pickler(file, 2).dump(contents)
    raw = path.read_bytes()
    for new, old in ((b"numpy._core.", b"numpy.core."), (b"sparse._csc\n", b"sparse.csc\n")):
        raw = raw.replace(b"c" + new, b"c" + old).replace(b"cscipy." + new, b"cscipy." + old)
    path.write_bytes(raw)


def node(kind: type, **state: object) -> object:
    made = kind()
    made.__dict__.update(state)
    return made


class Malice:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: object):
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call
