"""Somebody who walks as a formula says, and what the checks find in them."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy import ndarray
from torch import Tensor

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.checks.findings import Finding
from temporal_hmr.checks.reading import Given
from temporal_hmr.checks.run import CheckSettings, check_people
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import SMPL24

TO_CAMERA = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
"""From a world with y up, facing the camera, to OpenCV's axes."""
CAMERA_AT = torch.tensor([0.0, 0.0, 6.0], dtype=torch.float64)
STRIDE = 0.25
"""Metres that an ankle gets before and behind its hip."""


def about(axis: int, angle: ndarray) -> Tensor:
    """Rotations about one axis by angles in radians."""
    vectors = np.zeros((*np.shape(angle), 3))
    vectors[..., axis] = angle
    return axis_angle_to_matrix(torch.from_numpy(vectors))


def gait(body: BodyModel, count: int, fps: float) -> tuple[Tensor, ndarray]:
    """Rotations of the 24 joints, and the pelvis's way forward in metres.

    Each ankle goes back at the pelvis's speed for half of a second's cycle, level with the ground,
    and is swung forward in the other half; hips and knees follow by the geometry of two links.
    """
    cycle = np.arange(count) / fps
    turns = torch.eye(3, dtype=torch.float64).repeat(count, 24, 1, 1)
    rest = body.rest_joints(torch.zeros(10, dtype=torch.float64)).numpy()
    for side, shift, down in (("left", 0.0, -1.3), ("right", 0.5, 1.3)):
        hip, knee, ankle, shoulder = SMPL24.indices(
            *(f"{side}_{joint}" for joint in ("hip", "knee", "ankle", "shoulder"))
        )
        # y + iz: to turn about x by an angle is to multiply by e to the i angle.
        thigh, shank = ((rest[k, 1] + 1j * rest[k, 2]) - (rest[j, 1] + 1j * rest[j, 2])
                        for j, k in ((hip, knee), (knee, ankle)))  # fmt: skip
        target = _ankle_path((cycle + shift) % 1.0)
        cosine = (np.abs(target) ** 2 - abs(thigh) ** 2 - abs(shank) ** 2) / 2
        bend = np.arccos(cosine / abs(thigh * shank)) - np.angle(shank / thigh)
        swing = np.angle(target / (thigh + shank * np.exp(1j * bend)))
        turns[:, hip], turns[:, knee] = about(0, swing), about(0, bend)
        turns[:, ankle] = about(0, -swing - bend)
        turns[:, shoulder] = about(0, -0.5 * swing) @ about(2, np.full(count, down))
    return turns, 4 * STRIDE * cycle


def _ankle_path(phase: ndarray) -> ndarray:
    """y + iz of an ankle from its hip: back in the first half of the cycle, then forward."""
    back = STRIDE * (1 - 4 * phase)
    u = 2 * phase - 1
    # From -1 to 1, beginning and ending at the speed of the way back.
    forward = STRIDE * (-1 - 2 * u + 40 * u**3 - 60 * u**4 + 24 * u**5)
    lift = 0.15 * 64 * (u * (1 - u)) ** 3
    return np.where(phase < 0.5, -0.72 + 1j * back, -0.72 + lift + 1j * forward)


def walk(body: BodyModel, count: int = 90, fps: float = 30.0) -> SmplParams:
    """In the world, y up, along z."""
    turns, way = gait(body, count, fps)
    place = torch.zeros(count, 3, dtype=torch.float64)
    place[:, 2] = torch.from_numpy(way)
    return SmplParams.from_rotations(turns, torch.zeros(count, 10).double(), place)


def standing(count: int) -> SmplParams:
    """Upright and quite still, arms down."""
    turns = torch.eye(3, dtype=torch.float64).repeat(count, 24, 1, 1)
    for joint, angle in (("left_shoulder", -1.3), ("right_shoulder", 1.3)):
        turns[:, SMPL24.index(joint)] = about(2, np.array(angle))
    zeros = torch.zeros(count, 10, dtype=torch.float64)
    return SmplParams.from_rotations(turns, zeros, zeros[:, :3])


def moved(smpl: SmplParams, offset: ndarray) -> SmplParams:
    """Displaced by metres, one displacement for all frames or one for each."""
    return replace(smpl, transl=smpl.transl + torch.as_tensor(offset, dtype=torch.float64))


def predicted(
    body: BodyModel, smpl: SmplParams, fps: float = 30.0, name: str = "walk", **more: Any
) -> PredictedMotion:
    """In the world as given, and as seen by a camera that stands six metres away."""
    count = len(smpl.transl)
    camera = body.transform(smpl, TO_CAMERA.expand(count, 3, 3), CAMERA_AT.expand(count, 3))
    motion = PredictedMotion(name, "test", np.arange(count), camera, world=smpl, fps=fps)
    return replace(motion, **more)


def check(
    body: BodyModel,
    *motions: PredictedMotion,
    own_body: bool = True,
    settings: CheckSettings = CheckSettings(),
) -> list[dict[str, Finding]]:
    """For every person the findings by name; those of several spaces as `jitter world`."""
    given = [Given(motion, body, own_body) for motion in motions]
    return [
        {f"{f.name} {f.space}".strip(): f for f in person.findings}
        for person in check_people(given, settings)
    ]


def wrong(findings: dict[str, Finding]) -> set[str]:
    """The names of what warns or fails."""
    return {f.name for f in findings.values() if f.verdict in ("warn", "fail")}


def when(finding: Finding) -> list[tuple[int, int]]:
    """First and last frames of all moments."""
    return [(moment.first_frame, moment.last_frame) for moment in finding.moments]


def from_frame(
    smpl: SmplParams, first: int, change: Callable[[SmplParams], SmplParams]
) -> SmplParams:
    """The motion, changed from a frame on."""
    before, after = smpl[:first], change(smpl[first:])
    return SmplParams(*(torch.cat(pair) for pair in zip(parts(before), parts(after), strict=True)))


def parts(smpl: SmplParams) -> tuple[Tensor, ...]:
    return smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl
