"""How many times faster than real time learned effects run, block by block on one core.

python benchmarks/effect_realtime.py [--blocks 64 128 512] [--seconds 2] [--json FILE]

Each block is timed alone. The fastest is what the code takes; the median is what this machine,
with all else that runs on it, gave it.
"""

from __future__ import annotations

import time
from statistics import median

import measure
import torch

from audiform.knob import Knob
from audiform.models import MODELS

KNOBS = tuple(Knob(name=f"knob_{n}", minimum=0.0, maximum=1.0, default=0.0) for n in range(4))


@torch.inference_mode()
def block_times(network: torch.nn.Module, block_samples: int, seconds: float) -> list[float]:
    """Return the time that each block of ``seconds`` of audio took."""
    count = max(20, round(seconds * network.spec.sample_rate / block_samples))
    audio = 0.1 * torch.randn(count, 1, 1, block_samples)
    knobs = torch.zeros(1, len(KNOBS))
    times, state = [], network.initial_state()
    for block in audio:
        started = time.perf_counter()
        _, state = network.step(block, knobs, state)
        times.append(time.perf_counter() - started)
    return times


def main() -> None:
    """Time every effect of the table and print."""
    parser = measure.parser(__doc__)
    parser.add_argument("--blocks", type=int, nargs="+", default=[64, 128, 512])
    parser.add_argument("--seconds", type=float, default=2.0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows: dict[str, str | float] = {}
    for name, entry in MODELS.items():
        if not entry.is_effect:
            continue
        network = entry.network(entry.config(knobs=KNOBS)).eval()
        own = network.spec.block_samples
        for size in arguments.blocks if own == 1 else [own]:
            times = block_times(network, size, arguments.seconds)
            audio = size / network.spec.sample_rate
            rows[f"{name}, blocks of {size}"] = (
                f"{audio / min(times):.1f} x at best, {audio / median(times):.1f} x in the median"
            )
    measure.report("Learned effects, times real time on one core", rows, arguments.json)


if __name__ == "__main__":
    main()
