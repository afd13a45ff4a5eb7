"""People read inside given boxes: each gets their own keypoints, and nobody somebody else's."""

from pathlib import Path

import cv2
import numpy as np
import pytest

import temporal_hmr
from temporal_hmr.motion import BodyMotion, Person2D
from temporal_hmr.output.npz import load_motion
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23
from temporal_hmr.video import Frame, open_clip

SAMPLE = Path(temporal_hmr.__path__[0]) / "assets" / "sample.mp4"
STEP = 6
"""Every so manieth frame of the sample is looked at."""
FACE = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")


@pytest.fixture(scope="module")
def truth() -> BodyMotion:
    return load_motion(SAMPLE.with_name("sample_truth.npz"))


@pytest.fixture(scope="module")
def boxes(truth) -> np.ndarray:
    return truth.boxes[::STEP].astype(np.float64)


@pytest.fixture(scope="module")
def keypoints(truth) -> np.ndarray:
    return truth.keypoints[::STEP, :, :2]


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [frame.image for frame in open_clip(SAMPLE) if frame.index % STEP == 0]


@pytest.fixture
def reader():
    pytest.importorskip("mediapipe", reason="mediapipe has no wheel for this Python")
    from temporal_hmr.people.boxed import BoxedPeople

    with BoxedPeople() as people:
        yield people


def test_one_reading_of_each_frame_is_as_sure_as_the_network_is(reader, images, keypoints) -> None:
    from temporal_hmr.people.boxed import BoxedPeople, BoxedSettings

    frame, corners = Frame(0, 0.0, images[0]), (keypoints[0].min(0), keypoints[0].max(0))
    (both,) = reader.read_boxes(frame, np.concatenate(corners)[None])
    with BoxedPeople(BoxedSettings(mirrored=False)) as once:
        (plain,) = once.read_boxes(frame, np.concatenate(corners)[None])
    assert both is not None and plain is not None
    np.testing.assert_array_equal(both.keypoints[:, :2], plain.keypoints[:, :2])
    doubted = both.keypoints[:, 2] < plain.keypoints[:, 2]
    assert doubted.sum() > 10 and (both.keypoints[:, 2] <= plain.keypoints[:, 2]).all()


def error(person: Person2D | None, points: np.ndarray) -> float:
    """Mean distance of confident keypoints from the true ones over the person's height."""
    assert person is not None and person.skeleton == BLAZEPOSE23
    distance = np.linalg.norm(person.keypoints[:, :2] - points, axis=-1)
    return distance[person.keypoints[:, 2] > 0.5].mean() / np.ptp(points[:, 1])


def moved(box: np.ndarray, x: float = 0, y: float = 0) -> np.ndarray:
    return box + np.array([x, y, x, y])


def test_two_people_side_by_side_each_get_their_own_reading(
    reader, images, boxes, keypoints
) -> None:
    width = images[0].shape[1]
    for frame in range(0, 8, 2):
        pair = np.stack([boxes[frame], moved(boxes[frame], width)])
        # Who is who comes from the boxes alone, even if they change places from frame to frame.
        order = [0, 1] if frame % 4 == 0 else [1, 0]
        image = np.concatenate([images[frame]] * 2, 1)
        people = reader.read_boxes(Frame(frame, frame / 5, image), pair[order])
        for person, place in zip(people, order, strict=True):
            assert error(person, keypoints[frame] + (place * width, 0)) < 0.03


def test_nobody_is_read_where_nobody_is_meant(reader, images, boxes, keypoints) -> None:
    width = images[0].shape[1]
    left, right, absent = boxes[0], moved(boxes[0], width), np.full(4, np.nan)
    image = np.concatenate([images[0]] * 2, 1)
    first, none = reader.read_boxes(Frame(0, 0.0, image), np.stack([right, absent]))
    assert error(first, keypoints[0] + (width, 0)) < 0.03 and none is None
    # A corner of the wall, a box beyond the image, one of no size, two without bounds.
    empty = np.array([[10, 10, 60, 120], [-90, 20, -10, 300], [50, 50, 50, 50]])
    everything = np.array([[-np.inf, 0, np.inf, 720], [-1e5, -1e5, 1e5, 1e5]])
    frame = Frame(1, 0.1, image)
    second, *nobody = reader.read_boxes(frame, np.concatenate([left[None], empty, everything]))
    assert error(second, keypoints[0]) < 0.03 and nobody == [None] * 5
    assert reader.read_boxes(Frame(2, 0.2, image), moved(left, 80)[None]) == [None]
    assert reader.read_boxes(Frame(3, 0.3, image), np.zeros((0, 4))) == []


@pytest.mark.parametrize("change", [(40, 0, 40, 0), (0, 0, 0, -160)])
def test_one_person_is_not_read_for_two_boxes(reader, images, boxes, keypoints, change) -> None:
    pair = np.stack([boxes[0], boxes[0] + np.array(change)])
    for step in range(3):
        person, nobody = reader.read_boxes(Frame(step, step / 5, images[0]), pair)
        assert nobody is None and error(person, keypoints[0]) < 0.03


def test_someone_whose_legs_are_hidden_is_read_in_the_box_of_all_of_them(
    reader, images, boxes, keypoints
) -> None:
    top, bottom = boxes[0, [1, 3]]
    image = images[0].copy()
    image[int(top + 0.4 * (bottom - top)) :] = (90, 80, 70)
    (person,) = reader.read_boxes(Frame(0, 0.0, image), boxes[:1])
    assert error(person, keypoints[0]) < 0.03


def test_someone_whose_head_is_beyond_the_image_is_read_by_the_box_alone(
    reader, images, boxes, keypoints
) -> None:
    top, bottom = boxes[6, [1, 3]]
    cut = int(top + 0.35 * (bottom - top))
    (person,) = reader.read_boxes(Frame(0, 0.0, images[6][cut:]), moved(boxes[6], y=-cut)[None])
    assert error(person, keypoints[6] - (0, cut)) < 0.03
    assert (person.keypoints[COCO23.indices(*FACE), 2] == 0).all()


def test_who_was_followed_gives_way_to_who_fits_better(reader, images, boxes, keypoints) -> None:
    """A child in front of a grown-up: its box overlaps theirs by half."""
    frame, size = 10, 0.7
    grown_up = boxes[frame]
    left, top, right, bottom = grown_up.astype(int)
    small = cv2.resize(images[frame][top:bottom, left:right], None, fx=size, fy=size)
    image = images[frame].copy()
    height, width = small.shape[:2]
    left += int(0.3 * (right - left))
    image[bottom - height : bottom, left : left + width] = small
    child = np.array([left, bottom - height, left + width, bottom], float)
    (person,) = reader.read_boxes(Frame(0, 0.0, image), child[None])
    assert person is not None
    (person,) = reader.read_boxes(Frame(1, 0.1, image), grown_up[None])
    assert error(person, keypoints[frame]) < 0.06


def test_somebody_who_jumps_is_found_again_in_their_box(reader, images, boxes, keypoints) -> None:
    width = images[0].shape[1]
    blank = np.full_like(images[0], images[0][0, 0])
    for step, place in enumerate([0, 0, 1, 0]):
        image = np.concatenate([images[0], blank] if place == 0 else [blank, images[0]], 1)
        box = moved(boxes[0], place * width)
        (person,) = reader.read_boxes(Frame(step, step / 30, image), box[None])
        assert error(person, keypoints[0] + (place * width, 0)) < 0.03
