"""One shard of labelled sequences, written whole or not at all, always the same bytes."""

import json
import tarfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import torch
from jaxtyping import UInt8
from numpy import ndarray
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from temporal_hmr.data.clip_images import Unreadable, image_of, read_frames
from temporal_hmr.data.cutouts import cutouts
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.shards import (
    CONTENTS,
    GROUPS,
    ShardContents,
    ShardSettings,
    StoredSequence,
    index_path,
    sequence_key,
    tar_path,
)
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody

_DIGITS = 6
"""Of numbers in the JSON files, after the point."""


@dataclass(frozen=True, eq=False)
class Job:
    """One shard to be made."""

    folder: Path
    number: int
    settings: ShardSettings
    sequences: list[Sequence]


@dataclass(frozen=True, eq=False)
class _Stored:
    """One frame's image in a tar."""

    offset: int = 0
    size: int = 0
    checksum: int = 0
    corner: tuple[float, float] = (0.0, 0.0)
    scale: tuple[float, float] = (1.0, 1.0)


def write_shard(job: Job, body: PosedBody) -> int:
    """Write a shard whole or not at all; its number.

    `body` is whose points show where people are. Raises `InputError` if the disk does not take it.
    """
    tar = tar_path(job.folder, job.number)
    index = index_path(tar)
    partial = tar.with_name(tar.name + ".partial")
    unreadable = Unreadable()
    try:
        with (
            partial.open("wb") as file,
            tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            writer = _Writer(job.settings, body, archive, file, unreadable)
            frames = [
                stored
                for place, sequence in enumerate(job.sequences)
                for stored in writer.add(sequence, sequence_key(job.number, place))
            ]
        size = partial.stat().st_size
        partial.replace(tar)
        partial = index.with_name(index.name + ".partial")
        save_file(_arrays(job.sequences, frames), partial, _told(job, size, frames, unreadable))
        partial.replace(index)
    except (OSError, SafetensorError) as error:
        raise InputError(
            f"shard {job.number} cannot be written to {job.folder}: {error}"
        ) from error
    return job.number


@dataclass(frozen=True, eq=False)
class _Writer:
    settings: ShardSettings
    body: PosedBody
    archive: tarfile.TarFile
    file: BinaryIO
    unreadable: Unreadable

    def add(self, sequence: Sequence, key: str) -> list[_Stored]:
        """Write a sequence's images and labels; where they are, frame by frame."""
        found = [_Stored()] * len(sequence)
        boxes, sides = cutouts(sequence, self.body, self.settings.margin)
        for frame, image in read_frames(sequence, range(len(sequence)), self.unreadable):
            corner, scale = (0.0, 0.0), (1.0, 1.0)
            if self.settings.whole:
                content = self._whole(sequence, frame, image)
            else:
                left, top, right, bottom = boxes[frame].tolist()
                cut = self._smaller(image[top:bottom, left:right], float(sides[frame]))
                corner = float(left), float(top)
                scale = cut.shape[1] / (right - left), cut.shape[0] / (bottom - top)
                content = self._encoded(cut)
            name = f"{key}_{frame:06}"
            offset = self._write(f"{name}.jpg", content)
            found[frame] = _Stored(offset, len(content), zlib.crc32(content), corner, scale)
            self._write(f"{name}.json", _described(sequence, frame, found[frame]))
        return found

    def _smaller(
        self, image: UInt8[ndarray, "H W 3"], side: float
    ) -> UInt8[ndarray, "height width 3"]:
        """With no more pixels than are wanted, were it a square of that side."""
        scale = self.settings.side / side
        if scale >= 1:
            return np.ascontiguousarray(image)
        height, width = (max(1, round(scale * length)) for length in image.shape[:2])
        return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    def _whole(self, sequence: Sequence, frame: int, image: UInt8[ndarray, "H W 3"]) -> bytes:
        """The file itself if it is JPEG; else as it was stored, turned or not."""
        path, _ = image_of(sequence, frame)
        if path.suffix.lower() in (".jpg", ".jpeg"):
            return path.read_bytes()
        return self._encoded(np.ascontiguousarray(np.rot90(image, sequence.quarter_turns)))

    def _encoded(self, image: UInt8[ndarray, "H W 3"]) -> bytes:
        flags = [cv2.IMWRITE_JPEG_QUALITY, self.settings.quality]
        return cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), flags)[1].tobytes()

    def _write(self, name: str, content: bytes) -> int:
        """Add a member; where in the file its content begins."""
        member = tarfile.TarInfo(name)
        member.size = len(content)
        offset = self.file.tell() + tarfile.BLOCKSIZE
        self.archive.addfile(member, BytesIO(content))
        return offset


