"""The shipped open body: geometry, symmetry, anatomy and the size of its file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ASSET = Path(__file__).resolve().parent.parent / "temporal_hmr" / "assets" / "open_body.npz"
MIRROR = np.array([-1.0, 1.0, 1.0])
PARENTS = [-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 20, 21]
PELVIS, HIP, KNEE, ANKLE, FOOT, NECK, HEAD = 0, 1, 4, 7, 10, 12, 15
SHOULDER, ELBOW, WRIST, HAND = 16, 18, 20, 22
H36M_TO_LSP = [6, 5, 4, 1, 2, 3, 16, 15, 14, 11, 12, 13, 8, 10]
COCO_FLIP = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 20, 21, 22, 17, 18, 19]
H36M_FLIP = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
REGRESSOR_KEYS = ("J_regressor", "regressor_coco_feet", "regressor_lsp14", "regressor_h36m17")
UPSAMPLINGS = {
    "upsample_431_full": ("coarse_431_index", None),
    "upsample_1723_full": ("coarse_1723_index", None),
    "upsample_431_1723": ("coarse_431_index", "coarse_1723_index"),
}

Arrays = dict[str, np.ndarray]


@pytest.fixture(scope="module")
def body() -> Arrays:
    """Every array of the file; loading must not need pickle."""
    with np.load(ASSET, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


@pytest.fixture(scope="module")
def template(body: Arrays) -> np.ndarray:
    """(V, 3) template in double precision."""
    return body["v_template"].astype(np.float64)


@pytest.fixture(scope="module")
def joints(body: Arrays, template: np.ndarray) -> np.ndarray:
    """(24, 3) rest joints."""
    return body["J_regressor"].astype(np.float64) @ template


@pytest.fixture(scope="module")
def landmarks(body: Arrays, template: np.ndarray) -> dict[str, np.ndarray]:
    """Landmark positions (3,) by name."""
    names, values = body["vertex_id_names"].tolist(), body["vertex_id_values"]
    return dict(zip(names, template[values], strict=True))


def volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    """Signed volume in cubic metres."""
    corners = vertices[faces].astype(np.float64)
    crossed = np.cross(corners[:, 1], corners[:, 2])
    return float((corners[:, 0] * crossed).sum() / 6.0)


def assert_closed_sphere(faces: np.ndarray, vertex_count: int) -> None:
    """Every directed edge occurs once and its reverse too, and the Euler number is 2."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]).astype(np.int64)
    forward = np.sort(edges[:, 0] * vertex_count + edges[:, 1])
    backward = np.sort(edges[:, 1] * vertex_count + edges[:, 0])
    assert (np.diff(forward) > 0).all()
    assert (forward == backward).all()
    assert len(np.unique(faces)) == vertex_count
    assert vertex_count - len(edges) // 2 + len(faces) == 2


def test_file_is_small_and_describes_itself(body: Arrays) -> None:
    assert ASSET.stat().st_size <= 3_000_000
    meta = json.loads(str(body["meta"]))
    for word in ("Apache", "NAVER", "MakeHuman", "CC0"):
        assert word in meta["licence"]
    assert meta["vertices"] == len(body["v_template"])
    assert meta["figures"]["corrected_mean_mm"] < meta["figures"]["plain_mean_mm"] / 3
    assert meta["figures"]["shape_residual_mean_mm"] < 6.0


def test_shapes_and_types(body: Arrays) -> None:
    count = 6656
    expected = {
        "v_template": (count, 3), "weights": (count, 24), "J_regressor": (24, count),
        "shapedirs": (count, 3, 10), "posedirs": (count, 3, 207),
        "regressor_coco_feet": (23, count), "regressor_lsp14": (14, count),
        "regressor_h36m17": (17, count), "upsample_431_full": (count, 431),
        "upsample_1723_full": (count, 1723), "upsample_431_1723": (1723, 431),
    }  # fmt: skip
    for name, shape in expected.items():
        assert body[name].shape == shape, name
        assert body[name].dtype == np.float32, name
        assert np.isfinite(body[name]).all(), name
    for name in ("f", "flip_vertices", "flip_joints", "coarse_431_index", "coarse_1723_index"):
        assert body[name].dtype == np.int32, name
    parents = body["kintree_table"][0]
    assert parents[0] == 2**32 - 1
    assert parents[1:].tolist() == PARENTS[1:]
    assert body["kintree_table"].dtype == np.int64


def test_meshes_are_closed_manifolds_of_genus_zero(body: Arrays) -> None:
    assert_closed_sphere(body["f"], len(body["v_template"]))
    assert_closed_sphere(body["coarse_431_faces"], 431)
    assert_closed_sphere(body["coarse_1723_faces"], 1723)


