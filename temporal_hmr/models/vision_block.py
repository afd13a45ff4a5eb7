"""The block of published vision transformers (Dosovitskiy et al., ICLR 2021).

It stands beside the package's own (`layers.SelfAttentionBlock`) because published weights expect
one layer for queries, keys and values, and norms that add 1e-6 to the variance.
"""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from temporal_hmr.errors import InputError
from temporal_hmr.models.layers import FeedForward

NORM_EPSILON = 1e-6


class DropPath(nn.Module):
    """Stochastic depth (Huang et al., ECCV 2016): in training, whole samples skip a branch."""

    def __init__(self, chance: float):
        super().__init__()
        self.chance = chance

    def forward(self, x: Float[Tensor, "N S width"]) -> Float[Tensor, "N S width"]:
        if not self.training or self.chance == 0:
            return x
        kept = torch.rand(len(x), 1, 1, device=x.device) >= self.chance
        return x * kept / (1 - self.chance)


class FusedAttention(nn.Module):
    """Self-attention with one layer for queries, keys and values (`layers.Attention` has two).

    The heads together need not be as wide as the sequence.
    """

    def __init__(self, width: int, heads: int, head_width: int, bias: bool):
        """`bias` is that of queries, keys and values."""
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(width, 3 * heads * head_width, bias)
        self.out = nn.Linear(heads * head_width, width)

    def forward(
        self, x: Float[Tensor, "N S width"], seen: Bool[Tensor, "N S"] | None = None
    ) -> Float[Tensor, "N S width"]:
        """`seen` says which tokens may be looked at; at least one per sequence."""
        mask = None if seen is None else seen[:, None, None, :]
        query, key, value = rearrange(
            self.query_key_value(x), "n s (three h c) -> three n h s c", three=3, h=self.heads
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(rearrange(mixed, "n h s c -> n s (h c)"))


class VisionBlock(nn.Module):
    """Pre-norm transformer layer with stochastic depth."""

    def __init__(self, width: int, heads: int, expansion: int, drop_path: float = 0.0):
        super().__init__()
        if width % heads:
            raise InputError(f"a width of {width} cannot be shared by {heads} attention heads")
        self.attention_norm = nn.LayerNorm(width, NORM_EPSILON)
        self.attention = FusedAttention(width, heads, width // heads, bias=True)
        self.feed_forward_norm = nn.LayerNorm(width, NORM_EPSILON)
        self.feed_forward = FeedForward(width, expansion * width)
        self.drop_path = DropPath(drop_path)

    def forward(
        self, x: Float[Tensor, "N S width"], seen: Bool[Tensor, "N S"] | None = None
    ) -> Float[Tensor, "N S width"]:
        """`seen` says which tokens may be looked at; at least one per sequence."""
        x = x + self.drop_path(self.attention(self.attention_norm(x), seen))
        return x + self.drop_path(self.feed_forward(self.feed_forward_norm(x)))
