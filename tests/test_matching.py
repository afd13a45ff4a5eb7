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


def test_parts_of_a_track_are_joined_and_told() -> None:
    parts = [predicted("late", -0.8, range(20, 30)), predicted("early", -0.8, range(10))]
    found = assign(PEOPLE, parts, BODIES)
    joined = found.motions["street_0"]
    assert joined is not None and found.motions["street_1"] is None
    assert joined.frames.tolist() == [*range(10), *range(20, 30)]
    assert len(joined.smpl.transl) == 20
    assert found.notes == ("street_0 is joined from late, early",)


@pytest.mark.parametrize("between", [False, True])
def test_two_claims_on_one_frame_are_refused(between: bool) -> None:
    """Also where a third part lies between the two in time."""
    parts = [predicted("a", -0.8, [0, 1, 2, 25]), predicted("b", -0.8, [25, 26])]
    if between:
        parts.insert(1, predicted("c", -0.8, [5, 6]))
    with pytest.raises(InputError, match=r"claim street_0: a and b both have frame 25 \(1 frame "):
        assign(PEOPLE, parts, BODIES)


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
