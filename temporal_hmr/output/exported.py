"""One person as exports have them: on a body, of one shape, in whatever frame is asked for.

Tools for animation look along OpenGL's axes (x right, y up, z towards the viewer), so the camera
frame is turned by half a turn about x, (x, y, z) -> (x, -y, -z). That keeps hands and windings as
they are, puts the camera at the origin looking along -z, and makes "up" what is up in the image:
right for a camera that is held level. A result of ours that has a world (`world.placing`) is
exported in that, with the camera where it stands in it.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray
from torch import Tensor

from temporal_hmr.body.load import OPEN_BODY
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.errors import InputError
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.on_disk import chunks, scratch, zeros
from temporal_hmr.rotation import interpolate

TURN = (1.0, -1.0, -1.0)
"""The diagonal of the half turn about x."""

_SLACK = 0.1
"""Of a frame: times nearer than this to an even grid are taken to be on it."""
_MOST_EVEN = 400_000
"""Frames that a motion with holes may become: some four hours."""


@dataclass(frozen=True, eq=False)
class Exported:
    """One person, ready to be written in any format."""

    name: str
    """`person_000`, unique among those exported together."""
    person_id: int
    frames: Int[ndarray, "T"]
    """Frame numbers in the video, strictly increasing."""
    times: Float[ndarray, "T"]
    """Presentation times in seconds, strictly increasing."""
    fps: float
    body: BodyModel
    """Computes in float64."""
    smpl: SmplParams
    """On that body, camera frame, OpenCV axes, float64; betas are the same in every frame."""
    world: SmplParams | None
    """The same in the system's own world (y up), where it gives one."""
    world_from_camera: Float[ndarray, "4 4"] | None
    """From the camera's coordinates to that world's; None where it is not known, or the camera
    moves."""
    smpl_betas: Float[ndarray, "T 10"]
    """Of SMPL's own shapes, for files that speak of them; zeros where all that is known is the
    shape of the open body, whose coefficients mean something else."""
    camera: Camera | None
    boxes: Float[ndarray, "T 4"] | None
    """x_min, y_min, x_max, y_max in pixels."""
    gender: str
    has_depth: bool
    """False where `smpl.transl` means nothing."""

    def __len__(self) -> int:
        return len(self.frames)

    def seen_upright(self) -> SmplParams:
        """In the camera's frame with y up: the camera at the origin, looking along -z."""
        return half_turned(self.body, self.smpl)

    def standing(self) -> SmplParams:
        """In a frame with y up: the system's world, or else as the camera saw it."""
        return self.seen_upright() if self.world is None else self.world

    def filmed(self) -> SmplParams:
        """In a frame with y up in which `camera_pose` is known."""
        return self.seen_upright() if self.world_from_camera is None else self.standing()

    def camera_pose(self) -> Float[ndarray, "4 4"] | None:
        """From OpenGL's axes at the camera, which looks along its -z, to the frame of `filmed`.

        None where they are the same.
        """
        if self.world_from_camera is None:
            return None
        return self.world_from_camera @ np.diag([*TURN, 1.0])

    def at_even_times(self, smpl: SmplParams) -> SmplParams:
        """These parameters at `fps` frames a second from the first to the last time.

        Frames that stand on such a grid already (within a tenth of a frame) are left as they are.
        Else rotations follow the shortest turn between neighbours in time and places the straight
        line, across frames in which the person is absent too.
        """
        grid = self.times[0] + np.arange(len(self)) / self.fps
        if np.abs(self.times - grid).max() <= _SLACK / self.fps:
            return smpl
        count = int((self.times[-1] - self.times[0]) * self.fps + _SLACK) + 1
        if count > max(_MOST_EVEN, 10 * len(self)):
            raise InputError(
                f"{self.name}: its {len(self)} frames would become {count} at {self.fps:g} frames "
                "per second: mend their numbers or times, or export it in parts"
            )
        wanted = np.minimum(self.times[0] + np.arange(count) / self.fps, self.times[-1])
        after = np.searchsorted(self.times, wanted).clip(1, len(self) - 1)
        steps = self.times[after] - self.times[after - 1]
        fraction = torch.from_numpy((wanted - self.times[after - 1]) / steps)
        turned = zeros((count, 24, 3, 3), scratch(), smpl.transl.dtype)
        transl = smpl.transl.new_zeros(count, 3)
        for part in chunks(count, turned, smpl.body_pose):
            first, second, share = smpl[after[part] - 1], smpl[after[part]], fraction[part, None]
            rotations = first.rotations(), second.rotations()
            turned[part] = interpolate(*rotations, share.expand(-1, 24))
            transl[part] = torch.lerp(first.transl, second.transl, share)
        return SmplParams.from_rotations(turned, smpl.betas[:1].expand(count, -1), transl)


