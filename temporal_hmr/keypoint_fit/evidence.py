"""What detected keypoints say of a motion, and how far they can be believed."""

from dataclasses import dataclass, fields
from pathlib import Path

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from temporal_hmr.on_disk import zeros

AROUND = 15
"""Frames before and after that tell how much keypoints tremble at one."""
REACH = AROUND + 1
"""Frames before and after on which what is said of one depends."""
_USUAL_SIZE = (2 / torch.pi) ** 0.5
"""Mean size of a number drawn from a standard normal distribution."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """Keypoints of one person, with lengths in metres where the person stands."""

    pixels: Float[Tensor, "T J 2"]
    metres_per_pixel: Float[Tensor, "T"]
    sigma: Float[Tensor, "T J"]
    """Standard deviation in metres: what lasts is some times what trembles."""
    weight: Float[Tensor, "T J"]
    """Squared confidence over squared sigma; 0 where nothing is seen."""
    seen: Float[Tensor, "T"]
    """Mean squared confidence of all keypoints."""
    unrest: Float[Tensor, "T"]
    """Metres by which the typical keypoint trembles from frame to frame about that time."""
    commotion: Float[Tensor, "T"]
    """Root mean square of what trembles, which a few far jumps make large."""

    def residuals(self, projected: Float[Tensor, "T J 2"]) -> Float[Tensor, "T J 2"]:
        """How far projected points (pixels) are beside the detected ones, in metres."""
        return (projected - self.pixels) * self.metres_per_pixel[:, None, None]

    def robust_weight(self, residuals: Float[Tensor, "T J 2"]) -> Float[Tensor, "T J"]:
        """Huber's weights: from one standard deviation on, errors count in proportion."""
        far = torch.hypot(*residuals.unbind(-1)) / self.sigma
        return self.weight / far.clamp(min=1)

    def __getitem__(self, part: slice | Tensor) -> "Evidence":
        """Some of the frames."""
        return Evidence(*(getattr(self, each.name)[part] for each in fields(self)))

    def __setitem__(self, part: slice, other: "Evidence") -> None:
        """What is said of some frames whose pixels are there already."""
        for each in fields(self)[1:]:
            getattr(self, each.name)[part] = getattr(other, each.name)

    @staticmethod
    def to_come(keypoints: Float[Tensor, "T J 3"], folder: Path | None) -> "Evidence":
        """Nothing is said yet of these; what will be lies in a file of the folder, if any."""
        frames, joints = keypoints.shape[:2]
        sigma, weight = zeros((2, frames, joints), folder, keypoints.dtype)
        metres_per_pixel, *of_all = zeros((4, frames), None, keypoints.dtype)
        return Evidence(keypoints[..., :2], metres_per_pixel, sigma, weight, *of_all)


def weigh(
    keypoints: Float[Tensor, "T J 3"],
    projected: Float[Tensor, "T J 2"],
    metres_per_pixel: Float[Tensor, "T"],
    visible_above: float,
    sigma: float,
    lingering: float,
    most_lingering: float,
    jumps: Bool[Tensor, "T J"] | None = None,
) -> Evidence:
    """Detected keypoints (pixels, confidence) beside those of a body that moves smoothly.

    `sigma` (metres) is a detector's error at its best, and `lingering` its lasting error for each
    unit of what trembles, up to `most_lingering` metres. What `jumps` is evidence of nothing but
    commotion.
    """
    pixels, confidence = keypoints[..., :2], keypoints[..., 2]
    visible = confidence > visible_above
    error = (projected - pixels) * metres_per_pixel[:, None, None]
    commotion = _trembling(error, visible)[1]
    if jumps is not None:
        visible = visible & ~jumps
    trembling = _trembling(error, visible)[0]
    error_at_best = torch.full_like(trembling, sigma)
    lasts = most_lingering * torch.tanh(lingering / most_lingering * trembling)
    spread = torch.hypot(torch.hypot(error_at_best, trembling), lasts)
    squared = torch.where(visible, confidence, 0.0) ** 2
    return Evidence(
        pixels=pixels,
        metres_per_pixel=metres_per_pixel,
        sigma=spread,
        weight=squared / spread**2,
        seen=squared.mean(-1),
        unrest=trembling.median(-1).values,
        commotion=commotion,
    )


def _trembling(
    error: Float[Tensor, "T J 2"], visible: Bool[Tensor, "T J"]
) -> tuple[Float[Tensor, "T J"], Float[Tensor, "T"]]:
    """Standard deviation of what is new in every frame, about each frame: by keypoint, and of all.

    The body moves smoothly, so second differences of the error are the detector's own. The first is
    told from their mean size, and for joints of which too little is seen from the others'; the
    second from their mean square, in which jumps count far more.
    """
    if len(error) < 3:
        return error.new_zeros(error.shape[:2]), error.new_zeros(len(error))
    bend = (error[2:] - 2 * error[1:-1] + error[:-2]) / 6**0.5  # the squares of 1, -2 and 1
    known = (visible[2:] & visible[1:-1] & visible[:-2]).to(error.dtype)
    count = _around(known)
    mean = _around(bend.abs().mean(-1) * known) / count.clamp(min=1) / _USUAL_SIZE
    usual = torch.where(count > 0, mean, torch.nan).nanmedian(-1, keepdim=True).values
    squares = _around(bend.square().mean(-1) * known).sum(-1) / count.sum(-1).clamp(min=1)
    return torch.where(count > 0, mean, usual.nan_to_num(0.0)), squares.sqrt()


def _around(values: Float[Tensor, "_ J"]) -> Float[Tensor, "T J"]:
    """Sums over the frames about each, of what is known of all but the first and the last."""
    values = functional.pad(values, (0, 0, 1, 1))
    sums = functional.pad(values.double().cumsum(0), (0, 0, 1, 0))
    frame = torch.arange(len(values), device=values.device)
    last = (frame + AROUND + 1).clamp(max=len(values))
    first = (frame - AROUND).clamp(min=0)
    return (sums[last] - sums[first]).to(values.dtype)