def test_normals_point_outward_and_volume_is_human(body: Arrays, template: np.ndarray) -> None:
    assert 0.060 < volume(template, body["f"]) < 0.075
    for count in (431, 1723):
        coarse = template[body[f"coarse_{count}_index"]]
        assert 0.050 < volume(coarse, body[f"coarse_{count}_faces"]) < 0.075


def test_flip_tables_are_involutions(body: Arrays) -> None:
    for name in ("flip_vertices", "flip_joints", "coarse_431_flip"):
        flip = body[name]
        assert (flip[flip] == np.arange(len(flip))).all(), name
    coarse = body["coarse_431_index"]
    assert (body["flip_vertices"][coarse] == coarse[body["coarse_431_flip"]]).all()


def test_body_is_exactly_mirror_symmetric(body: Arrays) -> None:
    flip, joint_flip = body["flip_vertices"], body["flip_joints"]
    assert (body["v_template"][flip] * MIRROR == body["v_template"]).all()
    assert (body["weights"][flip][:, joint_flip] == body["weights"]).all()
    assert (body["J_regressor"][joint_flip][:, flip] == body["J_regressor"]).all()
    assert (body["shapedirs"][flip] * MIRROR[:, None] == body["shapedirs"]).all()
    mirrored_faces = np.sort(flip[body["f"]], axis=1)
    as_set = {tuple(face) for face in np.sort(body["f"], axis=1).tolist()}
    assert as_set == {tuple(face) for face in mirrored_faces.tolist()}


def test_key_point_regressors_are_mirror_symmetric(body: Arrays) -> None:
    flip = body["flip_vertices"]
    for name, order in (("regressor_coco_feet", COCO_FLIP), ("regressor_h36m17", H36M_FLIP)):
        rows = body[name]
        assert np.abs(rows[order][:, flip] - rows).max() < 1e-6, name


def test_posedirs_are_mirror_consistent(body: Arrays) -> None:
    flip, joint_flip = body["flip_vertices"], body["flip_joints"]
    blocks = body["posedirs"].reshape(-1, 3, 23, 3, 3)
    mirrored = blocks[flip][:, :, joint_flip[1:] - 1]
    signs = MIRROR[:, None, None, None] * np.outer(MIRROR, MIRROR)
    assert np.abs(mirrored * signs - blocks).max() < 2e-5
    assert np.abs(blocks).max() < 0.2


def test_rows_are_convex_combinations(body: Arrays) -> None:
    for name in ("weights", *REGRESSOR_KEYS):
        assert (body[name] >= 0).all(), name
        np.testing.assert_allclose(body[name].sum(axis=1, dtype=np.float64), 1.0, atol=1e-5)
    for name in REGRESSOR_KEYS:
        assert (body[name] > 0).sum(axis=1).max() <= 200, name


def test_limb_lengths_are_those_of_an_average_adult(joints: np.ndarray) -> None:
    # Metres; a public SMPL-format skeleton of 1.72 m has about the same.
    lengths = {
        (HIP, KNEE): 0.369, (KNEE, ANKLE): 0.422, (ANKLE, FOOT): 0.132, (SHOULDER, ELBOW): 0.264,
        (ELBOW, WRIST): 0.240, (WRIST, HAND): 0.082, (PELVIS, NECK): 0.514, (NECK, HEAD): 0.079,
        (HIP, HIP + 1): 0.144, (SHOULDER, SHOULDER + 1): 0.351,
    }  # fmt: skip
    for (start, end), length in lengths.items():
        assert np.linalg.norm(joints[end] - joints[start]) == pytest.approx(length, rel=0.08)


def test_t_pose_orientation(template: np.ndarray, joints: np.ndarray, landmarks: dict) -> None:
    for joint in (HIP, KNEE, ANKLE, SHOULDER, ELBOW, WRIST, HAND):
        assert joints[joint, 0] > 0 > joints[joint + 1, 0]
    assert joints[HAND, 0] > joints[WRIST, 0] > joints[ELBOW, 0] > joints[SHOULDER, 0]
    assert joints[HEAD, 1] > joints[PELVIS, 1] > joints[KNEE, 1] > joints[ANKLE, 1]
    assert np.ptp(joints[[SHOULDER, ELBOW, WRIST], 1]) < 0.03
    assert landmarks["nose"][2] > joints[HEAD, 2] + 0.08
    assert landmarks["left_big_toe"][2] > joints[ANKLE, 2] + 0.1
    assert 1.65 < np.ptp(template[:, 1]) < 1.75
    np.testing.assert_allclose(joints[PELVIS], [0.0, -0.22, 0.03], atol=0.01)


