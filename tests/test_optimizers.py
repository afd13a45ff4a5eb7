"""What moves which weights, and how Muon moves them."""

from pathlib import Path

import pytest
import torch
from torch import nn
from toy_task import ToyTask, require_equal, trained

from temporal_hmr.training.optimizers import movers
from temporal_hmr.training.settings import LoopSettings


def a_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(40, 64), nn.LayerNorm(64), nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 6)
    )


def muon(**changes: object) -> LoopSettings:
    values = {"steps": 9, "clips": 8, "optimizer": "muon", "weight_decay": 0.0}
    return LoopSettings.model_validate(values | changes)


def test_inner_matrices_are_muons_and_the_rest_is_adamws() -> None:
    network = a_network()
    found = movers(network, muon())
    held = [{id(p) for g in m.optimizer.param_groups for p in g["params"]} for m in found]
    names = [{name for name, p in network.named_parameters() if id(p) in each} for each in held]
    assert names[0] == {"0.weight", "2.weight"}
    assert names[1] == {name for name, _ in network.named_parameters()} - names[0]


def test_adamw_moves_everything_where_nothing_else_is_asked_for() -> None:
    network = a_network()
    (only,) = movers(network, LoopSettings(steps=1, clips=1))
    assert isinstance(only.optimizer, torch.optim.AdamW)
    held = {id(p) for group in only.optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in network.parameters()}


def test_no_direction_of_a_matrix_gets_a_longer_step_than_another() -> None:
    """The singular values of a step are equal, whatever those of the gradient; AdamW's length."""
    network = a_network()
    weight = network.get_parameter("0.weight")
    before = weight.detach().clone()
    found = movers(network, muon())
    gradient = torch.randn(64, 3) @ torch.randn(3, 40) + 0.05 * torch.randn(64, 40)
    weight.grad = gradient
    for mover in found:
        mover.set_rate(0.01)
        mover.optimizer.step()
    step = before - weight.detach()
    steps, slopes = torch.linalg.svdvals(step), torch.linalg.svdvals(gradient)
    assert slopes.max() / slopes.min() > 50
    assert steps.max() / steps.min() < 2.5
    assert float(step.square().mean().sqrt()) == pytest.approx(0.2 * 0.01, rel=0.35)
    assert float((step * gradient).sum()) > 0


def test_rates_and_decay_reach_both() -> None:
    found = movers(a_network(), muon(rates={"2": 0.1}, weight_decay=0.5))
    for mover in found:
        mover.set_rate(0.3)
    rates = [[round(g["lr"], 6) for g in mover.optimizer.param_groups] for mover in found]
    assert rates[0] == [0.3, 0.03] and set(rates[1]) == {0.3, 0.03}
    assert [g["weight_decay"] for g in found[0].optimizer.param_groups] == [0.5, 0.5]


class WideTask(ToyTask):
    """With a matrix inside that is Muon's."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.module.encoder = nn.Sequential(
            nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 8)
        )


def test_a_run_with_muon_is_gone_on_from_exactly(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", WideTask(), optimizer="muon")
    task = WideTask()
    task.before_losses = lambda step: 1 / 0 if step == 7 else 1.0
    with pytest.raises(ZeroDivisionError):
        trained(tmp_path / "cut", task, optimizer="muon")
    require_equal(trained(tmp_path / "cut", WideTask(), optimizer="muon"), whole)
    plain = trained(tmp_path / "plain", WideTask())
    ours, theirs = (run.state_dict()["encoder.2.weight"] for run in (whole, plain))
    assert float((ours - theirs).abs().max()) > 1e-3
