"""Checks of feet on the ground: what slides, what sinks, and what cannot be judged."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from walking import about, check, moved, predicted, standing, walk, when, wrong

from temporal_hmr.body.load import load_body
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.checks.plane import Ground, estimate_ground
from temporal_hmr.checks.run import CheckSettings
from temporal_hmr.checks.subject import prepare
from temporal_hmr.skeleton import SMPL24


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return load_body(dtype=torch.float64)


class TestGround:
    def test_feet_slide_at_a_known_speed(self, body: BodyModel) -> None:
        way = 0.4 / 30 * np.arange(90)[:, None] * np.array([0.6, 0, 0.8])
        (findings,) = check(body, predicted(body, moved(standing(90), way)))
        skate = findings["foot_skate world"]
        assert skate.value == pytest.approx(0.4, rel=0.01)
        assert "13.3 mm per frame" in skate.note
        assert skate.verdict == "warn"
        assert findings["foot_slide world"].value == pytest.approx(89 / 30)

    def test_a_walk_that_slides_for_a_while_is_found_then(self, body: BodyModel) -> None:
        way = np.zeros((150, 3))
        way[:, 0] = 0.8 / 30 * np.clip(np.arange(150) - 60, 0, 40)
        (findings,) = check(body, predicted(body, moved(walk(body, 150), way)))
        slide = findings["foot_slide world"]
        assert slide.verdict == "fail"
        assert when(slide) == [(61, 100)]
        assert wrong(findings) == {"foot_slide"}

    def test_sliding_faster_than_a_foot_can_stand_is_found(self, body: BodyModel) -> None:
        way = 2.0 / 30 * np.arange(90)[:, None] * np.array([0, 0, 1.0])
        (findings,) = check(body, predicted(body, moved(standing(90), way)))
        assert findings["foot_skate world"].verdict == "not judged"
        assert findings["foot_slide world"].verdict == "fail"

    def test_one_foot_may_slide_while_the_other_stands(self, body: BodyModel) -> None:
        smpl = standing(60)
        hip = SMPL24.index("left_hip") - 1
        smpl.body_pose[:, hip] = about(2, 0.15 + 0.1 * np.sin(np.arange(60) / 3))
        (findings,) = check(body, predicted(body, smpl))
        assert findings["foot_skate world"].value == pytest.approx(0, abs=1e-6)

    def test_feet_in_the_air_neither_slide_nor_raise_the_ground(self, body: BodyModel) -> None:
        """Hopping: eight frames on the ground, sixteen frames and a metre in the air."""
        phase = (np.arange(180) % 24 - 8).clip(0) / 16
        hops = np.zeros((180, 3))
        hops[:, 1] = 4 * 0.3 * phase * (1 - phase)
        hops[:, 2] = np.arange(180) // 24 + phase
        (findings,) = check(body, predicted(body, moved(standing(180), hops)))
        assert findings["foot_skate world"].value == pytest.approx(0, abs=0.01)
        assert findings["foot_slide world"].value == 0
        assert findings["foot_sunk world"].value == pytest.approx(0, abs=5)

    @pytest.mark.parametrize("depth", [0.05, 0.1])
    def test_feet_under_the_ground_are_found(self, body: BodyModel, depth: float) -> None:
        sunk = np.zeros((150, 3))
        sunk[60:90, 1] = -depth
        (findings,) = check(body, predicted(body, moved(walk(body, 150), sunk)))
        finding = findings["foot_sunk world"]
        assert finding.value == pytest.approx(1000 * depth, abs=8)
        assert when(finding) == [(60, 89)]
        mean = findings["penetration world"].value
        assert mean == pytest.approx(1000 * depth * 30 / 150, abs=3)

    def test_a_static_camera_will_do_even_if_tilted(self, body: BodyModel) -> None:
        smpl = moved(walk(body, 150), np.array([0.0, 0, -3]))
        smpl = moved(smpl, 0.2 / 30 * np.arange(150)[:, None] * np.array([1.0, 0, 0]))
        motion = predicted(body, smpl, world=None)
        turn = about(0, np.full(150, 0.2))
        tilted = body.transform(motion.smpl, turn, torch.zeros(150, 3).double())
        motion = replace(motion, smpl=tilted)
        (findings,) = check(body, motion)
        assert findings["foot_skate"].verdict == "not judged"
        assert "--static-camera" in findings["foot_skate"].note
        (findings,) = check(body, motion, settings=CheckSettings(static_camera=True))
        assert findings["foot_skate camera"].value == pytest.approx(0.2, rel=0.02)
        assert findings["foot_sunk camera"].value == pytest.approx(0, abs=3)

    def test_what_cannot_be_judged_says_why(self, body: BodyModel) -> None:
        smpl = walk(body, 120)
        lying = body.transform(
            smpl, about(0, np.where(np.arange(120) % 2 == 0, 1.5, -1.5)), torch.zeros(120, 3)
        )
        stairs = np.zeros((120, 3))
        stairs[:, 1] = 0.3 * np.floor(np.arange(120) / 20)
        steep = stairs + stairs[:, [0, 2, 1]] / math.tan(math.radians(35))
        for motion, why in (
            (predicted(body, lying), "not upright"),
            (predicted(body, moved(standing(120), steep)), "steeper"),
            (predicted(body, moved(standing(120), stairs)), "one plane"),
            (predicted(body, smpl, has_depth=False, world=None), "no place"),
            (predicted(body, smpl, fps=8.0), "frames per second"),
        ):
            (findings,) = check(body, motion)
            finding = findings.get("foot_skate world") or findings["foot_skate"]
            assert finding.verdict == "not judged" and why in finding.note
            assert finding.value is None

    def test_toes_that_dip_do_not_sink_a_foot(self, body: BodyModel) -> None:
        smpl = walk(body, 150)
        ankles = [joint - 1 for joint in SMPL24.indices("left_ankle", "right_ankle")]
        smpl.body_pose[60:90, ankles] = about(0, np.array(0.4)) @ smpl.body_pose[60:90, ankles]
        (findings,) = check(body, predicted(body, smpl))
        penetration = findings["penetration world"]
        assert penetration.value is not None and penetration.value > 8
        assert findings["foot_sunk world"].verdict == "ok"

    def test_a_slope_is_followed(self, body: BodyModel) -> None:
        slope = math.radians(12)
        tilted = body.transform(
            walk(body, 150), about(0, np.full(150, slope)), torch.zeros(150, 3).double()
        )
        (findings,) = check(body, predicted(body, tilted))
        assert findings["foot_skate world"].value == pytest.approx(0, abs=0.02)
        assert findings["foot_sunk world"].value == pytest.approx(0, abs=3)
        ground = self.ground(body, tilted, often_level=True)
        np.testing.assert_allclose(ground.normal, [0, math.cos(slope), math.sin(slope)], atol=0.02)

    def test_a_level_ground_is_preferred_where_the_feet_tell_little(self, body: BodyModel) -> None:
        """Somebody who stands bent forward, so that their own direction misleads."""
        smpl = standing(60)
        smpl.body_pose[:, SMPL24.index("spine1") - 1] = about(0, np.array(0.9))
        np.testing.assert_array_equal(self.ground(body, smpl, often_level=True).normal, [0, 1, 0])
        assert self.ground(body, smpl, often_level=False).normal[1] < 0.999

    def test_the_ground_is_known_only_near_where_feet_rested(self, body: BodyModel) -> None:
        ground = self.ground(body, walk(body, 150), often_level=False)
        heights = ground.heights(np.array([[0.0, -1, 2], [0, -1, 5.5], [0, -1, 7.5], [5, -1, 2]]))
        assert np.isfinite(heights).tolist() == [True, True, False, False]

    def ground(self, body: BodyModel, smpl: SmplParams, often_level: bool) -> Ground:
        place = prepare(predicted(body, smpl), body, True, 30.0).world_place
        assert place is not None
        ground = estimate_ground(place, 30.0, 0.6, often_level)
        assert isinstance(ground, Ground)
        return ground
