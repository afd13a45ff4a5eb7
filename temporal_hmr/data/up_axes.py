"""Which way is up in a folder of motion capture whose files do not say."""

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from temporal_hmr.data.take import MocapTake, looked_up_axis, turned_y_up
from temporal_hmr.errors import InputError

_STANDING = 0.6, 1.5
"""Metres of SMPL's translation, from its shortest people to its tallest."""
_log = logging.getLogger(__name__)


def turned_upright(takes: Mapping[Path, MocapTake]) -> list[MocapTake]:
    """Takes as their files have them, by path, in worlds whose Y axis points up.

    Each looks for itself (`looked_up_axis`), and files of one kind in a folder have one world: the
    majority of those beside it decides for a take that differs (somebody who lies) unless its root
    is as high as that of who stands, and for one that cannot tell the nearest folder around it in
    which there is a majority; a warning says so. Raises `InputError` where nothing tells.
    """
    told: dict[Path, str] = {}
    problems: dict[Path, InputError] = {}
    for path, take in takes.items():
        try:
            told[path] = looked_up_axis(take)
        except InputError as error:
            problems[path] = error
    votes: dict[tuple[Path, str], Counter[str]] = {}
    for path, axis in told.items():
        for folder in path.parents:
            votes.setdefault((folder, path.suffix.lower()), Counter())[axis] += 1
    upright = []
    for path, take in takes.items():
        axis = told.get(path)
        if axis is None or not _stands(take, axis):
            axis = _agreed(path, axis, votes)
        if axis is None:
            raise InputError(f"{path}: {problems[path]}")
        upright.append(take if axis == "y" else turned_y_up(take))
    return upright


def _stands(take: MocapTake, axis: str) -> bool:
    """Whether the root is about as high along an axis as that of somebody on their feet."""
    low, high = _STANDING
    return low < float(take.translation[:, "xyz".index(axis)].mean()) < high


def _agreed(
    path: Path, own: str | None, votes: Mapping[tuple[Path, str], Counter[str]]
) -> str | None:
    """What a take tells, or those around it; None where nobody does."""
    for folder in path.parents if own is None else [path.parent]:
        found = votes.get((folder, path.suffix.lower()), Counter())
        if found["y"] == found["z"]:
            continue
        axis, count = found.most_common(1)[0]
        if axis != own:
            _log.warning(
                "%s: %s; read with %s up, as %d of the %d takes below %s that tell have it: if "
                "that is wrong, say up_axis",
                *(path, f"looks as if {own} pointed up" if own else "cannot tell which axis is up"),
                *(axis, count, found.total(), folder),
            )
        return axis
    return own
