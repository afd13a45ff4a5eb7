"""Work done ahead of whoever waits for it, in a thread of its own.

It pays where most of the work is outside the interpreter: decoding, drawing, encoding.
"""

from collections.abc import Iterable, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

_ATTENTION = 0.05
"""Seconds after which a thread with nowhere to put its item sees that it is to end."""


class Ahead(Generic[Item]):
    """The same items in the same order, the next few of them made while one is being used.

    It begins when the first is asked for; iterate it once. What making one raises is raised where
    that one would have come. Use as a context manager, or `close` it: the thread ends once it has
    made the item that it is at, and closes the iterator.
    """

    def __init__(self, items: Iterable[Item], room: int = 2) -> None:
        """`room` is how many finished ones may wait; one more is in the making."""
        self._made: Queue[tuple[str, Any]] = Queue(room)
        self._ended = Event()
        self._thread = Thread(target=self._make, args=(items,), name="ahead", daemon=True)

    def __enter__(self) -> "Ahead[Item]":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """End the thread and let go of what it made; closing twice does nothing."""
        self._ended.set()
        while self._thread.is_alive():
            self._thread.join(_ATTENTION)
        while not self._made.empty():
            self._made.get_nowait()

    def __iter__(self) -> Iterator[Item]:
        # Not before: an interrupt while it starts finds nobody yet who would close it.
        if not self._ended.is_set():
            self._thread.start()
        while not self._ended.is_set():
            kind, item = self._made.get()
            if kind == "item":
                yield item
                del item  # whoever asks for the next one is done with it
                continue
            self.close()
            if kind == "error":
                raise item

    def _make(self, items: Iterable[Item]) -> None:
        iterator: Iterator[Item] | None = None
        try:
            iterator = iter(items)
            for item in iterator:
                self._put("item", item)
                del item  # not to be kept while the next one is made
                if self._ended.is_set():
                    return
            self._put("end", None)
        except BaseException as error:  # it is whoever waits who is to know
            self._put("error", error)
        finally:
            close = getattr(iterator, "close", None)
            if close is not None:
                close()

    def _put(self, kind: str, item: Any) -> None:
        while not self._ended.is_set():
            try:
                self._made.put((kind, item), timeout=_ATTENTION)
                return
            except Full:
                continue
