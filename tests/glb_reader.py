"""GLB files as any viewer reads them: pygltflib for the container, glTF's equations in numpy.

Nothing of the package is used, and nothing is known of what wrote the file.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pygltflib
from numpy import ndarray
from scipy.spatial.transform import Rotation, Slerp

_COMPONENTS = {5121: np.uint8, 5123: np.uint16, 5125: np.uint32, 5126: np.float32}
_SIZES = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}
_DEFAULTS = {"translation": (0, 0, 0), "rotation": (0, 0, 0, 1), "scale": (1, 1, 1)}


class Glb:
    """One file, posed at any time."""

    def __init__(self, path: Path):
        self.gltf: Any = pygltflib.GLTF2().load_binary(str(path))
        self.blob: bytes = self.gltf.binary_blob()
        self._matrices: dict[tuple[int, float], ndarray] = {}

    def named(self, name: str) -> int:
        """The number of a node."""
        return [node.name for node in self.gltf.nodes].index(name)

    def array(self, number: int) -> ndarray:
        accessor = self.gltf.accessors[number]
        view = self.gltf.bufferViews[accessor.bufferView]
        start = (view.byteOffset or 0) + (accessor.byteOffset or 0)
        size = _SIZES[accessor.type]
        dtype = _COMPONENTS[accessor.componentType]
        flat = np.frombuffer(self.blob, dtype, accessor.count * size, start)
        return flat.reshape(accessor.count, size) if size > 1 else flat

    @cached_property
    def parents(self) -> dict[int, int]:
        return {
            child: number
            for number, node in enumerate(self.gltf.nodes)
            for child in node.children or ()
        }

    @cached_property
    def channels(self) -> dict[tuple[int, str], tuple[ndarray, ndarray, str]]:
        """Times, values and interpolation of what is animated, by node and property."""
        (animation,) = self.gltf.animations
        found = {}
        for channel in animation.channels:
            sampler = animation.samplers[channel.sampler]
            times, values = self.array(sampler.input), self.array(sampler.output)
            key = (channel.target.node, channel.target.path)
            found[key] = (times, values.reshape(len(times), -1), sampler.interpolation)
        return found

    def value(self, node: int, path: str, time: float) -> ndarray:
        """A property of a node at a time, held before the first key and after the last."""
        if (node, path) not in self.channels:
            given = getattr(self.gltf.nodes[node], path, None)
            return np.array(_DEFAULTS[path] if given is None else given, float)
        times, values, how = self.channels[node, path]
        time = float(np.clip(time, times[0], times[-1]))
        before = max(int(np.searchsorted(times, time, side="right")) - 1, 0)
        if how == "STEP" or before == len(times) - 1 or time == times[before]:
            return values[before].astype(float)
        if path == "rotation":
            turns = Rotation.from_quat(values[before : before + 2])
            return Slerp(times[before : before + 2], turns)(time).as_quat()
        share = (time - times[before]) / (times[before + 1] - times[before])
        return (1 - share) * values[before].astype(float) + share * values[before + 1]

    def matrix(self, node: int, time: float) -> ndarray:
        """From the node's own frame to the scene's."""
        if (node, time) in self._matrices:
            return self._matrices[node, time]
        local = np.eye(4)
        turn = Rotation.from_quat(self.value(node, "rotation", time)).as_matrix()
        local[:3, :3] = turn * self.value(node, "scale", time)
        local[:3, 3] = self.value(node, "translation", time)
        parent = self.parents.get(node)
        if parent is not None:
            local = self.matrix(parent, time) @ local
        self._matrices[node, time] = local
        return local

    def vertices(self, name: str, time: float) -> ndarray:
        """Of a skinned mesh node, in the scene: morphed, then skinned."""
        node = self.gltf.nodes[self.named(name)]
        mesh, skin = self.gltf.meshes[node.mesh], self.gltf.skins[node.skin]
        (primitive,) = mesh.primitives
        points = self.array(primitive.attributes.POSITION).astype(float)
        if primitive.targets:
            weights = self.value(self.named(name), "weights", time)
            for weight, target in zip(weights, primitive.targets, strict=True):
                number = target["POSITION"] if isinstance(target, dict) else target.POSITION
                points += weight * self.array(number)
        inverse = self.array(skin.inverseBindMatrices).reshape(-1, 4, 4).swapaxes(1, 2)
        joints = np.stack([self.matrix(joint, time) for joint in skin.joints]) @ inverse
        homogeneous = np.concatenate([points, np.ones((len(points), 1))], 1)
        posed = np.zeros((len(points), 3))
        number = 0
        while getattr(primitive.attributes, f"JOINTS_{number}", None) is not None:
            which = self.array(getattr(primitive.attributes, f"JOINTS_{number}"))
            shares = self.array(getattr(primitive.attributes, f"WEIGHTS_{number}"))
            blended = np.einsum("vk,vkij->vij", shares, joints[which])
            posed += np.einsum("vij,vj->vi", blended, homogeneous)[:, :3]
            number += 1
        return posed
