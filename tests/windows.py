"""Windows as models are given them: drawn at random, or with pictures of one's own."""

import torch
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from temporal_hmr.batch import CropWindow
from temporal_hmr.models.heads import CROP_FOCAL


def a_window(batch: int = 2, frames: int = 8, side: int | None = None) -> CropWindow:
    """A person in an off-centre box, with images of that side if one is given."""
    generator = Generator().manual_seed(1)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=generator)

    return CropWindow(
        keypoints=2 * uniform(batch, frames, 23, 2) - 1,
        scores=uniform(batch, frames, 23),
        box_center=500 + 100 * uniform(batch, frames, 2),
        box_size=300 + 50 * uniform(batch, frames),
        focal=torch.full((batch, 2), 1500.0),
        center=torch.full((batch, 2), 540.0),
        times=torch.arange(frames).expand(batch, frames) / 30,
        valid=torch.ones(batch, frames, dtype=torch.bool),
        images=None if side is None else noise(batch, frames, side),
    )


def whole_pictures(images: UInt8[Tensor, "B T 3 side side"]) -> CropWindow:
    """A window whose boxes are the pictures themselves, before the camera of published systems.

    No keypoint is known.
    """
    batch, frames, _, side, _ = images.shape
    return CropWindow(
        keypoints=torch.zeros(batch, frames, 23, 2),
        scores=torch.zeros(batch, frames, 23),
        box_center=torch.full((batch, frames, 2), side / 2),
        box_size=torch.full((batch, frames), float(side)),
        focal=torch.full((batch, 2), CROP_FOCAL),
        center=torch.full((batch, 2), side / 2),
        times=torch.arange(frames).expand(batch, frames) / 30,
        valid=torch.ones(batch, frames, dtype=torch.bool),
        images=images,
    )


def noise(
    batch: int, frames: int, side: int, seed: int = 1
) -> UInt8[Tensor, "batch frames 3 side side"]:
    """Pictures of nothing."""
    generator = Generator().manual_seed(seed)
    shape = (batch, frames, 3, side, side)
    return torch.randint(256, shape, dtype=torch.uint8, generator=generator)


def one_clip(window: CropWindow, clip: int) -> CropWindow:
    """The window with one clip of its batch alone."""
    parts = {name: values for name, values in vars(window).items() if values is not None}
    return CropWindow(**{name: values[clip : clip + 1] for name, values in parts.items()})


def as_published(images: UInt8[Tensor, "B T 3 side side"]) -> Float[Tensor, "B*T 3 side side"]:
    """Pictures as published networks take them, for oracles that share no code with ours."""
    channels = zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True)
    planes = zip(images.flatten(0, 1).unbind(1), channels, strict=True)
    return torch.stack([(plane / 255.0 - mean) / spread for plane, (mean, spread) in planes], 1)
