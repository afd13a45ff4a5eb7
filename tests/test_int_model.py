"""INT as a whole: the laws of its parts and its camera."""

from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from temporal_hmr.batch import CropWindow
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones_hybrid import (
    HybridBackbone,
    HybridBackboneConfig,
    HybridPatches,
    pad_same,
)
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.heads import pelvis_in_camera
from temporal_hmr.models.hmr import project_to_box
from temporal_hmr.models.int_heads import (
    FOCAL,
    IntHeads,
    IntHeadsConfig,
    camera_at_pelvis,
    project_in_crop,
    translation_in_crop,
)
from temporal_hmr.models.int_model import Int, IntConfig
from temporal_hmr.models.token_motion import TokenMotionConfig, draw_hidden
from temporal_hmr.models.token_transformer import TokenTransformer, TokenTransformerConfig

AnyModule = TypeVar("AnyModule", bound=nn.Module)
SMALL = IntConfig(
    backbone=HybridBackboneConfig(stem=8, blocks=(1, 1, 1), widths=(16, 16, 32), groups=4),
    transformer=TokenTransformerConfig(width=32, layers=2, heads=2, expansion=2, grid=2),
    motion=TokenMotionConfig(layers=1, heads=2, expansion=2, length=4),
)
SIDE = 32


