"""A folder of rendered clips as small as can be: true windows, random images."""

from dataclasses import replace
from pathlib import Path

import torch
from test_synthetic import swinging_take
from torch import Generator

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.rendered import ClipsDescription, claim_folder, write_shard
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rendering.settings import RenderingConfig


def a_batch(clips: int, frames: int, side: int) -> tuple[CropWindow, BodyTarget]:
    """Clips all of whose frames count."""
    posed = PosedBody(load_body())
    bank = MotionBank.of([swinging_take()])
    generator = Generator().manual_seed(0)
    shape = (clips, frames)
    window, target = synthesise(bank, posed, shape, Augmentation(), DetectorNoise(), generator)
    images = torch.randint(0, 255, (*shape, 3, side, side), dtype=torch.uint8, generator=generator)
    return replace(window, images=images, valid=torch.ones_like(window.valid)), target


def write_clips(folder: Path, clips: int = 3, frames: int = 4, side: int = 24) -> Path:
    """One shard; returns the folder."""
    description = ClipsDescription(
        body="open",
        subjects=("01", "05"),
        clips=clips,
        clips_per_shard=clips,
        frames=frames,
        seed=0,
        rendering=RenderingConfig(side=side),
        augmentation=Augmentation(),
        noise=DetectorNoise(),
    )
    claim_folder(folder, description)
    write_shard(folder, 0, *a_batch(clips, frames, side))
    return folder
