"""Bodies moved onto detected keypoints."""

from dataclasses import replace

import pytest
import torch
from test_synthetic import swinging_take

from temporal_hmr.batch import BodyPrediction, CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.detector_noise import CLEAN
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.reprojection import Reprojection, _acceleration, fit_to_keypoints
from temporal_hmr.rotation import axis_angle_to_matrix
from temporal_hmr.skeleton import BLAZEPOSE23, COCO23, SMPL24

FRAMES = 12


@pytest.fixture(scope="module")
def body() -> PosedBody:
    return PosedBody(load_body())


@pytest.fixture(scope="module")
def scene(body: PosedBody) -> tuple[CropWindow, BodyPrediction]:
    """Clips seen exactly, and the truth as a prediction."""
    usual = Augmentation(
        frame_interval=(1 / 30, 1 / 30), recombined_share=0, perturbed_share=0, speed=(1, 1)
    )
    usual = usual.model_copy(update={"assumed_focal_share": 0.0})
    bank, generator = MotionBank.of([swinging_take()]), torch.Generator().manual_seed(3)
    window, target = synthesise(bank, body, (3, FRAMES), usual, CLEAN, generator)
    return window, body(target.smpl, window)


def displaced(body: PosedBody, truth: BodyPrediction, window: CropWindow) -> BodyPrediction:
    """Arms and legs some ten degrees off, the same way throughout."""
    turns = torch.zeros(24, 3)
    for joint, about in (("left_shoulder", 1), ("right_elbow", 1), ("left_hip", 0), ("neck", 2)):
        turns[SMPL24.index(joint), about] = 0.2
    rotations = truth.smpl.rotations() @ axis_angle_to_matrix(turns)
    smpl = SmplParams.from_rotations(rotations, truth.smpl.betas, truth.smpl.transl)
    return body(smpl, window)


def rooted(joints: torch.Tensor) -> torch.Tensor:
    return joints - joints[..., :1, :]


def error(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.linalg.vector_norm(a - b, dim=-1).mean())


def test_what_is_right_stays(body: PosedBody, scene: tuple[CropWindow, BodyPrediction]) -> None:
    window, truth = scene
    fitted = fit_to_keypoints(truth, window, body)
    torch.testing.assert_close(fitted.rotations(), truth.smpl.rotations(), atol=3e-2, rtol=0)
    # Depth is kept steady: 15 m away a centimetre or two of a swing's way to and fro goes.
    torch.testing.assert_close(fitted.transl, truth.smpl.transl, atol=0.15, rtol=0)


def test_a_body_beside_its_keypoints_comes_to_lie_on_them(
    body: PosedBody, scene: tuple[CropWindow, BodyPrediction]
) -> None:
    """In the picture by far, and in space as well."""
    window, truth = scene
    first = displaced(body, truth, window)
    fitted = body(fit_to_keypoints(first, window, body), window)
    assert error(fitted.keypoints, truth.keypoints) < 0.25 * error(first.keypoints, truth.keypoints)
    before, after = (rooted(each.joints) - rooted(truth.joints) for each in (first, fitted))
    assert float(after.norm(dim=-1).mean()) < 0.5 * float(before.norm(dim=-1).mean())


def test_who_is_not_seen_stays_as_the_model_has_them(
    body: PosedBody, scene: tuple[CropWindow, BodyPrediction]
) -> None:
    window, truth = scene
    first = displaced(body, truth, window)
    blind = replace(window, scores=torch.zeros_like(window.scores))
    fitted = fit_to_keypoints(first, blind, body)
    torch.testing.assert_close(fitted.rotations(), first.smpl.rotations(), atol=1e-6, rtol=0)
    torch.testing.assert_close(fitted.transl, first.smpl.transl, atol=0.15, rtol=0)


