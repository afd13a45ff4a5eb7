"""Coarse meshes, and the two transformers that predict them."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from body_files import Malice
from scipy import sparse
from small_meshes import icosahedron, refined, small_mesh
from torch import Tensor, nn

from temporal_hmr.batch import CropWindow
from temporal_hmr.body.coarse_mesh import VertexMap, edges_of, load_coarse_mesh
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.errors import InputError
from temporal_hmr.models.heads import pelvis_in_camera
from temporal_hmr.models.image_tokens import sine_positions
from temporal_hmr.models.mesh_decoder import (
    FrameEvidence,
    MeshDecoder,
    MeshDecoderConfig,
    attention_mask,
    project,
)
from temporal_hmr.models.mesh_transformer import DecoderLayer, MeshTransformer

SMALL = MeshDecoderConfig(size="M", width=32, hidden=48, narrow_width=16, narrow_hidden=24, heads=4)
CELLS, TOKENS = 6, 5
GRID = (2, 3)


@pytest.fixture(scope="module")
def open_body() -> BodyModel:
    return load_body()


def decoder(**settings: object) -> MeshDecoder:
    torch.manual_seed(0)
    return MeshDecoder(SMALL.model_copy(update=settings), small_mesh()).eval()


def tokens(batch: int = 3) -> tuple[Tensor, Tensor]:
    torch.manual_seed(1)
    return torch.randn(batch, CELLS, 32), torch.randn(batch, TOKENS, 32)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


# Coarse meshes.


def test_open_body_has_as_many_neighbours_as_metros_mesh(open_body: BodyModel) -> None:
    """431 vertices themselves and 1287 edges both ways, as for any closed surface without holes."""
    mesh = load_coarse_mesh(open_body)
    near = mesh.neighbours
    assert mesh.counts() == (431, 1723, 6656)
    assert near.sum() == 3005
    assert near.diagonal().all() and (near == near.T).all()
    assert near.sum(1).min() >= 4 and near.sum(1).max() <= 14
    assert len(edges_of(mesh.middle_faces)) == 3 * (1723 - 2)


def test_open_body_goes_down_and_up(open_body: BodyModel) -> None:
    mesh = load_coarse_mesh(open_body)
    full = open_body.v_template.numpy()
    middle, coarse = mesh.full_to_middle @ full, mesh.full_to_coarse @ full
    assert np.linalg.norm(mesh.middle_to_full @ middle - full, axis=1).mean() < 0.001
    assert np.linalg.norm(mesh.coarse_to_middle @ coarse - middle, axis=1).mean() < 0.002


def test_edges_by_hand() -> None:
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    assert edges_of(faces).tolist() == [[0, 1], [0, 2], [1, 2], [1, 3], [2, 3]]


def metro_arrays(layout: str = "coo") -> dict[str, list[sparse.spmatrix]]:
    """A file like METRO's, of an icosahedron; its matrices may say things twice."""
    _, faces = icosahedron()
    middle_faces, to_middle = refined(12, faces)
    full_faces, to_full = refined(42, middle_faces)
    near = []
    for count, triangles in ((162, full_faces), (42, middle_faces), (12, faces)):
        first, second = np.concatenate([triangles[:, [i, (i + 1) % 3]] for i in range(3)]).T
        matrix = sparse.coo_matrix((np.ones(len(first)), (first, second)), (count, count))
        near.append(matrix + matrix.T)
    down = [sparse.coo_matrix(np.eye(42, 162)), sparse.coo_matrix(np.eye(12, 42))]
    arrays = {"A": near, "D": down, "U": [to_full, to_middle]}
    return {key: [matrix.asformat(layout) for matrix in made] for key, made in arrays.items()}


def write_metro(path: Path, arrays: dict[str, list]) -> Path:
    held = {}
    for key, matrices in arrays.items():
        held[key] = np.empty(len(matrices), object)
        held[key][:] = matrices
    np.savez(path, **held)
    return path


def body_of(vertices: int) -> BodyModel:
    class Body:
        name = "SMPL_NEUTRAL"
        v_template = torch.zeros(vertices, 3)

    return Body()  # type: ignore[return-value]


