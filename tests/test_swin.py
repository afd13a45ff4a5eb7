"""The image backbone of PCT: windows, shifts, positions, sizes."""

import math

import pytest
import torch
from published_pct import attention, pairs
from torch import Tensor

from temporal_hmr.errors import InputError
from temporal_hmr.models.swin import (
    Swin,
    SwinConfig,
    WindowAttention,
    relative_pairs,
    relative_positions,
)

SMALL = SwinConfig(
    width=16,
    depths=(2, 2, 2, 1),
    heads=(1, 2, 4, 8),
    windows=(4, 4, 4, 2),
    trained_windows=(3, 3, 3, 2),
    position_hidden=12,
)


def stirred(module: torch.nn.Module) -> torch.nn.Module:
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval()


def an_attention(shift: int, trained: int = 3) -> WindowAttention:
    config = SMALL.model_copy(update={"trained_windows": (trained,) * 4})
    layer = WindowAttention(config, stage=1, shift=shift)
    assert isinstance(stirred(layer), WindowAttention)
    return layer


def images(count: int = 2, side: int = 64) -> Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shift", [0, 2, 1])
@torch.no_grad()
def test_attention_is_that_of_all_cells_with_other_windows_forbidden(shift: int) -> None:
    layer = an_attention(shift)
    table = relative_positions(4, 3).reshape(1, 7, 7, 2)
    state = {
        "a.logit_scale": layer.log_scale,
        "a.q_bias": layer.query_bias,
        "a.v_bias": layer.value_bias,
        "a.qkv.weight": layer.query_key_value.weight,
        "a.proj.weight": layer.out.weight,
        "a.proj.bias": layer.out.bias,
        "a.rpe_mlp.0.weight": layer.position_bias[0].weight,
        "a.rpe_mlp.0.bias": layer.position_bias[0].bias,
        "a.rpe_mlp.2.weight": layer.position_bias[2].weight,
        "a.relative_coords_table": table,
        "a.relative_position_index": pairs(4),
    }
    x = torch.randn(2, 8, 12, 32)
    expected = attention(state, "a", x, 4, shift)
    torch.testing.assert_close(layer(x), expected, atol=1e-4, rtol=1e-4)


def moved_by(layer: WindowAttention, row: int, column: int) -> Tensor:
    """[rows columns] of a map of 8 x 8: which cells feel a change of one."""
    x = torch.randn(1, 8, 8, 32)
    changed = x.clone()
    changed[0, row, column] = torch.randn(32)
    with torch.no_grad():
        return ((layer(changed) - layer(x)).abs().amax(-1) > 1e-5)[0]


def test_no_window_sees_another() -> None:
    moved = moved_by(an_attention(0), 1, 6)
    assert moved[:4, 4:].all()
    assert not moved[4:].any()
    assert not moved[:, :4].any()


def test_shifted_windows_cross_borders_but_not_the_edge_of_the_image() -> None:
    """The shift is cyclic, and what it brings together from two ends must not mix."""
    moved = moved_by(an_attention(2), 4, 4)
    assert moved[2:6, 2:6].all()
    assert moved.sum() == 16
    corner = moved_by(an_attention(2), 0, 0)
    assert corner[:2, :2].all()
    assert corner.sum() == 4


@torch.no_grad()
def test_the_penalty_across_the_edge_is_a_hundred() -> None:
    """As published it is finite: cells that repel all their own look at the other end instead."""
    layer = an_attention(2)
    layer.log_scale.fill_(math.log(100))
    layer.query_bias.zero_()
    layer.value_bias.zero_()
    layer.out.bias.zero_()
    layer.out.weight.copy_(torch.eye(32))
    layer.query_key_value.weight.copy_(torch.eye(32).repeat(3, 1))
    layer.query_key_value.weight[32:64] *= -1
    last = layer.position_bias[2]
    assert isinstance(last, torch.nn.Linear)
    last.weight.zero_()
    x = torch.ones(1, 8, 8, 32)
    x[:, 6:] = -1
    # Own cells: 100 times -1. Those across: 100 times 1, less 100. So all of the weight is theirs.
    torch.testing.assert_close(layer(x)[0, :2, 4], torch.full((2, 32), -1.0))


def test_cosines_are_scaled_a_hundredfold_at_most() -> None:
    layer = an_attention(0)
    x = torch.randn(1, 4, 4, 32)
    with torch.no_grad():
        layer.log_scale.fill_(math.log(100))
        bound = layer(x)
        layer.log_scale.fill_(9.0)
        torch.testing.assert_close(layer(x), bound)
        layer.log_scale.fill_(1.0)
        assert not torch.allclose(layer(x), bound, atol=1e-3)


