"""3DOH50K, whole and broken, and what is chosen from 3DPW."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from picture_trees import object_occluded, write_json, write_picture

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.camera import Camera
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.data.occlusion_sets import (
    CROWDED_FRAMES,
    OCCLUDED_SCENES,
    read_3doh50k,
    select_crowded,
    select_occluded,
)
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23, OPENPOSE18, SMPL24


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


def write(folder: Path, pictures: list[dict[str, Any]], part: str = "train") -> None:
    labels = {f"{number:05d}": picture for number, picture in enumerate(pictures)}
    write_json(folder / f"{part}set" / "annots.json", labels)
    for picture in pictures:
        write_picture(folder / f"{part}set" / picture["img_path"].replace("\\", "/"), 64, 48)


@pytest.mark.parametrize(("scale", "world"), [(1.0, True), (1.0, False), (1.3, True)])
def test_the_body_is_where_the_camera_sees_it(
    tmp_path: Path, body: BodyModel, scale: float, world: bool
) -> None:
    """The pelvis term is right without the body model, whatever the unit of the world."""
    pictures = [object_occluded(body, seed, scale, world) for seed in (0, 1)]
    write(tmp_path, pictures)
    sequences = read_3doh50k(tmp_path, "train")
    assert [s.name for s in sequences] == ["train_00000", "train_00001"]
    for sequence, labels in zip(sequences, pictures, strict=True):
        assert sequence.dataset == "3DOH50K" and sequence.trusted and sequence.has_joints.all()
        assert sequence.image_size == (64, 48) and sequence.smpl is not None
        np.testing.assert_array_equal(sequence.boxes, [[10, 20, 400, 450]])
        joints = body.joints(sequence.smpl)[0].numpy()
        np.testing.assert_allclose(joints, sequence.joints[0], atol=1e-9)
        assert sequence.focal is not None and sequence.center is not None
        pixels = joints[:, :2] / joints[:, 2:] * sequence.focal + sequence.center
        np.testing.assert_allclose(pixels, labels["smpl_joints_2d"], atol=1e-6)
        for joint in COCO23.joints:
            known = joint in SMPL24.joints
            place = labels["smpl_joints_2d"][SMPL24.index(joint)] if known else [0, 0]
            found = sequence.keypoints[0, COCO23.index(joint)]
            np.testing.assert_array_equal(found, [*place, known], err_msg=joint)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("pose", [[0.0] * 71], "'pose' has the shape"),
        ("scale", [0.0], "'scale' is 0, not positive"),
        ("scale", [0.1], "'smpl_joints_3d' has thighs of"),
        ("trans", [[9.0, 0.0, 0.0]], "'trans' and 'smpl_joints_3d' do not agree"),
        ("extri", (-np.eye(4)).tolist(), "'extri' holds no rotation"),
        ("smpl_joints_2d", np.zeros((24, 2)).tolist(), "'smpl_joints_3d' is not projected to"),
        ("smpl_joints_2d", np.zeros((14, 2)).tolist(), "'smpl_joints_2d' has the shape"),
        ("intri", None, "'intri' is missing"),
        ("img_path", 3, "'img_path' is of type int, not a text"),
    ],
)
def test_broken_pictures(
    tmp_path: Path, body: BodyModel, caplog: pytest.LogCaptureFixture,
    key: str, value: object, message: str,
) -> None:  # fmt: skip
    pictures = [object_occluded(body, seed) for seed in (0, 1)]
    write(tmp_path, pictures)
    pictures[0][key] = value
    labels = {f"{number:05d}": picture for number, picture in enumerate(pictures)}
    write_json(tmp_path / "trainset" / "annots.json", labels)
    with pytest.raises(InputError, match=f"annots.json: picture 00000 {message}"):
        read_3doh50k(tmp_path, "train")
    with caplog.at_level(logging.WARNING):
        (sequence,) = read_3doh50k(tmp_path, "train", skip_broken=True)
    assert sequence.name == "train_00001" and "skipped" in caplog.text


def test_broken_trees(tmp_path: Path, body: BodyModel) -> None:
    with pytest.raises(InputError, match=r"cannot read .*testset/annots.json"):
        read_3doh50k(tmp_path, "test")
    write(tmp_path, [object_occluded(body, 0), object_occluded(body, 1)])
    (tmp_path / "trainset" / "images" / "00001.jpg").unlink()
    with pytest.raises(InputError, match=r"1 images are missing, first .*images/00001.jpg"):
        read_3doh50k(tmp_path, "train")
    assert len(read_3doh50k(tmp_path, "train", skip_broken=True)) == 1
    write_json(tmp_path / "trainset" / "annots.json", {"00000": [1]})
    with pytest.raises(InputError, match="picture 00000 is of type list"):
        read_3doh50k(tmp_path, "train")


def labelled(body: BodyModel, video: str, frames: int) -> LabelledSequence:
    from picture_trees import smpl_of

    return LabelledSequence(
        name=f"{video}_0",
        video=video,
        fps=30,
        gender="male",
        smpl=smpl_of()[torch.zeros(frames, dtype=torch.long)],
        rotation=torch.eye(3).expand(frames, 3, 3),
        translation=torch.zeros(frames, 3),
        camera=Camera.with_assumed_focal(60, 40),
        boxes=np.zeros((frames, 4)),
        keypoints=np.zeros((frames, 18, 3)),
        skeleton=OPENPOSE18,
        frame_rules={"all": np.ones(frames, bool), "challenge": np.arange(frames) % 2 == 0},
    )


def test_occluded_scenes_are_chosen_whole(body: BodyModel) -> None:
    videos = ["courtyard_backpack_00", "courtyard_basketball_01", "downtown_cafe_00"]
    sequences = [labelled(body, video, 3) for video in videos]
    assert select_occluded(sequences) == sequences[:2]
    assert len(OCCLUDED_SCENES) == len(set(OCCLUDED_SCENES)) == 17
    with pytest.raises(InputError, match="no sequence is of 3DPW-OC"):
        select_occluded(sequences[2:])


def test_crowded_frames_narrow_the_rules(body: BodyModel) -> None:
    video = "courtyard_dancing_01"
    sequences = [labelled(body, video, 300), labelled(body, "courtyard_dancing_02", 300)]
    second = replace(sequences[0], name=f"{video}_1")
    chosen = select_crowded([*sequences, second])
    assert [sequence.name for sequence in chosen] == [f"{video}_0", f"{video}_1"]
    assert np.flatnonzero(chosen[0].frame_rules["all"]).tolist() == list(range(60, 270))
    assert np.flatnonzero(chosen[0].frame_rules["challenge"]).tolist() == list(range(60, 270, 2))
    assert sequences[0].frame_rules["all"].all(), "the given ones stay as they are"
    assert sum(end - first for first, end in CROWDED_FRAMES.values()) == 1380
    with pytest.raises(InputError, match="no sequence is of 3DPW-PC"):
        select_crowded(sequences[1:])