def stirred(module: AnyModule) -> AnyModule:
    """As if trained for a while: nothing is zero any more."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval()


def some_images(batch: int = 2, frames: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, frames, 3, SIDE, SIDE, generator=generator)


def without_motion() -> IntConfig:
    return SMALL.model_copy(update={"motion": None})


# The network at its published size, without its memory.


def test_the_backbone_makes_1024_channels_of_14_by_14() -> None:
    with torch.device("meta"):
        backbone = HybridBackbone(HybridBackboneConfig())
        assert backbone(torch.empty(2, 3, 224, 224)).shape == (2, 1024, 14, 14)
        patches = HybridPatches(HybridBackboneConfig(), 768)(torch.empty(2, 3, 224, 224))
    assert patches.shape == (2, 196, 768)
    assert IntConfig().image_side() == 224


def test_sizes_of_the_published_model() -> None:
    with torch.device("meta"):
        model = Int(IntConfig())
    spatial = sum(p.numel() for p in model.transformer.blocks.parameters())
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
    backbone = stirred(HybridBackbone(SMALL.backbone))
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
        Int(SMALL)(torch.zeros(1, 1, 3, 64, 64))


# The spatial transformer.


def test_patches_are_known_by_their_positions_only() -> None:
    """Patches shuffled together with their positions leave the body unchanged."""
    transformer = stirred(TokenTransformer(SMALL.transformer))
    patches = torch.randn(2, 4, 32)
    before = transformer(patches).together()
    shuffle = torch.tensor([2, 0, 3, 1])
    assert float((transformer(patches[:, shuffle]).together() - before).detach().abs().max()) > 1e-3
    with torch.no_grad():
        transformer.positions[1:] = transformer.positions[1:][shuffle]
    torch.testing.assert_close(transformer(patches[:, shuffle]).together(), before)


# The whole.


def test_shape_and_camera_are_decoded_frame_by_frame() -> None:
    """Other frames move rotations only."""
    model, images = stirred(Int(SMALL)), some_images()
    changed = images.clone()
    changed[:, 1] = torch.randn(2, 3, SIDE, SIDE)
    first, second = model(images), model(changed)
    rest = [0, 2, 3]
    torch.testing.assert_close(first.smpl.betas[:, rest], second.smpl.betas[:, rest])
    torch.testing.assert_close(first.crop_camera[:, rest], second.crop_camera[:, rest])
    torch.testing.assert_close(first.smpl.transl[:, rest], second.smpl.transl[:, rest])
    moved = (first.smpl.rotations() - second.smpl.rotations()).abs().amax((-1, -2))
    assert (moved[:, rest] > 1e-6).all()


def test_without_time_each_frame_stands_alone() -> None:
    model, images = stirred(Int(without_motion())), some_images()
    one_by_one = model(images.reshape(8, 1, 3, SIDE, SIDE)).smpl.rotations()
    together = model(images)
    torch.testing.assert_close(together.smpl.rotations().flatten(0, 1), one_by_one.flatten(0, 1))
    assert together.tokens is together.frame_tokens


def test_rotations_are_rotations() -> None:
    rotations = stirred(Int(SMALL))(some_images()).smpl.rotations()
    assert rotations.shape == (2, 4, 24, 3, 3)
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand_as(rotations))
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(2, 4, 24))


def test_padding_does_not_reach_valid_frames() -> None:
    model, images = stirred(Int(SMALL)), some_images()
    valid = torch.tensor([[True, True, False, False], [True] * 4])
    noise = images.clone()
    noise[0, 2:] = 9.0
    first = model(images, valid=valid).smpl.rotations()
    second = model(noise, valid=valid).smpl.rotations()
    torch.testing.assert_close(first[valid], second[valid])


def test_batch_size_does_not_matter() -> None:
    model, images = stirred(Int(SMALL)), some_images(batch=3)
    together, alone = model(images).smpl, model(images[1:2]).smpl
    torch.testing.assert_close(together.rotations()[1:2], alone.rotations())


def test_evaluation_is_deterministic_and_training_mode_is_no_different() -> None:
    """Published without dropout: there is nothing that train() could switch on."""
    model, images = stirred(Int(SMALL)), some_images()
    first = model(images).smpl.rotations()
    assert torch.equal(first, model(images).smpl.rotations())
    torch.testing.assert_close(first, model.train()(images).smpl.rotations())


def test_geometry_is_exact_under_autocast() -> None:
    """bfloat16 steps are degrees and millimetres."""
    model, images = stirred(Int(SMALL)), some_images()
    with torch.autocast("cpu", torch.bfloat16):
        rotations = model(images).smpl.rotations()
    assert rotations.dtype == torch.float32
    torch.testing.assert_close(rotations @ rotations.mT, torch.eye(3).expand_as(rotations))


def test_forward_leaves_parameters_and_images_alone() -> None:
    model = stirred(Int(SMALL))
    before = {name: (id(p), p.detach().clone()) for name, p in model.named_parameters()}
    for frames in (1, 3, 4, 9):
        images = some_images(frames=frames)
        copy = images.clone()
        model(images)
        assert torch.equal(images, copy)
    for name, parameter in model.named_parameters():
        assert id(parameter) == before[name][0], name
        assert torch.equal(parameter, before[name][1]), name


def test_gradients_reach_every_parameter() -> None:
    """All parameters train in every phase; nothing is frozen, nothing is unused."""
    motion = TokenMotionConfig(layers=1, heads=2, expansion=2, length=4, mask_ratio=0.25)
    model = stirred(Int(SMALL.model_copy(update={"motion": motion}))).train()
    hidden = draw_hidden(torch.ones(2, 4, dtype=torch.bool), 0.25)
    prediction = model(some_images(), hidden=hidden)
    weight = torch.randn(2, 4, 24, 3, 3)
    total = (prediction.smpl.rotations() * weight).sum() + prediction.smpl.betas.square().sum()
    (total + prediction.crop_camera.square().sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_what_a_model_cannot_do_is_named() -> None:
    rotary = TokenMotionConfig(layers=1, heads=2, positions="rotary")
    model = stirred(Int(SMALL.model_copy(update={"motion": rotary})))
    with pytest.raises(InputError, match="times"):
        model(some_images())
    times = torch.arange(4).expand(2, 4) / 30
    assert torch.isfinite(model(some_images(), times=times).smpl.rotations()).all()
    hidden = torch.ones(2, 4, 24, dtype=torch.bool)
    for some in (model, Int(without_motion())):
        with pytest.raises(InputError, match="hidden"):
            some(some_images(), times=times, hidden=hidden)


def test_overfits_four_samples() -> None:
    """Four clips of noise, each with rotations, betas and cameras of its own."""
    torch.manual_seed(0)
    model = Int(SMALL).train()
    images = some_images(batch=4)
    rotations = stirred(Int(SMALL))(some_images(batch=4).flip(0)).smpl.rotations().detach()
    betas, camera = torch.randn(4, 1, 10), torch.rand(4, 1, 3)
    optimiser = torch.optim.Adam(model.parameters(), 5e-3)
    losses = []
    for _ in range(120):
        found = model(images)
        loss = (found.smpl.rotations() - rotations).square().mean()
        loss = loss + (found.smpl.betas - betas).square().mean()
        loss = loss + (found.crop_camera - camera).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * losses[0]


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
    depth = translation_in_crop(heads.camera.bias.detach())[2]
    assert float(depth) == pytest.approx(2 * 5000 / (224 * 0.9), rel=1e-5)
    assert IntHeads(32, IntHeadsConfig(camera_bias=(0, 0, 0))).camera.bias.abs().sum() == 0


def crop_window(side: float = 224.0) -> CropWindow:
    """A window whose boxes are the crops themselves, seen by INT's camera."""
    frames = 5
    return CropWindow(
        keypoints=torch.zeros(1, frames, 23, 2),
        scores=torch.zeros(1, frames, 23),
        box_center=torch.full((1, frames, 2), side / 2),
        box_size=torch.full((1, frames), side),
        focal=torch.full((1, 2), FOCAL),
        center=torch.full((1, 2), side / 2),
        times=torch.zeros(1, frames),
        valid=torch.ones(1, frames, dtype=torch.bool),
    )


