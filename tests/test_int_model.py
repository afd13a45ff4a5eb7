"""INT as settings of the whole model: the laws of its parts and its camera."""

from dataclasses import replace
from typing import TypeVar

import pytest
import torch
from overfitting import share_left
from torch import Tensor, nn
from windows import noise, one_clip, whole_pictures

from temporal_hmr.batch import CropWindow
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones_hybrid import (
    HybridBackbone,
    HybridBackboneConfig,
    HybridPatches,
    pad_same,
)
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.heads import (
    CROP_FOCAL,
    BodyReadout,
    camera_at_pelvis,
    pelvis_in_camera,
    project_in_crop,
    translation_in_crop,
)
from temporal_hmr.models.hmr import Hmr, PosedBody, project_to_box
from temporal_hmr.models.hmr_config import INT
from temporal_hmr.models.int_encoder import IntEncoderConfig
from temporal_hmr.models.int_heads import IntHeads, IntHeadsConfig
from temporal_hmr.models.joint_motion import JointMotionConfig
from temporal_hmr.models.token_motion import TokenMotionConfig, draw_hidden
from temporal_hmr.models.token_transformer import TokenTransformer, TokenTransformerConfig

AnyModule = TypeVar("AnyModule", bound=nn.Module)
SIDE = 32
ENCODER = IntEncoderConfig(
    backbone=HybridBackboneConfig(stem=8, blocks=(1, 1, 1), widths=(16, 16, 32), groups=4),
    transformer=TokenTransformerConfig(width=32, layers=2, heads=2, expansion=2, grid=2),
)
MOTION = TokenMotionConfig(layers=1, heads=2, expansion=2, length=4)
SMALL = INT.model_copy(
    update={"encoder": ENCODER, "motion": MOTION, "head": IntHeadsConfig(crop_side=SIDE)}
)


