"""People of known motion as the built-in detector read them in rendered videos, to learn from.

Made-up errors are like a detector's in kind; these are its own: which keypoints it takes for
others in which poses and views, for how long, and how sure it is of them.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from pydantic import Field, model_validator
from torch import Generator, Tensor

from temporal_hmr.archive import read_arrays
from temporal_hmr.body.params import SmplParams, flip_rotations
from temporal_hmr.configuration import Config
from temporal_hmr.data.detector_noise import Detections
from temporal_hmr.data.scene import Scene
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.motion import BodyMotion
from temporal_hmr.output.npz import atomic_path
from temporal_hmr.skeleton import BLAZEPOSE23

FPS = 30.0
"""Of the videos."""
_SHAPES = {
    "rotations": ("frames", 24, 3, 3),
    "betas": ("frames", 10),
    "transl": ("frames", 3),
    "found": ("frames", len(BLAZEPOSE23), 3),
    "lengths": ("people",),
    "focal": ("people",),
    "image_size": ("people", 2),
    "subjects": ("subjects",),
}


class ReadingsConfig(Config):
    """How much of what trains is a detector's own readings, or errs as they do."""

    pairs: float = Field(default=0.3, ge=0, le=1)
    """Share of clips that are readings with the truth that they belong to."""
    errors: float = Field(default=0.2, ge=0, le=1)
    """Share of clips in which other motion is read with the errors of some reading."""

    @model_validator(mode="after")
    def _shares(self) -> "ReadingsConfig":
        if self.pairs + self.errors > 1:
            raise ValueError("pairs and errors are shares of all clips: together at most 1")
        return self


