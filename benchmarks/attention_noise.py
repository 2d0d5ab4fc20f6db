"""What SignalTrain adds that is not there: the published network against the cured one.

python benchmarks/attention_noise.py RUNS [--steps 300] [--json FILE] [--svg FILE]

Both learn the compressor of attention_pays.py for so many steps of batch 200, each at the rate
that was best for it in short runs, and so does the one with attention. Then they play silence
and a steady tone, to which the true answer is known: what is left beside the tone and its harmonics
is noise. A comb at 44100 / 2048 = 21.5 Hz, around each harmonic, shows as a power of that noise
that swings with the blocks; no whole number of the tone's periods fits into one. The cured ones
play twice: answers side by side, and answers that overlap (the option ``overlap``, no training).
"""

from __future__ import annotations

import argparse
import math
from dataclasses import replace
from pathlib import Path

import measure
import torch
from attention_pays import PLACES, TASK, pools
from attention_training import RATE, Run, Training
from torch import Tensor

from audiform.effects import find_effect
from audiform.evaluation import line_chart as chart
from audiform.knob import settings_to_network
from audiform.metrics.effects_noise import (
    level_by_position_db,
    periodic_share,
    residual_noise,
)
from audiform.models.signaltrain import SignalTrainConfig
from audiform.nn.chunked_effect import ChunkedEffect

BLOCK = 2048

#: Answers that each sample is the average of.
OVERLAPS = {"published": (1,), "cured": (1, 4), "attention": (1, 4)}

#: Highest rates. The published network's transforms come apart at 3e-3.
RATES = {"published": 1e-3, "cured": 3e-3, "attention": 4e-3}

#: Played for so long; the first part, in which states settle, does not count.
SECONDS, SETTLING_SECONDS = 4.0, 1.0

#: A steady tone: Hz and peak.
TONE_HZ, TONE_PEAK = 1003.7, 0.5

#: Settings that are played, of threshold, ratio, attack and release.
SETTINGS = (
    {"threshold_db": -20.0, "ratio": 3.0, "attack_ms": 5.0, "release_ms": 20.0},
    {"threshold_db": -28.0, "ratio": 5.0, "attack_ms": 30.0, "release_ms": 38.0},
    {"threshold_db": 0.0, "ratio": 1.0, "attack_ms": 20.0, "release_ms": 20.0},
)


def planned(steps: int) -> list[Run]:
    """Return the three runs."""
    published = SignalTrainConfig.published(knobs=()).model_dump(exclude={"knobs", "sample_rate"})
    networks = {
        "published": ("signaltrain", published),
        "cured": ("signaltrain", {}),
        "attention": ("signaltrain-attention", {"chunk_samples": 8192, "shrink_factor": 4}),
    }
    return [
        Run(f"noise-{name}-{steps}", network, steps=steps, rate=RATES[name], options=options)
        for name, (network, options) in networks.items()
    ]


def residual(network: ChunkedEffect, dry: Tensor, settings: dict[str, float]) -> tuple[Tensor, ...]:
    """Return what the network and what the compressor make of a sound, past its beginning."""
    knobs = settings_to_network(network.knobs, settings)[None]
    with torch.inference_mode():
        wet = network.eval()(dry[None], knobs)[0]
    true = find_effect(TASK.effect).apply(dry, RATE, **settings)
    start = round(SETTLING_SECONDS * RATE) // BLOCK * BLOCK
    return wet[:, start:], true[:, start:]


def noise_only(error: Tensor) -> Tensor:
    """Return an error to a tone without the tone itself and its harmonics.

    They are what a wrong gain leaves, in level and within a period; the rest is noise.
    """
    length = error.shape[-1]
    steps = torch.arange(length, dtype=torch.float64)
    phases = 2 * math.pi * TONE_HZ / RATE * steps
    harmonics = range(1, int(RATE / 2 / TONE_HZ) + 1)
    basis = torch.stack([f(k * phases) for k in harmonics for f in (torch.sin, torch.cos)], dim=1)
    basis = torch.cat([basis, torch.ones_like(basis[:, :1])], dim=1)
    fitted = torch.linalg.lstsq(basis, error.double().T).solution
    return error.double() - (basis @ fitted).T