def stirred(module: AnyModule) -> AnyModule:
    """As if trained for a while: nothing is zero any more."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval()


def model_with(motion: TokenMotionConfig | JointMotionConfig | None = MOTION) -> Hmr:
    return stirred(Hmr(SMALL.model_copy(update={"motion": motion})))


def a_clip(batch: int = 2, frames: int = 4) -> CropWindow:
    return whole_pictures(noise(batch, frames, SIDE))


def mixed_tokens(model: Hmr, window: CropWindow) -> BodyTokens:
    tokens = model.frame_tokens(window)
    assert isinstance(tokens, BodyTokens)
    return model.mix(tokens, window)


def read(model: Hmr, window: CropWindow) -> BodyReadout:
    """What the heads say of each of the B x T frames."""
    return model.read(mixed_tokens(model, window))


# The network at its published size, without its memory.


def test_the_backbone_makes_1024_channels_of_14_by_14() -> None:
    with torch.device("meta"):
        backbone = HybridBackbone(HybridBackboneConfig())
        assert backbone(torch.empty(2, 3, 224, 224)).shape == (2, 1024, 14, 14)
        patches = HybridPatches(HybridBackboneConfig(), 768)(torch.empty(2, 3, 224, 224))
    assert patches.shape == (2, 196, 768)
    assert INT.image_side() == 224


def test_sizes_of_the_published_model() -> None:
    with torch.device("meta"):
        model = Hmr(INT)
    spatial = sum(p.numel() for p in model.encoder.get_submodule("transformer.blocks").parameters())
    assert spatial == pytest.approx(42.5e6, rel=0.01)
    assert sum(p.numel() for p in model.parameters()) == 76_673_363
    assert {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)} == {1e-6}
    assert {m.eps for m in model.modules() if isinstance(m, nn.GroupNorm)} == {1e-5}


def test_the_sequence_is_24_joints_shape_camera_cls_and_196_patches() -> None:
    transformer = stirred(TokenTransformer(TokenTransformerConfig(width=24, layers=1, heads=2)))
    seen: list[Tensor] = []
    transformer.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    patches = torch.randn(3, 196, 24)
    body = transformer(patches)
    assert seen[0].shape == (3, 223, 24)
    priors = torch.cat(
        [transformer.joint_tokens, transformer.shape_token, transformer.camera_token]
    )
    torch.testing.assert_close(seen[0][1, :26], priors, msg="no position on body tokens")
    torch.testing.assert_close(
        seen[0][:, 26], (transformer.cls_token + transformer.positions[:1]).expand(3, 24)
    )
    torch.testing.assert_close(seen[0][:, 27:], patches + transformer.positions[1:])
    assert body.joints.shape == (3, 24, 24)
    assert body.shape.shape == body.camera.shape == (3, 1, 24)


# The backbone.


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "before", "after"),
    [(224, 7, 2, 2, 3), (112, 3, 2, 0, 1), (56, 3, 1, 1, 1), (56, 1, 2, 0, 0), (7, 3, 2, 1, 1)],
)
def test_padding_is_tensorflows(
    size: int, kernel: int, stride: int, before: int, after: int
) -> None:
    padded = pad_same(torch.ones(1, 1, size, size), kernel, stride)[0, 0]
    assert padded.shape == (before + size + after,) * 2
    assert padded[:before].sum() == 0
    assert padded[before:, before:][:size, :size].all()
    assert padded.sum() == size * size


def test_filters_are_standardised_at_every_use_and_stored_raw() -> None:
    """Neither scale nor shift of a filter changes what it sees."""
    backbone = stirred(HybridBackbone(ENCODER.backbone))
    images = torch.randn(2, 3, SIDE, SIDE)
    before = backbone(images)
    raw = backbone.stem.conv.weight.detach().clone()
    with torch.no_grad():
        for module in backbone.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.mul_(3.0).add_(1.0)
    torch.testing.assert_close(backbone(images), before, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(backbone.stem.conv.weight, 3 * raw + 1)


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(InputError, match="groups of 32"):
        HybridBackbone(HybridBackboneConfig(widths=(256, 512, 1000)))
    with pytest.raises(InputError, match="attention heads"):
        TokenTransformer(TokenTransformerConfig(width=100, heads=12))
    with pytest.raises(InputError, match="resize the crop"):
        TokenTransformer(ENCODER.transformer)(torch.zeros(1, 16, 32))
    with pytest.raises(InputError, match="32 x 32 pixels, not of 64 x 64"):
        Hmr(SMALL).frame_tokens(whole_pictures(noise(1, 1, 64)))
    with pytest.raises(InputError, match="keypoints alone"):
        Hmr(SMALL).frame_tokens(replace(a_clip(), images=None))


# The spatial transformer.


def test_patches_are_known_by_their_positions_only() -> None:
    """Patches shuffled together with their positions leave the body unchanged."""
    transformer = stirred(TokenTransformer(ENCODER.transformer))
    patches = torch.randn(2, 4, 32)
    before = transformer(patches).together()
    shuffle = torch.tensor([2, 0, 3, 1])
    assert float((transformer(patches[:, shuffle]).together() - before).detach().abs().max()) > 1e-3
    with torch.no_grad():
        transformer.positions[1:] = transformer.positions[1:][shuffle]
    torch.testing.assert_close(transformer(patches[:, shuffle]).together(), before)


# The whole.


def test_shape_and_camera_are_decoded_frame_by_frame(posed: PosedBody) -> None:
    """Other frames move rotations only."""
    model, window = model_with(), a_clip()
    images = noise(2, 4, SIDE)
    images[:, 1] = noise(2, 1, SIDE, seed=5)[:, 0]
    changed = replace(window, images=images)
    first, second = model(window, posed).smpl, model(changed, posed).smpl
    rest = [0, 2, 3]
    torch.testing.assert_close(first.betas[:, rest], second.betas[:, rest])
    torch.testing.assert_close(first.transl[:, rest], second.transl[:, rest])
    cameras = [read(model, w).crop_camera.unflatten(0, (2, 4))[:, rest] for w in (window, changed)]
    torch.testing.assert_close(*cameras)
    moved = (first.rotations() - second.rotations()).abs().amax((-1, -2))
    assert (moved[:, rest] > 1e-6).all()
    assert (first.betas[:, 1] != second.betas[:, 1]).any(), "one shape for each frame"


def test_without_time_each_frame_stands_alone(posed: PosedBody) -> None:
    model, window = model_with(None), a_clip()
    alone = whole_pictures(noise(2, 4, SIDE).flatten(0, 1)[:, None])
    one_by_one = model(alone, posed).smpl.rotations()
    together = model(window, posed).smpl.rotations()
    torch.testing.assert_close(together.flatten(0, 1), one_by_one.flatten(0, 1))
    tokens = model.frame_tokens(window)
    assert isinstance(tokens, BodyTokens)
    assert model.mix(tokens, window) is tokens


def test_rotations_are_rotations(posed: PosedBody) -> None:
    rotations = model_with()(a_clip(), posed).smpl.rotations()
    assert rotations.shape == (2, 4, 24, 3, 3)
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand_as(rotations))
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(2, 4, 24))


def test_padding_does_not_reach_valid_frames(posed: PosedBody) -> None:
    model, valid = model_with(), torch.tensor([[True, True, False, False], [True] * 4])
    window = replace(a_clip(), valid=valid)
    other = noise(2, 4, SIDE)
    other[0, 2:] = 255
    first = model(window, posed)
    second = model(replace(window, images=other), posed)
    torch.testing.assert_close(first.smpl.rotations()[valid], second.smpl.rotations()[valid])
    torch.testing.assert_close(first.joints[valid], second.joints[valid])


def test_batch_size_does_not_matter(posed: PosedBody) -> None:
    model, window = model_with(), a_clip(batch=3)
    together, alone = model(window, posed), model(one_clip(window, 1), posed)
    torch.testing.assert_close(together.smpl.rotations()[1:2], alone.smpl.rotations())
    torch.testing.assert_close(together.joints[1:2], alone.joints)


def test_evaluation_is_deterministic_and_training_mode_is_no_different(posed: PosedBody) -> None:
    """Published without dropout: there is nothing that train() could switch on."""
    model, window = model_with(), a_clip()
    first = model(window, posed).smpl.rotations()
    assert torch.equal(first, model(window, posed).smpl.rotations())
    torch.testing.assert_close(first, model.train()(window, posed).smpl.rotations())


def test_geometry_is_exact_under_autocast(posed: PosedBody) -> None:
    """bfloat16 steps are degrees and millimetres."""
    model, window = model_with(), a_clip()
    with torch.autocast("cpu", torch.bfloat16):
        tokens = BodyTokens.apart(mixed_tokens(model, window).together().bfloat16())
        smpl = model.pose_body(tokens, window, posed).smpl
    rotations = smpl.rotations()
    assert rotations.dtype == smpl.transl.dtype == torch.float32
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand_as(rotations))
    exact = model.pose_body(tokens.float(), window, posed).smpl
    assert torch.equal(rotations, exact.rotations())
    assert torch.equal(smpl.transl, exact.transl)


def test_forward_leaves_parameters_and_images_alone(posed: PosedBody) -> None:
    model = model_with()
    before = {name: (id(p), p.detach().clone()) for name, p in model.named_parameters()}
    for frames in (1, 3, 4, 9):
        window = a_clip(frames=frames)
        assert window.images is not None
        copy = window.images.clone()
        model(window, posed)
        assert torch.equal(window.images, copy)
    for name, parameter in model.named_parameters():
        assert id(parameter) == before[name][0], name
        assert torch.equal(parameter, before[name][1]), name


def test_gradients_reach_every_parameter(posed: PosedBody) -> None:
    """All parameters train in every phase; nothing is frozen, nothing is unused."""
    model = model_with(MOTION.model_copy(update={"mask_ratio": 0.25})).train()
    hidden = draw_hidden(torch.ones(2, 4, dtype=torch.bool), 0.25)
    smpl = model(a_clip(), posed, hidden=hidden).smpl
    total = (smpl.rotations() * torch.randn(2, 4, 24, 3, 3)).sum() + smpl.betas.square().sum()
    (total + smpl.transl.square().mean()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_what_a_model_cannot_do_is_named(posed: PosedBody) -> None:
    rotary = model_with(JointMotionConfig(layers=1, heads=2, joints_only=True))
    assert torch.isfinite(rotary(a_clip(), posed).smpl.rotations()).all()
    hidden = torch.ones(2, 4, 24, dtype=torch.bool)
    for model in (rotary, model_with(None)):
        with pytest.raises(InputError, match="hidden"):
            model(a_clip(), posed, hidden=hidden)


def test_overfits_four_samples() -> None:
    """Four clips of noise, each with rotations, betas and cameras of its own."""
    window = a_clip(batch=4)
    rotations = read(model_with(), a_clip(batch=4)).rotations.detach().flip(0)
    torch.manual_seed(0)
    model = Hmr(SMALL).train()
    betas = torch.randn(4, 10).repeat_interleave(4, 0)
    camera = torch.rand(4, 3).repeat_interleave(4, 0)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)

    def error() -> Tensor:
        found = read(model, window)
        error = (found.rotations - rotations).square().mean()
        error = error + (found.betas - betas).square().mean()
        return error + (found.crop_camera - camera).square().mean()

    assert share_left(error, optimiser, steps=120) < 0.1


# Heads and camera.


def test_one_layer_reads_all_joints() -> None:
    heads = stirred(IntHeads(32, IntHeadsConfig()))
    tokens = torch.randn(2, 26, 32)
    tokens[:, 7] = tokens[:, 3]
    rotations = heads(BodyTokens.apart(tokens)).rotations
    torch.testing.assert_close(rotations[:, 7], rotations[:, 3])
    assert sum(p.numel() for p in heads.parameters()) == 33 * (6 + 10 + 3)


def test_a_fresh_model_puts_bodies_before_the_camera() -> None:
    """Published heads start at a scale about 0: infinitely far, or behind the camera."""
    heads = IntHeads(32, IntHeadsConfig())
    assert heads.camera.bias.tolist() == pytest.approx([0.9, 0, 0])
    depth = translation_in_crop(heads.camera.bias.detach(), 224)[2]
    assert float(depth) == pytest.approx(2 * 5000 / (224 * 0.9), rel=1e-5)
    assert IntHeads(32, IntHeadsConfig(camera_bias=(0, 0, 0))).camera.bias.abs().sum() == 0


def crop_window(side: int = 224) -> CropWindow:
    """Whose boxes are the crops themselves, seen by INT's camera."""
    return whole_pictures(torch.zeros(1, 5, 3, side, side, dtype=torch.uint8))