@pytest.mark.parametrize("layout", ["coo", "csc", "csr"])
def test_reads_metros_file(tmp_path: Path, layout: str) -> None:
    path = write_metro(tmp_path / "mesh_downsampling.npz", metro_arrays(layout))
    mesh, expected = load_coarse_mesh(body_of(162), path), small_mesh()
    assert mesh.counts() == expected.counts()
    assert (mesh.neighbours == expected.neighbours).all()
    as_sets = [{frozenset(face) for face in m.middle_faces.tolist()} for m in (mesh, expected)]
    assert as_sets[0] == as_sets[1] and len(mesh.middle_faces) == 80
    for name in ("coarse_to_middle", "middle_to_full", "full_to_middle", "full_to_coarse"):
        assert abs(getattr(mesh, name) - getattr(expected, name)).max() < 1e-12, name


def test_metros_file_runs_nothing(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    arrays = metro_arrays() | {"A": [Malice(os.system, f"touch {canary}")]}
    with pytest.raises(InputError, match="refusing to run it"):
        load_coarse_mesh(body_of(162), write_metro(tmp_path / "mesh.npz", arrays))
    assert not canary.exists()


def test_other_files_are_refused(tmp_path: Path, open_body: BodyModel) -> None:
    good = write_metro(tmp_path / "good.npz", metro_arrays())
    with pytest.raises(InputError, match="162 vertices, but SMPL_NEUTRAL has 6890"):
        load_coarse_mesh(body_of(6890), good)
    with pytest.raises(InputError, match=r"mesh_downsampling\.npz"):
        load_coarse_mesh(body_of(6890))
    with pytest.raises(InputError, match="check the path"):
        load_coarse_mesh(body_of(162), tmp_path / "absent.npz")
    (tmp_path / "cut.npz").write_bytes(good.read_bytes()[:500])
    np.savez(tmp_path / "plain.npz", **{key: np.zeros(3) for key in "ADU"})
    np.savez(tmp_path / "other.npz", A=np.zeros(3))
    arrays = metro_arrays()
    arrays["U"].reverse()
    write_metro(tmp_path / "swapped.npz", arrays)
    for name in ("cut", "plain", "other", "swapped"):
        with pytest.raises(InputError, match=f"{name}.npz"):
            load_coarse_mesh(body_of(162), tmp_path / f"{name}.npz")


def test_a_vertex_map_is_its_matrix() -> None:
    rng = np.random.default_rng(0)
    dense = rng.normal(size=(9, 7)) * (rng.random((9, 7)) < 0.4)
    dense[3] = 0
    points = torch.randn(2, 4, 7, 3)
    mapped = VertexMap(sparse.csr_matrix(dense))(points)
    expected = torch.einsum("rc,btci->btri", torch.tensor(dense, dtype=torch.float32), points)
    torch.testing.assert_close(mapped, expected)


# Mask and positions.


def test_vertices_see_joints_and_neighbours_and_joints_see_all() -> None:
    mesh = small_mesh()
    blocked = attention_mask(mesh.neighbours)
    assert blocked.shape == (26, 26)
    assert not blocked[:14].any() and not blocked[:, :14].any()
    assert torch.equal(~blocked[14:, 14:], torch.tensor(mesh.neighbours))
    # Five neighbours of each corner, and itself.
    assert ((~blocked[14:, 14:]).sum(1) == 6).all()
    assert not blocked.all(1).any()


def test_a_vertex_hears_of_another_only_through_neighbours_and_joints() -> None:
    torch.manual_seed(0)
    layer = DecoderLayer(16, 32, 4, 0.1).eval()
    blocked = attention_mask(small_mesh().neighbours)
    queries, memory = torch.randn(1, 26, 16), torch.randn(1, 7, 16)
    changed = queries.clone()
    changed[:, 20] = torch.randn(16)
    place = torch.zeros(7, 16)
    before, after = (layer(x, memory, place, blocked) for x in (queries, changed))
    assert torch.equal((after - before).abs().amax(-1)[0] > 1e-5, ~blocked[:, 20])


@pytest.mark.parametrize(("grid", "width"), [((8, 8), 512), ((7, 5), 128)])
def test_positions_number_by_number(grid: tuple[int, int], width: int) -> None:
    made = sine_positions(grid, width)
    half = width // 2
    for row, column, channel in ((0, 0, 0), (3, 2, 1), (6, 4, half - 1), (2, 1, half), (1, 4, 85)):
        index, count = (row, grid[0]) if channel < half else (column, grid[1])
        pair = 2 * ((channel % half) // 2) / half
        angle = (index + 1) / (count + 1e-6) * 2 * np.pi / 10000**pair
        expected = np.sin(angle) if channel % 2 == 0 else np.cos(angle)
        assert made[row * grid[1] + column, channel] == pytest.approx(expected, abs=1e-5)


def test_image_tokens_may_stand_in_any_order_with_their_positions(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = decoder()
    image, pose = tokens()
    before = model(model.encode(image, pose, GRID))
    order = torch.tensor([3, 1, 5, 0, 4, 2])
    unmoved = model(model.encode(image[:, order], pose, GRID))
    assert (unmoved.vertices - before.vertices).abs().max() > 1e-3
    monkeypatch.setattr(
        "temporal_hmr.models.mesh_decoder.sine_positions",
        lambda grid, width, device: sine_positions(grid, width, device)[order],
    )
    after = model(model.encode(image[:, order], pose, GRID))
    torch.testing.assert_close(after.vertices, before.vertices, atol=1e-5, rtol=1e-4)


def test_pose_tokens_have_no_position() -> None:
    model = decoder()
    image, pose = tokens()
    before = model(model.encode(image, pose, GRID))
    after = model(model.encode(image, pose.flip(1), GRID))
    torch.testing.assert_close(after.vertices, before.vertices, atol=1e-5, rtol=1e-4)


def test_positions_touch_no_values() -> None:
    """Tokens that are all alike stay so, wherever they are."""
    torch.manual_seed(0)
    transformer = MeshTransformer(16, 32, 2, 4, 0.1).eval()
    same = torch.randn(1, 1, 16).expand(1, 6, 16)
    encoded = transformer.encode(same, sine_positions(GRID, 16))
    torch.testing.assert_close(encoded, encoded[:, :1].expand_as(encoded))


# The decoder.


@pytest.mark.parametrize(
    ("size", "published"), [("S", 9.2e6), ("M", 17.1e6), ("L", 24.9e6)], ids="SML"
)
def test_published_sizes(open_body: BodyModel, size: str, published: float) -> None:
    """FastMETRO counts the 1x1 convolution in, and leaves the upsampling out.

    Its figures are cut, not rounded: S has 9.297 million.
    """
    config = MeshDecoderConfig.model_validate({"size": size})
    with torch.device("meta"):
        model = MeshDecoder(config, load_coarse_mesh(open_body), sees_pose=False)
        convolution = parameters(nn.Conv2d(2048, 512, 1))
    count = parameters(model) + convolution - parameters(model.to_middle)
    assert published <= count < published + 1e5
    assert parameters(model.to_middle) == 431 * 1723 + 1723


def test_three_levels_of_one_surface(open_body: BodyModel) -> None:
    small = MeshDecoderConfig(size="S", width=16, hidden=16, narrow_width=8, narrow_hidden=8)
    model = MeshDecoder(small, load_coarse_mesh(open_body)).eval()
    image, pose = torch.randn(2, 64, 16), torch.randn(2, 34, 16)
    evidence = model.encode(image, pose, (8, 8))
    assert evidence.memory().shape == (2, 98, 16)
    assert evidence.camera.shape == (2, 1, 16)
    made = model(evidence)
    assert made.camera.shape == (2, 3) and made.joints.shape == (2, 14, 3)
    assert made.coarse.shape == (2, 431, 3) and made.middle.shape == (2, 1723, 3)
    assert made.vertices.shape == (2, 6656, 3)
    upsampling = load_coarse_mesh(open_body).middle_to_full.toarray()
    expected = torch.tensor(upsampling, dtype=torch.float32) @ made.middle
    torch.testing.assert_close(made.vertices, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("twice", "count"), [(False, 99), (True, 133)])
def test_pose_tokens_once_as_in_the_paper_or_twice_as_in_the_code(twice: bool, count: int) -> None:
    model = decoder(pose_twice=twice)
    counts = []
    model.second.encoder_norm.register_forward_hook(lambda m, i, o: counts.append(o.shape[1]))
    model(model.encode(torch.randn(1, 64, 32), torch.randn(1, 34, 32), (8, 8)))
    assert counts == [count]


def test_pose_twice_changes_no_parameter_but_the_result() -> None:
    once, twice = decoder(), decoder(pose_twice=True)
    twice.load_state_dict(once.state_dict())
    image, pose = tokens()
    made = [model(model.encode(image, pose, GRID)).vertices for model in (once, twice)]
    assert (made[0] - made[1]).abs().max() > 1e-4


def test_queries_do_not_see_the_camera_token() -> None:
    model = decoder()
    evidence = model.encode(*tokens(), GRID)
    other = FrameEvidence(evidence.camera + 1, evidence.image, evidence.pose, GRID)
    # In the second encoder the camera token meets the others: the first look alone is asked about.
    queries = torch.cat([model.joint_queries, model.vertex_queries]).expand(3, -1, -1)
    looks = [model._look(model.first, queries, seen) for seen in (evidence, other)]
    assert torch.equal(*looks)


def test_the_same_in_evaluation_alone_and_in_a_batch() -> None:
    model = decoder()
    image, pose = tokens()
    whole = model(model.encode(image, pose, GRID))
    assert torch.equal(model(model.encode(image, pose, GRID)).vertices, whole.vertices)
    alone = model(model.encode(image[1:2], pose[1:2], GRID))
    torch.testing.assert_close(alone.vertices, whole.vertices[1:2], atol=1e-5, rtol=1e-4)
    model.train()
    assert not torch.equal(model(model.encode(image, pose, GRID)).vertices, whole.vertices)


def test_upsampling_may_start_from_the_mesh() -> None:
    mesh = small_mesh()
    model = MeshDecoder(SMALL.model_copy(update={"upsampler_from_mesh": True}), mesh)
    coarse = torch.randn(12, 3)
    expected = torch.tensor(mesh.coarse_to_middle @ coarse.numpy(), dtype=torch.float32)
    torch.testing.assert_close(model.to_middle(coarse.T).T, expected)


def test_projection_is_orthographic() -> None:
    points = torch.tensor([[[0.1, -0.2, 5.0], [0.1, -0.2, 9.0]]])
    camera = torch.tensor([[2.0, 0.3, 0.1]])
    expected = torch.tensor([[[0.8, -0.2], [0.8, -0.2]]])
    torch.testing.assert_close(project(points, camera), expected)


def test_projection_is_the_limit_of_a_long_lens() -> None:
    """The camera means the same as our other models': far away, perspective gives the same."""
    points, camera = torch.randn(1, 9, 3).double(), torch.tensor([[0.8, 0.2, -0.1]]).double()
    center, focal, side = torch.tensor([[700.0, 300.0]]), torch.full((1, 2), 1e9), 256.0
    window = CropWindow(
        keypoints=torch.zeros(1, 1, 9, 2),
        scores=torch.ones(1, 1, 9),
        box_center=center[:, None].double(),
        box_size=torch.full((1, 1), side).double(),
        focal=focal.double(),
        center=center.double(),
        times=torch.zeros(1, 1),
        valid=torch.ones(1, 1, dtype=torch.bool),
    )
    placed = points + pelvis_in_camera(camera[:, None], window)
    pixels = placed[..., :2] / placed[..., 2:] * focal + center
    in_crop = (pixels - center) / (side / 2)
    torch.testing.assert_close(in_crop, project(points, camera), atol=1e-5, rtol=1e-5)


def test_only_what_is_learned_is_saved() -> None:
    state = decoder().state_dict()
    assert state["vertex_queries"].shape == (12, 32)
    assert state["to_middle.weight"].shape == (42, 12)
    # What comes from the body's file is not saved with the weights.
    assert not any("blocked" in name or "to_full" in name for name in state)
