"""Checks of who is who, which side is left, and whether the body covers what was seen."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy import ndarray
from walking import about, check, from_frame, moved, predicted, standing, walk, when, wrong

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams, flip_rotations
from temporal_hmr.camera import Camera
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.skeleton import COCO17, COCO23, SMPL24


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


class TestFlips:
    @pytest.mark.parametrize("fps", [10.0, 30.0])
    def test_a_turn_about_in_one_frame(self, body: BodyModel, fps: float) -> None:
        smpl = walk(body, 90, fps)
        about_turn = about(1, np.array(math.pi - 0.1))
        smpl.global_orient[40:] = about_turn @ smpl.global_orient[40:]
        (findings,) = check(body, predicted(body, smpl, fps))
        flips = findings["flips"]
        assert flips.value == 1
        assert when(flips) == [(40, 40)]
        assert "turned about" in flips.moments[0].what

    def test_a_turn_about_smoothed_over_three_frames(self, body: BodyModel) -> None:
        smpl = walk(body)
        angle = np.interp(np.arange(90), [39, 42], [0, 3.0])
        smpl = replace(smpl, global_orient=about(1, angle) @ smpl.global_orient)
        (findings,) = check(body, predicted(body, smpl))
        assert findings["flips"].value == 1
        assert 40 <= findings["flips"].moments[0].first_frame <= 42

    def test_legs_that_change_sides(self, body: BodyModel) -> None:
        smpl = walk(body)
        mirrored = flip_rotations(smpl.rotations())
        legs = SMPL24.indices(
            *(f"{side}_{j}" for side in ("left", "right") for j in ("hip", "knee", "ankle"))
        )
        # In the middle of a stride, when one leg is before and the other behind.
        rows = [joint - 1 for joint in legs]
        smpl.body_pose[45:, rows] = mirrored[45:, legs]
        (findings,) = check(body, predicted(body, smpl))
        assert when(findings["flips"]) == [(45, 45)]
        assert findings["flips"].moments[0].what == "legs change sides"

    def test_a_pirouette_is_no_flip(self, body: BodyModel) -> None:
        """Two turns a second."""
        smpl = standing(90)
        smpl = replace(smpl, global_orient=about(1, 4 * math.pi * np.arange(90) / 30))
        (findings,) = check(body, predicted(body, smpl))
        assert findings["flips"].value == 0

    def test_too_few_frames_a_second_are_not_judged(self, body: BodyModel) -> None:
        (findings,) = check(body, predicted(body, walk(body), fps=5.0))
        assert findings["flips"].verdict == "not judged"

    def test_legs_thrown_elsewhere_do_not_change_sides(self, body: BodyModel) -> None:
        smpl = walk(body)
        hips = [joint - 1 for joint in SMPL24.indices("left_hip", "right_hip")]
        smpl.body_pose[45:, hips] = about(0, np.array(-1.2)) @ smpl.body_pose[45:, hips]
        (findings,) = check(body, predicted(body, smpl))
        assert findings["flips"].value == 0
        assert findings["joint_jump root-relative"].verdict == "fail"


def boxes(motion: PredictedMotion, body: BodyModel) -> ndarray:
    """Around the joints, of a camera with a focal length of 1000 pixels."""
    joints = body.joints(motion.smpl)
    pixels = Camera.with_focal(1000.0, 1000, 1000).project(joints.float()).double().numpy()
    return np.concatenate([pixels.min(1), pixels.max(1)], -1)


class TestIdentity:
    def pair(self, body: BodyModel, swapped_at: int | None) -> list[PredictedMotion]:
        """Two people walking to and past each other."""
        there = moved(walk(body), np.array([0.4, 0, -1.5]))
        back = moved(walk(body), np.array([0.4, 0, -1.5]))
        back = body.transform(back, about(1, np.full(90, math.pi)), torch.zeros(90, 3))
        if swapped_at is not None:
            there, back = (
                from_frame(mine, swapped_at, lambda _, other=other: other[swapped_at:])
                for mine, other in ((there, back), (back, there))
            )
        motions = [
            predicted(body, smpl, name=name) for name, smpl in (("ann", there), ("bob", back))
        ]
        return [replace(motion, boxes=boxes(motion, body)) for motion in motions]

    def test_people_who_pass_each_other_keep_their_names(self, body: BodyModel) -> None:
        for findings in check(body, *self.pair(body, None)):
            assert not wrong(findings)

    @pytest.mark.parametrize("frame", [20, 45])
    def test_an_exchange_is_found_in_its_frame(self, body: BodyModel, frame: int) -> None:
        """Also at the moment of passing, when they stand side by side."""
        for findings, other in zip(
            check(body, *self.pair(body, frame)), ("bob", "ann"), strict=True
        ):
            assert findings["swaps"].verdict == "fail"
            assert when(findings["swaps"]) == [(frame, frame)]
            assert findings["swaps"].moments[0].what == f"with {other}"
            assert {f for f in wrong(findings) if f.startswith("foot")} <= {"foot_skate"}

    def test_boxes_alone_will_do(self, body: BodyModel) -> None:
        motions = [replace(motion, has_depth=False, world=None) for motion in self.pair(body, 20)]
        for findings in check(body, *motions):
            assert when(findings["swaps"]) == [(20, 20)]

    def test_an_exchange_behind_a_blink_is_found(self, body: BodyModel) -> None:
        """The frames between are guesses on a straight line, so that nothing jumps."""
        filled = np.zeros(90, bool)
        filled[16:20] = True
        motions = []
        for motion in self.pair(body, 20):
            transl = motion.smpl.transl
            share = torch.linspace(0, 1, 6, dtype=torch.float64)[1:-1, None]
            transl[16:20] = torch.lerp(transl[15], transl[20], share)
            motions.append(replace(motion, filled=filled, boxes=boxes(motion, body)))
        for findings in check(body, *motions):
            assert when(findings["swaps"]) == [(20, 20)]

    def test_who_is_away_for_long_may_come_back_anywhere(self, body: BodyModel) -> None:
        kept = np.r_[0:20, 38:90]
        there, back = (motion.smpl for motion in self.pair(body, 38))
        motions = [
            predicted(body, smpl[torch.from_numpy(kept)], frames=kept) for smpl in (there, back)
        ]
        for findings in check(body, *motions):
            assert findings["swaps"].value == 0

    def test_runners_who_take_each_others_place_in_one_frame(self, body: BodyModel) -> None:
        """At 10 frames per second and 5 m/s; both go on as they went."""
        way = 0.5 * (np.arange(20)[:, None] - 9.5) * np.array([1.0, 0, 0])
        motions = [
            predicted(body, moved(standing(20), side * way + [0, 0, 0.1 * side]), 10.0)
            for side in (1, -1)
        ]
        for findings in check(body, *motions):
            assert findings["swaps"].value == 0

    def test_people_in_one_place_are_not_exchanged_by_noise(self, body: BodyModel) -> None:
        noise = np.random.default_rng(0).normal(0, 0.01, (2, 90, 3))
        motions = [predicted(body, moved(standing(90), each)) for each in noise]
        for findings in check(body, *motions):
            assert findings["swaps"].value == 0

    def test_a_track_that_goes_on_as_somebody_else(self, body: BodyModel) -> None:
        def somebody_else(smpl: SmplParams) -> SmplParams:
            return moved(replace(smpl, betas=smpl.betas + 1.0), np.array([0.7, 0, 0.5]))

        (findings,) = check(body, predicted(body, from_frame(walk(body), 40, somebody_else)))
        breaks = findings["breaks"]
        assert when(breaks) == [(40, 40)]
        assert breaks.moments[0].what == "pelvis and shape"


class TestReprojection:
    camera = Camera(torch.tensor([1000.0, 1000.0]), torch.tensor([500.0, 400.0]), 1000, 800)

    def seen(self, body: BodyModel, offset: float, **more: object) -> PredictedMotion:
        """Detections at a known distance from the body's own keypoints; half of them doubtful,
        and far away."""
        motion = predicted(body, moved(walk(body), np.array([0, -0.3, -3.0])))
        regressor = body.point_regressor(body.regressors["coco_feet"])
        points = body.regress(motion.smpl, regressor)
        pixels = (points[..., :2] / points[..., 2:] * 1000).numpy() + np.array([500, 400])
        keypoints = np.concatenate(
            [pixels + np.array([0.6, 0.8]) * offset, np.ones((90, 23, 1))], 2
        )
        keypoints[:, ::2] = [-900, -900, 0.4]
        box = np.tile([100.0, 100, 300, 500], (90, 1))
        return replace(
            motion, camera=self.camera, keypoints=keypoints, skeleton=COCO23, boxes=box, **more
        )

    @pytest.mark.parametrize(("offset", "verdict"), [(0.0, "ok"), (30.0, "warn"), (60.0, "fail")])
    def test_a_known_distance(self, body: BodyModel, offset: float, verdict: str) -> None:
        (findings,) = check(body, self.seen(body, offset))
        finding = findings["reprojection camera"]
        assert finding.value == pytest.approx(100 * offset / 400, abs=1e-3)
        assert finding.verdict == verdict
        assert f"{offset:.1f} px in 90 frames" in finding.note

    def test_only_the_frames_that_are_off_are_named(self, body: BodyModel) -> None:
        motion = self.seen(body, 0.0)
        assert motion.keypoints is not None
        motion.keypoints[30:35, :, 0] += 100
        (findings,) = check(body, motion)
        assert when(findings["reprojection camera"]) == [(30, 34)]

    def test_a_camera_per_frame_and_another_skeleton(self, body: BodyModel) -> None:
        motion = self.seen(body, 20.0)
        assert motion.keypoints is not None
        camera = replace(
            self.camera,
            focal=self.camera.focal.expand(90, 2),
            center=self.camera.center.expand(90, 2),
        )
        keypoints = motion.keypoints[:, COCO23.indices(*COCO17.joints)]
        motion = replace(motion, camera=camera, keypoints=keypoints, skeleton=COCO17)
        (findings,) = check(body, motion)
        assert findings["reprojection camera"].value == pytest.approx(5.0)

    def test_a_body_behind_the_camera_fails(self, body: BodyModel) -> None:
        motion = self.seen(body, 0.0)
        motion.smpl.transl[10, 2] -= 20
        (findings,) = check(body, motion)
        assert findings["reprojection camera"].verdict == "fail"
        assert when(findings["reprojection camera"]) == [(10, 10)]
        assert "behind the camera in 1" in findings["reprojection camera"].note
