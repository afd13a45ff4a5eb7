"""A glTF 2.0 scene in the making: its objects, and the arrays that they point into."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from temporal_hmr.errors import InputError
from temporal_hmr.on_disk import chunks
from temporal_hmr.output.npz import atomic_path, package_version

_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_COMPONENTS = {"float32": 5126, "uint8": 5121, "uint32": 5125}
_ALIGNMENT = 4
_VERSION = 2
_HEADER, _CHUNK_HEADER = struct.Struct("<4sII"), struct.Struct("<I4s")
_LARGEST = 2**32 - 1
"""Bytes that a GLB can say it has."""
VERTICES, INDICES = 34962, 34963
"""What a buffer view is for: attributes of vertices, or the corners of triangles."""


class GltfFile:
    """Collects nodes, meshes and arrays; everything is named by its place in a list, as in glTF."""

    def __init__(self, licence: str) -> None:
        """`licence` is what whoever uses the file should know of the rights in it."""
        import pygltflib

        asset = pygltflib.Asset(
            version="2.0", generator=f"temporal_hmr {package_version()}", copyright=licence
        )
        self.gltf: Any = pygltflib.GLTF2(asset=asset, scene=0, scenes=[pygltflib.Scene()])
        self._arrays: list[tuple[int, ndarray]] = []
        self._size = 0

    def node(self, root: bool = False, **properties: Any) -> int:
        """A new node, of the scene itself if it is a root."""
        import pygltflib

        self.gltf.nodes.append(pygltflib.Node(**properties))
        number = len(self.gltf.nodes) - 1
        if root:
            self.gltf.scenes[0].nodes.append(number)
        return number

    def array(self, values: ndarray, target: int | None = None, bounds: bool = False) -> int:
        """A new accessor of the rows of an array: uint8, uint32, or floats, which become float32.

        The array must stay as it is until the file is written. `target` is `VERTICES` or `INDICES`
        for what a mesh is made of; `bounds` states the least and the largest values, which glTF
        asks of positions and times.
        """
        import pygltflib

        rows = values.reshape(len(values), -1)
        kind = np.dtype(np.float32) if rows.dtype.kind == "f" else rows.dtype
        size = rows.size * kind.itemsize
        begin = self._size + -self._size % _ALIGNMENT
        self._arrays.append((begin, rows))
        self._size = begin + size
        view = pygltflib.BufferView(buffer=0, byteOffset=begin, byteLength=size, target=target)
        self.gltf.bufferViews.append(view)
        accessor = pygltflib.Accessor(
            bufferView=len(self.gltf.bufferViews) - 1,
            componentType=_COMPONENTS[kind.name],
            count=len(rows),
            type=_TYPES[rows.shape[1]],
            min=rows.min(0).astype(kind).tolist() if bounds else [],
            max=rows.max(0).astype(kind).tolist() if bounds else [],
        )
        self.gltf.accessors.append(accessor)
        return len(self.gltf.accessors) - 1

    def animate(self, node: int, path: str, times: int, values: int, steps: bool = False) -> None:
        """Let a property of a node follow keys; linearly between them, or in steps.

        All of it goes into one animation, so that everybody moves together.
        """
        import pygltflib

        if not self.gltf.animations:
            self.gltf.animations.append(pygltflib.Animation(name="motion"))
        animation = self.gltf.animations[0]
        how = "STEP" if steps else "LINEAR"
        sampler = pygltflib.AnimationSampler(input=times, output=values, interpolation=how)
        animation.samplers.append(sampler)
        target = pygltflib.AnimationChannelTarget(node=node, path=path)
        number = len(animation.samplers) - 1
        animation.channels.append(pygltflib.AnimationChannel(sampler=number, target=target))

    def write(self, path: Path) -> None:
        """As GLB, arrays some rows at a time; all of the file appears, or nothing.

        Raises `InputError` if the place cannot be written to, or a GLB cannot be so large.
        """
        import pygltflib

        size = self._size + -self._size % _ALIGNMENT
        self.gltf.buffers = [pygltflib.Buffer(byteLength=size)]
        scene = self.gltf.gltf_to_json(separators=(",", ":"), indent=None).encode()
        scene += b" " * (-len(scene) % _ALIGNMENT)
        length = _HEADER.size + 2 * _CHUNK_HEADER.size + len(scene) + size
        if length > _LARGEST:
            raise InputError(
                f"a GLB holds 4 GB at most, and {path.name} would have {length / 1e9:.1f}: export "
                "people one at a time (give person_000.npz instead of the folder)"
            )
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            file.write(_HEADER.pack(b"glTF", _VERSION, length))
            file.write(_CHUNK_HEADER.pack(len(scene), b"JSON") + scene)
            file.write(_CHUNK_HEADER.pack(size, b"BIN\0"))
            file.writelines(self._content())
            file.write(bytes(size - self._size))

    def _content(self) -> Iterator[bytes]:
        done = 0
        for begin, rows in self._arrays:
            yield bytes(begin - done)
            done = begin
            for part in chunks(len(rows), rows):
                some = rows[part]
                some = some.astype(np.float32) if some.dtype.kind == "f" else some
                yield some.tobytes()
                done += some.nbytes