@dataclass(frozen=True, eq=False)
class ReadPeople:
    """Everybody's frames end to end, at `FPS`."""

    smpl: SmplParams
    """Camera frame of the video, batch axis N."""
    found: Float[Tensor, "N 23 3"]
    """`BLAZEPOSE23`: pixels and confidence, 0 where nothing was read."""
    meant: Float[Tensor, "N 23 2"]
    """Pixels where they should have been."""
    starts: Int[Tensor, "people"]
    lengths: Int[Tensor, "people"]
    focal: Float[Tensor, "people"]
    """Pixels; the principal point is the middle of the image."""
    image_size: Float[Tensor, "people 2"]
    """Width, height in pixels."""
    subjects: tuple[str, ...]
    """Whose motion it is."""

    @staticmethod
    def open(path: Path, body: PosedBody) -> "ReadPeople":
        """Read what `scripts/read_videos.py` wrote.

        Raises `InputError` if the file is missing, damaged, or something else.
        """
        arrays = read_arrays(path, lambda names: [name for name in _SHAPES if name in names])
        _require_shapes(arrays, path)
        numbers = {
            name: torch.from_numpy(array.astype(np.float32))
            for name, array in arrays.items()
            if name not in ("subjects", "lengths")
        }
        lengths = torch.from_numpy(arrays["lengths"].astype(np.int64))
        smpl = SmplParams.from_rotations(numbers["rotations"], numbers["betas"], numbers["transl"])
        size = numbers["image_size"]
        focal = numbers["focal"].repeat_interleave(lengths)[:, None, None]
        points = body.body.regress(smpl, body.blazepose_points)
        middle = size.repeat_interleave(lengths, 0)[:, None] / 2
        return ReadPeople(
            smpl=smpl,
            found=numbers["found"],
            meant=points[..., :2] / points[..., 2:] * focal + middle,
            starts=lengths.cumsum(0) - lengths,
            lengths=lengths,
            focal=numbers["focal"],
            image_size=size,
            subjects=tuple(str(name) for name in arrays["subjects"]),
        )

    def require_none_of(self, subjects: tuple[str, ...]) -> None:
        """Raise `InputError` if anybody among these subjects moves in the videos."""
        if shared := set(subjects) & set(self.subjects):
            raise InputError(
                f"the readings are of {', '.join(sorted(shared))}, too, who must not train: render "
                "videos with --except"
            )

    def draw(
        self, times: Float[Tensor, "B T"], generator: Generator
    ) -> tuple[Int[Tensor, "B T"], Bool[Tensor, "B"]]:
        """Frames for each clip, of one person, and whether anybody is read for so long."""
        clips, count = times.shape
        long = (self.lengths >= count).float()
        if not long.any():
            return torch.zeros(clips, count, dtype=torch.long), torch.zeros(clips, dtype=torch.bool)
        person = torch.multinomial(long, clips, replacement=True, generator=generator)
        apart = (times * FPS).round().long()
        there = self.lengths[person]
        fits = (apart[:, -1] < there) & (apart.diff(dim=1) > 0).all(1)
        apart = torch.where(fits[:, None], apart, torch.arange(count))
        slack = there - apart[:, -1]
        first = (torch.rand(clips, generator=generator) * slack).long()
        return (self.starts[person] + first)[:, None] + apart, torch.ones(clips, dtype=torch.bool)

    def seen(
        self,
        frame: Int[Tensor, "B T"],
        person: Int[Tensor, "B"],
        mirrored: Bool[Tensor, "B"],
        body: PosedBody,
    ) -> tuple[SmplParams, Float[Tensor, "B T 23 3"]]:
        """Those frames; in a mirror, left and right change names."""
        smpl, found = self.smpl[frame], self.found[frame]
        rest = body.pelvis_at_rest(smpl.betas)
        pelvis = smpl.transl + rest
        pelvis = _where(mirrored, pelvis * pelvis.new_tensor([-1, 1, 1]), pelvis)
        rotations = smpl.rotations()
        rotations = _where(mirrored, flip_rotations(rotations), rotations)
        width = self.image_size[person, 0]
        across = torch.stack([width[:, None, None] - found[..., 0], *found.unbind(-1)[1:]], -1)
        found = _where(mirrored, across[:, :, _FLIP], found)
        return SmplParams.from_rotations(rotations, smpl.betas, pelvis - rest), found

    def errors(
        self, frame: Int[Tensor, "B T"], mirrored: Bool[Tensor, "B"]
    ) -> Float[Tensor, "B T 23 2"]:
        """Of readings, over the extent of who was read."""
        meant = self.meant[frame]
        error = (self.found[frame][..., :2] - meant) / _extent(meant)
        flipped = error[:, :, _FLIP] * error.new_tensor([-1, 1])
        return _where(mirrored, flipped, error)


@dataclass(frozen=True, eq=False)
class Readings:
    """People as a detector really read them, and how many clips are to be of them."""

    people: ReadPeople
    shares: ReadingsConfig

    def mixed_in(
        self,
        scene: Scene,
        elsewhere: Float[Tensor, "B T 23 2"],
        detections: Detections,
        body: PosedBody,
        generator: Generator,
    ) -> tuple[Scene, Detections]:
        """The scene and what is detected in it, some clips exchanged for readings.

        `elsewhere` are the pixels of the scene's `BLAZEPOSE23`. Readings are mirrored half the
        time, and as far apart in time as the frames of the clip that they replace.
        """
        people, clips = self.people, len(scene.times)
        chance = torch.rand(clips, generator=generator)
        frame, there = people.draw(scene.times, generator)
        pair = there & (chance < self.shares.pairs)
        error = there & ~pair & (chance < self.shares.pairs + self.shares.errors)
        mirrored = torch.rand(clips, generator=generator) < 0.5
        person = torch.searchsorted(people.starts, frame[:, 0].contiguous(), right=True) - 1

        smpl, found = people.seen(frame, person, mirrored, body)
        times = (frame - frame[:, :1]) / FPS
        size = people.image_size[person]
        exchanged = Scene(
            smpl=_chosen(pair, smpl, scene.smpl),
            times=torch.where(pair[:, None], times, scene.times),
            focal=torch.where(pair, people.focal[person], scene.focal),
            image_size=torch.where(pair[:, None], size, scene.image_size),
            world_to_camera=scene.world_to_camera,
            world_origin=scene.world_origin,
        )
        wrong = people.errors(frame, mirrored) * _extent(elsewhere)
        outside = ((elsewhere < 0) | (elsewhere > scene.image_size[:, None, None])).any(-1)
        pixels = _where(error, elsewhere + wrong, _where(pair, found[..., :2], detections.pixels))
        scores = torch.where(outside & error[:, None, None], 0.0, found[..., 2])
        scores = _where(pair | error, scores, detections.scores)
        return exchanged, replace(detections, pixels=pixels, scores=scores)


