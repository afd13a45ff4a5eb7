"""Batches made ahead of time in threads, so that the model need not wait for images."""

from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from typing_extensions import Self

from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.training.sources import Labelled, Source


class _Drawn(NamedTuple):
    labelled: Labelled
    state: Tensor
    """Of the generator, after drawing."""


@dataclass(frozen=True, eq=False)
class _Ahead:
    seed: int
    clips: int
    future: "Future[_Drawn]"


class Prefetched:
    """A source whose next batches are drawn while the present one is being learned.

    It returns exactly what the source would, whatever the number of workers: every batch is drawn
    with a generator of its own, foreseen as freshly seeded, its seed as far from the last one's as
    that was from the one before. What was not foreseen is drawn on the spot.

    Threads do where most of the work is decoding, warping and arithmetic outside the interpreter.
    The source must not use random numbers other than the generator's.
    """

    def __init__(self, source: Source, workers: int = 2, ahead: int = 4):
        """`ahead` batches are ready or in the making, by so many threads."""
        self.source = source
        self.workers = workers
        self.ahead = ahead
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="prefetch")
        self._waiting: deque[_Ahead] = deque()
        self._last_seed: int | None = None
        self._stride = 1

    @property
    def body(self) -> PosedBody:
        """Whose shapes the truth speaks of."""
        return self.source.body

    def of_length(self, frames: int) -> Self:
        """The same with clips of so many frames, and threads of its own."""
        return type(self)(self.source.of_length(frames), self.workers, self.ahead)

    def draw(self, clips: int, generator: Generator) -> Labelled:
        """The source's batch for this generator, which is left as the source leaves it."""
        seed = generator.initial_seed()
        fresh = torch.equal(generator.get_state(), Generator().manual_seed(seed).get_state())
        if not fresh:
            return self.source.draw(clips, generator)
        if self._last_seed not in (None, seed):
            self._stride = seed - self._last_seed
        self._last_seed = seed
        foreseen = self._take(seed, clips)
        self._fill(seed, clips)
        if foreseen is None:
            return self.source.draw(clips, generator)
        drawn = foreseen.result()
        generator.set_state(drawn.state)
        return drawn.labelled

    def held_out(self) -> Mapping[str, Labelled]:
        """The source's own."""
        return self.source.held_out()

    def close(self) -> None:
        """Let go of what was made ahead, and of the threads."""
        self._drop()
        self._threads.shutdown(wait=True, cancel_futures=True)

    def _take(self, seed: int, clips: int) -> "Future[_Drawn] | None":
        """The batch of this seed, if it was foreseen; else all that was foreseen is let go."""
        if self._waiting and (self._waiting[0].seed, self._waiting[0].clips) == (seed, clips):
            return self._waiting.popleft().future
        self._drop()
        return None

    def _fill(self, seed: int, clips: int) -> None:
        """Begin the batches that should come after this seed's."""
        following = self._waiting[-1].seed if self._waiting else seed
        while len(self._waiting) < self.ahead:
            following += self._stride
            future = self._threads.submit(_draw, self.source, clips, following)
            self._waiting.append(_Ahead(following, clips, future))

    def _drop(self) -> None:
        for each in self._waiting:
            each.future.cancel()
        self._waiting.clear()


def _draw(source: Source, clips: int, seed: int) -> _Drawn:
    generator = Generator().manual_seed(seed)
    return _Drawn(source.draw(clips, generator), generator.get_state())
