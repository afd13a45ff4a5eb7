"""What INT's training asks of a prediction (Yang et al., INT, ICLR 2023; weights of the code).

Pure functions; batches are left as they were given. Reductions are the published ones: means run
over all entries, also over those of no confidence, so a clip with few known joints counts little.
Terms of poses and shapes are means over the frames that know them.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from temporal_hmr.configuration import Config
from temporal_hmr.rotation import matrix_to_axis_angle
from temporal_hmr.skeleton import LSP14, Skeleton

SPIN49 = Skeleton(
    "SPIN49",
    (
        "nose_openpose",
        "neck_openpose",
        "right_shoulder_openpose",
        "right_elbow_openpose",
        "right_wrist_openpose",
        "left_shoulder_openpose",
        "left_elbow_openpose",
        "left_wrist_openpose",
        "pelvis_openpose",
        "right_hip_openpose",
        "right_knee_openpose",
        "right_ankle_openpose",
        "left_hip_openpose",
        "left_knee_openpose",
        "left_ankle_openpose",
        "right_eye_openpose",
        "left_eye_openpose",
        "right_ear_openpose",
        "left_ear_openpose",
        "left_big_toe_openpose",
        "left_small_toe_openpose",
        "left_heel_openpose",
        "right_big_toe_openpose",
        "right_small_toe_openpose",
        "right_heel_openpose",
        *LSP14.joints,
        "pelvis",
        "thorax",
        "spine",
        "jaw",
        "head",
        "nose",
        "left_eye",
        "right_eye",
        "left_ear",
        "right_ear",
    ),
)
"""25 joints as OpenPose finds them, then 24 as data sets annotate them (SPIN, Kolotouros 2019)."""


class IntLossWeights(Config):
    """Weight of each term; the defaults are those of phases 1 and 2."""

    keypoints: float = 300.0
    joints: float = 600.0
    pose: float = 60.0
    shape: float = 0.06
    norm: float = 1.0
    """0.01 in phase 3."""
    velocity: float = 0.0
    """600 in phase 3."""
    reconstruction: float = 1.0
    """Of hidden tokens, where tokens are hidden."""


@dataclass(frozen=True, eq=False)
class IntPosed:
    """What of a predicted body the losses look at."""

    keypoints: Float[Tensor, "B T 49 2"]
    """In the crop (-1..1)."""
    joints: Float[Tensor, "B T 49 3"]
    """Metres, wherever the body stands."""
    rotations: Float[Tensor, "B T 24 3 3"]
    betas: Float[Tensor, "B T 10"]


@dataclass(frozen=True, eq=False)
class IntTarget:
    """The truth; numbers of no confidence mean nothing and are not read."""

    keypoints: Float[Tensor, "B T 49 2"]
    keypoint_confidence: Float[Tensor, "B T 49"]
    joints: Float[Tensor, "B T 49 3"]
    """Metres; where any joint is known the two annotated hips are, for they are the root."""
    joint_confidence: Float[Tensor, "B T 49"]
    rotations: Float[Tensor, "B T 24 3 3"]
    betas: Float[Tensor, "B T 10"]
    has_smpl: Bool[Tensor, "B T"]


def int_losses(predicted: IntPosed, target: IntTarget) -> dict[str, Float[Tensor, ""]]:
    """The terms of `IntLossWeights`, unweighted, but for the reconstruction of hidden tokens."""
    confidence = target.joint_confidence
    joints = relative_to_hips(predicted.joints), relative_to_hips(target.joints)
    return {
        "keypoints": weighted_square(
            predicted.keypoints, target.keypoints, target.keypoint_confidence
        ),
        "joints": weighted_square(*joints, confidence),
        "pose": known_square(predicted.rotations, target.rotations, target.has_smpl),
        "shape": known_square(predicted.betas, target.betas, target.has_smpl),
        "norm": parameter_norm(predicted.rotations, predicted.betas),
        "velocity": velocity_error(*joints, confidence),
    }


def weighted_sum(terms: dict[str, Float[Tensor, ""]], weights: IntLossWeights) -> Float[Tensor, ""]:
    """The sum of the terms, each by the weight of its name."""
    by_name = weights.model_dump()
    return torch.stack([by_name[name] * term for name, term in terms.items()]).sum()


def mixed_batches(
    video: Float[Tensor, ""], images: Float[Tensor, ""], frames: tuple[int, int]
) -> Float[Tensor, ""]:
    """One loss of a batch of clips and one of images, each by its share of the frames."""
    return (frames[0] * video + frames[1] * images) / sum(frames)


def weighted_square(
    predicted: Float[Tensor, "*b J D"],
    true: Float[Tensor, "*b J D"],
    confidence: Float[Tensor, "*b J"],
) -> Float[Tensor, ""]:
    """Squared differences times confidence, mean over all entries."""
    known = (confidence > 0)[..., None]
    error = torch.where(known, predicted - torch.where(known, true, 0.0), 0.0)
    return (confidence[..., None] * error**2).mean()


def known_square(
    predicted: Float[Tensor, "B T *d"], true: Float[Tensor, "B T *d"], known: Bool[Tensor, "B T"]
) -> Float[Tensor, ""]:
    """Mean squared difference over the frames that are known; 0 where none is."""
    if not known.any():
        return 0.0 * predicted.sum()
    return ((predicted[known] - true[known]) ** 2).mean()


def parameter_norm(
    rotations: Float[Tensor, "B T 24 3 3"], betas: Float[Tensor, "B T 10"]
) -> Float[Tensor, ""]:
    """Length of all frames' axis-angles and betas as one vector, over the number of frames."""
    poses = matrix_to_axis_angle(rotations).flatten(2)
    return torch.linalg.vector_norm(torch.cat([poses, betas], -1)) / betas[..., 0].numel()


def velocity_error(
    predicted: Float[Tensor, "B T J 3"],
    true: Float[Tensor, "B T J 3"],
    confidence: Float[Tensor, "B T J"],
) -> Float[Tensor, ""]:
    """Squared error of the steps from frame to sampled frame, mean over all entries; 0 for images.

    Joints relative to the hips, in metres per step; both frames' confidences multiply.
    """
    if predicted.shape[1] < 2:
        return 0.0 * predicted.sum()
    steps = predicted[:, 1:] - predicted[:, :-1], true[:, 1:] - true[:, :-1]
    return weighted_square(*steps, confidence[:, 1:] * confidence[:, :-1])


def reconstruction_error(
    mixed: Float[Tensor, "N 24 width"],
    alone: Float[Tensor, "N 24 width"],
    hidden: Bool[Tensor, "B T 24"],
) -> Float[Tensor, ""]:
    """Mean squared difference of hidden tokens from what their frames said, which it leaves alone.

    Over hidden tokens only (the released code took all); 0 where none is hidden.
    """
    rows = hidden.flatten(0, 1)
    if not rows.any():
        return 0.0 * mixed.sum()
    return ((mixed[rows] - alone.detach()[rows]) ** 2).mean()


def relative_to_hips(joints: Float[Tensor, "*b 49 3"]) -> Float[Tensor, "*b 49 3"]:
    """Joints as seen from the middle of the two annotated hips."""
    hips = joints[..., SPIN49.indices("right_hip", "left_hip"), :]
    return joints - hips.mean(-2, keepdim=True)
