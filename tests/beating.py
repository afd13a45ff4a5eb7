"""Somebody whose arm beats as fast as arms do, and what is seen of them."""

import numpy as np
import torch

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.clip_windows import FilledTrack
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import BLAZEPOSE23, SMPL24

CAMERA = Camera.with_focal(1000.0, 1280, 960)
PIXELS_PER_METRE = 1000 / 4


def beating(frames: int, fps: float = 30.0) -> SmplParams:
    """Somebody four metres away whose left arm beats three times a second, as fast as arms do."""
    turns = torch.zeros(frames, 24, 3)
    turns[:, 0, 0] = torch.pi  # upright in a camera whose y points down
    seconds = torch.arange(frames) / fps
    turns[:, SMPL24.index("left_shoulder"), 2] = 0.8 * torch.sin(6 * torch.pi * seconds)
    transl = torch.tensor([[0.0, 0.0, 4.0]]).repeat(frames, 1)
    return SmplParams.from_rotations(axis_angle_to_matrix(turns), torch.zeros(frames, 10), transl)


def seen(posed: PosedBody, smpl: SmplParams, fps: float = 30.0) -> FilledTrack:
    """Its keypoints, exactly."""
    points = CAMERA.project(posed.body.regress(smpl, posed.points_of(BLAZEPOSE23)))
    keypoints = torch.cat([points, torch.ones_like(points[..., :1])], -1).numpy()
    frames = np.arange(len(keypoints))
    boxes = np.concatenate([keypoints[..., :2].min(1), keypoints[..., :2].max(1)], 1)
    return FilledTrack(frames, frames / fps, boxes, keypoints, np.ones(len(frames), bool))
