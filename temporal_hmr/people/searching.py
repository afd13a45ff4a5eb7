"""When, and in which parts of a frame, the detector looks for others than those who are followed.

For others it looks at the whole frame, then at one of the tiles that cover it, then at the whole
frame again, then around somebody who is painted out, as of two people close together it reports
one: a frame for each, less often where frames follow closely, and all at once while there is
nobody.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from temporal_hmr.people.settings import DetectionSettings

Square = tuple[int, int, int] | None
"""A part of the image (x, y, side in px) to look at; None is the whole frame."""

_LONG_AGO = -1e9
"""Seconds."""
_LEAST_TILE = 112
"""Side (px) from which a tile is worth a look: half of what the detector's network sees."""


@dataclass(frozen=True)
class Searching:
    """What has been looked at so far, and so what comes next."""

    settings: DetectionSettings
    begun: float | None = None
    """Time of the shot's first frame in seconds."""
    turn: int = 0
    """How many frames there were others looked for in."""
    last: float = _LONG_AGO
    """When that was last, in seconds."""
    last_whole: float = _LONG_AGO
    """When it was in the whole frame."""

    @staticmethod
    def of(settings: DetectionSettings, told: dict[str, Any]) -> "Searching":
        """From what `told` says; from nothing as at the beginning of a shot."""
        last, whole = (told.get(name, _LONG_AGO) for name in ("looked", "whole"))
        return Searching(settings, told.get("begun"), told.get("looks", 0), last, whole)

    def told(self) -> dict[str, Any]:
        """In words and numbers that JSON knows."""
        looks = {"looks": self.turn, "looked": self.last, "whole": self.last_whole}
        return {"begun": self.begun, **looks}

    def at(self, time: float) -> "Searching":
        """In a frame at that time; it may be the shot's first."""
        return replace(self, begun=time) if self.begun is None else self

    def squares(self, shape: tuple[int, ...], company: bool, now: float) -> list[Square]:
        """Where to look in this frame, besides around somebody who is painted out.

        `company` says whether there is somebody already.
        """
        turn = self.turn
        if company and turn and turn % 2 == 0:
            whole = now - self.last_whole >= self._slowly(self.settings.whole_looks_apart, now)
            return [None] if whole and self._rested(now) else []
        if company and (turn % 4 == 3 or not self._rested(now)):
            return []
        tiles = _tiles(shape[1], shape[0], self.settings.tile_shares)
        if turn and tiles:
            tiles = [tiles[turn // (4 if company else 1) % len(tiles)]]
        return [*tiles] if turn % 2 and company else [None, *tiles]

    def painted_out(self, company: int, now: float) -> int | None:
        """Around whom of those who are there to look while they are painted out; None if nobody."""
        if company and self._rested(now) and self.turn % 4 == 3:
            return self.turn // 4 % company
        return None

    def after(self, squares: list[Square], company: bool, now: float) -> "Searching":
        """What to go on from when these have been looked at."""
        whole = now if None in squares else self.last_whole
        if company and not self._rested(now):
            return replace(self, last_whole=whole)
        return replace(self, turn=self.turn + 1, last=now, last_whole=whole)

    def _rested(self, now: float) -> bool:
        """Whether the last look for others is long enough ago."""
        return now - self.last >= self._slowly(self.settings.looks_apart, now)

    def _slowly(self, seconds: float, now: float) -> float:
        """How far apart looks are by now that are so far apart at first."""
        assert self.begun is not None, "there is a frame"
        return seconds if now - self.begun < self.settings.calm_after else 2 * seconds


def _tiles(width: int, height: int, shares: tuple[float, ...]) -> list[tuple[int, int, int]]:
    """Squares (x, y, side) px that cover the image, neighbours overlapping by 40 % or more.

    None at a share where one square would be the whole image, or hold too little to see.
    """
    tiles = []
    for share in shares:
        side = int(min(width, height) * share)
        if _LEAST_TILE <= side < max(width, height):
            tiles += [(x, y, side) for y in _offsets(height, side) for x in _offsets(width, side)]
    return tiles


def _offsets(length: int, side: int) -> list[int]:
    count = int(np.ceil((length - side) / (0.6 * side))) + 1
    return np.linspace(0, length - side, count).astype(int).tolist()
