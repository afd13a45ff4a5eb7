"""One recorded motion, in the form every reader of motion capture gives it."""

from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from scipy.interpolate import CubicSpline
from torch import Tensor

from temporal_hmr.errors import InputError
from temporal_hmr.rotation import interpolate
from temporal_hmr.skeleton import SMPL24


@dataclass(frozen=True, eq=False)
class MocapTake:
    """A captured motion on the SMPL skeleton, in a world whose Y axis points up.

    The rest pose is SMPL's: T-pose, Y up, facing +Z, left arm along +X. The heading is as recorded.
    """

    name: str
    subject: str
    """Who was captured: takes of one subject belong on one side of a train/validation split."""
    rotations: Float[Tensor, "T 24 3 3"]
    """SMPL24 joints relative to their parents; the root's is its orientation in the world."""
    translation: Float[Tensor, "T 3"]
    """SMPL's `transl` in metres: the pelvis stands at rest pelvis + translation."""
    fps: float
    betas: Float[Tensor, "10"]

    def __len__(self) -> int:
        return len(self.rotations)


def resample(take: MocapTake, fps: float) -> MocapTake:
    """The same motion at another frame rate, over the same span of time.

    Rotations follow the shortest rotation between neighbouring samples, the translation a cubic
    spline through them; a new sample that falls on an old one is the old one. No low-pass filter:
    motion capture is sampled far above what bodies do. Raises `InputError` on a rate that is not
    a positive number.
    """
    if not 0 < fps < float("inf"):
        raise InputError(f"frame rate {fps} is not a positive number: give frames per second.")
    last = len(take) - 1
    # A hair of tolerance, so that rounding does not lose the last sample.
    count = int(last * fps / take.fps + 1e-6) + 1
    position = torch.arange(count, dtype=torch.float64) * (take.fps / fps)
    nearest = position.round()
    position = torch.where((position - nearest).abs() < 1e-6, nearest, position).clamp(max=last)
    before = position.long().clamp(max=max(last - 1, 0))
    after = (before + 1).clamp(max=last)
    fraction = (position - before).to(take.rotations.dtype)[:, None].expand(-1, 24)
    rotations = interpolate(take.rotations[before], take.rotations[after], fraction)
    translation = take.translation[before]
    if last > 0:
        spline = CubicSpline(range(last + 1), take.translation.double().numpy())
        translation = torch.from_numpy(spline(position.numpy())).to(take.translation.dtype)
    on_sample = position == position.round()
    original = position.round().long()
    return replace(
        take,
        rotations=torch.where(on_sample[:, None, None, None], take.rotations[original], rotations),
        translation=torch.where(on_sample[:, None], take.translation[original], translation),
        fps=float(fps),
    )


def looked_up_axis(take: MocapTake) -> Literal["y", "z"]:
    """Which axis of the take's world points up, found by looking at the motion.

    The body's own up direction (SMPL's +Y, of pelvis and chest) averaged over the take lies near
    the world's up for everything people do on their feet. Where it does not decide (somebody
    lying), the height of the root must: along the true up axis it stays within a person's reach of
    the floor, and clearly above it. Raises `InputError` when neither tells.
    """
    pelvis = take.rotations[:, SMPL24.index("pelvis")]
    chest = pelvis
    for joint in ("spine1", "spine2", "spine3"):
        chest = chest @ take.rotations[:, SMPL24.index(joint)]
    _, along_y, along_z = (0.5 * (pelvis + chest)[..., :, 1]).mean(0).tolist()
    if max(along_y, along_z) > 0.4 and abs(along_y - along_z) > 0.3:
        return "y" if along_y > along_z else "z"
    above_floor = [
        bool((height > -0.5).all() and (height < 3).all() and height.mean() > 0.1)
        for height in (take.translation[:, 1], take.translation[:, 2])
    ]
    if above_floor[0] != above_floor[1] and min(along_y, along_z) > -0.5:
        return "y" if above_floor[0] else "z"
    raise InputError(
        f"{take.name}: cannot tell whether y or z points up (the body's up is on average "
        f"{along_y:.2f} along y and {along_z:.2f} along z): say up_axis='y' or up_axis='z' (in a "
        "configuration mocap.up_axis, or up_axis of a rotation tokenizer; else --up-axis)."
    )


def turned_y_up(take: MocapTake, rest_pelvis: Float[Tensor, "3"] | None = None) -> MocapTake:
    """A take whose world has z up, in the world with y up: (x, y, z) -> (x, z, -y).

    SMPL turns about its rest pelvis J0 (metres; zero if not given), so that the translation
    becomes R (J0 + translation) - J0.
    """
    turn = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])
    pelvis = torch.zeros(3) if rest_pelvis is None else rest_pelvis
    root = turn @ take.rotations[:, :1]
    return replace(
        take,
        rotations=torch.cat([root, take.rotations[:, 1:]], 1),
        translation=(take.translation + pelvis) @ turn.mT - pelvis,
    )
