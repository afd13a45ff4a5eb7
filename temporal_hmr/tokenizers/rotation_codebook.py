"""The codebook of TokenHMR: begun on the first batch, and with no code left idle."""

import torch
from jaxtyping import Float
from torch import Tensor, distributed

from temporal_hmr.tokenizers.codebook import Codebook, Quantised


class RotationCodebook(Codebook):
    """Codes as moving averages of what chose them, without smoothing of the counts.

    The first batch in training mode, or its first part, puts every code on an input vector. From
    then on a code whose moving count of choices per batch is below `restart_below` is put on an
    input vector again at every step, until it is chosen often enough; its averages go on meanwhile.
    Counts start at 1.
    """

    begun: Tensor

    def __init__(self, size: int, dim: int, decay: float = 0.99, restart_below: float = 1.0):
        super().__init__(size, dim, decay, restart_below)
        self.counts.fill_(1.0)
        self.register_buffer("begun", torch.tensor(False))

    def forward(self, x: Float[Tensor, "*b dim"]) -> Quantised:
        """Nearest code of each vector; in training mode the codes also move towards the inputs."""
        # In float32 whatever the autocast type: bfloat16 distances tie, and ties go to low indices.
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            if self.training and not self.begun:
                self._begin(x.detach().flatten(0, -2))
            return super().forward(x)

    @torch.no_grad()
    def _begin(self, x: Float[Tensor, "n dim"]) -> None:
        self.codes.copy_(self._some(x))
        _as_the_first_process_has(self.codes)
        self.sums.copy_(self.codes)
        self.begun.fill_(True)

    def _move(self, x: Float[Tensor, "n dim"]) -> None:
        alive = (self.counts >= self.restart_below)[:, None]
        means = self.sums / self.counts.clamp(min=1e-9)[:, None]
        self.codes.copy_(torch.where(alive, means, self._some(x)))
        _as_the_first_process_has(self.codes)

    def _some(self, x: Float[Tensor, "n dim"]) -> Float[Tensor, "size dim"]:
        """A random input vector for each code; when they are fewer, repeated with a little noise.

        The noise keeps copies apart: of equal codes only the first would ever be chosen.
        """
        size, dim = self.codes.shape
        repeats = -(-size // len(x))
        if repeats > 1:
            x = x.repeat(repeats, 1)
            x = x + 0.01 / dim**0.5 * torch.randn_like(x)
        return x[torch.randperm(len(x), device=x.device)[:size]]


def _several_processes() -> bool:
    return distributed.is_available() and distributed.is_initialized()


def _as_the_first_process_has(codes: Float[Tensor, "size dim"]) -> None:
    """Where several processes train together, each draws its own inputs for idle codes."""
    if _several_processes():
        distributed.broadcast(codes, 0)
