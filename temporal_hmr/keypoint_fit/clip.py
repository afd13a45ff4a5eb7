"""A clip with everything that a Gauss-Newton step towards its keypoints needs."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.clip_windows import FilledTrack
from temporal_hmr.keypoint_fit.evidence import REACH, Evidence, weigh
from temporal_hmr.keypoint_fit.linearised import NEAREST, InPicture, KeypointsOfBody, by_turning
from temporal_hmr.keypoint_fit.second_differences import Roughness
from temporal_hmr.keypoint_fit.settings import Reprojection
from temporal_hmr.keypoint_fit.solver import ClipProblem, SharingProblem, Smooth, Unknowns
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.on_disk import chunks
from temporal_hmr.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from temporal_hmr.skeleton import SMPL24, Skeleton

SHAPE_FRAMES = 96
"""Of a clip that are asked for its shape."""
_USUAL_DEGREES = {
    "pelvis": 6.0,
    "hip": 9.0,
    "spine1": 6.0,
    "knee": 6.0,
    "spine2": 3.0,
    "ankle": 14.0,
    "spine3": 3.0,
    "foot": 5.0,
    "neck": 7.0,
    "collar": 3.0,
    "head": 17.0,
    "shoulder": 14.0,
    "elbow": 16.0,
    "wrist": 20.0,
}
"""Root mean square of the default model's error about each axis of each joint, on training clips
seen by the simulated detector. Hands have no keypoint to say anything of them."""
_MOVED = SMPL24.index("left_hand")
"""How many joints turn: all but the hands, which come last."""
_UNKNOWNS = 3 * _MOVED + 3
"""Of a frame."""
_AT_ONCE = 64
"""Frames whose derivatives are computed together: more do not fit into a processor's cache."""
_PLACE_SPREAD = 0.1
"""Standard deviation of the place: metres sideways and down, share of the depth."""
_STEADY = (3.0, 3.0, 20.0)
"""How many times smoother the place moves than joints turn; and not its change alone, but all of
its path: depth follows from the size of a person in pixels, and shakes by centimetres."""
_SHAPE, _SHAPE_SPREAD, _SHAPE_PRIOR = 10, 0.5, 2.0
"""How many betas there are, their standard deviation, and its weight."""
_USUAL_SPREAD = 0.15
"""Radians, in which the calm of joints is measured."""
_LEAST_HELD = 0.2
"""Weight of the network's answer in a frame in which nothing is seen, where all is seen it is 1."""