def some_camera() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    camera = torch.randn(1, 5, 3, generator=generator) * 0.2
    return camera + torch.tensor([0.9, 0.0, 0.0])


def test_projection_agrees_with_ours() -> None:
    """The crop as a picture of 224 pixels: points translated, through a pinhole, in its box."""
    points = 0.5 * torch.randn(1, 5, 30, 3)
    place = translation_in_crop(some_camera(), 224)
    ours = project_to_box(points + place[..., None, :], crop_window())
    torch.testing.assert_close(project_in_crop(points, place, 224), ours, atol=1e-5, rtol=1e-4)


def test_only_the_angle_of_view_counts() -> None:
    """The same camera on a crop of 256 pixels, and in halves of it: x / 256 as elsewhere."""
    points, camera = 0.5 * torch.randn(1, 5, 30, 3), some_camera()
    place = translation_in_crop(camera, 224)
    at_224 = project_in_crop(points, place, 224)
    larger = replace(crop_window(256), focal=torch.full((1, 2), CROP_FOCAL * 256 / 224))
    at_256 = project_to_box(points + place[..., None, :], larger)
    torch.testing.assert_close(at_224, at_256, atol=1e-5, rtol=1e-4)
    # At one focal length in pixels the difference is perspective only: thousandths of the crop.
    weak = project_in_crop(points, translation_in_crop(camera, 256), 256)
    torch.testing.assert_close(at_224 / 2, weak / 2, atol=5e-3, rtol=0)


