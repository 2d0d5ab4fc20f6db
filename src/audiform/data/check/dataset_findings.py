"""What is wrong with a dataset as a whole: what tracks lack, share, and differ in."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from audiform.data.check.file_scan import FFT_STEP, FileScan
from audiform.data.check.track_scan import TrackScan
from audiform.data.findings import Finding, Level
from audiform.data.track import INPUT, MIXTURE

#: Levels over time that correlate like this are of the same recording.
SAME_RECORDING = 0.85

#: Recordings shorter than this are not compared by their levels.
MIN_COMPARED_SECONDS = 10.0

#: How much the lengths of two copies may differ, in seconds.
SAME_LENGTH_SECONDS = 1.0

#: A dataset that ends below this share of half its rate was low-passed.
BANDLIMITED_SHARE = 0.85


def dataset_findings(
    scans: Sequence[TrackScan], *, expected: Sequence[str], aligned: bool
) -> Iterator[Finding]:
    """Yield what is wrong between tracks.

    ``expected`` are files that every track must have; what most tracks have is expected, too,
    unless the dataset is not ``aligned`` (a track is one stem then).
    """
    if aligned:
        yield from _missing_stems(scans, expected)
    yield from _rates(scans)
    yield from _copies(scans)
    for scan in scans:
        yield from _bandlimit(scan)


def _missing_stems(scans: Sequence[TrackScan], expected: Sequence[str]) -> Iterator[Finding]:
    counts = Counter(name for scan in scans for name in _names(scan))
    common = [name for name, count in counts.items() if 2 * count > len(scans) and count > 1]
    for scan in scans:
        names = _names(scan)
        if names == {MIXTURE} or not names:
            yield Finding(
                Level.error,
                "missing stem",
                "has a mixture and no stem",
                "add its stems, or take it away",
                track=scan.track.name,
            )
            continue
        for name in sorted({*expected, *common} - names):
            required = name in expected
            what = "mixture" if name == MIXTURE else "stem"
            yield Finding(
                Level.error if required else Level.note if what == "mixture" else Level.warning,
                f"missing {what}",
                f"has no {name!r}, "
                + ("which this layout needs" if required else "which most tracks have"),
                "add it"
                if required
                else (
                    "it is made from the stems"
                    if name == MIXTURE
                    else "decide whether it is silent there, or part of another stem"
                ),
                track=scan.track.name,
            )


def _names(scan: TrackScan) -> set[str]:
    return {file.source for file in scan.files}


def _rates(scans: Sequence[TrackScan]) -> Iterator[Finding]:
    for what, values in (
        ("rates", [f"{file.sample_rate} Hz" for file in _readable(scans)]),
        ("channels", [f"{len(file.peak)} ch" for file in _readable(scans)]),
    ):
        counts = Counter(values).most_common()
        if len(counts) > 1:
            yield Finding(
                Level.note,
                f"several {what}",
                "files have " + ", ".join(f"{value} ({count})" for value, count in counts),
                "nothing to do: they are brought to the model's",
            )


def _readable(scans: Sequence[TrackScan]) -> list[FileScan]:
    return [file for scan in scans for file in scan.files if file.info and file.num_samples]


def _copies(scans: Sequence[TrackScan]) -> Iterator[Finding]:
    """Yield tracks that share audio with an earlier one."""
    shared: dict[tuple[int, int], list[str]] = defaultdict(list)
    holders: dict[str, list[tuple[int, FileScan]]] = defaultdict(list)
    for index, scan in enumerate(scans):
        for file in scan.files:
            # One input may be played through many settings.
            if file.problem is None and not file.is_silent and file.source != INPUT:
                holders[file.digest].append((index, file))
    for found in holders.values():
        for (first, one), (second, other) in combinations(found, 2):
            if first != second and one.ref != other.ref and not _is_one_input(scans, first, second):
                shared[first, second].append(other.source)
    for pair in _same_recordings(scans):
        shared.setdefault(pair, [])
    for (first, second), sources in sorted(shared.items()):
        yield _copy(scans[first], scans[second], sources)


def _is_one_input(scans: Sequence[TrackScan], first: int, second: int) -> bool:
    """Whether two effect pairs have one input: then it is their knobs that contradict."""
    inputs = [
        {file.digest for file in scans[index].files if file.source == INPUT}
        for index in (first, second)
    ]
    return bool(inputs[0] & inputs[1])


def _copy(first: TrackScan, second: TrackScan, sources: list[str]) -> Finding:
    one, other = first.track, second.track
    leaks = one.split is not None and other.split is not None and one.split != other.split
    what = f"the same {', '.join(sorted(set(sources)))}" if sources else "the same recording"
    return Finding(
        Level.error if leaks else Level.warning,
        "leakage" if leaks else "duplicate track",
        f"has {what} as {one.name!r}"
        + (f", which is in {one.split} while this is in {other.split}" if leaks else ""),
        "take one of them away: scores on what was trained on mean nothing"
        if leaks
        else "take one of them away, or put the right files there",
        track=other.name,
        path=_folder(second),
    )


def _folder(scan: TrackScan) -> Path:
    return scan.files[0].ref.path.parent


def _same_recordings(scans: Sequence[TrackScan]) -> list[tuple[int, int]]:
    """Return pairs of tracks whose levels over time agree: copies in another format or level."""
    prints = []
    for index, scan in enumerate(scans):
        readable = [file for file in scan.files if file.problem is None and not file.is_silent]
        if not readable or not scan.track.is_sum or len(scan.files) < 2:
            continue
        file = max(readable, key=lambda file: (file.source == MIXTURE, float(file.rms.max())))
        seconds = file.num_samples / file.sample_rate
        if seconds >= MIN_COMPARED_SECONDS:
            prints.append((index, seconds, _movement(file)))
    pairs = []
    for (first, seconds, one), (second, others, other) in combinations(prints, 2):
        if abs(seconds - others) > SAME_LENGTH_SECONDS:
            continue
        length = min(len(one), len(other))
        a, b = one[:length].ravel(), other[:length].ravel()
        if a.std() > 0 and b.std() > 0 and np.corrcoef(a, b)[0, 1] > SAME_RECORDING:
            pairs.append((first, second))
    return pairs


def _movement(file: FileScan) -> np.ndarray:
    """Return how the bands' levels change from frame to frame, on a grid of time."""
    levels = np.maximum(file.bands, file.bands.max(initial=-90.0) - 60.0)
    times = np.arange(len(levels)) * FFT_STEP / file.sample_rate
    grid = np.arange(0.0, times[-1] if len(times) else 0.0, 0.5)
    if len(grid) < 2:
        return np.zeros((0, levels.shape[1]))
    resampled = np.stack([np.interp(grid, times, band) for band in levels.T], axis=1)
    return np.diff(resampled, axis=0)


def _bandlimit(scan: TrackScan) -> Iterator[Finding]:
    """Yield a note where nothing of a track reaches high frequencies."""
    files = [file for file in scan.files if file.num_samples and not file.is_silent]
    if not files:
        return
    widest = max(files, key=lambda file: file.bandwidth_hz)
    if widest.bandwidth_hz < BANDLIMITED_SHARE * widest.sample_rate / 2:
        yield Finding(
            Level.note,
            "band-limited",
            f"has nothing above {widest.bandwidth_hz / 1000:.1f} kHz "
            f"at a sample rate of {widest.sample_rate} Hz",
            "good to know: lossy or resampled origins teach a model that there is nothing",
            track=scan.track.name,
        )
