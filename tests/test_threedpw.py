"""3DPW's files, whole and broken, and which of their frames are scored."""

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from body_files import write_python2
from dataset_trees import Bodies, write_threedpw

from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.threedpw import read_threedpw
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO17, OPENPOSE18

FRAMES = 18
Labels = dict[str, Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, bodies: Bodies) -> tuple[Path, dict]:
    """A tree, and what was written into it."""
    root = tmp_path_factory.mktemp("3DPW")
    return root, write_threedpw(root, bodies, frames=FRAMES)


@pytest.fixture
def pair(whole: tuple[Path, dict]) -> Labels:
    """Labels of two people, to be spoilt."""
    return copy.deepcopy(whole[1]["downtown_talk_00"])


@pytest.fixture
def single(whole: tuple[Path, dict]) -> Labels:
    return copy.deepcopy(whole[1]["courtyard_walk_01"])


def put(root: Path, labels: Labels, name: str, dump: Callable = write_python2) -> Path:
    path = root / "sequenceFiles" / "test" / f"{name}.pkl"
    path.parent.mkdir(parents=True, exist_ok=True)
    dump(labels, path)
    return path


def read_back(root: Path, labels: Labels, dump: Callable = write_python2) -> list[LabelledSequence]:
    put(root, labels, "video_00", dump)
    return read_threedpw(root, "test")


def renamed(labels: Labels) -> Labels:
    return labels | {"sequence": "video_00"}


def rodrigues(poses: np.ndarray) -> np.ndarray:
    """T x 72 to T x 24 x 3 x 3."""
    vectors = poses.reshape(-1, 3)
    return np.stack([cv2.Rodrigues(vector)[0] for vector in vectors]).reshape(-1, 24, 3, 3)


def test_everything_comes_back(whole: tuple[Path, dict]) -> None:
    root, written = whole
    sequences = read_threedpw(str(root), "test")
    names = ["courtyard_walk_01_0", "downtown_talk_00_0", "downtown_talk_00_1"]
    assert [sequence.name for sequence in sequences] == names
    assert [sequence.gender for sequence in sequences] == ["female", "male", "female"]
    for sequence in sequences:
        labels, actor = written[sequence.video], int(sequence.name[-1])
        assert sequence.name == f"{sequence.video}_{actor}"
        assert sequence.fps == 30 and len(sequence) == FRAMES
        smpl = sequence.smpl
        for tensor in (*vars(smpl).values(), sequence.rotation, sequence.translation):
            assert tensor.dtype == torch.float64 and len(tensor) == FRAMES
        rotations = rodrigues(labels["poses"][actor])
        np.testing.assert_allclose(smpl.rotations().numpy(), rotations, atol=1e-12)
        np.testing.assert_array_equal(smpl.transl.numpy(), labels["trans"][actor])
        np.testing.assert_array_equal(smpl.betas.numpy(), [labels["betas"][actor]] * FRAMES)
        np.testing.assert_array_equal(sequence.rotation.numpy(), labels["cam_poses"][:, :3, :3])
        np.testing.assert_array_equal(sequence.translation.numpy(), labels["cam_poses"][:, :3, 3])
        np.testing.assert_array_equal(sequence.camera.matrix().numpy(), labels["cam_intrinsics"])
        assert sequence.camera.focal.dtype == torch.float64
        assert (sequence.camera.width, sequence.camera.height) == (108, 192)
        assert sequence.skeleton == OPENPOSE18
        detected = labels["poses2d"][actor]
        for axis in range(3):
            np.testing.assert_array_equal(sequence.keypoints[..., axis], detected[:, axis])
        assert sequence.joints is not None
        for joint in range(24):
            stated = labels["jointPositions"][actor][:, 3 * joint : 3 * joint + 3]
            np.testing.assert_array_equal(sequence.joints[:, joint], stated)
        folder = root / "imageFiles" / sequence.video
        assert sequence.images[:2] == (folder / "image_00000.jpg", folder / "image_00001.jpg")
        assert len(sequence.images) == FRAMES and all(path.is_file() for path in sequence.images)


def test_the_image_rate_is_the_60_hz_rate_at_the_listed_rows(single: Labels) -> None:
    """Of the writer: rows are not simply every second one."""
    rows = single["img_frame_ids"]
    assert len(rows) == FRAMES and set(np.diff(rows)) == {2, 3}
    np.testing.assert_array_equal(single["poses"][0], single["poses_60Hz"][0][rows])


