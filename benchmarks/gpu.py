"""A song through HT Demucs' released shape on a CUDA device, ours and the peer's way.

Needs PyTorch and this package alone: ``PYTHONPATH=src python benchmarks/gpu.py``. Our way is
batches in fp16 with a captured graph, the peer's one segment at a time in fp32 without fused
attention, as ``demucs`` 4.1.0 runs by default. Says the share of the device's peak arithmetic
that is used (MFU), where ``--peak-tflops`` says what that is.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from audiform.audio import Audio
from audiform.inference.backends.choice import signal_to_error_db
from audiform.inference.backends.excerpt import music
from audiform.inference.separator import Separator
from audiform.models.htdemucs import HTDemucs, HTDemucsConfig


def main() -> int:
    """Measure, or say why that is impossible here."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--minutes", type=float, default=4.0)
    arguments.add_argument("--precision", default="fp16", choices=("fp32", "bf16", "fp16"))
    arguments.add_argument("--peak-tflops", type=float, help="dense peak at that precision")
    arguments.add_argument("--repeats", type=int, default=3)
    arguments.add_argument("--json", type=Path)
    options = arguments.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device is usable here, so there is nothing to measure: run this on a "
              "machine with an NVIDIA GPU and a CUDA build of PyTorch")  # fmt: skip
        return 1
    torch.manual_seed(0)
    network = HTDemucs(HTDemucsConfig()).eval()
    rate = network.config.sample_rate
    song = Audio(
        music(audio_channels=2, num_samples=round(60 * options.minutes * rate), sample_rate=rate)[
            0
        ],
        rate,
    )
    reference = Separator(network, device="cuda", backend="torch", precision="fp32", batch_size=1)
    ours = Separator(network, device="cuda", backend="torch", precision=options.precision)
    with sdpa_kernel(SDPBackend.MATH):
        their_seconds, expected = _timed(reference, song, options.repeats)
    our_seconds, found = _timed(ours, song, options.repeats)
    stride = int(0.75 * network.config.segment_samples)
    segments = -(-song.num_samples // stride)
    operations = segments * _operations(network)
    rows: dict[str, float | str] = {
        "device": torch.cuda.get_device_name(),
        "the peer's way: seconds": their_seconds,
        "ours: seconds": our_seconds,
        "ratio": their_seconds / our_seconds,
        "times real time": 60 * options.minutes / our_seconds,
        "signal to error, dB": signal_to_error_db(reference=expected, estimate=found),
        "TFLOP/s": operations / our_seconds / 1e12,
    }
    if options.peak_tflops:
        rows["MFU"] = operations / our_seconds / 1e12 / options.peak_tflops
    for name, value in rows.items():
        print(f"{name:28} {value if isinstance(value, str) else format(value, '.4g')}")
    if options.json:
        options.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def _timed(separator: Separator, song: Audio, repeats: int) -> tuple[float, torch.Tensor]:
    """Return the least seconds of memory to memory, after a run that warms up, and the stems."""
    separator.separate(song).close()
    least = float("inf")
    for _ in range(repeats):
        torch.cuda.synchronize()
        started = time.perf_counter()
        stems = separator.separate(song)
        torch.cuda.synchronize()
        least = min(least, time.perf_counter() - started)
    return least, torch.stack([stems[name].samples for name in stems])


@torch.inference_mode()
def _operations(network: HTDemucs) -> int:
    """Count the floating-point operations of one segment."""
    device = next(network.parameters()).device
    mixture = torch.zeros(1, 2, network.config.segment_samples, device=device)
    with FlopCounterMode(display=False) as counter:
        network.core(*network.analyse(mixture).inputs)
    return counter.get_total_flops()


if __name__ == "__main__":
    sys.exit(main())
