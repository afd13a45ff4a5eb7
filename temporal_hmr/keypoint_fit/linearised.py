"""How a body's keypoints move in the picture as its joints turn, its place and its shape change.

Analytic derivatives: a turn about joint j moves point k by the cross product of the axis with the
lever from j to those parts of k that ride on j and what hangs from it. Pose correctives, which
move points by millimetres, count in the points and are left out of the derivatives, as is usual
for a Gauss-Newton step.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
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
    axes: Float[Tensor, "T 3 j 3"]
    """x, y, z of each joint's own three axes in the camera frame."""


class KeypointsOfBody:
    """Some points of a body and some of its joints, ready to be linearised at any pose."""

    def __init__(self, body: BodyModel, points: PointRegressor, joints: list[int]):
        self.body, self._points = body, points
        carried = _descendants().to(points.shares)[joints]
        self._carried = carried.mT.contiguous()
        self._share_carried = points.shares @ carried.mT
        self._joints = joints
        of_point = points.pair_to_point.argmax(0)
        self._slot: Int[Tensor, "P"] = of_point * len(SMPL24) + points.pair_joint

    def at(self, smpl: SmplParams) -> Float[Tensor, "T K 3"]:
        """The points alone, metres."""
        return self.body.regress(smpl, self._points)

    def levers(self, smpl: SmplParams) -> Levers:
        """Of bodies with one batch axis."""
        frames = self.body.transforms(smpl)
        rest = self.body.rest_joints(smpl.betas)
        origin = frames[..., 3] - (frames[..., :3] @ rest[..., None]).squeeze(-1)
        parts = self._parts(smpl, frames, origin)
        joint = frames[:, self._joints]
        place = joint[..., 3].mT[:, :, None]
        levers = parts @ self._carried - self._share_carried * place
        return Levers(parts.sum(-1).mT, levers, joint[..., :3].permute(0, 2, 1, 3))

    def _parts(
        self, smpl: SmplParams, frames: Float[Tensor, "T 24 3 4"], origin: Float[Tensor, "T 24 3"]
    ) -> Float[Tensor, "T 3 K 24"]:
        """What each joint contributes to each point; all of them add up to it."""
        own = self._points
        feature = torch.cat([pose_feature(smpl), smpl.betas], -1)
        directions = own.pair_directions[:, : feature.shape[-1]]
        shaped = own.pair_template + (feature @ directions.mT).unflatten(-1, (-1, 3))
        turned = (frames[:, own.pair_joint, :, :3] @ shaped[..., None]).squeeze(-1)
        parts = (own.shares * origin.mT[:, :, None]).flatten(2)
        return parts.index_add(2, self._slot, turned.mT).unflatten(2, own.shares.shape)


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
) -> Float[Tensor, "T K 2 j*3"]:
    """Pixels per unit of each turn; R = R0 exp(spread turn), and `turns` is where we are."""
    # Axes of a further small turn, seen from where the joint has turned to by now.
    local = spread[..., None] * _right_jacobian(turns * spread)
    axes = (levers.axes.permute(0, 2, 1, 3) @ local).permute(2, 0, 1, 3)[:, :, None]
    x, y, z = levers.levers.permute(1, 0, 2, 3)[..., None]
    # The cross product of axis and lever, one coordinate at a time.
    moved = (axes[1] * z - axes[2] * y, axes[2] * x - axes[0] * z, axes[0] * y - axes[1] * x)
    return seen.moved(*(each.flatten(2) for each in moved))


def _right_jacobian(turn: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b 3 3"]:
    """exp(turn + d) is exp(turn) exp(J d) for small d (Solà et al., 2018, equation 143)."""
    square = turn.square().sum(-1)[..., None, None]
    angle = square.clamp(min=1e-12).sqrt()
    cross = skew(turn)
    small = square < 1e-4
    first = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / angle**2)
    second = torch.where(small, 1 / 6 - square / 120, (angle - angle.sin()) / angle**3)
    return torch.eye(3).to(turn) - first * cross + second * (cross @ cross)
