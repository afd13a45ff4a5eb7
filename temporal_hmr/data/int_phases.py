"""The three phases in which INT is trained, as settings (INT's released configurations).

Images alone, then images and video, then a last round on the best video with the velocity term.
"""

from typing import Literal

from pydantic import Field, model_validator

from temporal_hmr.configuration import Config
from temporal_hmr.data.interleaved_clips import ClipSettings
from temporal_hmr.losses_int import IntLossWeights
from temporal_hmr.models.hmr_config import INT, HmrConfig


class Source(Config):
    """One part of one data set."""

    dataset: str
    part: str = "train"
    every: int = Field(default=1, gt=0)
    """Every so many frames of its images."""
    clips: ClipSettings = ClipSettings()
    """How its videos are cut; images are not."""


class Sources(Config):
    """Data sets that make a batch together."""

    batch: int = Field(gt=0)
    """Images or clips of a batch on one device."""
    sources: tuple[Source, ...] = Field(min_length=1)


class Optimiser(Config):
    """How parameters move; all of them are trained in every phase."""

    kind: Literal["adam", "sgd"] = "adam"
    learning_rate: float = Field(default=1e-4, gt=0)
    weight_decay: float = Field(default=1e-5, ge=0)
    momentum: float = Field(default=0.0, ge=0)
    """Of SGD."""
    epochs: int = Field(default=100, gt=0)
    milestones: tuple[int, ...] = (60, 90)
    """Epochs after which the learning rate falls."""
    fall: float = 0.1
    """By which factor."""


class IntCropAugmentation(Config):
    """How crops vary."""

    scale: float = 1.3
    """Side of the crop over that of the keypoints' box."""
    evaluation_scale: float = 1.1
    varied_share: float = 0.2
    """Share of crops of another scale, shifted by half of what they shrink at most."""
    varied_scale: tuple[float, float] = (0.7, 1.3)
    flip: float = 0.5
    erased_share: float = 0.0
    """Share of frames whose clip's chosen side is blacked out; 0.3 in phases 2 and 3."""
    erased_part: float = 0.7
    """Part of the crop that is blacked out at most."""
    video_colour: float = 0.0
    """Jitter of brightness, contrast, saturation and hue of 3D video; 0.3 in phases 2 and 3."""


class Validation(Config):
    """What the best epoch is chosen by."""

    source: Source


class IntPhase(Config):
    """One phase: a model, what it looks at, and what is asked of it."""

    model: HmrConfig = INT
    start: Literal["imagenet", "phase 1", "phase 2"]
    """Whose weights it starts from: the ImageNet-21k hybrid's, or a phase's last epoch's."""
    images: Sources | None = None
    videos: Sources | None = None
    """Video with 3D truth; an epoch is once through it, where there is any."""
    videos_2d: Sources | None = None
    optimiser: Optimiser = Optimiser()
    augmentation: IntCropAugmentation = IntCropAugmentation()
    losses: IntLossWeights = IntLossWeights()
    validation: Validation

    @model_validator(mode="after")
    def _looks_at_something(self) -> "IntPhase":
        if self.images is None and self.videos is None:
            raise ValueError("a phase needs images or videos")
        if self.model.motion is None and (self.videos or self.videos_2d):
            raise ValueError("clips need a temporal module: set model.motion")
        return self
