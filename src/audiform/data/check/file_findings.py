"""What is wrong with one file, taken by itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from audiform.data.check.file_scan import FileScan, cause_of
from audiform.data.findings import Finding, Level
from audiform.data.track import INPUT, MIXTURE, TARGET

#: What to do about a file that cannot be read, by its cause.
_CURES = {
    "missing file": "restore it, or correct the list or the folder that names it",
    "empty file": "copy or download it again",
    "zero length": "export it again",
    "NaN or infinity": "export it again; something divided by zero",
    "damaged": "copy or download it again",
    "undecodable": "copy or download it again, or convert it",
}

#: Endings of names -> containers that they may stand for.
_CONTAINERS = {
    ".wav": {"wav", "rf64", "w64"}, ".wave": {"wav", "rf64"}, ".flac": {"flac"}, ".mp3": {"mp3"},
    ".ogg": {"ogg"}, ".oga": {"ogg"}, ".opus": {"ogg", "opus"}, ".aif": {"aiff"},
    ".aiff": {"aiff"}, ".m4a": {"m4a", "mp4", "mov"}, ".mp4": {"m4a", "mp4", "mov"},
}  # fmt: skip

#: Peak below which a file is suspiciously quiet.
QUIET_PEAK = 1e-3

#: Peak below which flat tops are chance: few steps of the quantiser.
CLIPPED_MIN_PEAK = 0.02

#: Share of samples in flat tops that is worth a warning, and that is ruin.
CLIPPED_WARNING, CLIPPED_ERROR = 1e-4, 1e-2

#: A peak from here on is at the end of the scale.
FULL_SCALE = 0.985

#: A constant offset is worth a warning above this, if it is also above this share of the RMS.
DC_WARNING, DC_SHARE_OF_RMS, DC_ERROR = 5e-3, 0.05, 5e-2

#: A channel this much (as a factor) below the other is dead.
DEAD_CHANNEL = 1e-3

#: Share of the energy that may be left in the difference of two equal channels.
EQUAL_CHANNELS = 1e-6


def file_findings(scan: FileScan, track: str) -> Iterator[Finding]:
    """Yield what is wrong with a file."""
    found = partial(Finding, track=track, path=scan.ref.path)
    if scan.problem is not None:
        cause = cause_of(scan.problem)
        message = scan.problem.rpartition(";")[0] or scan.problem
        yield found(Level.error, cause, message, _CURES[cause])
    if scan.info is None or scan.num_samples == 0:
        return
    suffix, container = scan.ref.path.suffix.lower(), scan.info.container
    if suffix in _CONTAINERS and container not in _CONTAINERS[suffix]:
        yield found(
            Level.warning,
            "wrong extension",
            f"is {container} inside, its name says {suffix}",
            "rename it",
        )
    if scan.is_silent:
        if scan.problem is None:
            yield _silent(scan, track)
        return
    yield from _level_findings(scan, found)
    if scan.source in (INPUT, TARGET):
        return  # a target's drop-outs are told from its pauses by the input
    if scan.dropouts_seconds:
        times = ", ".join(f"{at:.3f} s" for at in sorted(scan.dropouts_seconds)[:3])
        yield found(
            Level.warning,
            "drop-out",
            f"falls silent for moments in the middle of the sound, at {times}"
            + (" and more" if len(scan.dropouts_seconds) > 3 else ""),
            "listen there; export or copy it again",
        )


def _silent(scan: FileScan, track: str) -> Finding:
    needed = scan.source in (MIXTURE, INPUT, TARGET)
    return Finding(
        Level.error if needed else Level.warning,
        f"silent {scan.source}" if needed else "silent stem",
        f"is silent from beginning to end ({scan.num_samples / scan.sample_rate:.1f} s of zeros)",
        "export it again" if needed else "right if the song has no such part; else export it again",
        track=track,
        path=scan.ref.path,
    )


def _level_findings(scan: FileScan, found: partial[Finding]) -> Iterator[Finding]:
    peak = float(scan.peak.max())
    if peak < QUIET_PEAK:
        yield found(
            Level.warning,
            "extremely quiet",
            f"peaks at {20 * np.log10(peak):.0f} dBFS",
            "check the fader it was exported with",
        )
    if scan.clipped_share > CLIPPED_WARNING and peak > CLIPPED_MIN_PEAK:
        # A device that is driven hard cuts its tops off; only the recorder clips at full scale.
        is_effect = scan.source == TARGET and peak < FULL_SCALE
        level = Level.error if scan.clipped_share > CLIPPED_ERROR else Level.warning
        yield found(
            Level.note if is_effect else level,
            "clipped",
            f"has {100 * scan.clipped_share:.2g} % of its samples cut off at "
            f"{20 * np.log10(peak):.1f} dBFS",
            "right if the device does that" if is_effect else "export it with more headroom",
        )
    elif peak > 1.0 and scan.info is not None and scan.info.is_float:
        yield found(
            Level.note,
            "over full scale",
            f"peaks at {20 * np.log10(peak):+.1f} dBFS, which float holds",
            "nothing to do; do not convert it to integers as it is",
        )
    if scan.source in (INPUT, TARGET):
        return  # an offset that comes with the sound is the device's: looked for in its pauses
    offset = float(scan.mean[np.argmax(np.abs(scan.mean))])
    share = float(np.max(np.abs(scan.mean) / np.maximum(scan.rms, 1e-12)))
    if abs(offset) > DC_WARNING and share > DC_SHARE_OF_RMS:
        yield found(
            Level.error if abs(offset) > DC_ERROR else Level.warning,
            "DC offset",
            f"has a constant offset of {offset:+.3f} of full scale",
            "high-pass it at 5 Hz, or subtract the offset",
        )


def dead_channel(scan: FileScan) -> int | None:
    """Return the number (from 1) of a channel that is silent while another one sounds."""
    if scan.is_silent or len(scan.peak) < 2:
        return None
    quietest = int(np.argmin(scan.rms))
    return quietest + 1 if scan.rms[quietest] < DEAD_CHANNEL * scan.rms.max() else None


def is_dual_mono(scan: FileScan) -> bool:
    """Whether two channels hold the same."""
    return len(scan.peak) == 2 and not scan.is_silent and scan.side_share < EQUAL_CHANNELS


def is_opposite(scan: FileScan) -> bool:
    """Whether one of two channels is the other's negative."""
    return len(scan.peak) == 2 and not scan.is_silent and scan.mid_share < 1e-3
