"""What the comparison with BlazePose measures, on motions of which it is known."""

import sys
from pathlib import Path

import numpy as np
import pytest
from numpy import ndarray

from temporal_hmr.errors import InputError

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
from compare_blazepose import BONES, JOINTS, InSpace, main, nearest, weakly

GENERATOR = np.random.default_rng(0)
BODY = GENERATOR.normal(size=(len(JOINTS), 3))


def person(space: ndarray, detected: ndarray | None = None) -> InSpace:
    flat = space[..., :2] * 100
    return InSpace(np.arange(len(space)), space, flat, flat if detected is None else detected)


def still(frames: int = 8) -> ndarray:
    return np.repeat(BODY[None], frames, 0)


def test_bodies_that_only_turn_keep_the_lengths_of_their_bones():
    angle = np.linspace(0, 2, 8)
    turns = np.zeros((8, 3, 3))
    turns[:, 0, 0] = turns[:, 2, 2] = np.cos(angle)
    turns[:, 0, 2], turns[:, 2, 0] = np.sin(angle), -np.sin(angle)
    turns[:, 1, 1] = 1
    assert person(still() @ turns).bone_drift() == pytest.approx(0, abs=1e-9)


def test_drift_of_bones_is_the_spread_of_their_lengths():
    breathing = np.array([0.9, 1.1] * 4)[:, None, None]
    assert person(still() * breathing).bone_drift() == pytest.approx(10)
    assert len({joint for bone in BONES for joint in bone}) == len(JOINTS)


def test_jitter_is_that_of_a_cubic_path_and_only_where_frames_follow():
    time = np.arange(8) / 30
    space = still()
    space[:, JOINTS.index("left_wrist")] += time[:, None] ** 3 * (1, 0, 0)
    moving = person(space)
    assert moving.jitter(30) == pytest.approx(6 / 10 / len(JOINTS))
    apart = InSpace(np.arange(8) * 2, space, moving.projected, moving.detected)
    assert np.isnan(apart.jitter(30))


def test_weak_projection_finds_scale_and_shift_of_each_frame():
    space = GENERATOR.normal(size=(4, len(JOINTS), 3))
    scale, shift = np.array([50, 80, 110, 140.0]), GENERATOR.normal(size=(4, 1, 2)) * 100
    picture = scale[:, None, None] * space[..., :2] + shift
    np.testing.assert_allclose(weakly(space, picture), picture)


def test_the_one_seen_at_the_same_place_is_compared():
    here, there = person(still()), person(still(), still()[..., :2] * 100 + 300)
    assert nearest([there, here], here) is here
    with pytest.raises(InputError, match="we find nobody"):
        nearest([], here)


def test_reprojection_is_in_percent_of_the_persons_box():
    flat = still()[..., :2] * 100
    box = (flat[0].max(0) - flat[0].min(0)).max()
    aside = person(still(), flat + np.array([box / 50, 0]))
    assert aside.reprojection() == pytest.approx(2)


def test_rubbish_is_refused_in_one_line(tmp_path: Path):
    with pytest.raises(InputError, match=r"nothing\.mp4"):
        main([str(tmp_path / "nothing.mp4")])
