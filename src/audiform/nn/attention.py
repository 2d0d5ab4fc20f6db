"""Multi-head attention over sequences of tokens."""

from __future__ import annotations

import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.sparse_attention import SparseAttention


class MultiHeadAttention(nn.Module):
    """Scaled dot-product attention with several heads (arXiv:1706.03762, section 3.2).

    Queries come from one sequence, keys and values from another, or from the same one. The
    scores are never held: torch's fused kernel computes them in blocks. With ``sparse``, which
    has no weights of its own, a query looks only at some of the keys. In training ``dropout``
    of the attention weights are left out, of dense attention alone.
    """

    def __init__(
        self,
        width: int,
        *,
        num_heads: int,
        sparse: SparseAttention | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.sparse = sparse
        self.dropout = dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.query_key_value.weight)
        nn.init.zeros_(self.query_key_value.bias)
        nn.init.zeros_(self.output.bias)

    def forward(
        self,
        tokens: Float[Tensor, "batch queries width"],
        memory: Float[Tensor, "batch keys width"] | None = None,
    ) -> Float[Tensor, "batch queries width"]:
        """Let each of ``tokens`` look at all of ``memory`` (at all of ``tokens`` if None)."""
        if memory is None:
            projected = self.query_key_value(tokens)
        else:
            width = tokens.shape[-1]
            weight, bias = self.query_key_value.weight, self.query_key_value.bias
            query = F.linear(tokens, weight[:width], bias[:width])
            projected = F.linear(memory, weight[width:], bias[width:])
        heads = rearrange(
            projected, "batch token (part head size) -> part batch head token size",
            head=self.num_heads, part=3 if memory is None else 2,
        )  # fmt: skip
        if memory is None:
            queries, keys, values = heads
        else:
            queries = rearrange(
                query, "batch token (head size) -> batch head token size", head=self.num_heads
            )
            keys, values = heads
        if self.sparse is not None:
            attended = self.sparse(queries, keys, values)
        else:
            dropout = self.dropout if self.training else 0.0
            attended = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        return self.output(rearrange(attended, "batch head token size -> batch token (head size)"))
