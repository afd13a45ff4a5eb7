"""A body's surface at three resolutions, as METRO's family of networks predicts it.

For SMPL these are the 431, 1723 and 6890 vertices of METRO (Lin et al., CVPR 2021), whose matrices
come in a file of theirs; the open body carries its own, nested in its 6656 vertices.
"""

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from scipy import sparse
from torch import Tensor, nn

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.load import OPEN_BODY
from temporal_hmr.body.model import BodyModel
from temporal_hmr.errors import InputError
from temporal_hmr.pickles import READERS, DataUnpickler, Reader, Record, Resolve, damage_named

_LARGEST_MEMBER = 2**28
"""METRO's file holds a few megabytes; more than so many bytes in one member is no mesh."""


@dataclass(frozen=True, eq=False)
class CoarseMesh:
    """Which coarse vertices are neighbours, and the maps between C coarse, M middle, V vertices."""

    neighbours: Bool[ndarray, "C C"]
    """True for vertices that share an edge, and for each vertex itself."""
    middle_faces: Int[ndarray, "F 3"]
    """Triangles of the middle mesh."""
    coarse_to_middle: sparse.csr_matrix
    """M x C."""
    middle_to_full: sparse.csr_matrix
    """V x M."""
    full_to_middle: sparse.csr_matrix
    """M x V."""
    full_to_coarse: sparse.csr_matrix
    """C x V."""

    def counts(self) -> tuple[int, int, int]:
        """Numbers of coarse, middle and all vertices."""
        middle, coarse = _shape(self.coarse_to_middle)
        return coarse, middle, _shape(self.middle_to_full)[0]


class VertexMap(nn.Module):
    """A fixed matrix with few entries in each row, applied along the vertex axis.

    Not a sparse tensor: those cannot be broadcast between processes.
    """

    columns: Int[Tensor, "entries rows"]
    weights: Float[Tensor, "entries rows 1"]

    def __init__(self, matrix: sparse.csr_matrix):
        super().__init__()
        rows = sparse.csr_matrix(matrix)
        filled = np.diff(rows.indptr)
        place = np.arange(rows.nnz) - np.repeat(rows.indptr[:-1], filled)
        row = np.repeat(np.arange(len(filled)), filled)
        columns = np.zeros((filled.max(initial=1), len(filled)), np.int64)
        weights = np.zeros(columns.shape, np.float32)
        columns[place, row] = rows.indices
        weights[place, row] = rows.data
        self.register_buffer("columns", torch.as_tensor(columns), persistent=False)
        self.register_buffer("weights", torch.as_tensor(weights)[..., None], persistent=False)

    def forward(self, points: Float[Tensor, "*b columns 3"]) -> Float[Tensor, "*b rows 3"]:
        result = points[..., self.columns[0], :] * self.weights[0]
        # Entry by entry: all at once would take as many times the memory of a full mesh.
        for column, weight in zip(self.columns[1:], self.weights[1:], strict=True):
            result = torch.addcmul(result, points.index_select(-2, column), weight)
        return result


def load_coarse_mesh(body: BodyModel, path: str | Path | None = None) -> CoarseMesh:
    """The coarse meshes of a body; `path` is METRO's `mesh_downsampling.npz`, for SMPL bodies.

    Raises `InputError` if a licensed body comes without that file, or the file is damaged or made
    for another body.
    """
    if body.name == OPEN_BODY:
        return _open_coarse_mesh()
    if path is None:
        raise InputError(
            f"the coarse meshes of the body {body.name} are not in its file: give the path of "
            "METRO's mesh_downsampling.npz, or use the open body"
        )
    mesh = _metro_coarse_mesh(Path(path))
    if mesh.counts()[-1] != len(body.v_template):
        raise InputError(
            f"{path} is for a body of {mesh.counts()[-1]} vertices, but {body.name} has "
            f"{len(body.v_template)}; give the file for this body"
        )
    return mesh


def edges_of(faces: Int[ndarray, "F 3"]) -> Int[ndarray, "E 2"]:
    """Each edge of a triangle mesh once, its lower vertex first."""
    pairs = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.unique(np.sort(pairs, axis=1), axis=0)


def neighbours_in(faces: Int[ndarray, "F 3"], count: int) -> Bool[ndarray, "C C"]:
    """Which of `count` vertices share an edge, and each with itself."""
    near = np.eye(count, dtype=bool)
    first, second = edges_of(faces).T
    near[first, second] = near[second, first] = True
    return near


def _shape(matrix: Any) -> tuple[int, int]:
    """Rows and columns, which scipy's own types leave open."""
    return matrix.shape


