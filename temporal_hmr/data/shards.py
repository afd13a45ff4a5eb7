"""Labelled sequences on disk as shards: tar files of images, each with an index.

    description.json      what the folder holds, and how it was made (`ShardsDescription`)
    00000.tar             for every frame KEY.jpg and KEY.json (its labels, for other software), as
                          the package webdataset and any tar program read them
    00000.safetensors     the index: the labels of all frames, and where the images lie in the tar

A shard's index appears last, so that a shard is whole where it exists. A sequence is in one shard
(a very long one is cut in parts before it is written), hence every clip too.

Training needs any clip at any time: what a step learns from depends on the seed and the step alone,
which is what makes runs continue bit for bit. So images are read from where the index says, a
clip's frames from one piece of one file, and labels are mapped into memory, not loaded. A stream
with a shuffle buffer would have a state to restore, and would be a second way to make windows.
"""

import glob
import json
import os
from dataclasses import dataclass, fields
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy import ndarray
from pydantic import Field
from safetensors import SafetensorError, safe_open

from temporal_hmr.body.params import SmplParams
from temporal_hmr.configuration import Config, parse_config
from temporal_hmr.data.annotations import Pictures, gather
from temporal_hmr.data.described_folder import read_description
from temporal_hmr.data.sequence import Sequence, ShardFrames
from temporal_hmr.errors import InputError

HOLDS = "shards"
CONTENTS = "contents"
"""Under which name an index tells what is no array."""

_CAMERA = {"focal": (2,), "center": (2,)}
_BODY = {
    "global_orient": (3, 3),
    "body_pose": (23, 3, 3),
    "betas": (10,),
    "transl": (3,),
    "has_smpl": (),
}
_ALWAYS = {
    "times": (),
    "boxes": (4,),
    "keypoints": (23, 3),
    "joints": (24, 3),
    "has_joints": (24,),
    "offsets": (),
    "sizes": (),
    "checksums": (),
    "corners": (2,),
    "scales": (2,),
}
_PARAMETERS = tuple(field.name for field in fields(SmplParams))
GROUPS = {"all": _ALWAYS, "camera": _CAMERA, "body": _BODY}
"""Arrays of an index and their shapes after the axis of frames: those of every sequence, of those
whose camera is known, and of those with bodies."""

_GROUP_OF = {name: group for group, shapes in GROUPS.items() for name in shapes}


class ShardSettings(Config):
    """What shards hold of a dataset's images."""

    whole: bool = False
    """Whole images, JPEG files as they are; else what is cut out around each person."""
    margin: float = Field(default=2.0, ge=1)
    """Sides of what is cut out over those of the person's box: what turned, larger and shifted
    crops of training see of the image."""
    side: int = Field(default=512, gt=0)
    """Pixels of the sides of what is cut out, at most."""
    quality: int = Field(default=90, ge=1, le=100)
    """Of the JPEG files."""
    frames: int = Field(default=4000, gt=0)
    """Of a shard, at most."""


class ShardsDescription(Config):
    """What a folder of shards holds."""

    kind: Literal["dataset shards"] = "dataset shards"
    schema_version: Literal[1] = 1
    dataset: str
    part: str
    settings: ShardSettings
    body: str
    """Name of the body that showed where people are."""
    sequences: int = Field(ge=1)
    frames: int = Field(ge=1)
    shards: int = Field(ge=1)
    labels: str
    """SHA-256 of all labels: shards of one folder are of one state of the dataset."""


class StoredSequence(Config):
    """What an index tells of one sequence beside its arrays."""

    name: str
    dataset: str
    trusted: bool
    subject: str
    smpl_gender: str
    image_size: tuple[int, int]
    quarter_turns: int
    frames: int = Field(ge=1)
    camera: bool
    """Whether the dataset knows it."""
    body: bool
    """Whether there are any parameters of one."""


class ShardContents(Config):
    """What an index tells beside its arrays."""

    schema_version: Literal[1] = 1
    settings: ShardSettings
    sequences: tuple[StoredSequence, ...]
    size: int
    """Bytes of the tar file."""
    images: int
    reduced: int
    """Images that were made smaller."""
    unreadable: tuple[str, ...]
    """Why images are not there, one sentence for each."""

    def frames_with(self, group: str) -> list[int]:
        """Frames of each sequence that the arrays of a group have."""
        return [each.frames if _has(each, group) else 0 for each in self.sequences]


def tar_path(folder: Path, number: int) -> Path:
    """Of one shard."""
    return folder / f"{number:05}.tar"


def index_path(tar: Path) -> Path:
    """Of the shard's index."""
    return tar.with_suffix(".safetensors")


def sequence_key(number: int, place: int) -> str:
    """What names of members begin with: shard, then sequence in it."""
    return f"{number:05}_{place:05}"


def read_shards(folder: Path, part: str, skip_broken: bool = False) -> list[Sequence]:
    """All sequences of the shards that `part` means.

    It is the path of a folder of shards, or a pattern of such folders or of tar files in them, from
    `folder` on. Raises `InputError` naming files and keys that are missing or damaged; with
    `skip_broken` those shards are left out with a warning.
    """
    return gather(_tars(folder, part), _sequences, Pictures(), skip_broken)


