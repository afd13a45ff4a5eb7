"""Which detector looks for people: chosen by name, checked at once, opened when it is needed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from temporal_hmr.command_line import nearest
from temporal_hmr.errors import InputError
from temporal_hmr.output.npz import package_version
from temporal_hmr.people.pretrained import Pretrained, find_networks

EYES = ("mediapipe", "vitpose")
"""The first is taken unless another is asked for."""


@dataclass(frozen=True)
class Eyes:
    """A detector that is there and can be opened."""

    name: str
    """One of `EYES`."""
    networks: tuple[Pretrained, ...] = ()
    """Those that do not come with a package."""
    mirrored: bool = True
    """Whether BlazePose reads each frame's mirror image, too: see `people.settings`."""

    def __str__(self) -> str:
        """For the records of a result."""
        if self.name == "vitpose":
            titles = " and ".join(network.kind.title for network in self.networks)
            return f"{titles} of transformers {package_version('transformers')}"
        both_ways = ", both ways round" if self.mirrored else ""
        return f"BlazePose of mediapipe {package_version('mediapipe')}{both_ways}"

    def weights(self) -> Mapping[str, str]:
        """Of each network its SHA-256; the files are read for it."""
        return {str(network): network.sha256 for network in self.networks}

    def open(self, device: torch.device) -> Any:
        """A `people.recalled.Detector`, and context manager, with its networks on the device.

        BlazePose stays on the CPU. Raises `InputError` if a network does not load.
        """
        if self.name == "vitpose":
            from temporal_hmr.people.vitpose import VitPosePeople

            finder, reader = self.networks
            return VitPosePeople.load(finder, reader, device)
        from temporal_hmr.people.mediapipe import MediapipePeople
        from temporal_hmr.people.settings import DetectionSettings

        return MediapipePeople(DetectionSettings(mirrored=self.mirrored))


def choose_eyes(
    name: str = EYES[0],
    weights: str | Path | Sequence[str | Path] | None = None,
    mirrored: bool = True,
) -> Eyes:
    """The detector of that name with these weights, see `people.pretrained.find_networks`.

    `mirrored` is BlazePose's; others know nothing of it.

    Raises `InputError` if there is none of that name, or it cannot be used.
    """
    sources = [weights] if isinstance(weights, (str, Path)) else list(weights or ())
    if name not in EYES:
        near = nearest(name, EYES)
        raise InputError(
            f"--detector takes {' or '.join(EYES)}, not {name!r}"
            + (f"; did you mean {near}?" if near else "")
        )
    if name == "vitpose":
        return Eyes(name, find_networks(sources))
    if sources:
        raise InputError("--detector-weights does nothing without --detector vitpose")
    return Eyes(name, mirrored=mirrored)
