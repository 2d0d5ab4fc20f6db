"""The transformer layers of HT Demucs: norm first, layer scale, a norm over all tokens last.

HT Demucs, arXiv:2211.08553, section 3 and figure 1(c).
"""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.attention import MultiHeadAttention
from audiform.nn.layer_scale import LayerScale
from audiform.nn.sparse_attention import SparseAttention

#: Gain of each residual branch at the start of training, as in the published recipe.
INITIAL_BRANCH_GAIN = 1e-4


class TokenNorm(nn.GroupNorm):
    """Normalises all tokens of an item together, with one gain and bias per feature."""

    def __init__(self, width: int) -> None:
        super().__init__(1, width)

    def forward(self, tokens: Float[Tensor, "batch tokens width"]) -> Float[Tensor, ...]:
        """Normalise over tokens and features."""
        return F.layer_norm(tokens, tokens.shape[1:], eps=self.eps) * self.weight + self.bias


class FeedForward(nn.Module):
    """Two linear layers with a GELU, and in training dropout, between them."""

    def __init__(self, width: int, *, hidden_width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.expand = nn.Linear(width, hidden_width)
        self.dropout = nn.Dropout(dropout)
        self.contract = nn.Linear(hidden_width, width)

    def forward(self, tokens: Float[Tensor, "... width"]) -> Float[Tensor, "... width"]:
        """Transform each token by itself."""
        return self.contract(self.dropout(F.gelu(self.expand(tokens))))


class TransformerLayer(nn.Module):
    """Attention, then a feed-forward block, each normed before and scaled after.

    With ``cross``, the keys and values come from the tokens of the other branch, which have
    a norm of their own. ``norm_out`` adds the norm over all tokens at the end,
    ``layer_scale`` the learned gains of the two residual branches. ``sparse`` finds the keys
    that a query sees; without it a query sees all. ``dropout`` acts in training, on attention
    weights, within the feed-forward block, and on what each branch adds.
    """

    def __init__(
        self,
        width: int,
        *,
        num_heads: int,
        hidden_width: int,
        cross: bool,
        norm_out: bool = True,
        layer_scale: bool = True,
        sparse: SparseAttention | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()

        def gain() -> nn.Module:
            if not layer_scale:
                return nn.Identity()
            return LayerScale(width, initial_gain=INITIAL_BRANCH_GAIN)

        self.attention_norm = nn.LayerNorm(width)
        self.memory_norm = nn.LayerNorm(width) if cross else None
        self.attention = MultiHeadAttention(
            width, num_heads=num_heads, sparse=sparse, dropout=dropout
        )
        self.dropout = nn.Dropout(dropout)
        self.attention_gain = gain()
        self.feed_forward_norm = nn.LayerNorm(width)
        self.feed_forward = FeedForward(width, hidden_width=hidden_width, dropout=dropout)
        self.feed_forward_gain = gain()
        self.norm_out = TokenNorm(width) if norm_out else nn.Identity()

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens width"],
        memory: Float[Tensor, "batch keys width"] | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        """Transform ``tokens``; ``memory`` is given if and only if the layer is a cross layer."""
        assert (memory is None) == (self.memory_norm is None)
        if self.memory_norm is not None and memory is not None:
            memory = self.memory_norm(memory)
        attended = self.dropout(self.attention(self.attention_norm(tokens), memory))
        tokens = tokens + self.attention_gain(attended)
        transformed = self.dropout(self.feed_forward(self.feed_forward_norm(tokens)))
        return self.norm_out(tokens + self.feed_forward_gain(transformed))
