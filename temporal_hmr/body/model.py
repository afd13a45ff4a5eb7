"""SMPL-format bodies: shape, forward kinematics, skinning, and points that ride on the surface.

Linear blend skinning with learned shape and pose blend shapes, as in Loper et al., "SMPL: a skinned
multi-person linear model" (SIGGRAPH Asia 2015), for any body of 24 joints in that format.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor, nn

from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24

POSE_FEATURES = 23 * 9
BODIES_AT_ONCE = 64
"""Whole meshes are posed in blocks, for the sake of memory and caches."""


@dataclass(frozen=True, eq=False)
class BodyArrays:
    """What a body file holds. The kinematic tree is SMPL's (`skeleton.SMPL24`)."""

    name: str
    """`open` for the body shipped with the package, else the name of the file."""
    licence: str
    """Terms that whatever is made with this body should carry along."""
    v_template: Float[ndarray, "V 3"]
    """Mean body in the zero pose, metres, y up, facing +z."""
    faces: Int[ndarray, "F 3"]
    shapedirs: Float[ndarray, "V 3 B"]
    """Displacement for a unit of each shape coefficient."""
    posedirs: Float[ndarray, "V 3 207"]
    """Displacement for a unit of each entry of the pose feature (`pose_feature`)."""
    joint_regressor: Float[ndarray, "24 V"]
    weights: Float[ndarray, "V 24"]
    """Skinning weights; rows sum to one."""
    regressors: Mapping[str, Float[ndarray, "K V"]] = field(default_factory=dict)
    """Named sets of points linear in the vertices; `coco_feet` gives `skeleton.COCO23`."""
    landmarks: Mapping[str, int] = field(default_factory=dict)
    """Vertex number of named surface points."""


