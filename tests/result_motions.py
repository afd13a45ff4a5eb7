"""A motion as the tracker writes it, and where it says it comes from."""

import numpy as np
import torch

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.npz import Provenance
from temporal_hmr.skeleton import COCO23

PROVENANCE = Provenance("walk.mp4", "ab" * 32, "toy", "CC0", "toy.safetensors", "cd" * 32, "0.0")


def make_motion(num_frames: int = 5, person_id: int = 0) -> BodyMotion:
    """A random motion in which the third frame was not observed."""
    draw = torch.Generator().manual_seed(person_id)
    poses = torch.randn(num_frames, 72, generator=draw) * 0.5
    betas = torch.randn(10, generator=draw).expand(num_frames, -1)
    transl = torch.randn(num_frames, 3, generator=draw) + torch.tensor([0.0, 0, 4])
    observed = np.arange(num_frames) != 2
    numbers = np.random.default_rng(person_id)
    return BodyMotion(
        person_id=person_id,
        frames=np.arange(7, 7 + num_frames),
        times=np.arange(7, 7 + num_frames) / 29.97,
        fps=29.97,
        smpl=SmplParams.from_poses(poses, betas, transl),
        joints=numbers.normal(size=(num_frames, 24, 3)),
        camera=Camera(torch.tensor([900.0, 880.0]), torch.tensor([300.0, 260.0]), 640, 480, True),
        boxes=numbers.uniform(0, 400, (num_frames, 4)),
        keypoints=numbers.uniform(0, 400, (num_frames, 23, 3)),
        skeleton=COCO23,
        observed=observed,
        confidence=observed * 0.75,
    )