def test_padding_and_neighbours_in_the_batch_have_no_say(
    body: PosedBody, scene: tuple[CropWindow, BodyPrediction]
) -> None:
    window, truth = scene
    first = displaced(body, truth, window)
    valid = window.valid.clone()
    valid[:, -3:] = False
    wild = window.keypoints.clone()
    wild[:, -3:] = 5.0
    plain = fit_to_keypoints(first, replace(window, valid=valid), body)
    mad = fit_to_keypoints(first, replace(window, valid=valid, keypoints=wild), body)
    assert torch.equal(plain.rotations(), mad.rotations())
    strayed = first.smpl.transl.clone()
    strayed[:, -3:, 2] *= 20
    smpl = replace(first.smpl, transl=strayed)
    far = fit_to_keypoints(body(smpl, window), replace(window, valid=valid), body)
    torch.testing.assert_close(far.transl[:, :-3], plain.transl[:, :-3], atol=1e-4, rtol=0)
    one = slice(1, 2)
    alone = fit_to_keypoints(
        body(first.smpl[one], window.map(lambda t: t[one])),
        replace(window, valid=valid).map(lambda t: t[one]),
        body,
    )
    torch.testing.assert_close(alone.rotations(), plain.rotations()[one], atol=1e-4, rtol=0)


def test_one_wild_keypoint_does_not_carry_the_arm_off(
    body: PosedBody, scene: tuple[CropWindow, BodyPrediction]
) -> None:
    window, truth = scene
    keypoints = window.keypoints.clone()
    wrist = COCO23.index("left_wrist")
    keypoints[:, 5, wrist] += torch.tensor([1.0, -1.0])
    fitted = body(fit_to_keypoints(truth, replace(window, keypoints=keypoints), body), window)
    moved = torch.linalg.vector_norm(rooted(fitted.joints) - rooted(truth.joints), dim=-1)
    assert float(moved[:, 5].max()) < 0.1 and float(moved[:, 9:].max()) < 0.03


def test_trembling_keypoints_are_not_followed(
    body: PosedBody, scene: tuple[CropWindow, BodyPrediction]
) -> None:
    """Less than frame by frame, by far, and the mean pose is none the worse."""
    window, truth = scene
    generator = torch.Generator().manual_seed(0)
    noise = 0.03 * torch.randn(window.keypoints.shape, generator=generator)
    shaken = replace(window, keypoints=window.keypoints + noise)
    usual = Reprojection()

    def tremble(settings: Reprojection) -> float:
        joints = body.body.joints(fit_to_keypoints(truth, shaken, body, settings=settings))
        error = joints - truth.joints
        return float((error[:, 2:] - 2 * error[:, 1:-1] + error[:, :-2]).norm(dim=-1).mean())

    assert tremble(usual) < 0.2 * tremble(usual.by_frame())


def test_blazeposes_points_are_taken_for_what_they_are(
    body: PosedBody, scene: tuple[CropWindow, BodyPrediction]
) -> None:
    """The truth seen by BlazePose stays the truth only for whoever knows who saw it."""
    window, truth = scene
    seen = replace(window, keypoints=body.keypoints(truth.smpl, window, BLAZEPOSE23))
    right = body.body.joints(fit_to_keypoints(truth, seen, body, BLAZEPOSE23))
    wrong = body.body.joints(fit_to_keypoints(truth, seen, body, COCO23))
    assert error(rooted(right), rooted(truth.joints)) < 0.003
    assert error(rooted(wrong), rooted(truth.joints)) > 0.01


def test_answers_made_for_inference_can_be_fitted(
    body: PosedBody, scene: tuple[CropWindow, BodyPrediction]
) -> None:
    window, truth = scene
    with torch.inference_mode():
        first = displaced(body, truth, window)
        inside = fit_to_keypoints(first, window, body)
    outside = fit_to_keypoints(first, window, body)
    assert torch.equal(inside.rotations(), outside.rotations())
    assert not outside.transl.requires_grad


def test_acceleration_is_in_seconds() -> None:
    """A parabola has the same one at any frame rate and at uneven times."""
    for times in (torch.arange(8) / 30, torch.arange(16) / 60, torch.rand(9).cumsum(0) / 20):
        seconds = times[None] * 30
        values = torch.stack([seconds**2, 3 * seconds], -1)
        found = _acceleration(values, times[None])
        expected = torch.tensor([2.0, 0.0]).expand_as(found)
        torch.testing.assert_close(found, expected, atol=2e-2, rtol=0)
