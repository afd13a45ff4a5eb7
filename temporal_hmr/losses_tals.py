"""Threshold-adaptive loss scaling (Dwivedi et al., TokenHMR, CVPR 2024, section 3.4).

Where a prediction is as near to a pseudo-label as labels and cameras can be trusted, the loss is
scaled down: below the threshold of its joint an error counts `weak` times. Pure functions; what
they are given stays as it was.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from pydantic import Field
from torch import Tensor

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import SMPL24

OPENPOSE25_THRESHOLDS: Mapping[str, float] = {
    "nose": 8.50e-3,
    "neck": 6.49e-3,
    "right_shoulder": 7.48e-3,
    "right_elbow": 11.03e-3,
    "right_wrist": 13.56e-3,
    "left_shoulder": 7.42e-3,
    "left_elbow": 10.97e-3,
    "left_wrist": 14.14e-3,
    "mid_hip": 9.74e-3,
    "right_hip": 11.27e-3,
    "right_knee": 16.63e-3,
    "right_ankle": 5.65e-3,
    "left_hip": 11.26e-3,
    "left_knee": 16.16e-3,
    "left_ankle": 5.33e-3,
    "right_eye": 8.30e-3,
    "left_eye": 8.31e-3,
    "right_ear": 7.37e-3,
    "left_ear": 7.43e-3,
    "left_big_toe": 5.44e-3,
    "left_small_toe": 5.51e-3,
    "left_heel": 5.36e-3,
    "right_big_toe": 5.65e-3,
    "right_small_toe": 5.82e-3,
    "right_heel": 5.73e-3,
}
J19_THRESHOLDS: Mapping[str, float] = {
    "right_ankle": 5.54e-3,
    "right_knee": 15.15e-3,
    "right_hip": 9.86e-3,
    "left_hip": 9.98e-3,
    "left_knee": 15.20e-3,
    "left_ankle": 5.11e-3,
    "right_wrist": 12.88e-3,
    "right_elbow": 11.06e-3,
    "right_shoulder": 7.11e-3,
    "left_shoulder": 7.10e-3,
    "left_elbow": 10.92e-3,
    "left_wrist": 13.88e-3,
    "neck": 6.48e-3,
    "head_top": 7.66e-3,
    "pelvis": 9.31e-3,
    "thorax": 6.47e-3,
    "spine": 6.77e-3,
    "jaw": 7.44e-3,
    "head": 7.52e-3,
}
KEYPOINT_THRESHOLDS: Mapping[str, float] = {
    **{f"openpose_{name}": value for name, value in OPENPOSE25_THRESHOLDS.items()},
    **{f"j19_{name}": value for name, value in J19_THRESHOLDS.items()},
}
"""Published thresholds in crop units (-0.5..0.5), in the order of TokenHMR's 44 joints."""

ANGLE_THRESHOLDS: Mapping[str, float] = {
    "left_hip": 0.2737,
    "right_hip": 0.2648,
    "spine1": 0.1838,
    "left_knee": 0.4149,
    "right_knee": 0.3752,
    "spine2": 0.2079,
    "left_ankle": 0.2491,
    "right_ankle": 0.3389,
    "spine3": 0.1448,
    "left_foot": 0.3563,
    "right_foot": 0.3494,
    "neck": 0.3054,
    "left_collar": 0.3284,
    "right_collar": 0.3311,
    "head": 0.3481,
    "left_shoulder": 0.3636,
    "right_shoulder": 0.4006,
    "left_elbow": 0.4349,
    "right_elbow": 0.4401,
    "left_wrist": 0.7802,
    "right_wrist": 0.7376,
    "left_hand": 0.2493,
    "right_hand": 0.2497,
}
"""Published thresholds of body joints in radians, before `angle_scale`."""

JOINTS_44 = tuple(KEYPOINT_THRESHOLDS)
PELVIS_44 = JOINTS_44.index("j19_pelvis")
"""The joint that 3D joints are seen from."""

Metric = Literal["squared", "distance"]


