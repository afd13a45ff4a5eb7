"""SMPL files of any age as plain arrays: an npz for `--body`, a pickle of numpy's for `smplx`.

smplx's SMPL reads pickles only (its version 0.1.28); one without chumpy's types needs no chumpy.
"""

import json
import os
import pickle
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy import ndarray

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.checkpoint import file_hash
from temporal_hmr.diagnosis.file_kinds import file_kind
from temporal_hmr.errors import InputError
from temporal_hmr.pickles import load_pickle

KEYS = ("v_template", "f", "weights", "J_regressor", "kintree_table", "shapedirs", "posedirs")
TOLERANCE = 1e-6
"""Metres by which a vertex of the converted body may differ."""
FOR_SMPLX = Path("for_smplx", "smpl")
"""Where `smplx.create(FOLDER / "for_smplx", "smpl")` looks."""
_CHECKED_POSES = 4


def convert(order: str) -> dict[str, Any]:
    """Convert one file; `order` is JSON with its `source`, a `folder`, a `name` and a `gender`.

    Returns the paths written and by how much (m) vertices differ from the original's, in our body
    and in smplx's (None where that is not installed). Raises `InputError` if the file is no SMPL
    body, something else is in the place, or the result differs: then nothing is left behind.
    """
    told = json.loads(order)
    source, folder = Path(told["source"]), Path(told["folder"])
    npz, pkl = folder / f"{told['name']}.npz", folder / FOR_SMPLX / f"{told['name']}.pkl"
    for path in (npz, pkl):
        if path.exists():
            raise InputError(f"{path} is there already: move it away, or choose another folder")
    with _properly_named(source) as proper:
        body = load_body(proper, torch.float64)
        arrays = _arrays(proper)
    # The name that the body has in results is that of the file.
    licence = body.licence.replace(f"{source.stem}{proper.suffix}", source.name)
    meta = {"licence": licence, "converted_from": source.name, "sha256": file_hash(source)}
    extras = {"meta": np.array(json.dumps(meta))}
    if told.get("gender"):
        extras["gender"] = np.array(told["gender"])
    try:
        pkl.parent.mkdir(parents=True, exist_ok=True)
        with _whole(npz) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays, **extras)
        with _whole(pkl) as partial, partial.open("wb") as file:
            pickle.dump(arrays, file, protocol=2)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror or error}") from error
    differences = _differences(body, npz, pkl)
    if max(value for value in differences.values() if value is not None) > TOLERANCE:
        npz.unlink()
        pkl.unlink()
        raise InputError(f"{source} comes out changed ({differences}); nothing was written")
    return {"npz": str(npz), "pkl": str(pkl), **differences}


@contextmanager
def _properly_named(source: Path) -> Iterator[Path]:
    """The file under a suffix that fits its content."""
    suffix = {"npz": ".npz", "pickle": ".pkl"}.get(file_kind(source))
    if suffix is None:
        raise InputError(f"{source} is no npz and no pickle")
    if source.suffix.lower() == suffix:
        yield source
        return
    with tempfile.TemporaryDirectory() as place:
        yield Path(shutil.copyfile(source, Path(place) / f"{source.stem}{suffix}"))


def _arrays(file: Path) -> dict[str, ndarray]:
    """What a body needs, in the precision that it is stored in."""
    if file.suffix.lower() == ".npz":
        return read_arrays(file, lambda names: [name for name in names if name in KEYS])
    contents: Any = load_pickle(file)
    dense = {
        key: contents[key].toarray() if hasattr(contents[key], "toarray") else contents[key]
        for key in KEYS
    }
    return {key: np.ascontiguousarray(value) for key, value in dense.items()}


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    """All of the file appears, or nothing."""
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _differences(body: BodyModel, npz: Path, pkl: Path) -> dict[str, float | None]:
    """The largest between vertices, over random poses and shapes, metres."""
    draw = torch.Generator().manual_seed(0)
    poses, betas, places = (
        torch.randn(_CHECKED_POSES, size, generator=draw, dtype=torch.float64)
        for size in (72, 10, 3)
    )
    smpl = SmplParams.from_poses(0.3 * poses, betas, places)
    expected = body.vertices(smpl)
    converted = load_body(npz, torch.float64).vertices(smpl)
    ours = float((converted - expected).abs().max())
    try:
        import smplx
    except ImportError:
        return {"difference": ours, "smplx_difference": None}
    # Which vertices are its further joints is a matter of SMPL's mesh, and none of ours here.
    theirs = smplx.SMPL(
        str(pkl), vertex_ids=_any_vertices(), dtype=torch.float64, batch_size=_CHECKED_POSES
    )(
        betas=smpl.betas,
        body_pose=smpl.body_pose,
        global_orient=smpl.global_orient[:, None],
        transl=smpl.transl,
        pose2rot=False,
    )
    return {
        "difference": ours,
        "smplx_difference": float((theirs.vertices - expected).abs().max()),
    }


def _any_vertices() -> dict[str, int]:
    from smplx.vertex_ids import vertex_ids

    return dict.fromkeys(vertex_ids["smplh"], 0)