@pytest.mark.parametrize("window", [2, 3, 8])
def test_pairs_of_cells_find_their_offset(window: int) -> None:
    offsets = relative_positions(window, trained_window=window)
    found = relative_pairs(window)
    for first in range(window**2):
        for second in range(window**2):
            down = first // window - second // window
            right = first % window - second % window
            edge = math.log2(9) / 3  # an offset of the whole window, on the logarithmic scale
            found_here = offsets[found[first, second]].tolist()
            for value, cells in zip(found_here, (down, right), strict=True):
                assert (value > 0) == (cells > 0) and (value < 0) == (cells < 0)
                linear = (2 ** (3 * abs(value)) - 1) / 8 * (window - 1)
                assert abs(linear - abs(cells)) < 1e-4
                assert abs(value) <= edge + 1e-6


def test_the_unit_of_positions_is_the_window_of_an_earlier_training() -> None:
    """Published: windows of 16 with a bias learned in windows of 12, so offsets beyond the edge."""
    assert float(relative_positions(16, 12).max()) == pytest.approx(math.log2(1 + 8 * 15 / 11) / 3)
    assert float(relative_positions(12, 12).max()) == pytest.approx(math.log2(9) / 3)
    x = torch.randn(1, 4, 4, 32)
    with torch.no_grad():
        assert not torch.allclose(an_attention(0, trained=3)(x), an_attention(0, trained=4)(x))


@pytest.mark.parametrize(
    ("config", "millions", "channels"),
    [
        (SwinConfig(), 88, 1024),
        (SwinConfig(width=192, heads=(6, 12, 24, 48)), 197, 1536),
        (SwinConfig(width=256, heads=(8, 16, 32, 64), depths=(2, 2, 42, 2)), 658, 2048),
    ],
    ids=["base", "large", "huge"],
)
def test_published_sizes(config: SwinConfig, millions: float, channels: int) -> None:
    """Millions as Liu et al. give them, whose networks end in 1000 classes of images."""
    with torch.device("meta"):
        backbone = Swin(config)
    classes = 1000 * (channels + 1)
    count = sum(parameter.numel() for parameter in backbone.parameters()) + classes
    assert config.channels == channels
    assert backbone.cell == 32
    assert count == pytest.approx(millions * 1e6, rel=0.01)


def test_a_crop_of_256_gives_8_by_8_cells() -> None:
    narrow = SwinConfig(width=4, depths=(1, 2, 1, 1), heads=(1, 1, 1, 1), position_hidden=4)
    with torch.no_grad():
        assert Swin(narrow)(images(side=256)).shape == (2, 32, 8, 8)


@torch.no_grad()
def test_batch_size_does_not_matter_and_nothing_is_random() -> None:
    backbone = stirred(Swin(SMALL))
    crops = images(3)
    together = backbone(crops)
    torch.testing.assert_close(backbone(crops[1:2]), together[1:2], atol=1e-5, rtol=1e-5)
    assert torch.equal(backbone(crops), together)
    assert torch.equal(backbone.train()(crops), together)


def test_gradients_reach_every_parameter() -> None:
    backbone = stirred(Swin(SMALL))
    backbone(images()).square().sum().backward()
    for name, parameter in backbone.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


@torch.no_grad()
def test_mixed_precision_keeps_the_scores_exact() -> None:
    layer = an_attention(0)
    layer.log_scale.fill_(math.log(100))
    x = torch.randn(1, 8, 8, 32)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = layer(x)
    assert (mixed.float() - layer(x)).norm() < 0.1 * layer(x).norm()


@pytest.mark.parametrize("side", [48, 96, 40])
def test_crops_of_other_sizes_are_refused(side: int) -> None:
    with pytest.raises(InputError, match=r"windows|halved"):
        Swin(SMALL)(images(side=side))


@pytest.mark.parametrize(
    "change", [{"heads": (1, 2)}, {"windows": (1, 4, 4, 2)}, {"trained_windows": (3, 3, 3, 1)}]
)
def test_settings_that_do_not_fit_together_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"stage|cells"):
        SwinConfig.model_validate({**SMALL.model_dump(), **change})


def test_heads_share_the_width() -> None:
    with pytest.raises(InputError, match="attention heads"):
        Swin(SMALL.model_copy(update={"heads": (3, 2, 4, 8)}))