def test_camera_frame_carries_the_pelvis_term(whole: tuple[Path, dict], bodies: Bodies) -> None:
    """Joints of the moved parameters are the moved joints, exactly."""
    root, written = whole
    for sequence in read_threedpw(root, "test"):
        labels, actor = written[sequence.video], int(sequence.name[-1])
        body = bodies[sequence.gender]
        joints = body.joints(sequence.in_camera(body)).numpy()
        for frame in range(FRAMES):
            matrix = labels["cam_poses"][frame]
            for joint in range(24):
                point = labels["jointPositions"][actor][frame, 3 * joint : 3 * joint + 3]
                expected = (matrix @ [*point, 1])[:3]
                np.testing.assert_allclose(joints[frame, joint], expected, atol=1e-9)


def naive_visible(poses2d: np.ndarray) -> list[bool]:
    """Rule B word by word, of T x 3 x 18."""
    usable = []
    for x, y, confidence in poses2d:
        seen = [(x[j], y[j]) for j in range(18) if confidence[j] > 0.3]
        if not seen:
            usable.append(False)
            continue
        low, high = np.min(seen, 0), np.max(seen, 0)
        usable.append(bool(np.hypot(*(high - low)) >= 0.5))
    if not any(usable):
        return [False] * len(poses2d)
    first, last = usable.index(True), len(usable) - 1 - usable[::-1].index(True)
    counts = [sum(c > 0.3 for c in confidence[2:14]) for _, _, confidence in poses2d]
    return [first <= t <= last and counts[t] > 6 for t in range(len(poses2d))]


def test_frame_rules_on_the_honest_tree(whole: tuple[Path, dict]) -> None:
    """What the writer says it left out is left out."""
    for sequence in read_threedpw(whole[0], "test"):
        person = int(sequence.name[-1])
        undetected = {0, 1, 5 + person, FRAMES - 1}
        doubtful, lost = {7 + person}, {3, 10 + person}
        everything = set(range(FRAMES))
        scored = {rule: set(np.flatnonzero(mask)) for rule, mask in sequence.frame_rules.items()}
        assert scored == {
            "challenge": everything - undetected - lost,
            "visible": everything - undetected - doubtful,
            "visible_and_camera": everything - undetected - doubtful - lost,
            "all": everything,
        }
        video = whole[1][sequence.video]
        assert list(sequence.frame_rules["visible"]) == naive_visible(video["poses2d"][person])


def test_visible_by_construction(tmp_path: Path, single: Labels) -> None:
    """Seven of the twelve body joints, above 0.3, between the outermost usable boxes."""
    poses2d = np.zeros((FRAMES, 3, 18))
    poses2d[:, :2] = np.random.default_rng(0).uniform(10, 90, (FRAMES, 2, 18))
    body = np.arange(2, 14)
    poses2d[:, 2, [0, 1, 14, 15, 16, 17]] = 0.9
    poses2d[:, 2, body[:7]] = 0.31
    poses2d[4, 2, body[6]] = 0.3
    poses2d[5, 2, body[:6]] = 0.99
    poses2d[5, 2, body[6:]] = 0.3
    poses2d[6, 2, body] = 0.31
    for frame in (0, 1, 9, FRAMES - 1):  # all joints in one place make no box
        poses2d[frame, :2] = 50
    poses2d[FRAMES - 1, 0, 17] = 50.6
    (sequence,) = read_back(tmp_path, renamed(single) | {"poses2d": [poses2d]})
    visible = sequence.frame_rules["visible"]
    assert set(np.flatnonzero(~visible)) == {0, 1, 4, 5}
    assert list(visible) == naive_visible(poses2d)


def test_visible_on_random_detections(tmp_path: Path, single: Labels) -> None:
    random = np.random.default_rng(1)
    for _ in range(10):
        poses2d = random.uniform(0, 0.55, (FRAMES, 3, 18))
        poses2d[:, :2] *= random.uniform(0, 3, (FRAMES, 1, 1))
        (sequence,) = read_back(tmp_path, renamed(single) | {"poses2d": [poses2d]})
        assert list(sequence.frame_rules["visible"]) == naive_visible(poses2d)


def test_nobody_ever_detected(tmp_path: Path, single: Labels) -> None:
    single["poses2d"][0][:] = 0
    (sequence,) = read_back(tmp_path, renamed(single))
    assert {rule: mask.sum() for rule, mask in sequence.frame_rules.items()} == {
        "challenge": 0, "visible": 0, "visible_and_camera": 0, "all": FRAMES,
    }  # fmt: skip
    assert np.isnan(sequence.boxes).all()


def test_the_challenge_takes_doubtful_detections(tmp_path: Path, single: Labels) -> None:
    """A single number other than zero suffices, with a valid camera."""
    single["poses2d"][0][:] = 0
    single["poses2d"][0][[2, 3], 0, 4] = 17.0
    single["campose_valid"] = [np.arange(FRAMES) != 3]
    (sequence,) = read_back(tmp_path, renamed(single))
    assert list(np.flatnonzero(sequence.frame_rules["challenge"])) == [2]
    assert not sequence.keypoints.any(), "a joint without confidence is unknown"


