"""From labelled sequences to windows."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from labelled_clips import MARKED, SIZE, posed, spot, write_sequence
from torch import Generator

from temporal_hmr.batch import BodyTarget, CropWindow
from temporal_hmr.crops import cut_window
from temporal_hmr.data.augmentation import UNVARIED
from temporal_hmr.data.clip_images import Unreadable, read_frames
from temporal_hmr.data.detector_noise import CLEAN, DetectorNoise
from temporal_hmr.data.sequence import Sequence, VideoFrames
from temporal_hmr.data.stretches import StretchSettings, cover, draw_stretch, runs
from temporal_hmr.data.windows import WindowCutter, WindowSettings
from temporal_hmr.native_output import silenced
from temporal_hmr.skeleton import COCO23, SMPL24

FRAMES, SIDE = 5, 64


@pytest.fixture(scope="module")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Sequence:
    return write_sequence(tmp_path_factory.mktemp("images"), FRAMES)


def cutter(frames: int = FRAMES, side: int | None = SIDE, **settings: float) -> WindowCutter:
    return WindowCutter(WindowSettings(frames=frames, side=side, **settings), posed())  # type: ignore[arg-type]


def cut(maker: WindowCutter, sequence: Sequence) -> tuple[CropWindow, BodyTarget]:
    made = maker.cut(sequence, cover(sequence, maker.settings)[0], 0)
    assert made is not None
    return made


def of_times(times: np.ndarray) -> Sequence:
    """A sequence of which only the times matter."""
    count = len(times)
    return Sequence(
        name="times",
        dataset="made",
        trusted=True,
        images=tuple(Path(str(number)) for number in range(count)),
        image_size=SIZE,
        times=times,
        focal=None,
        center=None,
        boxes=np.zeros((count, 4)),
        keypoints=np.zeros((count, 23, 3)),
        joints=np.zeros((count, 24, 3)),
        has_joints=np.zeros((count, 24), bool),
    )


def test_windows_meet_in_training_what_they_meet_in_use(sequence: Sequence) -> None:
    """The box is the one that tracking would cut."""
    window, target = cut(cutter(side=None), sequence)
    keypoints = torch.from_numpy(sequence.keypoints).float()[None]
    times = torch.from_numpy(sequence.times).float()[None]
    valid = torch.ones(1, FRAMES, dtype=torch.bool)
    focal, center = torch.full((1, 2), 260.0), torch.tensor([[145.0, 128.0]])
    expected = cut_window(keypoints[..., :2], keypoints[..., 2], times, valid, focal, center)
    for name, value in vars(expected).items():
        if value is not None:
            torch.testing.assert_close(getattr(window, name), value, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(target.joints[0], torch.from_numpy(sequence.joints).float())
    assert target.trusted.all() and target.has_joints.all() and target.has_smpl.all()


def test_every_frame_is_covered_and_the_last_window_ends_with_the_sequence() -> None:
    for count in (1, 3, 4, 5, 11, 12, 30):
        sequence = of_times(np.arange(count) / 30)
        for overlap in (0.0, 0.5, 0.75):
            settings = StretchSettings(frames=4, overlap=overlap)
            found = cover(sequence, settings)
            reached = {int(f) for each in found for f in each.frames[each.valid]}
            assert reached == set(range(count))
            assert found[-1].frames[-1] == count - 1
            assert len({tuple(each.frames) for each in found}) == len(found)


def test_strides_in_seconds_follow_the_frame_rate() -> None:
    for fps, step in ((30, 2), (60, 4), (15, 1), (10, 1)):
        settings = StretchSettings(frames=3, seconds=1 / 15)
        frames = cover(of_times(np.arange(40) / fps), settings)[0].frames
        assert (np.diff(frames) == step).all()
    every = StretchSettings(frames=3, seconds=None, every=8)
    assert (np.diff(cover(of_times(np.arange(40) / 50), every)[0].frames) == 8).all()
    with pytest.raises(ValueError, match="one of"):
        StretchSettings(every=2)


def test_a_short_sequence_is_filled_up_by_its_last_frame() -> None:
    for stretch in (
        cover(of_times(np.arange(3) / 30), StretchSettings(frames=5))[0],
        draw_stretch(of_times(np.arange(3) / 30), StretchSettings(frames=5), Generator()),
    ):
        assert stretch.frames.tolist() == [0, 1, 2, 2, 2]
        assert stretch.valid.tolist() == [True, True, True, False, False]
        assert stretch.times.tolist() == pytest.approx([0, 1 / 30, 2 / 30, 2 / 30, 2 / 30])


def test_no_window_bridges_a_gap() -> None:
    """People leave the image and return."""
    times = np.concatenate([np.arange(7), 100 + np.arange(9)]) / 30
    sequence = of_times(times)
    assert runs(sequence) == [range(0, 7), range(7, 16)]
    settings = StretchSettings(frames=4)
    generator = Generator().manual_seed(0)
    drawn = [draw_stretch(sequence, settings, generator) for _ in range(100)]
    for stretch in (*cover(sequence, settings), *drawn):
        assert stretch.times[-1] < 0.2
    assert {int(each.frames[0]) for each in drawn} == {0, 1, 2, 3, *range(7, 13)}


def test_faster_motion_takes_less_time() -> None:
    settings = StretchSettings(frames=4, speed=(2.0, 2.0))
    stretch = draw_stretch(of_times(np.arange(40) / 60), settings, Generator())
    assert (np.diff(stretch.frames) == 4).all()
    np.testing.assert_allclose(np.diff(stretch.times), 1 / 30)
    halved = StretchSettings(frames=4, speed=(0.5, 0.5))
    stretch = draw_stretch(of_times(np.arange(40) / 30), halved, Generator())
    np.testing.assert_allclose(np.diff(stretch.times), 2 / 30)


def test_a_picture_is_a_clip_of_one_frame(sequence: Sequence) -> None:
    picture = replace(
        sequence,
        images=sequence.images[:1],  # type: ignore[index]
        **{
            name: getattr(sequence, name)[:1]
            for name in ("times", "focal", "center", "boxes", "keypoints", "joints", "has_joints")
        },
        smpl=sequence.smpl[:1],  # type: ignore[index]
        has_smpl=np.ones(1, bool),
    )
    window, _ = cut(cutter(), picture)
    alone, _ = cut(cutter(frames=1), picture)
    assert window.images is not None and alone.images is not None
    assert window.valid[0].tolist() == [True] + [False] * (FRAMES - 1)
    assert not window.scores[0, 1:].any() and not window.images[0, 1:].any()
    assert torch.equal(window.images[0, 0], alone.images[0, 0]) and alone.images.any()
    torch.testing.assert_close(window.box_size[:, :1], alone.box_size)


def test_too_few_keypoints_leave_the_labelled_box(sequence: Sequence) -> None:
    keypoints = sequence.keypoints.copy()
    keypoints[:, 3:, 2] = 0
    boxes = np.tile([100.0, 60.0, 200.0, 180.0], (FRAMES, 1))
    boxes[2] = np.nan
    few = replace(sequence, keypoints=keypoints, boxes=boxes)
    window, target = cut(cutter(), few)
    torch.testing.assert_close(window.box_size, torch.full((1, FRAMES), 120.0))
    center = torch.tensor([150.0, 120.0]).expand(1, FRAMES, 2)
    torch.testing.assert_close(window.box_center, center)
    assert window.valid.all() and target.has_keypoints[..., :3].all()
    nowhere = replace(few, boxes=np.full_like(boxes, np.nan))
    assert cutter().cut(nowhere, cover(nowhere, cutter().settings)[0], 0) is None


def test_without_a_camera_the_body_stands_where_it_is_seen(sequence: Sequence) -> None:
    """The diagonal is the focal length, and the labels' own distance means nothing."""
    smpl = sequence.smpl
    assert smpl is not None
    lost = replace(
        sequence,
        focal=None,
        center=None,
        smpl=replace(smpl, transl=0 * smpl.transl),
        joints=sequence.joints * 0,
        has_joints=np.zeros((FRAMES, 24), bool),
    )
    window, target = cut(cutter(side=None), lost)
    assert window.focal[0].tolist() == pytest.approx([400.0, 400.0])
    assert window.center[0].tolist() == [160.0, 120.0]
    assert target.has_smpl.all() and target.has_joints.all()
    error = (posed()(target.smpl, window).keypoints - target.keypoints).norm(dim=-1)
    assert float(error.mean()) < 0.06
    torch.testing.assert_close(posed().body.joints(target.smpl), target.joints)
    depth = target.joints[0, :, 0, 2] / torch.from_numpy(sequence.joints[:, 0, 2])
    np.testing.assert_allclose(depth.numpy(), 400 / 260, rtol=0.1)