class TalsConfig(Config):
    """Thresholds and weights; defaults as published."""

    adaptive: bool = True
    """False gives the plain losses of validation: every label counts in full."""
    weak: float = Field(default=0.05, ge=0, le=1)
    """What an error within its threshold counts."""
    metric: Metric = "squared"
    """What a keypoint's threshold is compared with: its squared distance, as the published code
    has it, or |dx| + |dy|, of which the published thresholds are said to be means. The same
    numbers mean 18 to 33 pixels of a 256 crop in the one, 1 to 4 in the other."""
    keypoint_thresholds: Mapping[str, float] = Field(default_factory=lambda: KEYPOINT_THRESHOLDS)
    """By joint, in crop units (squared where the metric is); their order is that of the joints."""
    angle_thresholds: Mapping[str, float] = Field(default_factory=lambda: ANGLE_THRESHOLDS)
    """By SMPL body joint, radians."""
    angle_scale: float = Field(default=0.8, ge=0)
    """Factor of the angles of body joints; not of the root's."""
    root_threshold: float = Field(default=0.46, ge=0)
    """Radians, of the global orientation."""
    joints: float = 0.05
    keypoints: float = 0.01
    orientation: float = 1e-3
    pose: float = 1e-3
    betas: float = 5e-4

    def keypoint_limits(self, joints: Sequence[str] = JOINTS_44) -> Float[Tensor, "J"]:
        """Thresholds of the named joints; raises `InputError` for one that has none.

        A name without prefix (`left_knee`) is looked for among OpenPose's joints, then J19's.
        """
        table = self.keypoint_thresholds
        limits = []
        for joint in joints:
            names = (joint, f"openpose_{joint}", f"j19_{joint}")
            found = next((table[name] for name in names if name in table), None)
            if found is None:
                raise InputError(f"keypoint_thresholds: none for {joint}; add one")
            limits.append(found)
        return torch.tensor(limits)

    def angle_limits(self) -> Float[Tensor, "24"]:
        """Thresholds of SMPL's joints as they are used: root as it is, the others scaled."""
        missing = [name for name in SMPL24.joints[1:] if name not in self.angle_thresholds]
        if missing:
            raise InputError(f"angle_thresholds: none for {missing[0]}; add one")
        body = [self.angle_scale * self.angle_thresholds[name] for name in SMPL24.joints[1:]]
        return torch.tensor([self.root_threshold, *body])


@dataclass(frozen=True, eq=False)
class TalsPrediction:
    """What the network says of N pictures."""

    keypoints: Float[Tensor, "N J 2"]
    """Projected joints in crop units (-0.5..0.5)."""
    joints: Float[Tensor, "N J 3"]
    """Metres."""
    rotations: Float[Tensor, "N 24 3 3"]
    betas: Float[Tensor, "N 10"]


@dataclass(frozen=True, eq=False)
class TalsTarget:
    """Labels of N pictures, true or pseudo."""

    keypoints: Float[Tensor, "N J 2"]
    keypoint_confidence: Float[Tensor, "N J"]
    joints: Float[Tensor, "N J 3"]
    joint_confidence: Float[Tensor, "N J"]
    rotations: Float[Tensor, "N 24 3 3"]
    has_rotations: Bool[Tensor, "N"]
    betas: Float[Tensor, "N 10"]
    has_betas: Bool[Tensor, "N"]
    trusted: Bool[Tensor, "N"]
    """Labels of motion capture or rendering rather than of a fit to pictures."""


def tals_weight(
    error: Float[Tensor, "*b J"], limits: Float[Tensor, "J"], weak: float
) -> Float[Tensor, "*b J"]:
    """1 where the error exceeds what a label can resolve, `weak` within it."""
    return torch.where(error.detach() > limits.to(error), 1.0, weak)


def keypoint_deviation(
    predicted: Float[Tensor, "N J 2"], true: Float[Tensor, "N J 2"], metric: Metric
) -> Float[Tensor, "N J"]:
    """What the threshold of a keypoint is compared with (but for the confidence)."""
    difference = predicted - true
    return (difference**2).sum(-1) if metric == "squared" else difference.abs().sum(-1)


