"""Image backbones: sizes, an independent ResNet, and what is frozen stays."""

import pytest
import torch
from torch import Tensor, nn

from temporal_hmr.models.backbones import BackboneConfig, build_backbone
from temporal_hmr.models.backbones.blocks import Backbone
from temporal_hmr.models.backbones.hrnet import HrNet, HrNetConfig
from temporal_hmr.models.backbones.resnet import ResNet, ResNetConfig
from temporal_hmr.models.backbones.vit import ViTConfig

SMALL_RESNET = ResNetConfig(width=4, layers=(1, 2, 1, 1))
SMALL_HRNET = HrNetConfig(width=4, modules=(1, 1, 1))
SMALL_VIT = ViTConfig(image=(64, 32), width=16, layers=2, heads=2)
ALL = [SMALL_RESNET, SMALL_HRNET, SMALL_VIT]


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def stirred(module: Backbone) -> Backbone:
    """With norms that have seen something."""
    torch.manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.running_mean, -0.2, 0.2)
            nn.init.uniform_(part.running_var, 0.5, 1.5)
            nn.init.uniform_(part.weight, 0.5, 1.5)
            nn.init.uniform_(part.bias, -0.2, 0.2)
    return module.eval()


def test_resnet50_without_classes_and_pooling() -> None:
    with torch.device("meta"):
        model = ResNet(ResNetConfig())
        # ResNet-50 has 25 557 032 parameters, of which its classifier has 2 049 000.
        assert parameters(model) == 25_557_032 - 2_049_000
        assert model(torch.zeros(2, 3, 256, 256)).shape == (2, 2048, 8, 8)
        assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 2048, 7, 7)
    assert model.channels == 2048


def test_hrnet_w48_pose_network() -> None:
    with torch.device("meta"):
        model = HrNet(HrNetConfig())
        assert model(torch.zeros(2, 3, 256, 256)).shape == (2, 384, 8, 8)
        # The pose network makes the highest branch in its last exchange, and heatmaps of it.
        senders, last = (96, 192, 384), model.stages[-1][-1]  # type: ignore[index]
        highest = sum(48 * width + 96 for width in senders)
        heatmaps = 17 * 48 + 17
        lowest = parameters(last.exchange)
        assert parameters(model) - lowest + highest + heatmaps == 63_595_745
    assert model.channels == 384


def test_resnet_agrees_with_another_implementation() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = transformers.ResNetConfig(
        embedding_size=4, hidden_sizes=[16, 32, 64, 128], depths=[1, 2, 1, 1]
    )
    other = transformers.ResNetModel(sizes)
    ours = stirred(ResNet(SMALL_RESNET))
    # Theirs has the shortcut first in each block.
    order = sorted(
        ours.state_dict().items(),
        key=lambda item: (
            [int(p) if p.isdigit() else 0 for p in item[0].split(".")[1:3]]
            if item[0].startswith("stages.")
            else [-1]
        ),
    )
    blocks: dict[str, list[tuple[str, Tensor]]] = {}
    for name, value in order:
        block = ".".join(name.split(".")[:3]) if name.startswith("stages.") else ""
        blocks.setdefault(block, []).append((name, value))
    values = [
        value
        for items in blocks.values()
        for _, value in sorted(items, key=lambda item: "shortcut" not in item[0])
    ]
    theirs = other.state_dict()
    assert len(values) == len(theirs)
    other.load_state_dict(dict(zip(theirs, values, strict=True)))
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = other.eval()(images).last_hidden_state
        torch.testing.assert_close(ours(images), expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("config", ALL, ids=lambda c: c.kind)
def test_every_backbone_makes_a_map_of_its_channels(config: BackboneConfig) -> None:
    model = stirred(build_backbone(config)).double()
    images = torch.randn(3, 3, 64, 32, dtype=torch.double)
    features = model(images)
    cell = 16 if config.kind == "vit" else 32
    assert features.shape == (3, model.channels, 64 // cell, 32 // cell)
    assert torch.equal(model(images), features)
    torch.testing.assert_close(model(images[1:2]), features[1:2])


@pytest.mark.parametrize("config", ALL, ids=lambda c: c.kind)
def test_every_parameter_is_learned(config: BackboneConfig) -> None:
    model = stirred(build_backbone(config))
    model(torch.randn(2, 3, 64, 32)).square().sum().backward()
    idle = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert not idle


def test_rows_of_the_map_are_rows_of_the_image() -> None:
    """A change at the lower left of the image is seen most at the lower left of the map."""
    model = stirred(build_backbone(SMALL_VIT))
    images = torch.zeros(1, 3, 64, 32)
    changed = images.clone()
    changed[..., 48:, :16] = 3.0
    moved = (model(changed) - model(images)).square().sum(1)[0]
    assert divmod(int(moved.argmax()), 2) == (3, 0)


@pytest.mark.parametrize("kind", ["resnet", "hrnet"])
def test_frozen_norms_do_not_drift(kind: str) -> None:
    config = (SMALL_RESNET if kind == "resnet" else SMALL_HRNET).model_copy(
        update={"frozen": "norms"}
    )
    model = stirred(build_backbone(config)).double().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=1e-6)
    model(torch.randn(4, 3, 64, 64, dtype=torch.double)).square().mean().backward()
    optimiser.step()
    changed = {n for n, v in model.state_dict().items() if not torch.equal(v, before[n])}
    assert changed
    assert all(name.endswith("convolution.weight") for name in changed)
    images = torch.randn(2, 3, 64, 64, dtype=torch.double)
    torch.testing.assert_close(model(images[:1]), model(images)[:1])


@pytest.mark.parametrize("config", ALL, ids=lambda c: c.kind)
def test_a_frozen_backbone_stays_as_it_is(config: BackboneConfig) -> None:
    model = build_backbone(config.model_copy(update={"frozen": "everything"})).train()
    assert not any(part.training for part in model.modules())
    assert not any(parameter.requires_grad for parameter in model.parameters())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert not model(torch.randn(2, 3, 64, 32)).requires_grad
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


def test_unfrozen_norms_follow_the_batch() -> None:
    model = build_backbone(SMALL_RESNET).train()
    assert isinstance(model, ResNet)
    before = model.stem.norm.running_mean.clone()  # type: ignore[union-attr]
    model(torch.randn(4, 3, 64, 64) + 3)
    assert not torch.equal(model.stem.norm.running_mean, before)  # type: ignore[arg-type]
