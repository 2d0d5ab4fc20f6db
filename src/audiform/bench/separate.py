"""``separate`` against the published ``demucs``: the same weights, file and machine, in turn."""

from __future__ import annotations

import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch

from audiform.bench.process import FinishedProcess, run_process
from audiform.checkpoints import export_th, read_checkpoint, write_checkpoint
from audiform.errors import ConfigError
from audiform.inference.backends.excerpt import music
from audiform.models.htdemucs import HTDemucs, HTDemucsConfig

#: Flags that make both programs write what they calculated, and draw no random shift.
PLAIN = ("-d", "cpu", "--shifts", "0", "--float32", "--clip-mode", "none")

#: What makes ours the reference: torch in float32, Demucs' offset in every stem.
EXACT = ("--backend", "torch", "--precision", "fp32", "--compat", "demucs")


@dataclass(frozen=True)
class Comparison:
    """Medians over the runs of both programs on one file, and how far the stems lie apart.

    ``speed_ratio`` above 1: ours is faster. ``error_norm`` is the norm of the difference over
    that of the peer's stems, ``largest_difference`` is relative to the peak of the peer's.
    """

    audio_seconds: float
    runs: int
    our_seconds: float
    their_seconds: float
    speed_ratio: float
    our_processor_seconds: float
    their_processor_seconds: float
    our_peak_mb: float
    their_peak_mb: float
    error_norm: float
    largest_difference: float


def compare_with_demucs(
    *,
    songs: Sequence[Path],
    model: str,
    repo: Path,
    folder: Path,
    repeats: int,
    exact: bool = False,
    peer_calls_per_song: bool = False,
    python: str = sys.executable,
    on_run: Callable[[str, FinishedProcess], None] | None = None,
) -> Comparison:
    """Separate ``songs`` with ``model`` of ``repo`` by both programs, ``repeats`` times in turn.

    One untimed run of ours comes first: it prepares the network for the machine, which is done
    once. ``exact`` compares in torch and float32, else ours chooses. ``peer_calls_per_song``
    starts the peer once for each song, ours always once. ``python`` is the interpreter that has
    ``demucs``; ``folder`` takes the stems. Raises :class:`ConfigError` for a peer that is absent
    or a program that fails.
    """
    check_peer(python)
    names = [str(song) for song in songs]
    common = ["-n", model, "--repo", str(repo), *PLAIN]
    ours = [sys.executable, "-m", "audiform", "separate", *common, *(EXACT if exact else ()),
            "-o", str(folder / "ours"), *names]  # fmt: skip
    peer = [python, "-m", "demucs", *common, "-o", str(folder / "theirs")]
    theirs = [[*peer, name] for name in names] if peer_calls_per_song else [[*peer, *names]]
    run_process(ours)
    timings: dict[str, list[FinishedProcess]] = {"ours": [], "theirs": []}
    for _ in range(repeats):
        for who, commands in (("theirs", theirs), ("ours", [ours])):
            done = _together([run_process(command) for command in commands])
            timings[who].append(done)
            if on_run is not None:
                on_run(who, done)
    seconds = {who: statistics.median(r.seconds for r in runs) for who, runs in timings.items()}
    processor = {
        who: statistics.median(r.processor_seconds for r in runs) for who, runs in timings.items()
    }
    peaks = {who: max(r.peak_mb for r in runs) for who, runs in timings.items()}
    error, largest = _distance(folder / "theirs" / model, folder / "ours" / model)
    return Comparison(
        audio_seconds=sum(soundfile.info(song).duration for song in names),
        runs=repeats,
        our_seconds=seconds["ours"],
        their_seconds=seconds["theirs"],
        speed_ratio=seconds["theirs"] / seconds["ours"],
        our_processor_seconds=processor["ours"],
        their_processor_seconds=processor["theirs"],
        our_peak_mb=peaks["ours"],
        their_peak_mb=peaks["theirs"],
        error_norm=error,
        largest_difference=largest,
    )


def check_peer(python: str) -> None:
    """Raise :class:`ConfigError` unless an interpreter is there and has ``demucs``."""
    cure = (
        'give the interpreter of an environment with it by --python (pip install "demucs==4.1.0")'
    )
    try:
        done = subprocess.run(
            [python, "-c", "import importlib.util as u; assert u.find_spec('demucs')"],
            capture_output=True,
        )
    except OSError as error:
        raise ConfigError(f"{python} cannot be run ({error.strerror}); {cure}") from error
    if done.returncode:
        raise ConfigError(f"{python} has no package demucs to compare with; {cure}")


def write_random_htdemucs(folder: Path) -> str:
    """Write a network of the released shape with random weights; return its signature.

    Speed and equality do not depend on what the weights say.
    """
    torch.manual_seed(0)
    config = HTDemucsConfig()
    folder.mkdir(parents=True, exist_ok=True)
    ours = write_checkpoint(
        folder / "ours.safetensors",
        architecture="htdemucs",
        config=config,
        state=HTDemucs(config).state_dict(),
        sources=config.sources,
        sample_rate=config.sample_rate,
    )
    path = export_th(read_checkpoint(ours), folder)
    ours.unlink()
    return path.name.partition("-")[0]


def write_song(path: Path, *, seconds: float, sample_rate: int = 44100) -> Path:
    """Write made-up music, stereo, 16 bits."""
    samples = music(
        audio_channels=2, num_samples=round(seconds * sample_rate), sample_rate=sample_rate
    )[0]
    soundfile.write(path, 0.1 * samples.t().numpy(), sample_rate, subtype="PCM_16")
    return path


def _together(runs: Sequence[FinishedProcess]) -> FinishedProcess:
    return FinishedProcess(
        seconds=sum(run.seconds for run in runs),
        processor_seconds=sum(run.processor_seconds for run in runs),
        peak_mb=max(run.peak_mb for run in runs),
    )


def _distance(theirs: Path, ours: Path) -> tuple[float, float]:
    """Return the norm of the difference over the peer's, and its largest over the peer's peak."""
    files = sorted(path.relative_to(theirs) for path in theirs.rglob("*.wav"))
    if not files:
        raise ConfigError(f"{theirs} holds no stems of the peer; nothing can be compared")
    energy = error = peak = largest = 0.0
    for file in files:
        expected, _ = soundfile.read(theirs / file)
        found, _ = soundfile.read(ours / file)
        energy += float(np.square(expected).sum())
        error += float(np.square(found - expected).sum())
        peak = max(peak, float(np.abs(expected).max()))
        largest = max(largest, float(np.abs(found - expected).max()))
    return (error / energy) ** 0.5, largest / peak
