"""PoseTrack's tracks, whole, with gaps, and broken."""

import logging
from pathlib import Path

import numpy as np
import pytest
from picture_trees import POSETRACK_NAMES, posetrack_labels, write_json, write_posetrack

from temporal_hmr.data.posetrack import LARGEST_GAP, read_posetrack
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23


def test_everything_comes_back(tmp_path: Path) -> None:
    labels = posetrack_labels({3: [40, 41, 42], 1: [41, 42]})
    labels["annotations"].reverse()
    write_posetrack(tmp_path, labels)
    first, second = read_posetrack(tmp_path, "train")
    assert (first.name, second.name) == ("000001_x_1_000041", "000001_x_3_000040")
    folder = tmp_path / "images" / "train" / "000001_x"
    assert second.images == tuple(folder / f"{n:06d}.jpg" for n in (40, 41, 42))
    assert second.image_size == (60, 40) and second.dataset == "PoseTrack"
    np.testing.assert_allclose(second.times, np.array([40, 41, 42]) / 30)
    np.testing.assert_array_equal(second.boxes, [[2, 3, 42, 33]] * 3)
    by_frame = {p["image_id"] % 100: p for p in labels["annotations"] if p["track_id"] == 3}
    for row, frame in enumerate((40, 41, 42)):
        stated = np.reshape(by_frame[frame]["keypoints"], (17, 3))
        for joint in COCO23.joints:
            known = joint in POSETRACK_NAMES and not joint.endswith("_ear")
            expected = stated[POSETRACK_NAMES.index(joint)] if known else np.zeros(3)
            found = second.keypoints[row, COCO23.index(joint)]
            np.testing.assert_array_equal(found, expected, err_msg=joint)


def test_every_fourth_frame_is_one_sequence_and_longer_gaps_split(tmp_path: Path) -> None:
    assert LARGEST_GAP == 4
    write_posetrack(tmp_path, posetrack_labels({0: [0, 4, 8, 9, 14, 15]}))
    sequences = read_posetrack(tmp_path, "train")
    assert [s.name for s in sequences] == ["000001_x_0_000000", "000001_x_0_000014"]
    assert [len(s) for s in sequences] == [4, 2]
    np.testing.assert_allclose(np.diff(sequences[0].times) * 30, [4, 4, 1])


def test_frames_without_labelled_joints_are_none(tmp_path: Path) -> None:
    labels = posetrack_labels({0: list(range(8))})
    for person in labels["annotations"][2:7]:
        person["keypoints"] = [0.0] * 51
    del labels["annotations"][0]["bbox"]
    labels["annotations"][1]["keypoints"] = []
    labels["annotations"][1].pop("keypoints")
    write_posetrack(tmp_path, labels)
    first, second = read_posetrack(tmp_path, "train")
    assert len(first) == len(second) == 1
    assert np.isnan(first.boxes).all() and np.isfinite(second.boxes).all()


def test_the_other_place_of_the_labels(tmp_path: Path) -> None:
    write_posetrack(tmp_path, posetrack_labels({0: [1]}))
    (tmp_path / "posetrack_data").mkdir()
    (tmp_path / "annotations").rename(tmp_path / "posetrack_data" / "annotations")
    assert len(read_posetrack(tmp_path, "train")) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("keypoints", [1.0] * 48, "annotation 1 'keypoints' has the shape"),
        ("keypoints", [5.0] * 51, "annotation 1 'keypoints' has a visibility"),
        ("track_id", None, "annotation 1 'track_id' is missing"),
        ("track_id", 0.5, "annotation 1 'track_id' is 0.5, not a whole number"),
        ("image_id", 4, "annotation 1 'image_id' names an image"),
        ("image_id", 10**10, "annotation 1 'track_id' has two people in frame 0"),
    ],
)
def test_broken_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, value: object, message: str
) -> None:
    write_posetrack(tmp_path, posetrack_labels({0: [0, 1]}, "000002_y"), "000002_y")
    labels = posetrack_labels({0: [0, 1]})
    labels["annotations"][1][key] = value
    write_posetrack(tmp_path, labels)
    with pytest.raises(InputError, match=f"000001_x.json: {message}"):
        read_posetrack(tmp_path, "train")
    with caplog.at_level(logging.WARNING):
        (sequence,) = read_posetrack(tmp_path, "train", skip_broken=True)
    assert sequence.name.startswith("000002_y") and "skipped" in caplog.text


def test_broken_trees(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"annotations/train holds no .json file"):
        read_posetrack(tmp_path, "train")
    labels = posetrack_labels({0: [0, 1]})
    write_posetrack(tmp_path, labels)
    (tmp_path / "images" / "train" / "000001_x" / "000001.jpg").unlink()
    with pytest.raises(InputError, match=r"1 images are missing, first .*000001_x/000001.jpg"):
        read_posetrack(tmp_path, "train")
    labels["categories"][0]["keypoints"] = POSETRACK_NAMES[::-1]
    write_posetrack(tmp_path, labels)
    with pytest.raises(InputError, match="category 0 'keypoints' are not PoseTrack 2018's"):
        read_posetrack(tmp_path, "train")
    labels = posetrack_labels({0: [0]})
    labels["images"][0]["file_name"] = "images/train/000001_x/first.jpg"
    write_posetrack(tmp_path, labels)
    with pytest.raises(InputError, match="'file_name' ends in 'first'"):
        read_posetrack(tmp_path, "train")
    write_json(tmp_path / "annotations" / "train" / "000001_x.json", posetrack_labels({}))
    with pytest.raises(InputError, match="have nobody with labelled joints"):
        read_posetrack(tmp_path, "train")
