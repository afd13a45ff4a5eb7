"""Who is who: predicted people given to the labelled ones."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from temporal_hmr.body.params import SmplParams
from temporal_hmr.camera import Camera
from temporal_hmr.data.labelled import LabelledSequence
from temporal_hmr.errors import InputError
from temporal_hmr.evaluation.bodies import Bodies
from temporal_hmr.evaluation.matching import assign
from temporal_hmr.motion import PredictedMotion
from temporal_hmr.skeleton import OPENPOSE18

T = 30
BODIES = Bodies(only_open=True)


def standing(frames: int, x: float) -> SmplParams:
    """Upright before an OpenCV camera, 4 m away."""
    turn = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
    eye = torch.eye(3, dtype=torch.float64).expand(frames, 23, 3, 3)
    place = torch.tensor([x, 0.2, 4.0], dtype=torch.float64).expand(frames, 3)
    zeros = torch.zeros(frames, 10, dtype=torch.float64)
    return SmplParams(turn.expand(frames, 3, 3), eye, zeros, place)


def box(x: float) -> np.ndarray:
    camera = Camera.with_assumed_focal(640, 480)
    joints = BODIES.of("neutral").joints(standing(1, x))
    pixels = camera.project(joints)[0].numpy()
    return np.concatenate([pixels.min(0), pixels.max(0)])


def person(name: str, x: float) -> LabelledSequence:
    return LabelledSequence(
        name=name, video="street", fps=30.0, gender="neutral", smpl=standing(T, x),
        rotation=torch.eye(3).double().expand(T, 3, 3), translation=torch.zeros(T, 3).double(),
        camera=Camera.with_focal(700.0, 640, 480), boxes=np.tile(box(x), (T, 1)),
        keypoints=np.zeros((T, 18, 3)), skeleton=OPENPOSE18,
        frame_rules={"all": np.ones(T, bool)},
    )  # fmt: skip


def predicted(name: str, x: float, frames=range(T), with_boxes: bool = True) -> PredictedMotion:
    frames = np.array(list(frames))
    boxes = np.tile(box(x), (len(frames), 1)) if with_boxes else None
    return PredictedMotion(name, "ours", frames, standing(len(frames), x), boxes=boxes)


PEOPLE = [person("street_0", -0.8), person("street_1", 0.8)]


@pytest.mark.parametrize("with_boxes", [True, False], ids=["boxes", "projected joints"])
def test_everybody_gets_their_own(with_boxes: bool) -> None:
    motions = [
        predicted("b", 0.8, with_boxes=with_boxes),
        predicted("a", -0.8, with_boxes=with_boxes),
    ]
    found = assign(PEOPLE, motions, BODIES)
    names = {name: motion.name for name, motion in found.motions.items() if motion}
    assert names == {"street_0": "a", "street_1": "b"}
    assert found.notes == ()


def resized(boxes: np.ndarray | None, width: float, height: float) -> np.ndarray:
    """Around the same centres, in shares of the former height."""
    assert boxes is not None
    center, tall = (boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 3:] - boxes[:, 1:2]
    half = tall * np.array([width, height]) / 2
    return np.concatenate([center - half, center + half], 1)


@pytest.mark.parametrize("widening", [1.0, 1.2])
def test_square_boxes_of_slim_people_are_theirs(widening: float) -> None:
    """Seen from the side they fill a quarter of the squares that VIBE crops."""
    people = [person("street_0", -0.3), person("street_1", 0.3)]
    people = [replace(each, boxes=resized(each.boxes, 0.25, 1)) for each in people]
    motions = [
        replace(each, boxes=resized(each.boxes, widening, widening))
        for each in (predicted("b", 0.3), predicted("a", -0.3))
    ]
    found = assign(people, motions, BODIES)
    names = {name: motion.name for name, motion in found.motions.items() if motion}
    assert names == {"street_0": "a", "street_1": "b"}
    assert found.notes == ()


def test_where_nobody_fits_the_best_overlap_is_told() -> None:
    found = assign(PEOPLE, [predicted("cyclist", 3.0), predicted("a", -2.0)], BODIES)
    assert found.motions == {"street_0": None, "street_1": None}
    (note,) = found.notes
    assert note.startswith("nobody labelled: cyclist, a (boxes overlap by 0.")
    assert note.endswith("at best, and 0.3 is needed)")


def test_parts_of_a_track_are_joined_and_told() -> None:
    parts = [predicted("late", -0.8, range(20, 30)), predicted("early", -0.8, range(12))]
    found = assign(PEOPLE, parts, BODIES)
    joined = found.motions["street_0"]
    assert joined is not None and found.motions["street_1"] is None
    assert joined.frames.tolist() == [*range(12), *range(20, 30)]
    assert len(joined.smpl.transl) == 22
    assert found.notes == ("street_0 is joined from early, late",)


def test_where_parts_overlap_the_surer_is_taken_and_told() -> None:
    sure, late = predicted("sure", -0.8, range(20)), predicted("late", -0.75, range(15, 30))
    found = assign(PEOPLE, [late, sure], BODIES)
    joined = found.motions["street_0"]
    assert joined is not None
    assert joined.frames.tolist() == list(range(30))
    assert joined.smpl.transl[15:20, 0].tolist() == [-0.8] * 5
    assert joined.smpl.transl[20:, 0].tolist() == [-0.75] * 10
    assert found.notes == (
        "street_0 is joined from sure, late; both have 5 frames, where the one named first is "
        "taken",
    )


def test_guesses_yield_to_sightings() -> None:
    """PHALP repeats a lost person's last sighting while a new track has them already."""
    ghost = predicted("ghost", -0.8, range(25))
    ghost = replace(ghost, filled=np.arange(25) >= 10)
    anew = predicted("anew", -0.75, range(12, 30))
    joined = assign(PEOPLE, [ghost, anew], BODIES).motions["street_0"]
    assert joined is not None and joined.filled is not None
    assert joined.smpl.transl[:12, 0].tolist() == [-0.8] * 12
    assert joined.smpl.transl[12:, 0].tolist() == [-0.75] * 18
    assert np.flatnonzero(joined.filled).tolist() == [10, 11]


