"""Keypoints of other detectors: files of each format, and the bodies that are tracked from them."""

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray
from test_track import NUM_FRAMES, FakeDetector, leave, make_clip, tiny_config

from temporal_hmr.checkpoint import save_checkpoint
from temporal_hmr.errors import InputError
from temporal_hmr.given import finders
from temporal_hmr.given.frame_numbers import count_frames
from temporal_hmr.given.keypoints import GivenKeypoints, read_keypoints
from temporal_hmr.models.hmr import Hmr
from temporal_hmr.motion import Person2D
from temporal_hmr.output.npz import load_motion
from temporal_hmr.people.tracker import Tracker
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23
from temporal_hmr.tracked import TrackResult
from temporal_hmr.tracking import TrackSettings, prepare_job, track_video
from temporal_hmr.video import Clip, open_clip, read_image

SIDES = ("Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist")
HEAD = ("REye", "LEye", "REar", "LEar")
LEGS = ("RHip", "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle")
BODY_25 = (
    *(*SIDES, "MidHip", *LEGS, *HEAD),
    *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"),
)
BODY_18 = (*SIDES, *LEGS, *HEAD)
COCO_17 = (
    *("Nose", "LEye", "REye", "LEar", "REar"),
    *(f"{s}{p}" for p in ("Shoulder", "Elbow", "Wrist", "Hip", "Knee", "Ankle") for s in "LR"),
)
HALPE_26 = (
    *(*COCO_17, "Head", "Neck", "Hip", "LBigToe", "RBigToe", "LSmallToe", "RSmallToe"),
    *("LHeel", "RHeel"),
)
"""The published orders, written down apart from the package's own."""
WHOLE_BODY_23 = (*COCO_17, *("LBigToe", "LSmallToe", "LHeel", "RBigToe", "RSmallToe", "RHeel"))


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return open_clip(make_clip(tmp_path_factory.mktemp("clip") / "walk.mp4"))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    torch.manual_seed(0)
    save_checkpoint(Hmr(tiny_config()), tiny_config(), "hmr", path, half=True)
    return path


@pytest.fixture(scope="module")
def seen(clip: Clip) -> list[list[Person2D]]:
    """Two people in every frame of the clip."""
    detector = FakeDetector()
    frames = list(clip)
    return [[detector.person(frame, number) for number in range(2)] for frame in frames]


class TwoPeople(FakeDetector):
    num_people = 2