def test_joints_alone_are_placed_by_the_keypoints_of_their_names(sequence: Sequence) -> None:
    known = np.zeros((FRAMES, 24), bool)
    known[:, SMPL24.indices("pelvis", "left_hip", "left_knee", "right_knee", "left_wrist")] = True
    lost = replace(
        sequence,
        focal=None,
        center=None,
        smpl=None,
        has_smpl=None,
        joints=sequence.joints - sequence.joints[:, :1],
        has_joints=known,
    )
    _, target = cut(cutter(side=None), lost)
    assert (target.has_joints[0].numpy() == known).all() and not target.has_smpl.any()
    depth = target.joints[0, :, 0, 2].numpy() / sequence.joints[:, 0, 2]
    np.testing.assert_allclose(depth, 400 / 260, rtol=0.15)
    blind = replace(lost, keypoints=lost.keypoints * 0)
    _, target = cut(cutter(), blind)
    assert not target.has_joints.any(), "nobody says where they are"


def test_who_is_told_the_assumed_camera_learns_what_explains_the_image(sequence: Sequence) -> None:
    window, target = cut(cutter(assumed_focal_share=1.0), sequence)
    assert window.focal[0].tolist() == pytest.approx([400.0, 400.0])
    assert window.center[0].tolist() == [160.0, 120.0]
    error = (posed()(target.smpl, window).keypoints - target.keypoints).norm(dim=-1)
    assert float(error.mean()) < 0.06
    torch.testing.assert_close(posed().body.joints(target.smpl), target.joints, atol=1e-4, rtol=0)
    assert window.images is not None
    for channel, joint in enumerate(MARKED):
        where = spot(window.images[0, 0], channel)
        expected = target.keypoints[0, 0, COCO23.index(joint)].double()
        assert float((where - expected).abs().max()) < 0.03


