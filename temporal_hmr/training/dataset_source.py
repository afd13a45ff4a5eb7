"""Windows from labelled sequences of several datasets, mixed by weight."""

import logging
from collections.abc import Iterator, Mapping
from collections.abc import Sequence as Many
from dataclasses import dataclass, field, replace

import torch
from torch import Generator, Tensor
from typing_extensions import Self

from temporal_hmr.data.augmentation import UNVARIED
from temporal_hmr.data.rendered import valid_clips
from temporal_hmr.data.sequence import Sequence
from temporal_hmr.data.stretches import Stretch, cover, draw_stretch
from temporal_hmr.data.windows import WindowCutter
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.training.sources import EVALUATION_CLIPS, Labelled

_ATTEMPTS = 100
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class DatasetWindows:
    """Clips of several datasets, some of whose sequences judge.

    A training clip is from a dataset drawn by its weight, and from a sequence of it drawn by the
    number of windows that it is long.
    """

    train: Mapping[str, Many[Sequence]]
    """By the name of their dataset."""
    weights: Mapping[str, float]
    """How likely a clip is from each dataset, for all of `train`; they need not sum to one."""
    judges: Mapping[str, Many[Sequence]]
    """Sequences of other people, by the name of what they test."""
    cutter: WindowCutter
    _shares: Mapping[str, Tensor] = field(init=False, repr=False)
    """By dataset, how likely each sequence is."""

    def __post_init__(self) -> None:
        """Raises `InputError` where datasets, weights and people do not go together."""
        if set(self.train) != set(self.weights):
            raise InputError(
                f"weights are of {_listed(self.weights)}, the data of {_listed(self.train)}: "
                "give one weight for each dataset"
            )
        if not all(weight >= 0 for weight in self.weights.values()) or not any(
            self.weights.values()
        ):
            raise InputError("weights of datasets are numbers from 0 on, at least one above 0")
        for name, sequences in (*self.train.items(), *self.judges.items()):
            if not sum(len(sequence) for sequence in sequences):
                raise InputError(f"{name} has no sequence with a frame: give some, or leave it out")
        self._require_other_people()
        self._require_shapes_of_body()
        shares = {
            name: torch.tensor([float(self._windows(each)) for each in sequences])
            for name, sequences in self.train.items()
        }
        object.__setattr__(self, "_shares", shares)

    @property
    def body(self) -> PosedBody:
        return self.cutter.body

    def of_length(self, frames: int) -> Self:
        settings = self.cutter.settings.model_copy(update={"frames": frames})
        return replace(self, cutter=replace(self.cutter, settings=settings))

    def draw(self, clips: int, generator: Generator) -> Labelled:
        """Every clip has random numbers of its own: what cannot be read changes no other clip."""
        seeds = torch.randint(2**62, (clips,), generator=generator).tolist()
        # Geometry in float32 whatever the loop trains in: bfloat16 truth shakes by millimetres.
        with torch.autocast("cpu", enabled=False):
            return valid_clips([self._draw_one(seed) for seed in seeds], clips)

    def held_out(self) -> Mapping[str, Labelled]:
        """Windows spread evenly over each judge's sequences, as they are in use.

        Raises `InputError` if none of a judge's can be read.
        """
        return {name: self._judged(name) for name in self.judges}

    def _draw_one(self, seed: int) -> Labelled:
        """One clip; raises `InputError` if none can be had in many attempts."""
        generator = Generator().manual_seed(seed)
        names = list(self.train)
        weights = torch.tensor([float(self.weights[name]) for name in names])
        name = names[int(torch.multinomial(weights, 1, generator=generator))]
        for _ in range(_ATTEMPTS):
            index = int(torch.multinomial(self._shares[name], 1, generator=generator))
            sequence = self.train[name][index]
            stretch = draw_stretch(sequence, self.cutter.settings, generator)
            seed = int(torch.randint(2**62, (), generator=generator))
            if (made := self.cutter.cut(sequence, stretch, seed)) is not None:
                return made
        raise InputError(
            f"{_ATTEMPTS} clips of {name} in a row have nothing to see or to read: check its "
            f"images and labels ({self.cutter.unreadable.summary()})"
        )

    def _judged(self, name: str) -> Labelled:
        cutter = replace(self.cutter, augmentation=UNVARIED)
        windows = [
            (sequence, stretch)
            for sequence in self.judges[name]
            if len(sequence)
            for stretch in cover(sequence, cutter.settings)
        ]
        count = min(EVALUATION_CLIPS, len(windows))
        chosen = [windows[number * len(windows) // count] for number in range(count)]
        made = list(_cut_all(cutter, chosen))
        if not made:
            raise InputError(f"no window of {name} can be read: check its images and labels")
        if len(made) < count:
            _log.warning("%s: %d of %d windows show nothing", name, count - len(made), count)
        return valid_clips(made, count)

    def _windows(self, sequence: Sequence) -> int:
        return len(cover(sequence, self.cutter.settings)) if len(sequence) else 0

    def _require_other_people(self) -> None:
        training = {
            (each.dataset, each.subject or each.name): name
            for name, sequences in self.train.items()
            for each in sequences
        }
        for name, sequences in self.judges.items():
            for each in sequences:
                if (each.dataset, each.subject or each.name) in training:
                    raise InputError(
                        f"{each.dataset} {each.subject or each.name} is among those who train, "
                        f"and must not be in {name}: split the people, not the frames"
                    )

    def _require_shapes_of_body(self) -> None:
        for sequences in (*self.train.values(), *self.judges.values()):
            for each in sequences:
                known = each.has_smpl is not None and each.has_smpl.any()
                if known and each.smpl_gender != "neutral":
                    raise InputError(
                        f"{each.dataset} {each.name} has the shape of a {each.smpl_gender} body: "
                        "restate it (data.restated_shapes) as one of the body that is trained"
                    )


def _cut_all(cutter: WindowCutter, windows: list[tuple[Sequence, Stretch]]) -> Iterator[Labelled]:
    for number, (sequence, stretch) in enumerate(windows):
        if (made := cutter.cut(sequence, stretch, number)) is not None:
            yield made


def _listed(names: Mapping[str, object]) -> str:
    return ", ".join(sorted(names)) or "none"
