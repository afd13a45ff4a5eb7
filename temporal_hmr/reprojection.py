"""Bodies bent until their keypoints lie where the detector saw them.

A network that saw many people is right about depth, which pictures hide, and a little beside what
they show. Here its answer is the prior: rotations, place and shape are moved so that the projected
keypoints come to lie on the detected ones, as far as the detections can be believed (as in SMPLify,
Bogo et al., ECCV 2016, with the network's own answer in the place of a mixture of poses).
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from temporal_hmr.batch import BodyPrediction, CropWindow
from temporal_hmr.body.params import SmplParams
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import COCO23, SMPL24, Skeleton

FRAME_SECONDS = 1 / 30
"""The unit of time in which changes are smooth."""
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
    "hand": 0.0,
}
"""Root mean square of the default model's error about each axis of each joint, on training clips
seen by the simulated detector. Hands have no keypoint to say anything of them."""


@dataclass(frozen=True)
class Reprojection:
    """How far to believe network and detector. Lengths are in the box (1 is half its side)."""

    steps: int = 60
    """Of Adam, whose rate falls to nothing."""
    rate: float = 0.15
    """Of the first step, in standard deviations of the prior."""
    sigma: float = 0.015
    """Error of a detector at its best; beyond it, errors count in proportion, not squared."""
    lingering: float = 4.0
    """Lasting error of a keypoint for each unit of what trembles about it from frame to frame."""
    prior: float = 0.5
    """Weight of a change of one standard deviation."""
    smooth: float = 3.0
    """Weight of a change's acceleration, standard deviations per (1/30 s)^2."""
    smooth_trembling: float = 1000.0
    """The same for each unit that keypoints tremble by."""
    visible_above: float = 0.05
    """Keypoints of lower confidence count as unseen."""

    def by_frame(self) -> "Reprojection":
        """The same for frames that know nothing of each other."""
        return replace(self, lingering=0.0, smooth=0.0, smooth_trembling=0.0)


@dataclass(frozen=True, eq=False)
class _Change:
    """What is moved, in standard deviations: all zero is the network's answer."""

    turns: Float[Tensor, "B T 24 3"]
    shift: Float[Tensor, "B T 3"]
    """Sideways, and in depth as a ratio."""
    betas: Float[Tensor, "B 1 10"]

    @staticmethod
    def none(like: SmplParams) -> "_Change":
        batch, frames = like.transl.shape[:2]

        def zeros(*shape: int) -> Tensor:
            return like.transl.new_zeros(shape, requires_grad=True)

        return _Change(zeros(batch, frames, 24, 3), zeros(batch, frames, 3), zeros(batch, 1, 10))

    def tensors(self) -> list[Tensor]:
        return [self.turns, self.shift, self.betas]


_SHIFT_SPREAD = (0.1, 0.1, 0.1)
"""Standard deviations of the place: metres, metres, share of the depth."""
_STEADY = (3.0, 3.0, 20.0)
"""How many times smoother the place moves than joints turn; and not its change alone, but all of
its path: depth follows from the size of a person in pixels, and shakes by centimetres."""
_SHAPE_SPREAD = 0.5
"""Of betas."""


_LEAST_HELD = 0.2
"""Weight of the network's answer in a frame in which nothing is seen, where all is seen it is 1."""
_AT_REST = 0.1
"""Gradients below it move next to nothing, which Adam would otherwise scale up to a full step."""


def fit_to_keypoints(
    prediction: BodyPrediction,
    window: CropWindow,
    body: PosedBody,
    skeleton: Skeleton = COCO23,
    settings: Reprojection = Reprojection(),
) -> SmplParams:
    """The predicted bodies, moved so that their keypoints lie on the detected ones.

    `skeleton` says whose the detected ones are: `COCO23` or `BLAZEPOSE23`. Windows are fitted side
    by side and know nothing of each other. Frames without keypoints, and padding, follow their
    neighbours.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # What was made in inference mode cannot be differentiated through, its copy can.
        window = window.map(torch.clone)
        first = prediction.smpl.map(torch.clone)
        spread = _spread(first.transl)
        believed = _Evidence.of(body.keypoints(first, window, skeleton), window, settings)
        change = _Change.none(first)
        optimizer = torch.optim.Adam(change.tensors(), betas=(0.9, 0.99), eps=_AT_REST)
        for step in range(settings.steps):
            optimizer.param_groups[0]["lr"] = settings.rate * (1 - step / settings.steps)
            smpl = _changed(first, change, spread, body)
            keypoints = body.keypoints(smpl, window, skeleton)
            loss = believed.disagreement(keypoints)
            pelvis = smpl.transl + body.pelvis_at_rest(smpl.betas)
            path = torch.cat([pelvis[..., :2], pelvis[..., 2:].clamp(min=0.1).log()], -1)
            loss = loss + _unlikeliness(change, path, window, believed, settings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return _changed(first, change, spread, body)


@dataclass(frozen=True, eq=False)
class _Evidence:
    """Detected keypoints, and how far they can be believed."""

    keypoints: Float[Tensor, "B T J 2"]
    weight: Float[Tensor, "B T J"]
    sigma: Float[Tensor, "B 1 J"]
    trembling: Float[Tensor, "B"]
    """How much the keypoints of each clip jump from frame to frame."""

    @staticmethod
    def of(
        predicted: Float[Tensor, "B T J 2"], window: CropWindow, settings: Reprojection
    ) -> "_Evidence":
        seen = window.valid[..., None] & (window.scores > settings.visible_above)
        trembling = _trembling(predicted - window.keypoints, seen)
        whole = trembling.nanmedian(-1, keepdim=True).values.nan_to_num(0.0)
        trembling = torch.where(trembling.isnan(), whole, trembling)
        sigma = torch.hypot(
            torch.full_like(trembling, settings.sigma), settings.lingering * trembling
        )
        weight = torch.where(seen, window.scores, 0.0) ** 2
        return _Evidence(window.keypoints, weight, sigma[:, None], whole.squeeze(-1))

    def disagreement(self, keypoints: Float[Tensor, "B T J 2"]) -> Float[Tensor, ""]:
        """Huber's loss of distances in standard deviations."""
        distance = (((keypoints - self.keypoints) / self.sigma[..., None]) ** 2).sum(-1)
        distance = (distance + 1e-12).sqrt()
        loss = functional.smooth_l1_loss(distance, torch.zeros_like(distance), reduction="none")
        return (loss * self.weight).sum()


