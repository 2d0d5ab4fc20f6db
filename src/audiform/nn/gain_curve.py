"""A gain over time, found by attention to how loud the sound was.

What a compressor does to a sample depends on the levels of all bins together, now and for as
long as it remembers, and changes within a millisecond. Frames of a spectrogram are too coarse
for it, and one bin's magnitudes do not tell it. Here every few samples make one token, of levels
taken sample by sample; the newest tokens look back at all; and what they find is a gain in
logarithms, at points so close that straight lines join them.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from audiform.nn.newest_attention import UNSEEN, NewestBlock, near_and_far

#: Added to a sample's absolute value before its logarithm: -80 dB.
LEVEL_FLOOR = 1e-4

#: A sample's level, 0 dB at full scale and -80 dB at the floor, runs from 0 to about -1.8.
LEVEL_SCALE = 0.2

#: A ramp's knee lies so far below full scale at first, evenly drawn: -9 to -52 dB.
FIRST_KNEES = (0.2, 1.2)

#: Width of the layer from the knobs to what the whole gain is multiplied by.
DEPTH_CHANNELS = 32

#: Knobs come in [-0.5, 0.5]; times this, those two layers bend within that range from the start.
KNOB_SCALE = 4.0

#: Samples of all examples that a CPU takes through the ramps at a time: they stay in its cache.
SAMPLES_AT_A_TIME = 16_384


class LevelTokens(nn.Module):
    """From samples to tokens: ramps of their levels, averaged over a few samples each.

    A ramp is 0 below a knee and rises in dB above it, as what a compressor has to take away
    does; where the knees lie depends on the knobs. ``token_samples`` samples make one token, of
    averages over ``mean_samples``.
    """

    def __init__(
        self, width: int, *, token_samples: int, mean_samples: int, num_ramps: int, num_knobs: int
    ) -> None:
        super().__init__()
        self.token_samples = token_samples
        self.mean_samples = mean_samples
        self.slope = nn.Parameter(torch.ones(num_ramps))
        self.knee = nn.Parameter(torch.empty(num_ramps).uniform_(*FIRST_KNEES))
        self.embed = nn.Linear(num_ramps * token_samples // mean_samples, width)
        self.move_knees = nn.Linear(num_knobs, num_ramps, bias=False) if num_knobs else None
        self.from_knobs = nn.Linear(num_knobs, 2 * width) if num_knobs else None

    def forward(
        self, audio: Float[Tensor, "batch time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch token width"]:
        """Return one token for each ``token_samples`` samples, the oldest first."""
        knees = self.knee.expand(len(audio), -1)
        if self.move_knees is not None:
            knees = knees + self.move_knees(knobs)
        at_a_time = len(audio)
        if audio.device.type == "cpu":
            at_a_time = max(1, SAMPLES_AT_A_TIME // audio.shape[-1])
        parts = zip(audio.split(at_a_time), knees.split(at_a_time), strict=True)
        tokens = self.embed(torch.cat([self._ramps(*part) for part in parts]))
        if self.from_knobs is None:
            return tokens
        gain, shift = self.from_knobs(knobs)[:, None].chunk(2, dim=-1)
        return tokens * (1 + gain) + shift

    def _ramps(self, audio: Tensor, knees: Tensor) -> Float[Tensor, "batch token mean"]:
        level = LEVEL_SCALE * (audio.abs() + LEVEL_FLOOR).log()
        slopes = self.slope.expand(len(audio), -1)
        ramps = torch.baddbmm(knees[:, :, None], slopes[:, :, None], level[:, None]).relu_()
        means = F.avg_pool1d(ramps, self.mean_samples)
        size = self.token_samples // self.mean_samples
        return rearrange(means, "batch ramp (token size) -> batch token (ramp size)", size=size)


class GainCurve(nn.Module):
    """A gain for each of the newest samples; 1 everywhere before it was trained.

    The knobs, through two layers, also multiply the whole gain in logarithms: a ratio of 1 is no
    compression whatever was heard, and small errors of it there are the worst of all.

    Each token sees ``look_back`` tokens before its own and none after it, wherever it lies, so
    that the curves of two chunks meet without a step.
    """

    def __init__(
        self,
        width: int,
        *,
        output_samples: int,
        token_samples: int,
        point_samples: int,
        num_ramps: int,
        near_tokens: int,
        far_group: int,
        num_heads: int,
        num_blocks: int,
        num_knobs: int,
    ) -> None:
        super().__init__()
        self.token_samples = token_samples
        self.point_samples = point_samples
        self.points = token_samples // point_samples
        self.near_tokens = near_tokens
        self.far_group = far_group
        # One more than are answered: the first line starts at its last point.
        self.num_queries = output_samples // token_samples + 1
        self.tokens = LevelTokens(
            width,
            token_samples=token_samples,
            mean_samples=point_samples,
            num_ramps=num_ramps,
            num_knobs=num_knobs,
        )
        self.blocks = nn.ModuleList(
            NewestBlock(width, num_heads=num_heads, num_settings=num_knobs, fading=True)
            for _ in range(num_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, self.points)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.depth: nn.Sequential | None = None
        if num_knobs:
            widen, narrow = nn.Linear(num_knobs, DEPTH_CHANNELS), nn.Linear(DEPTH_CHANNELS, 1)
            nn.init.zeros_(narrow.weight)
            nn.init.zeros_(narrow.bias)
            self.depth = nn.Sequential(widen, nn.GELU(), narrow)

    def forward(
        self, audio: Float[Tensor, "batch time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch output_time"]:
        """Return the gain of the newest samples of ``audio``, as a factor.

        Before the first sample lies silence, where no more than the answered ones are given.
        """
        missing = self.num_queries * self.token_samples - audio.shape[-1]
        tokens = self.tokens(F.pad(audio, (max(0, missing), 0)), knobs)
        memory, ages = near_and_far(tokens, near_frames=self.near_tokens, group=self.far_group)
        queries = memory[:, : self.num_queries]
        distances = ages - ages[: self.num_queries, None]
        look_back = tokens.shape[1] - self.num_queries
        hidden = (distances < 0) | (distances > look_back)
        distances = distances.masked_fill(hidden, UNSEEN)
        for block in self.blocks:
            queries = block(queries, memory, knobs, distances)
        points = self.head(self.norm(queries.flip(1))).flatten(1)[:, self.points - 1 :]
        if self.depth is not None:
            points = points * (1 + self.depth(KNOB_SCALE * knobs))
        size = (points.shape[1] - 1) * self.point_samples + 1
        lines = F.interpolate(points[:, None], size=size, mode="linear", align_corners=True)
        return lines[:, 0, 1:].exp()
