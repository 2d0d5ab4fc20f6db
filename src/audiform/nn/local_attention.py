"""Local attention: what is far counts less, by a decay that each query chooses."""

from __future__ import annotations

import torch
from einops import einsum, rearrange
from jaxtyping import Float
from torch import Tensor, nn

#: As published: four heads, each with four decays to choose from.
NUM_HEADS = 4
NUM_DECAYS = 4

#: The score of a step with itself, which makes it count nothing unless it is alone.
SELF_SCORE = -100.0

#: Starting values of the layer that chooses the decays: nearly none, so that all is seen.
INITIAL_DECAY_GAIN = 0.01
INITIAL_DECAY_BIAS = -2.0


class LocalAttention(nn.Module):
    """Residual attention over time without positions (Hybrid Demucs, section 3.3).

    The score of a key falls linearly with its distance from the query. The slope is a sum of
    n / (2 sqrt(4)) for n = 1..4, each weighted by a sigmoid of the query's features. A step
    does not look at itself. ``width`` must be a multiple of the four heads.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.query = nn.Conv1d(width, width, 1)
        self.key = nn.Conv1d(width, width, 1)
        self.value = nn.Conv1d(width, width, 1)
        self.decay = nn.Conv1d(width, NUM_HEADS * NUM_DECAYS, 1)
        self.output = nn.Conv1d(width, width, 1)
        with torch.no_grad():
            self.decay.weight *= INITIAL_DECAY_GAIN
            nn.init.constant_(self.decay.bias, INITIAL_DECAY_BIAS)  # type: ignore[arg-type]

    def forward(
        self, features: Float[Tensor, "batch width time"]
    ) -> Float[Tensor, "batch width time"]:
        """Add to each step what it finds in the others."""
        queries, keys = _heads(self.query(features)), _heads(self.key(features))
        scores = einsum(
            queries / queries.shape[2] ** 0.5, keys,
            "batch head size query, batch head size key -> batch head query key",
        )  # fmt: skip
        time = torch.arange(features.shape[-1], device=features.device, dtype=features.dtype)
        distance = (time[:, None] - time).abs()
        # in place: of a long sequence there is room for few tensors of this size
        scores -= self._slopes(features)[..., None] * distance
        scores.masked_fill_(distance == 0, SELF_SCORE)
        found = einsum(
            scores.softmax(dim=-1), _heads(self.value(features)),
            "batch head query key, batch head size key -> batch head size query",
        )  # fmt: skip
        return features + self.output(
            rearrange(found, "batch head size time -> batch (head size) time")
        )

    def _slopes(
        self, features: Float[Tensor, "batch width time"]
    ) -> Float[Tensor, "batch heads time"]:
        steps = torch.arange(1, NUM_DECAYS + 1, device=features.device, dtype=features.dtype)
        shares = _heads(self.decay(features)).sigmoid() / 2
        return einsum(
            shares, steps / NUM_DECAYS**0.5, "batch head decay time, decay -> batch head time"
        )


def _heads(features: Float[Tensor, "batch width time"]) -> Float[Tensor, "batch heads size time"]:
    return rearrange(
        features, "batch (head size) time -> batch head size time", head=NUM_HEADS
    )  # fmt: skip
