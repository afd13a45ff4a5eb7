"""From labelled sequences to windows to learn from, images and all."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from numpy import ndarray
from pydantic import Field
from torch import Generator, Tensor

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.crops import (
    BOX_MARGIN,
    CONFIDENT,
    cut_window,
    follow,
    readable,
    to_box,
    warp_image,
)
from temporal_hmr.data.augmentation import UNVARIED, CropAugmentation, Variation
from temporal_hmr.data.clip_images import Uncovered, Unreadable, read_frames
from temporal_hmr.data.clip_labels import ClipCamera, ClipLabels, Intrinsics
from temporal_hmr.data.crop_looks import Looks, blacken_outside, crop_corners
from temporal_hmr.data.detector_noise import DetectorNoise, detect, draw_blazepose
from temporal_hmr.data.sequence import Sequence, ShardFrames
from temporal_hmr.data.stretches import Stretch, StretchSettings
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.rendering.occluders import Occluders, surfaces
from temporal_hmr.rendering.patterns import Patterns


class WindowSettings(StretchSettings):
    """How sequences become windows."""

    side: int | None = Field(default=None, gt=0)
    """Pixels of the crops' sides; None for windows without images."""
    confident: float = Field(default=CONFIDENT, gt=0, le=1)
    """Annotated keypoints of at least this confidence are taken for the truth."""
    box_margin: float = Field(default=1.0, gt=0)
    """Side of the crop over the longer side of a labelled box, where keypoints are too few.

    Labelled boxes have room for what lies around joints already.
    """
    assumed_focal_share: float = Field(default=0.0, ge=0, le=1)
    """Share of clips that are told the camera assumed in use instead of their own."""


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a detector reports of a clip, in pixels of the clip's image, and what is in the way."""

    pixels: Float[Tensor, "1 T J 2"]
    scores: Float[Tensor, "1 T J"]
    occluders: Occluders


