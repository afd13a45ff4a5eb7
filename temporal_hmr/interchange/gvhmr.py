"""GVHMR's `hmr4d_results.pt` (Shen et al., SIGGRAPH Asia 2024), written with torch.

`smpl_params_incam` (camera frame, OpenCV axes) and `smpl_params_global` (world, Y up), each with
`body_pose` (T, 63), `global_orient` (T, 3), `betas` (T, 10), `transl` (T, 3); `K_fullimg`
(T, 3, 3) or (3, 3). One person, in frames 0 to T - 1, or in those that `frame_ids` (T,) says, which
GVHMR does not write and our export does.

GVHMR predicts an SMPL-X body. Its 21 body joints are SMPL's and are taken as such, with the two
joints of SMPL's hands at rest. That is an approximation: the shape coefficients of SMPL-X mean
other shapes, and since SMPL-X's rest pelvis lies some 13 cm lower than SMPL's, the body read as
SMPL's is displaced by that much along +y of the frame (down in the camera's, up in the world's),
the same in every frame.
"""

import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.interchange.fields import Fields, smpl_params
from temporal_hmr.motion import PredictedMotion

_BODY_NUMBERS, _HAND_NUMBERS = 63, 6
_FRAMES = "frame_ids"


def read_gvhmr(path: Path, contents: Mapping) -> list[PredictedMotion]:
    """The one person. Raises `InputError` for what is missing or misshapen."""
    fields = Fields(path, "", contents)
    smpl = _smpl(fields.within("smpl_params_incam"), None)
    count = len(smpl.transl)
    if not count:
        fields.refuse("no frames")
    world = None
    if "smpl_params_global" in fields:
        world = _smpl(fields.within("smpl_params_global"), count)
    motion = PredictedMotion(
        name=fields.name,
        source="gvhmr",
        frames=_frames(fields, count) if _FRAMES in fields else np.arange(count),
        smpl=smpl,
        world=world,
        camera=_camera(fields, count),
    )
    return [motion]


def _frames(fields: Fields, count: int) -> Int[ndarray, "T"]:
    frames = fields.frames(_FRAMES)
    if len(frames) != count:
        fields.refuse(f"{count} frames in 'smpl_params_incam', not {len(frames)} as {_FRAMES!r}")
    return frames


def _smpl(fields: Fields, count: int | None) -> SmplParams:
    body = fields.numbers("body_pose", (count, _BODY_NUMBERS))
    count = len(body)
    poses = [fields.numbers("global_orient", (count, 3)), body, np.zeros((count, _HAND_NUMBERS))]
    betas = fields.numbers("betas", (count, 10))
    return smpl_params(np.concatenate(poses, 1), betas, fields.numbers("transl", (count, 3)))


def _camera(fields: Fields, count: int) -> Camera:
    """GVHMR puts the principal point at the image centre, which therefore tells the size.

    It assumes a focal length of the image diagonal unless its user has changed that.
    """
    matrices = fields.numbers("K_fullimg", (count, 3, 3), (3, 3)).reshape(-1, 3, 3)
    focal, center = matrices[:, [0, 1], [0, 1]], matrices[:, :2, 2]
    if not (np.isfinite(matrices).all() and min(focal.min(), center.min()) > 0):
        fields.refuse("matrices in 'K_fullimg' that are not [fx 0 cx; 0 fy cy; 0 0 1]")
    if (matrices == matrices[0]).all():
        focal, center = focal[0], center[0]
    width, height = 2 * center.reshape(-1, 2)[0]
    return Camera(
        torch.from_numpy(focal),
        torch.from_numpy(center),
        round(width),
        round(height),
        assumed=math.isclose(focal.flat[0], math.hypot(width, height), rel_tol=1e-3),
    )
