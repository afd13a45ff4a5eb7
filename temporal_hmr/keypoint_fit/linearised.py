"""How a body's keypoints move in the picture as its joints turn, its place and its shape change.

Analytic derivatives: a turn about joint j moves point k by the cross product of the axis with the
lever from j to those parts of k that ride on j and what hangs from it. Pose correctives, which
move points by millimetres, count in the points and are left out of the derivatives, as is usual
for a Gauss-Newton step.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from temporal_hmr.body.model import BodyModel, PointRegressor, pose_feature
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.rotation import skew
from temporal_hmr.skeleton import SMPL24

NEAREST = 0.1
"""Metres: no point counts as nearer to the camera."""


@dataclass(frozen=True, eq=False)
class Levers:
    """Points of posed bodies, and the levers by which joints move them."""

    points: Float[Tensor, "T K 3"]
    """Camera frame, metres."""
    levers: Float[Tensor, "T 3 K j"]
    """x, y, z from each joint to the share of each point that it carries."""
    axes: Float[Tensor, "T j 3 3"]
    """x, y, z (rows) of each joint's own three axes in the camera frame."""


class KeypointsOfBody:
    """Some points of a body and its first so many joints, ready to be linearised at any pose."""

    def __init__(self, body: BodyModel, points: PointRegressor, joints: int):
        self.body, self._points, self._joints = body, points, joints
        self._summed = _summed(points, joints)

    def at(self, smpl: SmplParams) -> Float[Tensor, "T K 3"]:
        """The points alone, metres."""
        return self.body.regress(smpl, self._points)

    def levers(self, smpl: SmplParams) -> Levers:
        """Of bodies with one batch axis."""
        frames = self.body.transforms(smpl)
        rest = self.body.rest_joints(smpl.betas)
        rotations, place = frames[..., :3], frames[..., 3]
        origin = place - (rotations @ rest[..., None]).squeeze(-1)
        own = self._points
        feature = torch.cat([pose_feature(smpl), smpl.betas], -1)
        directions = own.pair_directions[:, : feature.shape[-1]]
        shaped = own.pair_template + (feature @ directions.mT).unflatten(-1, (-1, 3))
        turned = (rotations.index_select(1, own.pair_joint) @ shaped[..., None]).squeeze(-1)
        terms = torch.cat([turned, origin, place[:, : self._joints]], 1).mT
        sums = (terms @ self._summed).unflatten(-1, (self._joints + 1, -1)).transpose(2, 3)
        return Levers(sums[..., 0].mT, sums[..., 1:], rotations[:, : self._joints])


def _summed(points: PointRegressor, joints: int) -> Float[Tensor, "terms sums"]:
    """What adds up to each point, and to the levers of all points from each joint.

    The terms are what each pair of a point and a joint contributes when turned, what comes of where
    each joint's frame has its origin, and the place of each joint.
    """
    carried = torch.cat([torch.ones(1, len(SMPL24)), _descendants()[:joints]]).to(points.shares)
    turned = carried[:, points.pair_joint, None] * points.pair_to_point.mT
    origin = carried[..., None] * points.shares.mT
    place = -torch.eye(joints)[..., None].to(points.shares) * (carried[1:] @ points.shares.mT)
    place = torch.cat([torch.zeros_like(place[:1]), place])
    return torch.cat([turned, origin, place], 1).transpose(0, 1).flatten(1).contiguous()


def _descendants() -> Float[Tensor, "24 24"]:
    """1 where the joint of the column is the joint of the row or hangs from it."""
    hangs = torch.eye(len(SMPL24))
    # A parent's number is below its children's.
    for joint in range(len(SMPL24) - 1, 0, -1):
        hangs[SMPL24.parents[joint]] += hangs[joint]
    return hangs


@dataclass(frozen=True, eq=False)
class InPicture:
    """Points as a camera sees them, and what a metre sideways and in depth does to that."""

    pixels: Float[Tensor, "T K 2"]
    slant: Float[Tensor, "T K 2"]
    """x and y over depth."""
    pixels_per_metre: Float[Tensor, "T K 2"]

    @staticmethod
    def of(points: Float[Tensor, "T K 3"], camera: Camera) -> "InPicture":
        """Points of the camera frame, metres."""
        depth = points[..., 2:].clamp(min=NEAREST)
        focal, center = camera.focal.to(points), camera.center.to(points)
        slant = points[..., :2] / depth
        return InPicture(slant * focal + center, slant, focal / depth)

    def weighed(self, weight: Float[Tensor, "T K"]) -> "InPicture":
        """With each point's derivatives so many times as large."""
        return replace(self, pixels_per_metre=weight[..., None] * self.pixels_per_metre)

    def moved(
        self, x: Float[Tensor, "T K *c"], y: Float[Tensor, "T K *c"], z: Float[Tensor, "T K *c"]
    ) -> Float[Tensor, "T K 2 *c"]:
        """Pixels per unit of movements whose x, y and z (metres per unit) are given."""
        across = (slice(None), slice(None), slice(None), *(None for _ in x.shape[2:]))
        slant, scale = self.slant[across], self.pixels_per_metre[across]
        sideways = torch.stack([x, y], 2)
        return scale * (sideways - slant * z[:, :, None])


def by_turning(
    levers: Levers, seen: InPicture, turns: Float[Tensor, "T j 3"], spread: Float[Tensor, "j 1"]
) -> Float[Tensor, "T K 2 3*j"]:
    """Pixels per unit of each turn; R = R0 exp(spread turn), and `turns` is where we are.

    Turns of all joints about their first axes, then about the second and the third.
    """
    # Axes of a further small turn, seen from where the joint has turned to by now.
    local = spread[..., None] * _right_jacobian(turns * spread)
    axes = (levers.axes @ local).permute(2, 0, 3, 1).contiguous()[:, :, None]
    x, y, z = levers.levers.unbind(1)
    moved = x.new_empty(*x.shape[:2], 2, 3, x.shape[2])
    across = seen.pixels_per_metre[..., None]
    away = -seen.slant[..., None] * across
    # What a point moves by is the cross product of axis and lever; what that does to a pixel, the
    # product of the axis and of the cross product of lever and the pixel's gradient.
    right, down = across.unbind(2)
    of_x, of_y = away.unbind(2)
    gradients = (
        (y * of_x, z * right - x * of_x, y * -right),
        (y * of_y - z * down, x * -of_y, x * down),
    )
    for row, gradient in enumerate(gradients):
        first, second, third = (each[:, :, None] for each in gradient)
        partly = torch.addcmul(first * axes[0], second, axes[1])
        torch.addcmul(partly, third, axes[2], out=moved[:, :, row])
    return moved.flatten(3)


def _right_jacobian(turn: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """exp(turn + d) is exp(turn) exp(J d) for small d (Solà et al., 2018, equation 143)."""
    square = turn.square().sum(-1)[..., None, None]
    angle = square.clamp(min=1e-12).sqrt()
    small = square < 1e-4
    first = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / angle**2)
    second = torch.where(small, 1 / 6 - square / 120, (angle - angle.sin()) / angle**3)
    # The square of a cross product's matrix, without a product of matrices.
    twice = turn[..., None] * turn[..., None, :] - square * torch.eye(3).to(turn)
    return torch.eye(3).to(turn) - first * skew(turn) + second * twice
