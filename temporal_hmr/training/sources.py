"""Where windows to learn from come from, and those that judge what was learned."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Generator
from typing_extensions import Self

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.data.detector_noise import CLEAN, DetectorNoise
from temporal_hmr.data.pseudo_labels import PseudoLabels
from temporal_hmr.data.rendered import RenderedClips
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.models.hmr import PosedBody

EVALUATION_CLIPS = 96
UNVARIED = Augmentation(
    frame_interval=(1 / 30, 1 / 30),
    speed=(1.0, 1.0),
    recombined_share=0.0,
    perturbed_share=0.0,
    assumed_focal_share=0.0,
)
"""Motion as it was captured, at 30 frames per second; bodies and cameras still vary."""

Labelled = tuple[CropWindow, BodyTarget]


class Source(Protocol):
    """Windows with their truth."""

    @property
    def body(self) -> PosedBody:
        """Whose shapes the truth speaks of."""
        ...

    def of_length(self, frames: int) -> Self:
        """The same source with clips of so many frames."""
        ...

    def draw(self, clips: int, generator: Generator) -> Labelled:
        """A batch to train on."""
        ...

    def held_out(self) -> Mapping[str, Labelled]:
        """Windows to evaluate on, the same at every call, by the name of what they test."""
        ...


@dataclass(frozen=True, eq=False)
class MocapWindows:
    """Motion capture seen through random cameras and a detector."""

    train: MotionBank
    judge: MotionBank
    body: PosedBody
    augmentation: Augmentation
    noise: DetectorNoise
    frames: int
    pseudo: PseudoLabels | None = None
    """Makes pseudo-labels of some of the truth that trains; what judges stays true."""

    def of_length(self, frames: int) -> "MocapWindows":
        return replace(self, frames=frames)

    def draw(self, clips: int, generator: Generator) -> Labelled:
        shape, augmentation = (clips, self.frames), self.augmentation
        # Geometry in float32 whatever the loop trains in: bfloat16 truth shakes by millimetres.
        with torch.autocast("cpu", enabled=False):
            window, target = synthesise(
                self.train, self.body, shape, augmentation, self.noise, generator
            )
            if self.pseudo is not None:
                target = self.pseudo.replace_some(target, self.body.body, generator)
            return window, target

    def held_out(self) -> Mapping[str, Labelled]:
        """Held-out subjects seen through a perfect detector, and through one like those of use."""
        return {"clean": self._judged(CLEAN), "noisy": self._judged(self.noise)}

    def _judged(self, noise: DetectorNoise) -> Labelled:
        shape = (EVALUATION_CLIPS, self.frames)
        generator = Generator().manual_seed(20)
        return synthesise(self.judge, self.body, shape, UNVARIED, noise, generator)


@dataclass(frozen=True, eq=False)
class RenderedWindows:
    """Rendered clips, images and all."""

    train: RenderedClips
    judges: Mapping[str, RenderedClips]
    """Clips of other subjects, by name."""
    body: PosedBody
    frames: int

    def of_length(self, frames: int) -> "RenderedWindows":
        """Raises `InputError` if some of the clips are shorter."""
        for clips in (self.train, *self.judges.values()):
            clips.require_frames(frames)
        return replace(self, frames=frames)

    def draw(self, clips: int, generator: Generator) -> Labelled:
        return self.train.draw(clips, self.frames, generator)

    def held_out(self) -> Mapping[str, Labelled]:
        return {
            name: clips.held_out(EVALUATION_CLIPS, self.frames)
            for name, clips in self.judges.items()
        }
