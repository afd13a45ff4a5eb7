"""Bodies fitted to pictures: EFT's, CLIFF's and SPIN's files, alone and with their people."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from picture_trees import (
    COCO_NAMES,
    coco_labels,
    coco_person,
    mpii_person,
    smpl_of,
    write_coco,
    write_json,
    write_picture,
)

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.coco import read_coco
from temporal_hmr.data.fitted_bodies import attach_fits, read_fitted_bodies
from temporal_hmr.data.mpii import read_mpii
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23

SPIN = [
    *("right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle"),
    *("right_wrist", "right_elbow", "right_shoulder", "left_shoulder", "left_elbow", "left_wrist"),
    *("neck", "head_top", "pelvis", "thorax", "spine", "jaw", "head"),
    *("nose", "left_eye", "right_eye", "left_ear", "right_ear"),
]
COCO_IMAGE = "COCO_train2014_000000000139.jpg"


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


def spin_part(keypoints: np.ndarray) -> np.ndarray:
    """COCO's 17 in SPIN's order."""
    part = np.zeros((24, 3))
    for joint, point in zip(COCO_NAMES, keypoints, strict=True):
        part[SPIN.index(joint)] = point if point[2] else 0
    part[:, 2] = part[:, 2] > 0
    return part


def eft(person: dict[str, Any], image: str = COCO_IMAGE, **changed: Any) -> dict[str, Any]:
    part = spin_part(np.reshape(person["keypoints"], (17, 3)))
    fit = {
        "parm_pose": smpl_of(1).rotations()[0].tolist(),
        "parm_shape": smpl_of(1).betas[0].tolist(),
        "parm_cam": [0.8, 0.1, -0.2],
        "bbox_scale": 0.15,
        "bbox_center": [31.0, 19.0],
        "gt_keypoint_2d": np.concatenate([np.zeros((25, 3)), part]).tolist(),
        "joint_validity_openpose18": [1] * 18,
        "smpltype": "smpl",
        "annotId": person["id"],
        "imageName": image,
    }
    return fit | changed


def write_eft(path: Path, fits: list[dict[str, Any]]) -> None:
    write_json(path, {"ver": 0.1, "data": fits})


def cliff(people: list[dict[str, Any]], images: list[str], **changed: Any) -> dict[str, Any]:
    count = len(people)
    parts = [spin_part(np.reshape(person["keypoints"], (17, 3))) for person in people]
    fits = {
        "imgname": np.array(images),
        "center": np.tile([31.0, 19.0], (count, 1)),
        "scale": np.full(count, 0.15),
        "part": np.stack(parts),
        "pose": np.concatenate([smpl_of(n).poses().numpy() for n in range(count)]),
        "shape": np.concatenate([smpl_of(n).betas.numpy() for n in range(count)]),
        "global_t": np.tile([0.1, -0.2, 5.0], (count, 1)).astype(np.float32),
        "focal_l": np.full(count, 72.1),
    }
    return fits | changed


def project(sequence: Sequence, points: np.ndarray) -> np.ndarray:
    assert sequence.focal is not None and sequence.center is not None
    return points[:, :2] / points[:, 2:] * sequence.focal + sequence.center


def test_eft_is_seen_where_its_weak_perspective_says(tmp_path: Path, body: BodyModel) -> None:
    person = coco_person(17, 139)
    write_eft(tmp_path / "fits.json", [eft(person)])
    write_picture(tmp_path / "train2014" / COCO_IMAGE, 60, 40)
    (sequence,) = read_fitted_bodies(tmp_path, "fits.json")
    assert not sequence.trusted and sequence.smpl is not None and sequence.smpl_gender == "neutral"
    assert sequence.images == (tmp_path / "train2014" / COCO_IMAGE,)
    np.testing.assert_allclose(sequence.boxes, [[16, 4, 46, 34]])
    joints = body.joints(sequence.smpl)[0].numpy()
    bare = replace(sequence.smpl, transl=torch.zeros(1, 3, dtype=torch.float64))
    # The published reading: 224 pixels across the box, crop = 112 (s x + t) + 112.
    crop = 112 * (0.8 * body.joints(bare)[0, :, :2].numpy() + [0.1, -0.2]) + 112
    expected = crop / 224 * 30 + [16, 4]
    size = np.ptp(expected, axis=0).max()
    np.testing.assert_allclose(project(sequence, joints), expected, atol=0.01 * size)
    np.testing.assert_allclose(sequence.smpl.rotations(), smpl_of(1).rotations())
    stated = np.reshape(person["keypoints"], (17, 3))
    for joint, (x, y, visible) in zip(COCO_NAMES, stated, strict=True):
        found = sequence.keypoints[0, COCO23.index(joint)]
        np.testing.assert_allclose(found, [x, y, 1] if visible else [0, 0, 0], err_msg=joint)


def test_cliff_is_in_the_camera_of_the_full_image(tmp_path: Path, body: BodyModel) -> None:
    people = [coco_person(1, 139), coco_person(2, 139)]
    np.savez(tmp_path / "cliff.npz", **cliff(people, [f"train2014/{COCO_IMAGE}"] * 2))
    write_picture(tmp_path / "train2014" / COCO_IMAGE, 60, 40)
    sequences = read_fitted_bodies(tmp_path, "cliff.npz")
    assert [s.name for s in sequences] == [f"{COCO_IMAGE[:-4]}_0", f"{COCO_IMAGE[:-4]}_1"]
    for number, sequence in enumerate(sequences):
        smpl = sequence.smpl
        assert smpl is not None and not sequence.trusted and sequence.has_smpl is not None
        root = cv2.Rodrigues(smpl_of(number).poses()[0, :3].numpy())[0]
        np.testing.assert_allclose(smpl.global_orient[0], root, atol=1e-12)
        bare = SmplParams(smpl.global_orient, smpl.body_pose, smpl.betas, 0 * smpl.transl)
        seen = body.joints(bare)[0].numpy() + np.array([0.1, -0.2, 5.0])
        expected = 72.1 * seen[:, :2] / seen[:, 2:] + [30, 20]
        joints = body.joints(smpl)[0].numpy()
        np.testing.assert_allclose(project(sequence, joints), expected, atol=1e-5)


def test_spin_files_say_no_place(tmp_path: Path) -> None:
    fits = cliff([coco_person(n, 139) for n in (1, 2)], [f"train2014/{COCO_IMAGE}"] * 2)
    del fits["global_t"], fits["focal_l"]
    np.savez(tmp_path / "spin.npz", **fits, has_smpl=np.array([0, 1]))
    write_picture(tmp_path / "train2014" / COCO_IMAGE, 60, 40)
    (sequence,) = read_fitted_bodies(tmp_path, "spin.npz")
    assert sequence.focal is None and sequence.smpl is not None
    assert not sequence.smpl.transl.any()
    np.testing.assert_allclose(sequence.smpl.betas, smpl_of(1).betas)


def test_pixels_of_mpii_are_counted_from_one(tmp_path: Path) -> None:
    ones = coco_person(1, 1, keypoints=np.tile([1, 1, 2], 17).tolist())
    image = "images/000000001.jpg"
    np.savez(tmp_path / "mpii.npz", **cliff([ones], [image]))
    write_eft(tmp_path / "mpii.json", [eft(ones, Path(image).name, annotId=-1)])
    write_picture(tmp_path / image, 60, 40)
    for name in ("mpii.npz", "mpii.json"):
        (sequence,) = read_fitted_bodies(tmp_path, name)
        assert sequence.images == (tmp_path / image,)
        np.testing.assert_array_equal(sequence.keypoints[0, COCO23.index("left_hip")], [0, 0, 1])
        np.testing.assert_allclose(sequence.boxes, [[15, 3, 45, 33]])


def test_eft_finds_cocos_people_of_either_year_by_their_number(tmp_path: Path) -> None:
    people = [coco_person(n, image) for n, image in ((11, 139), (12, 139), (13, 285))]
    write_coco(tmp_path, coco_labels(people))
    sequences = read_coco(tmp_path, "train2017")
    same_places = eft(people[0], annotId=12)
    write_eft(tmp_path / "fits.json", [same_places, eft(people[2], annotId=99)])
    first, second, third = attach_fits(sequences, tmp_path / "fits.json")
    assert first is sequences[0] and third is sequences[2]
    assert second.smpl is not None and not second.trusted and sequences[1].trusted
    np.testing.assert_array_equal(second.keypoints, sequences[1].keypoints)
    assert second.images == sequences[1].images


def test_fits_find_mpiis_people_by_their_keypoints(tmp_path: Path) -> None:
    """Rows come in another order, counted from 1 as MPII's own; of strangers nothing is taken."""
    image = "000000001.jpg"
    write_json(tmp_path / "annot" / "train.json", [mpii_person(image, seed) for seed in (1, 2, 3)])
    write_picture(tmp_path / "images" / image, 60, 40)
    sequences = read_mpii(tmp_path, "train")
    people = []
    for sequence in (sequences[2], sequences[0]):
        keypoints = sequence.keypoints[0, :17].copy()
        keypoints[:, :2] += keypoints[:, 2:]
        people.append({"id": 0, "keypoints": keypoints})
    people.append({"id": 0, "keypoints": np.random.default_rng(9).uniform(1, 40, (17, 3))})
    np.savez(tmp_path / "fits.npz", **cliff(people, [f"images/{image}"] * 3))
    first, second, third = attach_fits(sequences, tmp_path / "fits.npz")
    assert first.smpl is not None and second.smpl is None and third.smpl is not None
    np.testing.assert_allclose(third.smpl.betas, smpl_of(0).betas)
    np.testing.assert_allclose(first.smpl.betas, smpl_of(1).betas)
    assert first.center is not None
    np.testing.assert_array_equal(first.center, [[30, 20]])