@dataclass(frozen=True, eq=False)
class Clip:
    """What the network says, what was seen, and what to compare them with."""

    first: SmplParams
    place: Float[Tensor, "T 3"]
    """Of the pelvis, so that a picture's two sides and its depth are apart: metres sideways and
    down at the usual depth, and the logarithm of the depth."""
    usual_depth: float
    times: Float[ndarray, "T"]
    evidence: Evidence
    camera: Camera
    body: PosedBody
    points: KeypointsOfBody
    settings: Reprojection
    spread: Float[Tensor, "j 1"]
    """Standard deviation of the turns of those that turn, radians."""

    @staticmethod
    def of(
        first: SmplParams,
        seen: FilledTrack,
        camera: Camera,
        body: PosedBody,
        skeleton: Skeleton,
        settings: Reprojection,
        jumps: Bool[Tensor, "T J"] | None = None,
        folder: Path | None = None,
    ) -> "Clip":
        """What the network says of the frames of a track, with what was seen of them weighed.

        That lies in a file of the folder, if there is one.
        """
        pelvis = first.transl + body.pelvis_at_rest(first.betas[:1])
        depth = pelvis[:, 2:].clamp(min=NEAREST)
        usual = float(depth.median())
        points = KeypointsOfBody(body.body, body.points_of(skeleton), _MOVED)
        keypoints = torch.from_numpy(seen.keypoints)
        evidence = Evidence.to_come(keypoints, folder)
        for part in chunks(len(seen), keypoints, first.body_pose, evidence.weight):
            around = slice(max(part.start - REACH, 0), part.stop + REACH)
            weighed = weigh(
                keypoints[around],
                InPicture.of(points.at(first[around]), camera).pixels,
                depth[around, 0] / camera.focal.mean(),
                settings.visible_above,
                settings.sigma,
                settings.lingering,
                settings.most_lingering,
                None if jumps is None else jumps[around],
            )
            begin = part.start - around.start
            evidence[part] = weighed[begin : begin + part.stop - part.start]
        return Clip(
            first=first,
            place=torch.cat([pelvis[:, :2] / depth * usual, depth.log()], -1),
            usual_depth=usual,
            times=seen.times,
            evidence=evidence,
            camera=camera,
            body=body,
            points=points,
            settings=settings,
            spread=_spread(),
        )

    def some(self, part: slice | Tensor) -> "Clip":
        """Some of the frames."""
        return replace(
            self,
            first=self.first[part],
            place=self.place[part],
            times=self.times[part],
            evidence=self.evidence[part],
        )

    def of_shape(self, betas: Float[Tensor, "*T 10"]) -> "Clip":
        """The same motion of another shape: pelvis and rotations stay."""
        rest = self.body.pelvis_at_rest(self.first.betas[:1])
        betas = betas.expand_as(self.first.betas)
        transl = self.first.transl + rest - self.body.pelvis_at_rest(betas[:1])
        return replace(self, first=replace(self.first, betas=betas, transl=transl))

    def fitted_shape(self) -> Float[Tensor, "10"]:
        """Betas, from frames that are spread over the clip and know nothing of each other."""
        frames = self.evidence.seen.nonzero().flatten()
        if not len(frames):
            return self.first.betas[0]
        if len(frames) > SHAPE_FRAMES:
            frames = frames[torch.linspace(0, len(frames) - 1, SHAPE_FRAMES).long()]
        some, change = self.some(frames), _Change.none(len(frames), _SHAPE)
        shaped = some._by_shape()
        for _ in range(self.settings.steps):
            residuals, jacobian, seen = some._linearised(change)
            problem = SharingProblem(
                jacobian, seen.moved(*shaped).flatten(1, 2), some._prior(), _SHAPE_PRIOR
            )
            change = change.plus(problem.step(residuals, change.unknowns))
        return self.first.betas[0] + _SHAPE_SPREAD * change.shape

    def fitted(self) -> SmplParams:
        """The motion, its shape unchanged."""
        try:
            return self._changed(self._best(torch.float32))
        except np.linalg.LinAlgError:
            # Some smoothness counts many millions of times as much as all that is seen.
            return self._changed(self._best(torch.float64))

    def _best(self, dtype: torch.dtype) -> "_Change":
        """What moves the motion most of the way onto the keypoints."""
        change = _Change.none(len(self.times), 0)
        problem = ClipProblem(_numbers(self._prior()), self._smooth(), _UNKNOWNS, dtype)
        parts = [slice(begin, begin + _AT_ONCE) for begin in range(0, len(self.times), _AT_ONCE)]
        for _ in range(self.settings.steps):
            for part in parts:
                problem.see(part, *self.some(part)._linearised(change[part])[:2])
            step = torch.from_numpy(problem.step(_numbers(change.unknowns.of_frames))).float()
            change = change.plus(Unknowns(step, change.shape))
        return change

    def _changed(self, change: "_Change") -> SmplParams:
        turned = self.first.rotations()
        turned[:, :_MOVED] = turned[:, :_MOVED] @ axis_angle_to_matrix(change.turns * self.spread)
        betas = self.first.betas
        if len(change.shape):
            betas = betas + _SHAPE_SPREAD * change.shape
        pelvis = self._pelvis(change)
        return SmplParams.from_rotations(turned, betas, pelvis - self.body.pelvis_at_rest(betas))

    def _pelvis(self, change: "_Change") -> Float[Tensor, "T 3"]:
        place = self.place + _PLACE_SPREAD * change.shift
        depth = place[:, 2:].exp()
        return torch.cat([place[:, :2] * (depth / self.usual_depth), depth], -1)

    def _linearised(
        self, change: "_Change"
    ) -> tuple[Float[Tensor, "T 2*K"], Float[Tensor, "T 2*K n"], InPicture]:
        """Residuals, what they change by with the unknowns, and the points; all of it weighed."""
        levers = self.points.levers(self._changed(change))
        seen = InPicture.of(levers.points, self.camera)
        residuals = self.evidence.residuals(seen.pixels)
        certainty = self.evidence.robust_weight(residuals).sqrt()
        seen = seen.weighed(certainty * self.evidence.metres_per_pixel[:, None])
        turned = by_turning(levers, seen, change.turns, self.spread)
        moved = torch.cat([turned, self._by_shifting(change, seen)], -1)
        return (certainty[..., None] * residuals).flatten(1), moved.flatten(1, 2), seen

    def _prior(self) -> Float[Tensor, "T"]:
        """Weight of the network's answer."""
        return self.settings.prior * self.evidence.seen.clamp(min=_LEAST_HELD)

    def _by_shifting(self, change: "_Change", seen: InPicture) -> Float[Tensor, "T K 2 3"]:
        """Pixels for a standard deviation of each coordinate of the place."""
        pelvis = self._pelvis(change)[:, None]
        sideways = pelvis[..., 2:] / self.usual_depth
        none = torch.zeros_like(sideways)
        x = torch.cat([sideways, none, pelvis[..., :1]], -1)
        y = torch.cat([none, sideways, pelvis[..., 1:2]], -1)
        z = torch.cat([none, none, pelvis[..., 2:]], -1)
        return _PLACE_SPREAD * seen.moved(x, y, z)

    def _by_shape(self) -> Float[Tensor, "3 T K {_SHAPE}"]:
        """Metres that points move by for a standard deviation of each beta, the pelvis staying.

        Exactly, as points are linear in the shape; and much the same however joints will turn.
        """
        # The first of these shapes is the clip's own.
        steps = torch.cat([torch.zeros(1, _SHAPE), _SHAPE_SPREAD * torch.eye(_SHAPE)])[:, None]
        shapes, rest = self.first.betas[:1] + steps, self.body.pelvis_at_rest(self.first.betas[:1])
        frames = (_SHAPE + 1, len(self.place))
        bodies = SmplParams(
            self.first.global_orient.expand(*frames, 3, 3),
            self.first.body_pose.expand(*frames, 23, 3, 3),
            shapes.expand(*frames, 10),
            self.first.transl + rest - self.body.pelvis_at_rest(shapes),
        )
        points = self.points.at(bodies)
        return (points[1:] - points[:1]).permute(3, 1, 2, 0)

    def _turned(self) -> Float[Tensor, "T j 3"]:
        """How far each joint has turned since the first frame, radians about its own axes."""
        rotations = self.first.rotations()[:, :_MOVED]
        steps = matrix_to_axis_angle(rotations[:-1].mT @ rotations[1:])
        return functional.pad(steps.cumsum(0), (0, 0, 0, 0, 1, 0))

    def _smooth(self) -> tuple[Smooth, ...]:
        """Changes of turns are smooth, the whole path of the body is, and joints are calm."""
        settings, evidence = self.settings, self.evidence
        frames, turns = len(self.times), 3 * _MOVED
        path, turned = np.zeros((2, frames, turns + 3))
        path[:, turns:] = _numbers(self.place) / _PLACE_SPREAD
        turned[:, :turns] = _numbers((self._turned() / self.spread).mT.flatten(1))
        stiffness, calmness = np.ones(turns + 3), np.zeros(turns + 3)
        stiffness[turns:] = np.square(_STEADY)
        calmness[:turns] = np.tile(_numbers(self.spread[:, 0] / _USUAL_SPREAD) ** 2, 3)
        smoothly = settings.smooth + settings.smooth_trembling * _numbers(evidence.unrest)
        calmly = settings.calm_trembling * _numbers(evidence.commotion)
        return (
            Smooth(Roughness.of(self.times, smoothly), stiffness, path),
            Smooth(Roughness.of(self.times, calmly), calmness, turned),
        )


