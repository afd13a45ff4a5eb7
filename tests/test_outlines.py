"""People painted out of pictures, so that networks see the one who is meant."""

import json

import numpy as np
import pytest

from temporal_hmr.motion import Person2D
from temporal_hmr.people.outlines import Outline, painted_out, without_others
from temporal_hmr.skeleton import BLAZEPOSE23

BLACK = np.zeros((200, 300, 3), np.uint8)


def standing(left: float, right: float, top: float = 50, bottom: float = 150) -> Person2D:
    """Somebody whose keypoints fill a rectangle."""
    keypoints = np.zeros((23, 3))
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    keypoints[:4, :2], keypoints[:4, 2] = corners, 1
    keypoints[4] = 5, 5, 0.1  # what is hardly known is no part of anybody
    return Person2D(np.array([left, top, right, bottom], float), keypoints, BLAZEPOSE23, 1.0)


def test_only_what_is_the_others_alone_is_grey():
    mine, other = (Outline.of(each) for each in (standing(50, 100), standing(80, 160)))
    shown = without_others(BLACK, mine, [other])
    assert (shown[100, 125:155] == 128).all(), "the other's"
    assert not shown[100, 55:100].any(), "mine, be it both's"
    assert not shown[100, 180:].any() and not shown[:40].any() and not shown[5, 5].any()
    assert not BLACK.any(), "it is a copy"


@pytest.mark.parametrize("gap", [20, 200])
def test_who_is_not_close_costs_not_even_a_copy(gap):
    mine, other = (Outline.of(each) for each in (standing(20, 60), standing(60 + gap, 90 + gap)))
    assert without_others(BLACK, mine, [other]) is BLACK
    assert without_others(BLACK, mine, []) is BLACK


def test_bodies_are_close_as_far_as_they_reach_beyond_their_keypoints():
    mine, beside = (Outline.of(each) for each in (standing(20, 60), standing(64, 90)))
    assert mine.meets(beside) and beside.meets(mine)
    assert not mine.meets(Outline.of(standing(67, 90)))
    assert not mine.meets(Outline.of(standing(20, 60, 160, 190)))


def test_who_has_no_keypoints_has_no_outline():
    nobody = Person2D(np.zeros(4), np.zeros((23, 3)), BLAZEPOSE23, 0.0)
    outline = Outline.of(nobody)
    assert without_others(BLACK, outline, [Outline.of(standing(0, 90))]) is BLACK
    assert without_others(BLACK, Outline.of(standing(0, 90)), [outline]) is BLACK
    assert not painted_out(BLACK, [nobody], 0.1).any()


def test_everybody_is_painted_out():
    shown = painted_out(BLACK, [standing(20, 60), standing(100, 140)], 0.1)
    assert (shown[100, [20, 40, 60, 100, 140]] == 128).all() and not shown[100, 80].any()


def test_where_somebody_was_is_the_same_when_told():
    pytest.importorskip("mediapipe", reason="mediapipe has no wheel for this Python")
    from temporal_hmr.people.blazepose import Region
    from temporal_hmr.people.looking import _Followed

    there = _Followed(Region(1.5, 2.5, 3.25, 0.1), True, Outline.of(standing(50, 100)))
    again = _Followed.of(*json.loads(json.dumps(there.told())))
    assert again.told() == there.told() and again.region == there.region and again.whole
    other = Outline.of(standing(80, 160))
    np.testing.assert_array_equal(
        without_others(BLACK, again.outline, [other]), without_others(BLACK, there.outline, [other])
    )
