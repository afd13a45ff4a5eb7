"""Pickles of every protocol, and pickles that must not run."""

import copyreg
import os
import pickle
import struct
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from body_files import Malice, write_python2
from numpy import ndarray
from scipy import sparse

from temporal_hmr import pickles
from temporal_hmr.body.load import load_body
from temporal_hmr.errors import InputError
from temporal_hmr.pickles import Unread, load_pickle


@pytest.mark.parametrize("protocol", range(6))
def test_plain_contents_survive_every_protocol(protocol: int, tmp_path: Path) -> None:
    contents = {
        "matrix": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
        "turned": np.arange(24).reshape(2, 3, 4).transpose(1, 2, 0),
        "foreign": np.arange(3, dtype=">i4"),
        "scalars": [np.float32(1.5), np.bool_(True), np.array(2.5)],
        "empty": np.zeros((0, 3)),
        "texts": np.array(["ab", "c"]),
        "bytes": [b"", b"\xff\x00", bytearray(b"x")],
        "sets": ({1, 2}, frozenset([3])),
        "ordered": OrderedDict(b=1, a=2),
        "numbers": (1, -(2**70), 1.5, 1j, None, True),
    }
    path = tmp_path / "contents.pkl"
    path.write_bytes(pickle.dumps(contents, protocol))
    read = load_pickle(path)
    assert isinstance(read, dict)
    for key in ("matrix", "fortran", "turned", "foreign", "empty", "texts"):
        assert np.array_equal(read[key], contents[key])
        assert read[key].dtype == contents[key].dtype
    assert read["matrix"].flags.writeable
    for key in ("scalars", "bytes", "sets", "ordered", "numbers"):
        assert read[key] == contents[key]
    assert type(read["ordered"]) is dict
    assert type(read["scalars"][0]) is np.float32


def test_sequence_labels_of_python_2(tmp_path: Path) -> None:
    """Lists of arrays by person, as pose datasets keep them; shared and nested objects."""
    poses = [np.random.default_rng(i).normal(size=(4, 72)) for i in range(2)]
    ragged = np.empty(2, object)
    ragged[:] = [np.zeros(3), np.zeros(2)]
    contents = {"poses": poses, "again": poses, "texture": ["a", "b"], "ragged": ragged}
    write_python2(contents, tmp_path / "labels.pkl")
    read = load_pickle(tmp_path / "labels.pkl")
    assert isinstance(read, dict)
    assert np.array_equal(read["poses"][1], poses[1])
    assert read["again"] is read["poses"]
    assert [len(item) for item in read["ragged"]] == [3, 2]
    loop: list[Any] = [1]
    loop.append(loop)
    (tmp_path / "loop.pkl").write_bytes(pickle.dumps(loop))
    read = load_pickle(tmp_path / "loop.pkl")
    assert isinstance(read, list)
    assert read[1] is read


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A file that only code in a pickle would make."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "the pickle was run"


