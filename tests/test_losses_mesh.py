"""Mesh losses pinned by hand-computed values."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_meshes import small_mesh
from torch import Tensor

from temporal_hmr.body.coarse_mesh import load_coarse_mesh
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.errors import InputError
from temporal_hmr.losses_mesh import (
    MeshLossWeights,
    MeshSurface,
    MeshTarget,
    edge_errors,
    fastmetro_weights,
    lengths,
    mesh_losses,
    normal_errors,
)
from temporal_hmr.models.mesh_decoder import MeshPrediction

ALONE = dict.fromkeys(MeshLossWeights.model_fields, 0.0)
JOINTS = 14


class ToyBody:
    """Each of Human3.6M's joints is one vertex."""

    name = "toy"
    v_template = torch.zeros(162, 3)
    regressors = {"h36m17": np.eye(17, 162)}  # noqa: RUF012


def surface() -> MeshSurface:
    body: BodyModel = ToyBody()  # type: ignore[assignment]
    return MeshSurface(body, small_mesh())


def a_case(samples: int = 2) -> tuple[MeshPrediction, MeshTarget, MeshSurface]:
    """A prediction that is the truth."""
    torch.manual_seed(0)
    made = surface()
    vertices = torch.randn(samples, 162, 3)
    joints = made.to_joints @ vertices
    camera = torch.tensor([[0.5, 0.1, -0.2]]).expand(samples, 3)
    # Projected from where the regressed pelvis is the origin.
    about = joints - vertices[:, :1]
    hips = 0.5 * (joints[:, 2:3] + joints[:, 3:4])
    keypoints = 0.5 * (about[..., :2] + camera[:, None, 1:])
    prediction = MeshPrediction(
        camera,
        joints - hips + vertices[:, :1],
        made.to_coarse(vertices),
        made.to_middle(vertices),
        vertices,
    )
    every = torch.ones(samples, dtype=torch.bool)
    known = torch.ones(samples, JOINTS, dtype=torch.bool)
    return prediction, MeshTarget(vertices, joints, keypoints, every, every, known, known), made


def term(
    name: str, prediction: MeshPrediction, target: MeshTarget, made: MeshSurface, weight: float = 1
) -> Tensor:
    weights = MeshLossWeights(**{**ALONE, name: weight})
    terms = mesh_losses(prediction, target, made, weights)
    assert list(terms) == [name]
    return terms[name]


def test_truth_costs_nothing_wherever_it_stands() -> None:
    prediction, target, made = a_case()
    moved = replace(target, vertices=target.vertices + 3, joints=target.joints - 5)
    for name in ("coarse", "middle", "vertices", "joints", "mesh_joints", "mesh_keypoints"):
        assert term(name, prediction, moved, made).item() == pytest.approx(0, abs=1e-5), name
    assert term("edges", prediction, moved, made).item() == pytest.approx(0, abs=1e-5)
    assert term("normals", prediction, moved, made).item() == pytest.approx(0, abs=1e-5)


def test_weights_of_the_papers() -> None:
    ours = {name: value for name, value in MeshLossWeights() if value}
    assert ours == {
        "joints": 1000,
        "mesh_joints": 1000,
        "keypoints": 100,
        "mesh_keypoints": 100,
        "vertices": 1000,
    }
    theirs = fastmetro_weights()
    assert (theirs.coarse, theirs.middle, theirs.vertices) == (25, 50, 25)
    assert (theirs.edges, theirs.edge_lengths, theirs.normals) == (500, 0.01, 10)


@pytest.mark.parametrize("name", ["coarse", "middle", "vertices"])
def test_vertices_by_hand(name: str) -> None:
    """Mean over samples, vertices and coordinates: a sum over x, y, z would be three times that."""
    prediction, target, made = a_case()
    points = getattr(prediction, name).clone()
    points[0, 5, 1] += 0.6
    wrong = replace(prediction, **{name: points})
    expected = 1000 * 0.6 / (2 * points.shape[1] * 3)
    assert term(name, wrong, target, made, 1000).item() == pytest.approx(expected, rel=1e-4)


