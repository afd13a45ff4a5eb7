"""Plain arrays in an npz: what anybody writes in two lines, and what AMASS names them.

`poses` (T, 72) axis-angle of SMPL's 24 joints and `betas` (10,), (1, 10) or (T, 10); where they
are known also `trans` (T, 3) metres, `frame_ids` (T,) (0, 1, 2, ... if absent), `gender`, `fps` or
`mocap_frame_rate`, `bbox_xyxy` (T, 4) pixels, and `poses_world`, `trans_world`. Camera frame,
OpenCV axes.
"""

from pathlib import Path

import numpy as np

from temporal_hmr.archive import read_arrays
from temporal_hmr.interchange.fields import Fields, smpl_params
from temporal_hmr.motion import PredictedMotion

GENDERS = {"neutral", "female", "male"}
_KEYS = (
    "poses", "betas", "trans", "frame_ids", "gender", "fps", "mocap_frame_rate", "bbox_xyxy",
    "poses_world", "trans_world",
)  # fmt: skip


def read_plain(path: Path) -> list[PredictedMotion]:
    """The one person. Raises `InputError` for what is missing or misshapen."""
    arrays = read_arrays(path, lambda names: [name for name in _KEYS if name in names])
    fields = Fields(path, "", arrays)
    poses = fields.numbers("poses", (None, 72))
    count = len(poses)
    frames = fields.frames("frame_ids") if "frame_ids" in fields else np.arange(count)
    if len(frames) != count:
        fields.refuse(f"{count} frames in 'poses', not {len(frames)} as 'frame_ids'")
    betas = fields.numbers("betas", (10,), (1, 10), (count, 10))
    betas = np.broadcast_to(betas, (count, 10)).copy()
    has_depth = "trans" in fields
    transl = fields.numbers("trans", (count, 3)) if has_depth else np.zeros((count, 3))
    world = None
    if "poses_world" in fields or "trans_world" in fields:
        turned = fields.numbers("poses_world", (count, 72))
        world = smpl_params(turned, betas, fields.numbers("trans_world", (count, 3)))
    rates = [fields.rate(key) for key in ("fps", "mocap_frame_rate") if key in fields]
    gender = str(arrays.get("gender", "neutral"))
    if gender not in GENDERS:
        fields.refuse(f"a body of gender {gender!r}, not one of {', '.join(sorted(GENDERS))}")
    return [
        PredictedMotion(
            name=fields.name,
            source="npz",
            frames=frames,
            smpl=smpl_params(poses, betas, transl),
            world=world,
            boxes=fields.numbers("bbox_xyxy", (count, 4)) if "bbox_xyxy" in fields else None,
            fps=rates[0] if rates else None,
            has_depth=has_depth,
            gender=gender,
        )
    ]
