"""TokenHMR's network: published sizes, what it looks at, and what is frozen in it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from overfitting import share_left
from torch import Tensor
from windows import as_published, noise, one_clip, whole_pictures

from temporal_hmr.batch import CropWindow
from temporal_hmr.body.load import load_body
from temporal_hmr.configuration import load_config
from temporal_hmr.data.tokenhmr_run import TokenHmrRun
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones_vit import VitBackbone, VitConfig
from temporal_hmr.models.body_decoder import BodyTokens
from temporal_hmr.models.heads import (
    CROP_FOCAL,
    BodyReadout,
    project_in_crop,
    translation_in_crop,
)
from temporal_hmr.models.hmr import Hmr, PosedBody
from temporal_hmr.models.hmr_config import TOKENHMR
from temporal_hmr.models.joint_motion import JointMotion, JointMotionConfig
from temporal_hmr.models.token_head import (
    BodyTokenHead,
    BodyTokenHeadConfig,
    ClassifierConfig,
    FrozenPoses,
    TokenHead,
    TokenHeadConfig,
    resting_person,
)
from temporal_hmr.models.vision_block import DropPath
from temporal_hmr.rotation import axis_angle_to_matrix, geodesic_angle
from temporal_hmr.skeleton import SMPL24
from temporal_hmr.tokenizers.rotations import (
    TOKENISED,
    RotationTokenizer,
    RotationTokenizerConfig,
)

BACKBONE = VitConfig(
    crop=32, cut_columns=4, patch=8, padding=1, width=32, depth=2, heads=2, expansion=2
)
TOKENIZER = RotationTokenizerConfig(tokens=12, width=16, codes=32, code_dim=8)
CLASSIFIER = ClassifierConfig(width=16, layers=1, token_hidden=8, channel_hidden=16)
HEAD = TokenHeadConfig(
    tokenizer=TOKENIZER,
    width=48,
    layers=2,
    heads=2,
    head_width=16,
    hidden=48,
    classifier=CLASSIFIER,
    crop_side=32,
)
SMALL = TOKENHMR.model_copy(update={"encoder": BACKBONE, "head": HEAD})


def small(seed: int = 0, **head: bool) -> Hmr:
    torch.manual_seed(seed)
    return Hmr(SMALL.model_copy(update={"head": HEAD.model_copy(update=head)})).eval()


def images(count: int = 3) -> Tensor:
    """As the backbone is given them."""
    return as_published(noise(count, 1, 32))


def crops(count: int = 3) -> CropWindow:
    """The same, a clip each."""
    return whole_pictures(noise(count, 1, 32))


def read(model: Hmr, window: CropWindow) -> BodyReadout:
    return model.read(model.frame_tokens(window))


def chances(readout: BodyReadout) -> Tensor:
    """Of each code, at each token."""
    assert readout.logits is not None
    return readout.logits.softmax(-1)


def head_of(model: Hmr) -> TokenHead:
    assert isinstance(model.head, TokenHead)
    return model.head


def parameters(module: torch.nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_published_sizes() -> None:
    with torch.device("meta"):
        model = Hmr(TOKENHMR)
        backbone = VitBackbone(VitConfig())
    head = head_of(model)
    assert parameters(head) - parameters(head.poses) == 50_287_967
    buffers = head.mean_sixd.numel() + head.mean_betas.numel() + head.mean_camera.numel()
    assert buffers == 157
    assert parameters(head.spread) + parameters(head.classifier) == pytest.approx(10.9e6, rel=0.01)
    assert parameters(model.encoder) == parameters(backbone) == 630_912_000
    assert parameters(model) == parameters(backbone) + parameters(head)
    assert VitConfig().grid() == (16, 12)
    assert backbone.positions.shape == (193, 1280)
    skips = [part.chance for part in backbone.modules() if isinstance(part, DropPath)]
    assert (skips[0], skips[-1]) == (0, pytest.approx(0.55))


def test_only_the_middle_columns_are_looked_at() -> None:
    backbone = VitBackbone(BACKBONE).eval()
    given = images()
    edges = given.clone()
    edges[..., :4] = 9
    edges[..., -4:] = 9
    assert torch.equal(backbone(given), backbone(edges))
    edges[..., 4] = 9
    assert not torch.equal(backbone(given), backbone(edges))


def test_the_class_position_is_added_to_every_patch() -> None:
    backbone = VitBackbone(BACKBONE).eval()
    offset = torch.randn(32)
    with torch.no_grad():
        before = backbone(images())
        backbone.positions[0] += offset
        assert not torch.allclose(backbone(images()), before, atol=0.1)
        backbone.positions[1:] -= offset
    torch.testing.assert_close(backbone(images()), before, atol=1e-4, rtol=1e-4)


def test_dropped_paths_keep_the_mean() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.4)
    x = torch.ones(20000, 1, 1)
    assert float(drop(x).mean()) == pytest.approx(1, abs=0.03)
    assert set(drop(x).flatten().tolist()) == {0.0, float(torch.tensor(1 / 0.6))}
    assert torch.equal(drop.eval()(x), x)


def test_evaluation_is_deterministic_and_samples_are_independent() -> None:
    model = small()
    together, again = read(model, crops()), read(model, crops())
    alone = read(model, one_clip(crops(), 1))
    assert torch.equal(together.rotations, again.rotations)
    torch.testing.assert_close(together.rotations[1:2], alone.rotations)
    torch.testing.assert_close(together.crop_camera[1:2], alone.crop_camera)
    torch.testing.assert_close(chances(together)[1:2], chances(alone))


def test_training_skips_paths_at_random() -> None:
    model = small().train()
    assert not torch.equal(*(chances(read(model, crops())) for _ in range(2)))


def test_frozen_poses_stay_frozen_and_in_evaluation_mode() -> None:
    model = small().train()
    tokenizer = head_of(model).poses.tokenizer
    assert not any(module.training for module in tokenizer.modules())
    frozen = {name: tensor.clone() for name, tensor in tokenizer.state_dict().items()}
    trained = [p for p in model.parameters() if p.requires_grad]
    assert not {id(p) for p in trained} & {id(p) for p in tokenizer.parameters()}
    optimizer = torch.optim.SGD(model.parameters(), 0.1, weight_decay=0.1)
    readout = read(model, crops())
    (readout.rotations.sum() + readout.betas.sum()).backward()
    optimizer.step()
    for name, tensor in tokenizer.state_dict().items():
        assert torch.equal(tensor, frozen[name]), name


def test_gradients_reach_every_trained_parameter_but_what_a_zero_multiplies() -> None:
    model = small()
    readout = read(model, crops())
    weights = torch.randn(readout.rotations.shape)
    rest = readout.betas.sum() + readout.crop_camera.sum()
    ((readout.rotations * weights).sum() + rest).backward()
    silent = [
        name
        for name, p in model.named_parameters()
        if p.requires_grad and (p.grad is None or not p.grad.abs().any())
    ]
    # One token attends to itself alone whatever its query and key: only the value's rows learn.
    assert silent == ["head.decoder.embed.weight"]
    fused = model.head.get_parameter("decoder.blocks.0.self_attention.query_key_value.weight").grad
    assert fused is not None and float(fused[:64].abs().max()) < 1e-6 < float(
        fused[64:].abs().max()
    )


def test_geometry_is_exact_under_autocast() -> None:
    """The pose decoder and its rotations run in float32 whatever runs around them."""
    model, posed = small(), PosedBody(load_body())
    with torch.autocast("cpu", torch.bfloat16):
        tokens = model.frame_tokens(crops())
        found = model.pose_body(tokens, crops(), posed).smpl
    exact = model.pose_body(tokens.float(), crops(), posed).smpl
    assert found.transl.dtype == torch.float32
    assert torch.equal(found.rotations(), exact.rotations())
    assert torch.equal(found.transl, exact.transl)


@torch.no_grad()
def test_in_a_picture_that_is_the_crop_bodies_stand_as_published() -> None:
    """Hmr places the pelvis in a full image; where that is the crop, nothing must have moved."""
    model, posed = small(), PosedBody(load_body())
    found, readout = model(crops(), posed), read(model, crops())
    depth = 2 * 5000 / (32 * readout.crop_camera[:, 0] + 1e-9)
    transl = torch.stack([*readout.crop_camera[:, 1:].unbind(1), depth], 1)[:, None]
    torch.testing.assert_close(found.smpl.transl, transl, atol=1e-4, rtol=1e-4)
    origin = replace(found.smpl, transl=torch.zeros_like(transl))
    placed = posed.body.regress(origin, posed.detector_points) + transl[..., None, :]
    published = 5000 / 32 * placed[..., :2] / placed[..., 2:]
    torch.testing.assert_close(found.keypoints / 2, published, atol=1e-4, rtol=1e-3)


def test_soft_tends_to_hard() -> None:
    poses = FrozenPoses(RotationTokenizer(TOKENIZER))
    indices = torch.randint(32, (4, 12))
    logits = 1e4 * torch.nn.functional.one_hot(indices, 32).float()
    codes = poses.tokenizer.codebook.codes[indices]
    torch.testing.assert_close(poses(logits), poses.tokenizer.decode_sixd(codes))


def test_tokenised_joints_are_what_the_decoder_says() -> None:
    """No mean pose is added to them, unless published weights ask for it (a known quirk)."""
    model = small()
    readout = read(model, crops())
    tokenizer = head_of(model).poses.tokenizer
    decoded = tokenizer.decode(chances(readout) @ tokenizer.codebook.codes)
    torch.testing.assert_close(readout.rotations[:, SMPL24.indices(*TOKENISED)], decoded)
    offset = read(small(offset_tokenised=True), crops())
    torch.testing.assert_close(chances(offset), chances(readout))
    others = SMPL24.indices("pelvis", "left_hand", "right_hand")
    same = readout.rotations[:, others]
    torch.testing.assert_close(offset.rotations[:, others], same)
    assert float(geodesic_angle(offset.rotations[:, 1:22], decoded).detach().mean()) > 0.1


def test_an_untrained_head_sees_a_person_upright_before_the_camera() -> None:
    rest = resting_person()
    down = torch.tensor([0.0, 1.0, 0.0])
    torch.testing.assert_close(rest[0] @ down, -down, atol=1e-6, rtol=0)
    assert torch.equal(rest[1:], torch.eye(3).expand(23, 3, 3))
    readout = read(small(), crops())
    assert float(readout.crop_camera[:, 0].detach().mean()) == pytest.approx(0.9, abs=0.6)


@pytest.mark.parametrize("scale", [0.5, 1.1])
def test_one_point_in_the_crops_of_two_papers(scale: float) -> None:
    """Checklist 8: INT's -1..1 of a 224 crop is twice TokenHMR's -0.5..0.5 of a 256 crop."""
    camera = torch.tensor([[scale, 0.1, -0.2]])
    points = torch.tensor([[[0.2, 0.5, 0.0], [-0.3, -0.8, 0.0]]])
    ours = project_in_crop(points, translation_in_crop(camera, 256), 256) / 2
    depth = 2 * 5000 / (224 * scale + 1e-9)
    placed = points + torch.tensor([0.1, -0.2, depth])
    theirs = 5000 * placed[..., :2] / placed[..., 2:] / 112
    torch.testing.assert_close(2 * ours, theirs, atol=1e-6, rtol=1e-4)
    # At the depth of the pelvis a metre spans s/2 of the crop's side.
    span = ours[:, 0, 1] - ours[:, 1, 1]
    assert float(span) == pytest.approx(scale / 2 * 1.3, rel=1e-4)
    assert CROP_FOCAL == 5000


def test_overfits_four_pictures() -> None:
    generator = torch.Generator().manual_seed(2)
    true = axis_angle_to_matrix(0.4 * torch.randn(4, 24, 3, generator=generator))
    torch.manual_seed(1)
    tokenizer = RotationTokenizer(
        RotationTokenizerConfig(
            tokens=12, width=48, codes=64, code_dim=16, decay=0.95, restart_below=0.2
        )
    )
    # First a tokenizer that knows these poses.
    optimizer = torch.optim.Adam(tokenizer.parameters(), 3e-3)

    def not_known() -> Tensor:
        found = tokenizer(true[:, 1:22])
        return 20 * ((found.rotations - true[:, 1:22]) ** 2).mean() + found.commitment

    share_left(not_known, optimizer, steps=250, enough=0.05)
    model = Hmr(SMALL, rotations=tokenizer).eval()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3)

    def error() -> Tensor:
        return ((read(model, crops(4)).rotations - true) ** 2).mean()

    assert share_left(error, optimizer, steps=300, enough=0.2) < 0.2


def body_tokens(count: int = 2, width: int = 20) -> BodyTokens:
    torch.manual_seed(3)
    return BodyTokens.apart(torch.randn(count, 26, width))


def test_body_tokens_choose_poses_too() -> None:
    """The head in the place of `RotationHead`, after the temporal module."""
    torch.manual_seed(0)
    head = BodyTokenHead(
        20, BodyTokenHeadConfig(classifier=CLASSIFIER), RotationTokenizer(TOKENIZER)
    )
    motion = JointMotion(20, JointMotionConfig(heads=2, layers=1))
    times, valid = torch.arange(4)[None] / 30, torch.ones(1, 4, dtype=torch.bool)
    tokens = body_tokens(4)
    readout = head(motion(tokens, times, valid))
    assert readout.rotations.shape == (4, 24, 3, 3)
    assert chances(readout).shape == (4, 12, 32)
    tokenizer = head.poses.tokenizer
    decoded = tokenizer.decode(chances(readout) @ tokenizer.codebook.codes)
    torch.testing.assert_close(readout.rotations[:, 1:22], decoded)
    rest = head.rest(tokens)
    for joint in SMPL24.indices("pelvis", "left_hand", "right_hand"):
        expected = rest.rotations[:, joint]
        torch.testing.assert_close(readout.rotations[:, joint], expected)
    torch.testing.assert_close(readout.betas, rest.betas)


def test_body_token_head_learns_everything_but_the_tokenizer() -> None:
    head = BodyTokenHead(
        20, BodyTokenHeadConfig(classifier=CLASSIFIER), RotationTokenizer(TOKENIZER)
    ).train()
    assert not head.poses.tokenizer.training
    readout = head(body_tokens())
    weights = torch.randn(readout.rotations.shape)
    rest = readout.betas.sum() + readout.crop_camera.sum()
    ((readout.rotations * weights).sum() + rest).backward()
    for name, p in head.named_parameters():
        if name.startswith("poses."):
            assert p.grad is None
        else:
            assert p.grad is not None and p.grad.abs().any(), name


def test_published_layout_gives_the_published_layout() -> None:
    tokenizer = RotationTokenizer(TOKENIZER.model_copy(update={"sixd": "rows"}))
    head = TokenHead(32, HEAD, tokenizer)
    root = resting_person()[0]
    torch.testing.assert_close(head.mean_sixd[0], root[:2].flatten())


def test_shipped_configuration() -> None:
    path = Path(__file__).parents[1] / "configs" / "tokenhmr.yaml"
    assert load_config(path, TokenHmrRun) == TokenHmrRun()


def test_sizes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="cannot be shared by 3 heads"):
        VitConfig(width=32, heads=3)
    with pytest.raises(ValueError, match="has no patch"):
        VitConfig(crop=64, cut_columns=32)
    with pytest.raises(InputError, match="32 x 32 pixels, not of 64 x 64"):
        small().frame_tokens(whole_pictures(noise(1, 1, 64)))
