"""Frames of a spectrogram that talk to those near them, in bands.

Each band of each frame is a token. A frame looks at the frames within a reach on both sides as
wholes: all its bands together decide where it looks, and each band fetches its own. So what is
known of a noise between two notes gets to where the notes are, at the price of one attention.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import Tensor, nn

from audiform.knob import Knob

#: Neighbouring frames that a token is made of, on each side.
EMBEDDED_SIDE = 1

#: Frames beside silence that may hold some of it, and are no measure of how soft a sound gets.
EDGE_FRAMES = 2

FEED_FORWARD_RATIO = 3


class NearFramesConfig(BaseModel):
    """What every effect made of :class:`NearFrames` is configured with.

    - ``knobs``: the first says how much of the effect there is.
    - ``bands``: (width in bins, how many) from the bottom up; what is left is the last band.
    - ``reach_frames``: how far a frame looks to each side in one block.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    knobs: tuple[Knob, ...]
    sample_rate: PositiveInt = 44100
    n_fft: PositiveInt
    hop_length: PositiveInt
    bands: tuple[tuple[PositiveInt, PositiveInt], ...]
    hidden_channels: PositiveInt
    num_heads: PositiveInt = 4
    num_blocks: PositiveInt = 2
    reach_frames: PositiveInt = 12

    @model_validator(mode="after")
    def _heads_and_bands_fit(self) -> NearFramesConfig:
        if self.hidden_channels % self.num_heads:
            raise ValueError(
                f"hidden_channels {self.hidden_channels} must be a multiple of num_heads "
                f"{self.num_heads}"
            )
        if sum(width * count for width, count in self.bands) >= self.num_bins:
            raise ValueError(f"bands exceed the {self.num_bins} bins; the last one takes the rest")
        return self

    @property
    def num_bins(self) -> int:
        """Bins of the spectrum, 0 Hz and the highest included."""
        return self.n_fft // 2 + 1

    @property
    def all_bands(self) -> tuple[tuple[int, int], ...]:
        """``bands`` with the last one."""
        rest = self.num_bins - sum(width * count for width, count in self.bands)
        return (*self.bands, (rest, 1))


class BandEmbedding(nn.Module):
    """From some levels of all bins to one token for each band, with weights of its own.

    ``groups``: (bins, how many bands) from the bottom up.
    """

    def __init__(
        self, groups: Sequence[tuple[int, int]], hidden_channels: int, *, num_levels: int
    ) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.weights = nn.ParameterList(
            torch.randn(count, num_levels * width, hidden_channels) / (num_levels * width) ** 0.5
            for width, count in self.groups
        )
        self.bias = nn.Parameter(
            0.1 * torch.randn(sum(count for _, count in groups), hidden_channels)
        )

    def forward(
        self, levels: Float[Tensor, "batch frame level bin"]
    ) -> Float[Tensor, "batch frame band hidden"]:
        """Return the tokens."""
        found, first = [], 0
        for (width, count), weight in zip(self.groups, self.weights, strict=True):
            bins = levels[..., first : first + width * count]
            first += width * count
            bands = rearrange(
                bins, "batch frame level (band bin) -> batch frame band (level bin)", band=count
            )
            found.append(torch.einsum("tfbn,bnh->tfbh", bands, weight))
        return torch.cat(found, dim=2) + self.bias


class BandHead(nn.Module):
    """From one token for each band to a number for each bin."""

    def __init__(self, groups: Sequence[tuple[int, int]], hidden_channels: int) -> None:
        super().__init__()
        self.groups = tuple(groups)
        self.norm = nn.LayerNorm(hidden_channels)
        self.weights = nn.ParameterList(
            torch.randn(count, hidden_channels, width) / hidden_channels**0.5
            for width, count in self.groups
        )
        self.bias = nn.Parameter(torch.zeros(sum(width * count for width, count in groups)))

    def forward(
        self, tokens: Float[Tensor, "batch frame band hidden"]
    ) -> Float[Tensor, "batch frame bin"]:
        """Return the numbers."""
        tokens, found, first = self.norm(tokens), [], 0
        for (_, count), weight in zip(self.groups, self.weights, strict=True):
            bands = tokens[:, :, first : first + count]
            first += count
            found.append(torch.einsum("tfbh,bhn->tfbn", bands, weight).flatten(2))
        return torch.cat(found, dim=2) + self.bias


