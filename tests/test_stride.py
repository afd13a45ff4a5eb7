"""Results of every so manieth frame, and of uneven times, are judged and shown as such."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from viewer_contents import Contents
from viewer_results import COUNT, FPS, grey_of, image_folder, walker, write
from walking import check, moved, predicted, standing, walk, when, wrong

from temporal_hmr import metrics
from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.checks.timing import Clock, derivative, frame_step
from temporal_hmr.errors import InputError
from temporal_hmr.motion import BodyMotion, PredictedMotion
from temporal_hmr.output.viewer.curves import joint_curves
from temporal_hmr.output.viewer.page import build_page
from temporal_hmr.output.viewer.result import open_result
from temporal_hmr.video import open_clip


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


@pytest.fixture(autouse=True)
def _loaded_once(body: BodyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("temporal_hmr.checks.reading.load_body", lambda *_, **__: body)


def strided(body: BodyModel, smpl: SmplParams, step: int = 2, first: int = 0) -> PredictedMotion:
    """As our files have what was seen in every so manieth frame of 30 a second."""
    numbers = first + step * np.arange(len(smpl.transl))
    return predicted(body, smpl, 30.0 / step, frames=numbers, times=numbers / 30.0)


class TestCheck:
    def test_frames_that_were_not_looked_at_are_not_missing(self, body: BodyModel) -> None:
        (findings,) = check(body, strided(body, walk(body, 45, 15.0)))
        assert not wrong(findings)
        assert findings["gap"].value == 0
        even = check(body, predicted(body, walk(body, 45, 15.0), 15.0))[0]
        for name in ("jitter world", "pelvis_speed world", "foot_skate world", "joint_speed"):
            one, other = (each.get(name) for each in (findings, even))
            assert one is None or one.value == pytest.approx(other.value, rel=1e-6)

    def test_a_jump_is_found_when_it_happens(self, body: BodyModel) -> None:
        offset = np.zeros((60, 3))
        offset[40:, 0] = 0.9
        motion = strided(body, moved(standing(60), offset), first=10)
        jump = check(body, motion)[0]["pelvis_jump world"]
        assert when(jump) == [(90, 90)] and jump.worst is not None
        assert jump.worst.first_time == pytest.approx(3.0)
        assert jump.value == pytest.approx(0.9 * 15)

    def test_frames_that_are_missing_are(self, body: BodyModel) -> None:
        motion = strided(body, standing(60))
        kept = np.delete(np.arange(60), [20, 21, 22])
        rows = torch.from_numpy(kept)
        assert motion.world is not None and motion.times is not None
        motion = replace(
            motion,
            frames=motion.frames[kept],
            times=motion.times[kept],
            smpl=motion.smpl[rows],
            world=motion.world[rows],
        )
        (findings,) = check(body, motion)
        assert when(findings["gap"]) == [(40, 44)]
        assert findings["gap"].value == pytest.approx(3 / 15)

    def test_people_of_two_lengths_share_one_step(self, body: BodyModel) -> None:
        one, other = strided(body, standing(40), 3), strided(body, standing(2), 3, first=30)
        assert frame_step([one, other]) == 3
        assert frame_step([replace(one, times=None), replace(other, times=None)]) == 1
        assert frame_step([one, replace(other, frames=other.frames + 1)]) == 1

    def test_a_file_with_holes_only_is_not_one_of_every_tenth_frame(self, body: BodyModel) -> None:
        numbers = 10 * np.arange(20)
        motion = predicted(body, standing(20), 30.0, frames=numbers, times=numbers / 30)
        assert check(body, motion)[0]["gap"].value == pytest.approx(9 / 30)

    def test_times_that_stand_still_are_refused(self, body: BodyModel) -> None:
        with pytest.raises(InputError, match="times do not increase"):
            check(body, predicted(body, standing(4), times=np.zeros(4)))


class TestUnevenTimes:
    TIMES = np.cumsum(np.tile([0.02, 0.05, 0.02, 0.05, 0.11], 24))

    def at(self, body: BodyModel, offset: np.ndarray) -> PredictedMotion:
        fps = 1 / float(np.diff(self.TIMES).mean())
        return predicted(body, moved(standing(120), offset), fps, times=self.TIMES)

    def test_an_even_speed_has_no_jitter_and_no_jump(self, body: BodyModel) -> None:
        offset = np.zeros((120, 3))
        offset[:, 0] = 2.0 * self.TIMES
        (findings,) = check(body, self.at(body, offset))
        assert findings["pelvis_speed world"].value == pytest.approx(2.0)
        assert findings["pelvis_jump world"].value == pytest.approx(0, abs=1e-6)
        assert findings["jitter world"].value == pytest.approx(0, abs=1e-6)

    def test_jitter_is_the_third_derivative(self, body: BodyModel) -> None:
        offset = np.zeros((120, 3))
        offset[:, 1] = 0.4 * self.TIMES**3
        (findings,) = check(body, self.at(body, offset))
        assert findings["jitter world"].value == pytest.approx(6 * 0.4 / 10)

    def test_even_times_give_what_the_metrics_do(self) -> None:
        points = np.random.default_rng(0).normal(size=(40, 5, 3))
        # As a file gives them that knows milliseconds.
        clock = Clock(np.arange(40), np.round(np.arange(40) / 29.97, 3), 29.97)
        for order, metric in ((2, metrics.acceleration), (3, metrics.jitter)):
            found = metric(points, 29.97)
            sizes = np.linalg.norm(derivative(points, clock.intervals, order), axis=-1).mean(-1)
            sizes = sizes / (10 if order == 3 else 1)
            np.testing.assert_allclose(sizes[found.frames.numpy()], found.values.numpy())
            assert np.isnan(sizes).sum() == order


class TestViewer:
    def every_other(self, body: BodyModel) -> BodyMotion:
        """Of somebody who is in all frames, the even ones."""
        motion = walker(body, 0, 0.0)
        rows = np.arange(0, COUNT, 2)
        arrays = ("frames", "times", "joints", "boxes", "keypoints", "observed", "confidence")
        some = {name: getattr(motion, name)[rows] for name in arrays}
        return replace(motion, smpl=motion.smpl[torch.from_numpy(rows)], fps=FPS / 2, **some)

    def test_the_page_has_the_frames_that_were_looked_at(
        self, body: BodyModel, tmp_path: Path
    ) -> None:
        motion = self.every_other(body)
        result = open_result(write(tmp_path / "walk", [motion], "walk"))
        clip = open_clip(image_folder(tmp_path / "video"), fps=FPS)
        for each in (clip, None):
            page = build_page(result, each, "")
            contents = Contents(page)
            assert page.frames.numbers.tolist() == motion.frames.tolist()
            np.testing.assert_allclose(contents.head["times"], motion.times, atol=1e-6)
            status = contents.of(0, "status")
            assert len(status) == len(motion) and status.min() > 0
            assert contents.head["fps"] / contents.head["step"] == FPS / 2
        contents = Contents(build_page(result, clip, ""))
        greys = [float(contents.picture(number).mean()) for number in range(len(motion))]
        np.testing.assert_allclose(greys, [grey_of(frame) for frame in motion.frames], atol=3)

    def test_curves_are_of_the_time_between_the_frames(
        self, body: BodyModel, tmp_path: Path
    ) -> None:
        result = open_result(write(tmp_path / "walk", [self.every_other(body)], "walk"))
        (person,) = result.people
        speed = joint_curves(person, result.fps)["speed camera"]
        true = np.linalg.norm(np.diff(person.joints, axis=0), axis=-1) * FPS / 2
        np.testing.assert_allclose(speed[1:], true, rtol=1e-6)
        uneven = np.cumsum(np.tile([0.1, 0.3], len(person.times) // 2))
        speed = joint_curves(replace(person, times=uneven), result.fps)["speed camera"]
        true = np.linalg.norm(np.diff(person.joints, axis=0), axis=-1)
        np.testing.assert_allclose(speed[1:], true / np.diff(uneven)[:, None], rtol=1e-6)
