"""One person made ready for the checks: a clip without holes, on a body, in every frame known.

Frames in which the person is absent, or whose numbers are not finite, are NaN throughout: whatever
is computed from them is NaN too, and a comparison with NaN flags nothing. So no difference in time
is ever taken across a gap.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from temporal_hmr.body.detector_points import blazepose_regressor
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.checks.timing import Clock, frame_step
from temporal_hmr.errors import InputError
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.on_disk import chunks, scratch, zeros
from temporal_hmr.skeleton import BLAZEPOSE23, SMPL24, Skeleton

MOST_FRAMES = 400_000
"""Of a clip, from first to last: hours of video, of each frame of which 4 kB lie on the disk."""


@dataclass(frozen=True, eq=False)
class Place:
    """Where the body is in one coordinate frame, in metres."""

    joints: Float[ndarray, "T 24 3"]
    """SMPL's kinematic joints."""
    points: Float[ndarray, "T 23 3"]
    """Keypoints of `skeleton.COCO23`, or of `BLAZEPOSE23` where that is what was detected."""
    rest_heights: Float[ndarray, "23"]
    """Of those keypoints in the zero pose, above the lowest of them."""


@dataclass(frozen=True, eq=False)
class Subject:
    """One person in all frames that were looked at from their first to their last."""

    name: str
    clock: Clock
    present: Bool[ndarray, "T"]
    """The file has this frame."""
    finite: Bool[ndarray, "T"]
    """It has, and all its numbers are finite."""
    filled: Bool[ndarray, "T"]
    """The system says that the frame is a guess."""
    tells_filled: bool
    """Whether the system says so at all."""
    rooted: Float[ndarray, "T 24 3"]
    """Joints relative to the pelvis, in the axes of the camera; metres."""
    orientation: Float[ndarray, "T 3 3"]
    """Of the pelvis, in the axes of the camera."""
    betas: Float[ndarray, "T 10"]
    own_body: bool
    """False where another body stands in, with betas of zero."""
    camera_place: Place | None
    """None where the system gives no place in the camera frame."""
    world_place: Place | None
    camera: Camera | None
    """With one focal length and centre per frame."""
    boxes: Float[ndarray, "T 4"] | None
    """x_min, y_min, x_max, y_max in pixels."""
    keypoints: Float[ndarray, "T J 3"] | None
    """Detected: pixels and confidence, 0 where nothing was."""
    skeleton: Skeleton | None

    def __len__(self) -> int:
        return len(self.present)

    @property
    def fps(self) -> float:
        """Of the frames that were looked at."""
        return self.clock.fps

    def rows_of(self, frames: Int[ndarray, "*n"] | int) -> Int[ndarray, "*n"]:
        """Where frames of these numbers stand."""
        return np.searchsorted(self.clock.numbers, frames)


def steps(values: Float[ndarray, "T *n"]) -> Float[ndarray, "T *n"]:
    """Differences to the frame before, each at the later frame; NaN at the first."""
    return np.concatenate([np.full_like(values[:1], np.nan), np.diff(values, axis=0)])


def velocities(
    values: Float[ndarray, "T *n"], intervals: Float[ndarray, "T"]
) -> Float[ndarray, "T *n"]:
    """The same per second, of frames whose intervals from the frame before are given."""
    return steps(values) / intervals.reshape(-1, *[1] * (values.ndim - 1))


