"""Our own tracker on labelled sequences: what is measured is what users get."""

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pytest
import torch

import temporal_hmr
from temporal_hmr.body.model import BodyModel
from temporal_hmr.command_line import Stage
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.given_keypoints import as_coco23, dataset_track, file_track
from temporal_hmr.evaluation.own import OwnSettings, find_tracks, recover_video
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.motion import BodyMotion, PredictedMotion
from temporal_hmr.output.npz import Provenance, load_motion, save_motion
from temporal_hmr.recover import load_model
from temporal_hmr.skeleton import (
    COCO17,
    COCO23,
    H36M17,
    LSP14,
    OPENPOSE18,
    SMPL24,
    Skeleton,
)
from temporal_hmr.video import open_clip

SAMPLE = Path(temporal_hmr.__path__[0]) / "assets" / "sample.mp4"
STEP = 6
"""Every so manieth frame of the sample is one of the sequence."""
DATASET = OwnSettings(keypoints="dataset")


def predict_video(*arguments, **more) -> list[PredictedMotion]:
    motions = recover_video(*arguments, **more)
    return [PredictedMotion.of(motion, name) for name, motion in motions.items()]


T = TypeVar("T")
PROVENANCE = Provenance("walk.mp4", "ab" * 32, "toy", "CC0", "toy.safetensors", "cd" * 32, "0.0")


@pytest.fixture(scope="module")
def model() -> Hmr:
    return load_model(None, torch.device("cpu"))


@pytest.fixture(scope="module")
def truth() -> BodyMotion:
    return load_motion(SAMPLE.with_name("sample_truth.npz"))


@pytest.fixture(scope="module")
def filmed(truth, tmp_path_factory) -> LabelledSequence:
    """The rendered sample as a sequence with images and exact keypoints."""
    images = [frame.image for frame in open_clip(SAMPLE) if frame.index % STEP == 0]
    folder = tmp_path_factory.mktemp("images")
    paths = tuple(folder / f"image_{number:05d}.jpg" for number in range(len(images)))
    for path, image in zip(paths, images, strict=True):
        cv2.imwrite(str(path), image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])
    return labelled(truth, paths)


@pytest.fixture
def mediapipe() -> None:
    pytest.importorskip("mediapipe", reason="mediapipe has no wheel for this Python")


def labelled(truth: BodyMotion, images: tuple[Path, ...] = ()) -> LabelledSequence:
    frames = len(truth.boxes[::STEP])
    camera = truth.camera
    return LabelledSequence(
        name="walk_0",
        video="walk",
        fps=truth.fps / STEP,
        gender="neutral",
        smpl=truth.smpl[::STEP].map(lambda tensor: tensor.double()),
        rotation=torch.eye(3).double().expand(frames, 3, 3),
        translation=torch.zeros(frames, 3).double(),
        camera=replace(camera, focal=camera.focal.double(), center=camera.center.double()),
        boxes=truth.boxes[::STEP].astype(np.float64),
        keypoints=truth.keypoints[::STEP].astype(np.float64),
        skeleton=COCO23,
        frame_rules={"all": np.ones(frames, bool)},
        images=images,
    )


def joints_of(motion: PredictedMotion, body: BodyModel) -> np.ndarray:
    """Relative to the pelvis."""
    joints = body.joints(motion.smpl.map(lambda tensor: tensor.float()))
    return (joints - joints[:, :1]).numpy()


def known(value: T | None) -> T:
    assert value is not None
    return value


