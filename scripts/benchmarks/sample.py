"""The bundled clip made one of 1280 x 720, and what is known of the person in it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch

from temporal_hmr.camera import Camera
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.output.npz import load_motion
from temporal_hmr.output.overlay import write_video
from temporal_hmr.video import Clip, Frame, open_clip

WIDTH, HEIGHT = 1280, 720
ASSETS = Path(str(files("temporal_hmr"))) / "assets"
TRUTH = ASSETS / "sample_truth.npz"


@dataclass(frozen=True, eq=False)
class Sample:
    """One person, seen over all of the height."""

    path: Path
    clip: Clip
    motion: BodyMotion

    def frames(self) -> Iterator[Frame]:
        """Decoded anew."""
        return islice(self.clip, len(self.motion))

    def track(self) -> Track:
        """The person as a detector that knows the truth would see them."""
        truth = self.motion
        known = (truth.person_id, truth.frames, truth.times, truth.boxes, truth.keypoints)
        return Track(*known, truth.skeleton)


def sample_720p(folder: Path, frames: int | None = None) -> Sample:
    """The clip, its outermost columns drawn out to the sides, written into the folder.

    `frames` says how many of its frames, from the first on; None takes all.
    """
    original = open_clip(ASSETS / "sample.mp4")
    left = (WIDTH - original.width) // 2
    right = WIDTH - original.width - left
    path = folder / "sample_720p.mp4"
    images = (
        cv2.copyMakeBorder(frame.image, 0, 0, left, right, cv2.BORDER_REPLICATE)
        for frame in islice(original, frames)
    )
    write_video(images, original.fps, path)
    clip = open_clip(path)
    truth = load_motion(TRUTH)
    shift = np.array([left, 0, left, 0], np.float32)
    keypoints = truth.keypoints.copy()
    keypoints[..., 0] += left
    center = truth.camera.center + torch.tensor([float(left), 0.0])
    kept = slice(len(clip))
    motion = replace(
        truth,
        frames=truth.frames[kept],
        times=truth.times[kept],
        smpl=truth.smpl[kept],
        joints=truth.joints[kept],
        camera=Camera(truth.camera.focal, center, WIDTH, HEIGHT),
        boxes=(truth.boxes + shift)[kept],
        keypoints=keypoints[kept],
        observed=truth.observed[kept],
        confidence=truth.confidence[kept],
    )
    return Sample(path, clip, motion)
