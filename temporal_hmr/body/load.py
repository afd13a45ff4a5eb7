"""Body files: the open body of this package, or a licensed SMPL file of any age."""

import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy import sparse

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.model import POSE_FEATURES, BodyArrays, BodyModel
from temporal_hmr.errors import InputError
from temporal_hmr.pickles import Unread, load_pickle
from temporal_hmr.skeleton import COCO23, SMPL24

OPEN_BODY = "open"
"""Name of the body that comes with the package."""
SHAPE_COEFFICIENTS = 10
SMPL_VERTICES = 6890

SMPL_LANDMARKS = {
    "nose": 332,
    "left_eye": 2800,
    "right_eye": 6260,
    "left_ear": 583,
    "right_ear": 4071,
    "left_big_toe": 3216,
    "left_small_toe": 3226,
    "left_heel": 3387,
    "right_big_toe": 6617,
    "right_small_toe": 6624,
    "right_heel": 6787,
    "left_thumb": 2746,
    "left_index": 2319,
    "left_middle": 2445,
    "left_ring": 2556,
    "left_pinky": 2673,
    "right_thumb": 6191,
    "right_index": 5782,
    "right_middle": 5905,
    "right_ring": 6016,
    "right_pinky": 6133,
}
"""Vertices of SMPL's mesh, by the numbers in common use; the last ten are finger tips."""

_KEYS = ("v_template", "f", "weights", "J_regressor", "kintree_table", "shapedirs", "posedirs")
_OTHER_BODIES = {5: "FLAME", 16: "MANO", 52: "SMPL-H", 55: "SMPL-X"}
_SUFFIXES = {".pkl", ".npz"}
_LICENSED = (
    "The body model {file} belongs to its licensor: what is made with it is subject to the terms "
    "under which the file was obtained (for SMPL: https://smpl.is.tue.mpg.de)."
)


def load_body(path: str | Path | None = None, dtype: torch.dtype = torch.float32) -> BodyModel:
    """A body of SMPL format, on the CPU.

    Without a path: the open body shipped with the package, named `open`. Else an SMPL .pkl (as
    published, or cleaned of chumpy) or .npz file, or a folder, in which (or in its `smpl`) the
    neutral body is looked for; named after the file. Licensed files do not say where the
    keypoints of the face and feet are; for SMPL's 6890 vertices they are known. Raises
    `InputError` for a file that is not a whole SMPL body.
    """
    if path is None:
        asset = resources.files("temporal_hmr") / "assets" / "open_body.npz"
        with resources.as_file(asset) as file:
            return BodyModel(_read_body(file, OPEN_BODY), dtype)
    file = _body_file(Path(path))
    return BodyModel(_read_body(file, file.stem), dtype)


def _body_file(path: Path) -> Path:
    """The file itself, or the neutral body in a folder."""
    if path.is_file():
        return path
    if not path.is_dir():
        raise InputError(f"{path} does not exist; give an SMPL .pkl or .npz file, or its folder")
    bodies = [
        file
        for folder in (path, path / "smpl")
        if folder.is_dir()
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in _SUFFIXES and not file.name.startswith(".")
    ]
    neutral = [file for file in bodies if "neutral" in file.stem.lower()]
    if len(neutral) == 1:
        return neutral[0]
    listed = ", ".join(file.name for file in neutral or bodies)
    found = f"of {listed} none is the one neutral body" if listed else "it has no .pkl or .npz file"
    raise InputError(f"no body can be chosen in the folder {path}: {found}; name the file itself")


def _read_body(file: Path, name: str) -> BodyArrays:
    suffix = file.suffix.lower()
    if suffix not in _SUFFIXES:
        raise InputError(f"{file} is neither .pkl nor .npz, which SMPL bodies come in")
    contents = _read_npz(file) if suffix == ".npz" else load_pickle(file)
    if not isinstance(contents, dict):
        raise InputError(f"{file} is not an SMPL body: it holds no named arrays")
    for key in _KEYS:
        if key not in contents:
            raise InputError(
                f"{file} is not an SMPL body: it has no key {key!r}; give the SMPL file as its "
                "owners publish it"
            )
    return _BodyFile(file, contents).arrays(name)


def _read_npz(file: Path) -> dict[str, ndarray]:
    """The arrays of an SMPL body and those by which our own files describe keypoints."""
    wanted = (*_KEYS, "meta", "vertex_id_names", "vertex_id_values")
    return read_arrays(
        file, lambda names: [key for key in names if key in wanted or key.startswith("regressor_")]
    )