class NearFrameAttention(nn.Module):
    """Residual attention of frames to those at most ``reach`` frames away.

    Every distance has a score of its own for each head. Beyond both ends keys of zeros are
    assumed. Works on blocks of ``reach`` frames, so that scores grow with the length alone.
    """

    def __init__(self, hidden_channels: int, *, num_heads: int, reach: int) -> None:
        super().__init__()
        self.num_heads, self.reach = num_heads, reach
        self.norm = nn.LayerNorm(hidden_channels)
        self.query_key_value = nn.Linear(hidden_channels, 3 * hidden_channels, bias=False)
        self.distance = nn.Parameter(torch.zeros(num_heads, 2 * reach + 1))
        self.output = nn.Linear(hidden_channels, hidden_channels)

    def forward(
        self, tokens: Float[Tensor, "batch frame band hidden"]
    ) -> Float[Tensor, "batch frame band hidden"]:
        """Add to each frame what it finds near it."""
        frames, reach = tokens.shape[1], self.reach
        queries, keys, values = rearrange(
            self.query_key_value(self.norm(tokens)),
            "batch frame band (part head size) -> part batch head frame (band size)",
            part=3,
            head=self.num_heads,
        )
        rest = -frames % reach
        queries = F.pad(queries, (0, 0, 0, rest)).unflatten(2, (-1, reach))
        keys, values = (
            F.pad(part, (0, 0, reach, reach + rest)).unfold(2, 3 * reach, reach)
            for part in (keys, values)
        )
        scores = queries @ keys * queries.shape[-1] ** -0.5
        shares = (scores + self._by_distance()[:, None]).softmax(dim=-1)
        found = rearrange(
            shares @ values.transpose(-1, -2),
            "batch head block frame (band size) -> batch (block frame) band (head size)",
            band=tokens.shape[2],
        )
        return tokens + self.output(found[:, :frames])

    def _by_distance(self) -> Float[Tensor, "head query key"]:
        """Return the score of each distance, minus infinity beyond the reach."""
        places = torch.arange(3 * self.reach, device=self.distance.device)
        offset = places - places[: self.reach, None]
        within = (offset >= 0) & (offset <= 2 * self.reach)
        scores = self.distance[:, offset.clamp(0, 2 * self.reach)]
        return scores.masked_fill(~within, -torch.inf)


