"""TokenHMR's losses for windows of ours."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from temporal_hmr.batch import BodyPrediction, BodyTarget, CropWindow
from temporal_hmr.losses_tals import TalsConfig, TalsPrediction, TalsTarget, tals_losses
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.skeleton import COCO23

JUDGED = (*COCO23.joints, "pelvis")
"""What the detector looks for, and the joint that 3D points are seen from."""


def tals_terms(
    prediction: BodyPrediction,
    target: BodyTarget,
    window: CropWindow,
    body: PosedBody,
    config: TalsConfig,
) -> dict[str, Float[Tensor, ""]]:
    """Weighted terms, means over the frames that count (published are sums)."""
    terms = tals_losses(
        tals_prediction(prediction),
        tals_target(target, window, body),
        config,
        JUDGED,
        JUDGED.index("pelvis"),
    )
    return {name: term / window.valid.sum().clamp(min=1) for name, term in terms.items()}


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

    Where the pelvis lies in the picture nobody annotates.
    """
    points = body.body.regress(target.smpl, body.detector_points)
    counts = window.valid.flatten()
    confidence = counts[:, None].expand(-1, len(JUDGED)).to(points.dtype)
    annotated = torch.tensor([joint != "pelvis" for joint in JUDGED], device=points.device)
    smpl = counts & _each_frame(target.has_smpl, window)
    return TalsTarget(
        keypoints=_with_pelvis(target.keypoints, torch.zeros_like(target.keypoints)) / 2,
        keypoint_confidence=confidence * annotated,
        joints=_with_pelvis(points, target.joints),
        joint_confidence=confidence * _each_frame(target.has_joints, window)[:, None],
        rotations=target.smpl.rotations().flatten(0, 1),
        has_rotations=smpl,
        betas=target.smpl.betas.flatten(0, 1),
        has_betas=smpl,
        trusted=_each_frame(target.trusted, window),
    )


def _with_pelvis(
    points: Float[Tensor, "B T J C"], joints: Float[Tensor, "B T K C"]
) -> Float[Tensor, "N J+1 C"]:
    """Frames of all clips in a row, and the first of other joints after their points."""
    return torch.cat([points, joints[:, :, :1]], 2).flatten(0, 1)


def _each_frame(of_clips: Bool[Tensor, "B"], window: CropWindow) -> Bool[Tensor, "N"]:
    return of_clips.repeat_interleave(window.valid.shape[1])
