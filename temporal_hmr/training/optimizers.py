"""What moves the weights: AdamW, or Muon for the matrices inside and AdamW for the rest."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from temporal_hmr.training.schedule import ParameterGroup, parameter_groups
from temporal_hmr.training.settings import LoopSettings

LEAST_SIDE = 32
"""Matrices with a shorter side are first or last layers in all but name: no basis to even out."""


@dataclass(frozen=True, eq=False)
class Mover:
    """An optimizer, and the factor of the learning rate of each of its groups."""

    optimizer: torch.optim.Optimizer
    factors: list[float]

    def set_rate(self, rate: float) -> None:
        """The learning rate of the next step."""
        for group, factor in zip(self.optimizer.param_groups, self.factors, strict=True):
            group["lr"] = rate * factor


def movers(module: nn.Module, settings: LoopSettings) -> list[Mover]:
    """One optimizer or two, for all that a module trains.

    Muon (Jordan et al., 2024) takes steps of equal length in every direction of a matrix. Scaled
    to the size of AdamW's (Liu et al., Muon is scalable for LLM training, 2025), both share one
    learning rate. Raises `InputError` for rates of parameters that there are not.
    """
    groups = parameter_groups(module, settings.weight_decay, settings.rates)
    if settings.optimizer == "adamw":
        return [_adamw(groups, settings)]
    inner = _inner_matrices(module)
    turned = [_those(group, inner, True) for group in groups]
    moved = [_those(group, inner, False) for group in groups]
    turned = [group for group in turned if group.parameters]
    if not turned:
        return [_adamw(moved, settings)]
    muon = torch.optim.Muon(
        [_settings_of(group) for group in turned],
        lr=settings.learning_rate,
        adjust_lr_fn="match_rms_adamw",
    )
    return [Mover(muon, [group.factor for group in turned]), _adamw(moved, settings)]


def _adamw(groups: list[ParameterGroup], settings: LoopSettings) -> Mover:
    optimizer = torch.optim.AdamW(
        [_settings_of(group) for group in groups], lr=settings.learning_rate, betas=(0.9, 0.99)
    )
    return Mover(optimizer, [group.factor for group in groups])


def _settings_of(group: ParameterGroup) -> dict[str, object]:
    return {"params": group.parameters, "weight_decay": group.weight_decay}


def _those(group: ParameterGroup, inner: set[Tensor], inside: bool) -> ParameterGroup:
    chosen = [each for each in group.parameters if (each in inner) == inside]
    return ParameterGroup(chosen, group.weight_decay, group.factor)


def _inner_matrices(module: nn.Module) -> set[Tensor]:
    layers = (each for each in module.modules() if isinstance(each, nn.Linear))
    return {layer.weight for layer in layers if min(layer.weight.shape) >= LEAST_SIDE}