def test_boxes(tmp_path: Path, single: Labels) -> None:
    poses2d = np.zeros((FRAMES, 3, 18))
    poses2d[:, :, :6] = [[[40, 60, 50, 50, 50, 50], [20, 120, 70, 70, 70, 70], [0.31] * 6]]
    poses2d[1, 2, 0] = 0.3
    poses2d[2, :, 6] = [500, 500, 0.3]
    (sequence,) = read_back(tmp_path, renamed(single) | {"poses2d": [poses2d]})
    expected = [30, 10, 70, 130]  # 20 x 100, with 10 more on every side
    np.testing.assert_allclose(sequence.boxes[0], expected)
    assert np.isnan(sequence.boxes[1]).all(), "five joints make no box"
    np.testing.assert_allclose(sequence.boxes[2], expected)


def with_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {with_bytes(key): with_bytes(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_bytes(item) for item in value]
    return value.encode() if isinstance(value, str) else value


def test_keys_and_texts_may_be_bytes(tmp_path: Path, pair: Labels) -> None:
    def dump(labels: Labels, path: Path) -> None:
        path.write_bytes(pickle.dumps(with_bytes(labels), 4))

    expected = read_back(tmp_path, renamed(pair))
    again = read_back(tmp_path, renamed(pair), dump)
    assert [sequence.gender for sequence in again] == ["male", "female"]
    for first, second in zip(expected, again, strict=True):
        np.testing.assert_array_equal(first.keypoints, second.keypoints)
        assert torch.equal(first.smpl.transl, second.smpl.transl)


@pytest.mark.parametrize("shape", [(1, 10), (300,), (1, 16)])
def test_betas_of_other_shapes(tmp_path: Path, pair: Labels, shape: tuple[int, ...]) -> None:
    betas = np.arange(np.prod(shape)).reshape(shape) / 10
    sequences = read_back(tmp_path, renamed(pair) | {"betas": [betas, betas.astype("f4")]})
    for sequence in sequences:
        np.testing.assert_allclose(sequence.smpl.betas.numpy(), [np.arange(10) / 10] * FRAMES)


def test_variants_of_keys(tmp_path: Path, pair: Labels) -> None:
    """`gender` for `genders`, no rows at 60 Hz, validity in any type of number."""
    expected = read_back(tmp_path, renamed(pair))
    pair["gender"] = pair.pop("genders")
    del pair["img_frame_ids"], pair["sequence"], pair["poses_60Hz"], pair["texture_maps"]
    pair["campose_valid"] = [
        pair["campose_valid"][0].astype(bool),
        pair["campose_valid"][1].astype(np.int32),
    ]
    again = read_back(tmp_path, pair)
    assert [sequence.gender for sequence in again] == ["male", "female"]
    for first, second in zip(expected, again, strict=True):
        for rule, mask in first.frame_rules.items():
            np.testing.assert_array_equal(second.frame_rules[rule], mask)


def test_image_size_without_images_and_with_others(tmp_path: Path, single: Labels) -> None:
    single["cam_intrinsics"][:2, 2] = [53.8, 96.1]
    (sequence,) = read_back(tmp_path, renamed(single))
    assert (sequence.camera.width, sequence.camera.height) == (108, 192)
    assert not sequence.images[0].exists() and len(sequence.images) == FRAMES
    sequence.images[5].parent.mkdir(parents=True)
    cv2.imwrite(str(sequence.images[5]), np.zeros((200, 110, 3), np.uint8))
    (sequence,) = read_threedpw(tmp_path, "test")
    assert (sequence.camera.width, sequence.camera.height) == (110, 200)
    sequence.images[5].write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"'images' tell no size: .*image_00005\.jpg cannot be"):
        read_threedpw(tmp_path, "test")


def test_splits_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="sequenceFiles is not a folder: give the folder of 3DPW"):
        read_threedpw(tmp_path, "test")
    for split in ("train", "validation"):
        (tmp_path / "sequenceFiles" / split).mkdir(parents=True)
    with pytest.raises(InputError, match="no split 'val': did you mean train or validation"):
        read_threedpw(tmp_path, "val")
    with pytest.raises(InputError, match=r"validation holds no \.pkl file"):
        read_threedpw(tmp_path, "validation")


def test_the_joints_of_openpose_are_those_of_coco_and_a_neck() -> None:
    assert set(OPENPOSE18.joints) == {*COCO17.joints, "neck"} and len(OPENPOSE18) == 18
    assert OPENPOSE18.indices("neck", "right_wrist", "left_shoulder", "left_ankle") == [1, 4, 5, 13]
    flipped = OPENPOSE18.flip_permutation()
    assert flipped[14:] == [15, 14, 17, 16]
    assert {joint for bone in OPENPOSE18.bones for joint in bone} == set(OPENPOSE18.joints)
    assert len(OPENPOSE18.bones) == 17
