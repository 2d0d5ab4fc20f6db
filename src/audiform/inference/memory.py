"""How much memory a run is going to take, before it begins, and how much it took."""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

import torch

from audiform.errors import DeviceError
from audiform.inference.engine import SegmentRunner

MEGABYTE = 2**20

#: Copies of a segment's stems that a track holds on its way: sums, resampled, encoded.
TRACK_COPIES = 6

#: Share of a GPU's free memory that batches are sized for.
GPU_SHARE = 0.8

#: More segments at once than this gain nothing on any GPU that was measured or read about.
MAX_BATCH = 32


def peak_mb() -> float | None:
    """Return the most memory that this process has held so far, in megabytes; None on Windows."""
    kilobytes = _status("VmHWM")
    if kilobytes is not None:
        return kilobytes / 1024
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (MEGABYTE if sys.platform == "darwin" else 1024)


def fit_into(limit_mb: float, runner: SegmentRunner, *, segment_samples: int) -> None:
    """Lower what ``runner`` does at once until it stays below ``limit_mb``, process and all.

    One segment is run to find out. Raises :class:`DeviceError` where even that takes more.
    """
    spec = runner.model.spec
    stems_mb = 4 * len(spec.sources) * spec.audio_channels * segment_samples / MEGABYTE
    before, peak = _peak_of_one_segment(runner, segment_samples)
    floor = peak + TRACK_COPIES * stems_mb
    if floor > limit_mb:
        raise DeviceError(
            f"at most {limit_mb:.0f} MB of memory were asked for, and one segment of "
            f"{segment_samples / spec.sample_rate:.1f} s takes {floor:.0f} MB with this model; "
            "raise --max-memory, or choose a shorter --segment"
        )
    at_once = 1 + int((limit_mb - floor) / max(peak - before, 1.0))
    runner.num_workers = min(runner.num_workers, at_once)
    runner.batch_size = min(runner.batch_size, at_once // runner.num_workers)


def _peak_of_one_segment(runner: SegmentRunner, segment_samples: int) -> tuple[float, float]:
    """Return the memory held before a segment is run, and the peak while it is, in megabytes."""
    _give_back_freed()
    before = (_status("VmRSS") or 0) / 1024
    _forget_peak()
    runner([torch.zeros(runner.model.spec.audio_channels, segment_samples)])
    peak = peak_mb()
    if peak is None:
        raise DeviceError("--max-memory was asked for, and how much a process holds cannot be "
                          "found out on Windows; leave it out, or use WSL")  # fmt: skip
    return before, peak


def gpu_batch_size(runner: SegmentRunner, *, segment_samples: int) -> int:
    """Return how many segments fit into the free memory of a CUDA device: one is run to see."""
    device = runner.device
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    runner([torch.zeros(runner.model.spec.audio_channels, segment_samples)])
    each = max(1, torch.cuda.max_memory_allocated(device) - before)
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, min(MAX_BATCH, int(GPU_SHARE * free / each)))


def _status(field: str) -> int | None:
    """Return a field of Linux' ``/proc/self/status`` in kilobytes; None elsewhere."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    return None


def _forget_peak() -> None:
    """Begin a new peak, where the system lets a process do so; otherwise the old one stands."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return


def _give_back_freed() -> None:
    """Have glibc return what was freed, so that it is not counted as held."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
