"""Whose body a file holds, told by its content: its name and suffix are only compared with that."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.load import SMPL_LANDMARKS, SMPL_VERTICES, load_body
from temporal_hmr.diagnosis.file_kinds import file_kind
from temporal_hmr.errors import InputError
from temporal_hmr.pickles import Unread, load_pickle

SHAPES_BY_VERSION = {10: "1.0.0", 300: "1.1.0"}
"""SMPL's two releases, by how many shape coefficients their files hold."""
PELVIS_AT_REST = {
    "male": (-0.0022, -0.2408, 0.0286),
    "neutral": (-0.0018, -0.2233, 0.0282),
    "female": (-0.0009, -0.2114, 0.0278),
}
"""Metres. Where the pelvis of each of SMPL's mean bodies stands, as published in many a program."""
_SURE, _LIKELY = 0.001, 0.004
"""Metres from one of those places; they are 12 and 17 mm apart."""
_FAMILIES = {
    (24, 6890): "SMPL",
    (52, 6890): "SMPL-H",
    (55, 10475): "SMPL-X",
    (75, 10475): "SUPR",
    (16, 778): "MANO",
    (5, 5023): "FLAME",
}
"""By numbers of joints and vertices."""
_SMPL_POSEDIRS, _STAR_POSEDIRS = 207, 93
_ARRAYS = ("v_template", "weights", "shapedirs", "posedirs", "J_regressor", "f")
_TEMPLATES = (*_ARRAYS, "gender")
_MIRRORED = (("left_ear", "right_ear"), ("left_heel", "right_heel"), ("left_eye", "right_eye"))


@dataclass(frozen=True)
class BodyFile:
    """What a file turned out to be."""

    path: str
    kind: str
    """How it is written: npz, pickle, zip, web page and so on."""
    family: str = ""
    """SMPL, SMPL-H, SMPL-X, MANO, FLAME, STAR, SUPR, "SMPL format"; empty if it is no body."""
    version: str = ""
    """1.0.0 or 1.1.0 of SMPL, as far as the number of shape coefficients tells."""
    shapes: int = 0
    """Shape coefficients."""
    gender: str = ""
    """male, female or neutral; empty if the content does not tell."""
    gender_by: str = ""
    """What tells it."""
    gender_sure: bool = False
    sha256: str = ""
    """Of the arrays of a body of SMPL's format, in single precision: the same in every file."""
    chumpy: bool = False
    """Whether it is a pickle that others need chumpy to read."""
    fault: str = ""
    """Why `--body` would refuse it, and what to do; empty if it takes it."""
    hostile: bool = False
    """Whether reading it as others do would run something."""


def identify(path: str) -> dict[str, Any]:
    """The `BodyFile` at a path, as plain data. Nothing in the file is run."""
    return asdict(_identified(Path(path)))


def _identified(path: Path) -> BodyFile:
    kind = file_kind(path)
    if kind not in ("npz", "pickle"):
        return BodyFile(str(path), kind, fault=_NO_BODIES.get(kind, "it is no npz and no pickle"))
    try:
        contents = _contents(path, kind)
    except InputError as error:
        words = " ".join(str(error).replace(str(path), "it").split())
        return BodyFile(str(path), kind, fault=words, hostile="refusing to run" in words)
    if not isinstance(contents, Mapping):
        return BodyFile(str(path), kind)
    return _described(path, kind, contents)


_NO_BODIES = {
    "zip": "it is an archive: unpack it and give the .pkl or .npz files in it",
    "web page": "it is a web page saved under this name: log in where SMPL is published, download "
    "it again",
    "git-lfs pointer": "it only points to the file: run `git lfs pull` where it came from",
    "empty": "it is empty: download it again",
    "gzip": "it is compressed with gzip: unpack it",
}


def _contents(path: Path, kind: str) -> object:
    if kind == "pickle":
        return load_pickle(path)
    listed: list[str] = []

    def choose(names: list[str]) -> list[str]:
        listed.extend(names)
        return [name for name in names if name in _TEMPLATES] if "v_template" in names else []

    return {**dict.fromkeys(listed), **read_arrays(path, choose)}


def _described(path: Path, kind: str, contents: Mapping[Any, Any]) -> BodyFile:
    family, shapes = _family(contents), _last(contents, "shapedirs")
    common = BodyFile(
        path=str(path),
        kind=kind,
        family=family,
        shapes=shapes,
        chumpy=kind == "pickle" and _needs_chumpy(path),
    )
    if family not in ("SMPL", "SMPL format"):
        fault = f"it is {family}, not SMPL, and cannot be used here" if family else ""
        return _with(common, fault=fault)
    if family == "SMPL" and not _numbered_as_smpl(contents):
        return _with(
            common,
            family="SMPL format",
            fault=_refusal(path, kind)
            or "its vertices are not numbered as SMPL's, so its keypoints would be elsewhere",
        )
    common = _with(common, sha256=_arrays_hash(contents))
    gender, by, sure = _gender(contents) if family == "SMPL" else ("", "", False)
    return _with(
        common,
        version=SHAPES_BY_VERSION.get(shapes, "") if family == "SMPL" else "",
        gender=gender,
        gender_by=by,
        gender_sure=sure,
        fault=_refusal(path, kind),
    )