def typical_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Of the middle frame, the squat being hard to tell from one view; metres."""
    return float(np.median(np.linalg.norm(a - b, axis=-1).mean(-1)))


# Keypoints from elsewhere


@pytest.mark.parametrize("skeleton", [COCO17, COCO23, OPENPOSE18, SMPL24, LSP14, H36M17])
def test_joints_are_converted_by_name(skeleton: Skeleton) -> None:
    numbers = np.arange(2 * len(skeleton) * 3).reshape(2, len(skeleton), 3) + 1.0
    converted = as_coco23(numbers, skeleton)
    assert converted.shape == (2, 23, 3)
    for position, joint in enumerate(COCO23.joints):
        if joint in skeleton.joints:
            expected = numbers[:, skeleton.joints.index(joint)]
        elif skeleton is SMPL24 and "big_toe" in joint:
            expected = numbers[:, skeleton.joints.index(joint.replace("big_toe", "foot"))]
        else:
            expected = np.zeros((2, 3))
        np.testing.assert_array_equal(converted[:, position], expected)


def test_what_two_skeletons_share_is_as_many_joints_as_expected() -> None:
    known = {
        skeleton.name: int(as_coco23(np.ones((1, len(skeleton), 3)), skeleton)[..., 2].sum())
        for skeleton in (COCO17, OPENPOSE18, SMPL24, LSP14)
    }
    assert known == {"COCO17": 17, "OPENPOSE18": 17, "SMPL24": 14, "LSP14": 12}


def test_a_skeleton_without_any_of_the_joints_is_refused() -> None:
    with pytest.raises(InputError, match="HANDS has no joint in common with COCO23"):
        as_coco23(np.ones((1, 1, 3)), Skeleton("HANDS", ("left_thumb",)))


def test_exact_projections_give_nearly_the_true_motion(truth, model, body) -> None:
    sequence = labelled(truth)
    (motion,) = predict_video([sequence], model, body, DATASET)
    assert (motion.name, motion.source, motion.gender) == ("walk_0", "ours", "neutral")
    assert motion.frames.tolist() == list(range(len(sequence)))
    assert motion.fps == pytest.approx(5)
    assert motion.smpl.transl.dtype == motion.smpl.body_pose.dtype == torch.float64
    assert not known(motion.filled).any() and motion.has_depth
    assert not known(motion.camera).assumed
    true = truth.joints[::STEP] - truth.joints[::STEP, :1]
    assert typical_distance(joints_of(motion, body), true) < 0.08
    assert float((motion.smpl.transl - sequence.smpl.transl).norm(dim=-1).mean()) < 0.4


def test_the_settings_reach_the_model(truth, model, body) -> None:
    sequence = labelled(truth)
    wide = replace(sequence.camera, focal=sequence.camera.focal * 2)
    sequence = replace(sequence, camera=wide)
    given, assumed, per_frame = (
        predict_video([sequence], model, body, settings)[0]
        for settings in (
            DATASET,
            replace(DATASET, focal="assumed"),
            replace(DATASET, temporal=False),
        )
    )
    assert known(assumed.camera).assumed
    assert float(known(assumed.camera).focal[0]) == pytest.approx(np.hypot(540, 720))
    ratio = given.smpl.transl[:, 2].mean() / assumed.smpl.transl[:, 2].mean()
    assert float(ratio) == pytest.approx(2, rel=0.2)
    assert typical_distance(joints_of(given, body), joints_of(per_frame, body)) > 1e-4


def test_frames_without_keypoints_are_absent_and_what_is_filled_in_is_marked(
    truth, model, body
) -> None:
    sequence = labelled(truth)
    keypoints = sequence.keypoints.copy()
    keypoints[[0, 1, 7, 8, 20]] = 0
    sequence = replace(sequence, keypoints=keypoints)
    track = known(dataset_track(sequence))
    assert track.frames.tolist() == [*range(2, 7), *range(9, 20)]
    np.testing.assert_allclose(track.times, track.frames / sequence.fps)
    (motion,) = predict_video([sequence], model, body, DATASET)
    assert motion.frames.tolist() == list(range(2, 20))
    assert motion.frames[known(motion.filled)].tolist() == [7, 8]


def test_joints_outside_the_image_are_unknown_and_boxes_are_there_regardless(truth) -> None:
    sequence = labelled(truth)
    keypoints, boxes = sequence.keypoints.copy(), sequence.boxes.copy()
    keypoints[3, COCO23.index("nose")] = (-1, 50, 1)
    keypoints[3, COCO23.index("left_ankle")] = (100, 720, 1)
    keypoints[3, COCO23.index("left_wrist"), 2] = 1.05
    boxes[3] = np.nan
    track = known(dataset_track(replace(sequence, keypoints=keypoints, boxes=boxes)))
    there = track.keypoints[3, :, 2] > 0
    assert {COCO23.joints[joint] for joint in np.flatnonzero(~there)} == {"nose", "left_ankle"}
    assert (track.keypoints[3, ~there] == 0).all()
    assert track.keypoints[..., 2].max() == 1
    low, high = (track.keypoints[3, there, :2].min(0), track.keypoints[3, there, :2].max(0))
    np.testing.assert_array_equal(track.boxes[3], [*low, *high])
    np.testing.assert_array_equal(track.boxes[4], boxes[4])


def test_someone_without_any_keypoint_has_no_prediction_and_the_log_says_so(
    truth, model, body, caplog
) -> None:
    here = labelled(truth)
    gone = replace(here, name="walk_1", keypoints=np.zeros_like(here.keypoints))
    with caplog.at_level(logging.WARNING):
        motions = predict_video([gone, here], model, body, DATASET)
    assert [motion.name for motion in motions] == ["walk_0"]
    assert "walk_1 is seen in no frame" in caplog.text
    assert predict_video([gone], model, body, DATASET) == []
    assert predict_video([], model, body, DATASET) == []


def write_keypoints(folder: Path, sequence: LabelledSequence, **changes: object) -> Path:
    fields = {
        "keypoints2d": sequence.keypoints.astype(np.float32),
        "frame_ids": np.arange(len(sequence)),
        "skeleton": "COCO23",
    }
    fields = {name: value for name, value in (fields | changes).items() if value is not None}
    path = folder / f"{sequence.name}.npz"
    np.savez(path, **fields)  # type: ignore[arg-type]
    return path


def test_keypoints_from_a_folder_are_those_of_the_file(truth, tmp_path) -> None:
    sequence = labelled(truth)
    bare = replace(sequence, keypoints=np.zeros_like(sequence.keypoints))
    write_keypoints(tmp_path, sequence)
    settings = OwnSettings(keypoint_folder=tmp_path)
    found = find_tracks([bare], settings)["walk_0"]
    expected = known(dataset_track(sequence))
    np.testing.assert_array_equal(found.frames, expected.frames)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=1e-3)
    order = COCO23.indices(*COCO17.joints)
    changed = {"keypoints2d": sequence.keypoints[4:9, order], "skeleton": "COCO17"}
    write_keypoints(tmp_path, sequence, frame_ids=np.arange(4, 9), **changed)
    found = find_tracks([bare], settings)["walk_0"]
    assert found.frames.tolist() == [4, 5, 6, 7, 8]
    np.testing.assert_array_equal(found.keypoints[:, order], expected.keypoints[4:9, order])


def test_our_own_results_serve_as_keypoints(truth, tmp_path) -> None:
    sequence = replace(labelled(truth), boxes=truth.boxes)
    observed = np.arange(len(truth)) % 5 != 3
    keypoints = truth.keypoints * observed[:, None, None]
    motion = replace(truth, keypoints=keypoints, observed=observed)
    save_motion(motion, tmp_path / "walk_0.npz", PROVENANCE)
    track = known(file_track(sequence, tmp_path))
    assert track.frames.tolist() == np.flatnonzero(observed).tolist()
    np.testing.assert_allclose(track.keypoints, keypoints[observed], atol=1e-3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"skeleton": None}, "lacks skeleton"),
        ({"keypoints2d": None}, "lacks keypoints2d"),
        ({"skeleton": "COCO99"}, "no known skeleton.*COCO99"),
        ({"skeleton": None, "meta": "{"}, "no known skeleton"),
        ({"skeleton": None, "meta": json.dumps({"skeleton": 3})}, "no known skeleton"),
        ({"skeleton": "COCO17"}, r"\(21, 23, 3\), where COCO17 needs .* \(frames, 17, 3\)"),
        ({"frame_ids": np.arange(20)}, "21 whole numbers"),
        ({"frame_ids": np.arange(21) / 2}, "21 whole numbers"),
        ({"frame_ids": np.arange(21)[::-1]}, "must increase"),
        ({"frame_ids": np.arange(1, 22)}, "from 1 to 21, where the video has frames 0 to 20"),
        ({"keypoints2d": np.full((21, 23, 3), 97.0)}, r"confidences .* 0\.\.1"),
        ({"keypoints2d": np.full((21, 23, 3), [np.nan, 3, 1])}, "not finite"),
    ],
)
def test_files_that_hold_something_else_are_refused(truth, tmp_path, changes, said) -> None:
    sequence = labelled(truth)
    write_keypoints(tmp_path, sequence, **changes)
    with pytest.raises(InputError, match=said) as refused:
        file_track(sequence, tmp_path)
    assert str(tmp_path / "walk_0.npz") in str(refused.value)


def test_a_missing_keypoint_file_is_named(truth, tmp_path) -> None:
    with pytest.raises(InputError, match=r"no keypoints at .*walk_0\.npz"):
        find_tracks([labelled(truth)], OwnSettings(keypoint_folder=tmp_path))


def test_settings_that_contradict_each_other_are_refused(tmp_path) -> None:
    with pytest.raises(InputError, match="not from both"):
        OwnSettings(keypoints="dataset", keypoint_folder=tmp_path)
    for given in (DATASET, OwnSettings(keypoint_folder=tmp_path)):
        with pytest.raises(InputError, match="leave the boxes at truth"):
            replace(given, boxes="tracked")


# Images


@pytest.mark.parametrize("boxes", ["truth", "tracked"])
def test_missing_images_are_counted_and_the_first_is_named(filmed, boxes, tmp_path) -> None:
    """Before any detection: this needs no mediapipe."""
    absent = tuple(tmp_path / path.name for path in filmed.images)
    some = (*filmed.images[:5], *absent[5:8], *filmed.images[8:])
    settings = OwnSettings(boxes=boxes)
    for images, said in (
        (absent, r"walk_0 lacks 21 of its 21 images, first .*image_00000\.jpg"),
        (some, r"walk_0 lacks 3 of its 21 images, first .*image_00005\.jpg"),
        ((), "walk_0 has no images"),
    ):
        with pytest.raises(InputError, match=said):
            find_tracks([replace(filmed, images=images)], settings)


def test_images_of_another_size_than_the_labels_are_refused(mediapipe, filmed) -> None:
    resized = replace(filmed, camera=replace(filmed.camera, width=1080, height=1440))
    with pytest.raises(InputError, match=r"image_00000\.jpg is 540 x 720 .* 1080 x 1440"):
        find_tracks([resized], OwnSettings())


def test_true_boxes_and_our_own_tracker_give_nearly_the_same_motion(
    mediapipe, filmed, truth, model, body, capsys
) -> None:
    (boxed,) = predict_video([filmed], model, body, stage=Stage("walk"))
    (tracked,) = predict_video([filmed], model, body, OwnSettings(boxes="tracked"))
    assert "walk: 21 frames" in capsys.readouterr().err
    assert (boxed.name, tracked.name) == ("walk_0", "walk person 0")
    assert boxed.frames.tolist() == tracked.frames.tolist() == list(range(21))
    assert typical_distance(joints_of(boxed, body), joints_of(tracked, body)) < 0.01
    true = truth.joints[::STEP] - truth.joints[::STEP, :1]
    assert typical_distance(joints_of(boxed, body), true) < 0.1
    np.testing.assert_allclose(known(boxed.boxes), filmed.boxes, atol=1e-3)
    assert np.abs(known(boxed.boxes) - known(tracked.boxes)).max() < 60


def test_a_corrupt_image_is_named_and_its_frame_is_unseen(
    mediapipe, filmed, model, body, tmp_path, caplog
) -> None:
    whole = filmed.images[4].read_bytes()
    broken = tmp_path / "cut.jpg"
    broken.write_bytes(whole[: len(whole) // 2])
    images = (*filmed.images[:4], broken, *filmed.images[5:])
    boxes = filmed.boxes.copy()
    boxes[8:] = np.nan
    sequence = replace(filmed, images=images, boxes=boxes)
    with caplog.at_level(logging.WARNING):
        (motion,) = predict_video([sequence], model, body)
    assert f"frame 4 of walk counts as unseen: its image {broken}" in caplog.text
    assert motion.frames.tolist() == list(range(8))
    assert motion.frames[known(motion.filled)].tolist() == [4]
    assert (known(motion.keypoints)[4] == 0).all()
