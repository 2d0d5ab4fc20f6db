"""Repaired copies of recorded pairs: delay, lengths and clocks set right, originals untouched.

What is written is a list (``tracks.jsonl``) with a folder per pair, so that pairs which share an
input each have their own, cut as their output needs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.data.check.pair_findings import SMALL_LAG_MS, UNRELATED
from audiform.data.check.pairing import PairFit, fit_pair
from audiform.data.delay_track import DelayTrack, undo_delay
from audiform.data.effect_alignment import aligned
from audiform.data.layouts import read_layout
from audiform.data.track import INPUT, TARGET, AudioRef, Track
from audiform.errors import AudioError, DataError
from audiform.io.read import read
from audiform.io.resample import StreamResampler
from audiform.io.write import OutputFormat, open_writer

#: The list that is written last.
LIST = "tracks.jsonl"


@dataclass(frozen=True)
class Repair:
    """What became of a pair: what was ``done``, what could not be ``mended``.

    ``is_written`` is False where there is nothing that a copy would help.
    """

    track: str
    done: tuple[str, ...]
    unmended: tuple[str, ...]
    is_written: bool


def repair_pairs(
    root: Path,
    out: Path,
    *,
    layout: str | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> list[Repair]:
    """Write repaired copies of all pairs in ``root`` to the folder ``out``, 32-bit float WAV.

    Pairs are held in memory one at a time. Raises :class:`DataError` where there are no pairs,
    or where ``out`` is not empty.
    """
    _, reading = read_layout(root, layout)
    pairs = [track for track in reading.tracks if {INPUT, TARGET} == set(track.sources)]
    if not pairs:
        raise DataError(
            "holds no pairs of input and target to repair; audiform data check says what it is",
            path=root,
        )
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise DataError("is there already and not empty; choose another folder", path=out)
    repairs, entries = [], []
    for done, track in enumerate(pairs, 1):
        repair, entry = _repair(track, out)
        repairs.append(repair)
        if entry is not None:
            entries.append(entry)
        if on_progress is not None:
            on_progress(done, len(pairs))
    out.mkdir(parents=True, exist_ok=True)
    aside = out / f"{LIST}.part"
    aside.write_text("".join(json.dumps(entry) + "\n" for entry in entries), encoding="utf-8")
    aside.replace(out / LIST)
    return repairs


def _repair(track: Track, out: Path) -> tuple[Repair, dict[str, Any] | None]:
    try:
        dry, rate = _audio(track, INPUT)
        wet, wet_rate = _audio(track, TARGET)
    except AudioError as error:
        return Repair(track.name, (), (str(error),), False), None
    done: list[str] = []
    if wet_rate != rate:
        wet = _resampled(wet, from_hz=wet_rate, to_hz=rate)
        done.append(f"target resampled from {wet_rate} Hz to the input's {rate} Hz")
    if not dry.any() or not wet.any() or min(dry.shape[-1], wet.shape[-1]) < 1024:
        return Repair(track.name, (), ("input or target is silent or too short",), False), None
    fit = fit_pair(_mono(dry), _mono(wet), rate)
    if fit.rate_ratio != 1.0:
        wet = _resampled(wet, from_hz=round(100 * rate / fit.rate_ratio), to_hz=100 * rate)
        done.append(
            f"target resampled from {rate / fit.rate_ratio:.0f} Hz, at which it was recorded"
        )
        fit = fit_pair(_mono(dry), _mono(wet), rate)
    if not fit.is_related and (fit.level_correlation or 0.0) < UNRELATED:
        why = "target has nothing in common with its input"
        return Repair(track.name, (), (why,), False), None
    dry, wet = _timed(dry, wet, rate, fit, done)
    if fit.alignment.polarity < 0:
        done.append("left the opposite polarity, which a model learns")
    name = track.name.strip("/")
    for source, audio in ((INPUT, dry), (TARGET, wet)):
        _write(out / name / f"{source}.wav", audio, rate)
    entry = {
        "track": track.name,
        "stems": {source: f"{name}/{source}.wav" for source in (INPUT, TARGET)},
        "knobs": dict(track.knobs),
        **({"split": track.split} if track.split else {}),
    }
    return Repair(track.name, tuple(done), tuple(_left(fit)), True), entry


def _timed(
    dry: Tensor, wet: Tensor, rate: int, fit: PairFit, done: list[str]
) -> tuple[Tensor, Tensor]:
    """Return both without clock drift and delay, equally long; adds to what is ``done``."""
    lag = fit.alignment.lag_samples
    if fit.timing.drift_ppm and not fit.timing.jumps:
        seconds = torch.tensor([0.0, wet.shape[-1] / rate], dtype=torch.float64)
        rise = 1e-6 * fit.timing.drift_ppm * rate
        start = lag + fit.timing.line_start_samples
        wet = undo_delay(wet, DelayTrack(seconds, start + rise * seconds, rate))
        done.append(f"target resampled by {fit.timing.drift_ppm:.1f} ppm, and its delay cut")
        lag = 0
    elif lag < 0:
        done.append(f"{-lag} samples cut from the start of the input: target was early")
    elif 1000 * lag / rate > SMALL_LAG_MS:
        done.append(f"{lag} samples cut from the start of the target: it was late")
    else:
        lag = 0  # the device's own
    lengths = dry.shape[-1], wet.shape[-1]
    dry, wet = aligned(dry, wet, lag)
    if lengths[0] != lengths[1]:
        done.append(f"both cut to what they share, {dry.shape[-1] / rate:.3f} s")
    return dry, wet


def _left(fit: PairFit) -> list[str]:
    """Say what a copy does not mend."""
    left = []
    if fit.is_swapped:
        left.append("input and target look exchanged: exchange the files")
    if fit.timing.jumps:
        times = ", ".join(f"{at:.1f} s" for at, _ in fit.timing.jumps[:3])
        left.append(f"samples were lost or put in at about {times}: record it again")
    elif not fit.timing.drift_ppm and fit.timing.spread_samples > 8:
        left.append(f"its delay wanders by {fit.timing.spread_samples:.0f} samples")
    for what, holes in (("target", fit.wet_holes_seconds), ("input", fit.dry_holes_seconds)):
        if holes:
            left.append(f"{what} drops out at {', '.join(f'{at:.2f} s' for at in holes[:3])}")
    return left


def _audio(track: Track, source: str) -> tuple[Float[Tensor, "channels time"], int]:
    (ref,) = track.references(source)
    audio = read(ref.path)
    return audio.samples[:, _piece(ref)], audio.sample_rate


def _piece(ref: AudioRef) -> slice:
    return slice(ref.start_samples, ref.stop_samples)


def _mono(audio: Tensor) -> np.ndarray:
    return audio.mean(dim=0).numpy()


def _resampled(audio: Tensor, *, from_hz: int, to_hz: int) -> Tensor:
    resampler = StreamResampler(from_rate_hz=from_hz, to_rate_hz=to_hz, num_channels=len(audio))
    block = resampler.push(audio.numpy())
    rest = resampler.finish()
    return torch.from_numpy(np.concatenate([block, rest], axis=1))


def _write(path: Path, audio: Float[Tensor, "channels time"], rate: int) -> None:
    with open_writer(
        path,
        format=OutputFormat("wav", is_float=True),
        sample_rate=rate,
        num_channels=len(audio),
        expected_samples=audio.shape[-1],
    ) as writer:
        writer.write(audio.numpy())
        writer.commit()
