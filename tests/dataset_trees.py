"""Made-up 3DPW and EMDB trees, as their owners lay them out, and licensed-looking body files.

Bodies are the package's own, in SMPL's format and of three genders; people move smoothly before a
moving camera, in a world whose y axis points up.
"""

import pickle
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from body_files import Arrays, write_python2
from numpy.random import Generator
from scipy import sparse

import temporal_hmr
from temporal_hmr.body.load import SMPL_LANDMARKS, load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.skeleton import COCO23, OPENPOSE18

Bodies = Mapping[str, BodyModel]
"""By gender, float64."""

GENDER_SHAPES = {"male": 1.2, "female": -1.2, "neutral": 0.0}
"""Betas of the open body by which a gender's template differs from it."""

THREEDPW = {"downtown_talk_00": "mf", "courtyard_walk_01": "f"}
"""Videos and the genders of their people."""
EMDB = {
    "P0_09_outdoor_walk": ("male", False, True),
    "P1_14_outdoor_climb": ("female", True, False),
    "P5_42_indoor_dancing": ("neutral", True, False),
    "P6_49_outdoor_big_stairs_down": ("male", True, True),
}
"""Videos with gender and membership in EMDB 1 and 2."""


def person_shaped_body(gender: str = "neutral", vertices: int = 6890) -> Arrays:
    """Arrays of an SMPL file. With 6890 vertices SMPL's landmarks are where they should be.

    With fewer, a thinned-out body with rougher keypoints, which then are in the file as well.
    """
    full = _open_body()
    source, first = _chosen(vertices)
    shape = np.full(10, GENDER_SHAPES[gender])
    template = full["v_template"] + full["shapedirs"] @ shape
    arrays = {
        "v_template": template[source],
        "shapedirs": full["shapedirs"][source],
        "posedirs": full["posedirs"][source].astype(np.float32),
        "weights": full["weights"][source] / full["weights"][source].sum(1, keepdims=True),
        "kintree_table": full["kintree_table"].astype(np.uint32),
    }
    if len(first):
        return arrays | {
            "f": first[full["f"]].astype(np.uint32),
            "J_regressor": _spread(full["J_regressor"], source, first),
        }
    corners = np.random.default_rng(1).integers(0, vertices, (2 * vertices, 3))
    return arrays | {
        "f": corners.astype(np.uint32),
        "J_regressor": _same_at_rest(full["J_regressor"], source),
        "regressor_coco_feet": _nearest(full["regressor_coco_feet"], source),
    }


def h36m_regressor(vertices: int = 6890) -> np.ndarray:
    """17 x V, with rows that sum to slightly less or more than one, as those of the public file."""
    regressor = _open_body()["regressor_h36m17"]
    source, first = _chosen(vertices)
    moved = _spread(regressor, source, first) if len(first) else _nearest(regressor, source)
    sums = np.linspace(0.99963, 1.00005, len(moved))
    return moved / moved.sum(1, keepdims=True) * sums[:, None]


def write_bodies(folder: Path, vertices: int = 6890) -> dict[str, BodyModel]:
    """SMPL_MALE.pkl, SMPL_FEMALE.pkl, SMPL_NEUTRAL.pkl and J_regressor_h36m.npy."""
    folder.mkdir(parents=True, exist_ok=True)
    bodies = {}
    for gender in GENDER_SHAPES:
        path = folder / f"SMPL_{gender.upper()}.pkl"
        arrays = person_shaped_body(gender, vertices)
        arrays["J_regressor"] = sparse.csc_matrix(arrays["J_regressor"])
        path.write_bytes(pickle.dumps(arrays, 2))
        bodies[gender] = load_body(path, torch.float64)
    np.save(folder / "J_regressor_h36m.npy", h36m_regressor(vertices))
    return bodies


@lru_cache(maxsize=1)
def _open_body() -> Arrays:
    path = Path(temporal_hmr.__path__[0]) / "assets" / "open_body.npz"
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    return {k: v.astype(np.float64) if v.dtype.kind == "f" else v for k, v in arrays.items()}


