"""The body model over time: laws, gradients, and the published defects it must not have."""

from dataclasses import replace
from typing import TypeVar

import pytest
import torch
from tiny_model import SMALL
from torch import nn
from windows import a_window, one_clip

from temporal_hmr.body.params import SmplParams
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.encoder import box_geometry
from temporal_hmr.models.heads import pelvis_in_camera, standing_person
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.joint_motion import JointMotion, JointMotionConfig
from temporal_hmr.skeleton import SMPL24

AnyModule = TypeVar("AnyModule", bound=nn.Module)
TWO_LAYERS = SMALL.model_copy(update={"motion": JointMotionConfig(heads=2, layers=2)})


def stirred(module: AnyModule) -> AnyModule:
    """As if trained for a while: nothing is zero any more."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def small_model() -> Hmr:
    return stirred(Hmr(TWO_LAYERS))


def test_each_joint_attends_to_itself_alone() -> None:
    """INT: a joint's output depends on that joint's tokens, over all of time, and on no other's."""
    motion = stirred(JointMotion(32, JointMotionConfig(heads=2, layers=2)))
    tokens = torch.randn(8, 26, 32)
    times = torch.arange(8)[None] / 30
    valid = torch.ones(1, 8, dtype=torch.bool)
    before = motion(BodyTokens.apart(tokens), times, valid).together()
    changed = tokens.clone()
    changed[3, 5] = torch.randn(32)
    after = motion(BodyTokens.apart(changed), times, valid).together()
    moved = (after - before).abs().amax(-1) > 1e-6
    assert moved[:, 5].all()
    assert not moved[:, [j for j in range(26) if j != 5]].any()


def test_attention_across_joints_stays_among_neighbours_in_one_clip() -> None:
    config = JointMotionConfig(heads=2, layers=2, across_joints=True)
    motion = stirred(JointMotion(32, config))
    tokens = torch.randn(2 * 8, 26, 32)
    times = torch.arange(8).expand(2, 8) / 30
    valid = torch.ones(2, 8, dtype=torch.bool)
    valid[0, 6:] = False
    before = motion(BodyTokens.apart(tokens), times, valid).together()
    for frame, seen in ((3, True), (7, False)):
        changed = tokens.clone()
        changed[frame, 5] = torch.randn(32)
        after = motion(BodyTokens.apart(changed), times, valid).together()
        moved = (after - before).abs().amax(-1) > 1e-6
        assert moved[:6].all() == seen
        assert not moved[8:].any(), "the other clip"


@pytest.mark.parametrize("across", [False, True])
def test_it_starts_from_what_each_frame_says(posed: PosedBody, across: bool) -> None:
    motion = JointMotionConfig(heads=2, layers=2, across_joints=across)
    model = Hmr(TWO_LAYERS.model_copy(update={"motion": motion})).eval()
    window = a_window()
    together, alone = model(window, posed), model(window, posed, temporal=False)
    torch.testing.assert_close(together.joints, alone.joints)


def test_shape_and_camera_bypass_time_as_published() -> None:
    motion = stirred(JointMotion(32, JointMotionConfig(heads=2, joints_only=True)))
    tokens = BodyTokens.apart(torch.randn(8, 26, 32))
    mixed = motion(tokens, torch.arange(8)[None] / 30, torch.ones(1, 8, dtype=torch.bool))
    assert mixed.shape is tokens.shape
    assert mixed.camera is tokens.camera


def test_the_order_of_frames_matters() -> None:
    """INT ends its training with positions constant in time: shuffled clips gave one answer."""
    motion = stirred(JointMotion(32, JointMotionConfig(heads=2)))
    tokens = torch.randn(8, 26, 32)
    shuffle = torch.tensor([3, 1, 7, 0, 5, 2, 6, 4])
    times = torch.arange(8)[None] / 30
    valid = torch.ones(1, 8, dtype=torch.bool)
    straight = motion(BodyTokens.apart(tokens), times, valid).joints
    shuffled = motion(BodyTokens.apart(tokens[shuffle]), times, valid).joints
    assert float((shuffled - straight[shuffle]).detach().abs().max()) > 1e-3
    # ... and it is time that matters, not the place in the tensor.
    along = motion(BodyTokens.apart(tokens[shuffle]), times[:, shuffle], valid).joints
    torch.testing.assert_close(along, straight[shuffle], atol=1e-4, rtol=1e-4)


def test_time_has_no_origin() -> None:
    motion = stirred(JointMotion(32, JointMotionConfig(heads=2)))
    tokens = BodyTokens.apart(torch.randn(8, 26, 32))
    times = torch.arange(8)[None] / 30
    valid = torch.ones(1, 8, dtype=torch.bool)
    here, later = (motion(tokens, times + shift, valid).joints for shift in (0.0, 100.0))
    torch.testing.assert_close(here, later, atol=2e-3, rtol=0)


def test_forward_leaves_parameters_alone(posed: PosedBody) -> None:
    """INT's forward replaces its position parameter, which leaves the optimiser."""
    model = small_model()
    before = {name: id(p) for name, p in model.named_parameters()}
    for frames in (1, 5, 8, 13):
        model(a_window(frames=frames), posed)
    assert {name: id(p) for name, p in model.named_parameters()} == before


def test_padding_does_not_reach_valid_frames(posed: PosedBody) -> None:
    model = small_model()
    window = a_window()
    valid = window.valid.clone()
    valid[:, 6:] = False
    noise = torch.where(valid[..., None, None], window.keypoints, 9.0)
    first = model(replace(window, valid=valid), posed)
    second = model(replace(window, valid=valid, keypoints=noise), posed)
    torch.testing.assert_close(first.joints[:, :6], second.joints[:, :6], atol=1e-5, rtol=1e-5)