def test_duplicates_are_left_out_and_named() -> None:
    motions = [predicted("a", -0.8), predicted("twin", -0.7, range(6)), predicted("b", 0.8)]
    found = assign(PEOPLE, motions, BODIES)
    names = {name: motion.name for name, motion in found.motions.items() if motion}
    assert names == {"street_0": "a", "street_1": "b"}
    assert found.notes == ("twin claims street_0 as well and is left out",)


def test_a_duplicate_is_said_to_claim_whom_it_fits_best() -> None:
    """Not whoever happens to be labelled first."""
    near = [person("street_0", 0.5), person("street_1", 0.8)]
    motions = [predicted("a", 0.5), predicted("b", 0.8), predicted("twin", 0.78, range(6))]
    assert assign(near, motions, BODIES).notes == ("twin claims street_1 as well and is left out",)


def test_people_exchanged_halfway_get_one_track_each() -> None:
    """Both tracks fit both people alike; nobody may end up with two, and nobody with none."""
    there, back = predicted("x", -0.8), predicted("y", 0.8)
    half = torch.arange(T) >= T // 2
    swapped = []
    for motion, other in ((there, back), (back, there)):
        transl = torch.where(half[:, None], other.smpl.transl, motion.smpl.transl)
        boxes = np.where(half.numpy()[:, None], other.boxes, motion.boxes)
        smpl = replace(motion.smpl, transl=transl)
        swapped.append(replace(motion, smpl=smpl, boxes=boxes))
    found = assign(PEOPLE, swapped, BODIES)
    names = sorted(motion.name for motion in found.motions.values() if motion)
    assert names == ["x", "y"]


def test_a_passer_by_is_left_out_and_named() -> None:
    found = assign(PEOPLE, [predicted("a", -0.8), predicted("cyclist", 3.0)], BODIES)
    assert found.motions["street_1"] is None
    assert found.notes == ("nobody labelled: cyclist",)


def test_one_for_one_needs_no_boxes() -> None:
    motion = replace(predicted("a", 5.0, with_boxes=False), has_depth=False)
    assert assign(PEOPLE[:1], [motion], BODIES).motions["street_0"] is motion
    with pytest.raises(InputError, match="name the files street_0, street_1"):
        assign(PEOPLE, [motion, motion], BODIES)


def test_nobody_predicted() -> None:
    assert assign(PEOPLE, [], BODIES).motions == {"street_0": None, "street_1": None}