def swing_share(noise: Tensor) -> float:
    """Return the share of the swing of a noise's power that repeats with the blocks.

    Towards 1 where nothing but the blocks makes it swing, 1 / n for a noise over n blocks. Under a
    tone the noise itself does not repeat: what blocks do is to make it louder and softer.
    """
    power = noise.square()
    return periodic_share(power - power.mean(), period_samples=BLOCK).item()


def figures(network: ChunkedEffect) -> tuple[dict[str, float], Tensor]:
    """Return levels, means over the settings, and the noise under the tone by place in a block."""
    steps = torch.arange(round(SECONDS * RATE))
    tone = TONE_PEAK * torch.sin(2 * math.pi * TONE_HZ / RATE * steps.double()).float()[None]
    sums: dict[str, float] = {}
    places = []
    for settings in SETTINGS:
        silent, true = residual(network, torch.zeros_like(tone), settings)
        wet, wanted = residual(network, tone, settings)
        noise = noise_only(wet - wanted)
        found = {
            "silence, dB": residual_noise(
                estimate=silent, reference=true, sample_rate=RATE
            ).level_db,
            "tone: error, dB": residual_noise(
                estimate=wet, reference=wanted, sample_rate=RATE
            ).level_db,
            "tone: noise, dB": residual_noise(
                estimate=noise, reference=torch.zeros_like(noise), sample_rate=RATE
            ).level_db,
            "tone: noise, dB(A)": residual_noise(
                estimate=noise, reference=torch.zeros_like(noise), sample_rate=RATE
            ).a_weighted_db,
            "tone: swing of its power at 21.5 Hz, share": swing_share(noise),
        }
        places.append(level_by_position_db(noise, period_samples=BLOCK))
        for key, value in found.items():
            sums[key] = sums.get(key, 0.0) + value / len(SETTINGS)
    by_place = torch.stack(places).mean(dim=0)
    sums["tone: loudest over softest part of a block, dB"] = _spread(by_place)
    return sums, by_place


def _spread(by_place: Tensor) -> float:
    sixteenths = by_place.unflatten(0, (16, -1)).mean(dim=1)
    return (sixteenths.max() - sixteenths.min()).item()


def main() -> None:
    """Train, play and print."""
    parser = measure.parser(__doc__)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--svg", type=Path)
    arguments: argparse.Namespace = parser.parse_args()
    torch.set_num_threads(1)
    folder = arguments.runs
    pool, unseen = pools(folder)
    rows: dict[str, str | float] = {}
    lines = []
    for run in planned(arguments.steps):
        training = Training(run, TASK, pool=pool, unseen=unseen, at=PLACES, folder=folder)
        curve = training.finish()
        network, kind = training.network, run.name.split("-")[1]
        rows[f"{kind}: ESR on unseen pairs"] = curve[-1]["esr"]
        for overlap in OVERLAPS[kind]:
            network.frames = replace(network.frames, overlap=overlap)
            name = kind if overlap == 1 else f"{kind}, overlap {overlap}"
            found, by_place = figures(network)
            rows |= {f"{name}: {key}": value for key, value in found.items()}
            smooth = by_place.unflatten(0, (64, -1)).mean(dim=1).tolist()
            points = [(32.0 * k, level) for k, level in enumerate(smooth)]
            lines.append(chart.Line(name, points, color=len(lines)))
    measure.report(f"noise after {arguments.steps} steps", rows, arguments.json)
    if arguments.svg is not None:
        panel = chart.Panel(
            lines, across="place in a block, samples", up="noise under a tone, dB", size=(640, 300)
        )
        arguments.svg.write_text(chart.svg([panel]))


if __name__ == "__main__":
    main()