def test_landmarks_are_at_their_places(
    template: np.ndarray, joints: np.ndarray, landmarks: dict
) -> None:
    sole = template[:, 1].min()
    assert landmarks["head_top"][1] == template[:, 1].max()
    assert landmarks["left_eye"][1] > landmarks["nose"][1]
    assert 0.05 < 2 * landmarks["left_eye"][0] < 0.075
    assert landmarks["left_ear"][2] < landmarks["left_eye"][2] - 0.05
    assert 0.12 < 2 * landmarks["left_ear"][0] < 0.18
    assert landmarks["left_heel"][1] < sole + 0.04
    assert landmarks["left_big_toe"][1] < sole + 0.04
    assert 0.22 < landmarks["left_big_toe"][2] - landmarks["left_heel"][2] < 0.30
    assert landmarks["left_small_toe"][0] > landmarks["left_big_toe"][0] + 0.04
    for finger in ("thumb", "index", "middle", "ring", "pinky"):
        reach = np.linalg.norm(landmarks[f"left_{finger}"] - joints[WRIST])
        assert 0.09 < reach < 0.22, finger
    assert landmarks["left_thumb"][2] > landmarks["left_index"][2] > landmarks["left_pinky"][2]


def test_key_points_are_at_their_places(
    body: Arrays, template: np.ndarray, joints: np.ndarray, landmarks: dict
) -> None:
    coco = body["regressor_coco_feet"] @ template
    lsp, h36m = body["regressor_lsp14"] @ template, body["regressor_h36m17"] @ template
    np.testing.assert_allclose(h36m[H36M_TO_LSP], lsp, atol=1e-6)
    for row, name in ((0, "nose"), (1, "left_eye"), (4, "right_ear"), (17, "left_big_toe")):
        np.testing.assert_allclose(coco[row], landmarks[name], atol=0.01)
    for row, joint in ((5, SHOULDER), (8, ELBOW + 1), (9, WRIST), (14, KNEE + 1), (15, ANKLE)):
        np.testing.assert_allclose(coco[row], joints[joint], atol=0.02)
    assert coco[11, 0] > joints[HIP, 0]
    assert coco[12, 0] == pytest.approx(-coco[11, 0], abs=1e-5)
    np.testing.assert_allclose(h36m[0], 0.5 * (h36m[1] + h36m[4]), atol=1e-5)
    assert lsp[13, 1] == pytest.approx(template[:, 1].max())
    assert lsp[0, 0] < 0 < lsp[5, 0]


def test_betas_have_unit_scale_and_meaning(body: Arrays, template: np.ndarray) -> None:
    def shaped(beta: int, value: float) -> np.ndarray:
        return template + value * body["shapedirs"][:, :, beta]

    stature = {value: np.ptp(shaped(0, value)[:, 1]) for value in (-2.0, 2.0)}
    assert stature[-2.0] == pytest.approx(1.47, abs=0.04)
    assert stature[2.0] == pytest.approx(1.93, abs=0.04)
    slim, heavy = (shaped(1, value) for value in (-2.0, 2.0))
    assert volume(heavy, body["f"]) - volume(slim, body["f"]) > 0.04
    assert abs(np.ptp(heavy[:, 1]) - np.ptp(slim[:, 1])) < 0.04
    for beta in range(10):
        for value in (-3.0, 3.0):
            assert 0.02 < volume(shaped(beta, value), body["f"]) < 0.16


def test_pelvis_stays_for_every_shape(body: Arrays) -> None:
    moved = np.einsum("v,vik->ik", body["J_regressor"][PELVIS], body["shapedirs"])
    assert np.abs(moved).max() < 0.01


def test_upsampling_reproduces_the_template(body: Arrays, template: np.ndarray) -> None:
    for name, (source, target) in UPSAMPLINGS.items():
        wanted = template if target is None else template[body[target]]
        gaps = np.linalg.norm(body[name] @ template[body[source]] - wanted, axis=1)
        assert gaps.mean() < 0.002, name
        assert gaps.max() < 0.015, name
        np.testing.assert_allclose(body[name].sum(axis=1, dtype=np.float64), 1.0, atol=1e-4)
        assert (body[name] != 0).sum(axis=1).max() <= 10, name


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [(["--help"], 0, "--output"), ([], 2, "error: Anny is not installed: pip install")],
)
def test_the_build_says_what_it_needs(words: list[str], code: int, said: str) -> None:
    """Where Anny is not installed."""
    script = ASSET.parents[2] / "scripts" / "build_open_body.py"
    without = (
        "import runpy, sys\n"
        "sys.modules['anny'] = None\n"
        f"sys.path.insert(0, {str(script.parent)!r})\n"
        f"runpy.run_path({str(script)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", without, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == code and said in done.stdout + done.stderr, done.stderr
    assert "Traceback" not in done.stderr
