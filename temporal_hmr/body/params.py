"""SMPL parameters of one body or many."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from temporal_hmr.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from temporal_hmr.skeleton import SMPL24


@dataclass(frozen=True, eq=False)
class SmplParams:
    """Pose, shape and place of SMPL-format bodies; any batch axes, rotations as matrices.

    SMPL turns about its own pelvis: with rest pelvis J0(betas) the pelvis stands at J0 + transl
    whatever the orientation, and a change of frame x' = R x + t is
    global_orient' = R global_orient, transl' = R (J0 + transl) + t - J0.
    """

    global_orient: Float[Tensor, "*b 3 3"]
    """Orientation of the pelvis in the frame that `transl` is given in."""
    body_pose: Float[Tensor, "*b 23 3 3"]
    """Rotation of joints 1..23 relative to their parents."""
    betas: Float[Tensor, "*b 10"]
    """Shape coefficients, in standard deviations."""
    transl: Float[Tensor, "*b 3"]
    """Metres."""

    def map(self, function: Callable[[Tensor], Tensor]) -> "SmplParams":
        """The same function applied to each of the four tensors."""
        return SmplParams(*(function(getattr(self, field.name)) for field in fields(self)))

    def __getitem__(self, index: object) -> "SmplParams":
        """Index the leading batch axes of all four tensors alike."""
        return self.map(lambda tensor: tensor[index])  # type: ignore[index]

    def rotations(self) -> Float[Tensor, "*b 24 3 3"]:
        """Global orientation, then the 23 body joints."""
        return torch.cat([self.global_orient.unsqueeze(-3), self.body_pose], -3)

    def poses(self) -> Float[Tensor, "*b 72"]:
        """Axis-angle of the 24 joints one after another, as files store them."""
        return matrix_to_axis_angle(self.rotations()).flatten(-2)

    @staticmethod
    def from_rotations(
        rotations: Float[Tensor, "*b 24 3 3"],
        betas: Float[Tensor, "*b 10"],
        transl: Float[Tensor, "*b 3"],
    ) -> "SmplParams":
        """From 24 rotation matrices, the root's first."""
        return SmplParams(rotations[..., 0, :, :], rotations[..., 1:, :, :], betas, transl)

    @staticmethod
    def from_poses(
        poses: Float[Tensor, "*b 72"], betas: Float[Tensor, "*b 10"], transl: Float[Tensor, "*b 3"]
    ) -> "SmplParams":
        """From the axis-angle vector that files store."""
        rotations = axis_angle_to_matrix(poses.unflatten(-1, (24, 3)))
        return SmplParams.from_rotations(rotations, betas, transl)


def joined(parts: Sequence[SmplParams]) -> SmplParams:
    """Some one after another, along the first batch axis."""
    names = [field.name for field in fields(SmplParams)]
    return SmplParams(*(torch.cat([getattr(part, name) for part in parts]) for name in names))


def flip_rotations(rotations: Float[Tensor, "*b 24 3 3"]) -> Float[Tensor, "*b 24 3 3"]:
    """The mirrored person's rotations (mirror plane x = 0).

    Conjugation by diag(-1, 1, 1), and left and right joints change places.
    """
    mirror = torch.tensor([-1.0, 1.0, 1.0], dtype=rotations.dtype, device=rotations.device)
    flipped = rotations * mirror[:, None] * mirror
    return flipped[..., SMPL24.flip_permutation(), :, :]
