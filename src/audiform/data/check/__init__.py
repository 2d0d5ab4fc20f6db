"""Everything that is wrong with a dataset, with its cause, before any time is spent on it.

Each track is decoded once, all its files side by side and block by block, so memory does not
grow with their length; tracks are spread over processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from audiform.data.check.dataset_findings import dataset_findings
from audiform.data.check.pair_sets import set_findings
from audiform.data.check.report import Report, counted
from audiform.data.check.track_findings import track_findings
from audiform.data.check.track_scan import TrackScan, scan_track
from audiform.data.exclude import EXCLUDE_FILE, exclude, read_exclusions
from audiform.data.findings import Level
from audiform.data.layouts import LAYOUTS, read_layout
from audiform.data.pulse_tracks import part_pulses
from audiform.data.track import Track, map_stems

__all__ = ["Report", "check_dataset"]

OnProgress = Callable[[int, int], None]


def check_dataset(
    root: Path,
    *,
    layout: str | None = None,
    mapping: Mapping[str, str] | None = None,
    exclusions: Path | None = None,
    num_processes: int = 1,
    on_progress: OnProgress | None = None,
) -> Report:
    """Look at every file of the dataset in ``root`` and report.

    ``layout``, ``mapping`` and ``exclusions`` as for
    :func:`~audiform.data.layouts.read_tracks`. ``on_progress`` is told tracks done and tracks in
    all. Raises :class:`DataError` if no layout fits; what is wrong with files is in the report.
    """
    name, reading = read_layout(root, layout)
    tracks = map_stems(reading.tracks, mapping) if mapping else reading.tracks
    if exclusions is None and (root / EXCLUDE_FILE).is_file():
        exclusions = root / EXCLUDE_FILE
    if exclusions is not None:
        tracks = exclude(tracks, read_exclusions(exclusions))
    scans = []
    for scan in _scan_all(tracks, num_processes):
        scans.append(scan)
        if on_progress is not None:
            on_progress(len(scans), len(tracks))
    findings = list(reading.findings) + list(set_findings(scans))
    exchanged = {item.track for item in findings if item.cause == "exchanged takes"}
    sounds, pulses = part_pulses(tracks)
    names = {track.name for track in sounds}
    for scan in scans:
        track = scan.track
        found = track_findings(
            scan, is_pulses=track.name not in names, has_pulses=track.name in pulses
        )
        findings += (
            item
            for item in found
            if not (track.name in exchanged and item.cause == "unrelated pair")
        )
    findings += dataset_findings(
        scans, expected=LAYOUTS[name].expected, aligned=name != "stem-folders"
    )
    order = list(Level)
    files = {file.ref: file for scan in scans for file in scan.files}
    return Report(
        root=root,
        layout=name,
        num_tracks=len(tracks),
        num_files=len(files),
        duration_seconds=sum(_seconds(scan) for scan in scans),
        stems=counted([source for track in tracks for source in track.sources]),
        splits=counted([track.split for track in tracks if track.split]),
        findings=tuple(sorted(dict.fromkeys(findings), key=lambda item: order.index(item.level))),
    )


def _scan_all(tracks: Sequence[Track], num_processes: int) -> Iterator[TrackScan]:
    """Yield the scans in the tracks' order."""
    count = min(num_processes, len(tracks))
    if count <= 1:
        yield from map(scan_track, tracks)
        return
    with ProcessPoolExecutor(count, mp_context=get_context("spawn")) as pool:
        yield from pool.map(scan_track, tracks)


def _seconds(scan: TrackScan) -> float:
    return max(
        (file.num_samples / file.sample_rate for file in scan.files if file.sample_rate),
        default=0.0,
    )