def _open_coarse_mesh() -> CoarseMesh:
    keys = [
        *("coarse_431_index", "coarse_431_faces", "coarse_1723_index", "coarse_1723_faces"),
        *("upsample_431_1723", "upsample_1723_full"),
    ]
    asset = resources.files("temporal_hmr") / "assets" / "open_body.npz"
    with resources.as_file(asset) as file:
        coarse, coarse_faces, middle, middle_faces, to_middle, to_full = read_arrays(
            file, lambda names: keys
        ).values()
    return CoarseMesh(
        neighbours=neighbours_in(coarse_faces, len(coarse)),
        middle_faces=middle_faces.astype(np.int64),
        coarse_to_middle=sparse.csr_matrix(to_middle),
        middle_to_full=sparse.csr_matrix(to_full),
        full_to_middle=_selection(middle, len(to_full)),
        full_to_coarse=_selection(coarse, len(to_full)),
    )


def _selection(chosen: Int[ndarray, "n"], count: int) -> sparse.csr_matrix:
    """The matrix that picks the `chosen` out of `count` vertices."""
    rows = np.arange(len(chosen))
    return sparse.csr_matrix((np.ones(len(chosen)), (rows, chosen)), (len(chosen), count))


def _metro_coarse_mesh(path: Path) -> CoarseMesh:
    """METRO's file: arrays A, D, U of sparse matrices, from the full mesh down.

    A says which vertices are neighbours, D takes points one level down and U one level up.
    """
    with damage_named(path):
        try:
            with zipfile.ZipFile(path) as archive:
                a, d, u = (_matrices(archive, name) for name in "ADU")
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise ValueError(str(error)) from error
        full, middle, coarse = (_shape(matrix)[0] for matrix in a[:3])
        expected = [(full, middle), (middle, coarse)]
        shapes = [_shape(matrix) for matrix in u[:2]]
        if shapes != expected or [_shape(matrix)[::-1] for matrix in d[:2]] != expected:
            raise InputError(f"holds matrices that do not fit each other ({shapes}); get it anew")
        return CoarseMesh(
            neighbours=_symmetric(a[2]).toarray() | np.eye(coarse, dtype=bool),
            middle_faces=_triangles(_symmetric(a[1])),
            coarse_to_middle=u[1],
            middle_to_full=u[0],
            full_to_middle=d[0],
            full_to_coarse=sparse.csr_matrix(d[1] @ d[0]),
        )


def _symmetric(adjacency: sparse.csr_matrix) -> sparse.csr_matrix:
    return sparse.csr_matrix(adjacency + adjacency.T, dtype=bool)


def _triangles(adjacency: sparse.csr_matrix) -> Int[ndarray, "F 3"]:
    """All triples of mutual neighbours: the faces, for the file need not name them."""
    near = [
        set(adjacency.indices[begin:end].tolist())
        for begin, end in zip(adjacency.indptr, adjacency.indptr[1:], strict=False)
    ]
    found = [
        (i, j, k)
        for i, around in enumerate(near)
        for j in sorted(around)
        if j > i
        for k in sorted(around & near[j])
        if k > j
    ]
    return np.array(found, np.int64).reshape(-1, 3)


def _matrices(archive: zipfile.ZipFile, name: str) -> list[sparse.csr_matrix]:
    """An array of sparse matrices, whose pickle is read as data."""
    info = archive.getinfo(f"{name}.npy")
    if info.file_size > _LARGEST_MEMBER:
        raise ValueError(f"{name} would take {info.file_size} bytes")
    stream = io.BytesIO(archive.read(info))
    version = np.lib.format.read_magic(stream)
    read_header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[version]
    if not read_header(stream)[2].hasobject:
        raise InputError(f"is not METRO's: its {name} holds no matrices")
    held = _MatrixUnpickler(stream.read()).read()
    matrices = list(np.ravel(held)) if isinstance(held, ndarray) else []
    if not matrices or not all(sparse.issparse(matrix) for matrix in matrices):
        raise InputError(f"is not METRO's: its {name} holds no matrices")
    return [sparse.csr_matrix(matrix) for matrix in matrices]


def _coordinates(record: Record, resolve: Resolve) -> Any:
    """A scipy matrix in coordinate form, of old and new scipy; it checks them as it is built."""
    state = resolve(record.state)
    shape = state["_shape"] if "_shape" in state else state["shape"]
    places = state["coords"] if "coords" in state else (state["row"], state["col"])
    return sparse.coo_matrix((state["data"], places), shape=shape)


class _MatrixUnpickler(DataUnpickler):
    """Knows sparse matrices in coordinate form too."""

    readers: ClassVar[Mapping[str, Reader]] = {
        **READERS,
        "scipy.sparse.coo.coo_matrix": _coordinates,
        "scipy.sparse._coo.coo_matrix": _coordinates,
    }
