"""How near the frame networks come to the speed of plain matrix products on this machine.

Floating-point operations of products and convolutions, counted by torch, over the processor
time of a run, against a product of two large matrices of the same type just before and after:
one thread, best of several, so that others on the machine disturb least. ``--wall`` measures
wall time with all threads instead. Freed memory is kept, as the command line does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from contextlib import nullcontext

import torch
from measure import parser, report
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from audiform.cli.allocator import keep_freed_memory
from audiform.models.frame_primer import FramePrimer, FramePrimerConfig
from audiform.models.frame_transformer import FrameTransformer, FrameTransformerConfig
from audiform.nn.magnitude_masks import MagnitudeMaskModel

PEAK_SIZE = 2048
#: A step has the products of the forward pass once more for each of the two gradients. (torch
#: counts those of depthwise convolutions as if they were not depthwise.)
TRAINING_PASSES = 3
TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def network(name: str) -> MagnitudeMaskModel:
    """Return a network of its described size, weights at random."""
    torch.manual_seed(0)
    if name == "frame-transformer":
        return FrameTransformer(FrameTransformerConfig())
    return FramePrimer(FramePrimerConfig())


def best_seconds(call: Callable[[], object], clock: Callable[[], float], repeats: int) -> float:
    """Return the least time of a call; the first one is not counted."""
    call()
    times = []
    for _ in range(repeats):
        started = clock()
        call()
        times.append(clock() - started)
    return min(times)


def peak_flops(dtype: torch.dtype, clock: Callable[[], float]) -> float:
    """Return operations per second of a product of two large matrices."""
    left, right = (torch.randn(PEAK_SIZE, PEAK_SIZE, dtype=dtype) for _ in range(2))
    with torch.inference_mode():
        return 2 * PEAK_SIZE**3 / best_seconds(lambda: left @ right, clock, 5)


def count_flops(call: Callable[[], object]) -> int:
    """Return the operations of a call; attention is counted in its plain form."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        call()
    return counter.get_total_flops()


def inference(model: MagnitudeMaskModel, magnitudes: Tensor) -> Callable[[], object]:
    """Return a run of the network alone."""

    def call() -> object:
        with torch.inference_mode():
            return model.core(magnitudes)

    return call


def training(model: nn.Module, magnitudes: Tensor, *, mixed: bool) -> Callable[[], object]:
    """Return forward, backward and the optimiser's step, as the trainer does them."""
    optimiser = torch.optim.AdamW(model.parameters())

    def call() -> None:
        autocast = torch.autocast("cpu", torch.bfloat16) if mixed else nullcontext()
        with autocast, sdpa_kernel(SDPBackend.MATH):
            (masks,) = model.core(magnitudes)
        optimiser.zero_grad(set_to_none=True)
        (masks[:, 0] * magnitudes).mean().backward()
        optimiser.step()

    return call


def measured(name: str, options: argparse.Namespace) -> dict[str, str | float]:
    """Return the rows of one network."""
    clock = time.perf_counter if options.wall else time.process_time
    rows: dict[str, str | float] = {}
    for kind, dtype in TYPES.items():
        for mode in ("inference", "training") if options.training else ("inference",):
            model = network(name)
            magnitudes = torch.rand(1, 2, model.config.num_bins, options.frames)
            if mode == "inference":
                call = inference(model.eval().to(dtype), magnitudes.to(dtype))
            else:
                call = training(model.train(), magnitudes, mixed=kind == "bf16")
            forward = count_flops(inference(model, magnitudes.to(next(model.parameters()).dtype)))
            flops = forward if mode == "inference" else TRAINING_PASSES * forward
            before = peak_flops(dtype, clock)
            seconds = best_seconds(call, clock, options.repeats)
            peak = max(before, peak_flops(dtype, clock))
            rate = flops / seconds
            rows[f"{name} {kind} {mode}"] = (
                f"{flops / 1e9:.1f} GFLOP in {seconds:.3f} s: {rate / 1e9:.0f} GFLOP/s, "
                f"{rate / peak:.2f} of {peak / 1e9:.0f}"
            )
    return rows


def main() -> None:
    """Measure the networks asked for."""
    arguments = parser(__doc__ or "")
    arguments.add_argument(
        "--networks", nargs="+", default=["frame-transformer"],
        choices=["frame-transformer", "frame-primer"],
    )  # fmt: skip
    arguments.add_argument("--frames", type=int, default=512)
    arguments.add_argument("--repeats", type=int, default=5)
    arguments.add_argument("--training", action="store_true", help="training steps as well")
    arguments.add_argument("--wall", action="store_true", help="wall time, all threads")
    options = arguments.parse_args()
    keep_freed_memory()
    if not options.wall:
        torch.set_num_threads(1)
    rows: dict[str, str | float] = {"frames": options.frames}
    for name in options.networks:
        rows |= measured(name, options)
    report("share of the matrix product's speed", rows, options.json)


if __name__ == "__main__":
    main()
