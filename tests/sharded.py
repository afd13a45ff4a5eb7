"""Labelled sequences of every kind, the shards of them, and the clips that are cut of both."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from labelled_clips import SIZE, posed, write_sequence
from torch import Generator

from temporal_hmr.data import shard_plan
from temporal_hmr.data.augmentation import CropAugmentation
from temporal_hmr.data.detector_noise import DetectorNoise
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.shard_plan import describe, make_shards, missing_shards
from temporal_hmr.data.shards import ShardSettings, read_shards
from temporal_hmr.data.stretches import draw_stretch
from temporal_hmr.data.windows import WindowCutter, WindowSettings
from temporal_hmr.rendering.patterns import Patterns

FRAMES, WINDOW = 10, 4
PATTERNS = cache(Patterns.make)


@pytest.fixture(scope="module", autouse=True)
def quickly() -> Iterator[None]:
    """The body is loaded once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shard_plan, "_posed", lambda _: posed())
        yield


@pytest.fixture(scope="module")
def loose(tmp_path_factory: pytest.TempPathFactory) -> list[Sequence]:
    """With everything, without body, without camera; a picture. JPEG files of noise with spots."""
    folder = tmp_path_factory.mktemp("loose")
    full = textured(write_sequence(folder, FRAMES, name="full", subject="a"))
    boxes = full.boxes.copy()
    boxes[3] = np.nan
    flat = replace(full, name="flat", smpl=None, has_smpl=None, trusted=False, boxes=boxes)
    blind = replace(full, name="blind", focal=None, center=None, subject="")
    picture = textured(write_sequence(folder, 1, name="picture"))
    return [full, flat, blind, picture]


def textured(sequence: Sequence) -> Sequence:
    """With JPEG images that are nowhere black, and smooth enough for JPEG."""
    paths = []
    for number, path in enumerate(sequence.images):  # type: ignore[arg-type]
        coarse = np.random.default_rng(number).integers(60, 190, (15, 20, 3)).astype(np.uint8)
        image = cv2.resize(coarse, SIZE, interpolation=cv2.INTER_CUBIC)
        paths.append(path.with_suffix(".jpg"))
        cv2.imwrite(str(paths[-1]), image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    return replace(sequence, images=tuple(paths))


def write(folder: Path, sequences: list[Sequence], workers: int = 1, **settings: object) -> Path:
    chosen = ShardSettings.model_validate({"frames": 12, "quality": 95} | settings)
    description = describe("made", "train", sequences, chosen, "open")
    for _ in make_shards(missing_shards(folder, description, sequences), None, workers):
        pass
    return folder


@pytest.fixture(scope="module")
def shards(loose: list[Sequence], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("shards") / "cut", loose)


@pytest.fixture(scope="module")
def whole(loose: list[Sequence], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("shards") / "whole", loose, whole=True)


def read(folder: Path, skip_broken: bool = False) -> list[Sequence]:
    return read_shards(folder.parent, folder.name, skip_broken)


def cutter(side: int = 48) -> WindowCutter:
    settings = WindowSettings(frames=WINDOW, side=side, assumed_focal_share=0.3)
    varied, noise = CropAugmentation(), DetectorNoise()
    return WindowCutter(settings, posed(), varied, noise, patterns=PATTERNS())


def clips(sequence: Sequence, maker: WindowCutter, count: int = 6) -> list:
    found = []
    for seed in range(count):
        stretch = draw_stretch(sequence, maker.settings, Generator().manual_seed(seed))
        found.append(maker.cut(sequence, stretch, seed))
    return found


def tensors(clip: object) -> dict[str, torch.Tensor]:
    assert isinstance(clip, tuple)
    window, target = clip
    return vars(window) | vars(target) | vars(target.smpl)