def dealt(sequences: list[Sequence], process: int, processes: int) -> list[Sequence]:
    """What one of so many processes learns from: together all, each sequence in one of them.

    In the order of the shards, so that a process reads few of them, and shared evenly by frames.
    Where some process would have nothing, for there are few sequences, all have all.
    """
    lengths = np.array([len(each) for each in sequences])
    middles = np.cumsum(lengths) - lengths / 2
    owners = (middles * processes / lengths.sum()).astype(int)
    if len(set(owners.tolist())) < processes:
        return sequences
    return [each for each, owner in zip(sequences, owners, strict=True) if owner == process]


@dataclass(frozen=True, eq=False)
class ShardIndex:
    """An index, opened; its arrays stay on disk."""

    path: Path
    contents: ShardContents
    arrays: dict[str, ndarray]
    """Mapped."""

    @staticmethod
    def open(path: Path) -> "ShardIndex":
        """Raises `InputError` naming file and key of what is missing or damaged."""
        remedy = "copy it again, or delete it and make the shard anew"
        if not path.is_file():
            raise InputError(f"there is no index {path}: let the making of the shard finish")
        try:
            with safe_open(path, "pt") as file:
                told = (file.metadata() or {}).get(CONTENTS)
                arrays = {name: file.get_tensor(name).numpy() for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise InputError(f"{path} is damaged ({error}): {remedy}") from error
        if told is None:
            raise InputError(f"{path}: there is no {CONTENTS}: this is no index of a shard")
        try:
            values = json.loads(told)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: {CONTENTS} is damaged ({error}): {remedy}") from error
        contents = parse_config(values, ShardContents, f"{path}: {CONTENTS}")
        for group, shapes in GROUPS.items():
            rows = sum(contents.frames_with(group))
            for name, shape in shapes.items():
                if name not in arrays:
                    raise InputError(f"{path}: there is no {name}: {remedy}")
                if arrays[name].shape != (rows, *shape):
                    raise InputError(
                        f"{path}: {name} has shape {arrays[name].shape}, expected "
                        f"{(rows, *shape)}: {remedy}"
                    )
        return ShardIndex(path, contents, arrays)

    def sequences(self, tar: Path) -> list[Sequence]:
        """All of the shard, whose images are in `tar`."""
        places: list[dict[str, slice]] = [{} for _ in self.contents.sequences]
        for group in GROUPS:
            edges = accumulate(self.contents.frames_with(group), initial=0)
            for place, (first, stop) in zip(places, pairwise(edges), strict=True):
                place[group] = slice(first, stop)
        return [
            self._sequence(tar, number, stored, place)
            for number, (stored, place) in enumerate(
                zip(self.contents.sequences, places, strict=True)
            )
        ]

    def _sequence(
        self, tar: Path, number: int, stored: StoredSequence, place: dict[str, slice]
    ) -> Sequence:
        def array(name: str) -> ndarray:
            return self.arrays[name][place[_GROUP_OF[name]]]

        settings = self.contents.settings
        images = ShardFrames(
            path=tar,
            name=f"{tar.stem}_{number:05}",
            first=place["all"].start,
            offsets=array("offsets"),
            sizes=array("sizes"),
            checksums=array("checksums"),
            corners=array("corners"),
            scales=array("scales"),
            margin=None if settings.whole else settings.margin,
            box_side=None if settings.whole else settings.side / settings.margin,
        )
        smpl = None
        if stored.body:
            smpl = SmplParams(*(torch.from_numpy(array(name)) for name in _PARAMETERS))
        return Sequence(
            name=stored.name,
            dataset=stored.dataset,
            trusted=stored.trusted,
            images=images,
            image_size=stored.image_size,
            times=array("times"),
            focal=array("focal") if stored.camera else None,
            center=array("center") if stored.camera else None,
            boxes=array("boxes"),
            keypoints=array("keypoints"),
            joints=array("joints"),
            has_joints=array("has_joints"),
            smpl=smpl,
            has_smpl=array("has_smpl") if stored.body else None,
            smpl_gender=stored.smpl_gender,
            subject=stored.subject,
            quarter_turns=stored.quarter_turns,
        )


def _has(sequence: StoredSequence, group: str) -> bool:
    return {"all": True, "camera": sequence.camera, "body": sequence.body}[group]


def _tars(folder: Path, part: str) -> list[Path]:
    """Raises `InputError` if nothing is meant, or no folder of shards."""
    named = sorted(glob.glob(os.path.join(glob.escape(str(folder)), part)))
    found = [Path(name) for name in named] or [folder / part]
    tars: list[Path] = []
    for path in found:
        if path.is_dir():
            count = read_description(path, ShardsDescription, HOLDS).shards
            tars += [tar_path(path, number) for number in range(count)]
        elif path.suffix == ".tar":
            tars.append(path)
    if not tars:
        raise InputError(
            f"there are no shards at {folder / part}: give a folder that prepare_dataset.py "
            "--shards wrote, or a pattern of such folders or of tar files in them"
        )
    return tars


def _sequences(tar: Path) -> list[Sequence]:
    index = ShardIndex.open(index_path(tar))
    try:
        size = tar.stat().st_size
    except OSError as error:
        raise InputError(f"cannot read {tar}: {error.strerror}; copy the shard again") from error
    if size != index.contents.size:
        raise InputError(
            f"{tar} has {size} bytes, {index.contents.size} were written: it breaks off, or its "
            "index is another's: copy the shard again"
        )
    return index.sequences(tar)
