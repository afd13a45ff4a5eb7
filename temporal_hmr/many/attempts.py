"""A job tried on each of many items, one after the other or on Ray.

What becomes of one item never touches the others: a failure is a result like any other.
"""

import logging
import math
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from temporal_hmr.dependencies import installation
from temporal_hmr.errors import InputError

Item = TypeVar("Item")
Result = TypeVar("Result")

_SECONDS_TO_ANSWER = 5.0
_SECONDS_TO_STOP = 20.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cluster:
    """Where Ray runs, and what each job gets of it."""

    address: str
    """`auto` (the cluster of this machine, or `RAY_ADDRESS`), `local` (one made for the purpose),
    `host:port` or `ray://host:port`."""
    cpus: int = 1
    gpus: float = 0

    def __post_init__(self) -> None:
        if self.cpus < 1:
            raise InputError(f"--ray-cpus takes a whole number from 1 on, not {self.cpus}")
        whole = math.isfinite(self.gpus) and self.gpus == int(self.gpus)
        if not (0 <= self.gpus < 1 or (whole and self.gpus > 0)):
            raise InputError(
                f"--ray-gpus takes a share of one GPU or a whole number of them, not {self.gpus:g}"
            )


@dataclass(frozen=True)
class Attempt(Generic[Result]):
    """How a job on one item ended."""

    result: Result | None
    error: str | None
    """In one line; None if there is a result."""
    seconds: float | None
    """None if the process that worked on it died."""
    warnings: tuple[str, ...] = ()
    """What was logged in another process meanwhile."""


def attempts(
    job: Callable[[Item], Result], items: Sequence[Item], cluster: Cluster | None = None
) -> Generator[tuple[int, Attempt[Result]], None, None]:
    """Try the job on every item: here and in turn, or, with a cluster, as tasks of Ray.

    Yields an item's place in `items` and how it ended as soon as that is known; on Ray that is in
    no particular order, job and items are pickled, and the death of a worker is a failure of its
    item. Close it early to stop what is still at work.

    Raises `InputError`, before any work, if Ray is absent, cannot be reached, or has no room.
    """
    if cluster is not None:
        yield from _on_ray(job, items, cluster)
        return
    for place, item in enumerate(items):
        yield place, _attempt(job, item)


def _attempt(job: Callable[[Item], Result], item: Item) -> Attempt[Result]:
    begun = time.monotonic()
    result, error = None, None
    try:
        result = job(item)
    except InputError as mistake:
        error = " ".join(str(mistake).split())
    except Exception as fault:  # whatever it is, it is no reason to leave the others undone
        error = _told(fault)
    return Attempt(result, error, time.monotonic() - begun)


def _told(fault: Exception) -> str:
    """An exception that nobody expected, in one line."""
    where = traceback.extract_tb(fault.__traceback__)[-1]
    said = " ".join(f"{type(fault).__name__}: {fault}".split())
    return f"unexpected {said} ({Path(where.filename).name}, line {where.lineno})"


def _attempt_afar(job: Callable[[Item], Result], item: Item) -> Attempt[Result]:
    """`_attempt` in a process whose log nobody reads."""
    noted = _Noted(logging.WARNING)
    logger = logging.getLogger("temporal_hmr")
    logger.addHandler(noted)
    try:
        attempt = _attempt(job, item)
    finally:
        logger.removeHandler(noted)
    return replace(attempt, warnings=tuple(noted.messages))


class _Noted(logging.Handler):
    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def _on_ray(
    job: Callable[[Item], Result], items: Sequence[Item], cluster: Cluster
) -> Generator[tuple[int, Attempt[Result]], None, None]:
    ray = _connected(cluster)
    pending = {}
    try:
        _check_room(ray, cluster)
        # Not retried: what kills a worker once mostly does so again.
        task = ray.remote(num_cpus=cluster.cpus, num_gpus=cluster.gpus, max_retries=0)(
            _attempt_afar
        )
        for place, item in enumerate(items):
            pending[task.remote(job, item)] = place
        while pending:
            for reference in ray.wait(list(pending))[0]:
                attempt = _fetched(ray, reference)
                for message in attempt.warnings:
                    _log.warning("%s", message)
                yield pending.pop(reference), attempt
    finally:
        _cancel(ray, list(pending))
        ray.shutdown()


def _fetched(ray: Any, reference: Any) -> Attempt:
    try:
        return ray.get(reference)
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        # A traceback says in its last line what happened, everything else in its first.
        last = isinstance(error, ray.exceptions.RayTaskError)
        said = (lines or [type(error).__name__])[-1 if last else 0]
        return Attempt(None, f"its Ray worker failed: {said}", None)


def _cancel(ray: Any, references: list) -> None:
    """Interrupt them like Ctrl-C, and give them time to clean up."""
    for reference in references:
        ray.cancel(reference)
    if references:
        ray.wait(references, num_returns=len(references), timeout=_SECONDS_TO_STOP)


def _connected(cluster: Cluster) -> Any:
    """The module `ray`, connected to the cluster."""
    try:
        import ray.exceptions
    except ImportError:
        raise InputError(f"--ray needs Ray: {installation('ray')}") from None
    address = cluster.address
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS") or address
    _check_answer(address)
    # A cluster of our own would else report its use to the makers of Ray.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    ending = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ImportError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split()).split(". ")[0]
        raise InputError(
            f"--ray {address}: {said}; give local, or the address of a running cluster"
        ) from error
    finally:
        # Ray has put a handler of its own in the place of the door's.
        signal.signal(signal.SIGTERM, ending)
    return ray


def _check_answer(address: str) -> None:
    """Ray itself tries for minutes to reach a cluster that is not there."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not (host and port.isdecimal()):
        raise InputError(f"--ray takes auto, local, host:port or ray://host:port, not {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _SECONDS_TO_ANSWER).close()
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(
            f"--ray {address}: nothing answers there ({error}); give the address of a running "
            "cluster, or local"
        ) from error


def _check_room(ray: Any, cluster: Cluster) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for node in nodes:
        if node.get("CPU", 0) >= cluster.cpus and node.get("GPU", 0) >= cluster.gpus:
            return
    wanted = f"no machine of the cluster offers {cluster.cpus} CPU and {cluster.gpus:g} GPU"
    if cluster.address == "local":
        raise InputError(f"--ray local: {wanted}: ask for less with --ray-cpus and --ray-gpus")
    _log.warning("%s now: waiting until one joins", wanted)
