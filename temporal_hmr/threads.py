"""How many threads the libraries that compute may take."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """OpenCV, torch and each pool in the process take one thread meanwhile; else as it was.

    For what is too small to be shared, and for threads that share the cores as it is: more would
    wait for each other most of the time, and on a busy machine far longer than the work takes.
    """
    if not wanted:
        yield
        return
    import cv2
    import torch

    before = cv2.getNumThreads(), torch.get_num_threads()
    with _pools().limit(limits=1):
        try:
            cv2.setNumThreads(1)
            # Once this was called in a thread, MKL heeds nothing else there.
            torch.set_num_threads(1)
            yield
        finally:
            cv2.setNumThreads(before[0])
            torch.set_num_threads(before[1])


@contextmanager
def side_by_side(wanted: bool = True) -> Iterator[ThreadPoolExecutor | None]:
    """At most as many threads as torch would take for one piece of work, for pieces of one each.

    None if they are not wanted: then all is as it was.
    """
    if not wanted:
        yield None
        return
    import torch

    count = torch.get_num_threads()
    with one_thread(), ThreadPoolExecutor(count, initializer=_alone) as threads:
        yield threads


def _alone() -> None:
    """In each thread anew: OpenMP and MKL keep a number of threads for each that asks them."""
    import torch

    torch.set_num_threads(1)


@cache
def _pools() -> ThreadpoolController:
    """Looking for them takes longer than many a piece of work: a hundredth of a second."""
    # Those of PyTorch and SciPy, which are loaded here lest they be missed.
    import scipy.linalg  # noqa: F401
    import torch  # noqa: F401

    return ThreadpoolController()