def _with(found: BodyFile, **changes: Any) -> BodyFile:
    return BodyFile(**{**asdict(found), **changes})


def _family(contents: Mapping[Any, Any]) -> str:
    """Empty if there is no template of a body."""
    vertices = _length(contents, "v_template")
    if not vertices:
        return ""
    pose_features = _last(contents, "posedirs")
    if vertices == SMPL_VERTICES and pose_features == _STAR_POSEDIRS:
        return "STAR"
    joints = _last(contents, "weights")
    if (joints, vertices) in _FAMILIES:
        return _FAMILIES[joints, vertices]
    if joints == 24 and pose_features == _SMPL_POSEDIRS:
        return "SMPL format"
    return f"a body of {joints or 'unknown'} joints and {vertices} vertices"


def _shape(contents: Mapping[Any, Any], key: str) -> tuple[int, ...]:
    shape = getattr(contents.get(key), "shape", ())
    return tuple(shape) if isinstance(shape, tuple) else ()


def _length(contents: Mapping[Any, Any], key: str) -> int:
    return next(iter(_shape(contents, key)), 0)


def _last(contents: Mapping[Any, Any], key: str) -> int:
    return next(iter(_shape(contents, key)[::-1]), 0)


def _numbered_as_smpl(contents: Mapping[Any, Any]) -> bool:
    """Whether vertices that bear names in SMPL lie where such parts of a body must."""
    template = _floats(contents, "v_template")
    if template is None or template.shape != (SMPL_VERTICES, 3) or not np.isfinite(template).all():
        return False
    place = {name: template[number] for name, number in SMPL_LANDMARKS.items()}
    for left, right in _MIRRORED:
        if np.abs(place[left] * (-1, 1, 1) - place[right]).max() > 0.03:
            return False
    height = template[:, 1].max() - template[:, 1].min()
    upright = place["nose"][1] - place["left_heel"][1] > 0.75 * height
    facing = place["nose"][2] > (place["left_ear"] + place["right_ear"])[2] / 2
    return bool(0.4 < height < 2.2 and upright and facing and place["left_ear"][0] > 0)


def _gender(contents: Mapping[Any, Any]) -> tuple[str, str, bool]:
    """Gender, what tells it, and whether that is sure; empty if nothing does."""
    stated = contents.get("gender")
    if stated is not None and str(np.asarray(stated)) in PELVIS_AT_REST:
        return str(np.asarray(stated)), "the file states it", True
    template, regressor = _floats(contents, "v_template"), _floats(contents, "J_regressor")
    if template is None or regressor is None or regressor.shape[1:] != template.shape[:1]:
        return "", "", False
    pelvis = regressor[0] @ template
    distances = {
        gender: float(np.linalg.norm(pelvis - place)) for gender, place in PELVIS_AT_REST.items()
    }
    nearest = min(distances, key=lambda gender: distances[gender])
    if distances[nearest] > _LIKELY:
        return "", f"its pelvis is {1000 * distances[nearest]:.0f} mm from any known", False
    by = f"its pelvis stands where that of the {nearest} SMPL does"
    return nearest, by, distances[nearest] <= _SURE


def _arrays_hash(contents: Mapping[Any, Any]) -> str:
    hashed = hashlib.sha256()
    for key in _ARRAYS:
        array = _numbers(contents, key)
        if array is not None:
            hashed.update(f"{key} {array.shape}".encode())
            hashed.update(array.astype(np.float32).tobytes())
    return hashed.hexdigest()


def _floats(contents: Mapping[Any, Any], key: str) -> ndarray | None:
    """None unless it is a matrix of numbers."""
    array = _numbers(contents, key)
    return None if array is None or array.ndim != 2 else array.astype(np.float64)


def _numbers(contents: Mapping[Any, Any], key: str) -> ndarray | None:
    """None unless it is an array of numbers."""
    value = contents.get(key)
    if value is None or isinstance(value, Unread):
        return None
    dense = value.toarray() if hasattr(value, "toarray") else np.asarray(value)
    return dense if dense.dtype.kind in "fiu" else None


def _refusal(path: Path, kind: str) -> str:
    """What `--body` would say against the file; empty if it takes it."""
    proper = {"npz": ".npz", "pickle": ".pkl"}[kind]
    if path.suffix.lower() != proper:
        return f"it is written as {proper} but named {path.name}: rename it {path.stem}{proper}"
    try:
        load_body(path)
    except InputError as error:
        return " ".join(str(error).replace(str(path), "it").split())
    return ""


def _needs_chumpy(path: Path) -> bool:
    return b"chumpy" in path.read_bytes()
