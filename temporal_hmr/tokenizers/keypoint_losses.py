"""What PCT's two stages are trained by (Geng et al., CVPR 2023), in pixels as published.

`losses.tokenizer_losses` is our own measure, in crop coordinates and over known joints alone.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from temporal_hmr.tokenizers.keypoint_classifier import ClassifiedKeypoints
from temporal_hmr.tokenizers.keypoints import Reconstruction

BETA = 0.05
"""Pixels below which the error counts as squared: next to nowhere."""


def reconstruction_losses(
    reconstruction: Reconstruction,
    target: Float[Tensor, "N joints 2"],
    visible: Bool[Tensor, "N joints"],
    commitment: float,
) -> dict[str, Float[Tensor, ""]]:
    """Weighted terms of stage 1; `commitment` is the weight of the setting of that name.

    `visible` is what the annotation says, with the joints that the tokenizer hid from itself.
    """
    return {
        "reconstruction": visible_error(reconstruction.keypoints, target, visible),
        "commitment": commitment * reconstruction.commitment,
    }


def classification_losses(
    found: ClassifiedKeypoints,
    labels: Int[Tensor, "N tokens"],
    target: Float[Tensor, "N joints 2"],
    visible: Bool[Tensor, "N joints"],
) -> dict[str, Float[Tensor, ""]]:
    """Weighted terms of stage 2: cross-entropy over all tokens, and the keypoints."""
    return {
        "tokens": functional.cross_entropy(found.logits.flatten(0, 1), labels.flatten()),
        "keypoints": visible_error(found.keypoints, target, visible),
    }


def visible_error(
    predicted: Float[Tensor, "N joints 2"],
    target: Float[Tensor, "N joints 2"],
    visible: Bool[Tensor, "N joints"],
) -> Float[Tensor, ""]:
    """Smooth L1 (pixels) of the visible joints, averaged over *all* entries.

    So a person of whom little is seen weighs little.
    """
    error = functional.smooth_l1_loss(predicted, target, beta=BETA, reduction="none")
    return torch.where(visible[..., None], error, 0.0).mean()
