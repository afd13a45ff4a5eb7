"""Checks without ground truth: each planted fault is found when it happens, and only then."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from body_files import small_body
from walking import about, check, from_frame, moved, predicted, standing, walk, when, wrong

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyArrays, BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.checks.findings import Limits, Signal, worst_verdict
from temporal_hmr.checks.run import CheckSettings
from temporal_hmr.checks.shape import bone_lengths
from temporal_hmr.checks.smoothness import jitter_limits, jumps
from temporal_hmr.checks.subject import prepare
from temporal_hmr.checks.thresholds import Thresholds
from temporal_hmr.checks.timing import Clock
from temporal_hmr.configuration import parse_config
from temporal_hmr.errors import InputError
from temporal_hmr.skeleton import SMPL24


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


class TestHonestMotion:
    @pytest.mark.parametrize("fps", [12.0, 30.0, 60.0])
    def test_a_walk_passes_all_that_can_be_judged(self, body: BodyModel, fps: float) -> None:
        (findings,) = check(body, predicted(body, walk(body, 90, fps), fps))
        assert not wrong(findings)
        unjudged = {f.name for f in findings.values() if f.verdict == "not judged"}
        assert unjudged == {"filled", "reprojection"}

    def test_feet_of_the_walk_stand_still_on_the_ground(self, body: BodyModel) -> None:
        (findings,) = check(body, predicted(body, walk(body)))
        assert findings["foot_skate world"].value == pytest.approx(0, abs=1e-3)
        assert findings["foot_sunk world"].value == pytest.approx(0, abs=1)

    def test_somebody_standing_passes(self, body: BodyModel) -> None:
        noise = np.random.default_rng(0).normal(0, 5e-4, (60, 3))
        smpl = moved(standing(60), np.cumsum(noise, 0) * 0.1)
        smpl = replace(smpl, body_pose=smpl.body_pose @ about(0, noise[:, :1].repeat(23, 1)))
        (findings,) = check(body, predicted(body, smpl))
        assert not wrong(findings)


class TestSmoothness:
    @pytest.mark.parametrize("fps", [12.0, 30.0])
    def test_jitter_of_a_known_size(self, body: BodyModel, fps: float) -> None:
        """A sine's third difference is the sine times (2 sin(w dt / 2))^3; the mean of |cos| is
        2 / pi."""
        count, size, per_second = 600, 0.02, math.sqrt(2)
        turn = 2 * math.pi * per_second / fps
        sway = np.zeros((count, 3))
        sway[:, 0] = size * np.sin(turn * np.arange(count))
        (findings,) = check(body, predicted(body, moved(standing(count), sway), fps))
        expected = size * (2 * math.sin(turn / 2)) ** 3 * fps**3 / 10 * 2 / math.pi
        for space in ("camera", "world"):
            assert findings[f"jitter {space}"].value == pytest.approx(expected, rel=0.01)
        assert findings["jitter root-relative"].value == pytest.approx(0, abs=1e-9)

    def test_a_burst_of_shaking_is_found_where_it_is(self, body: BodyModel) -> None:
        draw = np.random.default_rng(0)
        shaking = np.zeros((150, 23))
        shaking[60:100] = draw.normal(0, 0.1, (40, 23))
        smpl = walk(body, 150)
        smpl = replace(smpl, body_pose=smpl.body_pose @ about(0, shaking))
        (findings,) = check(body, predicted(body, smpl))
        burst = findings["jitter_burst root-relative"]
        assert burst.verdict == "fail"
        assert len(burst.moments) == 1
        assert 60 - 15 <= burst.moments[0].first_frame <= 60
        assert 99 <= burst.moments[0].last_frame <= 99 + 15
        assert burst.worst is not None and 70 <= burst.worst.first_frame <= 90

    def test_a_teleport_is_found_in_its_frame_and_only_there(self, body: BodyModel) -> None:
        smpl = from_frame(walk(body), 40, lambda s: moved(s, np.array([1.0, 0, 0])))
        (findings,) = check(body, predicted(body, smpl))
        for space in ("camera", "world"):
            for name in ("pelvis_speed", "pelvis_jump"):
                finding = findings[f"{name} {space}"]
                assert finding.verdict == "fail"
                assert when(finding) == [(40, 40)]
        jump = findings["pelvis_jump world"]
        assert jump.value == pytest.approx(30.0, rel=0.01)
        assert jump.worst is not None and jump.worst.first_time == pytest.approx(40 / 30)
        # The mean of the jitter rises with it; its worst places are the same.
        assert wrong(findings) == {"pelvis_speed", "pelvis_jump", "jitter"}
        for first, last in when(findings["jitter world"]):
            assert 38 <= first <= last <= 41

    def test_a_frame_out_of_line_is_two_jumps(self, body: BodyModel) -> None:
        smpl = walk(body)
        smpl.transl[50, 1] += 0.3
        (findings,) = check(body, predicted(body, smpl))
        assert when(findings["pelvis_jump world"]) == [(50, 51)]

    def test_one_joint_jumping_is_named(self, body: BodyModel) -> None:
        smpl = walk(body)
        elbow = SMPL24.index("left_elbow") - 1
        smpl.body_pose[30, elbow] = smpl.body_pose[30, elbow] @ about(1, np.array(2.5))
        (findings,) = check(body, predicted(body, smpl))
        jump = findings["joint_jump root-relative"]
        assert when(jump) == [(30, 31)]
        assert jump.moments[0].what == "left_hand"
        assert "pelvis_jump" not in wrong(findings)

    def test_jumps_agree_with_a_naive_median(self) -> None:
        steps = np.random.default_rng(0).normal(size=(30, 4, 3))
        steps[12] = np.nan
        found = jumps(steps)
        for row in range(30):
            around = [
                steps[other]
                for other in (row - 2, row - 1, row + 1, row + 2)
                if 0 <= other < 30 and other != 12
            ]
            naive = np.linalg.norm(steps[row] - np.median(around, axis=0), axis=-1)
            np.testing.assert_allclose(found[row], naive)
        assert np.isnan(jumps(steps[:2])).all(), "one neighbour tells nothing"

    def test_a_frozen_run_is_found_and_timed(self, body: BodyModel) -> None:
        smpl = walk(body)
        order = np.arange(90)
        order[31:50] = 30
        smpl = SmplParams(smpl.global_orient[order], smpl.body_pose[order], smpl.betas, smpl.transl)
        (findings,) = check(body, predicted(body, smpl))
        frozen = findings["frozen"]
        assert frozen.verdict == "fail"
        assert when(frozen) == [(31, 49)]
        assert frozen.value == pytest.approx(19 / 30)
        assert findings["repeated"].value == pytest.approx(100 * 19 / 89)

    def test_without_a_place_the_pelvis_is_not_judged(self, body: BodyModel) -> None:
        motion = predicted(body, walk(body), world=None, has_depth=False)
        (findings,) = check(body, motion)
        assert findings["pelvis_speed"].verdict == "not judged"
        assert "jitter camera" not in findings
        assert findings["jitter root-relative"].verdict == "ok"

    def test_limits_of_jitter_follow_the_frame_rate(self) -> None:
        limits = [jitter_limits("jitter", Thresholds(), fps).fail for fps in (30.0, 15.0)]
        assert limits == pytest.approx([90.0, 90.0 / 2**1.2])


class TestShape:
    def test_bones_that_grow_by_a_tenth(self) -> None:
        """On a body whose first shape coefficient makes everything larger by the factor 1 + b."""
        arrays = small_body()
        arrays["shapedirs"] = np.zeros((60, 3, 10))
        arrays["shapedirs"][..., 0] = arrays["v_template"]
        body = BodyModel(
            BodyArrays(
                "toy", "", arrays["v_template"], arrays["f"], arrays["shapedirs"],
                arrays["posedirs"] * 0, arrays["J_regressor"], arrays["weights"],
                {"coco_feet": arrays["regressor_coco_feet"]},
            ),
            torch.float64,
        )  # fmt: skip
        smpl = standing(60)
        smpl.betas[40:, 0] = 0.1
        (findings,) = check(body, predicted(body, smpl))
        drift = findings["bone_drift"]
        assert drift.value == pytest.approx(10.0)
        assert when(drift) == [(40, 59)]
        assert findings["shape_drift"].value == pytest.approx(0.1)

    def test_lengths_agree_with_a_loop(self) -> None:
        joints = np.random.default_rng(0).normal(size=(3, 24, 3))
        lengths = bone_lengths(joints)
        for frame in range(3):
            for joint in range(1, 24):
                bone = joints[frame, joint] - joints[frame, SMPL24.parents[joint]]
                assert lengths[frame, joint - 1] == pytest.approx(math.sqrt(bone @ bone))

    def test_on_a_stand_in_only_the_coefficients_are_judged(self, body: BodyModel) -> None:
        smpl = walk(body)
        smpl.betas[50] += 0.6
        (findings,) = check(body, predicted(body, smpl), own_body=False)
        assert findings["bone_drift"].verdict == "not judged"
        assert "--body" in findings["bone_drift"].note
        assert when(findings["shape_drift"]) == [(50, 50)]

    def test_a_stand_in_has_one_shape(self, body: BodyModel) -> None:
        smpl = standing(60)
        smpl.betas[:] = torch.from_numpy(np.random.default_rng(0).normal(size=(60, 10)))
        (findings,) = check(body, predicted(body, smpl), own_body=False)
        assert findings["jitter root-relative"].value == pytest.approx(0, abs=1e-9)
        (findings,) = check(body, predicted(body, smpl))
        assert findings["jitter root-relative"].verdict == "fail"


class TestPresence:
    def test_frames_that_are_no_numbers(self, body: BodyModel) -> None:
        smpl = walk(body)
        smpl.body_pose[10:13, 4, 0, 0] = torch.nan
        smpl.transl[70, 2] = torch.inf
        (findings,) = check(body, predicted(body, smpl))
        assert findings["nan_frames"].value == 4
        assert when(findings["nan_frames"]) == [(10, 12), (70, 70)]
        assert wrong(findings) == {"nan_frames"}

    def test_nothing_but_nan_is_not_judged_further(self, body: BodyModel) -> None:
        smpl = walk(body, 20)
        smpl.transl[:] = torch.nan
        (findings,) = check(body, predicted(body, smpl))
        assert wrong(findings) == {"nan_frames"}
        assert findings["jitter world"].verdict == findings["bone_drift"].verdict == "not judged"

    def test_differences_never_cross_a_gap(self, body: BodyModel) -> None:
        """Whoever is away for a second may come back elsewhere, in another pose."""
        smpl = walk(body, 120)
        kept = np.r_[0:40, 76:120]
        motion = predicted(body, smpl[torch.from_numpy(kept)], frames=kept)
        (findings,) = check(body, motion)
        gap = findings["gap"]
        assert gap.value == pytest.approx(36 / 30)
        assert when(gap) == [(40, 75)]
        assert wrong(findings) == {"gap"}

    def test_the_share_of_guesses(self, body: BodyModel) -> None:
        filled = np.zeros(90, bool)
        filled[20:50] = True
        (findings,) = check(body, predicted(body, walk(body), filled=filled))
        assert findings["filled"].value == pytest.approx(100 / 3)
        assert when(findings["filled"]) == [(20, 49)]

    def test_frame_numbers_need_not_start_at_zero(self, body: BodyModel) -> None:
        smpl = from_frame(walk(body), 40, lambda s: moved(s, np.array([1.0, 0, 0])))
        (findings,) = check(body, predicted(body, smpl, frames=np.arange(1000, 1090)))
        moment = findings["pelvis_jump world"].moments[0]
        assert moment.first_frame == 1040
        assert moment.first_time == pytest.approx(1040 / 30)

    @pytest.mark.parametrize(
        ("frames", "said"),
        [([3, 3], "do not increase"), ([0, 10**12], "can be judged at once"), ([], "no fra")],
    )
    def test_frame_numbers_that_cannot_be(
        self, body: BodyModel, frames: list[int], said: str
    ) -> None:
        motion = predicted(body, walk(body, len(frames)), frames=np.array(frames, int))
        with pytest.raises(InputError, match=said):
            prepare(motion, body, True, 30.0)

    def test_one_frame_is_enough_to_be_told_what_is_missing(self, body: BodyModel) -> None:
        (findings,) = check(body, predicted(body, walk(body, 1)))
        assert not wrong(findings)
        assert findings["jitter world"].verdict == "not judged"

    def test_a_world_that_is_no_number_counts(self, body: BodyModel) -> None:
        motion = predicted(body, walk(body))
        assert motion.world is not None
        world = motion.world.map(torch.clone)
        world.transl[33] = torch.nan
        (findings,) = check(body, replace(motion, world=world))
        assert when(findings["nan_frames"]) == [(33, 33)]

    def test_a_place_that_means_nothing_may_be_anything(self, body: BodyModel) -> None:
        motion = predicted(body, walk(body), has_depth=False, world=None)
        motion.smpl.transl[:] = torch.nan
        (findings,) = check(body, motion)
        assert findings["nan_frames"].value == 0
        assert findings["jitter root-relative"].verdict == "ok"


class TestVerdicts:
    def test_limits_belong_to_the_milder_side(self) -> None:
        limits = Limits(1.0, 2.0)
        assert [limits.verdict(value) for value in (1.0, 1.1, 2.0, 2.1, math.nan)] == [
            "ok",
            "warn",
            "warn",
            "fail",
            "not judged",
        ]

    def test_the_severest_counts(self) -> None:
        assert worst_verdict(["ok", "fail", "warn"]) == "fail"
        assert worst_verdict(["not judged", "ok"]) == "ok"
        assert worst_verdict([]) == "not judged"

    def test_stretches_are_bridged_over_short_pauses_only(self) -> None:
        values = np.array([0, 2, 2, 0, 2, 0, 0, 0, np.nan, 3, 0.0])
        clock = Clock(np.arange(100, 111), np.arange(100, 111) / 10, 10.0)
        signal = Signal(values, clock)
        assert [(m.first_frame, m.last_frame, m.value) for m in signal.moments(1.0)] == [
            (101, 102, 2.0),
            (104, 104, 2.0),
            (109, 109, 3.0),
        ]
        assert [(m.first_frame, m.last_frame) for m in signal.moments(1.0, 0.1)] == [
            (101, 104),
            (109, 109),
        ]

    def test_settings_change_the_verdict(self, body: BodyModel) -> None:
        strict = Thresholds(jitter_warn=1.0, jitter_fail=2.0)
        (findings,) = check(
            body, predicted(body, walk(body)), settings=CheckSettings(thresholds=strict)
        )
        assert findings["jitter world"].verdict == "fail"

    @pytest.mark.parametrize(
        ("values", "said"),
        [
            ({"jiter_warn": 1}, "did you mean jitter_warn"),
            ({"jitter_fail": 1}, "jitter_warn .40. must not be above jitter_fail"),
            ({"jitter_warn": "nan"}, "must not be above"),
            ({"jitter_warn": "much"}, "number"),
            ({"flip_angle": 200}, "180"),
        ],
    )
    def test_thresholds_that_make_no_sense(self, values: dict, said: str) -> None:
        with pytest.raises(InputError, match=said):
            parse_config(values, Thresholds, "--set")