def test_a_metre_spans_half_the_scale_of_the_crop() -> None:
    camera = torch.tensor([0.8, 0.1, -0.2])
    ends = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    found = project_in_crop(ends, translation_in_crop(camera, 224), 224)
    torch.testing.assert_close(found[0], 0.8 * camera[1:])
    torch.testing.assert_close(found[1, 0] - found[0, 0], torch.tensor(0.8))


def test_the_camera_of_the_pelvis_stands_where_the_body_does() -> None:
    """INT offsets SMPL's origin, our `pelvis_in_camera` the pelvis: 24 cm apart in SMPL."""
    pelvis = torch.tensor([0.0, -0.24, 0.03]).expand(1, 5, 3)
    camera = some_camera()
    ours = pelvis_in_camera(camera_at_pelvis(camera, pelvis, 224), crop_window())
    expected = translation_in_crop(camera, 224) + pelvis
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_in_a_picture_that_is_the_crop_bodies_stand_as_published(posed: PosedBody) -> None:
    """Hmr places the pelvis in a full image; where that is the crop, nothing must have moved."""
    model, window = model_with(), a_clip()
    found, readout = model(window, posed), read(model, window)
    depth = 2 * 5000 / (SIDE * readout.crop_camera[:, 0] + 1e-9)
    transl = torch.stack([*readout.crop_camera[:, 1:].unbind(1), depth], 1).unflatten(0, (2, 4))
    torch.testing.assert_close(found.smpl.transl, transl, atol=1e-4, rtol=1e-4)
    origin = replace(found.smpl, transl=torch.zeros_like(transl))
    placed = posed.body.regress(origin, posed.detector_points) + transl[..., None, :]
    published = 5000 * placed[..., :2] / placed[..., 2:] / (SIDE / 2)
    torch.testing.assert_close(found.keypoints, published, atol=1e-4, rtol=1e-3)