def test_vertices_are_relative_to_the_regressed_pelvis() -> None:
    """The pelvis is vertex 0: moving it alone moves all others relative to it."""
    prediction, target, made = a_case(samples=1)
    points = prediction.vertices.clone()
    points[0, 0, 2] += 0.5
    wrong = replace(prediction, vertices=points)
    expected = 0.5 * 161 / (162 * 3)
    assert term("vertices", wrong, target, made).item() == pytest.approx(expected, rel=1e-4)


def test_joints_by_hand() -> None:
    prediction, target, made = a_case()
    joints = prediction.joints.clone()
    joints[1, 0] += torch.tensor([0.3, -0.1, 0.2])
    wrong = replace(prediction, joints=joints)
    expected = 0.6 / (2 * JOINTS * 3)
    assert term("joints", wrong, target, made).item() == pytest.approx(expected, rel=1e-4)
    # A hip moved by 0.2 moves the middle of the hips by 0.1, and all joints against it.
    joints = prediction.joints.clone()
    joints[1, 2, 0] += 0.2
    expected = (0.1 + 13 * 0.1) / (2 * JOINTS * 3)
    wrong = replace(prediction, joints=joints)
    assert term("joints", wrong, target, made).item() == pytest.approx(expected, rel=1e-4)


def test_joints_of_the_mesh_by_hand() -> None:
    """The right ankle is Human3.6M's joint 6, here vertex 6."""
    prediction, target, made = a_case()
    points = prediction.vertices.clone()
    points[0, 6, 1] -= 0.3
    wrong = replace(prediction, vertices=points)
    expected = 0.3 / (2 * JOINTS * 3)
    assert term("mesh_joints", wrong, target, made).item() == pytest.approx(expected, rel=1e-4)


def test_keypoints_by_hand() -> None:
    prediction, target, made = a_case()
    points = target.keypoints.clone()
    points[0, 3, 1] += 0.4
    wrong = replace(target, keypoints=points)
    expected = 0.4 / (2 * JOINTS * 2)
    value = term("mesh_keypoints", prediction, wrong, made).item()
    assert value == pytest.approx(expected, rel=1e-4)
    camera = prediction.camera.clone()
    camera[:, 1] += 0.2
    # Scale 0.5: everything moves by 0.1 in x.
    moved = replace(prediction, camera=camera)
    value = term("mesh_keypoints", moved, target, made).item()
    assert value == pytest.approx(0.05, rel=1e-4)


def test_projected_joint_queries_are_centred_at_the_hips() -> None:
    prediction, target, made = a_case()
    joints = prediction.joints - 0.5 * (prediction.joints[:, 2:3] + prediction.joints[:, 3:4])
    at = 0.5 * (joints[..., :2] + prediction.camera[:, None, 1:])
    seen = replace(target, keypoints=at)
    far = replace(prediction, joints=prediction.joints + 7)
    assert term("keypoints", far, seen, made).item() == pytest.approx(0, abs=1e-5)


def test_edges_and_normals_by_hand() -> None:
    true = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0]]])
    tilted = torch.tensor([[[0.0, 0, 0], [3, 0, 4], [0, 1, 0]]])
    edges = torch.tensor([[0, 1], [0, 2], [1, 2]])
    faces = torch.tensor([[0, 1, 2]])
    expected = torch.tensor([[5, 1, 26**0.5]])
    torch.testing.assert_close(lengths(tilted, edges), expected)
    expected = torch.tensor([[4, 0, 26**0.5 - 2**0.5]])
    torch.testing.assert_close(edge_errors(tilted, true, edges), expected)
    # The true normal is z; sides 0-1, 0-2, 1-2 stick out by 4/5, 0 and 4/sqrt(26).
    expected = torch.tensor([[0.8, 0, 4 / 26**0.5]])
    torch.testing.assert_close(normal_errors(tilted, true, faces), expected)
    assert torch.equal(normal_errors(tilted, true, faces[:, [1, 0, 2]]).sum(), expected.sum())


