"""What each learned effect makes of a compressor with four knobs in equal time.

python benchmarks/effect_learning.py [--seconds 60] [--effect compressor] [--json FILE]

Same pairs, same order, Adam at each network's own rate, so many seconds of processor time on one
core for each, and settings for the score that were not trained on. "dry" is the score of doing
nothing.
"""

from __future__ import annotations

import time

import measure
import torch
from torch import Tensor

from audiform.data.effect_pairs import EffectPairs, RenderedEffect
from audiform.metrics.effects import esr
from audiform.models import MODELS

#: Look-back, answered samples and look-ahead of the published chunk.
CONTEXT, OUTPUT, AHEAD = 6144, 2048, 1024
RATE, BATCH, POOL = 44100, 16, 40
LEARNING_RATES = {"gain-tcn": 4e-3, "signaltrain": 1e-3, "signaltrain-attention": 1e-3}

OPTIONS = {
    "gain-tcn": {"look_back_seconds": CONTEXT / RATE},
    "signaltrain": {},
    "signaltrain-attention": {"chunk_samples": 8192, "shrink_factor": 4},
}


def pairs(effect: str, *, seed: int, batches: int) -> list[dict[str, Tensor]]:
    """Return batches of dry and wet sound and knobs."""
    examples = EffectPairs(
        RenderedEffect(effect),
        samples=CONTEXT + OUTPUT + AHEAD,
        sample_rate=RATE,
        seed=seed,
        draw_size=BATCH,
    )
    return [examples(index) for index in range(batches)]


def answer(network: torch.nn.Module, batch: dict[str, Tensor]) -> Tensor:
    """Return the wet end of the published chunk."""
    ahead = network.spec.latency_samples
    dry = batch["dry"][..., : CONTEXT + OUTPUT + ahead]
    return network.predict(dry, batch["knobs"])[..., -OUTPUT:]


def wanted(batch: dict[str, Tensor], name: str = "wet") -> Tensor:
    """Return what the answer should be."""
    return batch[name][..., CONTEXT : CONTEXT + OUTPUT]


def train(
    network: torch.nn.Module, batches: list[dict[str, Tensor]], *, rate: float, seconds: float
) -> int:
    """Train for so much processor time, the rate falling to nothing; return the steps."""
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    began, steps = time.process_time(), 0
    while (share := (time.process_time() - began) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - share)
        batch = batches[steps % len(batches)]
        loss = (answer(network, batch) - wanted(batch)).abs().mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        steps += 1
    return steps


def main() -> None:
    """Train every effect of the table and print."""
    parser = measure.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--effect", default="compressor")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    batches = pairs(arguments.effect, seed=1, batches=POOL)
    unseen = pairs(arguments.effect, seed=2, batches=4)
    knobs = RenderedEffect(arguments.effect).knobs
    target = torch.cat([wanted(batch) for batch in unseen]).reshape(1, -1)
    dry = torch.cat([wanted(batch, "dry") for batch in unseen]).reshape(1, -1)
    rows: dict[str, str | float] = {
        "dry: ESR": esr(estimate=dry, reference=target).item(),
    }
    for name, options in OPTIONS.items():
        torch.manual_seed(0)
        entry = MODELS[name]
        network = entry.network(entry.config(knobs=tuple(knobs), **options))
        rate = LEARNING_RATES[name]
        steps = train(network, batches, rate=rate, seconds=arguments.seconds)
        with torch.no_grad():
            found = torch.cat([answer(network.eval(), batch) for batch in unseen]).reshape(1, -1)
        score = esr(estimate=found, reference=target).item()
        rows[f"{name}: ESR"] = f"{score:.4g} after {steps} steps"
    measure.report(f"{arguments.effect}, {arguments.seconds:g} s each", rows, arguments.json)


if __name__ == "__main__":
    main()
