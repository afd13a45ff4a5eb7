"""3DPW as training takes it: the same labels, in the axes of the camera."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset_trees import Bodies, write_emdb, write_threedpw

from temporal_hmr.data.emdb import read_emdb
from temporal_hmr.data.threedpw import read_threedpw
from temporal_hmr.data.threedpw_training import USABLE, in_camera_axes, read_threedpw_training
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23

FRAMES = 16
OPENPOSE_PLACES = {"nose": 0, "left_shoulder": 5, "right_shoulder": 2, "left_wrist": 7,
                   "right_hip": 8, "left_ankle": 13, "right_eye": 14, "left_ear": 17}  # fmt: skip


@pytest.fixture
def tree(tmp_path: Path, bodies: Bodies) -> tuple[Path, dict]:
    return tmp_path, write_threedpw(tmp_path, bodies, split="train", frames=FRAMES)


def test_bodies_and_joints_are_before_the_camera(tree: tuple[Path, dict], bodies: Bodies) -> None:
    root, written = tree
    sequences = read_threedpw_training(root, "train")
    assert [each.name for each in sequences] == [
        "courtyard_walk_01_0", "downtown_talk_00_0", "downtown_talk_00_1",
    ]  # fmt: skip
    assert [each.smpl_gender for each in sequences] == ["female", "male", "female"]
    for sequence in sequences:
        video, actor = sequence.name.rsplit("_", 1)
        labels = written[video]
        world = labels["jointPositions"][int(actor)].reshape(FRAMES, 24, 3)
        assert sequence.smpl is not None and sequence.trusted
        posed = bodies[sequence.smpl_gender].joints(sequence.smpl).numpy()
        for frame in range(FRAMES):
            matrix = labels["cam_poses"][frame]
            expected = [(matrix @ [*point, 1])[:3] for point in world[frame]]
            np.testing.assert_allclose(sequence.joints[frame], expected, atol=1e-9)
            np.testing.assert_allclose(posed[frame], expected, atol=1e-9)
        assert sequence.joints[..., 2].min() > 1


def test_what_is_known_is_what_holds(tree: tuple[Path, dict]) -> None:
    for sequence in read_threedpw_training(tree[0], "train"):
        actor = int(sequence.name[-1])
        lost = {0, 1, 5 + actor, FRAMES - 1, 3, 10 + actor}
        assert sequence.has_smpl is not None
        assert set(np.flatnonzero(~sequence.has_smpl)) == lost
        assert (sequence.has_joints == sequence.has_smpl[:, None]).all()


def test_keypoints_go_by_name_and_project_near_the_joints(tree: tuple[Path, dict]) -> None:
    root, written = tree
    for sequence in read_threedpw_training(root, "train"):
        video, actor = sequence.name.rsplit("_", 1)
        stated = written[video]["poses2d"][int(actor)]
        for joint, place in OPENPOSE_PLACES.items():
            ours = sequence.keypoints[:, COCO23.index(joint)]
            np.testing.assert_allclose(ours, stated[:, :, place])
        assert not sequence.keypoints[:, COCO23.indices("left_heel", "right_big_toe")].any()
        matrix = written[video]["cam_intrinsics"]
        assert sequence.focal is not None and sequence.center is not None
        np.testing.assert_array_equal(sequence.focal, [matrix.diagonal()[:2]] * FRAMES)
        np.testing.assert_array_equal(sequence.center, [matrix[:2, 2]] * FRAMES)
        np.testing.assert_allclose(sequence.times, np.arange(FRAMES) / 30)


def test_missing_images_are_counted_and_one_named(tree: tuple[Path, dict]) -> None:
    images = tree[0] / "imageFiles" / "courtyard_walk_01"
    for frame in (4, 9, 11):
        (images / f"image_{frame:05d}.jpg").unlink()
    with pytest.raises(InputError, match=r"3 images are missing.*image_00004\.jpg"):
        read_threedpw_training(tree[0], "train")
    left = read_threedpw_training(tree[0], "train", skip_broken=True)
    assert [each.name for each in left] == ["downtown_talk_00_0", "downtown_talk_00_1"]


def test_broken_labels_are_refused_or_left_out(
    tree: tuple[Path, dict], caplog: pytest.LogCaptureFixture
) -> None:
    path = tree[0] / "sequenceFiles" / "train" / "downtown_talk_00.pkl"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"downtown_talk_00\.pkl"):
        read_threedpw_training(tree[0], "train")
    left = read_threedpw_training(tree[0], "train", skip_broken=True)
    assert [each.name for each in left] == ["courtyard_walk_01_0"]
    assert "downtown_talk_00.pkl" in caplog.text
    with pytest.raises(InputError, match="no split 'test'"):
        read_threedpw_training(tree[0], "test")


def test_people_of_emdb_need_their_body(tmp_path: Path, bodies: Bodies) -> None:
    """EMDB's files state no joints; its keypoints are their exact projections."""
    write_emdb(tmp_path, bodies, frames=12)
    person = read_emdb(tmp_path)[0]
    with pytest.raises(InputError, match=r"P0_09_outdoor_walk.*body"):
        in_camera_axes(person, "EMDB", "good")
    with pytest.raises(InputError, match="no frame rule 'challenge'"):
        in_camera_axes(person, "EMDB", USABLE, bodies[person.gender])
    sequence = in_camera_axes(person, "EMDB", "good", bodies[person.gender])
    assert sequence.focal is not None and sequence.center is not None
    assert sequence.has_smpl is not None
    pixels = sequence.focal[:, None] * sequence.joints[..., :2] / sequence.joints[..., 2:]
    pixels += sequence.center[:, None]
    good = sequence.has_smpl
    np.testing.assert_allclose(pixels[good], person.keypoints[good][..., :2], atol=1e-3)


def test_the_camera_turns_about_the_pelvis(tree: tuple[Path, dict], bodies: Bodies) -> None:
    """The same as the body model's own change of frame, which knows the pelvis at rest."""
    for person in read_threedpw(tree[0], "train"):
        sequence = in_camera_axes(person, "3DPW", USABLE)
        expected = person.in_camera(bodies[person.gender])
        assert sequence.smpl is not None
        for ours, theirs in zip(vars(sequence.smpl).values(), vars(expected).values(), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)
        silent = in_camera_axes(replace(person, joints=None), "3DPW", USABLE, bodies[person.gender])
        np.testing.assert_allclose(silent.joints, sequence.joints, atol=1e-9)
