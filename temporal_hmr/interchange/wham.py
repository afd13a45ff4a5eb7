"""WHAM's `wham_output.pkl` (Shin et al., CVPR 2024), written with joblib.

By person: `pose` (T, 72) and `trans` (T, 3) in the camera frame (OpenCV axes, metres), `pose_world`
and `trans_world` in WHAM's world, `betas` (T, 10), `frame_ids` (T,), and vertices, which are left.
The world is kept as it is stored, Y up. WHAM's own drawing of it puts the middle of the hips at
`trans_world`; its own evaluation takes `trans_world` as SMPL's translation, and so does this.
"""

from collections.abc import Mapping
from pathlib import Path

from temporal_hmr.interchange.fields import Fields, people_with_frames, smpl_params
from temporal_hmr.motion import PredictedMotion


def read_wham(path: Path, contents: Mapping) -> list[PredictedMotion]:
    """Everybody in the file who has frames.

    Raises `InputError` for what is missing or misshapen.
    """
    return [_motion(fields) for fields in people_with_frames(path, contents)]


def _motion(fields: Fields) -> PredictedMotion:
    frames = fields.frames("frame_ids")
    count = len(frames)
    betas = fields.numbers("betas", (count, 10))
    world = None
    if "pose_world" in fields or "trans_world" in fields:
        poses = fields.numbers("pose_world", (count, 72))
        world = smpl_params(poses, betas, fields.numbers("trans_world", (count, 3)))
    return PredictedMotion(
        name=fields.name,
        source="wham",
        frames=frames,
        smpl=smpl_params(
            fields.numbers("pose", (count, 72)), betas, fields.numbers("trans", (count, 3))
        ),
        world=world,
    )