def _chosen(vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """The open body's vertex that each new one copies; where each of those first stands, if all do.

    SMPL's landmarks get the open body's vertices of the same names.
    """
    full = _open_body()
    count = len(full["v_template"])
    if vertices < count:
        chosen = np.random.default_rng(0).choice(count, vertices, replace=False)
        return np.sort(chosen), np.zeros(0, int)
    source = np.arange(vertices) % count
    landmarks = dict(zip(full["vertex_id_names"], full["vertex_id_values"], strict=True))
    for name, number in SMPL_LANDMARKS.items():
        place = np.flatnonzero(source == landmarks[name])[0]
        source[[place, number]] = source[[number, place]]
    return source, np.unique(source, return_index=True)[1]


def _spread(regressor: np.ndarray, source: np.ndarray, first: np.ndarray) -> np.ndarray:
    spread = np.zeros((len(regressor), len(source)))
    spread[:, first] = regressor
    return spread


def _same_at_rest(regressor: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Other weights that give the same joints of the unposed body, whatever its shape."""
    full = _open_body()
    ones = np.ones((len(full["v_template"]), 1))
    shapes = full["shapedirs"].reshape(len(ones), -1)
    values = np.concatenate([ones, full["v_template"], shapes], 1).T
    return np.linalg.lstsq(values[:, source], values @ regressor.T, rcond=None)[0].T


def _nearest(regressor: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Means of the four vertices nearest to each point at rest."""
    template = _open_body()["v_template"]
    distance = np.linalg.norm((regressor @ template)[:, None] - template[source], axis=-1)
    rows = np.zeros(distance.shape)
    np.put_along_axis(rows, distance.argsort(1)[:, :4], 0.25, 1)
    return rows


def write_threedpw(
    root: Path,
    body_by_gender: Bodies,
    *,
    split: str = "test",
    sequences: Mapping[str, str] = THREEDPW,
    frames: int = 40,
    images: bool = True,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """One split of 3DPW with at least 16 frames; returns what each file holds.

    For person p: no 2D joints in frames 0, 1, 5 + p and the last; only six body joints confident
    in 7 + p; camera pose invalid in 3 and 10 + p.
    """
    labels = root / "sequenceFiles" / split
    labels.mkdir(parents=True, exist_ok=True)
    written = {}
    for number, (name, genders) in enumerate(sequences.items()):
        random = np.random.default_rng((seed, number))
        bodies = [body_by_gender[{"m": "male", "f": "female"}[gender]] for gender in genders]
        written[name] = _threedpw_labels(random, name, genders, bodies, frames)
        write_python2(written[name], labels / f"{name}.pkl")
        if images:
            _write_images(root / "imageFiles" / name / "image_{:05d}.jpg", frames, 108, 192)
    return written


def _threedpw_labels(
    random: Generator, name: str, genders: str, bodies: list[BodyModel], frames: int
) -> dict[str, Any]:
    samples = 2 * frames + 3
    rows = 1 + 2 * np.arange(frames)
    rows[frames // 2 :] += 1  # cameras and sensors drift apart
    people = range(len(bodies))
    poses = [_poses(random, samples, 60) for _ in people]
    trans = [
        _waves(random, samples, 3, 0.1, 60) + np.array([p - 0.5 * (len(bodies) - 1), 0, 0])
        for p in people
    ]
    betas = [random.normal(size=10) / 2 for _ in people]
    smpl = [_smpl(poses[p][rows], betas[p], trans[p][rows]) for p in people]
    matrices = _following_camera(random, np.mean(trans, 0)[rows], 30)
    intrinsics = np.array([[196.9, 0, 54], [0, 196.9, 96], [0, 0, 1.0]])
    detections = [
        _detections(random, _project(_openpose(body, people_smpl), matrices, intrinsics), person)
        for person, (body, people_smpl) in enumerate(zip(bodies, smpl, strict=True))
    ]
    camera_valid = np.ones((len(bodies), frames))
    for person in people:
        camera_valid[person, [3, 10 + person]] = 0
    return {
        "sequence": name,
        "genders": list(genders),
        "betas": betas,
        "betas_clothed": [shape + 0.1 for shape in betas],
        "v_template_clothed": [body.v_template.numpy() for body in bodies],
        "texture_maps": [random.integers(0, 255, (4, 4, 3)).astype(np.uint8) for _ in people],
        "poses": [array[rows] for array in poses],
        "trans": [array[rows] for array in trans],
        "poses_60Hz": poses,
        "trans_60Hz": trans,
        "img_frame_ids": rows,
        "poses2d": detections,
        "jointPositions": [
            body.joints(params).flatten(1).numpy()
            for body, params in zip(bodies, smpl, strict=True)
        ],
        "cam_poses": matrices,
        "campose_valid": list(camera_valid),
        "cam_intrinsics": intrinsics,
    }


def _openpose(body: BodyModel, smpl: SmplParams) -> np.ndarray:
    points = body.regress(smpl, body.point_regressor(body.regressors["coco_feet"])).numpy()
    shoulders = points[:, COCO23.indices("left_shoulder", "right_shoulder")]
    joints = [name if name != "neck" else "nose" for name in OPENPOSE18.joints]
    points = points[:, COCO23.indices(*joints)]
    points[:, OPENPOSE18.index("neck")] = shoulders.mean(1)
    return points


def _detections(random: Generator, pixels: np.ndarray, person: int) -> np.ndarray:
    """T x 3 x 18."""
    noisy = pixels + random.normal(size=pixels.shape) / 3
    confidence = random.uniform(0.4, 0.95, (*pixels.shape[:2], 1))
    body_joints_but_six = slice(2, 8)
    confidence[7 + person, body_joints_but_six] = 0.2
    found = np.concatenate([noisy, confidence], -1)
    found[[0, 1, 5 + person, -1]] = 0
    return found.swapaxes(1, 2)


def write_emdb(
    root: Path,
    body_by_gender: Bodies,
    *,
    sequences: Mapping[str, tuple[str, bool, bool]] = EMDB,
    frames: int = 40,
    images: bool = True,
    seed: int = 0,
) -> dict[str, dict[str, Any]]:
    """EMDB with at least 12 frames; returns what each file holds.

    Frames 6 to 8 and the last are masked; their boxes and the empty one of frame 10 are invalid.
    """
    written = {}
    for number, (name, (gender, *subsets)) in enumerate(sequences.items()):
        random = np.random.default_rng((seed, number))
        folder = root / name.split("_")[0] / name.split("_", 1)[1]
        folder.mkdir(parents=True, exist_ok=True)
        labels = _emdb_labels(random, body_by_gender[gender], frames)
        labels |= {"name": name, "gender": gender, "emdb1": subsets[0], "emdb2": subsets[1]}
        (folder / f"{name}_data.pkl").write_bytes(pickle.dumps(labels, 4))
        (folder / f"{name}_video.mp4").write_bytes(b"")
        if images:
            _write_images(folder / "images" / "{:05d}.jpg", frames, 108, 144)
        written[name] = labels
    return written


def _emdb_labels(random: Generator, body: BodyModel, frames: int) -> dict[str, Any]:
    poses = _poses(random, frames, 30).astype(np.float32)
    walked = 1.2 / 30 * np.arange(frames)[:, None] * [0.8, 0, 0.6]
    trans = (_waves(random, frames, 3, 0.1, 30) + walked).astype(np.float32)
    betas = (random.normal(size=10) / 2).astype(np.float32)
    smpl = _smpl(poses.astype(float), betas.astype(float), trans.astype(float))
    matrices = _following_camera(random, trans, 30)
    intrinsics = np.array([[110.0, 0, 53.5], [0, 110.0, 72.25], [0, 0, 1]])
    pixels = _project(body.joints(smpl).numpy(), matrices, intrinsics)
    good = np.ones(frames, bool)
    good[[6, 7, 8, -1]] = False
    boxes = np.concatenate([pixels.min(1) - 5, pixels.max(1) + 5], 1)
    boxes[10] = 0
    return {
        "n_frames": frames,
        "good_frames_mask": good,
        "smpl": {
            "poses_root": poses[:, :3],
            "poses_body": poses[:, 3:],
            "trans": trans,
            "betas": betas,
        },
        "camera": {"intrinsics": intrinsics, "extrinsics": matrices, "width": 108, "height": 144},
        "kp2d": pixels,
        "bboxes": {"bboxes": boxes, "invalid_idxs": np.array([6, 7, 8, 10, frames - 1])},
    }


def _waves(
    random: Generator, samples: int, channels: int, amplitude: float, rate: float
) -> np.ndarray:
    """samples x channels; three slow sinusoids each."""
    times = np.arange(samples)[:, None, None] / rate
    frequency = random.uniform(0.1, 0.8, (3, channels))
    phase = random.uniform(0, 2 * np.pi, (3, channels))
    return amplitude * np.sin(2 * np.pi * frequency * times + phase).sum(1)


def _poses(random: Generator, samples: int, rate: float) -> np.ndarray:
    """Arms hang down somewhat; everything sways."""
    poses = _waves(random, samples, 72, 0.1, rate)
    poses[:, [3 * 16 + 2, 3 * 17 + 2]] += [-0.9, 0.9]
    return poses


def _smpl(poses: np.ndarray, betas: np.ndarray, trans: np.ndarray) -> SmplParams:
    shape = torch.from_numpy(betas).expand(len(poses), -1)
    return SmplParams.from_poses(torch.from_numpy(poses), shape, torch.from_numpy(trans))


def _following_camera(random: Generator, target: np.ndarray, rate: float) -> np.ndarray:
    """World to camera, T x 4 x 4: swaying four metres off along the world's z, level or nearly."""
    sway = _waves(random, len(target), 3, 0.1, rate)
    position = target + np.array([0.4, 0.1, 4.0]) + sway
    aim = target + np.array([0, -0.2, 0]) + _waves(random, len(target), 3, 0.03, rate)
    forward = aim - position
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, [0, 1, 0])
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    matrices = np.tile(np.eye(4), (len(target), 1, 1))
    matrices[:, :3, :3] = np.stack([right, np.cross(forward, right), forward], 1)
    matrices[:, :3, 3] = -(matrices[:, :3, :3] @ position[..., None])[..., 0]
    return matrices


def _project(points: np.ndarray, matrices: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    seen = points @ matrices[:, :3, :3].swapaxes(1, 2) + matrices[:, None, :3, 3]
    homogeneous = seen @ intrinsics.T
    return homogeneous[..., :2] / homogeneous[..., 2:]


def _write_images(pattern: Path, frames: int, width: int, height: int) -> None:
    pattern.parent.mkdir(parents=True, exist_ok=True)
    encoded = cv2.imencode(".jpg", np.full((height, width, 3), 90, np.uint8))[1].tobytes()
    for frame in range(frames):
        Path(str(pattern).format(frame)).write_bytes(encoded)
