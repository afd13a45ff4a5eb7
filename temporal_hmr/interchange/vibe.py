"""VIBE's `vibe_output.pkl` (Kocabas et al., CVPR 2020), and TCMR's, written with joblib.

By person: `pose` (T, 72), `betas` (T, 10), `frame_ids` (T,), `bboxes` (T, 4) as centre and size,
and cameras, vertices and joints, which are left. The camera is a weak perspective one, so there is
no translation: ours is zero. The body is predicted so that y points down in the image, which makes
its orientation one in OpenCV's axes as it stands (only VIBE's renderer turns meshes by 180 degrees
about x, to OpenGL's); it is that of a camera which looks straight at the crop.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from temporal_hmr.interchange.fields import Fields, people_with_frames, smpl_params
from temporal_hmr.motion import PredictedMotion


def read_vibe(path: Path, contents: Mapping) -> list[PredictedMotion]:
    """Everybody in the file who has frames.

    Raises `InputError` for what is missing or misshapen.
    """
    return [_motion(fields) for fields in people_with_frames(path, contents)]


def _motion(fields: Fields) -> PredictedMotion:
    frames = fields.frames("frame_ids")
    count = len(frames)
    boxes = None
    if "bboxes" in fields:
        center, size = np.split(fields.numbers("bboxes", (count, 4)), 2, axis=1)
        boxes = np.concatenate([center - size / 2, center + size / 2], 1)
    return PredictedMotion(
        name=fields.name,
        source="vibe",
        frames=frames,
        smpl=smpl_params(
            fields.numbers("pose", (count, 72)),
            fields.numbers("betas", (count, 10)),
            np.zeros((count, 3)),
        ),
        boxes=boxes,
        has_depth=False,
    )
