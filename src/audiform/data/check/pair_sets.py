"""What recorded pairs say of each other: exchanged takes, knobs that contradict, repeatability."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch

from audiform.data.check.file_scan import FileScan
from audiform.data.check.mixing import decibels
from audiform.data.check.track_scan import TrackScan
from audiform.data.effect_alignment import aligned, estimate_alignment
from audiform.data.findings import Finding, Level
from audiform.data.track import INPUT, TARGET, AudioRef
from audiform.io.read import read

#: An exchange is believed from this confidence of the other alignment on.
FITS = 0.6

#: So many pairs of files are compared at most, and so much of each, in seconds.
MOST_COMPARED, COMPARED_SECONDS = 150, 60.0

#: Difference of two takes of one setting, in dB of the first: good to know; no model can be
#: better than so bad; another setting.
REPEATS_NOTE_DB, REPEATS_WARNING_DB, OTHER_SETTING_DB = -60.0, -20.0, -6.0

#: Targets of two settings that differ by less are one, in dB; and their RMS by less, a share.
SAME_RESULT_DB, SAME_RMS = -80.0, 1e-3


@dataclass(frozen=True)
class _Pair:
    """A track of an input and a target, both readable."""

    scan: TrackScan
    dry: FileScan
    wet: FileScan

    @property
    def name(self) -> str:
        return self.scan.track.name

    @property
    def settings(self) -> tuple[tuple[str, float], ...]:
        return tuple(sorted(self.scan.track.knobs.items()))

    @property
    def same_input(self) -> tuple[str, int]:
        """Equal for pairs of one input."""
        return self.dry.digest, self.dry.ref.start_samples

    @property
    def lag_samples(self) -> int:
        return self.scan.pair.alignment.lag_samples if self.scan.pair is not None else 0


def set_findings(scans: Sequence[TrackScan]) -> Iterator[Finding]:
    """Yield what is wrong between pairs."""
    pairs = list(_pairs(scans))
    yield from _names_of_knobs(pairs)
    yield from _exchanged(pairs)
    groups: dict[tuple[str, int], list[_Pair]] = defaultdict(list)
    for pair in pairs:
        groups[pair.same_input].append(pair)
    for group in groups.values():
        yield from _same_settings(group)
        yield from _same_results(group)


def _pairs(scans: Sequence[TrackScan]) -> Iterator[_Pair]:
    for scan in scans:
        files = {file.source: file for file in scan.files}
        if scan.track.is_sum or set(files) != {INPUT, TARGET}:
            continue
        if not any(file.problem or file.is_silent for file in files.values()):
            yield _Pair(scan, files[INPUT], files[TARGET])


def _names_of_knobs(pairs: Sequence[_Pair]) -> Iterator[Finding]:
    if not pairs:
        return
    kinds = defaultdict(list)
    for pair in pairs:
        kinds[tuple(sorted(pair.scan.track.knobs))].append(pair)
    usual = max(kinds, key=lambda names: len(kinds[names]))
    for names, some in kinds.items():
        for pair in some if names != usual else ():
            yield Finding(
                Level.error,
                "contradictory knobs",
                f"names the knobs {', '.join(names) or '(none)'}, most others "
                f"{', '.join(usual) or '(none)'}",
                "name all targets alike: target__KNOB=VALUE__KNOB=VALUE.wav",
                track=pair.name,
                path=pair.wet.ref.path,
            )


# Exchanged takes -------------------------------------------------------------------------------


def _exchanged(pairs: Sequence[_Pair]) -> Iterator[Finding]:
    """Yield targets that fit the input of another pair, and not their own."""
    lost = [pair for pair in pairs if _is_lost(pair)]
    compared = 0
    for pair in lost:
        for other in lost:
            if other.same_input == pair.same_input or other.dry.sample_rate != pair.wet.sample_rate:
                continue
            compared += 1
            if compared > MOST_COMPARED:
                return
            if _fits(other.dry, pair.wet):
                yield Finding(
                    Level.error,
                    "exchanged takes",
                    f"does not fit its own input, but that of {other.name!r}",
                    f"exchange it with the target of {other.name!r}, or rename it",
                    track=pair.name,
                    path=pair.wet.ref.path,
                )
                break


def _is_lost(pair: _Pair) -> bool:
    fit = pair.scan.pair
    return fit is not None and fit.rate_ratio == 1.0 and not fit.is_related


def _fits(dry: FileScan, wet: FileScan) -> bool:
    x, y = (torch.from_numpy(_mono(file.ref, file.sample_rate)) for file in (dry, wet))
    if min(len(x), len(y)) < 1024:
        return False
    return estimate_alignment(dry=x, wet=y, sample_rate=dry.sample_rate).confidence > FITS


def _mono(ref: AudioRef, rate: int) -> np.ndarray:
    samples = read(ref.path).samples[:, ref.start_samples : ref.stop_samples]
    mono: np.ndarray = samples[:, : round(COMPARED_SECONDS * rate)].mean(dim=0).numpy()
    return mono


# Knobs -----------------------------------------------------------------------------------------


def _same_settings(group: Sequence[_Pair]) -> Iterator[Finding]:
    """Yield how takes of one input at one setting differ."""
    by_settings: dict[tuple[tuple[str, float], ...], list[_Pair]] = defaultdict(list)
    for pair in group:
        by_settings[pair.settings].append(pair)
    for same in by_settings.values():
        first = same[0]
        for pair in same[1:]:
            if pair.wet.ref == first.wet.ref or pair.wet.digest == first.wet.digest:
                continue
            difference = _difference_db(first, pair)
            if difference < REPEATS_NOTE_DB:
                continue
            is_other = difference > OTHER_SETTING_DB
            yield Finding(
                Level.error
                if is_other
                else Level.warning
                if difference > REPEATS_WARNING_DB
                else Level.note,
                "contradictory knobs" if is_other else "repeatability",
                f"differs from {first.name!r} by {difference:.0f} dB, with the same input at the "
                f"same settings ({_said(pair.settings)})",
                "name the knob that was moved, or leave one of them out"
                if is_other
                else "no model comes closer than that: leave one out, or record again with nothing "
                "touched; right if the device moves by itself (chorus, tremolo)",
                track=pair.name,
                path=pair.wet.ref.path,
            )


def _same_results(group: Sequence[_Pair]) -> Iterator[Finding]:
    """Yield takes of one input that are the same although their settings are not."""
    compared = 0
    for first, second in combinations(group, 2):
        if first.settings == second.settings or first.wet.ref == second.wet.ref:
            continue
        if first.wet.digest != second.wet.digest:
            levels = float(first.wet.rms.max()), float(second.wet.rms.max())
            compared += 1
            if abs(levels[0] - levels[1]) > SAME_RMS * max(levels) or compared > MOST_COMPARED:
                continue
            if _difference_db(first, second) > SAME_RESULT_DB:
                continue
        yield Finding(
            Level.error,
            "contradictory knobs",
            f"is the same as the target of {first.name!r}, though its settings differ "
            f"({_said(second.settings)} against {_said(first.settings)})",
            "one of the two was not recorded, or bears the wrong name: record it, or take it away",
            track=second.name,
            path=second.wet.ref.path,
        )


def _difference_db(first: _Pair, second: _Pair) -> float:
    """Return the energy of the difference of two targets over that of the first, in dB."""
    signals = []
    for pair in (first, second):
        signal = torch.from_numpy(_mono(pair.wet.ref, pair.wet.sample_rate))
        # Both to where their inputs are: takes may begin at different moments.
        signals.append(aligned(signal, signal, pair.lag_samples)[1])
    length = min(map(len, signals))
    one, other = (signal[:length].double().numpy() for signal in signals)
    if length == 0 or first.wet.sample_rate != second.wet.sample_rate or not one.any():
        return 0.0
    return float(decibels(np.square(one - other).sum(), np.square(one).sum()))


def _said(settings: tuple[tuple[str, float], ...]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in settings) or "no knobs"