def some_camera() -> Tensor:
    generator = torch.Generator().manual_seed(2)
    camera = torch.randn(1, 5, 3, generator=generator) * 0.2
    return camera + torch.tensor([0.9, 0.0, 0.0])


def test_projection_agrees_with_ours() -> None:
    """The crop as a picture of 224 pixels: points translated, through a pinhole, in its box."""
    points = 0.5 * torch.randn(1, 5, 30, 3)
    camera = some_camera()
    placed = points + translation_in_crop(camera)[..., None, :]
    ours = project_to_box(placed, crop_window())
    torch.testing.assert_close(project_in_crop(points, camera), ours, atol=1e-5, rtol=1e-4)


def test_only_the_angle_of_view_counts() -> None:
    """The same camera on a crop of 256 pixels, and in halves of it: x / 256 as elsewhere."""
    points = 0.5 * torch.randn(1, 5, 30, 3)
    camera = some_camera()
    at_224 = project_in_crop(points, camera)
    at_256 = project_in_crop(points, camera, side=256, focal=FOCAL * 256 / 224)
    torch.testing.assert_close(at_224, at_256)
    # At one focal length in pixels the difference is perspective only: thousandths of the crop.
    weak = project_in_crop(points, camera, side=256)
    torch.testing.assert_close(at_224 / 2, weak / 2, atol=5e-3, rtol=0)


def test_a_metre_spans_half_the_scale_of_the_crop() -> None:
    camera = torch.tensor([0.8, 0.1, -0.2])
    ends = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    found = project_in_crop(ends, camera)
    torch.testing.assert_close(found[0], 0.8 * camera[1:])
    torch.testing.assert_close(found[1, 0] - found[0, 0], torch.tensor(0.8))


def test_the_camera_of_the_pelvis_stands_where_the_body_does() -> None:
    """INT offsets SMPL's origin, our `pelvis_in_camera` the pelvis: 24 cm apart in SMPL."""
    pelvis = torch.tensor([0.0, -0.24, 0.03]).expand(1, 5, 3)
    camera = some_camera()
    ours = pelvis_in_camera(camera_at_pelvis(camera, pelvis), crop_window())
    torch.testing.assert_close(ours, translation_in_crop(camera) + pelvis, atol=1e-4, rtol=1e-4)


def test_bodies_come_placed_before_the_camera_of_the_crop() -> None:
    prediction = stirred(Int(SMALL))(some_images())
    expected = translation_in_crop(prediction.crop_camera, SIDE)
    torch.testing.assert_close(prediction.smpl.transl, expected)
