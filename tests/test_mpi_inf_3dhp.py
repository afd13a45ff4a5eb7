"""MPI-INF-3DHP's training set, whole and broken."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat
from training_trees import (
    MPI_PLACES,
    mpi_annotations,
    mpi_calibration,
    mpi_person,
    write_images,
    write_mpi_recording,
    write_video,
)

from temporal_hmr.data.mpi_inf_3dhp import read_mpi_inf_3dhp
from temporal_hmr.data.sequence import VideoFrames
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import COCO23, SMPL24

FRAMES = 6


def test_every_camera_that_is_there_comes_with_its_own_labels(tmp_path: Path) -> None:
    for recording in ("S1/Seq1", "S3/Seq2"):
        write_mpi_recording(tmp_path, recording)
    sequences = read_mpi_inf_3dhp(str(tmp_path), "train")
    assert [each.name for each in sequences] == [
        f"{recording}/video_{number}" for recording in ("S1/Seq1", "S3/Seq2") for number in (0, 2)
    ]
    for sequence in sequences:
        who = mpi_person(sequence.name[:7], int(sequence.name[-1]), FRAMES)
        assert not sequence.trusted and sequence.smpl is None
        assert sequence.image_size == (96, 80) and sequence.subject == sequence.name[:2]
        assert sequence.focal is not None and sequence.center is not None
        np.testing.assert_allclose(sequence.focal[3], who.camera[:2])
        np.testing.assert_allclose(sequence.center[3], who.camera[2:])
        known = {SMPL24.joints[place] for place in np.flatnonzero(sequence.has_joints.all(0))}
        assert known == set(MPI_PLACES.values())
        for joint in known:
            place = SMPL24.index(joint)
            np.testing.assert_allclose(
                sequence.joints[:, place], who.joints[:, place], atol=1e-9, err_msg=joint
            )
        for joint in COCO23.joints:
            keypoint = sequence.keypoints[4, COCO23.index(joint)]
            if joint in known:
                np.testing.assert_allclose(keypoint, [*who.pixel_of(joint, 4), 1])
            else:
                assert not keypoint.any()
        limbs = sequence.keypoints[:, COCO23.indices("left_wrist", "right_ankle"), :2]
        assert (limbs.min(1) > sequence.boxes[:, :2]).all()
        assert (limbs.max(1) < sequence.boxes[:, 2:]).all()


def test_frames_are_counted_from_one_in_images_and_from_zero_in_videos(tmp_path: Path) -> None:
    folder = write_mpi_recording(tmp_path, "S1/Seq1")
    from_images, from_video = read_mpi_inf_3dhp(tmp_path, "train")
    assert isinstance(from_images.images, tuple) and isinstance(from_video.images, VideoFrames)
    assert from_images.images[0] == folder / "imageFrames/video_0/frame_000001.jpg"
    assert from_video.images.numbers == tuple(range(FRAMES))
    assert from_video.images.path == folder / "imageSequence/video_2.avi"
    np.testing.assert_allclose(from_video.times, np.arange(FRAMES) / 25)


def test_some_recordings_are_of_fifty_frames_a_second(tmp_path: Path) -> None:
    for recording in ("S1/Seq2", "S5/Seq1"):
        write_mpi_recording(tmp_path, recording)
    for sequence in read_mpi_inf_3dhp(tmp_path, "train"):
        np.testing.assert_allclose(sequence.times, np.arange(FRAMES) / 50)


def test_evenly_spaced_images_have_the_labels_of_their_frames(tmp_path: Path) -> None:
    folder = write_mpi_recording(tmp_path, "S1/Seq1")
    images = folder / "imageFrames" / "video_0"
    for frame in (1, 3, 5):
        (images / f"frame_{frame:06d}.jpg").unlink()
    sequence = read_mpi_inf_3dhp(tmp_path, "train")[0]
    who = mpi_person("S1/Seq1", 0, FRAMES)
    assert len(sequence) == 3
    np.testing.assert_allclose(sequence.times, [1 / 25, 3 / 25, 5 / 25])
    np.testing.assert_allclose(sequence.joints[:, 0], who.joints[[1, 3, 5], 0], atol=1e-9)


def test_missing_images_are_counted_and_one_named(tmp_path: Path) -> None:
    folder = write_mpi_recording(tmp_path, "S1/Seq1")
    write_mpi_recording(tmp_path, "S2/Seq1")
    (folder / "imageFrames" / "video_0" / "frame_000003.jpg").unlink()
    (folder / "imageFrames" / "video_0" / "frame_000006.jpg").unlink()
    with pytest.raises(InputError, match=r"2 images are missing.*frame_000003\.jpg"):
        read_mpi_inf_3dhp(tmp_path, "train")
    left = [each.name for each in read_mpi_inf_3dhp(tmp_path, "train", skip_broken=True)]
    assert left == ["S1/Seq1/video_2", "S2/Seq1/video_0", "S2/Seq1/video_2"]


def spoil_annotations(change: Callable[[dict], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        contents = mpi_annotations("S1/Seq1", FRAMES)
        change(contents)
        savemat(folder / "annot.mat", contents)

    return spoil


def put(key: str, camera: int, change: Callable[[np.ndarray], np.ndarray]) -> Callable:
    def changed(contents: dict) -> None:
        contents[key][camera, 0] = change(contents[key][camera, 0])

    return spoil_annotations(changed)


def with_nan(array: np.ndarray) -> np.ndarray:
    return np.where(np.arange(array.size).reshape(array.shape) == 7, np.nan, array)


def spoil_calibration(old: str, new: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        (folder / "camera.calibration").write_text(mpi_calibration().replace(old, new))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda folder: (folder / "annot.mat").unlink(), ("annot.mat",)),
        (lambda folder: (folder / "annot.mat").write_bytes(b"nothing"), ("annot.mat",)),
        (spoil_annotations(lambda contents: contents.pop("annot3")), ("annot.mat", "'annot3'")),
        (spoil_annotations(lambda contents: contents.pop("annot2")), ("annot.mat", "'annot2'")),
        (put("annot3", 2, lambda array: array[:, :81]), ("'annot3'", "camera 2", "shape")),
        (put("annot2", 2, lambda array: array[:-1]), ("annot.mat", "'annot2'")),
        (put("annot3", 2, with_nan), ("'annot3'", "camera 2", "finite")),
        (put("annot2", 0, with_nan), ("'annot2'", "camera 0", "finite")),
        (put("annot3", 0, lambda array: -array), ("'annot3'", "behind the camera")),
        (put("annot3", 0, lambda array: array / 1000), ("'annot3'", "behind the camera")),
        (lambda folder: (folder / "camera.calibration").unlink(), ("camera.calibration",)),
        (spoil_calibration("intrinsic", "inside"), ("camera.calibration", "'intrinsic'")),
        (spoil_calibration("size        96 80", "size 96"), ("camera.calibration", "'size'")),
        (spoil_calibration("size        96 80", "size nan 80"), ("camera.calibration", "'size'")),
        (spoil_calibration("intrinsic   70.0", "intrinsic   -70.0"), ("'intrinsic'", "camera 0")),
        (spoil_calibration("intrinsic   70.0", "intrinsic   x"), ("camera.calibration",)),
        (spoil_calibration("name          2", "name          77"), ("video_2",)),
        (spoil_calibration("size        96 80", "size        192 160"), ("resize",)),
        (lambda folder: write_video(folder / "imageSequence/video_2.avi", 3), ("video_2.avi",)),
        (
            lambda folder: write_images([folder / "imageFrames/video_0/frame_000009.jpg"], 96, 80),
            ("imageFrames/video_0", "1 to 6"),
        ),
    ],
)
def test_broken_recordings_are_refused_and_can_be_left_out(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    spoil: Callable[[Path], object],
    said: tuple[str, ...],
) -> None:
    folder = write_mpi_recording(tmp_path, "S1/Seq1")
    write_mpi_recording(tmp_path, "S2/Seq1")
    spoil(folder)
    with pytest.raises(InputError) as error:
        read_mpi_inf_3dhp(tmp_path, "train")
    assert all(word in str(error.value) for word in said), str(error.value)
    left = {each.subject for each in read_mpi_inf_3dhp(tmp_path, "train", skip_broken=True)}
    assert left == {"S2"} and "skipped" in caplog.text


def test_there_must_be_something(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="S1/Seq1"):
        read_mpi_inf_3dhp(tmp_path, "train")
    with pytest.raises(InputError, match="no part 'test'"):
        read_mpi_inf_3dhp(tmp_path, "test")
    folder = write_mpi_recording(tmp_path, "S1/Seq1")
    (folder / "imageSequence/video_2.avi").rename(folder / "imageSequence/video_3.avi")
    (folder / "imageFrames/video_0").rename(folder / "imageFrames/video_9")
    with pytest.raises(InputError, match="no video and no images"):
        read_mpi_inf_3dhp(tmp_path, "train")
