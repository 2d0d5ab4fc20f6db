"""Time and memory of attention: sparse by hashing, dense fused, dense with the scores held.

One layer of the spectrum branch of HT Demucs, at the token counts of longer and longer
segments. Each figure comes from a process of its own: seconds of processor time in one thread,
which others on the machine disturb least, and peak memory less that of a process that only makes
the tokens.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from measure import commit, parser, run
from torch import Tensor

from audiform.nn.sparse_attention import SparseAttention, SparseAttentionConfig

SIZE = 64
SECONDS = (7.8, 12.2, 24.4, 48.8)
METHODS = ("sparse", "fused", "held")
#: Copies of scores that the plain form has at once: scores and weights; both and two gradients.
HELD_COPIES = {"forward": 2, "backward": 4}
#: A call that takes longer is not repeated.
LONG_SECONDS = 3.0


def num_tokens(segment_seconds: float) -> int:
    """Return the tokens of the spectrum branch: 8 for each frame of 1024 samples."""
    return 8 * math.ceil(int(segment_seconds * 44100) / 1024)


def held(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Dense attention from scores that are held, as the published network computes it."""
    scores = torch.matmul(queries * SIZE**-0.5, keys.transpose(-1, -2))
    return torch.matmul(scores.softmax(dim=-1), values)


def method(name: str, sparsity: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return a function of queries, keys and values."""
    if name == "sparse":
        return SparseAttention(SparseAttentionConfig(sparsity=sparsity))
    return {"fused": F.scaled_dot_product_attention, "held": held}[name]


def child(options: argparse.Namespace) -> None:
    """Measure one case in this process and write the seconds of each call."""
    backward = options.direction == "backward"

    def tokens(number: int) -> list[Tensor]:
        return [
            torch.randn(1, options.heads, number, SIZE, requires_grad=backward) for _ in range(3)
        ]

    def call(parts: list[Tensor]) -> None:
        with torch.set_grad_enabled(backward):
            attended = attend(*parts)
        if backward:
            torch.autograd.grad(attended, parts, torch.ones_like(attended))

    torch.manual_seed(0)
    torch.set_num_threads(1)
    attend = method("fused" if options.child == "tokens" else options.child, options.sparsity)
    call(tokens(16))
    parts = tokens(options.tokens)
    seconds: list[float] = []
    while options.child != "tokens" and len(seconds) < options.repeats:
        started = time.process_time()
        call(parts)
        seconds.append(time.process_time() - started)
        if seconds[0] > LONG_SECONDS:
            break
    Path(options.times).write_text(json.dumps(seconds))


def available_mb() -> float:
    """Return the memory that is free for use."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) / 2**10
    raise OSError("/proc/meminfo has no MemAvailable; run this on Linux")


def measured(name: str, tokens: int, direction: str, options: argparse.Namespace) -> dict:
    """Return seconds and peak memory of one case, from a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        times = Path(folder) / "times.json"
        done = run(
            sys.executable, __file__, "--child", name, "--tokens", str(tokens),
            "--direction", direction, "--times", str(times),
            "--repeats", str(options.repeats), "--sparsity", str(options.sparsity),
            "--heads", str(options.heads),
        )  # fmt: skip
        seconds = json.loads(times.read_text())
    return {"seconds": statistics.median(seconds or [0.0]), "peak_mb": done.peak_mb}


def main() -> None:
    """Measure all cases and print them as a table."""
    arguments = parser(__doc__ or "")
    arguments.add_argument("--sparsity", type=float, default=0.9)
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--seconds", type=float, nargs="+", default=SECONDS)
    arguments.add_argument("--heads", type=int, default=8, help="one needs an eighth of the memory")
    for name in ("--child", "--direction", "--times"):
        arguments.add_argument(name, help=argparse.SUPPRESS)
    arguments.add_argument("--tokens", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.child:
        child(options)
        return

    machine = f"one thread, {platform.machine()}, torch {torch.__version__}"
    print(f"attention, {options.heads} heads of {SIZE}, sparsity {options.sparsity:g} "
          f"(commit {commit()}; {machine})\n")  # fmt: skip
    print("| segment | tokens | pass | " + " | ".join(f"{name}, s | MB" for name in METHODS) + " |")
    print("|---|---|---|" + "---|---|" * len(METHODS))
    rows = []
    for segment in options.seconds:
        tokens = num_tokens(segment)
        for direction in ("forward", "backward"):
            bare = measured("tokens", tokens, direction, options)["peak_mb"]
            row = {"segment_seconds": segment, "tokens": tokens, "pass": direction}
            cells = []
            for name in METHODS:
                needed = HELD_COPIES[direction] * options.heads * tokens**2 * 4 / 2**20
                if name == "held" and needed > available_mb() / 2:
                    cells.append(f"- | ({needed:.0f})")
                    continue
                case = measured(name, tokens, direction, options)
                case["peak_mb"] = max(0.0, case["peak_mb"] - bare)
                row |= {f"{name}_{key}": value for key, value in case.items()}
                cells.append(f"{case['seconds']:.2f} | {case['peak_mb']:.0f}")
            rows.append(row)
            shown = "forward" if direction == "forward" else "and backward"
            print(f"| {segment:g} s | {tokens} | {shown} | " + " | ".join(cells) + " |", flush=True)
    print("\n(MB) in brackets: not run, what it would need.")
    if options.json is not None:
        content = {"commit": commit(), "machine": machine, "sparsity": options.sparsity}
        options.json.write_text(json.dumps({**content, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
