"""PostoMETRO's encoder inside the whole model: every source of tokens, and what stays frozen."""

from dataclasses import replace

import pytest
import torch
from overfitting import share_left
from torch import Tensor, nn
from windows import a_window, one_clip

from temporal_hmr.batch import BodyPrediction, CropWindow
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones.resnet import ResNetConfig
from temporal_hmr.models.body_decoder import BodyDecoderConfig
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import HmrConfig
from temporal_hmr.models.image_pose_encoder import ImagePoseEncoderConfig, token_confidence
from temporal_hmr.models.image_tokens import ImageTokensConfig
from temporal_hmr.models.joint_motion import JointMotionConfig
from temporal_hmr.models.mesh_decoder import MeshDecoderConfig
from temporal_hmr.models.pose_modulator import PoseModulatorConfig
from temporal_hmr.models.swin import SwinConfig
from temporal_hmr.tokenizers.keypoint_classifier import (
    ImagePoseTokensConfig,
    KeypointClassifierConfig,
)
from temporal_hmr.tokenizers.keypoints import KeypointTokenizer, KeypointTokenizerConfig

SIDE = 64
TOKENIZER = KeypointTokenizerConfig(width=16, layers=1, codes=32, code_dim=8, tokens=6)
POSE = PoseModulatorConfig(tokens=6, code_dim=8, joints=23, mixer_layers=1, token_hidden=8)
CLASSIFIER = ImagePoseTokensConfig(
    backbone=SwinConfig(
        width=8,
        depths=(1, 1, 1, 1),
        heads=(1, 1, 2, 2),
        windows=(4, 4, 4, 2),
        trained_windows=(3, 3, 3, 2),
        position_hidden=8,
    ),
    classifier=KeypointClassifierConfig(
        tokenizer=TOKENIZER, channels=64, cells=2, trunk_channels=8, width=8, layers=1
    ),
)
BOTH = ImagePoseEncoderConfig(
    side=SIDE,
    backbone=ResNetConfig(width=4, layers=(1, 1, 1, 1)),
    image=ImageTokensConfig(grid=(2, 2)),
    pose=POSE,
    decoder=MeshDecoderConfig(size="S", width=32, hidden=48, heads=4, dropout=0.0),
)
COORDINATES = POSE.model_copy(update={"reads": "coordinates"})
SOURCES = {
    "both": {},
    "image": {"sees": "image"},
    "pose": {"sees": "pose"},
    "coordinates": {"pose": COORDINATES},
    "coordinates alone": {"pose": COORDINATES, "sees": "pose"},
    "classifier": {"classifier": CLASSIFIER},
    "classifier alone": {"classifier": CLASSIFIER, "sees": "pose"},
    "published": {"classifier": CLASSIFIER, "frame": "nothing"},
    "no frame": {"frame": "nothing"},
    "frame of keypoints": {"frame": "keypoints"},
}
every_source = pytest.mark.parametrize("source", SOURCES)


def model_of(source: str) -> Hmr:
    """As if trained for a while, and in evaluation mode: nothing is zero any more."""
    torch.manual_seed(0)
    model = Hmr(
        HmrConfig(
            tokenizer=TOKENIZER,
            encoder=ImagePoseEncoderConfig(**{**dict(BOTH), **SOURCES[source]}),
            decoder=BodyDecoderConfig(heads=2, layers=1),
            motion=JointMotionConfig(heads=2, layers=1),
            window=4,
        )
    )
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.eval()


def clips(batch: int = 2, frames: int = 3) -> CropWindow:
    return a_window(batch, frames, SIDE)


def frozen_parts(model: Hmr) -> list[nn.Module]:
    parts = dict(model.encoder.named_children())
    return [parts[name] for name in ("tokenizer", "classifier") if parts.get(name) is not None]


def cost(prediction: BodyPrediction) -> Tensor:
    return prediction.joints.square().sum() + prediction.smpl.betas.square().sum()


@every_source
def test_gradients_reach_every_trained_parameter(source: str, posed: PosedBody) -> None:
    model = model_of(source).train()
    cost(model(clips(), posed)).backward()
    frozen = {id(p) for part in frozen_parts(model) for p in part.parameters()}
    for name, parameter in model.named_parameters():
        if id(parameter) in frozen:
            assert parameter.grad is None and not parameter.requires_grad, name
        else:
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name
            assert parameter.grad.abs().sum() > 0, name


@every_source
def test_frozen_parts_survive_a_step_of_training(source: str, posed: PosedBody) -> None:
    """A plain `model.train()` set PostoMETRO's frozen PCT drifting: its norms have statistics."""
    model = model_of(source).train()
    parts = frozen_parts(model)
    needs_none = source in ("image", "coordinates", "coordinates alone")
    assert len(parts) == (not needs_none), "nothing is kept that nothing looks at"
    tokenized = any(isinstance(part, KeypointTokenizer) for part in parts)
    assert model.config.reads_keypoint_tokens() == tokenized
    assert not any(module.training for part in parts for module in part.modules())
    before = [{k: v.clone() for k, v in part.state_dict().items()} for part in parts]
    optimizer = torch.optim.AdamW(model.parameters(), 0.1, weight_decay=0.1)
    cost(model(clips(), posed)).backward()
    optimizer.step()
    for part, state in zip(parts, before, strict=True):
        for name, value in part.state_dict().items():
            assert torch.equal(value, state[name]), name