@pytest.fixture(scope="module")
def detected(clip: Clip, weights: Path) -> Iterator[TrackResult]:
    """What the detector's own way gives."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("temporal_hmr.people.mediapipe.MediapipePeople", TwoPeople)
        yield track_video(clip.path, TrackSettings(weights=weights, refine=False))


def in_order(person: Person2D, names: tuple[str, ...], total: int | None = None) -> list[float]:
    """The flat list of a format that has these joints first, and `total` of them."""
    ours = {"L": "left_", "R": "right_"}
    found = np.zeros((total or len(names), 3))
    for place, name in enumerate(names):
        part = name[1:] if name[0] in ours and name[1].isupper() else name
        words = "".join(f"_{c.lower()}" if c.isupper() else c for c in part).strip("_")
        joint = (ours[name[0]] if part != name else "") + words
        if joint in COCO23.joints:
            found[place] = person.keypoints[COCO23.index(joint)]
    return found.reshape(-1).tolist()


def everybody(seen: list[list[Person2D]]) -> Iterator[tuple[int, int, Person2D]]:
    for frame, people in enumerate(seen):
        # The order within a frame says nothing of who is who.
        for number, person in reversed(list(enumerate(people))):
            yield frame, number, person


def coco(seen: Any, names: tuple[str, ...] = WHOLE_BODY_23, total: int | None = None) -> list:
    return [
        {
            "image_id": frame,
            "category_id": 1,
            "keypoints": in_order(person, names, total),
            "score": 0.9,
        }
        for frame, _, person in everybody(seen)
    ]


def alphapose(seen: Any, idx: Callable[[int], Any] = lambda number: 5 - 3 * number) -> list:
    return [
        {
            "image_id": f"{frame}.jpg",
            "category_id": 1,
            "keypoints": in_order(person, HALPE_26, 136),
            "score": 2.9,
            "box": [1.0, 2.0, 3.0, 4.0],
            "idx": idx(number),
        }
        for frame, number, person in everybody(seen)
    ]


def openpose(folder: Path, seen: Any, names: tuple[str, ...] = BODY_25) -> Path:
    folder.mkdir()
    for frame, people in enumerate(seen):
        told = [
            {"person_id": [-1], "pose_keypoints_2d": in_order(each, names), "face_keypoints_2d": []}
            for each in people
        ]
        path = folder / f"walk4_{frame:012d}_keypoints.json"
        path.write_text(json.dumps({"version": 1.3, "people": told}))
    return folder


def as_json(path: Path, contents: Any) -> Path:
    path.write_text(json.dumps(contents))
    return path


def tracked(clip: Clip, weights: Path, keypoints: Path) -> TrackResult:
    return track_video(clip.path, TrackSettings(weights=weights, keypoints=keypoints, refine=False))


def same_bodies(result: TrackResult, other: TrackResult) -> bool:
    return len(result.motions) == len(other.motions) and all(
        np.array_equal(a.keypoints, b.keypoints)
        and torch.equal(a.smpl.body_pose, b.smpl.body_pose)
        and torch.equal(a.smpl.transl, b.smpl.transl)
        for a, b in zip(result.motions, other.motions, strict=True)
    )


class TestSameBodiesAsFromTheDetector:
    def test_coco_whole_body_results(self, clip, weights, seen, detected, tmp_path) -> None:
        path = as_json(tmp_path / "any.name", coco(seen, total=133))
        assert same_bodies(tracked(clip, weights, path), detected)

    def test_openpose_body_25(self, clip, weights, seen, detected, tmp_path) -> None:
        result = tracked(clip, weights, openpose(tmp_path / "json", seen))
        assert same_bodies(result, detected)
        assert "OpenPose" in result.provenance.detector

    def test_alphapose_with_its_numbers(self, clip, weights, seen, detected, tmp_path) -> None:
        result = tracked(clip, weights, as_json(tmp_path / "a.json", alphapose(seen)))
        assert [motion.person_id for motion in result.motions] == [2, 5]
        # Who has number 5 stands left, and is the detector's 0.
        result.motions.reverse()
        assert same_bodies(result, detected)

    def test_our_own_result(self, clip, weights, detected, tmp_path) -> None:
        files = detected.save(tmp_path / "result")
        assert same_bodies(tracked(clip, weights, tmp_path / "result"), detected)
        people = read_keypoints(files[1], clip).people
        assert {each.person_id for frame in people.values() for each in frame} == {1}

    def test_seventeen_joints_run_and_have_no_feet(self, clip, weights, seen, tmp_path) -> None:
        result = tracked(clip, weights, as_json(tmp_path / "c.json", coco(seen, COCO_17)))
        for motion, person in zip(result.motions, seen[2], strict=True):
            assert np.allclose(motion.keypoints[2][:17], person.keypoints[:17])
            assert not motion.keypoints[:, 17:].any()
            assert torch.isfinite(motion.smpl.transl).all()


def people_in(path: Path, clip: Clip) -> dict[int, list[Person2D]]:
    return read_keypoints(path, clip).people


class TestFormats:
    def test_openpose_18_and_alphapose_in_its_manner(self, clip, seen, tmp_path) -> None:
        folder = openpose(tmp_path / "json", seen, BODY_18)
        frames = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
        whole = as_json(tmp_path / "open.json", {f"{n}.jpg": each for n, each in enumerate(frames)})
        bodies = {
            f"{n}.jpg": {
                "bodies": [{"joints": each["pose_keypoints_2d"]} for each in frame["people"]]
            }
            for n, frame in enumerate(frames)
        }
        for path in (folder, whole, as_json(tmp_path / "cmu.json", bodies)):
            found = people_in(path, clip)
            for frame, person in product(range(NUM_FRAMES), range(2)):
                expected = seen[frame][person].keypoints.copy()
                expected[17:] = 0
                assert np.allclose(found[frame][person].keypoints, expected)

    def test_coco_annotations_by_file_name_flag_and_named_joint(self, clip, seen, tmp_path) -> None:
        people = coco(seen, COCO_17)
        for person in people:
            person["image_id"] += 900
            person["keypoints"][2::3] = [2, 1, 0] + [2] * 14
            person["track_id"] = 3 + (person["keypoints"][0] > 50)
        names = [COCO23.joints[i] for i in range(17)]
        names[0], names[16] = names[16], names[0]
        contents = {
            "images": [
                {"id": 900 + n, "file_name": f"walk/{n:06d}.jpg", "width": 98, "height": 128}
                for n in range(NUM_FRAMES)
            ],
            "annotations": [*people, {**people[0], "iscrowd": 1}],
            "categories": [{"id": 1, "name": "person", "keypoints": names}],
        }
        found = people_in(as_json(tmp_path / "c.json", contents), clip)
        assert {person.person_id for person in found[3]} == {3, 4}
        (left,) = (person for person in found[3] if person.person_id == 3)
        assert left.keypoints[:3, 2].tolist() == [1, 0.5, 0]
        nose, ankle = COCO23.indices("nose", "right_ankle")
        assert np.allclose(left.keypoints[ankle, :2], seen[3][0].keypoints[nose, :2])

    def test_whole_body_annotations_bring_their_feet(self, clip, seen, tmp_path) -> None:
        people = coco(seen)
        for person in people:
            person["keypoints"], person["foot_kpts"] = (
                person["keypoints"][:51],
                person["keypoints"][51:],
            )
        found = people_in(as_json(tmp_path / "c.json", people), clip)
        assert np.allclose(found[0][1].keypoints, seen[0][0].keypoints)

    def test_alphapose_that_tracks_nobody_writes_zeros(self, clip, seen, tmp_path) -> None:
        """Two people of number 0 in a frame are two people whom our tracker tells apart."""
        for zero in (0, 0.0, [0.0], [[0.0]]):
            path = as_json(tmp_path / "a.json", alphapose(seen, lambda _, zero=zero: zero))
            found = people_in(path, clip)
            assert [person.person_id for person in found[0]] == [None, None]

    def test_confidences_beyond_one_are_clipped(self, clip, seen, tmp_path, caplog) -> None:
        people = coco(seen)
        people[0]["keypoints"][2] = 1.2
        people[0]["keypoints"][5] = -0.1
        (person, _) = people_in(as_json(tmp_path / "c.json", people), clip)[0]
        assert person.keypoints[:2, 2].tolist() == [1, 0] and not caplog.text
        people[0]["keypoints"][2] = 8
        people_in(as_json(tmp_path / "c.json", people), clip)
        assert "no probabilities" in caplog.text

    def test_noise_is_left_out_and_told_of(self, clip, seen, tmp_path, caplog) -> None:
        people = coco(seen)
        people[0]["keypoints"][2::3] = [0.05] * 23
        assert len(people_in(as_json(tmp_path / "c.json", people), clip)[0]) == 1
        assert "1 of 12 people are too unsure" in caplog.text


class FakeReader:
    """In place of BlazePose: reads whoever stands at a box's corner; a box of width 3 is empty."""

    def close(self) -> None:
        pass

    def state(self) -> int:
        return 7

    def restore(self, state: int | None) -> None:
        pass

    def read_boxes(self, frame: Any, boxes: ndarray) -> list[Person2D | None]:
        def read(box: ndarray) -> Person2D | None:
            keypoints = np.ones((23, 3))
            keypoints[:, :2] = box[:2] + np.arange(46).reshape(23, 2) % 7
            return None if box[2] - box[0] == 3 else Person2D(box, keypoints, BLAZEPOSE23, 0.9)

        return [read(box) for box in boxes]


