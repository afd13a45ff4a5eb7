"""Our bodies as the `smplx` package's, for tools that expect one."""

from contextlib import redirect_stdout
from io import StringIO
from typing import TYPE_CHECKING

import numpy as np

from temporal_hmr.body.model import BodyModel
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24

if TYPE_CHECKING:
    import smplx

_SMPLX_NAMES = {
    "nose": "nose",
    "reye": "right_eye",
    "leye": "left_eye",
    "rear": "right_ear",
    "lear": "left_ear",
    "LBigToe": "left_big_toe",
    "LSmallToe": "left_small_toe",
    "LHeel": "left_heel",
    "RBigToe": "right_big_toe",
    "RSmallToe": "right_small_toe",
    "RHeel": "right_heel",
} | {
    f"{side[0]}{finger}": f"{side}_{finger}"
    for side in ("left", "right")
    for finger in ("thumb", "index", "middle", "ring", "pinky")
}
"""smplx's names of the surface points it appends to the joints, and ours."""


def as_smplx(body: BodyModel, batch_size: int = 1) -> "smplx.SMPL":
    """The same arrays in a `smplx.SMPL` (45 joints: 24 kinematic, then surface points).

    Raises `InputError` if the body does not say where smplx's surface points are.
    """
    import smplx
    from smplx.utils import Struct

    missing = sorted(set(_SMPLX_NAMES.values()) - body.landmarks.keys())
    if missing:
        raise InputError(f"body {body.name} has no landmark {missing[0]}, which smplx asks for")
    parents = np.array([SMPL24.parents, range(len(SMPL24))])
    arrays = {
        "v_template": body.v_template.numpy(),
        "f": body.faces.numpy(),
        "shapedirs": body.shapedirs.numpy(),
        "posedirs": body.posedirs.numpy(),
        "J_regressor": body.joint_regressor.numpy(),
        "weights": body.weights.numpy(),
        "kintree_table": parents,
    }
    # It prints a warning of bodies with fewer shape coefficients than 300.
    with redirect_stdout(StringIO()):
        return smplx.SMPL(
            "",
            data_struct=Struct(**arrays),
            vertex_ids={theirs: body.landmarks[ours] for theirs, ours in _SMPLX_NAMES.items()},
            dtype=body.v_template.dtype,
            batch_size=batch_size,
        )
