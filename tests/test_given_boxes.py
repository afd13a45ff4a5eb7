"""Boxes of the MOT challenge in the place of a detector: who is in them, and with which number."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy import ndarray
from tracked_clips import NUM_FRAMES

from temporal_hmr.given import finders
from temporal_hmr.given.keypoints import GivenKeypoints, read_keypoints
from temporal_hmr.motion import Person2D
from temporal_hmr.people.boxed import BoxedSettings
from temporal_hmr.skeleton import BLAZEPOSE23
from temporal_hmr.tracking import TrackSettings, _eyes, track_video
from temporal_hmr.video import Clip


class FakeReader:
    """In place of BlazePose: reads whoever stands at a box's corner; a box of width 3 is empty."""

    def __init__(self, settings: BoxedSettings) -> None:
        self.settings = settings

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
        settings = TrackSettings(weights=weights, keypoints=path, refine=False)
        result = track_video(clip.path, settings)
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

    @pytest.mark.parametrize("light", [False, True])
    def test_light_readings_are_read_once(
        self, clip, weights, tmp_path, monkeypatch, light
    ) -> None:
        monkeypatch.setattr(finders, "BoxedPeople", FakeReader)
        path = tmp_path / "boxes"
        self.read(path, self.lines(), clip)
        settings = TrackSettings(weights=weights, keypoints=path, light=light)
        eyes = _eyes(clip, settings)
        with eyes.open(torch.device("cpu")) as detector:
            assert detector._reader.settings.mirrored != light
        assert ("both ways round" in str(eyes)) != light, "what is found is kept under that name"

    def test_detections_have_no_numbers_and_ground_truth_has_classes(
        self, clip, tmp_path, caplog
    ) -> None:
        given = self.read(tmp_path / "d", self.lines("-1"), clip)
        assert {each.person_id for each in given.boxes[0]} == {None}
        truth = ["1,1,10,20,8,30,1,1,0.8", "1,2,10,20,8,30,0,1,0.8", "1,3,10,20,8,30,1,3,1"]
        given = self.read(tmp_path / "g", truth, clip)
        assert [each.person_id for each in given.boxes[0]] == [1]
        assert "2 lines are not of people" in caplog.text