def half_turned(body: BodyModel, smpl: SmplParams) -> SmplParams:
    """Between OpenCV's axes and those with y up and z towards the viewer; its own inverse."""
    return in_axes(body, smpl, torch.diag(smpl.transl.new_tensor(TURN)))


def in_axes(body: BodyModel, smpl: SmplParams, turn: Float[Tensor, "3 3"]) -> SmplParams:
    """In axes that are turned; some frames at a time, as all rotations may lie on the disk."""
    orient, transl = torch.empty_like(smpl.global_orient), torch.empty_like(smpl.transl)
    for part in chunks(len(transl), smpl.body_pose):
        turned = body.transform(smpl[part], turn, torch.zeros_like(transl[0]))
        orient[part], transl[part] = turned.global_orient, turned.transl
    return SmplParams(orient, smpl.body_pose, smpl.betas, transl)


def exported(
    motion: PredictedMotion, body: BodyModel, own_body: bool, person_id: int, fps: float
) -> Exported:
    """A motion read from a file, on a float64 body.

    `own_body` is False where the body stands in for the system's, which then has a mean shape.
    `person_id` and `fps` hold where the file gives none. Raises `InputError` if the file has no
    frame, or numbers that are not finite.
    """
    _check(motion)
    person_id = person_id if motion.person_id is None else motion.person_id
    fps = fps if motion.fps is None else motion.fps
    smpl = motion.smpl.map(lambda tensor: tensor.detach().cpu().double())
    betas = smpl.betas.mean(0) if own_body else torch.zeros_like(smpl.betas[0])
    smpl = replace(smpl, betas=betas.expand_as(smpl.betas))
    world = None
    if motion.world is not None:
        world = motion.world.map(lambda tensor: tensor.detach().cpu().double())
        world = replace(world, betas=smpl.betas)
    known = body.name != OPEN_BODY or not own_body
    return Exported(
        name=f"person_{person_id:03d}",
        person_id=person_id,
        frames=motion.frames,
        times=motion.frames / fps if motion.times is None else motion.times.astype(np.float64),
        fps=fps,
        body=body,
        smpl=smpl,
        world=world,
        world_from_camera=motion.world_from_camera,
        smpl_betas=motion.smpl.betas.numpy() * float(known),
        camera=motion.camera,
        boxes=motion.boxes,
        gender=motion.gender,
        has_depth=motion.has_depth,
    )


def _check(motion: PredictedMotion) -> None:
    if not len(motion):
        raise InputError(f"{motion.name} has no frames: there is nothing to export")
    for smpl in (motion.smpl, motion.world):
        if smpl is None:
            continue
        for part in chunks(len(motion), smpl.body_pose):
            some = smpl[part]
            numbers = torch.cat([some.poses(), some.betas, some.transl], 1)
            finite = numbers.isfinite().all(1)
            if not finite.all():
                frame = motion.frames[part][int(finite.int().argmin())]
                raise InputError(
                    f"{motion.name} has numbers that are not finite in frame {frame}: export "
                    "another result, or take the frame out of it"
                )
    if motion.times is not None and (np.diff(motion.times) <= 0).any():
        raise InputError(f"{motion.name} has times that do not increase: track the video again")
