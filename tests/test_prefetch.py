"""Batches made ahead are the batches that would have been made."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest
import torch
from labelled_clips import posed
from torch import Generator
from windows import a_window

from temporal_hmr.batch import BodyTarget
from temporal_hmr.body.params import SmplParams
from temporal_hmr.data.synthetic import exact_target
from temporal_hmr.errors import InputError
from temporal_hmr.models.hmr import PosedBody
from temporal_hmr.training.prefetch import Prefetched
from temporal_hmr.training.sources import Labelled, Source


@dataclass(frozen=True, eq=False)
class Slow:
    """A source that needs a while, in which others may run."""

    seconds: float = 0.0
    frames: int = 3
    drawn: list[int] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)
    poisoned: int | None = None

    @property
    def body(self) -> PosedBody:
        return posed()

    def of_length(self, frames: int) -> "Slow":
        return replace(self, frames=frames)

    def draw(self, clips: int, generator: Generator) -> Labelled:
        seed = generator.initial_seed()
        self.drawn.append(seed)
        self.threads.add(threading.current_thread().name)
        if seed == self.poisoned:
            raise InputError("no such batch")
        time.sleep(self.seconds * float(torch.rand((), generator=generator)))
        window = a_window(clips, self.frames)
        keypoints = torch.rand(window.keypoints.shape, generator=generator)
        return replace(window, keypoints=keypoints), _target(clips, self.frames)

    def held_out(self) -> Mapping[str, Labelled]:
        return {"judge": self.draw(1, Generator().manual_seed(99))}


def _target(clips: int, frames: int) -> BodyTarget:
    shape = (clips, frames)
    rotations = torch.eye(3).expand(*shape, 24, 3, 3)
    smpl = SmplParams.from_rotations(rotations, torch.zeros(*shape, 10), torch.zeros(*shape, 3))
    return exact_target(smpl, torch.zeros(*shape, 24, 3), torch.zeros(*shape, 23, 2))


def keypoints(source: Source, seeds: list[int], clips: int = 2) -> list[torch.Tensor]:
    return [source.draw(clips, Generator().manual_seed(seed))[0].keypoints for seed in seeds]


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize(
    "seeds", [[5, 6, 7, 8, 9, 10], [1, 4, 7, 10, 13], [3, 3, 3], [9, 2, 3, 4, 40, 41, 42]]
)
def test_batches_are_the_same_for_any_number_of_workers(workers: int, seeds: list[int]) -> None:
    prefetched = Prefetched(Slow(0.003), workers, ahead=3)
    found = keypoints(prefetched, seeds)
    prefetched.close()
    for each, expected in zip(found, keypoints(Slow(), seeds), strict=True):
        assert torch.equal(each, expected)


def test_an_interrupted_run_continues_on_the_same_batches() -> None:
    """The loop seeds every step: what comes first does not matter."""
    resumed = Prefetched(Slow(), 2)
    found = keypoints(resumed, [103, 104, 105])
    resumed.close()
    expected = keypoints(Slow(), [100, 101, 102, 103, 104, 105])[3:]
    assert all(map(torch.equal, found, expected))


def test_the_generator_is_left_as_the_source_leaves_it() -> None:
    prefetched = Prefetched(Slow(), 2)
    for seed in (1, 2, 3):
        used, plain = Generator().manual_seed(seed), Generator().manual_seed(seed)
        prefetched.draw(2, used)
        Slow().draw(2, plain)
        assert torch.equal(torch.rand(4, generator=used), torch.rand(4, generator=plain))
    prefetched.close()


def test_a_generator_in_use_is_drawn_from_as_it_is() -> None:
    prefetched = Prefetched(Slow(), 2)
    keypoints(prefetched, [1, 2])
    used, plain = Generator().manual_seed(3), Generator().manual_seed(3)
    torch.rand(1, generator=used), torch.rand(1, generator=plain)
    found = prefetched.draw(2, used)[0].keypoints
    assert torch.equal(found, Slow().draw(2, plain)[0].keypoints)
    prefetched.close()


def test_threads_draw_ahead_and_nothing_twice() -> None:
    source = Slow()
    prefetched = Prefetched(source, 2, ahead=3)
    keypoints(prefetched, [1, 2, 3, 4, 5])
    prefetched.close()
    assert sorted(source.drawn) == sorted(set(source.drawn))
    assert set(source.drawn) >= {1, 2, 3, 4, 5} and max(source.drawn) <= 8
    main = threading.current_thread().name
    assert any(name.startswith("prefetch") for name in source.threads - {main})


def test_other_clips_are_drawn_anew() -> None:
    prefetched = Prefetched(Slow(), 2)
    keypoints(prefetched, [1, 2])
    found = keypoints(prefetched, [3], clips=4)[0]
    prefetched.close()
    assert torch.equal(found, keypoints(Slow(), [3], clips=4)[0])


def test_batches_are_made_while_nobody_waits() -> None:
    source = Slow()
    prefetched = Prefetched(source, 2, ahead=3)
    keypoints(prefetched, [0])
    deadline = time.monotonic() + 10
    while len(source.drawn) < 4 and time.monotonic() < deadline:
        time.sleep(0.002)
    assert sorted(source.drawn) == [0, 1, 2, 3], "no more than were asked for, though"
    prefetched.close()


def test_errors_come_with_their_batch() -> None:
    prefetched = Prefetched(Slow(poisoned=3), 2, ahead=2)
    keypoints(prefetched, [1, 2])
    with pytest.raises(InputError, match="no such batch"):
        keypoints(prefetched, [3])
    assert torch.equal(keypoints(prefetched, [4])[0], keypoints(Slow(), [4])[0])
    prefetched.close()


def test_lengths_and_held_out_windows_are_the_sources() -> None:
    prefetched = Prefetched(Slow(), 2)
    longer = prefetched.of_length(7)
    assert keypoints(longer, [1])[0].shape[1] == 7
    assert prefetched.body is posed()
    found, expected = prefetched.held_out()["judge"], Slow().held_out()["judge"]
    assert torch.equal(found[0].keypoints, expected[0].keypoints)
    prefetched.close()
    longer.close()
