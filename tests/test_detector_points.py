"""Where BlazePose sees the joints of a body."""

import torch

from temporal_hmr.body.detector_points import blazepose_regressor
from temporal_hmr.body.model import BodyModel
from temporal_hmr.body.params import SmplParams
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import COCO23, SMPL24


def offsets(body: BodyModel, smpl: SmplParams) -> torch.Tensor:
    coco = body.regress(smpl, body.point_regressor(body.regressors["coco_feet"]))
    return body.regress(smpl, body.point_regressor(blazepose_regressor(body))) - coco


def posed(joint: str | None = None, turn: tuple[float, float, float] = (0, 0, 0)) -> SmplParams:
    rotations = torch.eye(3).repeat(24, 1, 1)
    if joint is not None:
        rotations[SMPL24.index(joint)] = axis_angle_to_matrix(torch.tensor(turn))
    return SmplParams.from_rotations(rotations, torch.zeros(10), torch.tensor([0.3, -2.0, 5.0]))


def test_offsets_of_the_resting_body(body: BodyModel) -> None:
    """Shoulders and ankles higher, ears nearer the middle, toes shorter; small toes as they are."""
    found = dict(zip(COCO23.joints, 1000 * offsets(body, posed()), strict=True))
    for joint, wanted in {
        "left_shoulder": (-6, 30, -4),
        "right_ankle": (-1, 28, 3),
        "left_ear": (-20, 10, 20),
        "right_big_toe": (-12, 13, -37),
        "nose": (0, 15, -31),
        "left_small_toe": (0, 0, 0),
    }.items():
        torch.testing.assert_close(found[joint], torch.tensor(wanted).float(), atol=1.0, rtol=0)


def test_offsets_are_the_same_on_both_sides(body: BodyModel) -> None:
    found = offsets(body, posed())
    mirrored = found[COCO23.flip_permutation()] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(found, mirrored, atol=1e-4, rtol=0)


def test_an_offset_turns_with_its_part(body: BodyModel) -> None:
    """Half a turn of the knee about its own axis takes the ankle's offset along, no other's."""
    turn = (1.2, 0.0, 0.0)
    ankle, hip = COCO23.indices("left_ankle", "left_hip")
    before, after = offsets(body, posed()), offsets(body, posed("left_knee", turn))
    turned = axis_angle_to_matrix(torch.tensor(turn)) @ before[ankle]
    torch.testing.assert_close(after[ankle], turned, atol=2e-3, rtol=0)
    torch.testing.assert_close(after[hip], before[hip], atol=1e-4, rtol=0)
    assert float((after[ankle] - before[ankle]).norm()) > 0.02
