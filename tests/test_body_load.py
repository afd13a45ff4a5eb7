"""Body files of every kind, and pickles that must not run."""

import copyreg
import os
import pickle
import struct
import sys
import types
from collections import OrderedDict, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray
from scipy import sparse

from temporal_hmr.body import pickles
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.body.pickles import Unread, load_pickle
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23, SMPL24

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


@pytest.fixture
def chumpy(monkeypatch: pytest.MonkeyPatch) -> types.SimpleNamespace:
    """Classes that pickle as chumpy's do; gone again when the file is read."""
    made = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, "chumpy", types.ModuleType("chumpy"))
    for module, name in (("ch", "Ch"), ("reordering", "Select"), ("ch_ops", "add")):
        kind = type(name, (), {"__module__": f"chumpy.{module}"})
        monkeypatch.setitem(sys.modules, f"chumpy.{module}", types.ModuleType(f"chumpy.{module}"))
        setattr(sys.modules[f"chumpy.{module}"], name, kind)
        setattr(made, name, kind)
    return made


def node(kind: type, **state: object) -> object:
    made = kind()
    made.__dict__.update(state)
    return made


@pytest.fixture(scope="module")
def licensed() -> Arrays:
    """As large as SMPL, for its vertex numbers to have a meaning."""
    return made_up_body(6890)


def assert_same_body(path: Path, arrays: Arrays) -> None:
    body = load_body(path, torch.float64)
    assert np.array_equal(body.v_template.numpy(), arrays["v_template"])
    assert np.array_equal(body.shapedirs.numpy(), arrays["shapedirs"][..., :10])
    assert np.array_equal(body.posedirs.numpy(), arrays["posedirs"])
    assert np.array_equal(body.weights.numpy(), arrays["weights"])
    assert np.array_equal(body.joint_regressor.numpy(), arrays["J_regressor"])
    assert np.array_equal(body.faces.numpy(), arrays["f"])
    assert body.name == path.stem


def test_the_shipped_body_is_the_default() -> None:
    body = load_body()
    assert body.name == "open"
    assert "NAVER" in body.licence
    assert body.v_template.dtype == torch.float32
    assert len(body.regressors["coco_feet"]) == len(COCO23)
    assert load_body(dtype=torch.float64).weights.dtype == torch.float64


def test_published_pickle_of_python_2(
    tmp_path: Path, licensed: Arrays, chumpy: types.SimpleNamespace
) -> None:
    """chumpy variables, a selection, a scipy matrix and keys that we do not need."""
    path = tmp_path / "basicModel_neutral_lbs_10_207_0_v1.0.0.pkl"
    shape = licensed["shapedirs"].shape
    order = np.random.default_rng(1).permutation(licensed["shapedirs"].size)
    mixed = np.empty(order.size)
    mixed[order] = licensed["shapedirs"].ravel()
    contents = licensed | {
        "v_template": node(chumpy.Ch, x=licensed["v_template"]),
        "weights": node(chumpy.Ch, x=licensed["weights"]),
        "shapedirs": node(
            chumpy.Select, a=node(chumpy.Ch, x=mixed), idxs=order, preferred_shape=shape
        ),
        "J_regressor": sparse.csc_matrix(licensed["J_regressor"]),
        "J": node(chumpy.add, a=node(chumpy.Ch, x=np.zeros(3)), b=1.0),
        "bs_type": "lrotmin",
        "pose_training_info": OrderedDict(name="caf\xe9", counts=defaultdict(list, {"a": [1]})),
    }
    write_python2(contents, path)
    raw = path.read_bytes()
    assert b"cchumpy.ch\nCh\n" in raw
    assert b"cnumpy.core.multiarray\n_reconstruct\n" in raw
    assert b"cscipy.sparse.csc\ncsc_matrix\n" in raw
    assert b"U\nv_template" in raw
    assert_same_body(path, licensed)
    other = load_pickle(path)
    assert isinstance(other, dict)
    assert isinstance(other["J"], Unread)
    assert other["pose_training_info"] == {"name": "caf\xe9", "counts": {"a": [1]}}