class _BodyFile:
    """The contents of a body file, checked as they are taken out."""

    def __init__(self, file: Path, contents: Mapping[str, object]):
        self._file = file
        self._contents = contents

    def arrays(self, name: str) -> BodyArrays:
        """Everything a body needs; raises `InputError` naming the first thing that is wrong."""
        weights = self._numbers("weights")
        self._check_joints(weights)
        template = self._numbers("v_template", len(weights), 3)
        shapedirs = self._numbers("shapedirs", len(weights), 3, None)[..., :SHAPE_COEFFICIENTS]
        if shapedirs.shape[-1] < SHAPE_COEFFICIENTS:
            self._refuse(
                f"it has {shapedirs.shape[-1]} shape coefficients, not {SHAPE_COEFFICIENTS}"
            )
        regressor = self._numbers("J_regressor", len(SMPL24), len(weights))
        regressors = {
            key.removeprefix("regressor_"): self._numbers(key, None, len(weights))
            for key in self._contents
            if key.startswith("regressor_")
        }
        landmarks = self._landmarks(len(weights))
        if "coco_feet" not in regressors:
            regressors["coco_feet"] = self._coco_feet(regressor)
        if len(regressors["coco_feet"]) != len(COCO23):
            self._refuse(f"its 'regressor_coco_feet' does not have {len(COCO23)} rows")
        return BodyArrays(
            name=name,
            licence=self._licence(),
            v_template=template,
            faces=self._faces(len(weights)),
            shapedirs=shapedirs,
            posedirs=self._numbers("posedirs", len(weights), 3, POSE_FEATURES),
            joint_regressor=regressor,
            weights=weights,
            regressors=regressors,
            landmarks=landmarks,
        )

    def _refuse(self, why: str) -> NoReturn:
        raise InputError(
            f"{self._file} is not an SMPL body: {why}; give an SMPL file with 24 joints as its "
            "owners publish it"
        )

    def _numbers(self, key: str, *shape: int | None) -> ndarray:
        """A finite array of floats; None in `shape` leaves that axis free."""
        value = self._contents[key]
        if isinstance(value, Unread):
            self._refuse(f"its {key!r} is stored as a computation ({value.kind})")
        if sparse.issparse(value):
            value = self._dense(key, value)
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            self._refuse(f"its {key!r} holds no numbers")
        expected = ", ".join("any" if size is None else str(size) for size in shape)
        fits = len(shape) == array.ndim and all(
            size in (None, length) for size, length in zip(shape, array.shape, strict=True)
        )
        if shape and not fits:
            self._refuse(f"the shape of its {key!r} is {array.shape}, not ({expected})")
        if not np.isfinite(array).all():
            self._refuse(f"its {key!r} has entries that are not finite")
        native = array.dtype.newbyteorder("=")
        # torch knows nothing longer than float64.
        wanted = min(np.result_type(native, np.float32), np.dtype(float), key=lambda t: t.itemsize)
        return array.astype(wanted, copy=False)

    def _dense(self, key: str, matrix: Any) -> ndarray:
        """A sparse matrix of believable size as an array."""
        rows, columns = matrix.shape
        if rows * columns > 10**7:
            self._refuse(f"its {key!r} is a matrix of {rows} by {columns}")
        return matrix.toarray()

    def _check_joints(self, weights: ndarray) -> None:
        if weights.ndim != 2:
            self._refuse(f"the shape of its 'weights' is {weights.shape}, not (vertices, 24)")
        count = weights.shape[1]
        if count != len(SMPL24):
            like = f", as {_OTHER_BODIES[count]} has" if count in _OTHER_BODIES else ""
            self._refuse(f"it has {count} joints{like}")
        if not len(weights):
            self._refuse("it has no vertices")
        if np.abs(weights.sum(1) - 1).max() > 1e-3:
            self._refuse("the rows of its 'weights' do not sum to one")
        tree = self._numbers("kintree_table", 2, len(SMPL24))[0].astype(np.int64)
        if tuple(tree[1:]) != SMPL24.parents[1:]:
            self._refuse("its 'kintree_table' is not SMPL's tree of joints")

    def _faces(self, vertices: int) -> ndarray:
        faces = self._numbers("f", None, 3).astype(np.int64)
        if faces.size and not 0 <= faces.min() <= faces.max() < vertices:
            self._refuse(f"its faces 'f' name vertices beyond its {vertices}")
        return faces

    def _landmarks(self, vertices: int) -> dict[str, int]:
        if "vertex_id_names" in self._contents and "vertex_id_values" in self._contents:
            names = np.asarray(self._contents["vertex_id_names"]).tolist()
            numbers = self._numbers("vertex_id_values", len(names)).astype(np.int64).tolist()
            if names and not 0 <= min(numbers) <= max(numbers) < vertices:
                self._refuse("its landmarks 'vertex_id_values' name vertices that it lacks")
            return dict(zip(names, numbers, strict=True))
        return dict(SMPL_LANDMARKS) if vertices == SMPL_VERTICES else {}

    def _coco_feet(self, joint_regressor: Float[ndarray, "24 V"]) -> Float[ndarray, "23 V"]:
        """Keypoints of the limbs as the regressed joints, of face and feet as single vertices."""
        vertices = joint_regressor.shape[1]
        if vertices != SMPL_VERTICES:
            self._refuse(
                f"it has {vertices} vertices, not {SMPL_VERTICES}, and no key "
                "'regressor_coco_feet' that says where its keypoints are"
            )
        rows = np.zeros((len(COCO23), vertices), joint_regressor.dtype)
        for row, name in zip(rows, COCO23.joints, strict=True):
            if name in SMPL_LANDMARKS:
                row[SMPL_LANDMARKS[name]] = 1
            else:
                row[:] = joint_regressor[SMPL24.index(name)]
        return rows

    def _licence(self) -> str:
        """What the file says of itself, or that it belongs to somebody."""
        if "meta" not in self._contents:
            return _LICENSED.format(file=self._file.name)
        try:
            return str(json.loads(str(self._contents["meta"]))["licence"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"the description 'meta' in {self._file} states no licence; get the file anew"
            ) from error
