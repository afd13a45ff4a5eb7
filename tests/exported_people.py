"""People to export, on a body small enough for many tests."""

from dataclasses import replace
from functools import cache

import numpy as np
import torch
from body_files import small_body
from result_motions import make_motion

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyArrays, BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.output.exported import Exported, exported
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24

UPRIGHT = (1.0, -1.0, -1.0)
"""Somebody who stands before the camera and looks at it: half a turn about x from SMPL's rest."""


@cache
def toy_body(name: str = "toy") -> BodyModel:
    """60 vertices of no shape in particular, correctives of some centimetres, in float64."""
    arrays = small_body()
    body = BodyArrays(
        name=name,
        licence="CC0, made up",
        v_template=arrays["v_template"],
        faces=arrays["f"].astype(np.int64),
        shapedirs=arrays["shapedirs"][..., :10],
        posedirs=arrays["posedirs"],
        joint_regressor=arrays["J_regressor"],
        weights=arrays["weights"],
    )
    return BodyModel(body, torch.float64)


@cache
def open_body() -> BodyModel:
    return load_body(dtype=torch.float64)


def somebody(num_frames: int = 5, person_id: int = 0, body: BodyModel | None = None) -> Exported:
    """In frames 7, 8, ... at 29.97 a second, in any poses."""
    motion = PredictedMotion.of(make_motion(num_frames, person_id), f"person_{person_id:03d}.npz")
    return exported(motion, body or toy_body(), True, 99, 30.0)


def standing(num_frames: int, body: BodyModel, **turned: tuple[float, float, float]) -> SmplParams:
    """Before the camera, looking at it, 4 m away; joints turned by these axis-angles."""
    rotations = torch.eye(3, dtype=torch.float64).repeat(num_frames, 24, 1, 1)
    rotations[:, 0] = torch.diag(torch.tensor(UPRIGHT, dtype=torch.float64))
    for joint, vector in turned.items():
        turn = torch.tensor(vector, dtype=torch.float64)
        rotations[:, SMPL24.index(joint)] = axis_angle_to_matrix(turn)
    transl = torch.tensor([0.0, 0.0, 4.0], dtype=torch.float64).repeat(num_frames, 1)
    return SmplParams.from_rotations(rotations, torch.zeros(num_frames, 10).double(), transl)


def doing(smpl: SmplParams, body: BodyModel, **fields: object) -> Exported:
    """Somebody with these parameters, at 30 frames a second unless told otherwise."""
    count = len(smpl.transl)
    given = {"fps": 30.0, "frames": np.arange(count), "times": np.arange(count) / 30.0} | fields
    return replace(somebody(count), smpl=smpl, body=body, **given)


def turned_about_y(angle: float, vector: np.ndarray) -> np.ndarray:
    """Worked by hand, for tests that must not lean on our own rotations."""
    x, y, z = vector
    return np.array(
        [np.cos(angle) * x + np.sin(angle) * z, y, np.cos(angle) * z - np.sin(angle) * x]
    )