FORBIDDEN = [
    ("os", "system"),
    ("posix", "system"),
    ("subprocess", "check_output"),
    ("builtins", "eval"),
    ("__builtin__", "execfile"),
    ("builtins", "getattr"),
    ("builtins", "open"),
    ("numpy", "load"),
    ("numpy", "fromfile"),
    ("numpy.f2py.diagnose", "run_command"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.core.multiarray", "fromfile"),
    ("scipy.io", "loadmat"),
    ("torch", "load"),
    ("pickle", "loads"),
    ("temporal_hmr.pickles", "load_pickle"),
    ("chumpy", "np.load"),
    ("numpy", "ndarray.tofile"),
]


@pytest.mark.parametrize(("module", "name"), FORBIDDEN)
def test_forbidden_names_are_named_and_refused(
    module: str, name: str, tmp_path: Path, canary: Path
) -> None:
    path = tmp_path / "smpl.pkl"
    path.write_bytes(f"c{module}\n{name}\n(Vtouch {canary}\ntR.".encode())
    with pytest.raises(InputError, match=rf"asks to import {module}\.{name}; refusing") as caught:
        load_body(path)
    assert str(path) in str(caught.value)
    encoded = (pickle.SHORT_BINUNICODE + struct.pack("<B", len(part)) + part.encode()
               for part in (module, name))  # fmt: skip
    path.write_bytes(b"\x80\x04" + b"".join(encoded) + b"\x93)R.")
    with pytest.raises(InputError, match="asks to import"):
        load_body(path)


def hidden_in_arrays(payload: object) -> Iterator[object]:
    yield payload
    yield {"v_template": payload}
    yield {"v_template": np.array([payload, 1], object)}
    yield OrderedDict(a=[(1, {2: payload})])
    yield {"a": defaultdict(list, {1: payload})}


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_code_is_not_run_wherever_it_hides(protocol: int, tmp_path: Path, canary: Path) -> None:
    payloads = (
        Malice(os.system, f"touch {canary}"),
        Malice(eval, f"open({str(canary)!r}, 'w')"),
        Malice(np.load, str(canary), "r", True),
        Malice(np.save, str(canary), np.zeros(1)),
    )
    for payload in payloads:
        for contents in hidden_in_arrays(payload):
            path = tmp_path / "smpl.pkl"
            path.write_bytes(pickle.dumps(contents, protocol))
            with pytest.raises(InputError, match="refusing to run it"):
                load_pickle(path)


def test_objects_beyond_the_file_are_refused(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Extension codes reach whatever another library has registered and used before."""
    monkeypatch.setitem(copyreg._extension_cache, 240, os.system)  # type: ignore[attr-defined]
    path = tmp_path / "smpl.pkl"
    call = f"(Vtouch {canary}\ntR.".encode()
    for raw in (b"\x80\x02\x82\xf0" + call, b"\x80\x02\x83\xf0\x00" + call, b"Pname\n.", b"Vn\nQ."):
        path.write_bytes(raw)
        with pytest.raises(InputError, match="fetches objects from outside"):
            load_pickle(path)


def read_or_refuse(path: Path) -> object:
    """The contents, or the refusal; any other exception is a fault."""
    try:
        return load_pickle(path)
    except InputError as error:
        return error


def crafted(shape: str, dtype: str, state: str, raw: str) -> bytes:
    """An array in protocol 0 with whatever layout the file pleases to state."""
    return (
        "cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"
        f"(I1\n{shape}cnumpy\ndtype\n(V{dtype}\nI0\nI1\ntR{state}I00\n{raw}tb."
    ).encode()


BYTES = "V" + "A" * 16 + "\n"
LAYOUT = "(I3\nV|\nNNNI{size}\nI-1\nI{flags}\ntb"


@pytest.mark.parametrize(
    "raw",
    [
        crafted("(I2\nt", "O8", LAYOUT.format(size=-1, flags=0), BYTES),
        crafted("(I2\nt", "O8", LAYOUT.format(size=-1, flags=63), BYTES),
        crafted("(I99999999\nt", "f8", "", BYTES),
        crafted("(I-3\nt", "f8", "", BYTES),
        crafted("(I2\nt", "V8", "", BYTES),
        crafted("(I2\nt", "f8,O8", "", BYTES),
        crafted("(I2\nt", "f8", "(I3\nVX\ntb", BYTES),
        crafted("(I2\nt", "f8", "", "I5\n"),
        crafted("(I2\nt", "f8", "", "cnumpy\nndarray\n"),
        b"cchumpy.ch\nCh\n(N}Vkind\nVos.system\nstb.",
        b"cchumpy.ch\nCh\n}Vkind\nVos.system\nsb.",
        b"cchumpy.ch\nCh\n.",
        b"cchumpy.ch\nCh\n)R.",
        b"ccopy_reg\n_reconstructor\n(c__builtin__\ndict\nc__builtin__\nobject\nNtR.",
        b"c__builtin__\nbytearray\n(I1099511627776\ntR.",
        b"ccopy_reg\n_reconstructor\n}Vkind\nVos.system\nsb.",
        b"c_codecs\nencode\n(N}Vkind\nVos.system\nstb.",
        b"\x80\x02Nr\xff\xff\xff\x7f.",
        b"\x80\x02" + b"]" * 20000 + b"a" * 19999 + b".",
        b"\x80\x02K\x01K\x02.",
        b"\x80\x02\x8a\xff.",
        b"\x80\x63N.",
    ],
)
def test_lies_about_layout_are_damage(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "smpl.pkl"
    path.write_bytes(raw)
    outcome = read_or_refuse(path)
    assert isinstance(outcome, ndarray | Unread | int | None) or str(path) in str(outcome)
    assert pickles.Record.kind == ""


def test_sparse_matrices_with_foreign_indices_are_damage(tmp_path: Path) -> None:
    """scipy would write outside its memory."""
    matrix = sparse.csc_matrix(np.eye(3))
    matrix.indices[1] = 40000
    (tmp_path / "smpl.pkl").write_bytes(pickle.dumps({"J_regressor": matrix}))
    with pytest.raises(InputError, match="is damaged or not a pickle"):
        load_pickle(tmp_path / "smpl.pkl")


def test_broken_files_are_damage_and_nothing_else(tmp_path: Path) -> None:
    """Cut anywhere, or with any bytes changed, a file is read or refused in words."""
    path = tmp_path / "smpl.pkl"
    contents = {"a": np.arange(4.0), "m": sparse.csc_matrix(np.eye(3)), "t": ("x", {1: b"y"})}
    random = np.random.default_rng(3)
    refused = 0
    for protocol in (0, 2, 5):
        whole = pickle.dumps(contents, protocol)
        cut = [whole[:length] for length in range(0, len(whole) - 1, 29)]
        changed = []
        for _ in range(150):
            raw = bytearray(whole)
            for position in random.integers(0, len(raw), random.integers(1, 4)):
                raw[position] = random.integers(0, 256)
            changed.append(bytes(raw))
        for raw in cut + changed:
            path.write_bytes(raw)
            outcome = read_or_refuse(path)
            if isinstance(outcome, InputError):
                refused += 1
                assert str(path) in str(outcome)
    assert refused > 100
