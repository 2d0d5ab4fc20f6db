"""What is wrong with a track: its files against each other."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

from audiform.data.check.file_findings import (
    dead_channel,
    file_findings,
    is_dual_mono,
    is_opposite,
)
from audiform.data.check.file_scan import FileScan
from audiform.data.check.mix_findings import mix_findings
from audiform.data.check.pair_findings import pair_findings
from audiform.data.check.track_scan import TrackScan
from audiform.data.findings import Finding, Level
from audiform.data.track import MIXTURE, TARGET

#: Lengths that differ by less come from codecs' padding, in samples; by less than this many
#: seconds, from sloppy cutting.
CODEC_PADDING_SAMPLES, SLOPPY_SECONDS = 2400, 0.1

#: Two files that correlate like this hold the same audio.
SAME_AUDIO = 0.9995

#: A bass whose energy lies around here while another stem's lies below is none, in Hz.
BASS_ABOVE_HZ, OTHER_BELOW_HZ = 600.0, 200.0


def track_findings(
    scan: TrackScan, *, is_pulses: bool = False, has_pulses: bool = False
) -> Iterator[Finding]:
    """Yield all that is wrong with a track and its files.

    ``is_pulses``: it shows the delay of a machine and is no sound; ``has_pulses``: such a track
    lies beside it.
    """
    name = scan.track.name
    seen = set()
    for file in scan.files:
        if file.ref not in seen:
            seen.add(file.ref)
            stuck = scan.pair.stuck if scan.pair is not None and file.source == TARGET else None
            found = file_findings(file, name)
            yield from (item for item in found if not (stuck and item.cause == "clipped"))
    readable = [file for file in scan.files if file.problem is None]
    if len(readable) > 1:
        yield from _form_findings(readable, scan)
    yield from _channel_findings(readable, scan)
    yield from _same_audio(readable, scan)
    yield from _misnamed_bass(readable, name)
    yield from mix_findings(scan)
    if not is_pulses:
        yield from pair_findings(scan, has_pulses=has_pulses)


def _form_findings(files: list[FileScan], scan: TrackScan) -> Iterator[Finding]:
    """Yield differences of rate, channels and length."""
    found = partial(Finding, track=scan.track.name)
    rates = {file.sample_rate for file in files}
    if len(rates) > 1:
        yield found(
            Level.error,
            "rate mismatch",
            f"its files have different sample rates: {_by_value(files, 'rate')}",
            "export all at one rate; if one sounds too high or low, its header is wrong",
        )
        return
    if len({len(file.peak) for file in files}) > 1:
        yield found(
            Level.warning if scan.track.is_sum else Level.note,
            "channel mismatch",
            f"its files have different numbers of channels: {_by_value(files, 'channels')}",
            "mono is doubled when it is read; export again if that is not meant",
        )
    lengths = [file.num_samples for file in files]
    difference = max(lengths) - min(lengths)
    lossy = not all(file.is_lossless for file in files)
    if difference == 0 or (lossy and difference <= CODEC_PADDING_SAMPLES):
        return
    seconds = difference / files[0].sample_rate
    adds_up = scan.mix is not None and scan.mix.difference_db < -30.0
    short = [file for file in files if file.num_samples < max(lengths)]
    fade_out = scan.track.is_sum and all(file.ends_quietly for file in short)
    is_small = seconds <= SLOPPY_SECONDS or adds_up or fade_out
    yield found(
        Level.warning if is_small else Level.error,
        "length mismatch",
        f"its files have different lengths, by up to {difference} samples ({seconds:.3f} s): "
        f"{_by_value(files, 'samples')}",
        "the short ones end in silence, and silence is what follows; right if they start together"
        if adds_up or fade_out
        else "export all from the same start to the same end",
    )


def _by_value(files: list[FileScan], what: str) -> str:
    """List files by a number of theirs, the rarest first."""
    groups: dict[str, list[str]] = {}
    for file in files:
        number = {
            "rate": f"{file.sample_rate} Hz",
            "channels": str(len(file.peak)),
            "samples": str(file.num_samples),
        }[what]
        groups.setdefault(number, []).append(file.source)
    ordered = sorted(groups.items(), key=lambda item: len(item[1]))
    return ", ".join(f"{' '.join(sources)} {number}" for number, sources in ordered)


def _channel_findings(files: list[FileScan], scan: TrackScan) -> Iterator[Finding]:
    """Yield what is odd about two channels: one dead, both equal, one the other's negative."""
    adds_up = scan.mix is not None and scan.mix.difference_db < -30.0
    whole = [file for file in files if file.source == MIXTURE] or files
    for file in files:
        found = partial(Finding, track=scan.track.name, path=file.ref.path)
        if (channel := dead_channel(file)) is not None:
            is_panned = adds_up and file.source != MIXTURE
            yield found(
                Level.note if is_panned else Level.warning,
                "dead channel",
                f"has nothing in channel {channel} of {len(file.peak)}",
                "right if the part is panned to one side; else export it again",
            )
        if is_opposite(file):
            yield found(
                Level.warning,
                "opposite channels",
                "has in one channel the other's negative: in mono it vanishes",
                "turn one channel round",
            )
    sounding = [file for file in whole if not file.is_silent]
    if sounding and all(is_dual_mono(file) for file in sounding):
        yield Finding(
            Level.warning,
            "mono as stereo",
            "holds the same in both channels, in every file that matters",
            "store it as mono, or find the stereo original",
            track=scan.track.name,
        )


def _same_audio(files: list[FileScan], scan: TrackScan) -> Iterator[Finding]:
    """Yield files of a track that hold the same."""
    if not scan.track.is_sum:
        return
    sounding = [file for file in files if not file.is_silent]
    stems = [file for file in sounding if file.source != MIXTURE]
    is_solo = len(stems) == 1
    position = {file.ref: index for index, file in enumerate(_stems(scan))}
    for first, second in combinations(sounding, 2):
        is_same = first.digest == second.digest
        if not is_same and scan.mix is not None and MIXTURE not in (first.source, second.source):
            pair = position[first.ref], position[second.ref]
            is_same = abs(float(scan.mix.correlations[pair])) > SAME_AUDIO
        if is_same and not (is_solo and MIXTURE in (first.source, second.source)):
            yield Finding(
                Level.error,
                "same audio twice",
                f"{first.source!r} and {second.source!r} hold the same audio",
                "put the right file there",
                track=scan.track.name,
                path=second.ref.path,
            )


def _stems(scan: TrackScan) -> list[FileScan]:
    return [file for file in scan.files if file.source != MIXTURE]


def _misnamed_bass(files: list[FileScan], track: str) -> Iterator[Finding]:
    """Yield a bass that has no bass in it, if another stem has."""
    medians = {
        file.source: file.median_hz
        for file in files
        if not file.is_silent and file.source != MIXTURE
    }
    bass = medians.pop("bass", 0.0)
    if bass > BASS_ABOVE_HZ and medians and min(medians.values()) < OTHER_BELOW_HZ:
        lowest = min(medians, key=lambda name: medians[name])
        yield Finding(
            Level.warning,
            "swapped stems",
            f"the stem 'bass' has its energy around {bass:.0f} Hz, {lowest!r} around "
            f"{medians[lowest]:.0f} Hz: their names look exchanged",
            "listen to both; audiform data curate looks closer",
            track=track,
        )
