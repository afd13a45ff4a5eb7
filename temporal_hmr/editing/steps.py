"""What one command asks for, read from its words: `1@12.5`, `0 1@3.2-4.0`, `2=7`."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from temporal_hmr.editing.frame_times import FrameTimes
from temporal_hmr.editing.tracks import drop, merge, rename, split, swap
from temporal_hmr.errors import InputError
from temporal_hmr.motion import Track

_MOMENT = "f[0-9]{1,9}|[0-9]{1,9}(?:[.][0-9]*)?|[.][0-9]+"
_NUMBER = "[0-9]{1,6}"
Change = Callable[[list[Track], FrameTimes], list[Track]]


@dataclass(frozen=True, eq=False)
class Step:
    """One correction."""

    text: str
    """As one would type it: `--split 1@12.5`."""
    change: Change


def step_of(kind: str, words: Sequence[str], prefer: str | None = None) -> Step:
    """A correction of that kind (`KINDS`); raises `InputError` for words that say nothing.

    `prefer` is for merges.
    """
    read = partial(_merge, prefer=prefer) if kind == "merge" else _READERS[kind]
    said = [f"--{kind}", *words, *(["--prefer", prefer] if kind == "merge" and prefer else [])]
    return Step(" ".join(said), read(words))


def _drop(words: Sequence[str]) -> Change:
    people = [_number(word, "drop") for word in words]
    return lambda tracks, clock: drop(tracks, people)


def _rename(words: Sequence[str]) -> Change:
    numbers: dict[int, int] = {}
    for word in words:
        found = re.fullmatch(f"({_NUMBER})=({_NUMBER})", word)
        if found is None:
            raise InputError(f"--rename takes pairs of numbers like 2=7, not {word!r}")
        old, new = int(found[1]), int(found[2])
        if old in numbers:
            raise InputError(f"--rename gives person {old} two numbers: say only one of them")
        numbers[old] = new
    return lambda tracks, clock: rename(tracks, numbers)


def _merge(words: Sequence[str], prefer: str | None) -> Change:
    people = [_number(word, "merge") for word in words]
    return lambda tracks, clock: merge(tracks, people, prefer, clock)


def _split(words: Sequence[str]) -> Change:
    cuts = []
    for word in words:
        found = re.fullmatch(f"({_NUMBER})@({_MOMENT})", word)
        if found is None:
            raise InputError(
                "--split takes a person and a time in seconds or a frame, like 1@12.5 or 1@f375, "
                f"not {word!r}"
            )
        cuts.append((int(found[1]), found[2]))

    def change(tracks: list[Track], clock: FrameTimes) -> list[Track]:
        for person, moment in cuts:
            tracks = split(tracks, person, _first(moment, clock), clock)
        return tracks

    return change


def _swap(words: Sequence[str]) -> Change:
    pattern = f"({_NUMBER}) ({_NUMBER})@({_MOMENT})?-({_MOMENT})?"
    found = re.fullmatch(pattern, " ".join(words))
    if found is None or not (found[3] or found[4]):
        raise InputError(
            "--swap takes two people and from when to when, in seconds or frames, like "
            f"0 1@3.2-4.0, 0 1@f96-f120 or (to the end) 0 1@3.2-, not {' '.join(words)!r}"
        )
    people, begin, end = (int(found[1]), int(found[2])), found[3], found[4]

    def change(tracks: list[Track], clock: FrameTimes) -> list[Track]:
        first = int(clock.frames[0]) if begin is None else _first(begin, clock)
        last = int(clock.frames[-1]) if end is None else _last(end, clock)
        if first > last:
            raise InputError(
                f"there is no frame from {begin or 'the beginning'} to {end or 'the end'}: people "
                f"are seen from {clock.times[0]:.2f} to {clock.times[-1]:.2f} s"
            )
        return swap(tracks, people, (first, last), clock)

    return change


def _number(word: str, kind: str) -> int:
    if not re.fullmatch(_NUMBER, word):
        raise InputError(
            f"--{kind} takes the numbers of people, not {word!r} (the folder stands first)"
        )
    return int(word)


def _first(moment: str, clock: FrameTimes) -> int:
    """The frame that it names, or the first at that time or after it."""
    if moment.startswith("f"):
        return int(moment[1:])
    return clock.frame_from(float(moment))


def _last(moment: str, clock: FrameTimes) -> int:
    if moment.startswith("f"):
        return int(moment[1:])
    return clock.frame_until(float(moment))


_READERS: dict[str, Callable[[Sequence[str]], Change]] = {
    "drop": _drop,
    "rename": _rename,
    "split": _split,
    "swap": _swap,
}
KINDS = ("drop", "rename", "merge", "split", "swap")