def tals_losses(
    prediction: TalsPrediction,
    target: TalsTarget,
    config: TalsConfig,
    joints: Sequence[str] = JOINTS_44,
    pelvis: int = PELVIS_44,
) -> dict[str, Float[Tensor, ""]]:
    """Weighted terms, each a *sum* over pictures and joints: their scale grows with the batch.

    `joints` names the J keypoints; 3D joints are compared as seen from the one at `pelvis`. Trusted
    labels count in full in 3D, rotations and (they alone) betas, but not in 2D, where it is the
    camera that is wrong.
    """
    limits = config.keypoint_limits(joints)
    confidence = target.keypoint_confidence
    deviation = confidence * keypoint_deviation(
        prediction.keypoints, target.keypoints, config.metric
    )
    strong = deviation.detach() > limits.to(deviation)
    full = torch.ones_like(target.trusted)
    trusted = target.trusted if config.adaptive else full
    keypoint_weight = torch.where(strong, 1.0, config.weak if config.adaptive else 1.0)
    off = (prediction.keypoints - target.keypoints).abs().sum(-1)

    kept = target.joint_confidence * (trusted[:, None] | (confidence * strong > 0.5))
    apart = _seen_from(prediction.joints, pelvis) - _seen_from(target.joints, pelvis)

    turned = _rotation_terms(prediction, target, config, trusted)
    betas = ((prediction.betas - target.betas) ** 2).sum(-1) * (target.has_betas & trusted)
    return {
        "keypoints": config.keypoints * (confidence * keypoint_weight * off).sum(),
        "joints": config.joints * (kept * apart.abs().sum(-1)).sum(),
        "orientation": config.orientation * turned[:, 0].sum(),
        "pose": config.pose * turned[:, 1:].sum(),
        "betas": config.betas * betas.sum(),
    }


def _rotation_terms(
    prediction: TalsPrediction,
    target: TalsTarget,
    config: TalsConfig,
    trusted: Bool[Tensor, "N"],
) -> Float[Tensor, "N 24"]:
    """Squared Frobenius distances of rotations, scaled."""
    angle = geodesic_angle(prediction.rotations.detach(), target.rotations)
    weight = tals_weight(angle, config.angle_limits(), config.weak)
    weight = torch.where(trusted[:, None], 1.0, weight) * target.has_rotations[:, None]
    return weight * ((prediction.rotations - target.rotations) ** 2).sum((-2, -1))


def _seen_from(joints: Float[Tensor, "N J 3"], joint: int) -> Float[Tensor, "N J 3"]:
    return joints - joints[:, joint : joint + 1]


@torch.no_grad()
def estimate_thresholds(
    prediction: TalsPrediction,
    target: TalsTarget,
    config: TalsConfig,
    joints: Sequence[str] = JOINTS_44,
    percentile: float | None = None,
) -> TalsConfig:
    """The same settings with thresholds measured: each joint's mean error against the truth.

    `prediction` comes from a model whose camera is the one that training will use, `target` from
    data whose truth is exact. `percentile` (0..100) takes that of the errors in place of the mean.
    Keypoint errors are in the unit of `config.metric`; only those of a confidence above 0 count.
    Raises `InputError` where a joint was never seen, or no rotation is known.
    """
    deviation = keypoint_deviation(prediction.keypoints, target.keypoints, config.metric)
    keypoints = {}
    for index, name in enumerate(joints):
        seen = deviation[target.keypoint_confidence[:, index] > 0, index]
        keypoints[name] = _typical(seen, percentile, name)
    angle = geodesic_angle(prediction.rotations, target.rotations)[target.has_rotations]
    angles = [
        _typical(angle[:, joint], percentile, name) for joint, name in enumerate(SMPL24.joints)
    ]
    return config.model_copy(
        update={
            "keypoint_thresholds": keypoints,
            "angle_thresholds": dict(zip(SMPL24.joints[1:], angles[1:], strict=True)),
            "root_threshold": angles[0],
        }
    )


def _typical(errors: Float[Tensor, "n"], percentile: float | None, joint: str) -> float:
    if len(errors) == 0:
        raise InputError(f"no picture says where {joint} is: its threshold cannot be measured")
    if percentile is None:
        return float(errors.mean())
    if not 0 <= percentile <= 100:
        raise InputError(f"{percentile} is no percentile: give a number from 0 to 100")
    return float(torch.quantile(errors, percentile / 100))
