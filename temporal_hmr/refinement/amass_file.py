"""Motion in AMASS's layout, read as a prediction: SMPL-H or SMPL-X poses in a world with z up.

Of `poses` (T, 156 or 165) the first 22 joints are SMPL's; fingers and faces are none of SMPL's and
stay as they are. Places are SMPL's `transl` in the world.
"""

from pathlib import Path

import numpy as np

from temporal_hmr.archive import read_arrays
from temporal_hmr.interchange.fields import Fields, smpl_params
from temporal_hmr.motion import PredictedMotion

SOURCE = "amass"
BODY_NUMBERS = 66
_WIDTHS = (156, 165)
_RATES = ("mocap_framerate", "mocap_frame_rate")


def is_amass(arrays: dict[str, np.ndarray]) -> bool:
    """Whether these are the arrays of such a file."""
    poses = arrays.get("poses")
    return poses is not None and poses.ndim == 2 and poses.shape[1] in _WIDTHS


def read_amass_motion(path: Path) -> PredictedMotion:
    """The one person. Raises `InputError` for what is missing or misshapen."""
    fields = Fields(path, "", read_arrays(path, list))
    poses = fields.numbers("poses", *((None, width) for width in _WIDTHS))
    count = len(poses)
    body = np.zeros((count, 72))
    body[:, :BODY_NUMBERS] = poses[:, :BODY_NUMBERS]
    shapes = fields.numbers("betas", (None,), (count, None)) if "betas" in fields else np.zeros(10)
    betas = np.zeros((count, 10))
    betas[:, : min(10, shapes.shape[-1])] = shapes[..., :10]
    rates = [fields.rate(key) for key in _RATES if key in fields]
    return PredictedMotion(
        name=fields.name,
        source=SOURCE,
        frames=np.arange(count),
        smpl=smpl_params(body, betas, fields.numbers("trans", (count, 3))),
        fps=rates[0] if rates else None,
    )
