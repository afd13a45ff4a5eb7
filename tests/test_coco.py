"""COCO's people, whole and broken; and what all readers of pictures do about broken entries."""

import copy
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from picture_trees import COCO_NAMES, coco_labels, coco_person, write_coco, write_json

from temporal_hmr.data.annotations import OCCLUDED
from temporal_hmr.data.coco import read_coco
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23

FEET = (
    *("left_big_toe", "left_small_toe", "left_heel"),
    *("right_big_toe", "right_small_toe", "right_heel"),
)


def two_people() -> dict[str, Any]:
    return coco_labels([coco_person(17, 139), coco_person(440475, 285)])


def test_everything_comes_back(tmp_path: Path) -> None:
    labels = two_people()
    write_coco(tmp_path, labels)
    sequences = read_coco(tmp_path, "train2017")
    assert [s.name for s in sequences] == ["000000000139_17", "000000000285_440475"]
    for sequence, person in zip(sequences, labels["annotations"], strict=True):
        assert len(sequence) == 1 and sequence.dataset == "COCO" and sequence.trusted
        assert sequence.images == (tmp_path / "train2017" / f"{person['image_id']:012d}.jpg",)
        assert sequence.image_size == (60, 40)
        assert sequence.focal is None and sequence.smpl is None and not sequence.has_joints.any()
        np.testing.assert_array_equal(sequence.boxes, [[5.5, 6.0, 25.75, 36.0]])
        stated = np.reshape(person["keypoints"], (17, 3))
        for joint, (x, y, visible) in zip(COCO_NAMES, stated, strict=True):
            confidence = {0: 0, 1: OCCLUDED, 2: 1}[visible]
            expected = [x, y, confidence] if confidence else [0, 0, 0]
            found = sequence.keypoints[0, COCO23.index(joint)]
            np.testing.assert_array_equal(found, expected, err_msg=joint)
        assert not sequence.keypoints[0, COCO23.indices(*FEET)].any()


def test_feet_come_from_whole_body_by_the_number_of_the_person(tmp_path: Path) -> None:
    labels = two_people()
    write_coco(tmp_path, labels)
    feet = [[x, 10 + x, 2.0] for x in range(1, 7)]
    feet[2] = [0.0, 0.0, 0.0]
    whole = copy.deepcopy(labels)
    first, second = whole["annotations"][::-1]
    first |= {"foot_kpts": np.reshape(feet, -1).tolist(), "foot_valid": True}
    second |= {"foot_kpts": np.reshape(feet, -1).tolist(), "foot_valid": False}
    whole["annotations"] = [first, second]
    write_json(tmp_path / "annotations" / "coco_wholebody_train_v1.0.json", whole)
    without, with_feet = read_coco(tmp_path, "train2017")
    assert not without.keypoints[0, COCO23.indices(*FEET)].any()
    found = with_feet.keypoints[0, COCO23.indices(*FEET)]
    np.testing.assert_array_equal(found, [[x, y, v / 2] for x, y, v in feet])
    assert with_feet.keypoints[0, COCO23.index("nose"), 2] == 1, "the body stays"


def test_crowds_and_hardly_labelled_people_are_left_out(tmp_path: Path) -> None:
    few, enough = ([*np.tile([3, 4, 1], n), *np.zeros(51 - 3 * n)] for n in (5, 6))
    people = [
        coco_person(1, 9, iscrowd=1),
        coco_person(2, 9, keypoints=[float(number) for number in few]),
        coco_person(3, 9, keypoints=[float(number) for number in enough]),
    ]
    write_coco(tmp_path, coco_labels(people))
    assert [s.name for s in read_coco(tmp_path, "train2017")] == ["000000000009_3"]
    write_coco(tmp_path, coco_labels(people[:2]))
    with pytest.raises(InputError, match="has nobody with 6 keypoints"):
        read_coco(tmp_path, "train2017")


