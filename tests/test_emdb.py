"""EMDB's files, whole and broken."""

import copy
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from dataset_trees import EMDB, Bodies, write_emdb

from temporal_hmr.data.emdb import read_emdb
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24

FRAMES = 16
Labels = dict[str, Any]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, bodies: Bodies) -> tuple[Path, dict]:
    """A tree, and what was written into it."""
    root = tmp_path_factory.mktemp("EMDB")
    return root, write_emdb(root, bodies, frames=FRAMES)


@pytest.fixture
def labels(whole: tuple[Path, dict]) -> Labels:
    """Labels of one video, to be spoilt."""
    return copy.deepcopy(whole[1]["P1_14_outdoor_climb"])


def put(root: Path, labels: Labels, name: str = "P1_14_outdoor_climb") -> Path:
    folder = root / name[:2] / name[3:]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}_data.pkl"
    path.write_bytes(pickle.dumps(labels, 4))
    return path


def read_back(root: Path, labels: Labels) -> LabelledSequence:
    put(root, labels)
    (sequence,) = read_emdb(root)
    return sequence


def test_everything_comes_back(whole: tuple[Path, dict]) -> None:
    root, written = whole
    sequences = read_emdb(str(root), None)
    assert [sequence.name for sequence in sequences] == sorted(EMDB)
    for sequence in sequences:
        labels = written[sequence.name]
        assert sequence.video == sequence.name and sequence.gender == labels["gender"]
        assert sequence.fps == 30 and len(sequence) == FRAMES
        assert sequence.joints is None
        for tensor in (*vars(sequence.smpl).values(), sequence.rotation, sequence.translation):
            assert tensor.dtype == torch.float64 and len(tensor) == FRAMES
        for frame in range(FRAMES):
            smpl, extrinsics = labels["smpl"], labels["camera"]["extrinsics"][frame]
            root_pose = cv2.Rodrigues(smpl["poses_root"][frame].astype(float))[0]
            np.testing.assert_allclose(sequence.smpl.global_orient[frame], root_pose, atol=1e-12)
            for joint in range(23):
                vector = smpl["poses_body"][frame, 3 * joint : 3 * joint + 3].astype(float)
                pose = cv2.Rodrigues(vector)[0]
                np.testing.assert_allclose(sequence.smpl.body_pose[frame, joint], pose, atol=1e-12)
            np.testing.assert_array_equal(sequence.smpl.transl[frame], smpl["trans"][frame])
            np.testing.assert_array_equal(sequence.smpl.betas[frame], smpl["betas"])
            np.testing.assert_array_equal(sequence.rotation[frame], extrinsics[:3, :3])
            np.testing.assert_array_equal(sequence.translation[frame], extrinsics[:3, 3])
        np.testing.assert_array_equal(sequence.camera.matrix(), labels["camera"]["intrinsics"])
        assert (sequence.camera.width, sequence.camera.height) == (108, 144)
        assert sequence.camera.focal.dtype == torch.float64
        assert sequence.skeleton == SMPL24
        np.testing.assert_array_equal(sequence.keypoints[..., :2], labels["kp2d"])
        np.testing.assert_array_equal(sequence.keypoints[..., 2], 1)
        images = [root / sequence.name[:2] / sequence.name[3:] / "images" / f"{frame:05d}.jpg"
                  for frame in range(FRAMES)]  # fmt: skip
        assert list(sequence.images) == images and all(path.is_file() for path in images)


def test_subsets_are_what_the_flags_say(whole: tuple[Path, dict]) -> None:
    first, second = ([s.name for s in read_emdb(whole[0], subset)] for subset in (1, 2))
    assert first == ["P1_14_outdoor_climb", "P5_42_indoor_dancing", "P6_49_outdoor_big_stairs_down"]
    assert second == ["P0_09_outdoor_walk", "P6_49_outdoor_big_stairs_down"]


def test_a_subset_is_read_past_broken_files_of_the_other(
    tmp_path: Path, whole: tuple[Path, dict], labels: Labels
) -> None:
    put(tmp_path, labels)
    other = copy.deepcopy(whole[1]["P0_09_outdoor_walk"])
    del other["kp2d"]
    put(tmp_path, other, "P0_09_outdoor_walk")
    assert [s.name for s in read_emdb(tmp_path, 1)] == ["P1_14_outdoor_climb"]
    with pytest.raises(InputError, match="'kp2d' is missing"):
        read_emdb(tmp_path, 2)
    del other["emdb1"]
    put(tmp_path, other, "P0_09_outdoor_walk")
    with pytest.raises(InputError, match=r"'emdb1' is missing\n.*'kp2d' is missing"):
        read_emdb(tmp_path, 1)


