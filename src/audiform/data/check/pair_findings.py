"""What is wrong between an effect's input and its output."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from audiform.data.check.file_findings import DC_ERROR, DC_WARNING, dead_channel
from audiform.data.check.pair_stuck import Stuck
from audiform.data.check.pairing import PairFit
from audiform.data.check.track_scan import TrackScan
from audiform.data.findings import Finding, Level
from audiform.data.track import INPUT, TARGET

#: Delay of an effect's output that its own phase may look like, and that is ruin, in ms.
SMALL_LAG_MS, LARGE_LAG_MS = 0.5, 100.0

#: Movement of the delay over a recording, from which on it drifts, in samples.
DRIFT_SAMPLES = 8.0

#: Levels over time of input and output that have less to do with each other do not belong
#: together.
UNRELATED = 0.5

#: Output minus input below this (dB) is a copy.
COPY_DB = -80.0

#: The output's own noise above this (dB against its loud moments) is worth a warning, hum from a
#: lower level on, as it is heard better; and a note.
NOISE_WARNING_DB, HUM_WARNING_DB, NOISE_NOTE_DB = -42.0, -50.0, -55.0


def pair_findings(scan: TrackScan, *, has_pulses: bool = False) -> Iterator[Finding]:
    """Yield what is wrong between input and output; nothing where they cannot be compared.

    ``has_pulses``: pulses beside the sound show its delay, which then is no fault.
    """
    fit = scan.pair
    if fit is None or any(file.is_silent for file in scan.files):
        return
    (source,), (target,) = scan.track.references(INPUT), scan.track.references(TARGET)
    found = partial(Finding, track=scan.track.name, path=target.path)
    at_input = partial(Finding, track=scan.track.name, path=source.path)
    yield from _offset_findings(fit, found, at_input)
    if fit.stuck is not None:
        yield _stuck_finding(fit.stuck, found)
    if fit.error_db < COPY_DB:
        yield found(
            Level.warning,
            "target is input",
            "is a copy of the input",
            "right if the effect was off; else record it again",
        )
        return
    if fit.rate_ratio != 1.0:
        yield _rate_finding(fit, found, scan.files[0].sample_rate)
        return
    if not fit.is_related:
        if fit.level_correlation is None or fit.level_correlation < UNRELATED:
            yield found(
                Level.error,
                "unrelated pair",
                "has nothing in common with its input: no delay fits",
                "pair the right files",
            )
        return
    if fit.is_swapped:
        yield found(
            Level.error,
            "swapped pair",
            "says what its input was, but the input does not say what comes out: input and "
            "target look exchanged",
            "exchange the two files; if the effect is meant to be undone, say so (inverse)",
        )
    if has_pulses:
        yield _pulse_finding(scan, fit, found)
    else:
        yield from _movement_findings(scan, fit, found)
        yield from _delay_findings(scan, fit, found)
    if fit.alignment.polarity < 0 and not fit.is_periodic:
        yield found(
            Level.note,
            "polarity",
            "has the opposite polarity of its input",
            "nothing to do if the device turns it round: a model learns that",
        )
    if all(dead_channel(file) is None for file in scan.files):  # its partner sounds alone
        yield from _hole_findings(fit, found, at_input)
    yield from _noise_findings(fit, found)


def _rate_finding(fit: PairFit, found: partial[Finding], rate: int) -> Finding:
    speed = "fast" if fit.rate_ratio > 1 else "slow"
    is_film = abs(fit.rate_ratio - 1) < 0.01
    return found(
        Level.error,
        "clock drift" if is_film else "wrong sample rate",
        f"runs {fit.rate_ratio if fit.rate_ratio > 1 else 1 / fit.rate_ratio:.4f} times too "
        f"{speed} against its input: it was recorded at {rate / fit.rate_ratio:.0f} Hz, its "
        f"header says {rate} Hz",
        "correct the header or export it again at the input's rate; audiform data repair does it",
    )


def _stuck_finding(stuck: Stuck, found: partial[Finding]) -> Finding:
    times = ", ".join(f"{at:.2f} s" for at in stuck.starts_seconds[:3])
    text = f"stays at its highest value for up to {1000 * stuck.longest_seconds:.0f} ms, at {times}"
    if stuck.period_samples is None:
        cure = "cut these places out of both files, or record it again"
    else:
        period = stuck.period_samples
        text += f" and on, every {period} samples: each time something starts anew"
        cure = f"leave these parts out: effect train --score-only {period}:{stuck.settled_samples}"
        cure += f":{period}"
    return found(Level.warning, "stuck", text, cure)


def _pulse_finding(scan: TrackScan, fit: PairFit, found: partial[Finding]) -> Finding:
    moves = fit.timing.spread_samples
    return found(
        Level.note,
        "delay",
        f"is about {delay_beyond_the_list(scan)} samples late"
        + (f", which moves by about {moves:.0f}" if moves else ""),
        "nothing to do: training follows the pulses beside it",
    )


def _delay_findings(scan: TrackScan, fit: PairFit, found: partial[Finding]) -> Iterator[Finding]:
    if fit.is_periodic:
        yield found(
            Level.note,
            "unknown delay",
            "repeats itself, so that its delay cannot be told",
            "look at another recording of the same chain",
        )
        return
    if not fit.timing.wanders:  # which is said with the delay
        yield from _lag_findings(delay_beyond_the_list(scan), scan.files[0].sample_rate, found)


def _movement_findings(scan: TrackScan, fit: PairFit, found: partial[Finding]) -> Iterator[Finding]:
    timing = fit.timing
    lag = delay_beyond_the_list(scan)
    if timing.jumps:
        at, step = timing.jumps[0]
        more = f", and {len(timing.jumps) - 1} times more" if len(timing.jumps) > 1 else ""
        yield found(
            Level.error,
            "delay jumps",
            f"is {abs(step):.0f} samples {'later' if step > 0 else 'earlier'} from about "
            f"{at:.1f} s on{more}: the recorder {'put in' if step > 0 else 'lost'} samples",
            "record it again with a larger buffer, or cut both files there",
        )
    elif timing.drift_ppm:
        yield found(
            Level.error if timing.spread_samples > DRIFT_SAMPLES else Level.warning,
            "clock drift",
            f"runs {abs(timing.drift_ppm):.0f} ppm too {'slow' if timing.drift_ppm > 0 else 'fast'}"
            f": its delay moves by {timing.spread_samples:.0f} samples",
            "record with one clock for both; audiform data repair resamples it",
        )
    elif timing.wanders or timing.spread_samples > DRIFT_SAMPLES:
        yield found(
            Level.warning,
            "drifting delay",
            f"lags by about {lag} samples, which drifts to and fro by about "
            f"{timing.spread_samples:.0f}, as a tape's delay does",
            "record a track of pulses with it (take1_target_pulses.wav), which training follows",
        )


def delay_beyond_the_list(scan: TrackScan) -> int:
    """Return the delay in samples that the dataset does not already say."""
    assert scan.pair is not None
    (source,), (target,) = scan.track.references(INPUT), scan.track.references(TARGET)
    return scan.pair.alignment.lag_samples - (target.start_samples - source.start_samples)


def _lag_findings(lag: int, rate: int, found: partial[Finding]) -> Iterator[Finding]:
    milliseconds = 1000 * abs(lag) / rate
    side = "late" if lag > 0 else "early"
    if lag == 0:
        return
    if milliseconds <= SMALL_LAG_MS:
        yield found(
            Level.note,
            "delay",
            f"is about {abs(lag)} samples {side}: little enough to be the device's own phase",
            "nothing to do for late; for early, cut as much from the start of the input",
        )
        return
    yield found(
        Level.error if lag < 0 or milliseconds > LARGE_LAG_MS else Level.warning,
        "delay",
        f"is {abs(lag)} samples ({milliseconds:.1f} ms) {side}",
        "cut as much from the start of it (audiform data repair)"
        if lag > 0
        else "cut as much from the start of the input (audiform data repair): no causal model can "
        "be early",
    )


def _hole_findings(
    fit: PairFit, found: partial[Finding], at_input: partial[Finding]
) -> Iterator[Finding]:
    for what, holes, finding in (
        ("falls silent under a loud input", fit.wet_holes_seconds, found),
        ("falls silent while its output goes on", fit.dry_holes_seconds, at_input),
    ):
        if holes:
            times = ", ".join(f"{at:.2f} s" for at in holes[:3])
            more = f", {len(holes)} places in all" if len(holes) > 3 else ""
            yield finding(
                Level.error,
                "drop-out",
                f"{what}, at {times}{more}",
                "record it again, or cut these places out of both files",
            )


def _offset_findings(
    fit: PairFit, found: partial[Finding], at_input: partial[Finding]
) -> Iterator[Finding]:
    for offset, finding in ((fit.wet_offset, found), (fit.dry_offset, at_input)):
        if abs(offset) > DC_WARNING:
            yield finding(
                Level.error if abs(offset) > DC_ERROR else Level.warning,
                "DC offset",
                f"has a constant offset of {offset:+.3f} of full scale, also where it is quiet",
                "high-pass it at 5 Hz, or subtract the offset",
            )


def _noise_findings(fit: PairFit, found: partial[Finding]) -> Iterator[Finding]:
    noise = fit.noise
    if noise is None or noise.level_db < NOISE_NOTE_DB:
        return
    what = "hum" if noise.mains_hz else "noise"
    warned = HUM_WARNING_DB if noise.mains_hz else NOISE_WARNING_DB
    of = f"mains at {noise.mains_hz:.0f} Hz and its harmonics" if noise.mains_hz else "noise"
    yield found(
        Level.warning if noise.level_db > warned else Level.note,
        what,
        f"has {of} at {noise.level_db:.0f} dB against its loud moments, which its input has not",
        "a model learns no noise: mend the cabling, turn up what is played, or record again",
    )
