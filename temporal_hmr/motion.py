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
    person_id: int | None = None
    """Who it is, where whoever found them has told; None leaves it to the tracker."""


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
    looked_at: Int[ndarray, "N"] | None = None
    """Frame numbers from first to last sight that were looked at; None says that all were."""
    looked_at_times: Float[ndarray, "N"] | None = None
    """Their presentation times in seconds."""

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, eq=False)
class InWorld:
    """The same motion in a world: y up, metres, the ground at y = 0."""

    smpl: SmplParams
    """Batch axis T."""
    from_camera: Float[ndarray, "4 4"]
    """From camera coordinates to the world's. People need not be where it takes them: they are
    moved towards the ground, and their feet may have been held."""
    told: dict[str, object]
    """How the world was found, in words and numbers that JSON knows."""


@dataclass(frozen=True, eq=False)
class BodyMotion:
    """The SMPL body of one person through a clip, in the camera frame (OpenCV axes, metres)."""

    person_id: int
    frames: Int[ndarray, "T"]
    """From the first in which the person was seen to the last, all that were looked at."""
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
    """0..1; mean of the joints' own where there is one."""
    world: InWorld | None = None
    """None where no world was asked for, or found."""
    joint_confidence: Float[ndarray, "T 24"] | None = None
    """Probability that each joint lies within a decimetre of the truth as seen from the pelvis
    (`confidence.joint_confidence`); None in files of earlier versions."""

    def __len__(self) -> int:
        return len(self.frames)

    def at(self, frame: int) -> int | None:
        """Position of a frame number in this motion, None where the person is absent."""
        position = int(np.searchsorted(self.frames, frame))
        return position if position < len(self) and self.frames[position] == frame else None


@dataclass(frozen=True, eq=False)
class PredictedMotion:
    """Somebody's answer for one person in one video, whatever system gave it: SMPL, as predicted.

    Unlike `BodyMotion` it may have holes, a shape per frame, and no camera; it is what evaluation
    and checks read from files.
    """

    name: str
    """File and person, for messages: `walk.pkl person 3`."""
    source: str
    """The kind of file: `ours`, `npz` (plain arrays), `wham`, `vibe`, `gvhmr`, `phalp`."""
    frames: Int[ndarray, "T"]
    """Frame numbers in the video, strictly increasing; the first frame is 0."""
    smpl: SmplParams
    """Camera frame, OpenCV axes, float64."""
    world: SmplParams | None = None
    """The same in a world frame of the system's own, where it gives one."""
    world_from_camera: Float[ndarray, "4 4"] | None = None
    """From camera coordinates to that world's, for a camera that stands still."""
    camera: Camera | None = None
    boxes: Float[ndarray, "T 4"] | None = None
    """x_min, y_min, x_max, y_max in pixels."""
    keypoints: Float[ndarray, "T joints 3"] | None = None
    """What was detected (pixels, confidence), of `skeleton`."""
    skeleton: Skeleton | None = None
    fps: float | None = None
    """None where the file does not say."""
    filled: Bool[ndarray, "T"] | None = None
    """True where the system says that the frame is a guess and the person was not seen."""
    has_depth: bool = True
    """False where `smpl.transl` means nothing (weak perspective, or no translation at all)."""
    gender: str = "neutral"
    body: str = ""
    """Name of the body that the betas are of, where the file says; `open` is ours, not SMPL."""
    times: Float[ndarray, "T"] | None = None
    """Presentation times in seconds; None where the file does not say."""
    person_id: int | None = None
    """The person's number; None where the file gives none."""

    @staticmethod
    def of(motion: BodyMotion, name: str) -> "PredictedMotion":
        """A motion that we recovered; frames filled in between sightings are marked."""
        return PredictedMotion(
            name=name,
            source="ours",
            frames=motion.frames,
            smpl=motion.smpl.map(lambda tensor: tensor.double()),
            world=None if motion.world is None else motion.world.smpl.map(lambda t: t.double()),
            world_from_camera=None if motion.world is None else motion.world.from_camera,
            camera=motion.camera,
            boxes=motion.boxes,
            keypoints=motion.keypoints,
            skeleton=motion.skeleton,
            fps=motion.fps,
            filled=~motion.observed,
            times=motion.times,
            person_id=motion.person_id,
        )

    @property
    def has_place(self) -> bool:
        """Whether it says where in a world, or how far from the camera, the person is."""
        return self.world is not None or self.has_depth

    def __len__(self) -> int:
        return len(self.frames)
