"""Training in several processes at once, as `torchrun` starts them.

What is guaranteed, with N processes and a batch of B clips:

- Process r draws B/N clips at every step with a generator whose seed follows from the run's seed,
  the step and r alone. A run can so be repeated, and resumed, bit for bit with as many processes;
  its batches are others than those of one process (or of another number of them).
- Gradients are averaged: a step is that of one process with the clips of all shards, up to
  rounding, where losses are means over clips. (Means over what is visible weigh each shard alike.)
- Parameters, their moving averages and codebooks are the same bits in all processes after every
  step. Running statistics of batch norms are those of the first process, whose model is kept.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from temporal_hmr.errors import InputError

PATIENCE = timedelta(hours=2)
"""How long the others wait for the first process, which evaluates and writes."""
STRIDE = 0x9E3779B1
"""Between the seeds of two processes. Generators read 32 bits of a seed; modulo 2**32 the first
sixty multiples of this (the golden ratio) stay tens of millions of steps apart."""


@contextmanager
def joined_processes(device: torch.device) -> Iterator[torch.device]:
    """Join the processes that `torchrun` started, if it did; yields the device of this one.

    They speak through NCCL on CUDA, where each gets a GPU of its own, and through gloo on the CPU.
    Where they have joined already nothing is left to do. An `InputError` of any but the first says
    whose it is. Raises `InputError` if there are fewer GPUs than processes.
    """
    if not distributed.is_torchelastic_launched() or os.environ.get("WORLD_SIZE") == "1":
        yield device
        return
    own = _own_device(device, int(os.environ["LOCAL_RANK"]))
    if _several():
        yield own
        return
    distributed.init_process_group("nccl" if own.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield own
    except InputError as error:
        if is_first():
            raise
        raise InputError(f"process {rank()}: {error}") from error
    distributed.destroy_process_group()


def _own_device(device: torch.device, local_rank: int) -> torch.device:
    if device.type != "cuda":
        return device
    if device.index is not None:
        raise InputError(f"each process takes a GPU of its own: pass --device cuda, not {device}")
    if local_rank >= torch.cuda.device_count():
        raise InputError(
            f"there are {torch.cuda.device_count()} GPUs here: start no more processes than that"
        )
    torch.cuda.set_device(local_rank)
    return torch.device("cuda", local_rank)


def _several() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """Which of the processes this is, from 0."""
    return distributed.get_rank() if _several() else 0


def is_first() -> bool:
    """Whether this process is the one that writes, evaluates and prints."""
    return rank() == 0


def process_count() -> int:
    """How many processes train together; 1 without `torchrun`."""
    return distributed.get_world_size() if _several() else 1


def wait_for_all() -> None:
    """Go on when every process has come here."""
    if _several():
        distributed.barrier()


def own_share(clips: int, accumulate: int) -> int:
    """Clips of a batch that this process draws; raises `InputError` if they cannot be even."""
    count = process_count()
    if clips % (count * accumulate):
        raise InputError(
            f"clips: {clips} cannot be shared evenly by {count} processes in {accumulate} parts "
            f"each: give a multiple of {count * accumulate}"
        )
    return clips // count


def step_seed(seed: int, step: int) -> int:
    """What this process seeds its generators with; one more at the next step."""
    return seed * 1_000_003 + step + rank() * STRIDE


def sharing_gradients(module: nn.Module) -> nn.Module:
    """The module itself, or in several processes one that averages their gradients."""
    if process_count() == 1:
        return module
    # Lessons leave parts of a model out of use. (One that does not is warned of it by torch, once.)
    return DistributedDataParallel(module, find_unused_parameters=True)


def not_yet(module: nn.Module) -> AbstractContextManager[object]:
    """Gradients computed in this context are averaged later, with those that follow."""
    return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()


def mean_over_processes(values: Mapping[str, float], device: torch.device) -> dict[str, float]:
    """The mean of each value over all processes, which must name the same ones."""
    if process_count() == 1:
        return dict(values)
    together = torch.tensor(list(values.values()), device=device)
    distributed.all_reduce(together)
    return dict(zip(values, (together / process_count()).tolist(), strict=True))


def require_same_step(step: int, device: torch.device) -> None:
    """Raise `InputError` unless all processes resume at the same step."""
    if process_count() == 1:
        return
    ends = torch.tensor([step, -step], device=device)
    distributed.all_reduce(ends, distributed.ReduceOp.MIN)
    if int(ends[0]) != -int(ends[1]):
        raise InputError("the processes found different states: they must share the run folder")


def as_the_first_has(module: nn.Module) -> None:
    """Give every process the first one's parameters and buffers."""
    if process_count() > 1:
        for tensor in module.state_dict().values():
            distributed.broadcast(tensor, 0)
