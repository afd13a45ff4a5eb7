"""Body files of every kind."""

import contextlib
import os
import pickle
import sys
import types
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from body_files import Arrays, Malice, made_up_body, node, small_body, write_python2
from scipy import sparse

from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError
from temporal_hmr.pickles import Unread, load_pickle
from temporal_hmr.skeleton import COCO23, SMPL24


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
    "no vertices": (
        small_body() | {"weights": np.zeros((0, 24)), "v_template": np.zeros((0, 3))},
        "it has no vertices",
    ),
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


def test_longer_floats_than_torch_has_are_rounded(tmp_path: Path) -> None:
    arrays = small_body()
    np.savez(tmp_path / "long.npz", **arrays | {"v_template": arrays["v_template"].astype("g")})
    template = load_body(tmp_path / "long.npz", torch.float64).v_template
    assert np.array_equal(template.numpy(), arrays["v_template"])


def test_garbled_and_single_arrays_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "body.npz"
    with path.open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(InputError, match="a single array"):
        load_body(path)
    np.savez_compressed(path, **small_body())
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    for start in np.linspace(0, len(whole) - 200, 40).astype(int):
        path.write_bytes(whole[:start] + random.bytes(100) + whole[start + 100 :])
        with contextlib.suppress(InputError):
            load_body(path)


def test_code_in_object_arrays_of_npz_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    payload = np.array([Malice(os.system, f"touch {canary}")], object)
    np.savez(tmp_path / "smpl.npz", **small_body() | {"posedirs": payload})
    with pytest.raises(InputError, match="holds more than plain arrays"):
        load_body(tmp_path / "smpl.npz")
    assert not canary.exists()
