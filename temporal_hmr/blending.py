"""Windows of a long clip put together again: overlapping answers averaged, gaps bridged.

What is kept for each frame is one set of rotations and a place, and what is computed from them is
computed some frames at a time: an hour of video has a hundred thousand.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy import ndarray
from torch import Tensor

from temporal_hmr.body.params import SmplParams
from temporal_hmr.clip_windows import overlap
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.on_disk import chunks, let_go, zeros
from temporal_hmr.rotation import interpolate, nearest_rotation

_NEARLY_STRAIGHT = 3e-4
"""Of R'R - I, whose square is lost among the digits of float32."""


class _Sum:
    """Windows added up frame by frame, each fading out towards its ends."""

    def __init__(self, frames: int, folder: Path | None):
        self.frames = frames
        self.weight = torch.zeros(frames)
        self.rotations = zeros((frames, 24, 3, 3), folder)
        self.pelvis = torch.zeros(frames, 3)
        self.betas = torch.zeros(10)

    def add(
        self,
        start: int,
        rotations: Float[Tensor, "T 24 3 3"],
        pelvis: Float[Tensor, "T 3"],
        betas: Float[Tensor, "T 10"],
    ) -> None:
        """A window that begins at the frame `start`; what it has beyond the last is padding."""
        length = len(pelvis)
        count = min(length, self.frames - start)
        where = slice(start, start + count)
        # Where two windows meet such weights add up to 1, and fade in and out without a kink that
        # would show as a jolt at every seam.
        fading = overlap(length)
        inward = torch.arange(length) + 0.5
        inward = torch.minimum(inward, length - inward).clamp(max=fading)
        weight = torch.sin(torch.pi / 2 * inward / fading)[:count, None] ** 2
        self.weight[where] += weight[:, 0]
        self.rotations[where] += weight[..., None, None] * rotations[:count]
        self.pelvis[where] += weight * pelvis[:count]
        self.betas += (weight * betas[:count]).sum(0)
        let_go(self.rotations)


class Blend:
    """Averages overlapping windows, which add up in a file of `folder` if there is one.

    A window in which the person is hardly seen has a box around next to nothing, and a body
    somewhere far away: such windows are believed only where there are no others at all.
    """

    def __init__(self, frames: int, posed: PosedBody, folder: Path | None = None):
        self.frames = frames
        self.posed = posed
        self.folder = folder
        self._trusted: _Sum | None = None
        self._others: _Sum | None = None

    def add(self, starts: list[int], smpl: SmplParams, trusted: Bool[Tensor, "B"]) -> None:
        """Add the predictions of the windows that start at these frames."""
        pelvis = (smpl.transl + self.posed.pelvis_at_rest(smpl.betas)).cpu()
        rotations, betas = smpl.rotations().cpu(), smpl.betas.cpu()
        for row, start in enumerate(starts):
            if trusted[row]:
                total = self._trusted = self._trusted or _Sum(self.frames, self.folder)
                self._others = None
            elif self._trusted is None:
                total = self._others = self._others or _Sum(self.frames, self.folder)
            else:
                continue
            total.add(start, rotations[row], pelvis[row], betas[row])

    def result(self) -> SmplParams:
        """The blended motion, on the CPU; one shape for all frames. The blend is used up."""
        total = self._trusted or self._others
        assert total is not None, "windows were added"
        self._trusted = self._others = None
        covered = total.weight > 0
        for part in chunks(total.frames, total.rotations):
            # The chordal mean: a sum of rotations, brought back to the nearest rotation.
            there = covered[part, None, None, None]
            mean = total.rotations[part] / total.weight[part, None, None, None]
            total.rotations[part] = _straightened(torch.where(there, mean, torch.eye(3)))
        total.pelvis /= total.weight.clamp(min=torch.finfo().tiny)[:, None]
        _bridge(total.rotations, total.pelvis, covered)
        betas = (total.betas / total.weight.sum())[None]
        transl = total.pelvis - self.posed.cpu().pelvis_at_rest(betas)
        return SmplParams.from_rotations(total.rotations, betas.expand(total.frames, 10), transl)


def _straightened(means: Float[Tensor, "*b 3 3"]) -> Float[Tensor, "*b 3 3"]:
    """The nearest rotations to means of rotations, most of which are of one or of much the same.

    Those are straight after one step of Newton and Schulz, whose error is the square of what it
    was (Higham, "Functions of matrices", 8.3); the others are decomposed.
    """
    squares = means.mT @ means
    straight = 1.5 * means - 0.5 * means @ squares
    bent = (squares - torch.eye(3)).abs().amax((-2, -1)) > _NEARLY_STRAIGHT
    straight[bent] = nearest_rotation(means[bent])
    return straight


def _bridge(
    rotations: Float[Tensor, "T 24 3 3"], pelvis: Float[Tensor, "T 3"], covered: Bool[Tensor, "T"]
) -> None:
    """Puts frames that no window covers between their neighbours that are covered, in place."""
    places = covered.nonzero().flatten()
    gaps = (~covered).nonzero().flatten()
    for part in chunks(len(gaps), rotations):
        frames = gaps[part]
        after = torch.searchsorted(places, frames).clamp(max=len(places) - 1)
        before = torch.searchsorted(places, frames, right=True).sub(1).clamp(min=0)
        first, last = places[before], places[after]
        fraction = ((frames - first) / (last - first).clamp(min=1)).clamp(0, 1)
        rotations[frames], pelvis[frames] = _between(rotations, pelvis, first, last, fraction)


def _between(
    rotations: Float[Tensor, "T 24 3 3"],
    pelvis: Float[Tensor, "T 3"],
    first: Tensor,
    last: Tensor,
    fraction: Float[Tensor, "n"],
) -> tuple[Float[Tensor, "n 24 3 3"], Float[Tensor, "n 3"]]:
    """On the shortest way from some of the frames to others; exactly theirs where it is none."""
    whole = torch.where(first == last, 0.0, fraction)
    turned = interpolate(rotations[first], rotations[last], whole[:, None].expand(-1, 24))
    turned = torch.where((whole == 0)[:, None, None, None], rotations[first], turned)
    turned = torch.where((whole == 1)[:, None, None, None], rotations[last], turned)
    return turned, torch.lerp(pelvis[first], pelvis[last], whole[:, None])


def at_times(
    smpl: SmplParams,
    known: Float[ndarray, "K"],
    wanted: Float[ndarray, "T"],
    posed: PosedBody,
    folder: Path | None = None,
) -> SmplParams:
    """A motion of one shape, known at some times (s), at other times between the first and last.

    Turns are even between neighbours, and the pelvis goes straight.
    """
    if len(known) == len(wanted):
        return smpl
    after = np.searchsorted(known, wanted).clip(1, len(known) - 1)
    fraction = (wanted - known[after - 1]) / (known[after] - known[after - 1])
    last, share = torch.from_numpy(after), torch.from_numpy(fraction.clip(0, 1)).float()
    rest = posed.cpu().pelvis_at_rest(smpl.betas[:1])
    turned = zeros((len(wanted), 24, 3, 3), folder, smpl.transl.dtype)
    moved = smpl.transl.new_zeros(len(wanted), 3)
    for part in chunks(len(wanted), turned, smpl.body_pose):
        begin = int(last[part][0]) - 1
        some, to = smpl[begin : int(last[part][-1]) + 1], last[part] - begin
        ends = some.rotations(), some.transl + rest
        turned[part], moved[part] = _between(*ends, to - 1, to, share[part])
    return SmplParams.from_rotations(turned, smpl.betas[:1].expand(len(wanted), 10), moved - rest)
