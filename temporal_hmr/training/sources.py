"""Where windows to learn from come from, and those that judge what was learned."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import torch
from torch import Generator
from typing_extensions import Self

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.data.detector_noise import CLEAN, DetectorNoise
from temporal_hmr.data.pseudo_labels import PseudoLabels
from temporal_hmr.data.read_people import Readings
from temporal_hmr.data.rendered import RenderedClips, valid_clips
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rendering.renderer import Renderer

EVALUATION_CLIPS = 96
EVALUATION_FRAMES = 768
"""Drawn to judge by; fewer clips if they are long. At 256 pixels a set is 150 MB, and kept."""
_ATTEMPTS = 100
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
    """Motion capture seen through random cameras and a detector.

    With a renderer windows have images, drawn as they are asked for. It may draw in several threads
    at once: what it holds stays as it is, and every clip has random numbers of its own.
    """

    train: MotionBank
    judge: MotionBank
    body: PosedBody
    augmentation: Augmentation
    noise: DetectorNoise
    frames: int
    pseudo: PseudoLabels | None = None
    """Makes pseudo-labels of some of the truth that trains; what judges stays true."""
    renderer: Renderer | None = None
    readings: Readings | None = None
    """Some of the clips that train may be these, where there is no renderer."""
    subjects: Mapping[str, int] = field(default_factory=dict)
    """How many takes there are of whom, those left aside among them."""

    def of_length(self, frames: int) -> "MocapWindows":
        return self if frames == self.frames else replace(self, frames=frames)

    def draw(self, clips: int, generator: Generator) -> Labelled:
        """Raises `InputError` if the detector leaves next to nothing to draw images of."""
        # Geometry in float32 whatever the loop trains in: bfloat16 truth shakes by millimetres.
        with torch.autocast("cpu", enabled=False):
            varied = (self.augmentation, self.noise, generator, self.readings)
            window, target = self._seen(self.train, clips, *varied)
            if self.pseudo is not None:
                target = self.pseudo.replace_some(target, self.body.body, generator)
            return window, target

    def held_out(self) -> Mapping[str, Labelled]:
        """Held-out subjects seen through a perfect detector, and through one like those of use."""
        return self._judged

    @cached_property
    def _judged(self) -> Mapping[str, Labelled]:
        """Made once: images take their time, and memory."""
        clips = EVALUATION_CLIPS
        if self.renderer is not None:
            clips = min(clips, max(EVALUATION_FRAMES // self.frames, 1))
        return {
            name: self._seen(self.judge, clips, UNVARIED, noise, Generator().manual_seed(20))
            for name, noise in (("clean", CLEAN), ("noisy", self.noise))
        }

    def _seen(
        self,
        bank: MotionBank,
        clips: int,
        augmentation: Augmentation,
        noise: DetectorNoise,
        generator: Generator,
        readings: Readings | None = None,
    ) -> Labelled:
        def made(count: int) -> Labelled:
            shape, varied = (count, self.frames), (augmentation, noise, generator)
            return synthesise(bank, self.body, shape, *varied, self.renderer, readings)

        batch = made(clips)
        if self.renderer is None:
            return batch
        # A clip that shows nothing is black, and batch statistics would take notice of it.
        for _ in range(_ATTEMPTS):
            missing = clips - int(batch[0].valid.any(1).sum())
            if missing == 0:
                return batch
            batch = valid_clips([batch, made(missing)], clips)
        raise InputError(
            f"noise: of {clips} clips some showed next to nothing in {_ATTEMPTS} attempts: lower "
            "noise.missing"
        )


@dataclass(frozen=True, eq=False)
class MixedLengths:
    """Whole windows, and in some steps as many frames in short clips.

    A batch of windows holds few different poses, and wears away what many short clips taught.
    """

    windows: Source
    short: Source
    short_share: float
    """Of the steps."""
    short_per_window: int
    """How many short clips stand for one window."""

    @property
    def body(self) -> PosedBody:
        """Whose shapes the truth speaks of."""
        return self.windows.body

    def of_length(self, frames: int) -> "MixedLengths":
        """The same with windows of so many frames; short clips stay as they are."""
        return replace(self, windows=self.windows.of_length(frames))

    def draw(self, clips: int, generator: Generator) -> Labelled:
        """As many windows, or short clips in their place."""
        if float(torch.rand((), generator=generator)) < self.short_share:
            return self.short.draw(clips * self.short_per_window, generator)
        return self.windows.draw(clips, generator)

    def held_out(self) -> Mapping[str, Labelled]:
        """Whole windows."""
        return self.windows.held_out()


def without_images(source: Source) -> Source:
    """The same for who only looks at keypoints, if drawing can be spared."""
    if isinstance(source, MocapWindows) and source.renderer is not None:
        return replace(source, renderer=None)
    return source


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
