"""Pictures of single frames show both skeletons where they are, in their own colours."""

import numpy as np
import pytest

from temporal_hmr.output.moments import (
    LONGEST_SIDE,
    PREDICTION,
    TRUTH,
    blank_picture,
    skeleton_picture,
)
from temporal_hmr.skeleton import SMPL24


def standing() -> np.ndarray:
    """Pixels of a person, every joint well apart from the others."""
    middle = {"pelvis": 200, "spine1": 175, "spine2": 150, "spine3": 125, "neck": 85, "head": 50}
    side = {
        **{"hip": (30, 215), "knee": (34, 290), "ankle": (38, 365), "foot": (60, 390)},
        **{"collar": (28, 105), "shoulder": (62, 100), "elbow": (95, 140), "wrist": (105, 190)},
        "hand": (108, 225),
    }
    points = []
    for joint in SMPL24.joints:
        if joint in middle:
            points.append((150, middle[joint]))
        else:
            which, name = joint.split("_")
            across, down = side[name]
            points.append((150 + (across if which == "left" else -across), down))
    return np.array(points, float)


def sides() -> list[str]:
    names = (joint.split("_")[0] for joint in SMPL24.joints)
    return [name if name in ("left", "right") else "middle" for name in names]


def colors_at(picture: np.ndarray, points: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(picture[int(y), int(x)].tolist()) for x, y in points]


class TestPictures:
    def test_joints_have_the_colours_of_their_skeleton_and_side(self) -> None:
        # The crop is the whole image, so that its pixels are known.
        image = np.full((480, 480, 3), 90, np.uint8)
        true = 0.8 * standing()
        predicted = true + np.array([235, 20])
        box = np.array([0, 0, 480, 480.0])
        picture = skeleton_picture(image, predicted, true, SMPL24, box, "")
        assert picture.shape == (480, 480, 3)
        assert colors_at(picture, true) == [TRUTH[side] for side in sides()]
        assert colors_at(picture, predicted) == [PREDICTION[side] for side in sides()]
        assert (image == 90).all(), "the image given stays as it is"
        assert tuple(picture[5, 5]) == (90, 90, 90)

    def test_sides_and_skeletons_are_told_apart_by_lightness_and_hue(self) -> None:
        for colors in (PREDICTION, TRUTH):
            left, right = (np.dot(colors[side], (0.3, 0.59, 0.11)) for side in ("left", "right"))
            assert left > right + 40
        for side, color in PREDICTION.items():
            # Red-green blindness leaves the axis from blue to yellow.
            assert color[2] > color[0] and TRUTH[side][0] > TRUTH[side][2]

    def test_shows_the_part_around_the_person(self) -> None:
        image = np.zeros((2000, 3000, 3), np.uint8)
        image[:, :1500] = (10, 200, 10)
        person = standing() + np.array([1300, 800])
        picture = skeleton_picture(image, person, None)
        assert max(picture.shape) == LONGEST_SIDE
        green = (picture == (10, 200, 10)).all(-1)
        # The person stands about x = 1450, 345 px tall: 60 % of that wide, and a rim of 15 % each.
        assert green[5].mean() == pytest.approx((1500 - 1450 + 155) / 310, abs=0.02)
        shown = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
        assert PREDICTION["left"] in shown and TRUTH["left"] not in shown

    def test_joints_far_out_or_unknown_do_no_harm(self) -> None:
        image = np.zeros((300, 200, 3), np.uint8)
        predicted, true = standing(), standing()
        predicted[3] = np.nan
        predicted[7] = [1e12, -1e12]
        for pixels in (predicted, np.full((24, 2), np.nan), predicted + 1e6):
            picture = skeleton_picture(image, pixels, true, SMPL24)
            assert max(picture.shape) == LONGEST_SIDE
            assert max(blank_picture(pixels, true).shape) == LONGEST_SIDE
            assert max(skeleton_picture(image, pixels).shape) == LONGEST_SIDE
            assert max(blank_picture(pixels).shape) == LONGEST_SIDE

    def test_without_an_image_the_skeletons_stand_on_grey(self) -> None:
        true = standing()
        predicted = true + np.array([6, 0])
        picture = blank_picture(predicted, true)
        background = picture[2, 2]
        assert background[0] == background[1] == background[2]
        shown = {tuple(color) for color in picture.reshape(-1, 3).tolist()}
        assert {PREDICTION["right"], TRUTH["right"]} <= shown
        # The size of the image does not matter, only the person's own.
        again = blank_picture(predicted * 4 + 1000, true * 4 + 1000)
        assert np.abs(again.astype(int) - picture).mean() < 2

    def test_the_label_is_written_below_left(self) -> None:
        plain, labelled = (blank_picture(standing(), label=text) for text in ("", "frame 12"))
        differs = (plain != labelled).any(-1)
        rows, columns = np.nonzero(differs)
        assert rows.min() > 0.9 * len(plain)
        assert columns.min() == 0 and columns.max() < 0.6 * plain.shape[1]