def test_batch_size_does_not_matter(posed: PosedBody) -> None:
    model = small_model()
    window = a_window(batch=3)
    together, alone = model(window, posed), model(one_clip(window, 1), posed)
    torch.testing.assert_close(together.joints[1:2], alone.joints, atol=1e-5, rtol=1e-5)


def test_without_time_each_frame_stands_alone(posed: PosedBody) -> None:
    model = small_model()
    window = a_window()
    changed = window.keypoints.clone()
    changed[:, 0] *= -1
    rotations = [
        model(replace(window, keypoints=k), posed, temporal=False).smpl.rotations()
        for k in (window.keypoints, changed)
    ]
    torch.testing.assert_close(rotations[0][:, 1:], rotations[1][:, 1:])
    assert float((rotations[0][:, 0] - rotations[1][:, 0]).detach().abs().max()) > 1e-4


def test_one_shape_per_clip(posed: PosedBody) -> None:
    betas = small_model()(a_window(), posed).smpl.betas
    torch.testing.assert_close(betas, betas[:, :1].expand_as(betas))


def test_unseen_keypoints_are_not_read(posed: PosedBody) -> None:
    model = small_model()
    window = a_window()
    scores = window.scores * (window.scores > 0.5)
    elsewhere = torch.where((scores > 0)[..., None], window.keypoints, 50.0)
    first = model(replace(window, scores=scores), posed)
    second = model(replace(window, scores=scores, keypoints=elsewhere), posed)
    torch.testing.assert_close(first.joints, second.joints)


def test_frozen_tokenizer_stays_frozen(posed: PosedBody) -> None:
    """A plain `model.train()` must not set the codebook drifting (PostoMETRO's frozen PCT)."""
    model = small_model().train()
    tokenizer = model.encoder.get_submodule("tokenizer")
    assert not tokenizer.training
    before = {k: v.clone() for k, v in tokenizer.state_dict().items()}
    model(a_window(), posed).joints.sum().backward()
    for name, value in tokenizer.state_dict().items():
        assert torch.equal(value, before[name]), name
    assert all(p.grad is None for p in tokenizer.parameters())


def test_gradients_reach_every_trained_parameter(posed: PosedBody) -> None:
    model = small_model().train()
    prediction = model(a_window(), posed)
    total = prediction.joints.square().sum() + prediction.smpl.betas.square().sum()
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            # (A shift of all keys alike changes no attention weight, but values share the bias.)
            assert parameter.grad.abs().sum() > 0, name


def test_a_standing_person_is_upright_before_the_camera(posed: PosedBody) -> None:
    smpl = SmplParams.from_rotations(standing_person(), torch.zeros(10), torch.tensor([0.0, 0, 4]))
    joints = dict(zip(SMPL24.joints, posed.body.joints(smpl), strict=True))
    assert joints["head"][1] < joints["pelvis"][1] < joints["left_foot"][1]  # y points down
    assert joints["left_shoulder"][0] > joints["right_shoulder"][0]  # facing us: left is right
    assert joints["left_foot"][2] < joints["left_ankle"][2]  # toes towards the camera
    assert joints["left_hand"][1] > joints["left_elbow"][1] > joints["left_shoulder"][1]


def test_crop_camera_agrees_with_a_pinhole() -> None:
    """A metre at the pelvis spans s/2 of the box side, and the box centre is where tx = ty = 0."""
    window = a_window(batch=1, frames=1)
    scale = torch.tensor([[[0.8, 0.0, 0.0]]])
    pelvis = pelvis_in_camera(scale, window)[0, 0]

    def pixel(point: torch.Tensor) -> torch.Tensor:
        return point[:2] / point[2] * window.focal[0] + window.center[0]

    torch.testing.assert_close(pixel(pelvis), window.box_center[0, 0])
    metre = pixel(pelvis + torch.tensor([1.0, 0, 0])) - pixel(pelvis)
    torch.testing.assert_close(metre[0], 0.8 * window.box_size[0, 0] / 2)


def test_box_geometry_is_free_of_resolution() -> None:
    window = a_window()
    doubled = replace(
        window,
        box_center=2 * window.box_center,
        box_size=2 * window.box_size,
        focal=2 * window.focal,
        center=2 * window.center,
    )
    torch.testing.assert_close(box_geometry(window), box_geometry(doubled))


def test_overfits_one_window(posed: PosedBody) -> None:
    """Forty steps on one clip must bring the body most of the way."""
    torch.manual_seed(0)
    model = Hmr(TWO_LAYERS).train()
    window = a_window(batch=1)
    target = torch.randn(1, 1, 24, 3) * 0.1 + torch.tensor([0.0, 0.0, 5.0])
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 5e-3)
    losses = []
    for _ in range(40):
        joints = model(window, posed).joints
        loss = (joints[..., 0, :] - target[..., 0, :]).norm(dim=-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.2 * losses[0]


def test_bodies_alone_are_those_of_the_prediction(posed: PosedBody) -> None:
    model, window = small_model(), a_window()
    for temporal in (True, False):
        whole, alone = model(window, posed, temporal).smpl, model.bodies(window, posed, temporal)
        torch.testing.assert_close(alone.rotations(), whole.rotations(), rtol=0, atol=0)
        torch.testing.assert_close(alone.transl, whole.transl, rtol=0, atol=0)
