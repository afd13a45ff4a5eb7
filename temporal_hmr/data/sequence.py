"""One person in one video or picture, as training takes them, whatever the dataset."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy import ndarray

from temporal_hmr.body.params import SmplParams
from temporal_hmr.errors import InputError


@dataclass(frozen=True)
class VideoFrames:
    """Frames of a video file."""

    path: Path
    numbers: tuple[int, ...]
    """Counted from 0 as the video is decoded."""

    def __len__(self) -> int:
        return len(self.numbers)

    def of(self, first: int, stop: int) -> "VideoFrames":
        """Those of the frames from `first` to before `stop`."""
        return VideoFrames(self.path, self.numbers[first:stop])


@dataclass(frozen=True, eq=False)
class ShardFrames:
    """Images that are members of a tar file, whole or cut out around the person."""

    path: Path
    name: str
    """What the members' names begin with: `{name}_{frame:06}.jpg`."""
    first: int
    """Number of the first frame among all of the shard's."""
    offsets: Int[ndarray, "T"]
    """Bytes before each image in the tar file."""
    sizes: Int[ndarray, "T"]
    """Bytes of each image; 0 for one that could not be read when the shard was made."""
    checksums: Int[ndarray, "T"]
    """CRC-32 of those bytes."""
    corners: Float[ndarray, "T 2"]
    """Where in the full image the stored one begins, in pixels."""
    scales: Float[ndarray, "T 2"]
    """Pixels of the stored image to one of the full image, across and down."""
    margin: float | None
    """Sides of what was cut out over those of the person's box; None for whole images."""
    box_side: float | None
    """Pixels that are left of a large box's side; None for whole images."""

    def __len__(self) -> int:
        return len(self.sizes)

    def member(self, frame: int) -> str:
        """Name of a frame's image in the tar file."""
        return f"{self.name}_{frame:06}.jpg"

    def of_stored(self, frame: int, matrix: Float[ndarray, "2 3"]) -> Float[ndarray, "2 3"]:
        """An affine map of the full image's pixels as a map of the stored image's."""
        linear = matrix[:, :2] / self.scales[frame]
        return np.column_stack([linear, matrix[:, 2] + matrix[:, :2] @ self.corners[frame]])


@dataclass(frozen=True, eq=False)
class Sequence:
    """T frames of one person; a picture is a sequence of one.

    Each label has a mask of its own; what it masks is any finite number. Pixels are those of the
    full image (x right, y down), metres and rotations those of the OpenCV camera frame.
    """

    name: str
    """Unique within its dataset."""
    dataset: str
    trusted: bool
    """Measured or made; False for bodies that were fitted to pictures."""
    images: tuple[Path, ...] | VideoFrames | ShardFrames
    """One for each frame."""
    image_size: tuple[int, int]
    """Width and height in pixels."""
    times: Float[ndarray, "T"]
    """Seconds."""
    focal: Float[ndarray, "T 2"] | None
    """Pixels; None where the dataset does not know the camera."""
    center: Float[ndarray, "T 2"] | None
    """Principal point in pixels; None with `focal`."""
    boxes: Float[ndarray, "T 4"]
    """x_min, y_min, x_max, y_max of the person; NaN where there is none."""
    keypoints: Float[ndarray, "T 23 3"]
    """COCO23 in pixels, with confidence 0..1; 0 for what nobody annotated."""
    joints: Float[ndarray, "T 24 3"]
    """Kinematic joints in metres, or the nearest that the dataset has."""
    has_joints: Bool[ndarray, "T 24"]
    smpl: SmplParams | None = None
    """Batch axis T, float64."""
    has_smpl: Bool[ndarray, "T"] | None = None
    """None with `smpl`."""
    smpl_gender: str = "neutral"
    """Of the body whose betas these are."""
    subject: str = ""
    """Who it is, where the dataset says so: splits go by people."""
    quarter_turns: int = 0
    """By how many right angles the stored images must be turned, clockwise, before anything else.

    `image_size`, the camera and all labels are those of the turned images.
    """

    def __post_init__(self) -> None:
        """Raises `InputError` where the parts disagree about how many frames there are."""
        lengths = {
            "images": len(self.images),
            "boxes": len(self.boxes),
            "keypoints": len(self.keypoints),
            "joints": len(self.joints),
            "has_joints": len(self.has_joints),
        }
        lengths |= {
            name: len(value)
            for name, value in (("focal", self.focal), ("center", self.center))
            if value is not None
        }
        if self.smpl is not None and self.has_smpl is not None:
            lengths |= {"smpl": len(self.smpl.betas), "has_smpl": len(self.has_smpl)}
        for name, length in lengths.items():
            if length != len(self):
                raise InputError(
                    f"{self.dataset} {self.name}: {name} has {length} frames, times {len(self)}"
                )
        if (self.smpl is None) != (self.has_smpl is None):
            raise InputError(f"{self.dataset} {self.name}: smpl and has_smpl go together")
        if (self.focal is None) != (self.center is None):
            raise InputError(f"{self.dataset} {self.name}: focal and center go together")

    def __len__(self) -> int:
        return len(self.times)
