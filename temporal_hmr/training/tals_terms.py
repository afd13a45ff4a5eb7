"""TokenHMR's losses for windows of ours."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from temporal_hmr.batch import BodyPrediction, BodyTarget, CropWindow
from temporal_hmr.data.clip_labels import joints_for_points, known_points
from temporal_hmr.losses_tals import (
    TalsConfig,
    TalsPrediction,
    TalsTarget,
    estimate_thresholds,
    tals_losses,
)
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.skeleton import COCO23

JUDGED = (*COCO23.joints, "pelvis")
"""What the detector looks for, and the joint that 3D points are seen from."""
Frames = TypeVar("Frames", TalsPrediction, TalsTarget)


def tals_terms(
    prediction: BodyPrediction,
    target: BodyTarget,
    window: CropWindow,
    body: PosedBody,
    config: TalsConfig,
) -> dict[str, Float[Tensor, ""]]:
    """Weighted terms, means over the frames that count (published are sums)."""
    # A dataset's own joints are judged by the body's: its detector points lie up to 4 cm off them.
    instead = ~target.has_smpl[..., None].expand_as(target.has_joints)
    points = joints_for_points(prediction.points, prediction.joints, instead)
    prediction = replace(prediction, points=points)
    terms = tals_losses(
        tals_prediction(prediction),
        tals_target(target, window, body),
        config,
        JUDGED,
        JUDGED.index("pelvis"),
    )
    return {name: term / window.valid.sum().clamp(min=1) for name, term in terms.items()}


def measured_thresholds(
    parts: Iterable[tuple[TalsPrediction, TalsTarget]],
    config: TalsConfig,
    percentile: float | None = None,
) -> TalsConfig:
    """The same settings with thresholds for the joints judged here (see `estimate_thresholds`).

    The pelvis keeps its own: nobody annotates it, and no picture can say how far off it is.
    """
    predictions, targets = zip(*parts, strict=True)
    prediction, target = _joined(predictions), _joined(targets)
    annotated = [joint for joint in JUDGED if joint != "pelvis"]
    places = [JUDGED.index(joint) for joint in annotated]
    prediction = replace(prediction, keypoints=prediction.keypoints[:, places])
    target = replace(
        target,
        keypoints=target.keypoints[:, places],
        keypoint_confidence=target.keypoint_confidence[:, places],
    )
    measured = estimate_thresholds(prediction, target, config, annotated, percentile)
    pelvis = float(config.keypoint_limits(["pelvis"])[0])
    keypoints = {**measured.keypoint_thresholds, "pelvis": pelvis}
    return measured.model_copy(update={"keypoint_thresholds": keypoints})


def _joined(parts: Sequence[Frames]) -> Frames:
    """The frames of all parts in a row."""
    names = [field.name for field in fields(parts[0])]
    whole = {name: torch.cat([getattr(part, name) for part in parts]) for name in names}
    return replace(parts[0], **whole)


def tals_prediction(prediction: BodyPrediction) -> TalsPrediction:
    """All frames, as the losses (and the measuring of thresholds) take them."""
    return TalsPrediction(
        keypoints=_with_pelvis(prediction.keypoints, torch.zeros_like(prediction.keypoints)) / 2,
        joints=_with_pelvis(prediction.points, prediction.joints),
        rotations=prediction.smpl.rotations().flatten(0, 1),
        betas=prediction.smpl.betas.flatten(0, 1),
    )


def tals_target(target: BodyTarget, window: CropWindow, body: PosedBody) -> TalsTarget:
    """All frames; those that do not count have no confidence and no truth.

    Where the pelvis lies in the picture nobody annotates. Without SMPL the points are the known
    joints of the same names, if the pelvis that they are seen from is known.
    """
    points, known = known_points(target, body)
    joints = target.has_joints | target.has_smpl[..., None]
    known = _with_pelvis(known[..., None], joints[..., None])[..., 0]
    counts = window.valid.flatten()
    confidence = counts[:, None].expand(-1, len(JUDGED)).to(points.dtype)
    nobody = torch.zeros_like(target.has_keypoints)[..., None]
    annotated = _with_pelvis(target.has_keypoints[..., None], nobody)[..., 0]
    smpl = counts & target.has_smpl.flatten()
    return TalsTarget(
        keypoints=_with_pelvis(target.keypoints, torch.zeros_like(target.keypoints)) / 2,
        keypoint_confidence=confidence * annotated,
        joints=_with_pelvis(points, target.joints),
        joint_confidence=confidence * (known & known[:, -1:]),
        rotations=target.smpl.rotations().flatten(0, 1),
        has_rotations=smpl,
        betas=target.smpl.betas.flatten(0, 1),
        has_betas=smpl,
        trusted=target.trusted.repeat_interleave(window.valid.shape[1]),
    )


def _with_pelvis(
    points: Float[Tensor, "B T J C"], joints: Float[Tensor, "B T K C"]
) -> Float[Tensor, "N J+1 C"]:
    """Frames of all clips in a row, and the first of other joints after their points."""
    return torch.cat([points, joints[:, :, :1]], 2).flatten(0, 1)
