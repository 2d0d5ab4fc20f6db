"""Time that each reference effect takes, in times real time of mono on one core.

python benchmarks/effects.py [--seconds 20] [--block 0] [--json FILE]
"""

from __future__ import annotations

import time

import torch
from measure import parser, report

from audiform.effects import EFFECTS

RATE = 44100


def dry(seconds: float) -> torch.Tensor:
    """Return noise that is struck twice a second, so that a compressor has something to do."""
    length = int(seconds * RATE)
    decay = torch.exp(-(torch.arange(length) % (RATE // 2)) / 4000.0)
    return 0.3 * torch.randn(length, generator=torch.Generator().manual_seed(0)) * decay


def times_real_time(name: str, audio: torch.Tensor, block: int) -> float:
    """Return seconds of audio per second of processor time, the best of three runs."""
    best = float("inf")
    for _ in range(3):
        started, state = time.process_time(), None
        for part in audio.split(block or len(audio)):
            _, state = EFFECTS[name].step(part, state, RATE)
        best = min(best, time.process_time() - started)
    return len(audio) / RATE / best


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--seconds", type=float, default=20.0)
    arguments.add_argument("--block", type=int, default=0, help="samples; 0: all in one")
    given = arguments.parse_args()
    torch.set_num_threads(1)
    audio = dry(given.seconds)
    rows: dict[str, str | float] = {
        name: round(times_real_time(name, audio, given.block)) for name in EFFECTS
    }
    report("Reference effects, times real time", rows, given.json)


if __name__ == "__main__":
    main()