def prepare(
    motion: PredictedMotion,
    body: BodyModel,
    own_body: bool,
    fallback_fps: float,
    step: int | None = None,
) -> Subject:
    """The motion on a body, without holes.

    `body` must compute in float64. If it is not `own_body`, it stands in with betas of zero.
    `fallback_fps` is used where the motion does not state its own frame rate. Every so manieth
    frame of the video was looked at (`step`), as this motion's frames tell where it is None.

    Raises `InputError` if the motion is empty, or its frame numbers, times or rate cannot be.
    """
    check_frames(motion)
    rows, clock = _clock(motion, fallback_fps, frame_step([motion]) if step is None else step)
    smpl = motion.smpl.map(lambda tensor: tensor.detach().cpu().double())
    world = None if motion.world is None else motion.world.map(lambda t: t.detach().cpu().double())
    good = _finite(smpl, with_place=motion.has_depth)
    good &= True if world is None else _finite(world, with_place=True)
    dense = _Dense(rows, len(clock), good)
    filled = np.zeros(len(rows), bool) if motion.filled is None else motion.filled
    posing = _Posing(body, own_body, dense, motion.skeleton)
    return Subject(
        name=motion.name,
        clock=clock,
        present=dense.flags(np.ones(len(rows), bool)),
        finite=dense.flags(good),
        filled=dense.flags(filled),
        tells_filled=motion.filled is not None,
        rooted=posing.rooted(smpl),
        orientation=dense.numbers(smpl.global_orient.numpy()),
        betas=dense.numbers(smpl.betas.numpy()),
        own_body=own_body,
        camera_place=posing.place(smpl) if motion.has_depth else None,
        world_place=None if world is None else posing.place(world),
        camera=None if motion.camera is None else _camera(motion.camera, dense),
        boxes=None if motion.boxes is None else dense.numbers(motion.boxes),
        keypoints=None if motion.keypoints is None else dense.numbers(motion.keypoints),
        skeleton=motion.skeleton,
    )


class _Dense:
    """Puts the rows of a file at their frames."""

    def __init__(self, rows: ndarray, length: int, good: Bool[ndarray, "N"]) -> None:
        self.rows, self.length = rows, length
        self.good = np.flatnonzero(good)

    def numbers(self, values: Float[ndarray, "N *n"]) -> Float[ndarray, "T *n"]:
        """NaN in frames that are missing or have anything not finite in them."""
        full = self.unknown(*values.shape[1:])
        for good, places in self.parts(values, full):
            full[places] = values[good]
        return full

    def unknown(self, *shape: int) -> Float[ndarray, "T *n"]:
        """NaN in all frames, on the disk."""
        full = zeros((self.length, *shape), scratch(), torch.float64).numpy()
        for part in chunks(self.length, full):
            full[part] = np.nan
        return full

    def parts(self, *touched: ndarray | Tensor) -> Iterator[tuple[ndarray, ndarray]]:
        """The good rows, some at a time, and their frames' places; see `on_disk.chunks`."""
        for part in chunks(len(self.good), *touched):
            yield self.good[part], self.rows[self.good[part]]

    def flags(self, values: Bool[ndarray, "N"]) -> Bool[ndarray, "T"]:
        """False in missing frames."""
        full = np.zeros(self.length, bool)
        full[self.rows] = values
        return full


def check_frames(motion: PredictedMotion) -> None:
    """Raise `InputError` if the motion is empty, or its frame numbers or times cannot be."""
    frames = np.asarray(motion.frames)
    if not len(frames):
        raise InputError(f"{motion.name} has no frame: there is nothing to check")
    if not _increasing(frames) or frames[0] < 0:
        raise InputError(f"{motion.name}: its frame numbers do not increase from 0 on; mend them")
    if motion.times is not None:
        times = np.asarray(motion.times)
        if times.shape != frames.shape or not (np.isfinite(times).all() and _increasing(times)):
            raise InputError(f"{motion.name}: its times do not increase, one per frame; mend them")


def _increasing(values: ndarray) -> bool:
    return bool((np.diff(values) > 0).all())


