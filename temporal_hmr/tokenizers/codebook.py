"""Vector quantisation with a codebook that follows its inputs by moving averages."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed, nn
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Quantised:
    """Vectors replaced by their nearest codes."""

    codes: Float[Tensor, "*b dim"]
    """The nearest codes; gradients pass straight through to the input."""
    indices: Int[Tensor, "*b"]
    commitment: Float[Tensor, ""]
    """Mean squared distance of the inputs to their codes; moves the inputs only."""


class Codebook(nn.Module):
    """V codes of a given dimension, learned by exponential moving averages (VQ-VAE-2, appendix A).

    Codes are buffers: no gradient reaches them. A code that few inputs choose can be restarted at
    an input vector (`restart_below` > 0, as in TokenHMR; PCT does not). Where several processes
    train together the codes follow the inputs of all, however many each of them has.
    """

    codes: Tensor
    counts: Tensor
    sums: Tensor

    def __init__(self, size: int, dim: int, decay: float = 0.9, restart_below: float = 0.0):
        super().__init__()
        self.decay = decay
        self.restart_below = restart_below
        self.gathers = False
        self._gathered: tuple[Tensor, Tensor] | None = None
        self.register_buffer("codes", torch.randn(size, dim))
        self.register_buffer("counts", torch.zeros(size))
        self.register_buffer("sums", torch.randn(size, dim))

    def distances(self, x: Float[Tensor, "*b dim"]) -> Float[Tensor, "*b size"]:
        """Squared Euclidean distance of every vector to every code, in float32."""
        # Whatever the autocast type: distances of few digits tie, and ties go to low indices.
        with torch.autocast(x.device.type, enabled=False):
            x = x.float()
            return (x * x).sum(-1, keepdim=True) - 2 * x @ self.codes.T + (self.codes**2).sum(-1)

    def forward(self, x: Float[Tensor, "*b dim"]) -> Quantised:
        """Nearest code of each vector; in training mode the codes also move towards the inputs."""
        indices = self.distances(x.detach()).argmin(-1)
        codes = self.codes[indices]
        commitment = ((x - codes) ** 2).mean()
        if self.training:
            self._learn(x.detach().float().flatten(0, -2), indices.flatten())
        return Quantised(x + (codes - x).detach(), indices, commitment)

    def soft(
        self, x: Float[Tensor, "*b dim"], temperature: float
    ) -> tuple[Float[Tensor, "*b dim"], Float[Tensor, "*b"]]:
        """Mixture of codes weighted by softmax(-distance / temperature), and the largest weight.

        Tends to the nearest code as the temperature goes to 0, and moves smoothly with the input.
        """
        # The square of x itself, which is the same for all codes, makes no difference.
        squares = self.codes.square().sum(-1)
        nearness = functional.linear(x, 2 / temperature * self.codes, -squares / temperature)
        weights = nearness.softmax(-1)
        return weights @ self.codes, weights.amax(-1)

    @torch.no_grad()
    def _learn(self, x: Float[Tensor, "n dim"], indices: Int[Tensor, "n"]) -> None:
        counts = torch.bincount(indices, minlength=len(self.codes)).to(self.counts.dtype)
        sums = torch.zeros_like(self.sums).index_add_(0, indices, x)
        if self._gathered is not None:
            counts, sums = self._gathered[0] + counts, self._gathered[1] + sums
        self._gathered = (counts, sums) if self.gathers else None
        if self.gathers:
            return
        if distributed.is_available() and distributed.is_initialized():
            distributed.all_reduce(counts)
            distributed.all_reduce(sums)
        self.counts.lerp_(counts, 1 - self.decay)
        self.sums.lerp_(sums, 1 - self.decay)
        self._move(x)

    def _move(self, x: Float[Tensor, "n dim"]) -> None:
        """Put the codes where the averages are now; idle ones may be put on one of the inputs."""
        if self.restart_below > 0:
            self._restart(x)
        total = self.counts.sum()
        # Laplace smoothing, kept: the next average starts from the smoothed counts.
        self.counts.copy_((self.counts + 1e-5) / (total + len(self.codes) * 1e-5) * total)
        self.codes.copy_(self.sums / self.counts[:, None])

    def _restart(self, x: Float[Tensor, "n dim"]) -> None:
        dead = (self.counts < self.restart_below).nonzero().flatten()
        chosen = torch.randint(len(x), (len(dead),), device=x.device)
        self.sums[dead] = x[chosen]
        self.counts[dead] = 1.0
        if distributed.is_available() and distributed.is_initialized():
            distributed.broadcast(self.sums, 0)


@contextmanager
def gathering(module: nn.Module) -> Iterator[None]:
    """What codebooks of the module see in this context moves them with what they see after it."""
    books = [part for part in module.modules() if isinstance(part, Codebook)]
    for book in books:
        book.gathers = True
    try:
        yield
    finally:
        for book in books:
            book.gathers = False
