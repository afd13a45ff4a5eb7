"""Everybody in one animated GLB (glTF 2.0): what Blender, Unity, Unreal and browsers open.

Metres and seconds, y up. The camera stands at the origin and looks along -z, as it filmed; people
are in front of it, at -z. Where the result has a world, everybody is in that, and the camera where
it stands in it; people stand on the ground and feet rest there, which puts them a few pixels, and
decimetres of depth, beside where the camera saw them. Each person is a skinned mesh on SMPL's 24
joints, `person_000_pelvis` and so on, at rest in SMPL's zero pose. Keys are at the presentation
times of the frames: rotations of all joints, the place of the pelvis, and the weights of a few
morph targets, which are SMPL's pose blend shapes (`correctives`). Following glTF's equations a
reader gets the body's own vertices.

A vertex may hang on more than four joints; then the larger four weights are in WEIGHTS_0 and the
others in WEIGHTS_1, which some viewers (three.js) leave out, at a loss of 0.05 mm on average with
the open body; SMPL's own weights are four at most. A person who is absent has the scale zero. What
glTF's cameras cannot say, a principal point off the centre, is left out.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.on_disk import chunks, scratch, zeros
from temporal_hmr.output.correctives import Correctives, principal_correctives
from temporal_hmr.output.exported import Exported
from temporal_hmr.output.gltf_file import INDICES, VERTICES, GltfFile
from temporal_hmr.output.overlay import person_color
from temporal_hmr.rasterize import Surface
from temporal_hmr.rotation import matrix_to_quaternion
from temporal_hmr.skeleton import SMPL24

_LEAST_WEIGHT = 1e-5
"""Smaller skinning weights are left out: over the size of a body they move nothing by 0.1 mm."""
_PER_SET = 4
_NEAR, _FAR = 0.01, 1000.0
"""Metres between which the camera sees."""


def write_glb(people: Sequence[Exported], path: Path) -> None:
    """Write all these people (of one video, at least one) and its camera to one file.

    Raises `InputError` if the place cannot be written to.
    """
    file = GltfFile(people[0].body.licence)
    filming = next((person for person in people if person.camera is not None), None)
    if filming is not None and filming.camera is not None:
        _add_camera(file, filming.camera, filming.camera_pose())
    # Videos may begin before zero, glTF's animations must not.
    early = min(0.0, *(person.times[0] for person in people))
    people = [replace(person, times=person.times - early) for person in people]
    # Frames before anybody is there are nobody's absence.
    span = (min(person.times[0] for person in people), max(person.times[-1] for person in people))
    for person in people:
        _Figure(file, person).add(span)
    file.write(path)


def _add_camera(file: GltfFile, camera: Camera, pose: Float[ndarray, "4 4"] | None) -> None:
    """`pose` is from its own axes to the scene's, None where they are the same.

    glTF states the vertical angle of view and the ratio of width to height.
    """
    import pygltflib

    focal = camera.focal.reshape(-1, 2)[0].double().cpu().numpy()
    half_width, half_height = camera.width / focal[0] / 2, camera.height / focal[1] / 2
    perspective = pygltflib.Perspective(
        yfov=2 * float(np.arctan(half_height)),
        aspectRatio=float(half_width / half_height),
        znear=_NEAR,
        zfar=_FAR,
    )
    seen = {"width": camera.width, "height": camera.height, "focal_assumed": camera.assumed}
    file.gltf.cameras.append(
        pygltflib.Camera(type="perspective", perspective=perspective, extras=seen)
    )
    where = {}
    if pose is not None:
        turn = matrix_to_quaternion(torch.from_numpy(pose[:3, :3])).numpy()
        rotation = continuous(turn[None, None])[0, 0].tolist()
        where = {"translation": pose[:3, 3].tolist(), "rotation": rotation}
    file.node(root=True, name="camera", camera=0, **where)


class _Figure:
    """One person's nodes, skin, mesh and keys."""

    def __init__(self, file: GltfFile, person: Exported) -> None:
        self._file, self._person = file, person
        self._smpl = person.filmed()
        self._rest = person.body.rest_joints(self._smpl.betas[0])

    def add(self, span: tuple[float, float]) -> None:
        """Into the file; `span` is from the first to the last time of anybody, seconds."""
        person, file = self._person, self._file
        correctives = principal_correctives(person.body, self._smpl)
        # The first frame's: what viewers show that do not play.
        first = continuous(matrix_to_quaternion(self._smpl[:1].rotations()).numpy())[0]
        places = (self._rest[0] + self._smpl.transl).numpy()
        joints = self._add_joints(first, places[0])
        about = {"person_id": person.person_id, "first_frame": int(person.frames[0])}
        body = self._add_body(joints, correctives)
        root = file.node(root=True, name=person.name, children=[joints[0]], extras=about)
        times = file.array(person.times, bounds=True)
        for joint, keys in zip(joints, turns(self._smpl), strict=True):
            file.animate(joint, "rotation", times, file.array(keys))
        file.animate(joints[0], "translation", times, file.array(places))
        if correctives.weights.numel():
            keys = correctives.weights.reshape(-1).numpy()
            file.animate(body, "weights", times, file.array(keys))
        self._hide(root, span)

    def _add_joints(
        self, quaternions: Float[ndarray, "24 4"], place: Float[ndarray, "3"]
    ) -> list[int]:
        """A node for each joint, in SMPL's order; numbers the last first, as children must be."""
        parents = SMPL24.parents
        nodes: dict[int, int] = {}
        for joint in reversed(range(len(SMPL24))):
            bone = self._rest[joint] - self._rest[parents[joint]]
            nodes[joint] = self._file.node(
                name=f"{self._person.name}_{SMPL24.joints[joint]}",
                translation=(place if parents[joint] < 0 else bone.numpy()).tolist(),
                rotation=quaternions[joint].tolist(),
                children=sorted(nodes[child] for child in nodes if parents[child] == joint),
            )
        return [nodes[joint] for joint in range(len(SMPL24))]

    def _add_body(self, joints: list[int], correctives: Correctives) -> int:
        """The mesh and its skin; returns their node, which follows the joints and no parent."""
        import pygltflib

        file, name = self._file, self._person.name
        inverse = np.tile(np.eye(4), (len(joints), 1, 1))
        inverse[:, :3, 3] = -self._rest.numpy()
        # Matrices are stored column by column.
        matrices = file.array(inverse.swapaxes(1, 2))
        file.gltf.skins.append(
            pygltflib.Skin(name=name, joints=joints, inverseBindMatrices=matrices)
        )
        targets = [
            pygltflib.Attributes(POSITION=file.array(target, VERTICES, bounds=True))
            for target in correctives.targets.numpy()
        ]
        primitive = pygltflib.Primitive(
            attributes=pygltflib.Attributes(**self._attributes()),
            indices=file.array(
                self._person.body.faces.numpy().astype(np.uint32).reshape(-1), INDICES
            ),
            material=self._add_material(),
            targets=targets,
        )
        mesh = pygltflib.Mesh(name=f"{name}_body", primitives=[primitive])
        if targets:
            mesh.weights = correctives.weights[0].tolist()
            mesh.extras = {"targetNames": [f"corrective_{k:02d}" for k in range(len(targets))]}
        file.gltf.meshes.append(mesh)
        number = len(file.gltf.meshes) - 1
        return file.node(root=True, name=f"{name}_body", mesh=number, skin=number)

    def _attributes(self) -> dict[str, int]:
        """Of the vertices in the rest pose."""
        body, file = self._person.body, self._file
        betas = self._smpl.betas[0]
        vertices = (body.v_template + body.shapedirs[..., : len(betas)] @ betas).numpy()
        normals = Surface(body.faces.numpy(), len(vertices)).normals(vertices)
        # A vertex of no triangle has none, and glTF wants unit lengths.
        normals[np.linalg.norm(normals, axis=1) < 0.5] = (0.0, 1.0, 0.0)
        attributes = {
            "POSITION": file.array(vertices, VERTICES, bounds=True),
            "NORMAL": file.array(normals, VERTICES),
        }
        for number, (joints, weights) in enumerate(influences(body)):
            attributes[f"JOINTS_{number}"] = file.array(joints, VERTICES)
            attributes[f"WEIGHTS_{number}"] = file.array(weights, VERTICES)
        return attributes

    def _add_material(self) -> int:
        import pygltflib

        # glTF's colours are linear, ours are as screens show them.
        color = np.array(person_color(self._person.person_id)) ** 2.2
        self._file.gltf.materials.append(
            pygltflib.Material(
                name=self._person.name,
                pbrMetallicRoughness=pygltflib.PbrMetallicRoughness(
                    baseColorFactor=[*color.tolist(), 1.0], metallicFactor=0.0, roughnessFactor=0.8
                ),
            )
        )
        return len(self._file.gltf.materials) - 1

    def _hide(self, root: int, span: tuple[float, float]) -> None:
        """Scale zero while the person is absent; glTF lets viewers skip such nodes."""
        times, shown = presence(self._person, span)
        if not shown.all():
            scales = np.repeat(shown[:, None].astype(np.float32), 3, axis=1)
            keys = self._file.array(times, bounds=True)
            self._file.animate(root, "scale", keys, self._file.array(scales), steps=True)


