"""The points that a protocol compares: one side of a comparison, prediction or truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

from temporal_hmr.body.params import SmplParams
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.protocol import Protocol
from temporal_hmr.skeleton import H36M17, LSP14, SMPL24

REGRESSED: Mapping[str, str] = MappingProxyType(
    {"lsp14": "h36m", "hmr2_14": "hmr2", "smpl24_regressed": "smpl24"}
)
"""Joint sets that are read off the surface, and by which regressor of `Bodies`."""
_HIPS = ("left_hip", "right_hip")
_HMR2_JOINTS = (*range(13), 18)
"""Of the 19 joints that 4D-Humans regresses: LSP's without the head's top, and Human3.6M's head."""
_HMR2_PELVIS = 14
FRAMES_AT_ONCE = 256
"""Bounds the memory that vertices and regressed points take."""


@dataclass(frozen=True, eq=False)
class Side:
    """SMPL parameters of some frames and the body that they pose."""

    smpl: SmplParams
    """Batch axis T."""
    gender: str
    bodies: Bodies

    def at_origin(self) -> "Side":
        """The same with zero SMPL translation; the orientation stays."""
        smpl = replace(self.smpl, transl=torch.zeros_like(self.smpl.transl))
        return replace(self, smpl=smpl)

    def kinematic_joints(self) -> Float[Tensor, "T 24 3"]:
        """Joints of the forward kinematics, metres."""
        return self.bodies.of(self.gender).joints(self.smpl)

    def orientations(self) -> Float[Tensor, "T 24 3 3"]:
        """Global orientation of every joint."""
        return self.bodies.of(self.gender).global_rotations(self.smpl)

    def vertices(self, part: slice) -> Float[Tensor, "N V 3"]:
        """Surface in some of the frames, metres."""
        return self.bodies.of(self.gender).vertices(self.smpl[part])

    def landmarks(self, *names: str) -> Float[Tensor, "T N 3"]:
        """Named points of the surface; raises `InputError` if the body does not know one."""
        vertices = torch.tensor(self.bodies.landmarks(names, self.gender))
        return self.bodies.of(self.gender).vertices(self.smpl, vertices)

    def regressed(self, regressor: str) -> Float[Tensor, "T K 3"]:
        """Points by one of the regressors of `Bodies`."""
        body, matrix = self.bodies.of(self.gender), self.bodies.regressor(regressor, self.gender)
        return _in_blocks(lambda smpl: body.regress(smpl, matrix), self.smpl)


@dataclass(frozen=True, eq=False)
class RootedJoints:
    """The joint set of a protocol and the root that goes with it, in one frame of reference."""

    joints: Float[Tensor, "T J 3"]
    root: Float[Tensor, "T 3"]

    def rooted(self) -> Float[Tensor, "T J 3"]:
        """Joints relative to the root."""
        return self.joints - self.root[:, None]


def protocol_joints(side: Side, protocol: Protocol) -> RootedJoints:
    """What the protocol compares, in metres."""
    hips = protocol.root == "hips"
    if protocol.joints == "lsp14":
        all17 = side.regressed(REGRESSED["lsp14"])
        joints = all17[:, H36M17.indices(*LSP14.joints)]
        pelvis = all17[:, H36M17.index("pelvis")]
        middle = joints[:, LSP14.indices(*_HIPS)].mean(1)
    elif protocol.joints == "hmr2_14":
        all19 = side.regressed(REGRESSED["hmr2_14"])
        joints = all19[:, list(_HMR2_JOINTS)]
        pelvis = all19[:, _HMR2_PELVIS]
        middle = joints[:, LSP14.indices(*_HIPS)].mean(1)
    else:
        regressor = REGRESSED.get(protocol.joints)
        joints = side.kinematic_joints() if regressor is None else side.regressed(regressor)
        pelvis = joints[:, SMPL24.index("pelvis")]
        middle = joints[:, SMPL24.indices(*_HIPS)].mean(1)
    return RootedJoints(joints, middle if hips else pelvis)


def blocks(frames: int) -> list[slice]:
    """Slices that cover so many frames, each small enough for its vertices."""
    return [slice(start, start + FRAMES_AT_ONCE) for start in range(0, frames, FRAMES_AT_ONCE)]


def _in_blocks(
    function: Callable[[SmplParams], Float[Tensor, "N K 3"]], smpl: SmplParams
) -> Float[Tensor, "T K 3"]:
    parts = [function(smpl[part]) for part in blocks(len(smpl.transl))]
    return torch.cat(parts) if parts else function(smpl)
