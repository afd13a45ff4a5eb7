"""Labels that are wrong on purpose, and the losses that are to stand them."""

from dataclasses import replace

import pytest
import torch
from torch import Generator

from temporal_hmr.batch import BodyPrediction, BodyTarget, CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.detector_noise import CLEAN
from temporal_hmr.data.pseudo_labels import PseudoLabels
from temporal_hmr.data.synthetic import Augmentation, MotionBank, synthesise
from temporal_hmr.data.take import MocapTake
from temporal_hmr.losses_tals import TalsConfig
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.training.tals_terms import tals_terms

POSED = PosedBody(load_body())


def standing(clips: int = 6) -> tuple[CropWindow, BodyTarget]:
    still = torch.eye(3).expand(40, 24, 3, 3), torch.zeros(40, 3)
    bank = MotionBank.of([MocapTake("a", "b", *still, 30.0, torch.zeros(10))])
    plain = Augmentation(recombined_share=0.0, perturbed_share=0.0, assumed_focal_share=0.0)
    return synthesise(bank, POSED, (clips, 2), plain, CLEAN, Generator().manual_seed(0))


def angle(smpl: SmplParams, joint: str) -> torch.Tensor:
    """Turning about x, the axis on which knees bend."""
    rotation = smpl.rotations()[..., SMPL24.index(joint), :, :]
    return torch.atan2(rotation[..., 2, 1], rotation[..., 1, 1])


def test_knees_bend_and_keypoints_stay() -> None:
    _, target = standing(200)
    made = PseudoLabels(share=0.5, spread=0.0).replace_some(
        target, POSED.body, Generator().manual_seed(1)
    )
    wrong = ~made.trusted
    assert 70 < int(wrong.sum()) < 130
    assert torch.equal(made.keypoints, target.keypoints)
    torch.testing.assert_close(made.joints[..., 0, :], target.joints[..., 0, :])
    for name in ("global_orient", "body_pose", "betas"):
        old, new = getattr(target.smpl, name), getattr(made.smpl, name)
        assert torch.equal(old[made.trusted], new[made.trusted])
    torch.testing.assert_close(made.smpl.transl[made.trusted], target.smpl.transl[made.trusted])
    extra = (angle(made.smpl, "left_knee") - angle(target.smpl, "left_knee"))[wrong]
    assert float(extra.min()) > 0.15, "positive about x draws the heel back"
    ankle, knee = (SMPL24.index(f"left_{part}") for part in ("ankle", "knee"))
    shank = (made.joints - target.joints)[wrong][:, :, [ankle, knee]]
    assert float(shank.norm(dim=-1).mean()) > 0.02
    torch.testing.assert_close(POSED.body.joints(made.smpl), made.joints)


def test_left_out_labels_teach_nothing_but_keypoints() -> None:
    _, target = standing()
    made = PseudoLabels(share=1.0, kept=False).replace_some(
        target, POSED.body, Generator().manual_seed(1)
    )
    assert not made.has_smpl.any() and not made.has_joints.any() and not made.trusted.any()


def test_a_right_answer_costs_less_under_tals_than_when_wrong_labels_are_believed() -> None:
    """And it moves nothing but what the keypoints and trusted labels say."""
    window, target = standing()
    labels = PseudoLabels(share=1.0, spread=0.03, bent_knees=0.15, lean=0.1)
    wrong = labels.replace_some(target, POSED.body, Generator().manual_seed(1))
    found = POSED(target.smpl, window)
    right = BodyPrediction(found.smpl, found.joints, found.points, target.keypoints)
    believed = tals_terms(right, wrong, window, POSED, TalsConfig(adaptive=False))
    adapted = tals_terms(right, wrong, window, POSED, TalsConfig())
    assert float(adapted["pose"]) < 0.2 * float(believed["pose"])
    assert float(adapted["joints"]) == 0, "keypoints are right: 3D labels are not asked"
    assert float(believed["joints"]) > 0
    truth = tals_terms(right, target, window, POSED, TalsConfig())
    assert float(sum(truth.values())) < 1e-4


def test_frames_that_do_not_count_cost_nothing() -> None:
    window, target = standing()
    prediction = POSED(target.smpl.map(lambda values: values.flip(0)), window)
    none = CropWindow(**{**vars(window), "valid": torch.zeros_like(window.valid)})
    terms = tals_terms(prediction, target, none, POSED, TalsConfig(adaptive=False))
    assert all(float(term) == 0 for term in terms.values())


def without_smpl(target: BodyTarget) -> BodyTarget:
    """What a dataset of measured joints knows of the same people."""
    nobody = target.smpl.map(torch.zeros_like)
    return replace(target, smpl=nobody, has_smpl=torch.zeros_like(target.has_smpl))


@pytest.mark.parametrize("trusted", [True, False])
def test_joints_teach_without_smpl_if_trusted_or_far_off_in_the_picture(trusted: bool) -> None:
    window, target = standing()
    target = replace(target, trusted=torch.full_like(target.trusted, trusted))
    right = POSED(target.smpl, window)
    far = POSED(target.smpl.map(lambda values: values.flip(0)), window)
    near = replace(far, keypoints=target.keypoints)

    def joints(prediction: BodyPrediction, adaptive: bool = True) -> float:
        labels, config = without_smpl(target), TalsConfig(adaptive=adaptive)
        return float(tals_terms(prediction, labels, window, POSED, config)["joints"])

    assert joints(far) > 0.01
    assert (joints(near) > 0) == trusted
    assert joints(right, adaptive=False) == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("joint", ["pelvis", "left_knee"])
def test_joints_that_nobody_knows_teach_nothing(joint: str) -> None:
    """Without the pelvis none does."""
    window, target = standing()
    labels, place = without_smpl(target), SMPL24.index(joint)
    found = POSED(target.smpl, window)
    found.joints[..., place, 0] += 0.1
    for known in (True, False):
        labels.has_joints[..., place] = known
        terms = tals_terms(found, labels, window, POSED, TalsConfig())
        assert (float(terms["joints"]) > 1e-3) == known