def write_readings(
    path: Path,
    people: Sequence[tuple[BodyMotion, Float[ndarray, "T 23 3"]]],
    subjects: Collection[str],
) -> None:
    """Write true motions of the open body, and how each was read, for `ReadPeople.open`.

    Raises `InputError` if the file cannot be written.
    """
    motions, found = zip(*people, strict=True)
    smpls = [motion.smpl.map(lambda values: values.float()) for motion in motions]
    cameras = [motion.camera for motion in motions]
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            rotations=np.concatenate([smpl.rotations().numpy() for smpl in smpls]),
            betas=np.concatenate([smpl.betas.numpy() for smpl in smpls]),
            transl=np.concatenate([smpl.transl.numpy() for smpl in smpls]),
            found=np.concatenate(found).astype(np.float32),
            lengths=np.array([len(each) for each in found]),
            focal=np.array([float(camera.focal.mean()) for camera in cameras], np.float32),
            image_size=np.stack([2 * camera.center.numpy() for camera in cameras]).astype("f4"),
            subjects=np.array(sorted(subjects)),
        )


_FLIP = BLAZEPOSE23.flip_permutation()


def _require_shapes(arrays: dict[str, ndarray], path: Path) -> None:
    """Raise `InputError` unless these are all arrays of readings, and fit together."""
    if missing := [name for name in _SHAPES if name not in arrays]:
        raise InputError(
            f"{path} has no {missing[0]}: give a file written by scripts/read_videos.py"
        )
    lengths = arrays["lengths"]
    if lengths.dtype.kind not in "iu" or lengths.size == 0 or lengths.min() < 1:
        raise InputError(f"{path}: lengths are not whole numbers from 1 on; make the file anew")
    sizes: dict[str, int] = {"frames": int(lengths.sum())}
    for name, expected in _SHAPES.items():
        shape = arrays[name].shape
        known = [
            sizes.setdefault(each, length) if isinstance(each, str) else each
            for each, length in zip(expected, shape, strict=False)
        ]
        if list(shape) != known or len(shape) != len(expected):
            raise InputError(
                f"{path}: {name} has the shape {shape}, which does not go with the rest: make the "
                "file anew with scripts/read_videos.py"
            )
        if name in ("lengths", "subjects"):
            continue
        if arrays[name].dtype.kind != "f" or not np.isfinite(arrays[name]).all():
            raise InputError(f"{path}: {name} has what is no finite number; make the file anew")


def _extent(pixels: Float[Tensor, "B T J 2"]) -> Float[Tensor, "B 1 1 1"]:
    """Of each clip's person, pixels: the usual one of its frames."""
    extent = (pixels.amax(-2) - pixels.amin(-2)).amax(-1)
    return extent.median(1).values.clamp(min=1)[:, None, None, None]


def _where(chosen: Bool[Tensor, "B"], one: Tensor, other: Tensor) -> Tensor:
    """Clip by clip."""
    return torch.where(chosen.reshape(-1, *[1] * (other.dim() - 1)), one, other)


def _chosen(chosen: Bool[Tensor, "B"], one: SmplParams, other: SmplParams) -> SmplParams:
    rotations = _where(chosen, one.rotations(), other.rotations())
    betas = _where(chosen, one.betas, other.betas)
    return SmplParams.from_rotations(rotations, betas, _where(chosen, one.transl, other.transl))
