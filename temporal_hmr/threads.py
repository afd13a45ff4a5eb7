"""How many threads the libraries that compute may take."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Of each pool in the process one thread, for what is too small to be shared; else as it was.

    Threads would wait for each other most of the time, and on a busy machine far longer than the
    work takes.
    """
    if not wanted:
        yield
        return
    import torch

    before = torch.get_num_threads()
    with _pools().limit(limits=1):
        # Once this was called in a thread, MKL heeds nothing else there.
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@cache
def _pools() -> ThreadpoolController:
    """Looking for them takes longer than many a piece of work: a hundredth of a second."""
    # Those of PyTorch and SciPy, which are loaded here lest they be missed.
    import scipy.linalg  # noqa: F401
    import torch  # noqa: F401

    return ThreadpoolController()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """OpenCV and torch use no further threads of their own meanwhile, in all of the process.

    For threads that share the cores as it is: waiting for one another is work, too.
    """
    import cv2
    import torch

    before = cv2.getNumThreads(), torch.get_num_threads()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        torch.set_num_threads(before[1])