def test_a_detector_stands_in_for_the_annotators(sequence: Sequence) -> None:
    keypoints = sequence.keypoints.copy()
    heel = COCO23.index("left_heel")
    keypoints[:, heel] = 0
    missing = replace(sequence, keypoints=keypoints)
    plain, truth = cut(cutter(), missing)
    assert not plain.scores[..., heel].any() and not truth.has_keypoints[..., heel].any()
    clean = replace(cutter(), noise=CLEAN)
    window, target = cut(clean, missing)
    assert target.has_keypoints.all(), "the body knows where its heel is"
    torch.testing.assert_close(window.keypoints, target.keypoints, atol=1e-4, rtol=0)
    noise = DetectorNoise(clean_share=0.0, blackout_share=0.0)
    noisy, target = cut(replace(cutter(), noise=noise), missing)
    known = noisy.scores > 0
    error = (noisy.keypoints - target.keypoints).norm(dim=-1)[known]
    assert 0.003 < float(error.median()) < 0.2


def test_unsure_annotations_are_seen_but_are_no_truth(sequence: Sequence) -> None:
    keypoints = sequence.keypoints.copy()
    keypoints[:, 4, 2] = 0.1
    window, target = cut(cutter(side=None), replace(sequence, keypoints=keypoints))
    assert not target.has_keypoints[..., 4].any()
    torch.testing.assert_close(window.scores[..., 4], torch.full((1, FRAMES), 0.1))


def test_unreadable_frames_might_never_have_been(sequence: Sequence, tmp_path: Path) -> None:
    """They are invalid, reported with their path, and nothing else depends on their labels."""
    paths = list(sequence.images)  # type: ignore[arg-type]
    paths[1] = tmp_path / "missing.png"
    paths[3] = tmp_path / "broken.png"
    paths[3].write_bytes(paths[0].read_bytes()[:200])
    maker = cutter()
    window, _ = cut(maker, replace(sequence, images=tuple(paths)))
    assert window.images is not None
    assert window.valid[0].tolist() == [True, False, True, False, True]
    assert not window.images[0, [1, 3]].any() and window.images[0, [0, 2, 4]].any()
    assert {path for path, _ in maker.unreadable.reasons} == {paths[1], paths[3]}
    wild = sequence.keypoints.copy()
    wild[[1, 3], :, :2] += 50
    other, _ = cut(cutter(), replace(sequence, images=tuple(paths), keypoints=wild))
    torch.testing.assert_close(other.box_center, window.box_center)
    torch.testing.assert_close(other.box_size, window.box_size)
    none = replace(sequence, images=(tmp_path / "missing.png",) * FRAMES)
    assert maker.cut(none, cover(none, maker.settings)[0], 0) is None


