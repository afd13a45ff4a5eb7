"""Transformer and mixer layers shared by two or more models."""

from collections.abc import Iterable

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from temporal_hmr.errors import InputError


class RotaryTime(nn.Module):
    """Rotary positions (Su et al., RoFormer, 2021) over time in *seconds*.

    Attention sees only differences of time, so clips of any length and frame rate share one
    meaning of "a tenth of a second ago", and no table of positions is ever resized.
    """

    angular: Tensor

    def __init__(self, head_width: int, shortest: float = 0.05, longest: float = 8.0):
        """`shortest` and `longest`: wavelengths in seconds of the fastest and slowest pair."""
        super().__init__()
        pairs = head_width // 2
        wavelengths = shortest * (longest / shortest) ** (torch.arange(pairs) / max(pairs - 1, 1))
        self.register_buffer("angular", 2 * torch.pi / wavelengths, persistent=False)

    def forward(
        self, x: Float[Tensor, "N heads T width"], times: Float[Tensor, "N T"]
    ) -> Float[Tensor, "N heads T width"]:
        # Angles in float32 whatever the autocast type: 8 bits cannot tell neighbouring frames.
        angles = (times.float()[..., None] * self.angular)[:, None]
        cosine, sine = angles.cos(), angles.sin()
        even, odd = x.float().chunk(2, -1)
        return torch.cat([even * cosine - odd * sine, even * sine + odd * cosine], -1).to(x.dtype)


def require_even_heads(width: int, heads: int) -> None:
    """Raise `InputError` unless the width can be shared by heads whose channels turn in pairs."""
    if width % (2 * heads):
        raise InputError(
            f"a width of {width} cannot be shared by {heads} attention heads of even width, which "
            f"rotary positions need: make it a multiple of {2 * heads}"
        )


class Attention(nn.Module):
    """Multi-head attention; queries and memory may be the same sequence or two."""

    def __init__(self, width: int, heads: int, rotary: RotaryTime | None = None):
        super().__init__()
        if width % heads:
            raise InputError(f"a width of {width} cannot be shared by {heads} attention heads")
        self.heads = heads
        self.rotary = rotary
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        queries: Float[Tensor, "N Q width"],
        memory: Float[Tensor, "N K width"],
        valid: Bool[Tensor, "N K"] | None = None,
        times: Float[Tensor, "N K"] | None = None,
    ) -> Float[Tensor, "N Q width"]:
        """`valid` says which memory may be looked at; `times` feeds the rotary positions."""
        query = rearrange(self.query(queries), "n q (h c) -> n h q c", h=self.heads)
        key, value = rearrange(
            self.key_value(memory), "n k (two h c) -> two n h k c", two=2, h=self.heads
        )
        if self.rotary is not None and times is not None:
            query, key = self.rotary(query, times), self.rotary(key, times)
        mask = None if valid is None else valid[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return self.out(rearrange(mixed, "n h q c -> n q (h c)"))


class FeedForward(nn.Sequential):
    """Linear, GELU, Linear."""

    def __init__(self, width: int, hidden: int):
        super().__init__(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def last(self) -> list[nn.Parameter]:
        """Weight and bias of the last layer: zero them, and a block begins as the identity."""
        return list(self[-1].parameters())


class SelfAttentionBlock(nn.Module):
    """Pre-norm transformer encoder layer."""

    def __init__(self, width: int, heads: int, expansion: int, rotary: RotaryTime | None = None):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = Attention(width, heads, rotary)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, expansion * width)

    def forward(
        self,
        x: Float[Tensor, "N S width"],
        valid: Bool[Tensor, "N S"] | None = None,
        times: Float[Tensor, "N S"] | None = None,
    ) -> Float[Tensor, "N S width"]:
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed, valid, times)
        return x + self.feed_forward(self.feed_forward_norm(x))


class CrossAttentionBlock(nn.Module):
    """Pre-norm transformer decoder layer: queries meet each other, then the memory."""

    def __init__(self, width: int, heads: int, expansion: int):
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = Attention(width, heads)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = Attention(width, heads)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, expansion * width)

    def forward(
        self, x: Float[Tensor, "N Q width"], memory: Float[Tensor, "N K width"]
    ) -> Float[Tensor, "N Q width"]:
        normed = self.self_norm(x)
        x = x + self.self_attention(normed, normed)
        x = x + self.cross_attention(self.cross_norm(x), memory)
        return x + self.feed_forward(self.feed_forward_norm(x))


def begin_as_identity(blocks: Iterable[nn.Module]) -> None:
    """Zero what transformer blocks add to their input, so that they learn from there."""
    for block in blocks:
        for part in block.children():
            if isinstance(part, Attention):
                outputs = list(part.out.parameters())
            elif isinstance(part, FeedForward):
                outputs = part.last()
            else:
                continue
            for parameter in outputs:
                nn.init.zeros_(parameter)


def with_something_to_see(valid: Bool[Tensor, "B T"]) -> Bool[Tensor, "B T"]:
    """All frames of clips that have no valid one: attending to nothing would give NaN."""
    return valid | ~valid.any(-1, keepdim=True)


class MixerLayer(nn.Module):
    """MLP-Mixer layer as PCT, PostoMETRO and TokenHMR use it (methods: PCT, section 3.1).

    y = TokenMLP(LN(x)^T)^T, z = ChannelMLP(LN(x + y)), result x + y + z.
    """

    def __init__(self, tokens: int, width: int, token_hidden: int, channel_hidden: int):
        super().__init__()
        self.token_norm = nn.LayerNorm(width)
        self.token_mlp = FeedForward(tokens, token_hidden)
        self.channel_norm = nn.LayerNorm(width)
        self.channel_mlp = FeedForward(width, channel_hidden)

    def forward(self, x: Float[Tensor, "N tokens width"]) -> Float[Tensor, "N tokens width"]:
        x = x + self.token_mlp(self.token_norm(x).mT).mT
        return x + self.channel_mlp(self.channel_norm(x))
