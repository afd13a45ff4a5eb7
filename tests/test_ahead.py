"""What is done in a thread ahead of time comes as if it had been done on the spot."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from temporal_hmr.ahead import Ahead
from temporal_hmr.body.load import load_body
from temporal_hmr.errors import InputError
from temporal_hmr.native_output import HeardStandardError, silenced
from temporal_hmr.output.overlay import write_overlay
from temporal_hmr.video import Frame


class Counted:
    """Numbers, and how many of them were made, and whether whoever made them was told to end."""

    def __init__(self, count: int, broken_at: int = -1) -> None:
        self.made, self.closed, self.thread = 0, False, ""
        self._count, self._broken_at = count, broken_at

    def __iter__(self) -> Iterator[int]:
        self.thread = threading.current_thread().name
        try:
            for number in range(self._count):
                if number == self._broken_at:
                    raise InputError("there is no such frame")
                self.made = number + 1
                yield number
        finally:
            self.closed = True


def running() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "ahead"]


def until(true) -> bool:
    deadline = time.monotonic() + 5
    while not true() and time.monotonic() < deadline:
        time.sleep(0.002)
    return true()


@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_the_same_items_come_in_the_same_order(count: int) -> None:
    with Ahead(Counted(count)) as ahead:
        assert list(ahead) == list(range(count))
    assert not running()


def test_they_are_made_while_nobody_waits_but_not_too_many() -> None:
    source = Counted(100)
    with Ahead(source, room=2) as ahead:
        assert next(iter(ahead)) == 0
        assert until(lambda: source.made == 4)
        time.sleep(0.1)
        assert source.made == 4, "one is used, two wait, and one finds no room"
    assert source.thread == "ahead"


def test_nothing_runs_until_somebody_asks() -> None:
    """An interrupt while a thread starts leaves nobody to close it."""
    with Ahead(Counted(3)) as ahead:
        assert not running()
        assert list(ahead) == [0, 1, 2]


def test_an_error_comes_in_the_place_of_its_item() -> None:
    with Ahead(Counted(9, broken_at=4)) as ahead:
        items = iter(ahead)
        assert [next(items) for _ in range(4)] == [0, 1, 2, 3]
        with pytest.raises(InputError, match="no such frame"):
            next(items)
        assert not running()


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError])
def test_whoever_leaves_early_ends_the_thread_and_closes_what_it_reads(error: type) -> None:
    inner, outer = Counted(10**9), []

    def doubled() -> Iterator[int]:
        with Ahead(inner) as ahead:
            for number in ahead:
                yield 2 * number

    def used() -> None:
        with Ahead(doubled()) as ahead:
            for number in ahead:
                outer.append(number)
                if number == 6:
                    raise error("enough")

    with pytest.raises(error):
        used()
    assert outer == [0, 2, 4, 6]
    assert inner.closed and not running()


def test_closing_twice_and_closing_unused_does_nothing() -> None:
    ahead = Ahead(Counted(5))
    ahead.close()
    ahead.close()
    assert list(ahead) == [] and not running()


def test_a_disk_that_is_refused_leaves_no_thread(tmp_path: Path) -> None:
    source = Counted(10**9)
    frames = (Frame(n, n / 10, np.zeros((32, 32, 3), np.uint8)) for n in source)
    with pytest.raises(InputError):
        write_overlay(frames, 10, [], load_body(), tmp_path / "absent" / "overlay.mp4")
    assert source.closed or source.made == 0
    assert not running()


def test_our_own_words_are_heard_while_another_thread_is_silenced(capfd) -> None:
    hushed, told = threading.Event(), threading.Event()

    def noisy() -> None:
        with silenced():
            hushed.set()
            os.write(2, b"chatter\n")
            told.wait(5)
            os.write(2, b"chatter\n")

    thread = threading.Thread(target=noisy)
    thread.start()
    assert hushed.wait(5)
    HeardStandardError().write("warning: the video breaks off\n")
    told.set()
    thread.join()
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "warning: the video breaks off\nafter\n"


def test_ctrl_c_while_drawing_ends_at_once_and_leaves_no_file(tmp_path: Path) -> None:
    def frames() -> Iterator[Frame]:
        for n in range(10_000):
            if n == 5:
                os.kill(os.getpid(), signal.SIGINT)
            yield Frame(n, n / 10, np.zeros((32, 32, 3), np.uint8))

    # What runs in the background of a shell is born deaf to it.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            write_overlay(frames(), 10, [], load_body(), tmp_path / "overlay.mp4")
    finally:
        signal.signal(signal.SIGINT, before)
    assert list(tmp_path.iterdir()) == []
    assert not running()