def _clock(motion: PredictedMotion, fallback_fps: float, step: int) -> tuple[ndarray, Clock]:
    """The rows of the motion's frames among all that were looked at, and when those are."""
    fps = fallback_fps if motion.fps is None else motion.fps
    if not 0 < fps < np.inf:
        raise InputError(f"{motion.name} has a frame rate of {fps:g}: it must be positive")
    frames = np.asarray(motion.frames)
    if (frames[-1] - frames[0]) // step >= MOST_FRAMES:
        raise InputError(
            f"{motion.name}: its frames reach from {frames[0]} to {frames[-1]}, and no more than "
            f"{MOST_FRAMES} can be judged at once; mend the frame numbers, or give it in parts"
        )
    numbers = np.arange(frames[0], frames[-1] + 1, step)
    if motion.times is None:
        # The rate is that of the video, whose frames the numbers count.
        clock = Clock(numbers, numbers / fps, fps / step)
    else:
        clock = Clock(numbers, np.interp(numbers, frames, motion.times), fps)
    return (frames - frames[0]) // step, clock


def _finite(smpl: SmplParams, with_place: bool) -> Bool[ndarray, "N"]:
    values = [smpl.global_orient, smpl.body_pose, smpl.betas]
    values += [smpl.transl] if with_place else []
    finite = np.zeros(len(smpl.transl), bool)
    for part in chunks(len(finite), smpl.body_pose):
        known = [each[part].isfinite().flatten(1).all(1) for each in values]
        finite[part] = torch.stack(known).all(0).numpy()
    return finite


class _Posing:
    """Puts the body into poses, wherever all numbers are finite."""

    def __init__(
        self, body: BodyModel, own_body: bool, dense: _Dense, skeleton: Skeleton | None
    ) -> None:
        self.body, self.own_body, self.dense = body, own_body, dense
        ours = (
            blazepose_regressor(body) if skeleton == BLAZEPOSE23 else body.regressors["coco_feet"]
        )
        self.regressor = body.point_regressor(ours)

    def place(self, smpl: SmplParams) -> Place:
        """Joints and keypoints of the poses of a file."""
        joints, points = (
            self.dense.unknown(24, 3),
            self.dense.unknown(len(self.regressor.shares), 3),
        )
        for good, places in self.dense.parts(smpl.body_pose, joints, points):
            some = self._some(smpl, good)
            joints[places] = self.body.joints(some).numpy()
            points[places] = self.body.regress(some, self.regressor).numpy()
        return Place(joints, points, self._rest_heights(smpl.betas))

    def rooted(self, smpl: SmplParams) -> Float[ndarray, "T 24 3"]:
        """Joints relative to the pelvis."""
        rooted = self.dense.unknown(24, 3)
        for good, places in self.dense.parts(smpl.body_pose, rooted):
            some = self._some(smpl, good)
            still = replace(some, transl=torch.zeros_like(some.transl))
            joints = self.body.joints(still).numpy()
            rooted[places] = joints - joints[:, [SMPL24.index("pelvis")]]
        return rooted

    def _some(self, smpl: SmplParams, rows: Int[ndarray, "n"]) -> SmplParams:
        some = smpl[torch.from_numpy(rows)]
        return some if self.own_body else replace(some, betas=torch.zeros_like(some.betas))

    def _rest_heights(self, betas: Float[Tensor, "N 10"]) -> Float[ndarray, "23"]:
        """For the median shape; the zero pose stands upright on flat feet, y up."""
        betas = betas[torch.from_numpy(self.dense.good)]
        betas = betas if self.own_body else torch.zeros_like(betas)
        usual = betas.median(0).values if len(betas) else betas.new_zeros(betas.shape[-1])
        upright = torch.eye(3, dtype=betas.dtype)
        rest = SmplParams(upright, upright.expand(23, 3, 3), usual, torch.zeros_like(usual[:3]))
        heights = self.body.regress(rest, self.regressor)[:, 1].numpy()
        return heights - heights.min()


def _camera(camera: Camera, dense: _Dense) -> Camera:
    """The camera with one focal length and one centre per frame."""
    count = len(dense.rows)
    focal, center = (
        torch.from_numpy(dense.numbers(value.detach().cpu().double().expand(count, 2).numpy()))
        for value in (camera.focal, camera.center)
    )
    return Camera(focal, center, camera.width, camera.height, camera.assumed)