@dataclass(frozen=True, eq=False)
class WindowCutter:
    """Makes windows of stretches of sequences; threads may share one."""

    settings: WindowSettings
    body: PosedBody
    """Whose shapes the truth speaks of."""
    augmentation: CropAugmentation = UNVARIED
    noise: DetectorNoise | None = None
    """Of a detector in place of the annotators; None hands their keypoints on."""
    unreadable: Unreadable = field(default_factory=Unreadable)
    uncovered: Uncovered = field(default_factory=Uncovered)
    patterns: Patterns = field(default_factory=Patterns.make)
    """What things in the way are made of."""

    def cut(
        self, sequence: Sequence, stretch: Stretch, seed: int
    ) -> tuple[CropWindow, BodyTarget] | None:
        """One window and its truth; None where nothing can be seen or read.

        Frames whose image cannot be read are not valid, and the window is the one that would have
        been cut had they never been there. The same seed makes the same window.
        """
        if self.settings.side is not None:
            stretch = stretch.without(self.unreadable.among(sequence, stretch.frames.tolist()))
        while stretch.valid.any():
            made = self._cut(sequence, stretch, seed)
            if made is None:
                return None
            window, target, unread = made
            if not unread:
                return window, target
            stretch = stretch.without(unread)
        return None

    @torch.no_grad()
    def _cut(
        self, sequence: Sequence, stretch: Stretch, seed: int
    ) -> tuple[CropWindow, BodyTarget, set[int]] | None:
        """With the frames that could not be read."""
        generator, rng = Generator().manual_seed(seed), np.random.default_rng(seed)
        variation = Variation.draw(self.augmentation, rng)
        looks = Looks.draw(self.augmentation, len(stretch.frames), rng)
        true = told = Intrinsics.of(sequence, stretch.frames)
        if rng.random() < self.settings.assumed_focal_share:
            told = Intrinsics.assumed(sequence.image_size, len(stretch.frames))
        camera = ClipCamera.of(told, variation.turn)
        labels = self._labels(sequence, stretch, true, told).turned(variation.turn, self.body)
        seen = self._see(sequence, stretch, labels, camera, generator)
        valid = torch.from_numpy(stretch.valid)
        seen = replace(seen, scores=variation.truncated(seen.scores, valid))
        window = self._window(stretch, labels, camera, seen)
        if window is None:
            return None
        size = variation.scale * window.box_size
        shift = torch.tensor(variation.shift) * window.box_size[..., None]
        window = replace(window, box_center=window.box_center + shift, box_size=size)
        window = _with_keypoints(window, seen)
        target = self._target(sequence, labels, camera, window)
        if self.settings.side is None:
            return window, target, set()
        images, unread = self._images(sequence, stretch, camera, window, seen.occluders, looks, rng)
        return replace(window, images=images), target, unread

    def _labels(
        self, sequence: Sequence, stretch: Stretch, true: Intrinsics, told: Intrinsics
    ) -> ClipLabels:
        """Labels before the camera that the model is told, which is not turned yet.

        The truth is what explains the images with that camera.
        """
        labels = ClipLabels.of(sequence, stretch.frames, self.body)
        if sequence.focal is None:
            return labels.placed_by_keypoints(told, self.body)
        if self.noise is not None and sequence.trusted:
            labels = labels.with_keypoints_of_body(true, self.body)
        return labels if told is true else labels.retold(true, told, self.body)

    def _see(
        self,
        sequence: Sequence,
        stretch: Stretch,
        labels: ClipLabels,
        camera: ClipCamera,
        generator: Generator,
    ) -> _Seen:
        """Things are put in the way of both detector and images."""
        known = labels.confidence > 0
        times = torch.from_numpy(stretch.times).float()[None]
        true = _filled(labels, known)
        most, share = self.augmentation.most_occluders, self.augmentation.occluded_share
        placed = camera.place(true)[None]
        occluders = Occluders.draw(placed, times, most, share, generator)
        hidden = occluders.covers(placed)
        # A joint behind something is lost in a third of all cases, else found with doubts.
        doubt = torch.rand(1, 1, known.shape[1], generator=generator)
        lowered = torch.where(hidden, 0.8 * (1.5 * doubt - 0.5).clamp(min=0), 1.0)
        pixels, scores = labels.pixels, labels.confidence * lowered
        if self.noise is not None:
            # Without pictures there is nothing that things made up could contradict.
            made_up = self.settings.side is None and not occluders.present.any()
            size = torch.tensor([sequence.image_size]).float()
            behind = None if made_up else hidden
            # Of pictures it is not known where BlazePose would put a joint, only which it lacks.
            blazepose = draw_blazepose(self.noise, 1, generator)
            found = detect(true[None], times, size, self.noise, generator, blazepose, behind)
            pixels, scores = found.pixels[0], found.scores * known
        scores = scores * torch.from_numpy(stretch.valid)[:, None]
        return _Seen(camera.place(pixels)[None], scores, occluders)

    def _window(
        self,
        stretch: Stretch,
        labels: ClipLabels,
        camera: ClipCamera,
        seen: _Seen,
    ) -> CropWindow | None:
        """Cut as in tracking; around the labelled boxes where the keypoints say too little."""
        times = torch.from_numpy(stretch.times).float()[None]
        valid = torch.from_numpy(stretch.valid)[None]
        center = torch.from_numpy(camera.center).float()[None]
        focals = torch.full((1, 2), camera.focal)
        window = cut_window(seen.pixels, seen.scores, times, valid, focals, center)
        if readable(seen.scores[valid][None]).all():
            return window
        corners = labels.boxes.unflatten(-1, (2, 2))
        known = corners.isfinite().all((1, 2)) & valid[0]
        if self.settings.side is None or not known.any():
            return None
        zoom = float(np.abs(np.linalg.det(camera.linear)).mean() ** 0.5)
        middle = camera.place(corners.nan_to_num().mean(1, keepdim=True))
        half = 0.5 * zoom * (corners[:, 1] - corners[:, 0]).nan_to_num().amax(-1)
        ends = middle + half[:, None, None] * torch.tensor([[-1.0], [1.0]])
        box_center, size = follow(ends[None], known[None, :, None].expand(1, -1, 2).float(), times)
        size = size * self.settings.box_margin / BOX_MARGIN
        return replace(window, box_center=box_center, box_size=size)

    def _target(
        self, sequence: Sequence, labels: ClipLabels, camera: ClipCamera, window: CropWindow
    ) -> BodyTarget:
        true = camera.place(labels.pixels)[None]
        known = labels.confidence >= self.settings.confident
        keypoints = to_box(true, window.box_center, window.box_size)
        return BodyTarget(
            smpl=labels.smpl.map(lambda tensor: tensor[None]),
            joints=labels.joints[None],
            keypoints=torch.where(known[..., None], keypoints, 0.0),
            has_smpl=labels.has_smpl[None],
            has_joints=labels.has_joints[None],
            has_keypoints=known[None],
            trusted=torch.tensor([sequence.trusted]),
        )

    def _images(
        self,
        sequence: Sequence,
        stretch: Stretch,
        camera: ClipCamera,
        window: CropWindow,
        occluders: Occluders,
        looks: Looks,
        rng: np.random.Generator,
    ) -> tuple[UInt8[Tensor, "1 T 3 side side"], set[int]]:
        """Crops, black where a frame is not valid, and the frames that could not be read."""
        side = self.settings.side or 0
        images = np.zeros((len(stretch.frames), side, side, 3), np.uint8)
        textures = surfaces(self.patterns, occluders.present.shape[1], rng)
        places = {int(stretch.frames[place]): int(place) for place in _places(stretch.valid)}
        unread = set(places)
        for frame, image in read_frames(sequence, places.keys(), self.unreadable):
            unread.discard(frame)
            place = places[frame]
            scale = side / float(window.box_size[0, place])
            corner = window.box_center[0, place].numpy().astype(float) - side / scale / 2
            shift = scale * (camera.shift[place] - corner)
            matrix = np.column_stack([scale * camera.linear[place], shift])
            stored = matrix
            if isinstance(sequence.images, ShardFrames):
                stored = sequence.images.of_stored(frame, matrix)
                self.uncovered.note(sequence, frame, image, crop_corners(matrix, side))
            crop = np.ascontiguousarray(warp_image(image, stored, side))
            occluders.paint(crop, (0, place), corner, scale, textures)
            crop = looks.photograph(crop)
            blacken_outside(crop, matrix, sequence.image_size)
            looks.erase(crop, place)
            images[place] = crop
        return torch.from_numpy(images).movedim(-1, 1)[None], unread


def _with_keypoints(window: CropWindow, seen: _Seen) -> CropWindow:
    """What was seen, in the window's boxes."""
    keypoints = to_box(seen.pixels, window.box_center, window.box_size)
    return replace(window, keypoints=torch.where(seen.scores[..., None] > 0, keypoints, 0.0))


def _filled(labels: ClipLabels, known: Bool[Tensor, "T J"]) -> Float[Tensor, "T J 2"]:
    """Keypoints, those that nobody knows amid the others: they must not stretch the person."""
    count = known.sum(1, keepdim=True)
    total = torch.where(known[..., None], labels.pixels, 0.0).sum(1)
    middles = labels.boxes.unflatten(-1, (2, 2)).mean(1).nan_to_num()
    middles = torch.where(count > 0, total / count.clamp(min=1), middles)
    # Frames of which nothing at all is known are where the clip is in the mean.
    empty = (count == 0) & labels.boxes.isnan().any(1, keepdim=True)
    rest = middles[~empty[:, 0]]
    if len(rest):
        middles = torch.where(empty, rest.mean(0), middles)
    return torch.where(known[..., None], labels.pixels, middles[:, None])


def _places(valid: Bool[ndarray, "T"]) -> list[int]:
    return np.flatnonzero(valid).tolist()
