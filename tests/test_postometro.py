"""The whole per-image network: its settings, what it needs, and that it learns."""

from pathlib import Path

import pytest
import torch
from overfitting import share_left
from small_meshes import small_mesh
from torch import Tensor, nn

from temporal_hmr.configuration import load_config, parse_config
from temporal_hmr.data.postometro_stages import PostoMetroRun
from temporal_hmr.errors import InputError
from temporal_hmr.models.backbones.resnet import ResNetConfig
from temporal_hmr.models.body_decoder import BodyDecoder, BodyDecoderConfig
from temporal_hmr.models.image_tokens import ImageTokensConfig
from temporal_hmr.models.mesh_decoder import MeshDecoderConfig
from temporal_hmr.models.pose_modulator import PoseModulator, PoseModulatorConfig
from temporal_hmr.models.postometro import PostoMetro, PostoMetroConfig

DECODER = MeshDecoderConfig(
    size="S", width=32, hidden=48, narrow_width=16, narrow_hidden=24, heads=4
)
POSE = PoseModulatorConfig(tokens=6, code_dim=8, joints=5, mixer_layers=2, token_hidden=8)
SMALL = PostoMetroConfig(
    backbone=ResNetConfig(width=4, layers=(1, 1, 1, 1)),
    image=ImageTokensConfig(grid=(2, 2), mixer_layers=1, token_hidden=8),
    pose=POSE,
    decoder=DECODER,
)


def network(config: PostoMetroConfig = SMALL) -> PostoMetro:
    torch.manual_seed(0)
    return PostoMetro(config, small_mesh()).eval()


def inputs(config: PostoMetroConfig = SMALL, batch: int = 4) -> list[Tensor | None]:
    torch.manual_seed(1)
    images, pose = torch.randn(batch, 3, 64, 64), torch.randn(batch, *config.pose.inputs())
    confidence = 10 + torch.randn(*pose.shape[:-1], 1)
    seen = {"image": (True, False), "pose": (False, True), "both": (True, True)}[config.sees]
    return [
        images if seen[0] else None,
        pose if seen[1] else None,
        confidence if seen[1] else None,
    ]


def setting(**changes: object) -> PostoMetroConfig:
    return SMALL.model_copy(update=changes)


ABLATIONS = {
    "image only": setting(sees="image"),
    "pose only": setting(sees="pose"),
    "both": SMALL,
    "coordinates": setting(pose=POSE.model_copy(update={"reads": "coordinates"})),
    "linear-linear": setting(pose=POSE.model_copy(update={"modulator": "linear"})),
    "mixer-mixer": setting(image=SMALL.image.model_copy(update={"modulator": "mixer"})),
    "paper's order": setting(pose=POSE.model_copy(update={"order": "confidence first"})),
    "pose twice": setting(decoder=DECODER.model_copy(update={"pose_twice": True})),
}


@pytest.mark.parametrize("config", ABLATIONS.values(), ids=ABLATIONS)
def test_every_published_ablation_runs_and_every_parameter_is_learned(
    config: PostoMetroConfig,
) -> None:
    model, seen = network(config), inputs(config)
    made = model(*seen)
    assert made.vertices.shape == (4, 162, 3)
    assert torch.equal(model(*seen).vertices, made.vertices)
    alone = model(*(None if value is None else value[2:3] for value in seen))
    torch.testing.assert_close(alone.vertices, made.vertices[2:3], atol=1e-5, rtol=1e-4)
    total = made.vertices.square().sum() + made.joints.square().sum() + made.camera.square().sum()
    total.backward()
    idle = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert not idle


def test_published_size_with_resnet50() -> None:
    """28 401 860 parameters besides the backbone, for a mesh of 431 and 1723 vertices."""
    from temporal_hmr.body.coarse_mesh import load_coarse_mesh
    from temporal_hmr.body.load import load_body

    with torch.device("meta"):
        model = PostoMetro(PostoMetroConfig(), load_coarse_mesh(load_body()))
    count = sum(p.numel() for p in model.parameters())
    assert model.backbone is not None
    assert count - sum(p.numel() for p in model.backbone.parameters()) == 28_401_860


@pytest.mark.parametrize("layers", [1, 2, 4, 8])
def test_mixer_depths_of_the_paper(layers: int) -> None:
    modulator = PoseModulator(16, POSE.model_copy(update={"mixer_layers": layers}))
    assert modulator(torch.randn(2, 6, 8), torch.randn(2, 6, 1)).shape == (2, 6, 16)
    stack = modulator.mix.mixers  # type: ignore[union-attr]
    assert len(stack) == layers + 1  # type: ignore[arg-type]


def test_confidence_stays_out_of_the_mixers_in_the_codes_order() -> None:
    """A confidence touches its own token only; in the paper's order it reaches all of them."""
    features, confidence = torch.randn(1, 6, 8), torch.randn(1, 6, 1)
    louder = confidence.clone()
    louder[:, 2] += 1
    for order, reached in (("mixers first", 1), ("confidence first", 6)):
        torch.manual_seed(0)
        modulator = PoseModulator(16, POSE.model_copy(update={"order": order}))
        moved = (modulator(features, louder) - modulator(features, confidence)).abs().amax(-1)
        assert int((moved > 1e-7).sum()) == reached, order


