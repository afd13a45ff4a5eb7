"""The contract of data, model and losses: a window of crops, a prediction, the truth."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from temporal_hmr.body.params import SmplParams


@dataclass(frozen=True, eq=False)
class CropWindow:
    """A clip of one person, seen through a square box that follows them; a batch of such clips."""

    keypoints: Float[Tensor, "B T J 2"]
    """x, y in the box: -1 and 1 are its edges, x right, y down."""
    scores: Float[Tensor, "B T J"]
    """Detector confidence 0..1; 0 means the joint is unknown and its x, y mean nothing."""
    box_center: Float[Tensor, "B T 2"]
    """Pixels of the full image."""
    box_size: Float[Tensor, "B T"]
    """Side in pixels of the full image."""
    focal: Float[Tensor, "B 2"]
    """Pixels of the full image."""
    center: Float[Tensor, "B 2"]
    """Principal point in pixels of the full image."""
    times: Float[Tensor, "B T"]
    """Seconds; only differences matter."""
    valid: Bool[Tensor, "B T"]
    """False for padding, which no valid frame may be influenced by."""
    images: UInt8[Tensor, "B T 3 side side"] | None = None
    """RGB of the box, for models that look at it; black beyond the image's edges."""

    def map(self, change: Callable[[Tensor], Tensor]) -> "CropWindow":
        """The same change to every tensor: another device, some of the clips."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return replace(self, **{name: change(each) for name, each in values if each is not None})


@dataclass(frozen=True, eq=False)
class BodyPrediction:
    """What the model says of every frame, in the camera frame of the full image."""

    smpl: SmplParams
    """Batch axes B, T."""
    joints: Float[Tensor, "B T 24 3"]
    """Kinematic joints in metres."""
    points: Float[Tensor, "B T J 3"]
    """The body's own detector keypoints in metres."""
    keypoints: Float[Tensor, "B T J 2"]
    """The same projected into the box (-1..1)."""


@dataclass(frozen=True, eq=False)
class BodyTarget:
    """The truth for a `CropWindow`, with masks for what a dataset does not know.

    What is not known is any finite number.
    """

    smpl: SmplParams
    """Batch axes B, T; camera frame."""
    joints: Float[Tensor, "B T 24 3"]
    keypoints: Float[Tensor, "B T J 2"]
    """Noise-free keypoints in the box, also those that the detector missed."""
    has_smpl: Bool[Tensor, "B T"]
    """Whether rotations, shape and translation are known."""
    has_joints: Bool[Tensor, "B T 24"]
    """Which 3D joints are known. Most count only as seen from the pelvis, and with it."""
    has_keypoints: Bool[Tensor, "B T J"]
    trusted: Bool[Tensor, "B"]
    """Measured or made, and not fitted to pictures."""
