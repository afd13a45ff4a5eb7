"""The bundled clip made one of 1280 x 720, and what is known of the person in it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import torch
from jaxtyping import Int
from numpy import ndarray

from temporal_hmr.camera import Camera
from temporal_hmr.motion import BodyMotion, Track
from temporal_hmr.output.encoding import write_video
from temporal_hmr.output.npz import load_motion
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

    `frames` says how many, from the first on, and back and forth where it has no more; None takes
    each once.
    """
    original, truth = open_clip(ASSETS / "sample.mp4"), load_motion(TRUTH)
    order = forth_and_back(len(original), frames)
    left = (WIDTH - original.width) // 2
    right = WIDTH - original.width - left
    path = folder / f"sample_720p_{len(order)}.mp4"
    shown = [frame.image for frame in islice(original, int(order.max()) + 1)]
    images = (
        cv2.copyMakeBorder(shown[number], 0, 0, left, right, cv2.BORDER_REPLICATE)
        for number in order
    )
    write_video(images, original.fps, path)
    clip = open_clip(path)
    shift = np.array([left, 0, left, 0], np.float32)
    keypoints = truth.keypoints.copy()
    keypoints[..., 0] += left
    center = truth.camera.center + torch.tensor([float(left), 0.0])
    motion = replace(
        truth,
        frames=np.arange(len(order)),
        times=clip.times,
        smpl=truth.smpl[order],
        joints=truth.joints[order],
        camera=Camera(truth.camera.focal, center, WIDTH, HEIGHT),
        boxes=(truth.boxes + shift)[order],
        keypoints=keypoints[order],
        observed=truth.observed[order],
        confidence=truth.confidence[order],
    )
    return Sample(path, clip, motion)


def forth_and_back(count: int, frames: int | None) -> Int[ndarray, "frames"]:
    """Numbers below `count`, up and down again and again, neither end twice in a row."""
    once = np.arange(count)
    return np.resize(np.concatenate([once, once[-2:0:-1]]), count if frames is None else frames)
