"""People over time: what was seen of them in the image, and the bodies recovered from it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Person2D:
    """One person seen in one image."""

    box: Float[ndarray, "4"]
    """x_min, y_min, x_max, y_max in pixels; may reach beyond the image."""
    keypoints: Float[ndarray, "joints 3"]
    """x, y in pixels and a confidence in 0..1; confidence 0 means unknown (x, y are then 0)."""
    skeleton: Skeleton
    score: float
    """How sure the detector is that there is a person, 0..1."""


@dataclass(frozen=True, eq=False)
class Track:
    """One person followed through a clip; frames in which nobody saw them are absent."""

    person_id: int
    frames: Int[ndarray, "T"]
    """Frame numbers, strictly increasing."""
    times: Float[ndarray, "T"]
    """Presentation times in seconds."""
    boxes: Float[ndarray, "T 4"]
    keypoints: Float[ndarray, "T joints 3"]
    skeleton: Skeleton

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, eq=False)
class BodyMotion:
    """The SMPL body of one person through a clip, in the camera frame (OpenCV axes, metres)."""

    person_id: int
    frames: Int[ndarray, "T"]
    """Consecutive frame numbers, from the first in which the person was seen to the last."""
    times: Float[ndarray, "T"]
    """Presentation times in seconds."""
    fps: float
    smpl: SmplParams
    """Batch axis T; betas are the same in every frame."""
    joints: Float[ndarray, "T 24 3"]
    """SMPL's kinematic joints in the camera frame."""
    camera: Camera
    boxes: Float[ndarray, "T 4"]
    keypoints: Float[ndarray, "T joints 3"]
    """What was detected (pixels, confidence); zeros where the person was not observed."""
    skeleton: Skeleton
    observed: Bool[ndarray, "T"]
    """False where the frame was filled in from its neighbours in time."""
    confidence: Float[ndarray, "T"]
    """0..1; mean confidence of the detected keypoints, 0 where not observed."""

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, frame: int) -> int | None:
        """Position of a frame number in this motion, None where the person is absent."""
        position = int(np.searchsorted(self.frames, frame))
        return position if position < len(self) and self.frames[position] == frame else None
