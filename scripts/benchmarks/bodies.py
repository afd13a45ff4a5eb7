"""Bodies against the `smplx` package."""

from contextlib import redirect_stdout

import numpy as np
import torch

from benchmarks.timing import Row, Settings, in_turn
from temporal_hmr.body.interop import as_smplx
from temporal_hmr.body.load import SMPL_LANDMARKS, SMPL_VERTICES
from temporal_hmr.body.model import POSE_FEATURES, BodyArrays, BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.skeleton import COCO23, SMPL24

BATCH = 64
_WEIGHTS_OF_A_VERTEX = 4
_VERTICES_OF_A_JOINT = 40


def body(settings: Settings) -> list[Row]:
    """Joints, keypoints, chosen vertices and all of them, of a body of SMPL's size."""
    model = made_up_smpl()
    with redirect_stdout(None):  # it warns of ten shape coefficients being few
        oracle = as_smplx(model, BATCH).to(settings.device)
    model = model.to(settings.device)
    smpl = random_bodies().map(lambda tensor: tensor.to(settings.device))
    keypoints = model.point_regressor(model.regressors["coco_feet"])
    face = torch.tensor([SMPL_LANDMARKS[name] for name in COCO23.joints if name in SMPL_LANDMARKS])
    ways = {
        "smplx, everything": lambda: oracle(
            betas=smpl.betas,
            body_pose=smpl.body_pose,
            global_orient=smpl.global_orient[:, None],
            transl=smpl.transl,
            pose2rot=False,
        ),
        "24 joints": lambda: model.joints(smpl),
        "23 keypoints by their regressor": lambda: model.regress(smpl, keypoints),
        f"{len(face)} vertices": lambda: model.vertices(smpl, face.to(settings.device)),
        f"all {SMPL_VERTICES} vertices": lambda: model.vertices(smpl),
    }
    with torch.no_grad():
        taken = in_turn(ways, settings)
    against, theirs = next(iter(taken.items()))
    return [
        Row("body", name, 1, f"{BATCH} bodies", ours, against, theirs)
        for name, ours in taken.items()
        if name != against
    ]


def random_bodies() -> SmplParams:
    """Strong poses and shapes."""
    generator = torch.Generator().manual_seed(0)
    sizes = (3 * len(SMPL24), 10, 3)
    poses, betas, transl = (torch.randn(BATCH, size, generator=generator) for size in sizes)
    return SmplParams.from_poses(0.3 * poses, betas, transl)


def made_up_smpl() -> BodyModel:
    """As many vertices, joints and blend shapes as SMPL, with as few weights, of nobody."""
    generator = np.random.default_rng(0)
    vertices, joints = SMPL_VERTICES, len(SMPL24)
    weights = generator.random((vertices, joints))
    beaten = np.sort(weights)[:, -_WEIGHTS_OF_A_VERTEX, None]
    weights *= weights >= beaten
    regressor = np.zeros((joints, vertices))
    for row in regressor:
        row[generator.choice(vertices, _VERTICES_OF_A_JOINT, replace=False)] = 1
    regressor /= regressor.sum(1, keepdims=True)
    keypoints = np.zeros((len(COCO23), vertices))
    for row, name in zip(keypoints, COCO23.joints, strict=True):
        if name in SMPL_LANDMARKS:
            row[SMPL_LANDMARKS[name]] = 1
        else:
            row[:] = regressor[SMPL24.index(name)]
    arrays = BodyArrays(
        name="made up",
        licence="nobody's",
        v_template=generator.normal(size=(vertices, 3)),
        faces=generator.integers(0, vertices, (2 * vertices, 3)),
        shapedirs=generator.normal(size=(vertices, 3, 10)) / 50,
        posedirs=generator.normal(size=(vertices, 3, POSE_FEATURES)) / 50,
        joint_regressor=regressor,
        weights=weights / weights.sum(1, keepdims=True),
        regressors={"coco_feet": keypoints},
        landmarks=SMPL_LANDMARKS,
    )
    return BodyModel(arrays)
