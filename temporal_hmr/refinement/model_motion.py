"""What the temporal model says of a body that somebody else recovered.

The body's own points are projected into a camera in front of it, as if a detector had seen them,
and the model recovers a motion from those.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.motion import Track
from temporal_hmr.recover import recover
from temporal_hmr.skeleton import COCO23

_CAMERA_SIZE = (1280, 720)
_DISTANCE = 4.0
"""Metres from the camera to somebody whose place is not known."""
_NEAREST = 1.0
"""Metres: somebody nearer to the camera is put at `_DISTANCE`."""


def model_rotations(
    model: Hmr,
    smpl: SmplParams,
    times: Float[ndarray, "T"],
    seen: Bool[ndarray, "T"],
    upright: Float[Tensor, "3 3"],
    placed: bool,
) -> Float[Tensor, "T 24 3 3"]:
    """The model's rotations of every frame, in the frame that `smpl` is given in.

    `upright` turns that frame into one with OpenCV's axes. Where it is no camera's, or the body is
    not `placed` in it, the camera follows the body. Frames that are not `seen` are hidden from the
    model. Raises `InputError` for a model that looks at images or speaks of SMPL's shapes.
    """
    body = load_body()
    if model.config.image_side() is not None or model.config.body != body.name:
        raise InputError(
            "--with model takes weights that look at keypoints and speak of the open body"
        )
    turned = body.transform(
        smpl.map(lambda tensor: tensor.float()), upright.float(), torch.zeros(3)
    )
    if not placed or bool((turned.transl[:, 2] < _NEAREST).any()):
        ahead = turned.transl.new_tensor([0.0, 0.0, _DISTANCE]).expand_as(turned.transl)
        turned = replace(turned, transl=ahead - body.rest_joints(turned.betas)[:, 0])
    width, height = _CAMERA_SIZE
    camera = Camera.with_assumed_focal(width, height)
    track = _as_seen(turned, camera, times, seen, PosedBody(body))
    fps = 1 / float(np.median(np.diff(times))) if len(times) > 1 else 1.0
    said = recover(model, body, track, camera, fps, fit=None).smpl.rotations().double()
    said = said.clone()
    said[:, 0] = upright.double().mT @ said[:, 0]
    return said


def _as_seen(
    smpl: SmplParams,
    camera: Camera,
    times: Float[ndarray, "T"],
    seen: Bool[ndarray, "T"],
    body: PosedBody,
) -> Track:
    """What a detector without faults would have seen."""
    pixels = camera.project(body.body.regress(smpl, body.detector_points)).numpy()
    scores = np.ones((*pixels.shape[:2], 1))
    keypoints = np.concatenate([pixels, scores], -1).astype(np.float32)
    boxes = np.concatenate([pixels.min(1), pixels.max(1)], 1).astype(np.float32)
    # A track begins and ends with a sighting.
    shown = seen.copy()
    shown[[0, -1]] = True
    rows = np.flatnonzero(shown)
    return Track(0, rows, times[rows], boxes[rows], keypoints[rows], COCO23)
