"""How each knob of a learned effect bends what it does: with steady tones, and with a step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.evaluation.effect_behaviour import default_positions
from audiform.knob import HALF_RANGE, Knob
from audiform.protocols import EffectModel

#: The sine that is played.
TONE_HZ = 1000.0

#: Levels of the static curves: peaks in dB; how long each lasts, and which part of it counts.
LEVELS_DB = tuple(float(level) for level in range(-60, 1, 5))
LEVEL_SECONDS, SETTLED_SHARE = 0.4, 0.25

#: The step: level and seconds of each part. Gains are those of so many periods.
BURST = ((-40.0, 0.1), (-6.0, 0.3), (-40.0, 0.5))
GAIN_PERIODS = 2

#: Gains beyond all but 2 % are cut off so many dB further.
PEAK_DB = 3.0

#: Positions at which a knob is shown.
POSITIONS = tuple(HALF_RANGE * share for share in (-1.0, -0.5, 0.0, 0.5, 1.0))

#: Tones that go through the network at a time.
AT_A_TIME = 16


@dataclass(frozen=True)
class Family:
    """Curves at several values of ``knob``, the others at their defaults; one if there is none.

    ``across`` is shared: levels in dB, or seconds.
    """

    knob: Knob | None
    values: tuple[float, ...]
    across: Float[Tensor, " point"]
    curves: Float[Tensor, "value point"]


def static_curves(network: EffectModel) -> list[Family]:
    """Return by knob the level in dB that comes out of a steady sine of each of a row of levels.

    Levels are of peaks: RMS times the root of 2.
    """
    rate = network.spec.sample_rate
    tone = _sine(round(LEVEL_SECONDS * rate), rate)
    levels = torch.tensor(LEVELS_DB)
    tones = 10.0 ** (levels / 20.0)[:, None] * tone
    settled = round(SETTLED_SHARE * tone.shape[-1])
    families = []
    for knob, values, positions in _positions(network):
        wet = _answers(network, tones.repeat(len(values), 1), positions.repeat_interleave(
            len(levels), dim=0))  # fmt: skip
        power = wet[:, -settled:].double().square().mean(dim=-1)
        out = 10.0 * torch.log10(2.0 * power.clamp(min=1e-12))
        families.append(Family(knob, values, levels, out.unflatten(0, (len(values), -1))))
    return families


def burst_gains(network: EffectModel) -> list[Family]:
    """Return by knob the gain in dB over seconds, of a sine that steps up and down again."""
    rate = network.spec.sample_rate
    counts = [round(seconds * rate) for _, seconds in BURST]
    heights = torch.cat(
        [torch.full((n,), 10.0 ** (db / 20.0)) for n, (db, _) in zip(counts, BURST, strict=True)]
    )
    dry = heights * _sine(len(heights), rate)
    window = max(1, round(GAIN_PERIODS * rate / TONE_HZ))
    dry_power = _powers(dry[None], window)
    families = []
    for knob, values, positions in _positions(network):
        wet = _answers(network, dry.expand(len(values), -1), positions)
        gain = 10.0 * torch.log10(_powers(wet, window).clamp(min=1e-12) / dry_power)
        middles = (torch.arange(gain.shape[-1]) + 0.5) * window / rate
        families.append(Family(knob, values, middles, _without_peaks(gain)))
    return families


def _without_peaks(gain: Float[Tensor, "value point"]) -> Float[Tensor, "value point"]:
    """Cut off what hardly ever comes: where a loud tone ends, what rings on is many times it."""
    low, high = gain.quantile(0.02), gain.quantile(0.98)
    return gain.clamp(float(low) - PEAK_DB, float(high) + PEAK_DB)


def _positions(
    network: EffectModel,
) -> list[tuple[Knob | None, tuple[float, ...], Float[Tensor, "value knob"]]]:
    """Return each knob with its values and all knobs' positions in the network's range."""
    knobs = network.spec.knobs
    usual = default_positions(knobs)
    if not knobs:
        return [(None, (0.0,), usual)]
    rows: list[tuple[Knob | None, tuple[float, ...], Tensor]] = []
    for index, knob in enumerate(knobs):
        positions = usual.repeat(len(POSITIONS), 1)
        positions[:, index] = torch.tensor(POSITIONS)
        rows.append((knob, tuple(knob.from_network(p) for p in POSITIONS), positions))
    return rows


def _answers(
    network: EffectModel, dry: Float[Tensor, "tone time"], positions: Float[Tensor, "tone knob"]
) -> Float[Tensor, "tone time"]:
    with torch.inference_mode():
        parts: Sequence[Tensor] = [
            network(some[:, None], knobs)[:, 0]
            for some, knobs in zip(
                dry.float().split(AT_A_TIME), positions.split(AT_A_TIME), strict=True
            )
        ]
    return torch.cat(list(parts))


def _sine(samples: int, rate: int) -> Float[Tensor, " time"]:
    hz = min(TONE_HZ, rate / 8)
    return torch.sin(2 * math.pi * hz * torch.arange(samples, dtype=torch.float64) / rate).float()


def _powers(audio: Tensor, window: int) -> Float[Tensor, "tone point"]:
    whole = audio[:, : audio.shape[-1] // window * window]
    return whole.double().unflatten(-1, (-1, window)).square().mean(dim=-1)
