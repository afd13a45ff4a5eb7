"""The body model against smplx and a naive loop, and the laws of an SMPL body."""

from importlib import resources

import numpy as np
import pytest
import torch
from numpy import ndarray

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel, pose_feature
from temporal_hmr.body.params import SmplParams, flip_rotations
from temporal_hmr.errors import InputError
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import COCO23, SMPL24

DTYPES = [torch.float32, torch.float64]
REGRESSED = {torch.float32: 1e-5, torch.float64: 1e-10}
FLOAT32 = 1e-5
FLOAT64 = 1e-12
SMPLX_LANDMARKS = {
    "nose": "nose", "reye": "right_eye", "leye": "left_eye", "rear": "right_ear",
    "lear": "left_ear", "rthumb": "right_thumb", "rindex": "right_index",
    "rmiddle": "right_middle", "rring": "right_ring", "rpinky": "right_pinky",
    "lthumb": "left_thumb", "lindex": "left_index", "lmiddle": "left_middle",
    "lring": "left_ring", "lpinky": "left_pinky", "LBigToe": "left_big_toe",
    "LSmallToe": "left_small_toe", "LHeel": "left_heel", "RBigToe": "right_big_toe",
    "RSmallToe": "right_small_toe", "RHeel": "right_heel",
}  # fmt: skip
MIRROR = torch.tensor([-1.0, 1.0, 1.0], dtype=torch.float64)


@pytest.fixture(scope="module")
def arrays() -> dict[str, ndarray]:
    """The shipped body's arrays, as any SMPL program reads them."""
    asset = resources.files("temporal_hmr") / "assets" / "open_body.npz"
    with resources.as_file(asset) as path, np.load(path) as stored:
        return {key: stored[key] for key in stored.files}


@pytest.fixture(scope="module")
def body32() -> BodyModel:
    return load_body()


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


def random_bodies(*shape: int, dtype: torch.dtype = torch.float64) -> SmplParams:
    """Strong poses, strong shapes, far from the origin."""
    generator = torch.Generator().manual_seed(5)

    def draw(*size: int) -> torch.Tensor:
        return torch.randn(*shape, *size, dtype=torch.float64, generator=generator)

    smpl = SmplParams.from_poses(0.5 * draw(72), 1.5 * draw(10), 2 * draw(3))
    return smpl.map(lambda tensor: tensor.to(dtype))


def rest(*shape: int) -> SmplParams:
    identity = torch.eye(3, dtype=torch.float64).expand(*shape, 24, 3, 3)
    zeros = torch.zeros(*shape, 10, dtype=torch.float64)
    return SmplParams.from_rotations(identity, zeros, zeros[..., :3])


def naive_body(arrays: dict[str, ndarray], smpl: SmplParams) -> tuple[ndarray, ndarray]:
    """Vertices and joints of one body, joint by joint as the SMPL paper writes them."""
    rotations = smpl.rotations().numpy()
    parents = arrays["kintree_table"][0].astype(int)
    shaped = arrays["v_template"] + arrays["shapedirs"].astype(float) @ smpl.betas.numpy()
    joints = arrays["J_regressor"].astype(float) @ shaped
    feature = np.concatenate([(rotation - np.eye(3)).ravel() for rotation in rotations[1:]])
    shaped = shaped + arrays["posedirs"].astype(float) @ feature
    chain = np.zeros((24, 4, 4))
    for joint in range(24):
        step = np.eye(4)
        step[:3, :3] = rotations[joint]
        step[:3, 3] = joints[joint] - (joints[parents[joint]] if joint else 0)
        chain[joint] = chain[parents[joint]] @ step if joint else step
    posed = chain[:, :3, 3].copy()
    for joint in range(24):
        chain[joint, :3, 3] -= chain[joint, :3, :3] @ joints[joint]
    skin = np.tensordot(arrays["weights"].astype(float), chain, 1)
    vertices = (skin @ np.concatenate([shaped, np.ones((len(shaped), 1))], 1)[..., None])[:, :3, 0]
    return vertices + smpl.transl.numpy(), posed + smpl.transl.numpy()