def test_masks_and_boxes(whole: tuple[Path, dict], tmp_path: Path, labels: Labels) -> None:
    masked, invalid = {6, 7, 8, FRAMES - 1}, {6, 7, 8, 10, FRAMES - 1}
    for sequence in read_emdb(whole[0]):
        good, everything = sequence.frame_rules["good"], sequence.frame_rules["all"]
        assert set(np.flatnonzero(~good)) == masked and everything.all()
        assert set(np.flatnonzero(np.isnan(sequence.boxes).any(1))) == invalid
        stated = whole[1][sequence.name]["bboxes"]["bboxes"]
        for frame in set(range(FRAMES)) - invalid:
            np.testing.assert_array_equal(sequence.boxes[frame], stated[frame])
    labels["bboxes"]["invalid_idxs"] = np.zeros(0)
    labels["bboxes"]["bboxes"] = labels["bboxes"]["bboxes"].astype(np.float32)
    sequence = read_back(tmp_path, labels)
    assert set(np.flatnonzero(np.isnan(sequence.boxes).any(1))) == {10}, "it has no area"


def test_what_is_invalid_may_hold_anything(tmp_path: Path, labels: Labels) -> None:
    """Boxes at invalid frames, and projections of a person out of view."""
    labels["bboxes"]["bboxes"][[6, 10]] = np.nan
    labels["kp2d"][7, 3] = np.inf
    sequence = read_back(tmp_path, labels)
    np.testing.assert_array_equal(sequence.keypoints[7, 3], [0, 0, 0])
    assert (sequence.keypoints[..., 2] == 0).sum() == 1
    labels["kp2d"][5, 3] = np.inf
    labels["bboxes"]["bboxes"][4] = np.nan
    with pytest.raises(InputError) as caught:
        read_back(tmp_path, labels)
    _, *lines = str(caught.value).split("\n")
    assert [line.split(": ")[1] for line in lines] == [
        "'bboxes.bboxes' is not finite in frame 4",
        "'kp2d' is not finite in frame 5",
    ]


def test_camera_frame_is_what_was_projected(whole: tuple[Path, dict], bodies: Bodies) -> None:
    """The pelvis term is right: SMPL in the camera frame gives the file's pixels."""
    for sequence in read_emdb(whole[0]):
        body = bodies[sequence.gender]
        joints = body.joints(sequence.in_camera(body)).numpy()
        homogeneous = joints @ whole[1][sequence.name]["camera"]["intrinsics"].T
        pixels = homogeneous[..., :2] / homogeneous[..., 2:]
        np.testing.assert_allclose(pixels, whole[1][sequence.name]["kp2d"], atol=1e-9)


def test_trees_that_are_not_emdb(tmp_path: Path, labels: Labels) -> None:
    with pytest.raises(InputError, match="has no folders P0 to P9: give the folder of EMDB"):
        read_emdb(tmp_path)
    with pytest.raises(InputError, match="has no folders P0 to P9"):
        read_emdb(tmp_path / "nowhere")
    (tmp_path / "P3").mkdir()
    with pytest.raises(InputError, match=r"the folders P0 to P9 of .* hold no videos"):
        read_emdb(tmp_path)
    put(tmp_path, labels)
    with pytest.raises(InputError, match=r"none of the 1 videos below .* belongs to EMDB 2"):
        read_emdb(tmp_path, 2)
    with pytest.raises(InputError, match="EMDB has no subset 3: give 1, 2"):
        read_emdb(tmp_path, 3)  # type: ignore[arg-type]


def test_folders_that_are_no_videos_are_passed_over(tmp_path: Path, labels: Labels) -> None:
    path = put(tmp_path, labels)
    (tmp_path / "P1" / "__MACOSX" / "14_outdoor_climb").mkdir(parents=True)
    (tmp_path / "P1" / "results").mkdir()
    assert [s.name for s in read_emdb(tmp_path)] == ["P1_14_outdoor_climb"]
    for lost in ("P1/15_outdoor_walk", "P1/renamed/images"):
        (tmp_path / lost).mkdir(parents=True)
    with pytest.raises(InputError) as caught:
        read_emdb(tmp_path)
    assert "P1_15_outdoor_walk_data.pkl" in str(caught.value)
    assert "P1_renamed_data.pkl" in str(caught.value)
    assert path.name not in str(caught.value)
