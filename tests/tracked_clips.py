"""Tracking without its accuracy: a clip of noise, a detector that needs no eyes, a tiny model."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy import ndarray

from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.command_line import run_door
from temporal_hmr.models.body_decoder import BodyDecoderConfig
from temporal_hmr.models.encoder import FrameEncoderConfig
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.joint_motion import JointMotionConfig
from temporal_hmr.motion import Person2D
from temporal_hmr.output.encoding import write_video
from temporal_hmr.skeleton import COCO23
from temporal_hmr.tokenizers.keypoints import KeypointTokenizerConfig
from temporal_hmr.track import main

WIDTH, HEIGHT = 98, 128
NUM_FRAMES = 6
DETECTOR = "temporal_hmr.people.mediapipe.MediapipePeople"
"""Where tracking looks for BlazePose, whose place `FakeDetector` takes."""


def tiny_config() -> HmrConfig:
    return HmrConfig(
        tokenizer=KeypointTokenizerConfig(width=16, layers=1, codes=8, code_dim=12, tokens=4),
        encoder=FrameEncoderConfig(width=24, heads=2, layers=1),
        decoder=BodyDecoderConfig(heads=2, layers=1),
        motion=JointMotionConfig(heads=2, layers=1),
        window=4,
    )


def write_weights(path: Path, config: HmrConfig | None = None) -> Path:
    """A small model with random numbers in it: all of the door's machinery."""
    config = config or tiny_config()
    torch.manual_seed(0)
    save_checkpoint(Hmr(config), config, "hmr", path, half=True)
    return path


def make_clip(path: Path, num_frames: int = NUM_FRAMES, gray: int = 90) -> Path:
    noise = np.random.default_rng(gray).integers(0, gray, (num_frames, HEIGHT, WIDTH, 3), np.uint8)
    images = list(noise)
    write_video(images, 10, path)
    return path


class FakeDetector:
    """Sees one upright person walking right, or as many as `boxes` says; or nobody at all."""

    num_people = 1

    def __init__(self, settings: object = None) -> None:
        """As the detector that it stands in for is made."""

    def __enter__(self) -> "FakeDetector":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def state(self) -> None:
        """It takes nothing from frame to frame."""

    def restore(self, state: None) -> None:
        pass

    def people(self, frame) -> list[Person2D]:
        return [self.person(frame, number) for number in range(self.num_people)]

    def person(self, frame, number: int) -> Person2D:
        height, width = frame.image.shape[:2]
        keypoints = np.ones((len(COCO23), 3))
        keypoints[:, :2] = standing() * [0.3 * width, 0.7 * height]
        keypoints[:, :2] += [0.2 * width + frame.index + 0.4 * width * number, 0.15 * height]
        box = np.concatenate([keypoints[:, :2].min(0), keypoints[:, :2].max(0)])
        return Person2D(box, keypoints, COCO23, 0.9)


def standing() -> ndarray:
    """Rough places of COCO23's joints in a box of one by one."""
    height = {"nose": 0.05, "eye": 0.04, "ear": 0.05, "shoulder": 0.2, "elbow": 0.35, "wrist": 0.5}
    height |= {"hip": 0.52, "knee": 0.75, "ankle": 0.95, "heel": 0.98, "toe": 1.0}
    side = {"left": 0.7, "right": 0.3}
    return np.array(
        [
            [side.get(joint.split("_")[0], 0.5), height[joint.split("_")[-1]]]
            for joint in COCO23.joints
        ]
    )


def leave(*words: object) -> int | str | None:
    """Exit status of the door with these words."""
    with pytest.raises(SystemExit) as exit_:
        run_door(lambda: main([str(word) for word in words]))
    return exit_.value.code


def files_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
