"""How likely each joint is right: what it goes by, and that it is a probability."""

from dataclasses import replace

import numpy as np
import pytest

from temporal_hmr.confidence import FEATURES, Seen, features, joint_confidence, seconds_away
from temporal_hmr.skeleton import COCO23, SMPL24

WRIST, KNEE = SMPL24.index("left_wrist"), SMPL24.index("right_knee")


@pytest.fixture
def seen() -> Seen:
    """Someone who stands in the image plane, seen exactly."""
    rng = np.random.default_rng(0)
    pixels = rng.uniform(100, 300, (6, 23, 2))
    joints = np.concatenate([rng.uniform(-1, 1, (6, 24, 2)), np.full((6, 24, 1), 4.0)], -1)
    return Seen(
        keypoints=np.concatenate([pixels, np.full((6, 23, 1), 0.9)], -1),
        projected=pixels.copy(),
        joints=joints,
        boxes=np.tile([100.0, 100.0, 300.0, 300.0], (6, 1)),
        away=np.zeros(6),
    )


def column(seen: Seen, name: str) -> np.ndarray:
    return features(seen)[..., FEATURES.index(name)]


def test_each_joint_goes_by_its_own_keypoints(seen: Seen) -> None:
    keypoints = seen.keypoints.copy()
    keypoints[2, COCO23.index("left_wrist")] = 0
    lost = replace(seen, keypoints=keypoints)
    score, distance = (
        column(lost, f"{what} of its keypoints") - column(seen, f"{what} of its keypoints")
        for what in ("score", "distance")
    )
    assert score[2, WRIST] == pytest.approx(-0.9) and distance[2, WRIST] == pytest.approx(1.0)
    assert score[2, KNEE] == 0 and not distance[3].any()


def test_a_body_beside_its_keypoints_is_believed_less(seen: Seen) -> None:
    beside = replace(seen, projected=seen.projected + 15.0)
    assert (joint_confidence(beside) < joint_confidence(seen)).all()


def test_a_limb_along_the_line_of_sight_is_believed_less(seen: Seen) -> None:
    joints = seen.joints.copy()
    joints[:, WRIST] = joints[:, SMPL24.index("left_elbow")] + [0, 0, 0.25]
    along = replace(seen, joints=joints)
    np.testing.assert_allclose(column(along, "bone along the line of sight")[:, WRIST], 1.0)
    assert (joint_confidence(along)[:, WRIST] < joint_confidence(seen)[:, WRIST]).all()


def test_who_is_out_of_sight_is_believed_less(seen: Seen) -> None:
    keypoints = seen.keypoints.copy()
    keypoints[1:] = 0
    away = seconds_away(np.arange(6) / 30, np.arange(6) == 0)
    gone = replace(seen, keypoints=keypoints, away=away)
    likely = joint_confidence(gone)
    assert (likely[1:] < likely[0]).all()
    assert (likely > 0).all() and (likely < 1).all() and likely.dtype == np.float32
    shares = column(gone, "seconds from a frame in which somebody was seen")[:, 0]
    np.testing.assert_allclose(shares, np.arange(6) / 30 / 0.5)
    never = seconds_away(np.arange(6) / 30, np.zeros(6, bool))
    assert column(replace(gone, away=never), FEATURES[-1]).min() == 1
