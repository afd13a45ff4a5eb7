"""Lengths of vectors in space, and the unit that they are reported in."""

import torch
from jaxtyping import Float
from torch import Tensor

MILLIMETRES = 1000.0
"""In a metre."""


def lengths(vectors: Float[Tensor, "*b 3"]) -> Float[Tensor, "*b"]:
    """Euclidean."""
    return torch.linalg.vector_norm(vectors, dim=-1)


def mean_length(vectors: Float[Tensor, "*b P 3"]) -> Float[Tensor, "*b"]:
    """Mean over points, in millimetres where the vectors are in metres."""
    return MILLIMETRES * lengths(vectors).mean(-1)
