"""AMASS's layout (Mahmood et al., ICCV 2019), one npz per person, for the many tools that read it.

SMPL+H as AMASS publishes it: `poses` (T, 156), `trans` (T, 3), `betas` (16,), `dmpls` (T, 8),
`gender`, `mocap_framerate`; the rate also under its newer name `mocap_frame_rate`. The world has z
up; frames are evenly spaced, as AMASS's are. Beyond that `start_time`, when in the video the first
frame is (seconds). SMPL's first 22 joints are SMPL+H's; its two joints of the hands are none of
SMPL+H's and are left out, the fingers are at rest.
"""

from pathlib import Path

import numpy as np
import torch

from temporal_hmr.on_disk import chunks, scratch, zeros
from temporal_hmr.output.exported import Exported, in_axes
from temporal_hmr.output.npz import atomic_path, write_arrays

_NUMBERS, _BODY_NUMBERS = 156, 66
_SHAPES, _SOFT_TISSUES = 16, 8
Z_UP = ((1.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0))
"""(x, y, z) with y up -> (x, -z, y) with z up."""


def write_amass(person: Exported, path: Path) -> None:
    """Write one person, without pickles. Raises `InputError` if the place cannot be written to."""
    upright = person.at_even_times(person.standing())
    smpl = in_axes(person.body, upright, upright.transl.new_tensor(Z_UP))
    count = len(smpl.transl)
    poses = zeros((count, _NUMBERS), scratch(), torch.float64).numpy()
    for part in chunks(count, poses, smpl.body_pose):
        poses[part, :_BODY_NUMBERS] = smpl[part].poses()[:, :_BODY_NUMBERS].numpy()
    betas = np.zeros(_SHAPES)
    betas[: person.smpl_betas.shape[1]] = person.smpl_betas.mean(0)
    arrays = {
        "poses": poses,
        "trans": smpl.transl.numpy(),
        "betas": betas,
        "dmpls": np.zeros((count, _SOFT_TISSUES)),
        "gender": np.array(person.gender),
        "mocap_framerate": np.array(person.fps),
        "mocap_frame_rate": np.array(person.fps),
        "start_time": np.array(person.times[0]),
    }
    with atomic_path(path) as temporary:
        write_arrays(arrays, temporary)
