"""Rendered windows on disk: a folder of shards that are read piece by piece.

    description.json          what was rendered, from whom, and how (`ClipsDescription`)
    00000.images.npy          RGB, uint8 [clips T 3 side side], mapped into memory
    00000.safetensors         everything else of `CropWindow` and `BodyTarget`, fields by their
                              names: `window.keypoints` ..., `target.smpl.betas` ...

A shard's safetensors file appears last, so that a shard is whole where it exists.
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from pydantic import Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Generator, Tensor

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.configuration import Config
from temporal_hmr.data.described_folder import DESCRIPTION, claim, read_description
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.synthetic import Augmentation
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.rendering.settings import RenderingConfig

_HOLDS = "rendered clips"
_log = logging.getLogger(__name__)


class ClipsDescription(Config):
    """What a folder of rendered clips holds."""

    kind: Literal["rendered clips"] = "rendered clips"
    schema_version: Literal[1] = 1
    body: str
    """Name of the body model, whose betas and keypoints these are."""
    subjects: tuple[str, ...]
    """Whose motion capture moves the bodies."""
    clips: int = Field(ge=1)
    clips_per_shard: int = Field(ge=1)
    frames: int = Field(ge=1)
    """Of every clip."""
    seed: int
    pictures: tuple[str, ...] = ()
    """Names of the users' pictures that hang behind people."""
    rendering: RenderingConfig
    augmentation: Augmentation
    noise: DetectorNoise

    def shard_sizes(self) -> list[int]:
        """Clips in each shard."""
        full, rest = divmod(self.clips, self.clips_per_shard)
        return [self.clips_per_shard] * full + [rest] * (rest > 0)


def claim_folder(folder: Path, description: ClipsDescription) -> list[int]:
    """Make a folder or take up one begun with the same description; numbers of missing shards.

    Raises `InputError` if the folder holds something else, or cannot be written to.
    """
    claim(folder, description, _HOLDS)
    count = len(description.shard_sizes())
    return [number for number in range(count) if not _shard(folder, number).exists()]


def holds_clips(folder: Path) -> bool:
    """Whether the folder says that it is one of rendered clips."""
    return (folder / DESCRIPTION).is_file()


def write_shard(folder: Path, number: int, window: CropWindow, target: BodyTarget) -> None:
    """Write one shard whole or not at all; the window must have images.

    Raises `InputError` if the disk does not take it.
    """
    if window.images is None:
        raise InputError(f"shard {number} of {folder} has no images to write")
    images, labels = _images(folder, number), _shard(folder, number)
    # Each its own memory: masks that are all alike may be one tensor under several names.
    tensors = {
        name: tensor.clone().contiguous()
        for name, tensor in _named(window, target).items()
        if name in _FIELDS
    }
    try:
        partial = images.with_name(images.name + ".partial")
        with partial.open("wb") as file:
            np.save(file, window.images.numpy())
        partial.replace(images)
        partial = labels.with_name(labels.name + ".partial")
        save_file(tensors, partial)
        partial.replace(labels)
    except (OSError, SafetensorError) as error:
        raise InputError(f"shard {number} cannot be written to {folder}: {error}") from error


def valid_clips(
    batches: Sequence[tuple[CropWindow, BodyTarget]], most: int
) -> tuple[CropWindow, BodyTarget]:
    """The clips of several batches in which there is something to see, up to so many."""
    named = [
        {name: tensor[window.valid.any(1)] for name, tensor in _named(window, target).items()}
        for window, target in batches
    ]
    return _assembled({name: torch.cat([part[name] for part in named])[:most] for name in named[0]})