@dataclass(frozen=True, eq=False)
class _Change:
    """What is moved, in standard deviations: all zero is the network's answer."""

    unknowns: Unknowns
    """Of frames: turns of all `_MOVED` joints about their first axes, then about the second and the
    third, and the place. Shared: the shape, empty where it stays as it is."""

    @staticmethod
    def none(frames: int, shape: int) -> "_Change":
        return _Change(Unknowns(torch.zeros(frames, _UNKNOWNS), torch.zeros(shape)))

    @property
    def turns(self) -> Float[Tensor, "T j 3"]:
        return self.unknowns.of_frames[:, :-3].unflatten(1, (3, -1)).mT

    @property
    def shift(self) -> Float[Tensor, "T 3"]:
        return self.unknowns.of_frames[:, -3:]

    @property
    def shape(self) -> Float[Tensor, "s"]:
        return self.unknowns.shared

    def __getitem__(self, part: slice) -> "_Change":
        """Some of the frames."""
        return _Change(Unknowns(self.unknowns.of_frames[part], self.shape))

    def plus(self, step: Unknowns) -> "_Change":
        own = self.unknowns.of_frames + step.of_frames
        return _Change(Unknowns(own, self.shape + step.shared))


def _spread() -> Float[Tensor, "j 1"]:
    """Standard deviation of the turns of those that turn, radians."""
    names = [joint.removeprefix("left_").removeprefix("right_") for joint in SMPL24.joints[:_MOVED]]
    return torch.deg2rad(torch.tensor([_USUAL_DEGREES[name] for name in names]))[:, None]


def _numbers(values: Tensor) -> ndarray:
    return values.double().numpy()