def test_a_jpeg_that_breaks_off_is_unreadable(sequence: Sequence, tmp_path: Path) -> None:
    """Decoders make its missing part grey, and say nothing that a program would hear."""
    image = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3)).astype(np.uint8)
    path = tmp_path / "whole.jpg"
    cv2.imwrite(str(path), image)
    cut_off = tmp_path / "cut.jpg"
    cut_off.write_bytes(path.read_bytes()[:-5000])
    assert cv2.imread(str(cut_off)) is not None
    unreadable = Unreadable()
    both = replace(sequence, images=(path, cut_off, path, path, path))
    assert [frame for frame, _ in read_frames(both, [0, 1], unreadable)] == [0]
    assert "breaks off" in unreadable.reasons[cut_off, 0]


def test_images_of_another_size_than_their_labels_are_unreadable(
    sequence: Sequence, tmp_path: Path
) -> None:
    path = tmp_path / "small.png"
    cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))
    unreadable = Unreadable()
    assert not list(read_frames(replace(sequence, images=(path,) * 5), [0, 1], unreadable))
    assert "30 x 20" in unreadable.reasons[path, 0] and len(unreadable) == 1


def test_reports_are_few(caplog: pytest.LogCaptureFixture) -> None:
    unreadable = Unreadable()
    for number in range(1000):
        unreadable.add((Path(f"{number}.jpg"), 0), f"{number}.jpg is broken")
        unreadable.add((Path(f"{number}.jpg"), 0), f"{number}.jpg is broken")
    assert "0.jpg is broken" in caplog.messages[0]
    assert 20 < len(caplog.messages) < 30
    assert unreadable.summary().startswith("1000 images of 1000 files")


def test_images_on_their_side_are_turned(sequence: Sequence, tmp_path: Path) -> None:
    paths = []
    for frame, path in enumerate(sequence.images):  # type: ignore[arg-type]
        stored = cv2.rotate(cv2.imread(str(path)), cv2.ROTATE_90_COUNTERCLOCKWISE)
        paths.append(tmp_path / f"{frame}.png")
        cv2.imwrite(str(paths[-1]), stored)
    turned, _ = cut(cutter(), replace(sequence, images=tuple(paths), quarter_turns=1))
    straight, _ = cut(cutter(), sequence)
    assert turned.images is not None and straight.images is not None
    assert torch.equal(turned.images, straight.images) and turned.valid.all()


def test_frames_of_a_video_are_those_of_its_numbers(sequence: Sequence, tmp_path: Path) -> None:
    path = tmp_path / "video.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30, SIZE)
    for number in range(8):
        writer.write(np.full((SIZE[1], SIZE[0], 3), 30 * number, np.uint8))
    writer.release()
    images = VideoFrames(path, (1, 2, 4, 6, 9))
    unreadable = Unreadable()
    video = replace(sequence, images=images)
    found = {
        frame: float(image.mean()) for frame, image in read_frames(video, [0, 2, 3, 4], unreadable)
    }
    assert list(found) == [0, 2, 3]
    assert list(found.values()) == pytest.approx([30, 120, 180], abs=3)
    assert "breaks off" in unreadable.reasons[path, 9]


def test_a_threads_silence_ends_with_the_last_of_them() -> None:
    """Two at once left standard error closed for good."""
    before = os.fstat(2)
    first, second = threading.Event(), threading.Event()

    def other() -> None:
        with silenced():
            first.set()
            second.wait(5)

    thread = threading.Thread(target=other)
    with silenced():
        thread.start()
        first.wait(5)
        assert not os.path.samestat(os.fstat(2), before)
    second.set()
    thread.join()
    assert os.path.samestat(os.fstat(2), before)


def test_same_seed_same_window(sequence: Sequence) -> None:
    maker = replace(cutter(), augmentation=type(UNVARIED)(), noise=DetectorNoise())
    stretch = cover(sequence, maker.settings)[0]
    pairs = [(maker.cut(sequence, stretch, 7), maker.cut(sequence, stretch, 8)) for _ in range(2)]
    (first, other), (second, _) = pairs
    assert first is not None and second is not None and other is not None
    assert torch.equal(first[0].keypoints, second[0].keypoints)
    assert torch.equal(first[0].images, second[0].images)  # type: ignore[arg-type]
    assert not torch.equal(first[0].keypoints, other[0].keypoints)