def from_smplx(
    arrays: dict[str, ndarray], smpl: SmplParams, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices and the 24 joints from the smplx package, given the same arrays."""
    import smplx

    names, values = arrays["vertex_id_names"].tolist(), arrays["vertex_id_values"].tolist()
    ours = dict(zip(names, values, strict=True))
    oracle = smplx.SMPL(
        "",
        data_struct=smplx.utils.Struct(**arrays),
        vertex_ids={theirs: ours[name] for theirs, name in SMPLX_LANDMARKS.items()},
        dtype=dtype,
        batch_size=len(smpl.betas),
    )
    out = oracle(
        betas=smpl.betas,
        body_pose=smpl.body_pose,
        global_orient=smpl.global_orient[:, None],
        transl=smpl.transl,
        pose2rot=False,
    )
    return out.vertices.detach(), out.joints[:, :24].detach()


@pytest.mark.parametrize(("dtype", "bar"), [(torch.float32, 1e-5), (torch.float64, 1e-10)])
def test_equals_smplx(arrays: dict[str, ndarray], dtype: torch.dtype, bar: float) -> None:
    smpl = random_bodies(100, dtype=dtype)
    ours = load_body(dtype=dtype)
    vertices, joints = from_smplx(arrays, smpl, dtype)
    assert (ours.vertices(smpl) - vertices).abs().max() < bar
    assert (ours.joints(smpl) - joints).abs().max() < bar


def test_equals_a_naive_loop(arrays: dict[str, ndarray], body: BodyModel) -> None:
    smpl = random_bodies(3)
    for index in range(3):
        vertices, joints = naive_body(arrays, smpl[index])
        assert np.abs(body.vertices(smpl[index]).numpy() - vertices).max() < FLOAT64
        assert np.abs(body.joints(smpl[index]).numpy() - joints).max() < FLOAT64


def test_zero_pose_is_the_rest_body(arrays: dict[str, ndarray], body: BodyModel) -> None:
    still = rest()
    assert np.abs(body.vertices(still).numpy() - arrays["v_template"]).max() < FLOAT64
    assert torch.allclose(body.joints(still), body.rest_joints(still.betas))
    expected = arrays["J_regressor"].astype(float) @ arrays["v_template"]
    assert np.abs(body.rest_joints(still.betas).numpy() - expected).max() < FLOAT64
    assert pose_feature(still).abs().max() == 0


def test_pose_feature_goes_row_by_row_through_the_joints() -> None:
    smpl = random_bodies()
    elbow = SMPL24.index("left_elbow")
    expected = (smpl.rotations()[elbow] - torch.eye(3)).reshape(-1)
    assert torch.equal(pose_feature(smpl)[9 * (elbow - 1) : 9 * elbow], expected)


def test_root_turns_about_the_pelvis(body: BodyModel) -> None:
    smpl = random_bodies(4)
    turn = axis_angle_to_matrix(torch.tensor([0.3, -1.2, 0.8], dtype=torch.float64))
    turned = SmplParams(turn @ smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl)
    pelvis = body.rest_joints(smpl.betas)[:, :1] + smpl.transl[:, None]
    assert torch.allclose(body.joints(smpl)[:, :1], pelvis)
    assert torch.allclose(body.joints(turned)[:, :1], pelvis)
    expected = (body.vertices(smpl) - pelvis) @ turn.mT + pelvis
    assert (body.vertices(turned) - expected).abs().max() < FLOAT64


def test_translation_moves_everything_alike(body: BodyModel) -> None:
    smpl = random_bodies(2)
    shift = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    moved = SmplParams(smpl.global_orient, smpl.body_pose, smpl.betas, smpl.transl + shift)
    assert (body.vertices(moved) - body.vertices(smpl) - shift).abs().max() < FLOAT64
    assert (body.joints(moved) - body.joints(smpl) - shift).abs().max() < FLOAT64


def test_change_of_frame_moves_the_vertices(body: BodyModel) -> None:
    """The pelvis term: transforming the parameters is transforming the body."""
    smpl = random_bodies(3)
    rotation = axis_angle_to_matrix(torch.tensor([2.0, 0.4, -0.5], dtype=torch.float64))
    translation = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    moved = body.transform(smpl, rotation, translation)
    expected = body.vertices(smpl) @ rotation.mT + translation
    assert (body.vertices(moved) - expected).abs().max() < FLOAT64
    assert torch.equal(moved.body_pose, smpl.body_pose)
    forgetful = rotation @ smpl.transl[..., None]
    assert (moved.transl - forgetful.squeeze(-1) - translation).abs().max() > 0.1
    back = body.transform(moved, rotation.mT, -(rotation.mT @ translation))
    assert torch.allclose(back.transl, smpl.transl)


def test_frames_of_joints(body: BodyModel) -> None:
    """Each joint's rotation is its parent's times its own, and bones keep their rest length."""
    smpl = random_bodies(2)
    frames, turns = body.transforms(smpl), body.global_rotations(smpl)
    assert torch.equal(frames[..., :3], turns)
    assert torch.equal(frames[..., 3], body.joints(smpl))
    still = body.rest_joints(smpl.betas)
    for joint, parent in enumerate(body.parents):
        if parent < 0:
            continue
        assert torch.allclose(turns[:, joint], turns[:, parent] @ smpl.rotations()[:, joint])
        bone = turns[:, parent] @ (still[:, joint] - still[:, parent])[..., None]
        posed = body.joints(smpl)[:, joint] - body.joints(smpl)[:, parent]
        assert torch.allclose(bone.squeeze(-1), posed)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["coco_feet", "lsp14", "h36m17"])
def test_regress_equals_the_matrix_on_the_vertices(name: str, dtype: torch.dtype) -> None:
    ours = load_body(dtype=dtype)
    smpl = random_bodies(8, dtype=dtype)
    matrix = torch.as_tensor(ours.regressors[name]).to(dtype)
    points = ours.regress(smpl, ours.point_regressor(matrix))
    assert points.dtype == dtype
    assert (points - matrix @ ours.vertices(smpl)).abs().max() < REGRESSED[dtype]


def test_regress_takes_any_rows(body: BodyModel) -> None:
    """Rows that sum to other than one, negative entries, an empty row, dense rows."""
    generator = torch.Generator().manual_seed(6)
    matrix = torch.zeros(4, len(body.v_template), dtype=torch.float64)
    matrix[0, 5], matrix[0, 700] = 2.0, -0.5
    matrix[2] = torch.randn(len(body.v_template), dtype=torch.float64, generator=generator) / 100
    matrix[3, 12] = 1
    smpl = random_bodies(3)
    points = body.regress(smpl, body.point_regressor(matrix))
    assert (points - matrix @ body.vertices(smpl)).abs().max() < 1e-10
    assert points[:, 1].abs().max() == 0


def test_coco_keypoints_are_where_their_names_say(body: BodyModel) -> None:
    regressor = body.point_regressor(body.regressors["coco_feet"])
    points = dict(zip(COCO23.joints, body.regress(rest(), regressor).tolist(), strict=True))
    for side, sign in (("left", 1), ("right", -1)):
        heights = [points[f"{side}_{part}"][1] for part in ("eye", "shoulder", "hip", "knee")]
        assert heights == sorted(heights, reverse=True)
        for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "big_toe", "heel"):
            assert sign * points[f"{side}_{part}"][0] > 0
        assert points[f"{side}_big_toe"][2] > points[f"{side}_heel"][2] + 0.15
        assert abs(points[f"{side}_small_toe"][0]) > abs(points[f"{side}_big_toe"][0])
    assert points["nose"][2] > points["left_ear"][2]


def test_chosen_vertices_are_slices_of_all(body32: BodyModel) -> None:
    smpl = random_bodies(5, dtype=torch.float32)
    chosen = torch.randperm(len(body32.v_template), generator=torch.Generator().manual_seed(7))[:50]
    everything = body32.vertices(smpl)
    assert (body32.vertices(smpl, chosen) - everything[:, chosen]).abs().max() < FLOAT32
    assert everything.is_contiguous()


def test_gradients_at_the_zero_pose_are_finite_and_reach_everything(body: BodyModel) -> None:
    poses = torch.zeros(2, 72, dtype=torch.float64, requires_grad=True)
    betas = torch.zeros(2, 10, dtype=torch.float64, requires_grad=True)
    transl = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    smpl = SmplParams.from_poses(poses, betas, transl)
    regressor = body.point_regressor(body.regressors["coco_feet"])
    chosen = torch.arange(0, len(body.v_template), 97)
    for points in (body.joints(smpl), body.regress(smpl, regressor), body.vertices(smpl, chosen)):
        weight = torch.linspace(1, 2, points.numel(), dtype=torch.float64).view_as(points)
        gradients = torch.autograd.grad(
            (points * weight).sum(), (poses, betas, transl), retain_graph=True
        )
        for gradient in gradients:
            assert gradient.isfinite().all()
        # Leaves of the tree turn no joint: hands, feet and head are felt by the surface only.
        assert (gradients[0].view(2, 24, 3).abs().amax(-1) > 0).sum() >= 2 * 19
        assert (gradients[1] != 0).all()
        assert (gradients[2] != 0).all()


def test_gradients_are_right(body: BodyModel) -> None:
    regressor = body.point_regressor(body.regressors["coco_feet"])
    generator = torch.Generator().manual_seed(8)
    poses = (0.3 * torch.randn(72, dtype=torch.float64, generator=generator)).requires_grad_()
    betas = torch.randn(10, dtype=torch.float64, generator=generator).requires_grad_()
    transl = torch.zeros(3, dtype=torch.float64, requires_grad=True)

    def points(poses: torch.Tensor, betas: torch.Tensor, transl: torch.Tensor) -> torch.Tensor:
        smpl = SmplParams.from_poses(poses, betas, transl)
        return body.regress(smpl, regressor).sum(-2) + body.joints(smpl).mean(-2)

    assert torch.autograd.gradcheck(points, (poses, betas, transl), fast_mode=True)


def test_the_mirrored_person_is_the_mirrored_mesh(
    arrays: dict[str, ndarray], body: BodyModel
) -> None:
    smpl = random_bodies(3)
    mirrored = SmplParams.from_rotations(
        flip_rotations(smpl.rotations()), smpl.betas, smpl.transl * MIRROR
    )
    expected = body.vertices(smpl)[:, arrays["flip_vertices"]] * MIRROR
    assert (body.vertices(mirrored) - expected).abs().max() < 1e-4
    expected = body.joints(smpl)[:, SMPL24.flip_permutation()] * MIRROR
    assert (body.joints(mirrored) - expected).abs().max() < 1e-6
    regressor = body.point_regressor(body.regressors["coco_feet"])
    expected = body.regress(smpl, regressor)[:, COCO23.flip_permutation()] * MIRROR
    assert (body.regress(mirrored, regressor) - expected).abs().max() < 1e-4


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_batch_axes_are_free(shape: tuple[int, ...], body32: BodyModel) -> None:
    smpl = random_bodies(*shape, dtype=torch.float32)
    regressor = body32.point_regressor(body32.regressors["coco_feet"])
    chosen = torch.tensor([4, 2])
    assert body32.rest_joints(smpl.betas).shape == (*shape, 24, 3)
    assert body32.joints(smpl).shape == (*shape, 24, 3)
    assert body32.vertices(smpl).shape == (*shape, len(body32.v_template), 3)
    assert body32.vertices(smpl, chosen).shape == (*shape, 2, 3)
    assert body32.regress(smpl, regressor).shape == (*shape, 23, 3)
    if len(shape) == 2:
        alone = body32.vertices(smpl[1, 2])
        assert (body32.vertices(smpl)[1, 2] - alone).abs().max() < FLOAT32


def test_many_bodies_are_posed_as_single_ones(body32: BodyModel) -> None:
    """More than are posed at once."""
    smpl = random_bodies(2, 70, dtype=torch.float32)
    chosen = torch.arange(0, len(body32.v_template), 200)
    many = body32.vertices(smpl, chosen)
    assert many.shape == (2, 70, len(chosen), 3)
    for index in ((0, 0), (0, 63), (0, 64), (1, 69)):
        assert (many[index] - body32.vertices(smpl[index], chosen)).abs().max() < FLOAT32


def test_fewer_betas_are_the_first_ones(body: BodyModel) -> None:
    smpl = random_bodies(2)
    some = SmplParams(smpl.global_orient, smpl.body_pose, smpl.betas[:, :4], smpl.transl)
    padded = torch.cat([some.betas, torch.zeros(2, 6, dtype=torch.float64)], -1)
    padded_smpl = SmplParams(smpl.global_orient, smpl.body_pose, padded, smpl.transl)
    regressor = body.point_regressor(body.regressors["coco_feet"])
    assert torch.allclose(body.vertices(some), body.vertices(padded_smpl))
    assert torch.allclose(body.regress(some, regressor), body.regress(padded_smpl, regressor))


def test_what_does_not_fit_is_refused_in_words(body: BodyModel) -> None:
    with pytest.raises(InputError, match="11 shape coefficients were given, but the body open has"):
        body.rest_joints(torch.zeros(11))
    with pytest.raises(InputError, match="needs 6656 columns"):
        body.point_regressor(torch.zeros(3, 6890))


def test_double_is_the_same_body(body: BodyModel) -> None:
    smpl = random_bodies(2)
    doubled = load_body().double()
    assert (doubled.vertices(smpl) - body.vertices(smpl)).abs().max() < 1e-6
    assert doubled.vertices(smpl).dtype == torch.float64


def test_body_stays_out_of_checkpoints(body: BodyModel) -> None:
    assert not body.state_dict()
    assert not body.point_regressor(body.regressors["coco_feet"]).state_dict()
    assert not list(body.parameters())
