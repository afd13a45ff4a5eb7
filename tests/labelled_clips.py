"""Labelled sequences with images on disk, in which coloured spots mark points of the body."""

from functools import cache
from pathlib import Path

import cv2
import numpy as np
import torch
from test_synthetic import swinging_take

from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import COCO23

SIZE = (320, 240)
MARKED = ("nose", "left_wrist", "right_ankle")
"""Keypoints with a red, a green and a blue spot."""
SPOT = 2.5


@cache
def posed() -> PosedBody:
    return PosedBody(load_body())


def a_motion(frames: int, away: tuple[float, float, float] = (0.7, -0.2, 4.0)) -> SmplParams:
    """Someone who swings their limbs, far from the middle of the image, and drifts."""
    take = swinging_take()
    rotations = take.rotations[: 3 * frames : 3].double()
    # Upright in a camera frame whose y points down, turned a little to the side.
    upright = axis_angle_to_matrix(torch.tensor([torch.pi, 0, 0]).double())
    aside = axis_angle_to_matrix(torch.tensor([0.0, 0.6, 0.1]).double())
    root = aside @ upright @ rotations[:, 0]
    rotations = torch.cat([root[:, None], rotations[:, 1:]], 1)
    betas = torch.linspace(-1, 1, 10).double().expand(frames, 10)
    drift = torch.arange(frames)[:, None] * torch.tensor([0.02, 0.0, 0.03])
    return SmplParams.from_rotations(rotations, betas, torch.tensor(away) + drift.double())


def project(points: np.ndarray, focal: np.ndarray, center: np.ndarray) -> np.ndarray:
    return points[..., :2] / points[..., 2:] * focal[:, None] + center[:, None]


def write_sequence(
    folder: Path,
    frames: int = 5,
    focal: np.ndarray | None = None,
    name: str = "walk",
    subject: str = "",
    dataset: str = "made",
) -> Sequence:
    """Labels of everything, and an image with three spots for every frame.

    By default the principal point is not the image's middle.
    """
    folder.mkdir(exist_ok=True)
    smpl = a_motion(frames)
    focal = np.full((frames, 2), 260.0) if focal is None else focal
    center = np.tile([145.0, 128.0], (frames, 1))
    body = posed()
    points = body.body.regress(smpl.map(lambda t: t.float()), body.detector_points).numpy()
    pixels = project(points, focal, center)
    paths = []
    for frame in range(frames):
        paths.append(folder / f"{name}_{frame:03}.png")
        cv2.imwrite(str(paths[-1]), marked_image(pixels[frame])[..., ::-1])
    low, high = pixels.min(1), pixels.max(1)
    return Sequence(
        name=name,
        dataset=dataset,
        trusted=True,
        images=tuple(paths),
        image_size=SIZE,
        times=np.arange(frames) / 30,
        focal=focal,
        center=center,
        boxes=np.concatenate([low, high], 1),
        keypoints=np.concatenate([pixels, np.ones_like(pixels[..., :1])], -1),
        joints=body.body.joints(smpl.map(lambda t: t.float())).double().numpy(),
        has_joints=np.ones((frames, 24), bool),
        smpl=smpl,
        has_smpl=np.ones(frames, bool),
        subject=subject,
    )


def marked_image(pixels: np.ndarray) -> np.ndarray:
    """A red, a green and a blue spot on black."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]] + 0.5
    spots = []
    for joint in COCO23.indices(*MARKED):
        x, y = pixels[joint]
        spots.append(200 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * SPOT**2)))
    return np.stack(spots, -1).round().astype(np.uint8)


def spot(crop: torch.Tensor, channel: int) -> torch.Tensor:
    """Where the spot of one colour is in a crop [3 side side], -1..1; NaN where it is not."""
    weight = crop[channel].double()
    if weight.max() < 60:
        return torch.full((2,), torch.nan)
    place = (torch.arange(len(weight)) + 0.5) / len(weight) * 2 - 1
    return (
        torch.stack([(weight.sum(0) * place).sum(), (weight.sum(1) * place).sum()]) / weight.sum()
    )