class BodyModel(nn.Module):
    """One SMPL-format body, posed in several ways; all differentiable, with any batch axes.

    Every method takes as many betas as are given, up to those the body has. The arrays are buffers
    that stay out of `state_dict`: a licensed body must never end in somebody's checkpoint.
    """

    v_template: Float[Tensor, "V 3"]
    faces: Int[Tensor, "F 3"]
    directions: Float[Tensor, "3 V 207+B"]
    joint_regressor: Float[Tensor, "24 V"]
    weights: Float[Tensor, "V 24"]
    joint_template: Float[Tensor, "24 3"]
    joint_shapedirs: Float[Tensor, "24 3 B"]
    parent_index: Int[Tensor, "24"]
    place_in_level: Int[Tensor, "24"]

    def __init__(self, arrays: BodyArrays, dtype: torch.dtype = torch.float32):
        super().__init__()
        self.name = arrays.name
        self.licence = arrays.licence
        self.parents = SMPL24.parents
        self.regressors = dict(arrays.regressors)
        self.landmarks = dict(arrays.landmarks)
        regressor = np.asarray(arrays.joint_regressor, np.float64)
        floats = {
            "v_template": arrays.v_template,
            "directions": _directions(arrays),
            "joint_regressor": arrays.joint_regressor,
            "weights": arrays.weights,
            "joint_template": regressor @ arrays.v_template,
            "joint_shapedirs": np.einsum("jv,vcb->jcb", regressor, arrays.shapedirs, optimize=True),
        }
        for name, array in floats.items():
            self._keep(name, torch.as_tensor(array).to(dtype))
        self._keep("faces", torch.as_tensor(arrays.faces.astype(np.int64)))
        self._levels, places = _levels(self.parents)
        self._keep("parent_index", torch.tensor(self.parents).clamp(min=0))
        self._keep("place_in_level", torch.tensor(places))

    def _keep(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor.contiguous(), persistent=False)

    @property
    def posedirs(self) -> Float[Tensor, "V 3 207"]:
        """Displacement for a unit of each entry of the pose feature, metres."""
        return self.directions[..., :POSE_FEATURES].transpose(0, 1)

    @property
    def shapedirs(self) -> Float[Tensor, "V 3 B"]:
        """Displacement for a unit of each shape coefficient, metres."""
        return self.directions[..., POSE_FEATURES:].transpose(0, 1)

    def rest_joints(self, betas: Float[Tensor, "*b B"]) -> Float[Tensor, "*b 24 3"]:
        """Joints of the shaped body in the zero pose, metres."""
        self._check_betas(betas)
        basis = self.joint_shapedirs.flatten(0, 1)[:, : betas.shape[-1]]
        return self.joint_template + (betas @ basis.mT).unflatten(-1, (24, 3))

    def transforms(self, smpl: SmplParams) -> Float[Tensor, "*b 24 3 4"]:
        """Frame of each joint: global rotation | position, by forward kinematics."""
        return self._frames(smpl, self.rest_joints(smpl.betas))

    def joints(self, smpl: SmplParams) -> Float[Tensor, "*b 24 3"]:
        """Positions of the 24 kinematic joints; no vertex is computed."""
        return self.transforms(smpl)[..., 3]

    def global_rotations(self, smpl: SmplParams) -> Float[Tensor, "*b 24 3 3"]:
        """Orientation of each joint in the frame that `transl` is given in."""
        return self.transforms(smpl)[..., :3]

    def vertices(
        self, smpl: SmplParams, which: Int[Tensor, "n"] | None = None
    ) -> Float[Tensor, "*b n 3"]:
        """Posed vertices, all or those chosen (nothing is computed for the others)."""
        batch = smpl.betas.shape[:-1]
        if batch.numel() <= BODIES_AT_ONCE:
            return self._posed_vertices(smpl, which)
        flat = smpl.map(lambda tensor: tensor.flatten(0, len(batch) - 1))
        starts = range(0, batch.numel(), BODIES_AT_ONCE)
        blocks = [self._posed_vertices(flat[i : i + BODIES_AT_ONCE], which) for i in starts]
        return torch.cat(blocks).unflatten(0, batch)

    def _posed_vertices(
        self, smpl: SmplParams, which: Int[Tensor, "n"] | None
    ) -> Float[Tensor, "*b n 3"]:
        chosen = slice(None) if which is None else which
        template, weights = self.v_template[chosen], self.weights[chosen]
        feature = torch.cat([pose_feature(smpl), smpl.betas], -1)
        blends = self._skinning(smpl).flatten(-2)
        # x of all vertices, then y, then z: several times faster than vertex by vertex.
        directions = self.directions[:, chosen, : feature.shape[-1]].flatten(0, 1)
        shaped = template.mT + (feature @ directions.mT).unflatten(-1, (3, -1))
        skin = (blends.mT @ weights.mT).unflatten(-2, (3, 4))
        posed = skin[..., 3, :]
        for axis in range(3):
            posed = torch.addcmul(posed, skin[..., axis, :], shaped[..., None, axis, :])
        return posed.mT.contiguous()

    def regress(self, smpl: SmplParams, regressor: "PointRegressor") -> Float[Tensor, "*b K 3"]:
        """Points linear in the vertices, exactly, without making the vertices."""
        return regressor(pose_feature(smpl), smpl.betas, self._skinning(smpl))

    def point_regressor(self, matrix: Float[ndarray, "K V"] | Tensor) -> "PointRegressor":
        """Prepare `matrix @ vertices` for `regress`, on this body's device and dtype."""
        return PointRegressor(self, torch.as_tensor(matrix)).to(self.v_template)

    def transform(
        self,
        smpl: SmplParams,
        rotation: Float[Tensor, "*b 3 3"],
        translation: Float[Tensor, "*b 3"],
    ) -> SmplParams:
        """The same bodies seen in another frame, x' = rotation x + translation.

        SMPL turns about its pelvis, so the new translation carries a pelvis term
        (see `SmplParams`).
        """
        pelvis = self.rest_joints(smpl.betas)[..., 0, :]
        moved = (rotation @ (pelvis + smpl.transl)[..., None]).squeeze(-1) + translation
        return SmplParams(rotation @ smpl.global_orient, smpl.body_pose, smpl.betas, moved - pelvis)

    def _frames(
        self, smpl: SmplParams, rest: Float[Tensor, "*b 24 3"]
    ) -> Float[Tensor, "*b 24 3 4"]:
        """Forward kinematics, one matrix product for each level of the tree."""
        bones = rest - rest.index_select(-2, self.parent_index)
        bones = torch.cat([rest[..., :1, :] + smpl.transl[..., None, :], bones[..., 1:, :]], -2)
        local = torch.cat([smpl.rotations(), bones[..., None]], -1)
        levels = [local[..., :1, :, :]]
        for begin, end in self._levels[1:]:
            parents = levels[-1].index_select(-3, self.place_in_level[begin:end])
            turned = parents[..., :3] @ local[..., begin:end, :, :]
            position = turned[..., 3:] + parents[..., 3:]
            levels.append(torch.cat([turned[..., :3], position], -1))
        return torch.cat(levels, -3)

    def _skinning(self, smpl: SmplParams) -> Float[Tensor, "*b 24 3 4"]:
        """For each joint the transform from the rest pose, `x -> R x + t`, as R | t."""
        rest = self.rest_joints(smpl.betas)
        frames = self._frames(smpl, rest)
        turned = frames[..., :3] @ rest[..., None]
        return torch.cat([frames[..., :3], frames[..., 3:] - turned], -1)

    def _check_betas(self, betas: Float[Tensor, "*b B"]) -> None:
        if betas.shape[-1] > self.shapedirs.shape[-1]:
            raise InputError(
                f"{betas.shape[-1]} shape coefficients were given, but the body {self.name} has "
                f"{self.shapedirs.shape[-1]}; pass no more than that"
            )


class PointRegressor(nn.Module):
    """Skinning collapsed onto a few points that are linear in the vertices.

    With weights w and a regressor r, point k is
    sum_j R_j (a_kj + A_kj betas + P_kj pose_feature) + c_kj t_j, where
    a_kj = sum_v r_kv w_vj v_template_v, A and P likewise with the blend shapes, and
    c_kj = sum_v r_kv w_vj. Only pairs (k, j) that do not vanish are kept.
    """

    pair_joint: Int[Tensor, "P"]
    pair_template: Float[Tensor, "P 3"]
    pair_directions: Float[Tensor, "P*3 207+B"]
    pair_to_point: Float[Tensor, "K P"]
    shares: Float[Tensor, "K 24"]

    def __init__(self, body: BodyModel, matrix: Float[Tensor, "K V"]):
        super().__init__()
        matrix = matrix.detach().cpu().double()
        if matrix.ndim != 2 or matrix.shape[1] != len(body.v_template):
            raise InputError(
                f"a regressor for the body {body.name} needs {len(body.v_template)} columns, one "
                f"for each vertex, but its shape is {tuple(matrix.shape)}"
            )
        used = (matrix != 0).any(0)
        matrix = matrix[:, used]

        template, weights, directions = (
            buffer.detach().cpu()[used].double()
            for buffer in (body.v_template, body.weights, body.directions.transpose(0, 1))
        )
        point, joint = ((matrix != 0).double() @ (weights != 0).double()).nonzero().unbind(-1)
        pairs = matrix[point] * weights.mT[joint]
        directions = torch.einsum("pv,vcd->pcd", pairs, directions).flatten(0, 1)
        self._keep("pair_joint", joint)
        self._keep("pair_template", pairs @ template)
        self._keep("pair_directions", directions)
        self._keep("pair_to_point", (point == torch.arange(len(matrix))[:, None]).double())
        self._keep("shares", matrix @ weights)

    def _keep(self, name: str, tensor: Tensor) -> None:
        self.register_buffer(name, tensor.contiguous(), persistent=False)

    def forward(
        self,
        pose: Float[Tensor, "*b 207"],
        betas: Float[Tensor, "*b B"],
        skinning: Float[Tensor, "*b 24 3 4"],
    ) -> Float[Tensor, "*b K 3"]:
        """Points from the pose feature, the shape and the joints' rest-to-posed transforms."""
        feature = torch.cat([pose, betas], -1)
        directions = self.pair_directions[:, : feature.shape[-1]]
        shaped = self.pair_template + (feature @ directions.mT).unflatten(-1, (-1, 3))
        rotations = skinning[..., :3].index_select(-3, self.pair_joint)
        turned = (rotations @ shaped[..., None]).squeeze(-1)
        return self.pair_to_point @ turned + self.shares @ skinning[..., 3].contiguous()


def _directions(arrays: BodyArrays) -> Float[ndarray, "3 V 207+B"]:
    """All blend shapes, as they are kept."""
    displacements = (arrays.posedirs.swapaxes(0, 1), arrays.shapedirs.swapaxes(0, 1))
    count = sum(each.shape[-1] for each in displacements)
    dtype = np.result_type(*displacements)
    # Into one block in the order in which it is kept: it is by far the most of a body.
    whole = np.empty((*displacements[0].shape[:2], count), dtype)
    return np.concatenate(displacements, -1, out=whole)


def pose_feature(smpl: SmplParams) -> Float[Tensor, "*b 207"]:
    """R - I of the 23 body joints, row by row: what the pose blend shapes are linear in."""
    identity = torch.eye(3, dtype=smpl.body_pose.dtype, device=smpl.body_pose.device)
    return (smpl.body_pose - identity).flatten(-3)


def _levels(parents: tuple[int, ...]) -> tuple[list[tuple[int, int]], list[int]]:
    """Ranges of joints equally deep in the tree, and each joint's parent's place in its range.

    SMPL numbers its joints level by level, so that every level is a range.
    """
    depths = [0] * len(parents)
    for joint, parent in enumerate(parents[1:], start=1):
        depths[joint] = depths[parent] + 1
    starts = [depths.index(depth) for depth in range(max(depths) + 1)]
    places = [0] + [parent - starts[depths[parent]] for parent in parents[1:]]
    return list(zip(starts, [*starts[1:], len(parents)], strict=True)), places


def body_digest(body: BodyModel) -> str:
    """SHA-256 of the arrays of a body, hexadecimal."""
    arrays = hashlib.sha256()
    for array in body.buffers():
        arrays.update(array.numpy().tobytes())
    return arrays.hexdigest()