class BandMixing(nn.Module):
    """Residual mixing across the bands of a frame, the same for every feature."""

    def __init__(self, hidden_channels: int, num_bands: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(hidden_channels)
        self.expand = nn.Linear(num_bands, num_bands)
        self.contract = nn.Linear(num_bands, num_bands)

    def forward(
        self, tokens: Float[Tensor, "batch frame band hidden"]
    ) -> Float[Tensor, "batch frame band hidden"]:
        """Add what the other bands say."""
        columns = self.norm(tokens).transpose(2, 3)
        return tokens + self.contract(F.gelu(self.expand(columns))).transpose(2, 3)


class NearFrameBlock(nn.Module):
    """Attention to near frames, mixing of bands, and a layer for each token by itself."""

    def __init__(self, hidden_channels: int, *, num_bands: int, num_heads: int, reach: int) -> None:
        super().__init__()
        wide = FEED_FORWARD_RATIO * hidden_channels
        self.attention = NearFrameAttention(hidden_channels, num_heads=num_heads, reach=reach)
        self.mixing = BandMixing(hidden_channels, num_bands)
        self.norm = nn.LayerNorm(hidden_channels)
        self.expand = nn.Linear(hidden_channels, wide)
        self.contract = nn.Linear(wide, hidden_channels)

    def forward(
        self, tokens: Float[Tensor, "batch frame band hidden"]
    ) -> Float[Tensor, "batch frame band hidden"]:
        """Return tokens of the same shape, each with what is near it."""
        tokens = self.mixing(self.attention(tokens))
        return tokens + self.contract(F.gelu(self.expand(self.norm(tokens))))


class NearFrames(nn.Module):
    """Levels in, tokens out; settings of an effect are added to every token.

    ``num_levels``: how many numbers there are of each bin.
    """

    def __init__(
        self,
        groups: Sequence[tuple[int, int]],
        hidden_channels: int,
        *,
        num_levels: int,
        num_blocks: int,
        num_heads: int,
        reach: int,
        num_settings: int,
    ) -> None:
        super().__init__()
        num_bands = sum(count for _, count in groups)
        self.embed = BandEmbedding(groups, hidden_channels, num_levels=num_levels)
        self.add_settings = (
            nn.Linear(num_settings, hidden_channels, bias=False) if num_settings else None
        )
        self.blocks = nn.ModuleList(
            NearFrameBlock(hidden_channels, num_bands=num_bands, num_heads=num_heads, reach=reach)
            for _ in range(num_blocks)
        )

    def forward(
        self,
        levels: Float[Tensor, "batch frame level bin"],
        settings: Float[Tensor, "batch setting"],
    ) -> Float[Tensor, "batch frame band hidden"]:
        """Return the tokens."""
        tokens = self.embed(levels)
        if self.add_settings is not None:
            tokens = tokens + self.add_settings(settings)[:, None, None]
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


def relative_levels(
    power: Float[Tensor, "batch frame bin"], *, reach: int, floor: float
) -> Float[Tensor, "batch frame level bin"]:
    """Return the power of bins relative to the mean of the frames within ``reach``, logarithmic.

    So a network hears the same at every level. Of each frame come the one before, itself and
    the one after; beyond both ends 0 is assumed. ``floor`` is the power that counts as silence.
    """
    near = F.avg_pool1d(power.mean(dim=2)[:, None], 2 * reach + 1, 1, reach)[:, 0, :, None]
    levels = (power + floor).log() - (near + floor).log()
    side = EMBEDDED_SIDE
    padded = F.pad(levels, (0, 0, side, side))
    frames = power.shape[1]
    return torch.stack([padded[:, shift : shift + frames] for shift in range(2 * side + 1)], dim=2)


def contrasts(
    power: Float[Tensor, "batch frame bin"], *, reach: int, floor: float
) -> Float[Tensor, "batch frame level bin"]:
    """Return three levels of each bin relative to itself at other times, logarithmic.

    To its softest moment within twice the ``reach``, which is what noise leaves (R. Martin,
    "Noise power spectral density estimation based on optimal smoothing and minimum
    statistics", 2001); and to what it was just before, and some time before, which is what a
    room still sends back (K. Lebart et al., "A new method based on spectral subtraction for
    speech dereverberation", 2001). Silence, as before a recording begins, is no moment of it:
    frames at or beside one that is below the floor are not counted.
    """
    bins = power.transpose(1, 2)
    silent = (bins.mean(dim=1, keepdim=True) <= floor).to(bins.dtype)
    beside = F.max_pool1d(silent, 2 * EDGE_FRAMES + 1, 1, EDGE_FRAMES) > 0
    smooth = torch.where(beside, torch.inf, F.avg_pool1d(bins, 3, 1, 1))
    softest = -F.max_pool1d(-smooth, 4 * reach + 1, 1, 2 * reach)
    softest = torch.where(softest.isinf(), 0.0, softest)
    known = F.pad((~beside).to(bins.dtype), (reach, 0))
    before = F.pad(bins, (reach, 0)) * known
    split = max(1, reach // 3)
    level = (bins + floor).log()
    found = [level - (softest + floor).log()]
    for start, length in ((reach - split, split), (0, reach)):
        count, energy = (
            F.avg_pool1d(part[..., start:], length, 1)[..., : bins.shape[-1]]
            for part in (known, before)
        )
        mean = torch.where(count > 0, energy / count.clamp(min=1 / length), softest)
        found.append(level - (mean + floor).log())
    return torch.stack(found, dim=1).permute(0, 3, 1, 2)
