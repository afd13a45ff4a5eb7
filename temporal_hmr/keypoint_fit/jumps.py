"""Detections that jump: for moments far beside where they lie about that time.

A detector that takes a curtain for an arm is as sure of it as of the arm, and a network that is
shown it believes half of it. Beside a body that moves smoothly such detections give themselves
away, and the network does better without them.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor
from torch.nn import functional

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.clip_windows import FilledTrack
from temporal_hmr.keypoint_fit.linearised import NEAREST
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.on_disk import chunks
from temporal_hmr.skeleton import Skeleton


@dataclass(frozen=True)
class Jumps:
    """What counts as a jump."""

    least: float = 0.07
    """Metres where the person stands."""
    times: float = 4.0
    """How many times as far as is usual: where all keypoints tremble, none of them jumps."""
    moment: float = 0.13
    """Seconds before and after, in most of which a keypoint that jumps lies elsewhere."""
    usually: float = 1.0
    """Seconds before and after that say what is usual."""


def jumping(
    smpl: SmplParams,
    seen: FilledTrack,
    camera: Camera,
    body: PosedBody,
    skeleton: Skeleton,
    visible_above: float,
    settings: Jumps = Jumps(),
) -> Bool[ndarray, "T J"]:
    """Which keypoints jump beside bodies that have been moved onto them.

    `smpl` has batch axis T, one shape, and a row for each frame of `seen`. Keypoints whose
    confidence is not above `visible_above` never do.
    """
    moment, usually = (_frames(seen.times, span) for span in (settings.moment, settings.usually))
    reach = moment + usually
    found = np.zeros(seen.keypoints.shape[:2], bool)
    rest = body.pelvis_at_rest(smpl.betas[:1])[:, 2]
    for part in chunks(len(seen), smpl.body_pose, seen.keypoints):
        around = slice(max(part.start - reach, 0), min(part.stop + reach, len(seen)))
        some = smpl[around]
        keypoints = torch.from_numpy(seen.keypoints[around])
        projected = camera.project(body.body.regress(some, body.points_of(skeleton)))
        metres = (some.transl[:, 2] + rest).clamp(min=NEAREST) / camera.focal.mean()
        beside = (projected - keypoints[..., :2]) * metres[:, None, None]
        beside[keypoints[..., 2] <= visible_above] = torch.nan
        jumps = _jumps(beside, moment, usually, settings)
        begin = part.start - around.start
        found[part] = jumps[begin : begin + part.stop - part.start].numpy()
    return found


def _jumps(
    beside: Float[Tensor, "T J 2"], moment: int, usually: int, settings: Jumps
) -> Bool[Tensor, "T J"]:
    """Of what lies so many metres beside the body, NaN where nothing is seen."""
    elsewhere = _about(beside.flatten(1), moment).nanmedian(-1).values
    far = torch.linalg.vector_norm(beside - elsewhere.unflatten(1, (-1, 2)), dim=-1)
    # Comparisons with NaN are false: what is not seen does not jump.
    jumps = far > settings.least
    # What is usual matters where anything is far at all.
    frames = jumps.any(-1).nonzero().flatten()
    about = _about(far, usually)[frames]
    of_all = about.flatten(1).nanmedian(-1, keepdim=True).values
    usual = torch.fmax(about.nanmedian(-1).values, of_all)
    jumps[frames] &= far[frames] > settings.times * usual
    return jumps


def _about(values: Float[Tensor, "T n"], frames: int) -> Float[Tensor, "T n w"]:
    """Of each frame and so many before and after it; NaN beyond the first and the last."""
    padded = functional.pad(values, (0, 0, frames, frames), value=torch.nan)
    return padded.unfold(0, 2 * frames + 1, 1)


def _frames(times: Float[ndarray, "T"], seconds: float) -> int:
    if len(times) < 2:
        return 1
    return max(round(seconds / float(np.median(np.diff(times)))), 1)
