"""Windows as the simulated detector sees people who sway and turn: to compare models on."""

import torch
from torch import Generator

from temporal_hmr.batch import CropWindow
from temporal_hmr.crops import READABLE_JOINTS, cut_window
from temporal_hmr.data.detector_noise import DetectorNoise, detect, draw_blazepose, smooth_noise
from temporal_hmr.data.synthetic import Augmentation, place
from temporal_hmr.models.heads import standing_person
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rotation import axis_angle_to_matrix

_SWING = 0.4
"""Usual turn of a joint about each axis, radians."""
_STROLL = 0.3
"""Usual way of the pelvis along each axis, metres."""


def simulated_windows(count: int, frames: int, body: PosedBody, seed: int) -> CropWindow:
    """So many windows at 30 frames a second; the last quarter of the first one is padding.

    Every frame that is not padding shows enough to read a body from, or is blacked out.
    """
    generator = Generator().manual_seed(seed)
    times = (torch.arange(frames) / 30).expand(count, frames)
    turns = _SWING * smooth_noise(times, 72, 0.7, generator).unflatten(-1, (24, 3))
    standing = standing_person()
    # The world's y points up, the camera's down.
    standing[0] = torch.eye(3)
    rotations = standing @ axis_angle_to_matrix(turns)
    path = _STROLL * smooth_noise(times, 3, 1.0, generator)
    betas = torch.randn(count, 1, 10, generator=generator).expand(count, frames, 10)
    scene = place(rotations, path, betas, times, body, Augmentation(), generator)
    pixels = scene.project(body.body.regress(scene.smpl, body.detector_points))
    noise = DetectorNoise(blazepose_share=0.0, feet_absent=0.0)
    blazepose = draw_blazepose(noise, count, generator)
    found = detect(pixels, times, scene.image_size, noise, generator, blazepose)
    readable = (found.scores > 0).sum(-1, keepdim=True) >= READABLE_JOINTS
    scores = torch.where(readable, found.scores, 0.0)
    valid = torch.ones(count, frames, dtype=torch.bool)
    valid[0, frames - frames // 4 :] = False
    focal = scene.focal[:, None].expand(count, 2).contiguous()
    scores = scores * valid[..., None]
    return cut_window(found.pixels, scores, times.contiguous(), valid, focal, scene.image_size / 2)