@every_source
@torch.no_grad()
def test_evaluation_is_deterministic_and_clips_are_independent(
    source: str, posed: PosedBody
) -> None:
    model, window = model_of(source), clips()
    together, again = model(window, posed), model(window, posed)
    assert torch.equal(together.joints, again.joints)
    alone = model(one_clip(window, 1), posed)
    torch.testing.assert_close(together.joints[1:2], alone.joints, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together.smpl.betas[1:2], alone.smpl.betas, atol=1e-5, rtol=1e-4)


@every_source
@torch.no_grad()
def test_padding_does_not_reach_valid_frames(source: str, posed: PosedBody) -> None:
    model, window = model_of(source), clips()
    assert window.images is not None
    valid = torch.tensor([[True, True, False], [True] * 3])
    images, keypoints = window.images.clone(), window.keypoints.clone()
    images[0, 2], keypoints[0, 2] = 255, 9.0
    first = model(replace(window, valid=valid), posed)
    second = model(replace(window, valid=valid, images=images, keypoints=keypoints), posed)
    torch.testing.assert_close(first.joints[valid], second.joints[valid], atol=1e-4, rtol=1e-4)


def moves(model: Hmr, posed: PosedBody, **changes: Tensor) -> bool:
    """Whether the bodies depend on what is changed in the window."""
    with torch.no_grad():
        before, after = model(clips(), posed), model(replace(clips(), **changes), posed)
    return not torch.equal(before.joints, after.joints)


@every_source
def test_models_look_at_what_they_say_they_do(source: str, posed: PosedBody) -> None:
    model, window = model_of(source), clips()
    assert window.images is not None
    sees, keypoints = SOURCES[source].get("sees", "both"), "classifier" not in SOURCES[source]
    keypoints = keypoints and sees != "image"
    images = sees != "pose" or "classifier" in SOURCES[source]
    assert moves(model, posed, images=255 - window.images) == images
    assert moves(model, posed, keypoints=-window.keypoints) == keypoints
    assert moves(model, posed, scores=1 - window.scores) == keypoints
    assert (model.config.image_side() is not None) == images


@torch.no_grad()
def test_where_the_box_stands_is_looked_at_only_if_asked_for(posed: PosedBody) -> None:
    """Place and size of the box move the pelvis in any case, but turn nobody by themselves."""
    window = clips()
    elsewhere = replace(window, box_center=window.box_center + 400)
    for source, told in (("both", True), ("image", True), ("no frame", False)):
        model = model_of(source)
        rotations = [model(w, posed).smpl.rotations() for w in (window, elsewhere)]
        assert torch.equal(*rotations) != told, source


@pytest.mark.parametrize("source", ["both", "pose", "coordinates", "frame of keypoints"])
@torch.no_grad()
def test_unseen_keypoints_are_not_read(source: str, posed: PosedBody) -> None:
    """Nor are those too uncertain to count."""
    model, window = model_of(source), clips()
    scores = torch.where(window.scores > 0.5, window.scores, 0.04)
    scores = torch.where(window.scores > 0.25, scores, 0.0)
    elsewhere = torch.where((scores > 0.05)[..., None], window.keypoints, 50.0)
    first = model(replace(window, scores=scores), posed)
    second = model(replace(window, scores=scores, keypoints=elsewhere), posed)
    third = model(replace(window, scores=scores * (scores > 0.05)), posed)
    assert torch.equal(first.joints, second.joints)
    assert torch.equal(first.joints, third.joints)
    assert torch.isfinite(model(replace(window, scores=0 * scores), posed).joints).all()


def test_pictures_that_are_missing_or_too_large_are_named(posed: PosedBody) -> None:
    blind = replace(clips(), images=None)
    for source in ("both", "image", "classifier alone"):
        with pytest.raises(InputError, match="keypoints alone"):
            model_of(source)(blind, posed)
        with pytest.raises(InputError, match="64 x 64 pixels, not of 96 x 96"):
            model_of(source)(a_window(1, 1, 96), posed)
    for source in ("pose", "coordinates alone"):
        assert torch.isfinite(model_of(source)(blind, posed).joints).all()


@torch.no_grad()
def test_the_confidence_of_a_token_is_a_mean_of_its_joints() -> None:
    torch.manual_seed(0)
    tokenizer = KeypointTokenizer(TOKENIZER)
    tokenizer.joints_to_tokens.weight.zero_()
    tokenizer.joints_to_tokens.weight[0, 3] = -2.0
    tokenizer.joints_to_tokens.weight[1:, [5, 6]] = torch.tensor([3.0, -1.0])
    scores = torch.rand(4, 23)
    found = token_confidence(tokenizer, scores)
    torch.testing.assert_close(found[:, 0], scores[:, 3])
    torch.testing.assert_close(found[:, 4], 0.75 * scores[:, 5] + 0.25 * scores[:, 6])


def test_overfits_four_clips(posed: PosedBody) -> None:
    """From pictures and keypoints to four bodies, each with a pose and a place of its own."""
    torch.manual_seed(1)
    window = clips(batch=4, frames=2)
    with torch.no_grad():
        bodies = model_of("image")(window, posed).joints.flip(0)
        target = bodies - bodies[:, :, :1] + torch.tensor([0.0, 0.0, 5.0])
        target = target + torch.randn(4, 1, 1, 3)
    model = model_of("both").train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 3e-3)

    def distance() -> Tensor:
        return (model(window, posed).joints - target).norm(dim=-1).mean()

    # Who learns one place and pose for all four gets down to 0.09.
    assert share_left(distance, optimizer, steps=80, enough=0.05) < 0.05
