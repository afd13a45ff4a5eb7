"""A result of two people who walk, with its video, as the tests of the page want it."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from walking import moved, predicted, walk

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.folder import write_results
from temporal_hmr.output.npz import Provenance
from temporal_hmr.skeleton import COCO23
from temporal_hmr.tracking import digest

COUNT, FPS = 24, 12.0
CAMERA = Camera.with_focal(300.0, 160, 120)
HOSTILE = "</script><img src=x onerror=alert(1)>&amp;'\"\u2028.mp4"
"""As a file may be called, but for the slash, which only a made-up result can name."""


def frames_of_video(count: int = COUNT) -> list[np.ndarray]:
    """RGB images of one grey each, ever lighter, by which a frame is known again."""
    return [np.full((120, 160, 3), grey_of(number), np.uint8) for number in range(count)]


def grey_of(frame: int) -> int:
    return 20 + 8 * frame


def image_folder(path: Path, count: int = COUNT) -> Path:
    """The video as a folder of images, which keeps the greys as they are."""
    path.mkdir()
    for number, image in enumerate(frames_of_video(count)):
        cv2.imwrite(str(path / f"{number:03d}.png"), image)
    return path


def walker(body: BodyModel, person_id: int, aside: float, first: int = 0) -> BodyMotion:
    """Somebody in frames `first` to the last, unseen in the third and the fourth of them."""
    smpl = moved(walk(body, COUNT, FPS), np.array([aside, 0, 0]))
    return as_motion(body, predicted(body, smpl).smpl[first:], person_id, first)


def as_motion(body: BodyModel, smpl: SmplParams, person_id: int, first: int = 0) -> BodyMotion:
    """As our tracker would give these bodies."""
    count = len(smpl.transl)
    smpl = smpl.map(lambda tensor: tensor.double())
    pixels = CAMERA.project(
        body.regress(smpl, body.point_regressor(body.regressors["coco_feet"])).float()
    ).numpy()
    observed = ~np.isin(np.arange(count), (2, 3))
    confidence = np.where(observed, 0.5 + 0.02 * np.arange(count), 0.0)
    points = np.concatenate([pixels, np.ones((count, 23, 1))], -1) * observed[:, None, None]
    points[..., 2] *= confidence[:, None]
    return BodyMotion(
        person_id=person_id,
        frames=np.arange(first, first + count),
        times=np.arange(first, first + count) / FPS,
        fps=FPS,
        smpl=smpl,
        joints=body.joints(smpl).numpy(),
        camera=CAMERA,
        boxes=np.concatenate([pixels.min(1), pixels.max(1)], -1),
        keypoints=points,
        skeleton=COCO23,
        observed=observed,
        confidence=confidence,
    )


def write(folder: Path, motions: list[BodyMotion], source: str, sha256: str = "ab" * 32) -> Path:
    settings = {"focal": None, "person": "all", "start": None, "end": None}
    provenance = Provenance(
        source, sha256, "open", "CC0", "w.safetensors", "cd" * 32, "0.0", settings=settings
    )
    write_results(folder, motions, {"fps": FPS, "num_frames": COUNT}, provenance)
    return folder


def two_walkers(folder: Path, body: BodyModel, source: str = "walk", video: Path | None = None):
    """The second comes in at the eleventh frame."""
    motions = [walker(body, 0, -0.5), walker(body, 3, 0.5, first=10)]
    sha256 = "ab" * 32 if video is None else digest(video)
    return write(folder, motions, source, sha256)


def broken(motion: BodyMotion, row: int) -> BodyMotion:
    """With a translation that is no number."""
    transl = motion.smpl.transl.clone()
    transl[row, 0] = torch.nan
    return replace(motion, smpl=replace(motion.smpl, transl=transl))