@dataclass(frozen=True, eq=False)
class RenderedClips:
    """A folder of rendered clips, opened; nothing of it is held in memory."""

    folder: Path
    description: ClipsDescription
    sizes: dict[int, int]
    """Clips of each shard that is there, by its number."""

    @staticmethod
    def open(folder: str | Path) -> "RenderedClips":
        """Look at every shard's list of contents; raises `InputError` naming what is broken."""
        folder = Path(folder)
        description = read_description(folder, ClipsDescription, _HOLDS)
        expected = description.shard_sizes()
        sizes = {
            number: size for number, size in enumerate(expected) if _shard(folder, number).exists()
        }
        if not sizes:
            raise InputError(f"{folder} has no finished shard: let the rendering finish")
        if len(sizes) < len(expected):
            _log.warning(
                "%s is unfinished: %d of %d shards are there", folder, len(sizes), len(expected)
            )
        clips = RenderedClips(folder, description, sizes)
        for number in sizes:
            clips._check(number)
        return clips

    def __len__(self) -> int:
        """Number of clips."""
        return sum(self.sizes.values())

    def require_none_of(self, subjects: Collection[str]) -> None:
        """Raise `InputError` if anybody among these subjects moves in the clips."""
        if shared := set(subjects) & set(self.description.subjects):
            raise InputError(
                f"{self.folder} was rendered from {', '.join(sorted(shared))}, who must not be in "
                "it: render it anew with --except"
            )

    def require_fit(self, config: HmrConfig) -> None:
        """Raise `InputError` unless a model can look at the clips and speaks of their body."""
        name = self.description.body
        if name != load_body().name:
            raise InputError(f"{self.folder} was rendered with body {name}, which is not here")
        if config.body != name:
            raise InputError(
                f"{self.folder} was rendered with body {name}, the model speaks of "
                f"{config.body}'s shapes: give a model for that body"
            )
        side, wanted = self.description.rendering.side, config.image_side()
        if wanted not in (None, side):
            raise InputError(
                f"{self.folder} has images of {side} pixels, the model looks at {wanted}: render "
                f"clips with --side {wanted}"
            )

    def draw(self, clips: int, frames: int, generator: Generator) -> tuple[CropWindow, BodyTarget]:
        """Random stretches of random clips.

        Raises `InputError` if the stored clips are shorter than `frames`.
        """
        self.require_frames(frames)
        places = torch.randint(len(self), (clips,), generator=generator).tolist()
        latest = self.description.frames - frames
        starts = torch.randint(latest + 1, (clips,), generator=generator).tolist()
        return self.read(list(zip(places, starts, strict=True)), frames)

    def held_out(self, clips: int, frames: int) -> tuple[CropWindow, BodyTarget]:
        """The same clips at every call, spread evenly over all, from their first frame on."""
        self.require_frames(frames)
        count = min(clips, len(self))
        places = [number * len(self) // count for number in range(count)]
        return self.read([(place, 0) for place in places], frames)

    def read(self, places: list[tuple[int, int]], frames: int) -> tuple[CropWindow, BodyTarget]:
        """Given clips (counted through all shards) from given first frames on."""
        parts = [self._read_one(*self._locate(clip), start, frames) for clip, start in places]
        return _assembled({name: torch.stack([part[name] for part in parts]) for name in parts[0]})

    def require_frames(self, frames: int) -> None:
        """Raise `InputError` if the clips are shorter."""
        if not 1 <= frames <= self.description.frames:
            raise InputError(
                f"the clips in {self.folder} have {self.description.frames} frames, "
                f"{frames} were asked for: render longer ones"
            )

    def _locate(self, clip: int) -> tuple[int, int]:
        for number, size in self.sizes.items():
            if clip < size:
                return number, clip
            clip -= size
        raise IndexError(f"there is no clip {clip + len(self)}")

    def _read_one(self, number: int, clip: int, start: int, frames: int) -> dict[str, Tensor]:
        stretch = slice(start, start + frames)
        images = np.array(_map_images(_images(self.folder, number))[clip, stretch])
        found = {"window.images": torch.from_numpy(images)}
        with safe_open(_shard(self.folder, number), "pt") as file:
            for name, has_time in _FIELDS.items():
                part = file.get_slice(name)
                found[name] = part[clip, stretch] if has_time else part[clip]
        return found

    def _check(self, number: int) -> None:
        """Raise `InputError` unless a shard has everything, of the right shape."""
        size, frames = self.sizes[number], self.description.frames
        side = self.description.rendering.side
        path = _images(self.folder, number)
        images = _map_images(path)
        if images.shape != (size, frames, 3, side, side) or images.dtype != np.uint8:
            raise InputError(
                f"{path}: images of shape {images.shape} ({images.dtype}), expected "
                f"{(size, frames, 3, side, side)} (uint8): delete the shard and render it anew"
            )
        path = _shard(self.folder, number)
        try:
            with safe_open(path, "pt") as file:
                names = set(file.keys())
                for name, has_time in _FIELDS.items():
                    if name not in names:
                        raise InputError(f"{path}: there is no {name}: render the shard anew")
                    shape = tuple(file.get_slice(name).get_shape())
                    expected = (size, frames) if has_time else (size,)
                    if shape[: len(expected)] != expected:
                        raise InputError(
                            f"{path}: {name} has shape {shape}, expected it to begin with "
                            f"{expected}: delete the shard and render it anew"
                        )
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} is damaged ({error}): delete it, render it anew") from error


def _images(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.images.npy"


def _shard(folder: Path, number: int) -> Path:
    return folder / f"{number:05}.safetensors"


def _map_images(path: Path) -> UInt8[ndarray, "clips T 3 side side"]:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path} is absent or damaged ({error}): render the shard anew") from error


def _named(window: CropWindow, target: BodyTarget) -> dict[str, Tensor]:
    """All fields by their names in a shard, the images too."""
    groups = (("window", window), ("target", target), ("target.smpl", target.smpl))
    return {
        f"{prefix}.{field.name}": value
        for prefix, group in groups
        for field in fields(group)
        if isinstance(value := getattr(group, field.name), Tensor)
    }


def _has_time(shape: str) -> bool:
    """Whether an annotated shape has an axis T: `B T 3`, or that of parameters, `*b 3`."""
    return shape.startswith(("B T", "*b"))


_GROUPS = (("window.", CropWindow), ("target.", BodyTarget), ("target.smpl.", SmplParams))
_FIELDS = {
    prefix + field.name: _has_time(getattr(field.type, "dim_str", ""))
    for prefix, group in _GROUPS
    for field in fields(group)
    if prefix + field.name not in ("window.images", "target.smpl")
}
"""Every tensor but the images, and whether it is given for every frame or once for a clip."""


def _assembled(tensors: dict[str, Tensor]) -> tuple[CropWindow, BodyTarget]:
    def under(prefix: str) -> dict[str, Tensor]:
        return {
            name.removeprefix(prefix): tensor
            for name, tensor in tensors.items()
            if name.startswith(prefix) and "." not in name.removeprefix(prefix)
        }

    smpl = SmplParams(**under("target.smpl."))
    return CropWindow(**under("window.")), BodyTarget(smpl=smpl, **under("target."))
