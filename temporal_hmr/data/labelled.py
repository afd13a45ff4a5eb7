"""One person through one video with the truth about them: what every dataset reader returns."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.skeleton import Skeleton

Gender = Literal["male", "female", "neutral"]


@dataclass(frozen=True, eq=False)
class LabelledSequence:
    """A labelled person-video; nothing downstream needs to know which dataset it is from.

    T frames, numbered 0 to T - 1 as in the video.
    """

    name: str
    """Unique in the dataset, e.g. `downtown_arguing_00_0`."""
    video: str
    """Name of the video; people of one video share it."""
    fps: float
    gender: Gender
    """Of the body that the truth was made with."""
    smpl: SmplParams
    """Batch axis T; world frame; float64."""
    rotation: Float[Tensor, "T 3 3"]
    """World to camera: x_camera = rotation x_world + translation; float64."""
    translation: Float[Tensor, "T 3"]
    """Metres."""
    camera: Camera
    boxes: Float[ndarray, "T 4"]
    """x_min, y_min, x_max, y_max in pixels, NaN where there is none."""
    keypoints: Float[ndarray, "T J 3"]
    """x, y in pixels and confidence; 0 0 0 where unknown."""
    skeleton: Skeleton
    frame_rules: Mapping[str, Bool[ndarray, "T"]]
    """Which frames are scored, under each of the rules that are in use for the dataset."""
    images: tuple[Path, ...] = ()
    """One file per frame, whether or not it is there; empty where there are no images at all."""
    joints: Float[ndarray, "T 24 3"] | None = None
    """SMPL's joints in the world frame as the dataset's own files state them, metres."""

    def __len__(self) -> int:
        return len(self.boxes)

    def in_camera(self, body: BodyModel) -> SmplParams:
        """The truth in the camera frame; carries the pelvis term of the given body."""
        return body.transform(self.smpl, self.rotation, self.translation)