def stored_sequence(sequence: Sequence, whole: bool) -> StoredSequence:
    """What an index tells of it; what is cut out is stored upright."""
    return StoredSequence(
        name=sequence.name,
        dataset=sequence.dataset,
        trusted=sequence.trusted,
        subject=sequence.subject,
        smpl_gender=sequence.smpl_gender,
        image_size=sequence.image_size,
        quarter_turns=sequence.quarter_turns if whole else 0,
        frames=len(sequence),
        camera=sequence.focal is not None,
        body=sequence.smpl is not None,
    )


def labels_of(sequence: Sequence) -> dict[str, Tensor]:
    """Arrays of the index that do not speak of the tar."""
    names = ["times", "boxes", "keypoints", "joints", "has_joints"]
    if sequence.focal is not None:
        names += ["focal", "center"]
    found = {name: np.array(getattr(sequence, name)) for name in names}
    if sequence.smpl is not None:
        found |= {name: tensor.numpy() for name, tensor in vars(sequence.smpl).items()}
        found["has_smpl"] = np.array(sequence.has_smpl)
    return {
        name: torch.from_numpy(array if array.dtype == bool else array.astype(np.float64))
        for name, array in found.items()
    }


def _arrays(sequences: list[Sequence], frames: list[_Stored]) -> dict[str, Tensor]:
    """Of an index."""
    images = {
        "offsets": torch.tensor([each.offset for each in frames]),
        "sizes": torch.tensor([each.size for each in frames]),
        "checksums": torch.tensor([each.checksum for each in frames]),
        "corners": torch.tensor([each.corner for each in frames], dtype=torch.float64),
        "scales": torch.tensor([each.scale for each in frames], dtype=torch.float64),
    }
    labels = [labels_of(sequence) for sequence in sequences]
    for shapes in GROUPS.values():
        for name, shape in shapes.items():
            if name not in images:
                found = [each[name] for each in labels if name in each]
                images[name] = torch.cat(found) if found else torch.zeros(0, *shape)
    return images


def _told(job: Job, size: int, frames: list[_Stored], unreadable: Unreadable) -> dict[str, str]:
    contents = ShardContents(
        settings=job.settings,
        sequences=tuple(
            stored_sequence(sequence, job.settings.whole) for sequence in job.sequences
        ),
        size=size,
        images=sum(each.size > 0 for each in frames),
        reduced=sum(min(each.scale) < 1 for each in frames),
        unreadable=tuple(unreadable.reasons.values()),
    )
    return {CONTENTS: contents.model_dump_json()}


def _described(sequence: Sequence, frame: int, stored: _Stored) -> bytes:
    """A frame's labels for other software, rounded; in pixels of the full image."""
    values: dict[str, Any] = {
        "dataset": sequence.dataset,
        "sequence": sequence.name,
        "subject": sequence.subject,
        "trusted": sequence.trusted,
        "frame": frame,
        "time": sequence.times[frame],
        "image_size": sequence.image_size,
        "corner": stored.corner,
        "scale": stored.scale,
        "box": sequence.boxes[frame],
        "keypoints": sequence.keypoints[frame],
        "joints": sequence.joints[frame],
        "has_joints": sequence.has_joints[frame],
    }
    if sequence.focal is not None and sequence.center is not None:
        values |= {"focal": sequence.focal[frame], "center": sequence.center[frame]}
    if sequence.smpl is not None and sequence.has_smpl is not None:
        smpl = sequence.smpl[frame]
        values |= {
            "has_smpl": sequence.has_smpl[frame],
            "gender": sequence.smpl_gender,
            "poses": smpl.poses().numpy(),
            "betas": smpl.betas.numpy(),
            "trans": smpl.transl.numpy(),
        }
    return json.dumps({name: _plain(value) for name, value in values.items()}).encode()


def _plain(value: Any) -> Any:
    """For JSON, which has no NaN: null, all of it."""
    if isinstance(value, str | bool | int):
        return value
    array = np.asarray(value)
    if array.dtype.kind != "f":
        return array.tolist()
    return np.round(array, _DIGITS).tolist() if np.isfinite(array).all() else None
