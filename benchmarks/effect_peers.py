"""What each learned effect makes of one set of recordings in equal time, next to its peers.

python benchmarks/effect_peers.py DIR [--seconds 300] [--networks gain-tcn lstm-32] [--json FILE]
python benchmarks/effect_peers.py --effect compressor --inputs FILE... [--settings 24] [...]
python benchmarks/effect_peers.py --effect compressor --inputs FILE... --render-to FOLDER

DIR is any layout that ``audiform effect train`` reads; without recordings for validation the
last ``--valid-share`` of each is held out and scored. With ``--effect`` the set is rendered:
excerpts of the inputs at random settings, and for the score other excerpts at others;
``--render-to`` leaves it in a folder for ``audiform effect train``, and stops. All
networks see the same pairs through the same loss, Adam at each one's own rate falling to
nothing, so many seconds of processor time on one core, a first fit included. MAC is per sample,
of one channel; what knobs alone decide is not counted.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import numpy as np
import soundfile
import torch

from audiform.data.effect_examples import RecordedExamples
from audiform.data.effect_recordings import (
    Recordings,
    ScoredPart,
    read_recordings,
)
from audiform.effects import find_effect
from audiform.evaluation.effect_scores import MODEL, mean_scores, score_takes
from audiform.models import MODELS
from audiform.models.effect_tcn import EffectTCNConfig
from audiform.models.nam_wavenet import NamWaveNetConfig
from audiform.recipes.effect import effect_run, fitted_material
from audiform.training.effect import EffectLossConfig, EffectObjective
from audiform.training.effect_start import GainAndFilter, fit_start

#: Seconds of an excerpt of a rendered set.
EXCERPT_SECONDS = 5.0

#: An excerpt sounds where its peak is higher than this; so often one is looked for.
SOUNDING, TRIES = 0.05, 20

#: Steps of the gain in each turn of a first fit.
FIT_STEPS = 100


@dataclass(frozen=True)
class Peer:
    """A network, and how its users train it: rate of Adam, pieces of a batch, their length."""

    architecture: str
    options: dict[str, Any]
    rate: float
    batch_size: int
    segment_samples: int


def _shape(config: EffectTCNConfig | NamWaveNetConfig) -> dict[str, Any]:
    return config.model_dump(exclude={"knobs", "sample_rate"})


#: Recurrent networks are trained on the end of pieces whose first part only sets their state.
WARMED_UP = {"look_back_seconds": 0.025}

#: What ``audiform effect train`` sets of GainTCN, with a look-back for fast effects.
GAIN_AND_FILTER = {**effect_run().network, "look_back_seconds": 0.15}

PEERS = {
    "gain-tcn": Peer("gain-tcn", GAIN_AND_FILTER, 3e-3, 4, 8192),
    "gain-tcn-8": Peer("gain-tcn", {**GAIN_AND_FILTER, "hidden_channels": 8}, 3e-3, 4, 8192),
    "lstm-32": Peer("effect-rnn", {"hidden_channels": 32, **WARMED_UP}, 5e-3, 32, 2048),
    "lstm-40": Peer("effect-rnn", {"hidden_channels": 40, **WARMED_UP}, 5e-3, 32, 2048),
    "tcn-300": Peer("effect-tcn", _shape(EffectTCNConfig.published(300)), 3e-3, 4, 16384),
    "wavenet": Peer("nam-wavenet", _shape(NamWaveNetConfig.published("standard")), 4e-3, 8, 8192),
    "a2-lite": Peer("nam-wavenet", _shape(NamWaveNetConfig.published("a2-lite")), 4e-3, 8, 8192),
}


def render(effect: str, inputs: list[Path], folder: Path, *, settings: int) -> None:
    """Write excerpts of ``inputs`` through an effect, a quarter as many again for the score."""
    chosen, rng = find_effect(effect), np.random.default_rng(0)
    names = [knob.name for knob in chosen.knobs]
    ranges = [[knob.minimum, knob.maximum] for knob in chosen.knobs]
    for split, count in (("Train", settings), ("Val", max(4, settings // 4))):
        place = folder / split
        place.mkdir(parents=True)
        for number in range(count):
            dry, rate = excerpt(inputs[number % len(inputs)], rng, late=split == "Val")
            values = {
                knob.name: float(f"{knob.from_network(rng.uniform(-0.5, 0.5)):.4g}")
                for knob in chosen.knobs
            }
            wet = chosen.apply(torch.from_numpy(dry)[None], rate, **values)[0].numpy()
            written = "__".join(f"{value:g}" for value in values.values())
            soundfile.write(place / f"input_{number}_.wav", dry, rate, subtype="FLOAT")
            target = place / f"target_{number}_{effect}__{written}.wav"
            soundfile.write(target, wet, rate, subtype="FLOAT")
    info = f"[effect]\nname = {effect}\nknob_names = {names}\nknob_ranges = {ranges}\n"
    (folder / "effect_info.ini").write_text(info)


def excerpt(path: Path, rng: np.random.Generator, *, late: bool) -> tuple[np.ndarray, int]:
    """Return mono sound from the last third of a file, or from what is before it."""
    info = soundfile.info(path)
    length = round(EXCERPT_SECONDS * info.samplerate)
    border = info.frames * 2 // 3
    first, last = (border, info.frames - length) if late else (0, border - length)
    for _ in range(TRIES):
        start = int(rng.integers(first, max(first, last) + 1))
        sound, rate = soundfile.read(path, length, start, dtype="float32", always_2d=True)
        mono = sound.mean(axis=1)
        if np.abs(mono).max() > SOUNDING:
            break
    # As loud as recordings are, so that a compressor has something to do.
    return mono * np.float32(rng.uniform(0.3, 0.95) / max(np.abs(mono).max(), 1e-3)), rate


def build(peer: Peer, recordings: Recordings) -> tuple[Any, float]:
    """Return the network with its first weights, which least squares give where they can, and
    the rate to train it at."""
    entry = MODELS[peer.architecture]
    torch.manual_seed(0)
    given = {"knobs": recordings.knobs, "sample_rate": recordings.sample_rate}
    network = entry.network(entry.config(**peer.options, **given))
    if not isinstance(network, GainAndFilter):
        return network, peer.rate
    left = fit_start(network, fitted_material(recordings), steps=FIT_STEPS)
    return network, peer.rate * effect_run().rate_factor(left)


def train(network: Any, peer: Peer, recordings: Recordings, *, rate: float, seconds: float) -> int:
    """Train for so much processor time; return the steps."""
    spec, takes = network.spec, recordings.of("train")
    longest = max(stop - start for take in takes for start, stop in take.spans)
    examples = RecordedExamples(
        takes,
        recordings.knobs,
        context_samples=spec.context_samples,
        segment_samples=min(peer.segment_samples, longest),
        ahead_samples=spec.latency_samples,
    )
    objective = EffectObjective(EffectLossConfig())
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    network.train()
    began, steps = time.process_time(), 0
    while (share := (time.process_time() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * 0.5 * (1 + math.cos(math.pi * share))
        drawn = [examples(steps * peer.batch_size + index) for index in range(peer.batch_size)]
        batch = {name: torch.cat([piece[name] for piece in drawn]) for name in drawn[0]}
        loss = objective(network, batch, torch.Generator())["loss"]
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        steps += 1
    network.eval()
    return steps


def multiplications(network: torch.nn.Module) -> int:
    """Return MAC per sample: each weight once, but for those that only knobs pass through."""
    # A filter's shapes are what knobs add to its taps.
    return sum(
        parameter.numel()
        for name, parameter in network.named_parameters()
        if name.endswith("taps")
        or (parameter.ndim > 1 and "from_" not in name and not name.endswith("shapes"))
    )


def shown(scores: dict[str, float | None]) -> str:
    """Return ESR, ESR after pre-emphasis and gain-curve error as a cell."""
    numbers = [scores[name] for name in ("esr", "esr_pre", "gain_error_db")]
    return ", ".join("-" if number is None else f"{number:.4g}" for number in numbers)


def arguments() -> argparse.Namespace:
    """Return what was asked for."""
    parser = measure.parser(__doc__)
    parser.add_argument("data", type=Path, nargs="?")
    parser.add_argument("--effect")
    parser.add_argument("--inputs", type=Path, nargs="+", default=[])
    parser.add_argument("--settings", type=int, default=24)
    parser.add_argument("--render-to", metavar="FOLDER", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--valid-share", type=float, default=0.3)
    parser.add_argument("--score-only", metavar="PERIOD:START:STOP", help="as effect train has it")
    parser.add_argument("--networks", nargs="+", choices=PEERS, default=list(PEERS))
    found = parser.parse_args()
    if (found.data is None) == (found.effect is None) or bool(found.effect) != bool(found.inputs):
        parser.error("give DIR, or --effect and --inputs")
    return found


def main() -> None:
    """Train every peer and print."""
    asked = arguments()
    torch.set_num_threads(1)
    if asked.render_to is not None:
        render(asked.effect, asked.inputs, asked.render_to, settings=asked.settings)
        return
    with tempfile.TemporaryDirectory() as folder:
        data = asked.data
        if data is None:
            data = Path(folder) / "rendered"
            render(asked.effect, asked.inputs, data, settings=asked.settings)
        recordings = read_recordings(
            data,
            cache_folder=Path(folder) / "cache",
            valid_share=asked.valid_share,
            scored=ScoredPart.parse(asked.score_only) if asked.score_only else None,
        )
        rows: dict[str, str | float] = {"": "ESR, ESR-pre, gain-curve error in dB"}
        for name in asked.networks:
            peer, began = PEERS[name], time.process_time()
            network, rate = build(peer, recordings)
            left = asked.seconds - (time.process_time() - began)
            steps = train(network, peer, recordings, rate=rate, seconds=left)
            scores = mean_scores(
                score_takes(
                    network,
                    recordings.of("valid"),
                    recordings.of("train"),
                    recordings.knobs,
                    sample_rate=recordings.sample_rate,
                )
            )
            rows |= {floor: shown(row) for floor, row in scores.items() if floor != MODEL}
            weights = sum(parameter.numel() for parameter in network.parameters())
            cost = f"{multiplications(network)} MAC, {weights} weights, {steps} steps"
            rows[name] = f"{shown(scores[MODEL])}; {cost}"
            # After each, so that what was measured is kept.
            title = f"{asked.effect or data.name}, {asked.seconds:g} s each"
            measure.report(title, rows, asked.json)


if __name__ == "__main__":
    main()