def test_fits_of_other_people_are_an_error(tmp_path: Path) -> None:
    write_coco(tmp_path, coco_labels([coco_person(1, 7)]))
    write_eft(tmp_path / "fits.json", [eft(coco_person(17, 139))])
    with pytest.raises(InputError, match="has 1 bodies, none of a given person"):
        attach_fits(read_coco(tmp_path, "train2017"), tmp_path / "fits.json")


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("parm_pose", np.ones((24, 3)).tolist(), "'parm_pose' has the shape"),
        ("parm_pose", np.ones((24, 3, 3)).tolist(), "'parm_pose' holds matrices that are no rot"),
        ("parm_pose", -np.eye(3)[None].repeat(24, 0), "'parm_pose' holds matrices that are no rot"),
        ("parm_cam", [0, 0.1, 0.1], "'parm_cam' or 'bbox_scale' has a scale that is not positive"),
        ("parm_shape", [0.0] * 9, "'parm_shape' has the shape"),
        ("gt_keypoint_2d", np.ones((24, 3)).tolist(), "'gt_keypoint_2d' has the shape"),
        ("smpltype", "smplx", "'smpltype' is 'smplx', not 'smpl'"),
        ("bbox_center", None, "'bbox_center' is missing"),
    ],
)
def test_broken_eft(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, key: str, value: Any, message: str
) -> None:
    value = value.tolist() if isinstance(value, np.ndarray) else value
    people = [coco_person(17, 139), coco_person(18, 139)]
    write_coco(tmp_path, coco_labels(people, "train2014"), "train2014")
    write_eft(tmp_path / "fits.json", [eft(people[0], **{key: value}), eft(people[1])])
    with pytest.raises(InputError, match=f"fits.json: data 0 {message}"):
        read_fitted_bodies(tmp_path, "fits.json")
    sequences = read_coco(tmp_path, "train2014")
    with pytest.raises(InputError, match=message):
        attach_fits(sequences, tmp_path / "fits.json")
    with caplog.at_level(logging.WARNING):
        (alone,) = read_fitted_bodies(tmp_path, "fits.json", skip_broken=True)
        attached = attach_fits(sequences, tmp_path / "fits.json", skip_broken=True)
    assert alone.name.endswith("_1") and caplog.text.count("skipped") == 2
    assert [sequence.smpl is None for sequence in attached] == [True, False]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pose", np.zeros((1, 72)), "'pose' has not the 2 rows of 'imgname'"),
        ("pose", np.zeros((2, 71)), r"row 0 'pose' has the shape \(71,\), not \(72,\)"),
        ("shape", None, "lacks shape: give CLIFF's file"),
        ("focal_l", None, "lacks one of global_t and focal_l"),
        ("global_t", np.zeros((2, 3)), "row 0 'global_t' or 'focal_l' puts the body behind"),
        ("part", np.zeros((2, 14, 3)), "row 0 'part' has the shape"),
    ],
)
def test_broken_npz(tmp_path: Path, key: str, value: Any, message: str) -> None:
    fits = cliff([coco_person(n, 139) for n in (1, 2)], [f"train2014/{COCO_IMAGE}"] * 2)
    fits = {name: array for name, array in fits.items() if name != key}
    np.savez(tmp_path / "fits.npz", **fits, **({} if value is None else {key: value}))
    write_picture(tmp_path / "train2014" / COCO_IMAGE, 60, 40)
    with pytest.raises(InputError, match=f"fits.npz:? {message}"):
        read_fitted_bodies(tmp_path, "fits.npz")


def test_broken_trees(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"neither .json .EFT. nor .npz"):
        read_fitted_bodies(tmp_path, "fits.pkl")
    with pytest.raises(InputError, match="there is no file at"):
        read_fitted_bodies(tmp_path, "fits.npz")
    with pytest.raises(InputError, match="cannot read"):
        read_fitted_bodies(tmp_path, "fits.json")
    write_eft(tmp_path / "fits.json", [eft(coco_person(17, 139))])
    with pytest.raises(InputError, match=f"1 images are missing, first .*{COCO_IMAGE}"):
        read_fitted_bodies(tmp_path, "fits.json")
