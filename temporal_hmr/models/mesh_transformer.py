"""FastMETRO's transformer: pre-norm encoder and decoder in which positions touch queries and keys.

Unlike `layers`, values carry no positions, and weights are packed as torch packs them, which is
also how they are published.
"""

from jaxtyping import Bool, Float
from torch import Tensor, nn


class MeshEncoder(nn.Module):
    """Layers in which tokens meet each other, and a norm."""

    def __init__(self, width: int, hidden: int, layers: int, heads: int, dropout: float):
        super().__init__()
        self.encoder = nn.ModuleList(
            EncoderLayer(width, hidden, heads, dropout) for _ in range(layers)
        )
        self.encoder_norm = nn.LayerNorm(width)
        _spread(self)

    def encode(
        self, tokens: Float[Tensor, "N S width"], positions: Float[Tensor, "S width"]
    ) -> Float[Tensor, "N S width"]:
        """Tokens that have met each other; positions are added anew in every layer."""
        for layer in self.encoder:
            tokens = layer(tokens, positions)
        return self.encoder_norm(tokens)


class MeshTransformer(MeshEncoder):
    """The same with a decoder of equal depth, in which queries look at what came of the tokens."""

    def __init__(self, width: int, hidden: int, layers: int, heads: int, dropout: float):
        super().__init__(width, hidden, layers, heads, dropout)
        self.decoder = nn.ModuleList(
            DecoderLayer(width, hidden, heads, dropout) for _ in range(layers)
        )
        self.decoder_norm = nn.LayerNorm(width)
        _spread(self.decoder)

    def decode(
        self,
        queries: Float[Tensor, "N Q width"],
        memory: Float[Tensor, "N S width"],
        positions: Float[Tensor, "S width"],
        blocked: Bool[Tensor, "Q Q"],
    ) -> Float[Tensor, "N Q width"]:
        """Queries that have met each other, where not `blocked`, and the memory."""
        for layer in self.decoder:
            queries = layer(queries, memory, positions, blocked)
        return self.decoder_norm(queries)


class FeedForward(nn.Sequential):
    """Linear, ReLU, dropout, Linear, dropout."""

    def __init__(self, width: int, hidden: int, dropout: float):
        super().__init__(
            nn.Linear(width, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, width),
            nn.Dropout(dropout),
        )


class EncoderLayer(nn.Module):
    """Self-attention and feed-forward layer, each after a norm and around a shortcut."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float):
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, dropout)

    def forward(
        self, x: Float[Tensor, "N S width"], positions: Float[Tensor, "S width"]
    ) -> Float[Tensor, "N S width"]:
        normed = self.attention_norm(x)
        placed = normed + positions.to(normed.dtype)
        mixed, _ = self.attention(placed, placed, normed, need_weights=False)
        x = x + self.dropout(mixed)
        return x + self.feed_forward(self.feed_forward_norm(x))


class DecoderLayer(nn.Module):
    """Queries meet each other, then the memory, whose norm is the encoder's."""

    def __init__(self, width: int, hidden: int, heads: int, dropout: float):
        super().__init__()
        self.self_norm = nn.LayerNorm(width)
        self.self_attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.self_dropout = nn.Dropout(dropout)
        self.cross_norm = nn.LayerNorm(width)
        self.cross_attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.cross_dropout = nn.Dropout(dropout)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden, dropout)

    def forward(
        self,
        x: Float[Tensor, "N Q width"],
        memory: Float[Tensor, "N S width"],
        positions: Float[Tensor, "S width"],
        blocked: Bool[Tensor, "Q Q"],
    ) -> Float[Tensor, "N Q width"]:
        normed = self.self_norm(x)
        mixed, _ = self.self_attention(
            normed, normed, normed, attn_mask=blocked, need_weights=False
        )
        x = x + self.self_dropout(mixed)
        placed = memory + positions.to(memory.dtype)
        seen, _ = self.cross_attention(self.cross_norm(x), placed, memory, need_weights=False)
        x = x + self.cross_dropout(seen)
        return x + self.feed_forward(self.feed_forward_norm(x))


def _spread(module: nn.Module) -> None:
    """Published starting values: Xavier's for matrices."""
    for parameter in module.parameters():
        if parameter.ndim > 1:
            nn.init.xavier_uniform_(parameter)