def test_cleaned_pickle_and_npz(tmp_path: Path, licensed: Arrays) -> None:
    pickled, zipped = tmp_path / "SMPL_NEUTRAL.pkl", tmp_path / "SMPL_MALE.npz"
    pickled.write_bytes(
        pickle.dumps(licensed | {"J_regressor": sparse.csr_matrix(licensed["J_regressor"])})
    )
    np.savez(zipped, **licensed, notes=np.array([None], object))
    assert_same_body(pickled, licensed)
    assert_same_body(zipped, licensed)
    assert_same_body_in_folders(tmp_path, pickled)


def assert_same_body_in_folders(folder: Path, neutral: Path) -> None:
    """The neutral one of a folder, or of the `smpl` in a folder."""
    assert load_body(folder).name == neutral.stem
    models = folder / "models"
    (models / "smpl").mkdir(parents=True)
    neutral.rename(models / "smpl" / neutral.name)
    assert load_body(str(models)).name == neutral.stem
    with pytest.raises(InputError, match=r"of SMPL_MALE\.npz none is the one neutral body; name"):
        load_body(folder)
    empty = folder / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match=r"it has no \.pkl or \.npz file"):
        load_body(empty)


def test_licensed_bodies_get_keypoints(tmp_path: Path, licensed: Arrays) -> None:
    path = tmp_path / "SMPL_NEUTRAL.npz"
    np.savez(path, **licensed)
    body = load_body(path, torch.float64)
    assert "SMPL_NEUTRAL.npz" in body.licence
    assert "licensor" in body.licence
    assert body.landmarks["nose"] == 332
    smpl = SmplParams.from_poses(
        torch.linspace(-0.5, 0.5, 72, dtype=torch.float64),
        torch.ones(10, dtype=torch.float64),
        torch.zeros(3, dtype=torch.float64),
    )
    points = body.regress(smpl, body.point_regressor(body.regressors["coco_feet"]))
    vertices = body.vertices(smpl)
    joints = torch.as_tensor(licensed["J_regressor"]) @ vertices
    for name, vertex in (("nose", 332), ("left_ear", 583), ("left_big_toe", 3216),
                         ("right_small_toe", 6624), ("right_heel", 6787)):  # fmt: skip
        assert torch.allclose(points[COCO23.index(name)], vertices[vertex])
    for name in ("left_shoulder", "right_elbow", "left_wrist", "right_hip", "left_ankle"):
        assert torch.allclose(points[COCO23.index(name)], joints[SMPL24.index(name)])


def without(*keys: str) -> Arrays:
    return {key: value for key, value in small_body().items() if key not in keys}


def nan_in(key: str) -> Arrays:
    arrays = small_body()
    arrays[key] = arrays[key].astype(np.float64)
    arrays[key].flat[7] = np.nan
    return arrays