def test_unknown_truth_counts_as_published() -> None:
    """Samples without 3D truth leave the mean; single unknown joints stay in it as zeros."""
    prediction, target, made = a_case()
    vertices, joints = prediction.vertices.clone(), prediction.joints.clone()
    vertices[1] += torch.randn(162, 3)
    joints[0, 0, 0] += 0.3
    joints[0, 1, 0] += 0.5
    joints[1] += torch.randn(JOINTS, 3)
    wrong = replace(prediction, vertices=vertices, joints=joints)
    first = torch.tensor([True, False])
    known = target.joint_known.clone()
    known[0, 1] = False
    half = replace(target, has_vertices=first, has_joints=first, joint_known=known)
    assert term("vertices", wrong, half, made).item() == pytest.approx(0, abs=1e-5)
    value = term("joints", wrong, half, made).item()
    assert value == pytest.approx(0.3 / (JOINTS * 3), rel=1e-4)


def test_a_batch_that_knows_nothing_costs_nothing_and_can_be_learned_from() -> None:
    prediction, target, made = a_case()
    vertices = prediction.vertices.clone().requires_grad_()
    none = torch.zeros(2, dtype=torch.bool)
    unknown = replace(
        target,
        vertices=torch.full_like(target.vertices, torch.nan),
        joints=torch.full_like(target.joints, torch.nan),
        keypoints=torch.full_like(target.keypoints, torch.nan),
        has_vertices=none,
        has_joints=none,
        keypoint_known=torch.zeros(2, JOINTS, dtype=torch.bool),
    )
    terms = mesh_losses(replace(prediction, vertices=vertices), unknown, made, fastmetro_weights())
    total = torch.stack(list(terms.values())).sum()
    total.backward()
    assert total.item() == 0
    assert vertices.grad is not None and not vertices.grad.any()


def test_autocast_does_not_coarsen_millimetres() -> None:
    prediction, target, made = a_case()
    exact = mesh_losses(prediction, target, made, fastmetro_weights())
    with torch.autocast("cpu", torch.bfloat16):
        again = mesh_losses(prediction, target, made, fastmetro_weights())
    assert all(torch.equal(again[name], exact[name]) for name in exact)


def test_losses_leave_the_batch_alone() -> None:
    prediction, target, made = a_case()
    before = {name: value.clone() for name, value in vars(target).items()}
    mesh_losses(prediction, target, made, fastmetro_weights())
    assert all(torch.equal(value, before[name]) for name, value in vars(target).items())


def test_open_body_has_what_the_losses_need() -> None:
    body = load_body()
    made = MeshSurface(body, load_coarse_mesh(body))
    joints = made.to_joints @ body.v_template
    expected = torch.as_tensor(body.regressors["lsp14"]).to(joints) @ body.v_template
    torch.testing.assert_close(joints, expected, atol=1e-5, rtol=1e-4)
    assert made.edges.shape == (3 * 1721, 2)


def test_a_body_without_the_regressor_is_refused() -> None:
    class Bare(ToyBody):
        regressors = {}  # noqa: RUF012

    body: BodyModel = Bare()  # type: ignore[assignment]
    with pytest.raises(InputError, match=r"shape \(17, 162\) for the body toy"):
        MeshSurface(body, small_mesh())
    with pytest.raises(InputError, match=r"J_regressor_h36m\.npy"):
        MeshSurface(body, small_mesh(), np.zeros((17, 100)))
    given = MeshSurface(body, small_mesh(), np.eye(17, 162))
    assert torch.equal(given.to_joints, surface().to_joints)
