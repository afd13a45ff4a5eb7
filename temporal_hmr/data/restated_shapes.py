"""Shapes of one body as those of another: betas of a man's body mean nothing to the neutral one."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from temporal_hmr.body.model import BodyModel
from temporal_hmr.data.sequence import Sequence

_RIDGE = 1e-4
"""Square metres of error that one squared unit of shape is worth, where only joints compare."""


def restated(sequence: Sequence, own: BodyModel, other: BodyModel) -> Sequence:
    """A sequence whose SMPL labels are those of another body, in the same pose and place.

    `own` is the body whose betas the sequence has. Betas are those of the nearest shape, by least
    squares over vertices about the pelvis, or over joints for bodies of different meshes; the
    pelvis stays where it is, for SMPL turns about it.
    """
    smpl = sequence.smpl
    if smpl is None:
        return sequence
    offset, linear = _betas_map(own, other)
    betas = offset + smpl.betas.double() @ linear.mT
    before, after = (
        body.rest_joints(values.to(body.v_template))[..., 0, :].double()
        for body, values in ((own, smpl.betas), (other, betas))
    )
    changed = replace(
        smpl, betas=betas.to(smpl.betas), transl=smpl.transl + (before - after).to(smpl.transl)
    )
    return replace(sequence, smpl=changed, smpl_gender="neutral")


def _betas_map(own: BodyModel, other: BodyModel) -> tuple[Float[Tensor, "B"], Float[Tensor, "B B"]]:
    """Ten betas of the other body as an affine function of ten of the one's own."""
    vertices = len(own.v_template) == len(other.v_template)
    (own_rest, own_basis), (rest, basis) = (_about_pelvis(body, vertices) for body in (own, other))
    normal = basis.mT @ basis
    if not vertices:
        normal = normal + _RIDGE * torch.eye(len(normal), dtype=normal.dtype)
    solved = torch.linalg.solve(normal, basis.mT @ torch.column_stack([own_rest - rest, own_basis]))
    return solved[:, 0], solved[:, 1:]


def _about_pelvis(
    body: BodyModel, vertices: bool
) -> tuple[Float[Tensor, "n"], Float[Tensor, "n B"]]:
    """Points of the body at rest as seen from its pelvis: the mean ones, and what ten betas do."""
    pelvis, directions = body.joint_template[0], body.joint_shapedirs[0]
    points = body.v_template if vertices else body.joint_template
    basis = body.shapedirs if vertices else body.joint_shapedirs
    mean, basis = points - pelvis, basis - directions
    return mean.double().flatten(), basis.double()[..., :10].flatten(0, 1)
