"""What an effect that is a gain and a filter can be told of recordings before it is trained.

Two regressions in turn. Least squares give the filter to the gain as it is. With the filter as it
is, the error of a gain that is constant over a hop of samples is a parabola in that gain, whose
three coefficients are sums over the hop: so the levels' curve and the followers' times are learned
over whole recordings, by gradients, at a hundredth of the cost of samples.

The gain is kept only where it leaves much less of the error than a filter alone: what a clipper
does to a level is no gain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

#: Samples of a hop in each turn of both regressions.
HOP_SAMPLES = (64, 64)

#: Recordings are cut into pieces of so many samples, each after so many that are only listened to.
PIECE_SAMPLES, HEARD_SAMPLES = 2**18, 2**17

#: Pieces of a step of the gain's regression.
STEP_PIECES = 16

#: Rate of the gain's regression, which rises over the first steps of a turn and falls to nothing.
RATE, WARMUP_STEPS = 1e-2, 10

#: What is added to the share of the error that a setting's filter left, by which its error counts.
LEAST_LEFT = 0.005

#: Where a filter leaves no more of the sound than this, no gain is looked for.
NOTHING_LEFT = 1e-4

#: A gain is kept that leaves at most so much of the error that the filter alone left.
WORTH = 0.85


class Material(NamedTuple):
    """Pieces (1, time) of inputs and targets, and each one's knobs, in the network's range."""

    dry: list[Tensor]
    wet: list[Tensor]
    knobs: list[Tensor]


@runtime_checkable
class GainAndFilter(Protocol):
    """A network that begins as a gain and a filter."""

    def fit_filter(
        self, dry: Sequence[Tensor], wet: Sequence[Tensor], knobs: Sequence[Tensor]
    ) -> Float[Tensor, " piece"]:
        """Set the filter by least squares; return the share of the error left, by piece."""
        ...

    def coloured(
        self, dry: Float[Tensor, "batch 1 time"], knobs: Float[Tensor, "batch knob"]
    ) -> Float[Tensor, "batch 1 time"]:
        """Return what the filter alone makes of ``dry``."""
        ...

    def hop_gains(
        self,
        highest: Float[Tensor, "piece hop"],
        mean: Float[Tensor, "piece hop"],
        knobs: Float[Tensor, "piece knob"],
        *,
        hop_samples: int,
    ) -> Float[Tensor, "piece hop"]:
        """Return the gain of each hop from the highest and the mean square in each."""
        ...

    def gain_parameters(self) -> list[nn.Parameter]:
        """Return what decides the gain."""
        ...


class _Hops(NamedTuple):
    """Sums over hops (piece, hop); ``highest`` and ``mean`` have the hops before, too."""

    highest: Tensor
    mean: Tensor
    dry: Tensor
    cross: Tensor
    wet: Tensor
    knobs: Tensor
    weight: Tensor


def fit_start(network: nn.Module, material: Material, *, steps: int, seed: int = 0) -> float:
    """Begin with the gain and the filter; return the share of the error left, a mean over pieces.

    ``network`` is a :class:`GainAndFilter`; ``steps`` are those of the gain in each turn.
    """
    assert isinstance(network, GainAndFilter)
    generator = torch.Generator().manual_seed(seed)
    left = network.fit_filter(*material)
    best, kept = float(left.mean()), _copy(network)
    needed = WORTH
    for hop in HOP_SAMPLES if steps and best > NOTHING_LEFT else ():
        _fit_gain(network, _hops(network, material, left, hop), hop, steps, generator)
        left = network.fit_filter(*material)
        if float(left.mean()) <= needed * best:
            best, kept, needed = float(left.mean()), _copy(network), 1.0
    network.load_state_dict(kept)
    return best


def _fit_gain(
    network: GainAndFilter,
    hops: _Hops,
    hop_samples: int,
    steps: int,
    generator: torch.Generator,
) -> None:
    """Learn the gain of hops, Adam over pieces at random."""
    optimizer = torch.optim.Adam(network.gain_parameters(), lr=RATE)
    for step in range(steps):
        falling = 0.5 * (1 + math.cos(math.pi * step / steps))
        optimizer.param_groups[0]["lr"] = RATE * falling * min(1.0, (step + 1) / WARMUP_STEPS)
        rows = torch.randperm(len(hops.wet), generator=generator)[:STEP_PIECES]
        loss = _error(network, _Hops(*(part[rows] for part in hops)), hop_samples)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.gain_parameters(), 1.0)
        optimizer.step()


def _error(network: GainAndFilter, hops: _Hops, hop_samples: int) -> Tensor:
    heard = hops.highest.shape[1] - hops.wet.shape[1]
    gain = network.hop_gains(hops.highest, hops.mean, hops.knobs, hop_samples=hop_samples)
    gain = gain[:, heard:]
    left = hops.wet - 2 * gain * hops.cross + gain.square() * hops.dry
    return (left.sum(dim=1) * hops.weight).mean()


@torch.no_grad()
def _hops(network: GainAndFilter, material: Material, left: Tensor, hop: int) -> _Hops:
    """Return the sums over all hops of the material, in pieces of one length."""
    longest = max(wet.shape[-1] for wet in material.wet)
    length, heard = max(1, min(PIECE_SAMPLES, longest) // hop), HEARD_SAMPLES // hop
    found = []
    for dry, wet, knobs, own_left in zip(*material, left, strict=True):
        coloured = network.coloured(dry[None], knobs[None])[0, 0].double()
        target = wet[0].double()
        products = (coloured.square(), coloured * target, target.square())
        sums = torch.stack([_by_hop(product, hop).sum(dim=1) for product in products])
        squares = _by_hop(dry[0].square(), hop)
        levels = torch.stack([squares.amax(dim=1), squares.mean(dim=1)])
        # before a recording lies its beginning, backwards: it was cut from longer sound
        before = levels[:, :heard].flip(1)
        levels = torch.cat([F.pad(before, (heard - before.shape[1], 0)), levels], dim=1)
        power = target.square().mean().clamp(min=1e-12) * (own_left + LEAST_LEFT)
        for start in range(0, sums.shape[1], length):
            count = min(length, sums.shape[1] - start)
            rows = F.pad(sums[:, start : start + count], (0, length - count))
            seen = F.pad(levels[:, start : start + heard + count], (0, length - count))
            found.append((*seen, *rows, knobs, 1.0 / (power * count * hop)))
    return _Hops(*(torch.stack(parts).float() for parts in zip(*found, strict=True)))


def _by_hop(signal: Float[Tensor, " time"], hop: int) -> Float[Tensor, "hop sample"]:
    count = len(signal) // hop
    return signal[: count * hop].reshape(count, hop)


def _copy(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}
