"""MPII's people, from both forms of its labels, whole and broken."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_trees import mpii_person, points, write_json, write_mpii_matlab, write_picture

from temporal_hmr.data.annotations import OCCLUDED
from temporal_hmr.data.mpii import read_mpii
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23

ORDER = [
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("pelvis", "thorax", "upper_neck", "head_top", "right_wrist", "right_elbow"),
    *("right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
]
LIMBS = [joint for joint in ORDER if joint in COCO23.joints]


def write(folder: Path, people: list[dict[str, Any]], part: str = "train") -> None:
    write_json(folder / "annot" / f"{part}.json", people)
    for person in people:
        write_picture(folder / "images" / person["image"], 60, 40)


def matlab_joints(seed: int, visible: object = 1) -> list[tuple]:
    """In an order other than that of their numbers."""
    return [(n, *xy, visible) for n, xy in reversed(list(enumerate(points(16, seed))))]


def test_everything_comes_back_from_json(tmp_path: Path) -> None:
    people = [mpii_person("015601864.jpg", 1), mpii_person("015601864.jpg", 2)]
    write(tmp_path, people)
    sequences = read_mpii(tmp_path, "train")
    assert [s.name for s in sequences] == ["015601864_0", "015601864_1"]
    for sequence, person in zip(sequences, people, strict=True):
        assert sequence.dataset == "MPII" and sequence.trusted and len(sequence) == 1
        assert sequence.images == (tmp_path / "images" / "015601864.jpg",)
        assert sequence.image_size == (60, 40)
        # Height 0.15 * 200 pixels about the centre, which Matlab counts from 1.
        np.testing.assert_allclose(sequence.boxes, [[14, 5, 44, 35]])
        for joint in COCO23.joints:
            found = sequence.keypoints[0, COCO23.index(joint)]
            if joint in LIMBS and joint != "right_ankle":
                x, y = person["joints"][ORDER.index(joint)]
                np.testing.assert_allclose(found, [x - 1, y - 1, 1], err_msg=joint)
            else:
                np.testing.assert_array_equal(found, [0, 0, 0], err_msg=joint)


def test_the_first_pixel_is_number_one(tmp_path: Path) -> None:
    """A joint in the middle of the top left pixel, in both forms."""
    write(tmp_path, [mpii_person("000000001.jpg", 1, joints=[[1, 1]] * 16)])
    (sequence,) = read_mpii(tmp_path, "train")
    np.testing.assert_array_equal(sequence.keypoints[0, COCO23.index("left_hip")], [0, 0, 1])
    (tmp_path / "annot" / "train.json").unlink()
    joints = [(n, 1, 1, 1) for n in range(16)]
    write_mpii_matlab(tmp_path, [{"name": "000000001.jpg", "train": 1, "people": [joints]}])
    (sequence,) = read_mpii(tmp_path, "train")
    np.testing.assert_array_equal(sequence.keypoints[0, COCO23.index("left_hip")], [0, 0, 1])


def test_everything_comes_back_from_matlab(tmp_path: Path) -> None:
    images = [
        {"name": "000000003.jpg", "train": 0, "people": [matlab_joints(0)]},
        {"name": "000000004.jpg", "train": 1, "people": [None, matlab_joints(1), None]},
        {"name": "000000005.jpg", "train": 1, "people": [matlab_joints(2, "0")]},
        {"name": "000000006.jpg", "train": 1, "people": [matlab_joints(3, np.zeros((0, 0)))]},
        {"name": "000000007.jpg", "train": 1, "people": [matlab_joints(4)[:5]]},
        {"name": "000000008.jpg", "train": 1, "people": []},
    ]
    write_mpii_matlab(tmp_path, images)
    sequences = read_mpii(tmp_path, "train")
    names = [sequence.name for sequence in sequences]
    assert names == ["000000004_1", "000000005_0", "000000006_0"]
    for sequence, seed, confidence in zip(sequences, (1, 2, 3), (1, OCCLUDED, 1), strict=True):
        assert sequence.images == (tmp_path / "images" / f"{sequence.name[:9]}.jpg",)
        np.testing.assert_allclose(sequence.boxes, [[14, 5, 44, 35]])
        for joint in LIMBS:
            x, y = points(16, seed)[ORDER.index(joint)]
            found = sequence.keypoints[0, COCO23.index(joint)]
            np.testing.assert_allclose(found, [x - 1, y - 1, confidence], err_msg=joint)
    with pytest.raises(InputError, match="labels only 'train', not 'valid'"):
        read_mpii(tmp_path, "valid")


def test_a_person_without_centre_has_no_box(tmp_path: Path) -> None:
    write(tmp_path, [mpii_person("000000001.jpg", 1, center=[-1.0, -1.0])], "valid")
    (sequence,) = read_mpii(tmp_path, "valid")
    assert np.isnan(sequence.boxes).all()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("joints", [[1, 2]] * 15, r"'joints' has the shape \(15, 2\), not \(16, 2\)"),
        ("joints_vis", None, "'joints_vis' is missing"),
        ("center", [[1, 2], 3], "'center' holds no numbers"),
        ("scale", "big", "'scale' holds no numbers"),
    ],
)
def test_broken_people(tmp_path: Path, key: str, value: object, message: str) -> None:
    good, bad = mpii_person("000000001.jpg", 1), mpii_person("000000002.jpg", 2)
    write(tmp_path, [good, bad | {key: value}])
    with pytest.raises(InputError, match=f"train.json: person 1 {message}"):
        read_mpii(tmp_path, "train")
    (sequence,) = read_mpii(tmp_path, "train", skip_broken=True)
    assert sequence.name == "000000001_0"


def test_broken_trees(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has neither train.json nor mpii_human_pose"):
        read_mpii(tmp_path, "train")
    write(tmp_path, [mpii_person("000000001.jpg", 1), mpii_person("000000002.jpg", 2)])
    (tmp_path / "images" / "000000001.jpg").unlink()
    with pytest.raises(InputError, match=r"1 images are missing, first .*000000001.jpg"):
        read_mpii(tmp_path, "train")
    (tmp_path / "images" / "000000001.jpg").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"000000001.jpg cannot be read as an image"):
        read_mpii(tmp_path, "train")
    (tmp_path / "annot" / "train.json").unlink()
    matlab = tmp_path / "mpii_human_pose_v1_u12_1.mat"
    matlab.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(InputError, match=r"u12_1.mat is damaged|'RELEASE' is missing"):
        read_mpii(tmp_path, "train")


def test_joints_of_unknown_numbers_are_refused(tmp_path: Path) -> None:
    joints = [(16, 3, 4, 1), *matlab_joints(1)]
    write_mpii_matlab(tmp_path, [{"name": "000000001.jpg", "train": 1, "people": [joints] * 2}])
    with pytest.raises(InputError, match="annolist 0 annorect 0 point 0 'id' is 16"):
        read_mpii(tmp_path, "train")