def _trembling(
    error: Float[Tensor, "B T J 2"], seen: Bool[Tensor, "B T J"]
) -> Float[Tensor, "B J"]:
    """Standard deviation of what is new in every frame; NaN where too little is seen.

    The network's answer moves smoothly, so second differences of the error are the detector's own.
    Their median is deaf to a few jumps, which the robust loss is there for.
    """
    if error.shape[1] < 3:
        return error.new_full((len(error), error.shape[2]), torch.nan)
    bend = error[:, 2:] - 2 * error[:, 1:-1] + error[:, :-2]
    known = seen[:, 2:] & seen[:, 1:-1] & seen[:, :-2]
    bend = torch.where(known[..., None], bend.abs(), torch.nan)
    # 0.6745: the median of a standard normal's size; 6: the squares of 1, -2 and 1.
    return bend.nanmedian(1).values.mean(-1) / (0.6745 * 6**0.5)


def _spread(like: Tensor) -> Float[Tensor, "24 1"]:
    degrees = [
        next(value for part, value in _USUAL_DEGREES.items() if joint.endswith(part))
        for joint in SMPL24.joints
    ]
    return torch.deg2rad(like.new_tensor(degrees))[:, None]


def _changed(
    first: SmplParams, change: _Change, spread: Float[Tensor, "24 1"], body: PosedBody
) -> SmplParams:
    rotations = first.rotations() @ axis_angle_to_matrix(change.turns * spread)
    betas = first.betas + _SHAPE_SPREAD * change.betas
    shift = change.shift * change.shift.new_tensor(_SHIFT_SPREAD)
    pelvis = first.transl + body.pelvis_at_rest(first.betas)
    # Nearer or farther along the line of sight: the picture stays where it is.
    pelvis = pelvis * shift[..., 2:].exp() + functional.pad(shift[..., :2], (0, 1))
    return SmplParams.from_rotations(rotations, betas, pelvis - body.pelvis_at_rest(betas))


def _unlikeliness(
    change: _Change,
    path: Float[Tensor, "B T 3"],
    window: CropWindow,
    believed: _Evidence,
    settings: Reprojection,
) -> Float[Tensor, ""]:
    """How far from the network's answer, and how jerkily; `path` is the pelvis's (log depth)."""
    moved = torch.cat([change.turns.flatten(2), change.shift], -1)
    # Where nothing is seen, a change goes on from one side to the other rather than back to none.
    seen = believed.weight.mean(-1).clamp(min=_LEAST_HELD)
    far = (seen * moved.square().sum(-1)).sum() + change.betas.square().sum()
    weight = settings.smooth + settings.smooth_trembling * believed.trembling
    steadiness = path.new_tensor(_STEADY) / path.new_tensor(_SHIFT_SPREAD)
    moving = torch.cat([change.turns.flatten(2), steadiness * path], -1)
    # What is said of padding must not pull at the path of real frames.
    there = window.valid[:, 2:] & window.valid[:, 1:-1] & window.valid[:, :-2]
    jerky = (there[..., None] * _acceleration(moving, window.times).square()).sum((1, 2))
    return settings.prior * far + (weight * jerky).sum()


def _acceleration(
    values: Float[Tensor, "B T C"], times: Float[Tensor, "B T"]
) -> Float[Tensor, "B _ C"]:
    """Second divided differences, per (1/30 s)^2; times that stand still count as a thirtieth."""
    gap = (times.diff(dim=1) / FRAME_SECONDS)[..., None]
    gap = torch.where(gap > 0, gap, 1.0)
    slope = values.diff(dim=1) / gap
    return slope.diff(dim=1) / ((gap[:, 1:] + gap[:, :-1]) / 2)