WRONG: dict[str, tuple[Arrays, str]] = {
    "no template": (without("v_template"), "it has no key 'v_template'"),
    "motion": ({"poses": np.zeros((5, 72))}, "it has no key 'v_template'"),
    "no tree": (without("kintree_table"), "it has no key 'kintree_table'"),
    "hands": (small_body(52), "it has 52 joints, as SMPL-H has; .* 24 joints"),
    "face": (small_body(55), "it has 55 joints, as SMPL-X has"),
    "seven joints": (small_body() | {"weights": np.ones((60, 7)) / 7}, "it has 7 joints;"),
    "weights": (small_body() | {"weights": np.ones((60, 24))}, "'weights' do not sum to one"),
    "flat weights": (small_body() | {"weights": np.ones(60)}, r"'weights' is \(60,\)"),
    "template": (
        small_body() | {"v_template": np.zeros((61, 3))},
        r"'v_template' is \(61, 3\), not \(60, 3\)",
    ),
    "posedirs": (
        small_body() | {"posedirs": np.zeros((207, 180))},
        r"'posedirs' is \(207, 180\), not \(60, 3, 207\)",
    ),
    "four betas": (small_body() | {"shapedirs": np.zeros((60, 3, 4))}, "has 4 shape coefficients"),
    "nan": (nan_in("posedirs"), "'posedirs' has entries that are not finite"),
    "nan keypoints": (nan_in("regressor_coco_feet"), "'regressor_coco_feet' has entries"),
    "text": (small_body() | {"f": np.array(["a", "b"])}, "'f' holds no numbers"),
    "faces": (small_body() | {"f": np.full((4, 3), 60)}, "name vertices beyond its 60"),
    "tree": (
        small_body() | {"kintree_table": np.zeros((2, 24))},
        "'kintree_table' is not SMPL's tree of joints",
    ),
    "no keypoints": (without("regressor_coco_feet"), "it has 60 vertices, not 6890"),
    "few keypoints": (
        small_body() | {"regressor_coco_feet": np.zeros((17, 60))},
        "does not have 23 rows",
    ),
    "landmarks": (
        small_body() | {"vertex_id_names": np.array(["nose"]), "vertex_id_values": np.array([99])},
        "name vertices that it lacks",
    ),
    "licence": (small_body() | {"meta": np.array("{}")}, "states no licence"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_files_are_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    arrays, sentence = WRONG[case]
    for path in (tmp_path / "body.npz", tmp_path / "body.pkl"):
        if path.suffix == ".npz":
            np.savez(path, **arrays)
        else:
            path.write_bytes(pickle.dumps(arrays))
        with pytest.raises(InputError, match=sentence) as caught:
            load_body(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_small_body_of_our_format_loads(tmp_path: Path) -> None:
    path = tmp_path / "child.npz"
    np.savez(path, **small_body())
    assert load_body(path).name == "child"


def test_files_that_are_no_bodies_at_all(tmp_path: Path, chumpy: types.SimpleNamespace) -> None:
    with pytest.raises(InputError, match="does not exist; give an SMPL"):
        load_body(tmp_path / "nowhere.pkl")
    for name, raw, sentence in (
        ("body.obj", b"v 0 0 0", "neither .pkl nor .npz"),
        ("body.npz", b"not a zip", "is damaged or holds more than plain arrays"),
        ("body.pkl", b"not a pickle", "is damaged or not a pickle"),
        ("empty.pkl", b"", "is damaged or not a pickle"),
        ("list.pkl", pickle.dumps([1]), "holds no named arrays"),
    ):
        (tmp_path / name).write_bytes(raw)
        with pytest.raises(InputError, match=sentence):
            load_body(tmp_path / name)
    np.savez(tmp_path / "objects.npz", **small_body() | {"f": np.array([None, {}], object)})
    with pytest.raises(InputError, match="holds more than plain arrays"):
        load_body(tmp_path / "objects.npz")
    computed = small_body() | {"v_template": node(chumpy.add, a=1, b=2)}
    (tmp_path / "computed.pkl").write_bytes(pickle.dumps(computed))
    with pytest.raises(InputError, match=r"stored as a computation \(chumpy.ch_ops.add\)"):
        load_body(tmp_path / "computed.pkl")


@pytest.mark.parametrize("protocol", range(6))
def test_plain_contents_survive_every_protocol(protocol: int, tmp_path: Path) -> None:
    contents = {
        "matrix": np.arange(6.0).reshape(2, 3),
        "fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
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
    for key in ("matrix", "fortran", "foreign", "empty", "texts"):
        assert np.array_equal(read[key], contents[key])
        assert read[key].dtype == contents[key].dtype
    assert read["matrix"].flags.writeable
    for key in ("scalars", "bytes", "sets", "ordered", "numbers"):
        assert read[key] == contents[key]
    assert type(read["ordered"]) is dict
    assert isinstance(read["scalars"][0], np.float32)


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


class Malice:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: object):
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


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
    ("temporal_hmr.body.pickles", "load_pickle"),
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


def test_code_in_object_arrays_of_npz_is_not_run(tmp_path: Path, canary: Path) -> None:
    payload = np.array([Malice(os.system, f"touch {canary}")], object)
    np.savez(tmp_path / "smpl.npz", **small_body() | {"posedirs": payload})
    with pytest.raises(InputError, match="holds more than plain arrays"):
        load_body(tmp_path / "smpl.npz")


def test_objects_beyond_the_file_are_refused(
    tmp_path: Path, canary: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Extension codes reach whatever another library has registered and used before."""
    monkeypatch.setitem(copyreg._extension_cache, 240, os.system)  # type: ignore[attr-defined]
    path = tmp_path / "smpl.pkl"
    call = f"(Vtouch {canary}\ntR.".encode()
    for raw in (b"\x80\x02\x82\xf0" + call, b"\x80\x02\x83\xf0\x00" + call, b"Pname\n.", b"Vn\nQ."):
        path.write_bytes(raw)
        with pytest.raises(InputError, match="fetches objects by opcode"):
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
    assert isinstance(outcome, ndarray | Unread | int) or str(path) in str(outcome)
    assert pickles._Record.kind == ""


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