def test_tokens_without_confidence_count_as_ground_truth() -> None:
    model = network()
    images, pose, _ = inputs()
    assert pose is not None
    ten = torch.full((4, 6, 1), 10.0)
    assert torch.equal(model(images, pose).vertices, model(images, pose, ten).vertices)


def test_confidences_can_be_scaled_down() -> None:
    modulator = PoseModulator(16, POSE)
    scaled = PoseModulator(16, POSE.model_copy(update={"confidence_scale": 0.1}))
    scaled.load_state_dict(modulator.state_dict())
    features, confidence = torch.randn(2, 6, 8), torch.randn(2, 6, 1)
    torch.testing.assert_close(scaled(features, 10 * confidence), modulator(features, confidence))


def test_nothing_is_learned_through_the_tokenizer() -> None:
    images, pose, confidence = inputs()
    assert pose is not None and confidence is not None
    pose.requires_grad_()
    confidence.requires_grad_()
    network()(images, pose, confidence).vertices.sum().backward()
    assert pose.grad is None and confidence.grad is None


def test_a_frozen_backbone_stays_so_in_the_whole() -> None:
    frozen = SMALL.backbone.model_copy(update={"frozen": "everything"})
    model = network(setting(backbone=frozen)).train()
    assert model.backbone is not None and model.training
    assert not any(part.training for part in model.backbone.modules())
    before = {name: value.clone() for name, value in model.backbone.state_dict().items()}
    made = model(*inputs())
    made.vertices.sum().backward()
    assert all(p.grad is None for p in model.backbone.parameters())
    assert all(torch.equal(v, before[n]) for n, v in model.backbone.state_dict().items())


def test_what_is_missing_or_too_much_is_named() -> None:
    images, pose, confidence = inputs()
    with pytest.raises(InputError, match="sees both needs pose tokens"):
        network()(images)
    with pytest.raises(InputError, match="sees both needs images"):
        network()(None, pose)
    with pytest.raises(InputError, match="sees image does not look at pose tokens"):
        network(ABLATIONS["image only"])(images, pose)
    with pytest.raises(InputError, match="sees pose does not look at images"):
        network(ABLATIONS["pose only"])(images, pose)
    with pytest.raises(InputError, match="confidences were given without pose tokens"):
        network(ABLATIONS["image only"])(images, None, confidence)
    with pytest.raises(InputError, match=r"shape \(6, 7\) were given.*\(6, 8\)"):
        network()(images, torch.randn(4, 6, 7))
    with pytest.raises(InputError, match=r"grid of \(2, 2\) were given one of \(3, 2\)"):
        network(ABLATIONS["mixer-mixer"])(torch.randn(4, 3, 96, 64), pose)
    with pytest.raises(InputError, match="pose_twice has no effect"):
        parse_config({"sees": "image", "decoder": {"pose_twice": True}}, PostoMetroConfig, "here")
    with pytest.raises(InputError, match="backbone"):
        parse_config({"backbone": {"kind": "vgg"}}, PostoMetroConfig, "here")


def test_body_tokens_can_be_read_from_the_same_evidence() -> None:
    """The seam to SMPL parameters: camera token and memory, as the body decoder takes them."""
    frames = network().frame_tokens(*inputs())
    assert frames.frame.shape == (4, 1, 32)
    assert frames.memory.shape == (4, 4 + 6, 32)
    body_tokens = BodyDecoder(32, BodyDecoderConfig())(frames)
    assert body_tokens.joints.shape == (4, 24, 32)


def test_autocast_runs_and_stays_close() -> None:
    model, seen = network(), inputs()
    exact = model(*seen).vertices
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(*seen).vertices
    assert rough.dtype == torch.float32
    assert (rough - exact).abs().max() < 0.2 * exact.abs().max()


def test_overfits_four_samples() -> None:
    torch.manual_seed(0)
    frozen = SMALL.backbone.model_copy(update={"frozen": "norms"})
    quiet = DECODER.model_copy(update={"dropout": 0.0, "upsampler_from_mesh": True})
    model = PostoMetro(setting(backbone=frozen, decoder=quiet), small_mesh()).train()
    seen, truth = inputs(), torch.randn(4, 1, 3) + 0.3 * torch.randn(4, 12, 3)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)

    def error() -> Tensor:
        return nn.functional.l1_loss(model(*seen).coarse, truth)

    assert share_left(error, optimiser, steps=120) < 0.1


def test_the_shipped_configuration_is_the_published_one() -> None:
    path = Path(__file__).parents[1] / "configs" / "postometro.yaml"
    run = load_config(path, PostoMetroRun)
    assert run.model == PostoMetroConfig()
    assert (run.losses.vertices, run.losses.joints, run.losses.keypoints) == (1000, 1000, 100)
    assert [stage.learning_rate for stage in run.stages] == [1e-4, 2e-5]
