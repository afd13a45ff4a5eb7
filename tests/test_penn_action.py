"""Penn Action's videos, whole and broken."""

import logging
from pathlib import Path

import numpy as np
import pytest
from picture_trees import penn_labels, write_penn

from temporal_hmr.data.penn_action import read_penn_action
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23

ORDER = [
    *("head", "right_shoulder", "left_shoulder", "right_elbow", "left_elbow"),
    *("right_wrist", "left_wrist", "right_hip", "left_hip"),
    *("right_knee", "left_knee", "right_ankle", "left_ankle"),
]


def test_everything_comes_back(tmp_path: Path) -> None:
    visible = np.ones((3, 13))
    visible[1, ORDER.index("left_knee")] = 0
    labels = penn_labels(3, visibility=visible)
    write_penn(tmp_path, "0758", labels)
    write_penn(tmp_path, "0002", penn_labels(2, 5, train=-1))
    (sequence,) = read_penn_action(tmp_path, "train")
    assert sequence.name == "0758" and sequence.dataset == "Penn Action" and len(sequence) == 3
    assert sequence.image_size == (60, 40), "heights come first in the file"
    assert sequence.images[0] == tmp_path / "frames" / "0758" / "000001.jpg"
    np.testing.assert_allclose(np.diff(sequence.times), 1 / 30)
    np.testing.assert_array_equal(sequence.boxes, [[2, 3, 49, 37]] * 3)
    for frame in range(3):
        for joint in COCO23.joints:
            found = sequence.keypoints[frame, COCO23.index(joint)]
            number = ORDER.index(joint) if joint in ORDER else None
            if number is not None and visible[frame, number]:
                place = labels["x"][frame, number], labels["y"][frame, number]
                np.testing.assert_allclose(found, [place[0] - 1, place[1] - 1, 1], err_msg=joint)
            else:
                np.testing.assert_array_equal(found, [0, 0, 0], err_msg=joint)
    assert [s.name for s in read_penn_action(tmp_path, "test")] == ["0002"]


def test_the_first_pixel_is_number_one(tmp_path: Path) -> None:
    write_penn(tmp_path, "0001", penn_labels(2, x=np.ones((2, 13)), y=np.full((2, 13), 2.0)))
    (sequence,) = read_penn_action(tmp_path, "train")
    np.testing.assert_array_equal(sequence.keypoints[0, COCO23.index("left_hip")], [0, 1, 1])


def test_boxes_may_be_too_few_or_too_many(tmp_path: Path) -> None:
    for name, rows in (("0001", 2), ("0002", 4)):
        labels = penn_labels(3, bbox=np.tile([3.0, 4.0, 50.0, 38.0], (rows, 1)))
        write_penn(tmp_path, name, labels)
    short, long = read_penn_action(tmp_path, "train")
    assert np.isnan(short.boxes).any(1).tolist() == [False, False, True]
    assert len(long.boxes) == 3 and np.isfinite(long.boxes).all()


def test_a_single_frame(tmp_path: Path) -> None:
    write_penn(tmp_path, "0001", penn_labels(1))
    (sequence,) = read_penn_action(tmp_path, "train")
    assert len(sequence) == 1


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("y", np.ones((2, 13)), "'y' has 2 frames, 'x' has 3"),
        ("visibility", np.ones((3, 12)), r"'visibility' has the shape \(3, 12\)"),
        ("x", np.full((3, 13), np.nan), "'x' has entries that are not finite"),
        ("dimensions", np.array([[40, 60, 9]]), "'dimensions' speaks of 9 frames"),
        ("train", 0, "'train' is neither 1 nor -1"),
        ("bbox", np.ones((3, 3)), "'bbox' has the shape"),
    ],
)
def test_broken_labels(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, value: object, message: str
) -> None:
    write_penn(tmp_path, "0001", penn_labels(3))
    write_penn(tmp_path, "0002", penn_labels(3, **{key: value}))
    with pytest.raises(InputError, match=f"0002.mat: {message}"):
        read_penn_action(tmp_path, "train")
    with caplog.at_level(logging.WARNING):
        (sequence,) = read_penn_action(tmp_path, "train", skip_broken=True)
    assert sequence.name == "0001" and "skipped" in caplog.text


def test_broken_trees(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no .mat file"):
        read_penn_action(tmp_path, "train")
    with pytest.raises(InputError, match="has no part 'val'"):
        read_penn_action(tmp_path, "val")
    write_penn(tmp_path, "0001", penn_labels(3))
    with pytest.raises(InputError, match="belongs to 'test'"):
        read_penn_action(tmp_path, "test")
    (tmp_path / "frames" / "0001" / "000003.jpg").unlink()
    with pytest.raises(InputError, match=r"1 images are missing, first .*0001/000003.jpg"):
        read_penn_action(tmp_path, "train")
    labels = tmp_path / "labels" / "0001.mat"
    labels.write_bytes(labels.read_bytes()[:150])
    with pytest.raises(InputError, match=r"0001.mat is damaged|missing"):
        read_penn_action(tmp_path, "train")
    labels.write_bytes(b"")
    with pytest.raises(InputError, match=r"0001.mat is damaged"):
        read_penn_action(tmp_path, "train")
