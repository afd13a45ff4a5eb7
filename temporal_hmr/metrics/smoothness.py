"""Errors of motion: differences in time.

Each takes `gaps`: whether masked frames end a run of neighbours ("safe") or are taken out and the
rest joined, as in published figures ("crossing"). One value goes out per run of neighbouring valid
frames; a clip of fewer frames than a run needs has none.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float

from temporal_hmr.metrics.alignment import PELVIS, relative_to
from temporal_hmr.metrics.distances import MILLIMETRES, lengths
from temporal_hmr.metrics.inputs import Array, check_mask, check_shapes, doubles
from temporal_hmr.metrics.runs import Gaps, find_runs
from temporal_hmr.metrics.values import FrameValues
from temporal_hmr.skeleton import SMPL24

EMDB_ZEROED = tuple(
    SMPL24.indices("pelvis", "left_ankle", "right_ankle", "left_foot", "right_foot")
    + SMPL24.indices("left_wrist", "right_wrist", "left_hand", "right_hand")
)
"""The joints that EMDB's official jitter sets to zero."""
SMPL_FOOT_VERTICES = (3216, 3387, 6617, 6787)
"""Left toe, left heel, right toe, right heel of SMPL's mesh, by whose sliding a gait is judged."""
_JITTER_UNIT = 10.0


def acceleration_error(
    predicted: Float[Array, "*b T J 3"],
    true: Float[Array, "*b T J 3"],
    root: Sequence[int] | None = PELVIS,
    fps: float | None = None,
    *,
    valid: Bool[Array, "*b T"] | None = None,
    gaps: Gaps = "safe",
    trim: int = 0,
) -> FrameValues:
    """Mean over joints of the distance between second differences in time; N = T - 2.

    In mm/frame^2, or in m/s^2 if `fps` is given. Each side is relative to its own root joints, or
    as it stands if `root` is None. `trim` leaves out so many values at either end of a clip
    (WHAM and TRAM: 1).
    """
    lead = check_shapes("joints 3", predicted=predicted, true=true)
    error = relative_to(doubles(predicted) - doubles(true), root)
    mask = check_mask(valid, lead, predicted)
    values = acceleration(error, fps, valid=mask, gaps=gaps)
    if trim == 0:
        return values
    rank = values.counted.long().cumsum(-1)
    inner = (rank > trim) & (rank <= values.counted.sum(-1, keepdim=True) - trim)
    counted = values.counted & inner
    return FrameValues(values.values.where(counted, torch.nan), counted, values.frames)


def acceleration(
    points: Float[Array, "*b T P 3"],
    fps: float | None = None,
    *,
    valid: Bool[Array, "*b T"] | None = None,
    gaps: Gaps = "safe",
) -> FrameValues:
    """Mean over points of the size of the second difference in time; N = T - 2.

    In mm/frame^2, or in m/s^2 if `fps` is given.
    """
    unit = MILLIMETRES if fps is None else fps**2
    return _difference(points, 2, unit, valid, gaps)


def jitter(
    points: Float[Array, "*b T P 3"],
    fps: float,
    *,
    valid: Bool[Array, "*b T"] | None = None,
    gaps: Gaps = "safe",
    zeroed: Sequence[int] = (),
) -> FrameValues:
    """Mean over points of the size of the third derivative in time, in 10 m/s^3; N = T - 3.

    Third difference times fps^3 over 10 (Yi et al., CVPR 2022, "Physical Inertial Poser"). Points
    that are `zeroed` count as standing still, and stay in the mean: EMDB's official figure does so
    with nine joints (`EMDB_ZEROED`), which makes it 0.625 times that of the other fifteen.
    """
    return _difference(points, 3, fps**3 / _JITTER_UNIT, valid, gaps, zeroed)


def foot_sliding(
    predicted: Float[Array, "*b T P 3"],
    true: Float[Array, "*b T P 3"],
    threshold: float = 0.01,
    *,
    valid: Bool[Array, "*b T"] | None = None,
    gaps: Gaps = "safe",
) -> FrameValues:
    """How far points of the feet move from a frame to the next while they should stand, in mm.

    `predicted` and `true` are points in the world, of SMPL the vertices `SMPL_FOOT_VERTICES`.
    A step of a point counts where the true one moves less than `threshold` metres. One value per
    step and point, N = (T - 1) P with the points of a step side by side, so that the mean pools all
    standing points of all steps.
    """
    lead = check_shapes("points 3", predicted=predicted, true=true)
    runs = find_runs(check_mask(valid, lead, predicted), 1, gaps)
    steps = [
        lengths(torch.diff(runs.neighbours(doubles(points)), dim=-3))
        for points in (predicted, true)
    ]
    # Written so that a truth of NaN counts, and is seen.
    counted = runs.counted[..., None] & ~(steps[1] >= threshold)
    slid = (MILLIMETRES * steps[0]).where(counted & ~steps[1].isnan(), torch.nan)
    frames = runs.frames[..., None].expand(counted.shape)
    return FrameValues(slid.flatten(-2), counted.flatten(-2), frames.flatten(-2))


def _difference(
    points: Float[Array, "*b T P 3"],
    order: int,
    unit: float,
    valid: Bool[Array, "*b T"] | None,
    gaps: Gaps,
    zeroed: Sequence[int] = (),
) -> FrameValues:
    """Mean length of the differences of an order in time, times `unit`."""
    lead = check_shapes("points 3", points=points)
    runs = find_runs(check_mask(valid, lead, points), order, gaps)
    sizes = lengths(torch.diff(runs.neighbours(doubles(points)), n=order, dim=-3))
    sizes[..., list(zeroed)] = 0.0
    return runs.values(unit * sizes.mean(-1))
