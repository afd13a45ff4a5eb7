"""A glTF 2.0 scene in the making: its objects, and the one binary chunk that they point into."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from temporal_hmr.output.npz import atomic_path, package_version

_TYPES = {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}
_COMPONENTS = {"float32": 5126, "uint8": 5121, "uint32": 5125}
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
        self._chunk = bytearray()

    def node(self, root: bool = False, **properties: Any) -> int:
        """A new node, of the scene itself if it is a root."""
        import pygltflib

        self.gltf.nodes.append(pygltflib.Node(**properties))
        number = len(self.gltf.nodes) - 1
        if root:
            self.gltf.scenes[0].nodes.append(number)
        return number

    def array(self, values: ndarray, target: int | None = None, bounds: bool = False) -> int:
        """A new accessor of the rows of an array: float32, uint8 or uint32.

        `target` is `VERTICES` or `INDICES` for what a mesh is made of; `bounds` states the least
        and the largest values, which glTF asks of positions and times.
        """
        import pygltflib

        rows = np.ascontiguousarray(values).reshape(len(values), -1)
        self._chunk += bytes(-len(self._chunk) % 4)
        view = pygltflib.BufferView(
            buffer=0, byteOffset=len(self._chunk), byteLength=rows.nbytes, target=target
        )
        self._chunk += rows.tobytes()
        self.gltf.bufferViews.append(view)
        accessor = pygltflib.Accessor(
            bufferView=len(self.gltf.bufferViews) - 1,
            componentType=_COMPONENTS[rows.dtype.name],
            count=len(rows),
            type=_TYPES[rows.shape[1]],
            min=rows.min(0).tolist() if bounds else [],
            max=rows.max(0).tolist() if bounds else [],
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
        """As GLB; all of the file appears, or nothing.

        Raises `InputError` if the place cannot be written to.
        """
        import pygltflib

        self._chunk += bytes(-len(self._chunk) % 4)
        self.gltf.buffers = [pygltflib.Buffer(byteLength=len(self._chunk))]
        self.gltf.set_binary_blob(bytes(self._chunk))
        with atomic_path(path) as temporary:
            temporary.write_bytes(b"".join(self.gltf.save_to_bytes()))
