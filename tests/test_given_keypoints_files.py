"""Keypoints of other detectors: files of each format, and the bodies that are tracked from them."""

import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from keypoint_files import BODY_18, COCO_17, alphapose, as_json, coco, openpose
from tracked_clips import DETECTOR, NUM_FRAMES, FakeDetector, leave, make_clip

from temporal_hmr.errors import InputError
from temporal_hmr.given.keypoints import read_keypoints
from temporal_hmr.motion import Person2D
from temporal_hmr.output.npz import load_motion
from temporal_hmr.skeleton import COCO23
from temporal_hmr.tracked import TrackResult
from temporal_hmr.tracking import TrackSettings, prepare_job, track_video
from temporal_hmr.video import Clip, open_clip


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
        patch.setattr(DETECTOR, TwoPeople)
        yield track_video(clip.path, TrackSettings(weights=weights, refine=False))


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


class TestOneFrameOfOpenpose:
    def test_of_a_longer_clip_it_is_told_to_be_too_short(
        self, clip, weights, seen, tmp_path, caplog
    ) -> None:
        file = openpose(tmp_path / "op", seen) / "walk4_000000000002_keypoints.json"
        assert tracked(clip, weights, file).motions == []
        (told,) = caplog.messages
        assert "long enough to be followed: 2 people in 1 of 6 frames, and 0.25 s or half" in told

    def test_of_one_image_it_gives_everybody(self, clip, weights, seen, tmp_path) -> None:
        (tmp_path / "one").mkdir()
        cv2.imwrite(str(tmp_path / "one" / "a.png"), next(iter(clip)).image)
        file = openpose(tmp_path / "op", seen[:1]) / "walk4_000000000000_keypoints.json"
        result = track_video(tmp_path / "one", TrackSettings(weights=weights, keypoints=file))
        assert [len(motion) for motion in result.motions] == [1, 1]


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

    def test_a_result_of_another_video_as_long_and_as_large_is_told_of(
        self, clip, detected, tmp_path, caplog
    ) -> None:
        detected.save(tmp_path / "result")
        read_keypoints(tmp_path / "result", clip)
        assert not caplog.text
        twin = tmp_path / "twin.mp4"
        twin.write_bytes(clip.path.read_bytes() + b"\0\0\0\x08free")
        read_keypoints(tmp_path / "result", open_clip(twin))
        told = f"was made of {clip.path.name}, which is not the file twin.mp4: are these its people"
        assert told in caplog.text

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
