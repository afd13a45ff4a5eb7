"""Crops of a window as image networks take them."""

import torch
from jaxtyping import Float
from torch import Tensor

from temporal_hmr.batch import CropWindow
from temporal_hmr.errors import InputError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Of RGB in 0..1 (Russakovsky et al., IJCV 2015), as all published backbones expect it."""


def frame_images(window: CropWindow, side: int) -> Float[Tensor, "N 3 side side"]:
    """The frames of all clips, RGB less ImageNet's mean and over its deviation.

    Raises `InputError` if the window has no images, or those of another size.
    """
    if window.images is None:
        raise InputError("this model looks at images, and was given keypoints alone")
    if window.images.shape[-2:] != (side, side):
        given = " x ".join(map(str, window.images.shape[-2:]))
        raise InputError(f"this model looks at crops of {side} x {side} pixels, not of {given}")
    images = window.images.flatten(0, 1).float() / 255
    mean, deviation = (
        torch.tensor(values, device=images.device)[:, None, None]
        for values in (IMAGENET_MEAN, IMAGENET_DEVIATION)
    )
    # Channels last: convolutions on a processor take a third of the time or less.
    return ((images - mean) / deviation).contiguous(memory_format=torch.channels_last)
