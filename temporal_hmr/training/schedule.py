"""Learning rates: over the steps of a run, and of the parts of a module."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, field_validator
from torch import nn

from temporal_hmr.configuration import Config
from temporal_hmr.errors import InputError


class Cosine(Config):
    """Half a cosine, from the full rate down to `floor` of it at the last step."""

    kind: Literal["cosine"] = "cosine"
    floor: float = Field(default=0.01, ge=0, le=1)

    def share(self, step: int, warmup: int, steps: int) -> float:
        """Share of the full rate at a step (from 1) after the warm-up."""
        progress = (step - warmup) / max(steps - warmup, 1)
        fall = 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * progress))))
        return self.floor + (1 - self.floor) * fall


class Milestones(Config):
    """The full rate, multiplied by `factor` after each of some steps."""

    kind: Literal["step"] = "step"
    milestones: tuple[int, ...] = Field(min_length=1)
    """The last step at each rate, rising."""
    factor: float = Field(default=0.1, gt=0)

    @field_validator("milestones")
    @classmethod
    def _rise(cls, steps: tuple[int, ...]) -> tuple[int, ...]:
        if list(steps) != sorted(set(steps)) or steps[0] < 1:
            raise ValueError(f"milestones are rising numbers of steps, not {list(steps)}")
        return steps

    def share(self, step: int, warmup: int, steps: int) -> float:
        """Share of the full rate at a step (from 1)."""
        return self.factor ** sum(milestone < step for milestone in self.milestones)


class Constant(Config):
    """The full rate to the end."""

    kind: Literal["constant"] = "constant"

    def share(self, step: int, warmup: int, steps: int) -> float:
        """1."""
        return 1.0


Schedule = Annotated[Cosine | Milestones | Constant, Field(discriminator="kind")]


def share_of_rate(schedule: Schedule, step: int, warmup: int, steps: int) -> float:
    """Linear warm-up to the full rate at step `warmup`, then what the schedule says."""
    if step <= warmup:
        return step / warmup
    return schedule.share(step, warmup, steps)


@dataclass(frozen=True, eq=False)
class ParameterGroup:
    """Parameters that are trained alike."""

    parameters: list[nn.Parameter]
    weight_decay: float
    factor: float
    """Of the learning rate."""


def parameter_groups(
    module: nn.Module, weight_decay: float, factors: Mapping[str, float]
) -> list[ParameterGroup]:
    """What a module trains, by rate and decay.

    `factors` scale the learning rate of parameters by the dotted beginning of their names; of
    several that fit the longest counts. Raises `InputError` for a beginning of no trained name.
    """
    trained = {name: value for name, value in module.named_parameters() if value.requires_grad}
    for beginning in factors:
        _require_part(beginning, trained, module)
    rates = {name: _factor(name, factors) for name in trained}
    groups = []
    for factor in sorted({1.0, *rates.values()}, reverse=True):
        alike = [value for name, value in trained.items() if rates[name] == factor]
        # Norms and biases are not decayed: pulling them to zero only fights the layer they serve.
        groups += [
            ParameterGroup([each for each in alike if each.ndim > 1], weight_decay, factor),
            ParameterGroup([each for each in alike if each.ndim <= 1], 0.0, factor),
        ]
    return groups


def _factor(name: str, factors: Mapping[str, float]) -> float:
    fitting = [beginning for beginning in factors if f"{name}.".startswith(f"{beginning}.")]
    return factors[max(fitting, key=len)] if fitting else 1.0


def _require_part(beginning: str, trained: Mapping[str, object], module: nn.Module) -> None:
    parts = _beginnings(trained)
    if beginning in parts:
        return
    if beginning in _beginnings(dict(module.named_parameters())):
        raise InputError(f"rates: {beginning} is not trained in this lesson: leave it out")
    near = difflib.get_close_matches(beginning, sorted(parts), n=3, cutoff=0.4)
    near = near or sorted(part for part in parts if "." not in part)
    raise InputError(
        f"rates: no parameter's name begins with {beginning}; near ones are {', '.join(near)}"
    )


def _beginnings(names: Mapping[str, object]) -> set[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`."""
    words = [name.split(".") for name in names]
    return {".".join(word[: end + 1]) for word in words for end in range(len(word))}