def influences(body: BodyModel) -> list[tuple[UInt8[ndarray, "V 4"], Float[ndarray, "V 4"]]]:
    """Joints and weights in sets of four, the largest first; all weights of a vertex sum to one."""
    weights, joints = body.weights.double().sort(dim=1, descending=True)
    weights = torch.where(weights < _LEAST_WEIGHT, 0.0, weights)
    weights = weights / weights.sum(1, keepdim=True)
    joints = torch.where(weights > 0, joints, 0)
    count = int((weights > 0).sum(1).max())
    return [
        (
            joints[:, begin : begin + _PER_SET].numpy().astype(np.uint8),
            weights[:, begin : begin + _PER_SET].numpy().astype(np.float32),
        )
        for begin in range(0, count, _PER_SET)
    ]


def presence(
    person: Exported, span: tuple[float, float]
) -> tuple[Float[ndarray, "N"], Int[ndarray, "N"]]:
    """Times (s) at which a person comes or goes, and whether they are there from then on.

    They do so halfway between frames, so that no rounding of times shows in a frame.
    """
    begin, end = span
    half = 0.5 / person.fps
    keys = [(0.0, True)]
    if person.times[0] - begin > half:
        keys = [(0.0, False), (person.times[0] - half, True)]
    steps = np.diff(person.frames)
    # Of a video of which every so manieth frame was looked at, none is missing in between.
    for at in np.flatnonzero(steps > steps.min(initial=int(person.frames[-1]))):
        left, back = person.times[at : at + 2]
        margin = min(half, (back - left) / 3)
        keys += [(left + margin, False), (back - margin, True)]
    if end - person.times[-1] > half:
        keys.append((person.times[-1] + half, False))
    times, shown = zip(*keys, strict=True)
    return np.array(times), np.array(shown)


def turns(smpl: SmplParams) -> Float[ndarray, "24 T 4"]:
    """The keys of each joint, of all frames together as `continuous` has them; on the disk."""
    count = len(smpl.transl)
    keys, before = zeros((24, count, 4), scratch()).numpy(), None
    for part in chunks(count, keys, smpl.body_pose):
        some = matrix_to_quaternion(smpl[part].rotations()).numpy()
        turned = continuous(some, before)
        keys[:, part], before = turned.swapaxes(0, 1), turned[-1]
    return keys


def continuous(
    quaternions: Float[ndarray, "T J 4"], before: Float[ndarray, "J 4"] | None = None
) -> Float[ndarray, "T J 4"]:
    """Scalar-first quaternions as glTF has them, scalar last, with signs that never jump.

    q and -q are one rotation, but the way from q to -q' is the long one around. `before` is what
    was made of the frame before.
    """
    last = np.roll(quaternions, -1, axis=-1)
    known = np.concatenate([last[:1] if before is None else before[None], last])
    products = (known[1:] * known[:-1]).sum(-1, keepdims=True)
    return last * np.cumprod(np.where(products < 0, -1.0, 1.0), axis=0)
