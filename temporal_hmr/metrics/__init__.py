"""Errors of recovered bodies, as the field reports them.

Points come in metres as numpy arrays or tensors, in any float type, and are computed in float64.
Any number of clips may be batched in front (`*b`); then comes time (`T`), then points. A mask
`valid` says which frames count. Every metric gives `FrameValues`: one value per frame, or per run
of neighbouring frames for those that take differences in time. A data set's figure is the mean
over the frames of all its clips: `pooled(values).mean()`.

A masked frame is in no value. A frame that counts and has NaN in it gives NaN, in the values that
it is part of and in the mean. Where there are too few frames no value comes out, and the mean of
none is NaN.
"""

from temporal_hmr.metrics.alignment import (
    PELVIS,
    Similarity,
    align_trajectory,
    procrustes,
    relative_to,
)
from temporal_hmr.metrics.orientations import MPJAE_PARTS, mpjae, pa_mpjae
from temporal_hmr.metrics.positions import CHALLENGE_LIMBS, auc, mpjpe, pa_mpjpe, pck
from temporal_hmr.metrics.runs import Gaps
from temporal_hmr.metrics.smoothness import (
    EMDB_ZEROED,
    SMPL_FOOT_VERTICES,
    acceleration,
    acceleration_error,
    foot_sliding,
    jitter,
)
from temporal_hmr.metrics.values import FrameValues, pooled
from temporal_hmr.metrics.vertices import pa_pve, pve
from temporal_hmr.metrics.world import erve, rte, w_mpjpe, wa_mpjpe

__all__ = [
    "CHALLENGE_LIMBS",
    "EMDB_ZEROED",
    "MPJAE_PARTS",
    "PELVIS",
    "SMPL_FOOT_VERTICES",
    "FrameValues",
    "Gaps",
    "Similarity",
    "acceleration",
    "acceleration_error",
    "align_trajectory",
    "auc",
    "erve",
    "foot_sliding",
    "jitter",
    "mpjae",
    "mpjpe",
    "pa_mpjae",
    "pa_mpjpe",
    "pa_pve",
    "pck",
    "pooled",
    "procrustes",
    "pve",
    "relative_to",
    "rte",
    "w_mpjpe",
    "wa_mpjpe",
]
