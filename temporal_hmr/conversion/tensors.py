"""Published checkpoints as ours: every tensor used, left with a reason, or an error.

A source is a table from published names to ours. Nothing is guessed: a tensor that the table does
not know, one that is not there, and one of another shape are all errors, named together.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from temporal_hmr.errors import InputError

_NAMED = 6
"""Tensors named in an error before the rest is counted."""


@dataclass(frozen=True)
class Left:
    """A published tensor that our module has no use for."""

    why: str


@dataclass(frozen=True)
class Renamed:
    """A published tensor under our name, changed by `change` if that is given."""

    name: str
    change: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True, eq=False)
class Conversion:
    """What became of a published state."""

    state: dict[str, Tensor]
    """By our names, complete for the module."""
    used: dict[str, str]
    """Published name to ours."""
    left: dict[str, str]
    """Published name to the reason."""

    def report(self) -> str:
        """One line per tensor: used as what, or left why."""
        lines = [f"used  {theirs} -> {ours}" for theirs, ours in self.used.items()]
        lines += [f"left  {theirs}: {why}" for theirs, why in self.left.items()]
        lines.append(f"{len(self.used)} tensors used, {len(self.left)} left, none missing")
        return "\n".join(lines)


def convert_state(
    published: Mapping[str, Tensor],
    module: nn.Module,
    rename: Callable[[str], Renamed | Left | None],
    made: Mapping[str, Tensor] | None = None,
) -> Conversion:
    """The state dict of `module` from a published one.

    `rename` says for every published name what becomes of it, None if it should not be there.
    `made` are tensors of ours that no file holds (derived tables). Raises `InputError` that names
    what is unexpected, missing, or of the wrong shape.
    """
    wanted = module.state_dict()
    state = dict(made or {})
    used: dict[str, str] = {}
    left: dict[str, str] = {}
    problems = []
    for theirs, tensor in published.items():
        fate = rename(theirs)
        if isinstance(fate, Left):
            left[theirs] = fate.why
        elif fate is None or fate.name not in wanted:
            problems.append(f"unexpected {theirs}")
        elif fate.name in used.values():
            problems.append(f"{theirs} is a second {fate.name}")
        else:
            ours = tensor if fate.change is None else fate.change(tensor)
            expected = wanted[fate.name].shape
            if ours.shape != expected:
                problems.append(f"{theirs} has shape {tuple(ours.shape)}, not {tuple(expected)}")
            state[fate.name] = ours
            used[theirs] = fate.name
    problems += [f"no tensor for {name}" for name in wanted if name not in state]
    if problems:
        more = f" and {len(problems) - _NAMED} more" if len(problems) > _NAMED else ""
        raise InputError(
            "the checkpoint is not the published one: " + "; ".join(problems[:_NAMED]) + more
        )
    return Conversion(state, used, left)
