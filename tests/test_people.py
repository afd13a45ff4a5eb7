"""Seeing people: BlazePose on everybody, as COCO23, against rendered truth and on real clips."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import temporal_hmr
from temporal_hmr.errors import InputError
from temporal_hmr.motion import Person2D
from temporal_hmr.people.reading import weighed
from temporal_hmr.people.similarity import box_overlap, keypoint_similarity
from temporal_hmr.people.tracker import Tracker
from temporal_hmr.skeleton import BLAZEPOSE23, BLAZEPOSE33, COCO23, SMPL24
from temporal_hmr.video import Frame, open_clip

SAMPLE = Path(temporal_hmr.__path__[0]) / "assets" / "sample.mp4"
SHARED_VIDEOS = Path(__file__).parents[2] / "shared" / "data" / "videos"
LIMBS = [
    f"{side}_{part}"
    for side in ("left", "right")
    for part in ("shoulder", "elbow", "wrist", "knee", "ankle")
]


@pytest.fixture
def finder():
    pytest.importorskip("mediapipe", reason="mediapipe has no wheel for this Python")
    from temporal_hmr.people.mediapipe import MediapipePeople

    with MediapipePeople() as people:
        yield people


@pytest.fixture(scope="module")
def sample() -> list[Frame]:
    """Every twelfth frame of the sample clip, as if they followed each other swiftly."""
    if not SAMPLE.exists():
        pytest.skip("the sample clip is not built")
    return [frame for frame in open_clip(SAMPLE) if frame.index % 12 == 0]


def alone(image: np.ndarray, time: float = 0.0) -> Frame:
    return Frame(0, time, np.ascontiguousarray(image))


def joints(person, names=LIMBS) -> np.ndarray:
    return person.keypoints[COCO23.indices(*names)]


def test_the_rendered_person_is_found_where_they_are(finder, sample):
    with np.load(SAMPLE.with_name("sample_truth.npz")) as truth:
        homogeneous = truth["joints3d"] @ truth["K"].T
    projected = homogeneous[..., :2] / homogeneous[..., 2:]
    for frame in sample:
        (person,) = finder.people(frame)
        expected = projected[frame.index][SMPL24.indices(*LIMBS)]
        height = np.ptp(projected[frame.index][:, 1])
        error = np.linalg.norm(joints(person)[:, :2] - expected, axis=-1)
        assert error.mean() < 0.025 * height and error.max() < 0.06 * height
        assert joints(person)[:, 2].min() > 0.5
        low, high = person.box[:2], person.box[2:]
        assert (expected >= low).all() and (expected <= high).all()
        assert (high - low < 1.4 * np.ptp(projected[frame.index], axis=0) + 20).all()
        assert 0.5 < person.score <= 1


def test_joints_that_blazepose_lacks_are_unknown(finder, sample):
    (person,) = finder.people(sample[0])
    assert person.skeleton == BLAZEPOSE23 and person.keypoints.shape == (23, 3)
    np.testing.assert_array_equal(joints(person, ["left_small_toe", "right_small_toe"]), 0)
    assert ((person.keypoints[:, 2] >= 0) & (person.keypoints[:, 2] <= 1)).all()


def test_in_a_mirrored_image_left_is_right(finder, sample):
    (person,) = finder.people(alone(sample[2].image))
    (mirror_image,) = finder.people(alone(sample[2].image[:, ::-1]))
    width = sample[2].image.shape[1]
    back = mirror_image.keypoints[COCO23.flip_permutation()]
    back[:, 0] = width - back[:, 0]
    names = COCO23.indices(*LIMBS)
    assert np.abs(back[names, :2] - person.keypoints[names, :2]).max() < 0.03 * person.box[3]


def test_the_mirror_image_is_read_as_the_image_itself(sample):
    pytest.importorskip("mediapipe", reason="mediapipe has no wheel for this Python")
    from temporal_hmr.people.blazepose import BlazePose, ImagePacket

    plain, mirrored = (ImagePacket.of(sample[2].image, mirrored) for mirrored in (False, True))
    with BlazePose() as network:
        (found,), (again,) = network.detect(plain), network.detect(mirrored)
        here, there = network.read(plain, found), network.read(mirrored, found)
    assert here is not None and there is not None
    for region, other in ((found, again), (here.region, there.region)):
        assert abs(region.x - other.x) < 0.05 * region.size
        assert abs(region.rotation - other.rotation) < 0.15
    limbs = BLAZEPOSE33.indices(*LIMBS)
    away = np.linalg.norm(here.points[limbs, :2] - there.points[limbs, :2], axis=-1)
    assert away.max() < 0.05 * found.size
    twice = here.mirrored(plain.width).mirrored(plain.width)
    np.testing.assert_allclose(twice.points, here.points)
    assert twice.region == pytest.approx(here.region)


def test_keypoints_read_elsewhere_in_the_mirror_are_believed_by_as_much_less():
    keypoints = np.zeros((23, 3))
    keypoints[:, 2] = 0.8
    keypoints[1, :2] = 0, 100  # the extent
    keypoints[2, 2] = 0
    mirrored = keypoints.copy()
    mirrored[3, 0] = 3
    mirrored[4, 0] = 90
    mirrored[5] = 40, 40, 0
    one, other = (Person2D(np.zeros(4), each, BLAZEPOSE23, 1.0) for each in (keypoints, mirrored))
    found = weighed(one, other).keypoints
    np.testing.assert_array_equal(found[:, :2], keypoints[:, :2])
    assert found[3, 2] == pytest.approx(0.4) and found[4, 2] < 0.001
    np.testing.assert_allclose(np.delete(found[:, 2], (3, 4)), np.delete(keypoints[:, 2], (3, 4)))


def test_two_people_are_two_in_every_frame(finder, sample):
    for frame in sample:
        pair = np.concatenate([frame.image, frame.image[:, ::-1]], axis=1)
        people = finder.people(Frame(frame.index, frame.time, np.ascontiguousarray(pair)))
        assert sorted(person.box[0] > frame.image.shape[1] for person in people) == [False, True]


def test_someone_far_away_in_a_large_image_is_found(finder, sample):
    small = cv2.resize(sample[3].image, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    image = np.full((720, 1280, 3), small[0].mean((0, 1)), np.uint8)
    image[300 : 300 + small.shape[0], 700 : 700 + small.shape[1]] = small
    people = finder.people(alone(image))
    (inside,) = [p for p in people if p.box[0] > 700 and p.box[2] < 700 + small.shape[1]]
    assert len(people) == 1
    (large,) = finder.people(alone(sample[3].image))
    at_once = joints(large)[:, :2] * 0.3 + (700, 300)
    assert np.abs(joints(inside)[:, :2] - at_once).max() < 12


def test_joints_outside_the_image_are_unknown(finder, sample):
    image = sample[4].image
    height = image.shape[0]
    (whole,) = finder.people(alone(image))
    cut = int(joints(whole, ["left_hip"])[0, 1]) + 20
    (person,) = finder.people(alone(image[:cut]))
    np.testing.assert_array_equal(joints(person, ["left_ankle", "right_ankle"]), 0)
    assert joints(person, ["left_shoulder", "right_shoulder"])[:, 2].min() > 0.5
    assert cut < height and person.box[3] < cut + 0.2 * height


def test_nobody_is_found_where_nobody_is(finder):
    random = np.random.default_rng(0)
    plain = np.full((240, 320, 3), 127, np.uint8)
    noise = random.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    assert finder.people(alone(plain)) == []
    assert finder.people(alone(noise, 0.1)) == []
    assert finder.people(alone(np.zeros((1, 1, 3), np.uint8), 0.2)) == []


def test_nobody_is_followed_onto_the_wall_behind(finder, sample):
    image = sample[5].image
    assert len(finder.people(alone(image, 0.0))) == 1
    empty = np.broadcast_to(np.median(image, axis=1, keepdims=True), image.shape).astype(np.uint8)
    assert finder.people(alone(empty, 0.1)) == []


def test_nobody_is_followed_into_another_clip(finder, sample):
    assert len(finder.people(alone(sample[0].image, 10.0))) == 1
    assert finder.people(alone(np.full((240, 320, 3), 90, np.uint8), 0.0)) == []


@pytest.mark.parametrize(
    ("name", "people"),
    [("one_person_dribbling.mp4", 1), ("two_people_handshake.mp4", 2), ("group_5_frames.mp4", 4)],
)
def test_real_people_are_found_and_followed(finder, name, people):
    if not (SHARED_VIDEOS / name).exists():
        pytest.skip("the shared videos are not there")
    tracker = Tracker()
    clip = list(open_clip(SHARED_VIDEOS / name))
    clip = clip[::2] if len(clip) > 20 else clip
    counts = []
    for frame in clip:
        seen = finder.people(frame)
        counts.append(len(seen))
        tracker.update(frame, seen)
    assert np.mean(np.array(counts) == people) >= 0.9
    tracks = tracker.tracks()
    assert len(tracks) == people
    assert all(len(track) >= 0.9 * len(clip) for track in tracks)


def test_the_process_ends_well_without_closing_and_says_nothing(sample, tmp_path):
    pytest.importorskip("mediapipe", reason="mediapipe has no wheel for this Python")
    cv2.imwrite(str(tmp_path / "a.png"), sample[0].image[..., ::-1])
    script = (
        "import sys\n"
        "from temporal_hmr.people.mediapipe import MediapipePeople, find_people\n"
        "from temporal_hmr.video import open_clip\n"
        "finder = MediapipePeople()\n"
        "people = finder.people(next(iter(open_clip(sys.argv[1]))))\n"
        "print(len(people), len(list(find_people(open_clip(sys.argv[1])))))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.png")],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["1", "1"]
    assert done.stderr == ""


def test_without_mediapipe_the_remedy_is_named(monkeypatch):
    from temporal_hmr.people.mediapipe import MediapipePeople

    for name in [name for name in sys.modules if name.split(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(InputError, match=r"wheels for Python 3\.8-3\.11 only; use Python 3\.10"):
        MediapipePeople()


def test_of_a_mediapipe_without_its_python_graphs_the_remedy_is_named(monkeypatch):
    """Newer ones have none."""
    pytest.importorskip("mediapipe", reason="mediapipe has no wheel for this Python")
    from temporal_hmr.people.blazepose import BlazePose

    monkeypatch.setitem(sys.modules, "mediapipe.python._framework_bindings", None)
    with pytest.raises(InputError, match="lacks the pose graphs"):
        BlazePose()


def test_similarity_is_one_for_the_same_pose_and_falls_with_distance():
    random = np.random.default_rng(0)
    pose = np.concatenate([random.uniform(0, 200, (23, 2)), random.uniform(0.1, 1, (23, 1))], 1)
    right = np.array([1.0, 0, 0])
    similarities = [
        keypoint_similarity(pose, pose + shift * right, 150, COCO23) for shift in (0, 3, 9, 30, 90)
    ]
    assert similarities[0] == pytest.approx(1)
    assert similarities == sorted(similarities, reverse=True) and similarities[-1] < 0.1
    assert keypoint_similarity(pose, pose * (1, 1, 0), 150, COCO23) == 0


def test_similarity_is_that_of_coco_for_visible_joints():
    random = np.random.default_rng(1)
    a, b = (np.concatenate([random.uniform(0, 40, (23, 2)), np.ones((23, 1))], 1) for _ in "ab")
    nose = COCO23.index("nose")
    a[np.arange(23) != nose, 2] = 0
    distance = np.hypot(*(a[nose, :2] - b[nose, :2]))
    # COCO's evaluation: exp(-d^2 / (2 s^2 k^2)) with k = 2 sigma, and sigma = 0.026 for the nose.
    expected = np.exp(-(distance**2) / (2 * 100.0**2 * 0.052**2))
    assert keypoint_similarity(a, b, 100.0, COCO23) == pytest.approx(expected)


def test_box_overlap_counts_pixels():
    random = np.random.default_rng(2)
    corners = random.integers(0, 20, (2, 6, 2, 2))
    boxes = np.concatenate([corners.min(2), corners.max(2) + 1], -1)
    overlap = box_overlap(boxes[0].astype(float), boxes[1].astype(float))

    def mask(box):
        canvas = np.zeros((22, 22), bool)
        canvas[box[1] : box[3], box[0] : box[2]] = True
        return canvas

    for row, a in enumerate(boxes[0]):
        for column, b in enumerate(boxes[1]):
            expected = (mask(a) & mask(b)).sum() / (mask(a) | mask(b)).sum()
            assert overlap[row, column] == pytest.approx(expected)


@pytest.mark.parametrize("named", [("x", "y", "z", "visibility", "presence"), ("x", "y", "z")])
def test_landmarks_are_read_as_protobuf_reads_them(named):
    """However they are written: usually all five numbers are."""
    pytest.importorskip("mediapipe", reason="mediapipe has no wheel for this Python")
    from mediapipe.framework.formats import landmark_pb2

    from temporal_hmr.people.blazepose import _marks

    messages: Any = landmark_pb2
    random, listed = np.random.default_rng(0), messages.NormalizedLandmarkList()
    numbers = random.normal(size=(33, len(named))).astype(np.float32)
    for row in numbers:
        listed.landmark.add(**dict(zip(named, row.tolist(), strict=True)))
    marks = _marks(listed.SerializeToString())
    np.testing.assert_array_equal(marks[:, :2], numbers[:, :2])
    np.testing.assert_array_equal(marks[:, 2:], numbers[:, 3:] if len(named) == 5 else 0)
    assert _marks(b"").shape == (0, 4)
