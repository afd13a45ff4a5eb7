"""Which points of a body a detector means by the names of its keypoints.

Detectors agree about names and not about places: BlazePose's shoulders lie three centimetres above
those of COCO's annotators, its ankles three above the joint, its toes four behind the tips. A body
whose own points are fitted to such keypoints leans and shrinks to make up for it.
"""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from temporal_hmr.body.model import BodyModel
from temporal_hmr.skeleton import COCO23, SMPL24

_BLAZEPOSE: dict[str, tuple[str, tuple[float, float, float]]] = {
    "nose": ("head", (0, 15, -31)),
    "eye": ("head", (-7, 8, -25)),
    "ear": ("head", (-20, 10, 20)),
    "shoulder": ("spine3", (-6, 30, -4)),
    "elbow": ("shoulder", (-25, 9, 8)),
    "wrist": ("elbow", (-6, 2, -3)),
    "hip": ("pelvis", (-6, 5, -3)),
    "knee": ("hip", (-5, 10, -4)),
    "ankle": ("knee", (1, 28, 3)),
    "big_toe": ("ankle", (12, 13, -37)),
    "heel": ("ankle", (3, 8, 16)),
}
"""Joint of SMPL that the point goes with, and millimetres in the resting body's axes: out from its
middle plane, up, forward. Of 80 rendered videos of motion that judges nothing, their halves
agreeing within a centimetre (`scripts/measure_detector.py`). It does not know small toes."""
_RIGID = 0.9
"""Share of a vertex that moves with the joint, from which it carries an offset."""


def blazepose_regressor(body: BodyModel) -> Float[ndarray, "23 V"]:
    """Rows that make the keypoints of `BLAZEPOSE23` from a body's vertices.

    Small toes, which BlazePose does not know, stay where `COCO23` has them.
    """
    moved = np.array(body.regressors["coco_feet"], np.float64)
    for index, keypoint in enumerate(COCO23.joints):
        name = keypoint.removeprefix("left_").removeprefix("right_")
        if name not in _BLAZEPOSE:
            continue
        _, (out, up, forward) = _BLAZEPOSE[name]
        left = {"left_": 1.0, "right_": -1.0}.get(keypoint.removesuffix(name), 0.0)
        metres = np.array([left * out, up, forward]) / 1000
        moved[index] += _offset(body, part_of(keypoint), metres)
    return moved


def part_of(keypoint: str) -> str:
    """The joint of SMPL that a keypoint of `COCO23` goes with."""
    name = keypoint.removeprefix("left_").removeprefix("right_").replace("small_toe", "big_toe")
    part, _ = _BLAZEPOSE[name]
    with_side = keypoint.partition("_")[0] + "_" + part
    return with_side if with_side in SMPL24.joints else part


def _offset(body: BodyModel, joint: str, metres: Float[ndarray, "3"]) -> Float[ndarray, "V"]:
    """Weights of vertices that go with a joint whose sum is this vector, and moves with it alone.

    Of all such weights the smallest: the vector then is of the whole part, and scales with it.
    """
    share = body.weights[:, SMPL24.index(joint)].cpu().numpy()
    carriers = np.flatnonzero(share >= min(_RIGID, np.sort(share)[-4]))
    vertices = body.v_template[carriers].cpu().numpy().astype(np.float64)
    weights = np.zeros(len(share))
    # Of vertices seen from their middle: weights that sum to zero are deaf to where the body is.
    weights[carriers] = np.linalg.pinv((vertices - vertices.mean(0)).T) @ metres
    return weights