def test_both_years_name_a_person_alike(tmp_path: Path) -> None:
    for part in ("train2017", "train2014"):
        write_coco(tmp_path, coco_labels([coco_person(17, 139)], part), part)
    (new,), (old,) = (read_coco(tmp_path, part) for part in ("train2017", "train2014"))
    assert new.name == old.name
    assert old.images == (tmp_path / "train2014" / "COCO_train2014_000000000139.jpg",)


def test_a_box_without_area_is_none(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_labels([coco_person(1, 9, bbox=[3, 4, 0, 7])]))
    (sequence,) = read_coco(tmp_path, "train2017")
    assert np.isnan(sequence.boxes).all()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("keypoints", [1.0] * 50, r"annotation 1 'keypoints' has the shape \(50,\), not \(51,\)"),
        ("keypoints", [3.0] * 51, "annotation 1 'keypoints' has a visibility other than 0, 1 and"),
        ("keypoints", ["a"] * 51, "annotation 1 'keypoints' holds no numbers"),
        ("bbox", [1, 2, float("nan"), 3], "annotation 1 'bbox' has entries that are not finite"),
        ("bbox", None, "annotation 1 'bbox' is missing"),
        ("image_id", 77, "annotation 1 'image_id' names an image that 'images' does not list"),
    ],
)
def test_broken_people(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, value: object, message: str
) -> None:
    labels = two_people()
    labels["annotations"][1][key] = value
    write_coco(tmp_path, labels)
    with pytest.raises(InputError, match=f"person_keypoints_train2017.json: {message}"):
        read_coco(tmp_path, "train2017")
    with caplog.at_level(logging.WARNING):
        (sequence,) = read_coco(tmp_path, "train2017", skip_broken=True)
    assert sequence.name == "000000000139_17"
    assert "skipped" in caplog.text and repr(key) in caplog.text


def test_other_orders_of_joints_are_refused(tmp_path: Path) -> None:
    labels = two_people()
    labels["categories"][0]["keypoints"] = COCO_NAMES[::-1]
    write_coco(tmp_path, labels)
    with pytest.raises(InputError, match="category 0 'keypoints' are not COCO's 17"):
        read_coco(tmp_path, "train2017")


def test_broken_trees(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot read .*person_keypoints_val2017.json: No such"):
        read_coco(tmp_path, "val2017")
    write_coco(tmp_path, two_people())
    path = tmp_path / "annotations" / "person_keypoints_train2017.json"
    path.write_text(path.read_text()[:-20])
    with pytest.raises(InputError, match="is damaged"):
        read_coco(tmp_path, "train2017")
    write_json(path, [1, 2])
    with pytest.raises(InputError, match="is of type list, not a dict"):
        read_coco(tmp_path, "train2017")
    write_json(path, {"images": []})
    with pytest.raises(InputError, match="'annotations' is missing"):
        read_coco(tmp_path, "train2017")


def test_missing_images_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    people = [coco_person(1, 7), coco_person(2, 8), coco_person(3, 8), coco_person(4, 9)]
    write_coco(tmp_path, coco_labels(people))
    for image in (8, 9):
        (tmp_path / "train2017" / f"{image:012d}.jpg").unlink()
    with pytest.raises(InputError, match=r"2 images are missing, first .*/000000000008.jpg"):
        read_coco(tmp_path, "train2017")
    with caplog.at_level(logging.WARNING):
        (sequence,) = read_coco(tmp_path, "train2017", skip_broken=True)
    assert sequence.name == "000000000007_1"
    assert caplog.text.count("skipped: COCO") == 3
    (tmp_path / "train2017" / "000000000007.jpg").unlink()
    with pytest.raises(InputError, match="3 images are missing"):
        read_coco(tmp_path, "train2017", skip_broken=True)


def test_of_many_problems_some_are_named(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_labels([coco_person(n, 9, bbox=[1]) for n in range(25)]))
    with pytest.raises(InputError, match="and 5 more broken entries") as caught:
        read_coco(tmp_path, "train2017")
    assert str(caught.value).count("'bbox'") == 20
