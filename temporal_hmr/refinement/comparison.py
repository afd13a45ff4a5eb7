"""A motion before and after it was refined, in numbers."""

from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy import ndarray

from temporal_hmr import metrics
from temporal_hmr.body.model import BodyModel
from temporal_hmr.checks.timing import frame_step
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.rotation import geodesic_angle
from temporal_hmr.skeleton import SMPL24


@dataclass(frozen=True)
class Smoothness:
    """How jerkily the joints move, relative to the pelvis and in the camera's frame."""

    jitter: float
    """Third derivative, 10 m/s^3."""
    acceleration: float
    """Second derivative, m/s^2."""
    jitter_in_camera: float | None
    """None where the body's place is not known."""
    acceleration_in_camera: float | None


@dataclass(frozen=True)
class Change:
    """How far the refined motion is from the given one, over the frames that were given."""

    mean_degrees: float
    """Over frames and joints, each relative to its parent."""
    mean_mm: float
    """Of joints relative to the pelvis."""
    largest_mm: float
    joint: str
    """Where the largest change is, and when."""
    frame: int
    seconds: float


@dataclass(frozen=True)
class Comparison:
    """One person before and after."""

    name: str
    frames: int
    added: int
    """Frames that the file lacked."""
    mended_frames: tuple[int, ...]
    """Frames with something that nobody could have done."""
    before: Smoothness
    after: Smoothness
    change: Change
    noise_degrees: dict[str, float]
    """What each joint was found to tremble by, about each axis; none for plain filters."""
    model_shares: dict[str, float]
    """How much of the model's motion was believed; none without the model."""

    def as_json(self) -> dict[str, object]:
        """With plain types; NaN, which JSON lacks, as None."""
        return _plain(asdict(self))


def smoothness(motion: PredictedMotion, body: BodyModel, fps: float) -> Smoothness:
    """Of frames whose neighbours are there too; NaN where there are none.

    `fps` is how many frames are looked at in a second.
    """
    smpl = motion.smpl.map(lambda tensor: tensor.double())
    good = torch.cat([smpl.rotations().flatten(1), smpl.transl], 1).isfinite().all(1)
    frames = motion.frames[good.numpy()]
    # On one shape: what is told is how poses and places change.
    smpl = replace(smpl[good], betas=torch.zeros(int(good.sum()), smpl.betas.shape[-1]).double())
    joints = body.joints(smpl).numpy()
    frames = (frames - frames[:1]) // frame_step([motion])
    rooted = _speeds(joints - joints[:, :1], frames, fps)
    seen = _speeds(joints, frames, fps) if motion.has_depth else (None, None)
    return Smoothness(*rooted, *seen)


def change(before: PredictedMotion, after: PredictedMotion, body: BodyModel, fps: float) -> Change:
    """Over the frames that both have and whose numbers are finite in both."""
    _, first, second = np.intersect1d(before.frames, after.frames, return_indices=True)
    one, two = before.smpl[first], after.smpl[second]
    good = torch.from_numpy(
        np.array([smpl.rotations().isfinite().flatten(1).all(1).numpy() for smpl in (one, two)])
    ).all(0)
    kept = np.flatnonzero(good.numpy())
    one, two, first = one[kept], two[kept], first[kept]
    degrees = np.degrees(geodesic_angle(one.rotations(), two.rotations()).numpy())
    # On one shape: what is told is the change of the pose.
    shape = torch.zeros_like(two.betas)
    points = [
        body.joints(replace(smpl, betas=shape, transl=shape[:, :3])).numpy() for smpl in (one, two)
    ]
    moved = 1000 * np.linalg.norm(
        (points[0] - points[0][:, :1]) - (points[1] - points[1][:, :1]), axis=-1
    )
    row, joint = np.unravel_index(moved.argmax(), moved.shape)
    frame = int(before.frames[first[row]])
    times = before.frames / fps if before.times is None else before.times
    return Change(
        float(degrees.mean()),
        float(moved.mean()),
        float(moved[row, joint]),
        SMPL24.joints[joint],
        frame,
        float(times[first[row]]),
    )


def table(comparisons: list[Comparison]) -> str:
    """One line per person, under a line of headings."""
    width = max([6, *(len(each.name) for each in comparisons)])
    lines = [
        f"{'person':{width}}  frames  filled  mended   jitter (10 m/s^3)   accel. (m/s^2)   "
        "changed by (mean; largest)"
    ]
    for each in comparisons:
        moved = each.change
        lines.append(
            f"{each.name:{width}}  {each.frames:6d}  {each.added:6d}  {len(each.mended_frames):6d}"
            f"  {each.before.jitter:8.1f} -> {each.after.jitter:5.1f}"
            f"  {each.before.acceleration:7.2f} -> {each.after.acceleration:4.2f}"
            f"   {moved.mean_degrees:.1f} deg, {moved.mean_mm:.0f} mm; {moved.largest_mm:.0f} mm "
            f"({moved.joint}, frame {moved.frame}, {moved.seconds:.2f} s)"
        )
    return "\n".join(lines)


def _speeds(
    joints: Float[ndarray, "N 24 3"], frames: Int[ndarray, "N"], fps: float
) -> tuple[float, float]:
    # A hole of any length ends a run of neighbours just as one frame does.
    rows = np.concatenate([[0], np.cumsum(np.diff(frames).clip(max=2))])[: len(frames)]
    length = int(rows[-1]) + 1 if len(rows) else 0
    whole, valid = np.zeros((length, *joints.shape[1:])), np.zeros(length, bool)
    whole[rows], valid[rows] = joints, True
    rough = metrics.jitter(whole, fps, valid=valid)
    bent = metrics.acceleration(whole, fps, valid=valid)
    return float(rough.mean()), float(bent.mean())


def _plain(values: object) -> dict[str, object]:
    def clean(value: object) -> object:
        if isinstance(value, dict):
            return {key: clean(each) for key, each in value.items()}
        if isinstance(value, list | tuple):
            return [clean(each) for each in value]
        if isinstance(value, float) and not np.isfinite(value):
            return None
        return value

    cleaned = clean(values)
    assert isinstance(cleaned, dict)
    return cleaned