class TestBoxes:
    def lines(self, identity: str = "{}") -> list[str]:
        return [
            f"{frame + 1},{identity.format(number)},{10 * number + frame},20,8,30,1,-1,-1,-1"
            for frame, number in product(range(NUM_FRAMES), (4, 2))
        ]

    def read(self, path: Path, lines: list[str], clip: Clip) -> GivenKeypoints:
        path.write_text("\n".join(lines) + "\n")
        return read_keypoints(path, clip)

    def test_of_the_mot_challenge_keep_their_numbers(
        self, clip, weights, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr(finders, "BoxedPeople", FakeReader)
        path = tmp_path / "boxes"
        self.read(path, self.lines(), clip)
        result = tracked(clip, weights, path)
        assert [motion.person_id for motion in result.motions] == [2, 4]
        # Frames count from 1.
        assert np.allclose(result.motions[1].keypoints[:, 0, 0], 40 + np.arange(NUM_FRAMES))
        assert result.motions[0].skeleton == BLAZEPOSE23
        assert "BlazePose" in result.provenance.detector

    def test_unreadable_people_are_not_seen(self, clip, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(finders, "BoxedPeople", FakeReader)
        lines = [*self.lines(), f"{NUM_FRAMES},9,10,10,3,9,1,-1,-1,-1"]
        with self.read(tmp_path / "b", lines, clip).open(torch.device("cpu")) as detector:
            *_, last = clip
            assert [person.person_id for person in detector.people(last)] == [4, 2]
            assert detector.state() == 7

    def test_detections_have_no_numbers_and_ground_truth_has_classes(
        self, clip, tmp_path, caplog
    ) -> None:
        given = self.read(tmp_path / "d", self.lines("-1"), clip)
        assert {each.person_id for each in given.boxes[0]} == {None}
        truth = ["1,1,10,20,8,30,1,1,0.8", "1,2,10,20,8,30,0,1,0.8", "1,3,10,20,8,30,1,3,1"]
        given = self.read(tmp_path / "g", truth, clip)
        assert [each.person_id for each in given.boxes[0]] == [1]
        assert "2 lines are not of people" in caplog.text


class TestFrameNumbers:
    def count(self, clip: Clip, *keys: int | str, counts_from: int = 0) -> list[int]:
        return list(count_frames(Path("f"), keys, counts_from, clip).frames.values())

    def test_count_from_zero_or_one(self, clip) -> None:
        assert self.count(clip, 0, 3) == [0, 3]
        assert self.count(clip, 1, NUM_FRAMES) == [0, NUM_FRAMES - 1]
        assert self.count(clip, 2, 3) == [2, 3]
        assert self.count(clip, 2, 3, counts_from=1) == [1, 2]
        assert self.count(clip, 0, 3, counts_from=1) == [0, 3]

    def test_are_the_last_number_of_a_name(self, clip) -> None:
        assert self.count(clip, "0.jpg", "v2/cam7_000003.png", "walk_5_rendered") == [0, 3, 5]

    def test_names_of_images_win_over_numbers(self, tmp_path) -> None:
        folder = tmp_path / "images"
        folder.mkdir()
        image = read_image(Path(__file__).parents[1] / "docs" / "overlay.jpg")[:8, :8]
        for number in (107, 98):
            import cv2

            cv2.imwrite(str(folder / f"im{number}.png"), image)
        pictures = open_clip(folder)
        assert self.count(pictures, "im107.png", "im98.png") == [1, 0]
        assert self.count(pictures, "im107") == [1]

    def test_beyond_the_video_are_refused(self, clip) -> None:
        with pytest.raises(InputError, match=r"frame 6, and walk.mp4 has 6 \(0 to 5\)"):
            self.count(clip, 0, NUM_FRAMES)
        with pytest.raises(InputError, match="whose name ends in no number"):
            self.count(clip, "first.jpg")
        with pytest.raises(InputError, match="both would be frame 1"):
            self.count(clip, "a1.jpg", "b1.jpg")


def test_another_shot_gives_a_new_number_above_all() -> None:
    def person(number: int | None) -> Person2D:
        keypoints = np.ones((23, 3)) * (number or 50) * 9
        return Person2D(keypoints[[0, 0], :2].reshape(4), keypoints, COCO23, 1.0, number)

    tracker = Tracker()
    for frame in range(10):
        if frame == 5:
            tracker.cut()
        tracker.add(frame, frame / 10, [person(3), person(None), person(8)][: 3 - frame % 2])
    tracks = {track.person_id: track.frames.tolist() for track in tracker.tracks()}
    assert tracks[3] == [0, 1, 2, 3, 4] and tracks[8] == [0, 2, 4]
    assert sorted(tracks) == [3, 8, 9, 10, 11, 12]


def test_another_content_is_another_result(clip, seen, weights, tmp_path) -> None:
    """So that neither journals nor finished results of other keypoints are taken up."""
    path = as_json(tmp_path / "c.json", coco(seen))
    settings = TrackSettings(weights=weights, keypoints=path)
    first = prepare_job(clip.path, settings).provenance
    seen[0][0].keypoints[0, 0] += 1e-3
    as_json(path, coco(seen))
    seen[0][0].keypoints[0, 0] -= 1e-3
    second = prepare_job(clip.path, settings).provenance
    assert first.settings["keypoints"] != second.settings["keypoints"]
    assert json.loads(json.dumps(first.settings)) == first.settings


def spoiled_list(change: Callable[[list], Any]) -> Callable[[Path, Any], Path]:
    def write(folder: Path, seen: Any) -> Path:
        contents = coco(seen)
        changed = change(contents)
        return as_json(folder / "c.json", contents if changed is None else changed)

    return write


def written(content: bytes) -> Callable[[Path, Any], Path]:
    def write(folder: Path, _: Any) -> Path:
        (folder / "file").write_bytes(content)
        return folder / "file"

    return write


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder, _: folder / "none", "there are no keypoints at"),
        (lambda folder, _: folder, "holds no keypoints that we know"),
        (written(b""), "is empty"),
        (written(b"hello\n"), "holds no keypoints that we know"),
        (written(b"\xff\xfe\x00\x01"), "holds no keypoints that we know"),
        (written(b'[{"image_id": 1, "keyp'), "is damaged"),
        (written(b"PK\x03\x04 torn"), "damaged"),
        (written(b"[]"), "tells of nobody"),
        (written(b'{"a": 1}'), "its keys: a"),
        (written(b"[3]"), "is of type int"),
        (written(b"1,1,2,3,4,5,1\n2,oops\n"), "line 2 is not frame,id"),
        (written(b"1,1,2,3,nan,5,1\n"), "line 1 is not frame,id"),
        (written(b"1,1,2,3,0,5,1\n"), "has no area"),
        (written(b"1,1,2,3,4,5,1\n1,1,2,3,4,5,1\n"), "a second time"),
        (written(b"1,1,900,800,40,50,1\n"), "outside of the picture"),
        (spoiled_list(lambda c: c[3].pop("keypoints") and None), "person 3 'keypoints' is missing"),
        (spoiled_list(lambda c: c[3].pop("image_id") and None), "person 3 'image_id' is missing"),
        (spoiled_list(lambda c: c[3]["keypoints"].pop() and None), "has 68 numbers"),
        (spoiled_list(lambda c: c[3].update(keypoints=[1.0] * 51)), "different numbers"),
        (spoiled_list(lambda c: c[3].update(keypoints=[float("nan")] * 69)), "not finite"),
        (spoiled_list(lambda c: c[3].update(keypoints="many")), "holds no numbers"),
        (spoiled_list(lambda c: c[3].update(image_id=40)), "tells of frame 40"),
        (spoiled_list(lambda c: c[3].update(track_id="Ann")), "not the number of a person"),
        (
            spoiled_list(lambda c: [each.update(track_id=1) for each in c] and None),
            "a second time",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(clip, seen, tmp_path, spoil, message) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read_keypoints(spoil(tmp_path, seen), clip)
    assert "\n" not in str(refused.value)


class TestPixelsOfAnotherPicture:
    def scaled(self, path: Path, seen: Any, factor: float) -> Path:
        people = coco(seen)
        for person in people:
            flat = np.array(person["keypoints"]).reshape(-1, 3) * [factor, factor, 1]
            person["keypoints"] = flat.reshape(-1).tolist()
        return as_json(path, people)

    def test_of_a_larger_one_are_refused(self, clip, seen, tmp_path) -> None:
        with pytest.raises(InputError, match="lie outside of the picture of 98 x 128"):
            read_keypoints(self.scaled(tmp_path / "c.json", seen, 3), clip)

    def test_in_shares_of_it_are_refused(self, clip, seen, tmp_path) -> None:
        with pytest.raises(InputError, match="as if in shares of the picture"):
            read_keypoints(self.scaled(tmp_path / "c.json", seen, 1 / 128), clip)

    def test_a_little_outside_is_unknown(self, clip, seen, tmp_path, caplog) -> None:
        path = self.scaled(tmp_path / "c.json", seen, 1.22)
        people = [each for frame in people_in(path, clip).values() for each in frame]
        known = np.concatenate([each.keypoints[each.keypoints[:, 2] > 0] for each in people])
        assert (known[:, :2] < (98, 128)).all() and "are they of this video?" in caplog.text

    def test_of_images_of_another_size_are_refused(self, clip, seen, tmp_path) -> None:
        images = [{"id": n, "width": 196, "height": 256} for n in range(NUM_FRAMES)]
        contents = {"images": images, "annotations": coco(seen)}
        with pytest.raises(InputError, match="is of pictures of 196 x 256 pixels"):
            read_keypoints(as_json(tmp_path / "c.json", contents), clip)

    def test_a_result_of_another_video_is_refused(self, detected, tmp_path) -> None:
        detected.save(tmp_path / "result")
        faster = open_clip(make_clip(tmp_path / "other.mp4"))
        faster.times = faster.times / 2
        with pytest.raises(InputError, match="is of another video: its frame 5 is at"):
            read_keypoints(tmp_path / "result", faster)


def test_the_door_takes_them_and_refuses_what_they_exclude(
    clip, seen, weights, tmp_path, capsys
) -> None:
    path = as_json(tmp_path / "c.json", coco(seen))
    words = (
        clip.path,
        "-o",
        tmp_path,
        "--weights",
        weights,
        "--no-render",
        "--no-refine",
        "--keypoints",
        path,
    )
    assert leave(*words) == 0
    assert (load_motion(tmp_path / "walk" / "person_001.npz").observed).all()
    made = json.loads((tmp_path / "walk" / "result.json").read_text())
    assert made["settings"]["keypoints"]["file"] == "c.json"
    assert made["detector"] == "23 keypoints of a file: COCO results, frames counted from 0"
    capsys.readouterr()
    for more, told in (
        (("--detector", "vitpose"), "takes the place of a detector"),
        ((clip.path.with_name("other.mp4"),), "give one SOURCE"),
    ):
        assert leave(*words, *more) == 2
        assert told in capsys.readouterr().err
