"""Rendered songs: how fast, how varied, and how like real ones.

Songs are rendered twice: voices are taken apart in the first round and kept, the second one is
timed (processor time of one process). Then each stem is measured, and so are those of real
songs with ``--compare``: level against the mixture where it sounds, share of the time that it
rests, centroid of its spectrum, width (side against mid).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from measure import report

from audiform.data.layouts import read_tracks
from audiform.data.rendering.folder import RenderConfig, render_folder
from audiform.data.rendering.mix import STEMS, sounding_level
from audiform.data.rendering.samples import SAMPLE_RATE
from audiform.data.segments import SegmentDataset
from audiform.data.track import Track

#: A frame of this length rests when it is so far below the stem's loudest.
FRAME_SECONDS = 0.5
REST_DB = 40.0

QUARTILES = (0, 25, 50, 75, 100)


def measured(stem: np.ndarray, whole_level: float) -> dict[str, float]:
    """Return the figures of a stem (2, time)."""
    size = round(FRAME_SECONDS * SAMPLE_RATE)
    frames = stem[:, : stem.shape[-1] // size * size].reshape(2, -1, size)
    power = np.square(frames).mean(axis=(0, 2))
    spectrum = np.abs(np.fft.rfft(frames[:, power > power.max() * 1e-4].mean(axis=0))) ** 2
    hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE)
    mid, side = stem.sum(axis=0), stem[0] - stem[1]
    return {
        "level_db": 20 * np.log10(max(sounding_level(stem), 1e-6) / whole_level),
        "rests": float(np.mean(power < power.max() * 10 ** (-REST_DB / 10))),
        "centroid_hz": float((spectrum * hz).sum() / max(spectrum.sum(), 1e-12)),
        "width_db": 10 * np.log10((np.square(side).sum() + 1e-9) / (np.square(mid).sum() + 1e-9)),
    }


def figures(tracks: list[Track]) -> dict[str, dict[str, list[float]]]:
    """Return the figures of all stems that sound, by stem and figure."""
    found: dict[str, dict[str, list[float]]] = {name: {} for name in STEMS}
    for track in tracks:
        names = [name for name in STEMS if name in track.stems]
        song = SegmentDataset(
            [track], names, sample_rate=SAMPLE_RATE, audio_channels=2, segment_seconds=1.0
        )
        length = song.track_length_samples(0)
        stems = song.read_track(0, start_samples=0, length_samples=length)
        whole = sounding_level(stems.sum(axis=0))
        for name, stem in zip(names, stems, strict=True):
            if stem.any():
                for figure, value in measured(stem, whole).items():
                    found[name].setdefault(figure, []).append(float(value))
    return found


def rows_of(title: str, found: dict[str, dict[str, list[float]]]) -> dict[str, str]:
    """Return a line for each stem and figure: quartiles."""
    return {
        f"{title}, {name} {figure}": " ".join(
            f"{value:9.2f}" for value in np.percentile(values, QUARTILES)
        )
        for name, by_figure in found.items()
        for figure, values in by_figure.items()
    }


def main() -> None:
    """Render, time, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("samples", type=Path, help="folder of sounds with an index.csv")
    parser.add_argument("--songs", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--compare", type=Path, help="folder of real songs")
    parser.add_argument("--keep", type=Path, help="leave the songs in this folder")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    config = RenderConfig(songs=arguments.songs, seconds=arguments.seconds, seed=arguments.seed)
    with TemporaryDirectory() as scratch:
        first = arguments.keep or Path(scratch) / "first"
        render_folder(arguments.samples, first, config)
        start = time.process_time()
        folders = render_folder(arguments.samples, Path(scratch) / "second", config)
        seconds = time.process_time() - start
        drawn = [json.loads((folder / "song.json").read_text()) for folder in folders]
        found = figures(read_tracks(Path(scratch) / "second"))
        tracks = read_tracks(Path(scratch) / "second")
        total = sum(track.num_samples or 0 for track in tracks) / SAMPLE_RATE
    bpm = np.percentile([song["grid"]["bpm"] for song in drawn], QUARTILES)
    rows: dict[str, str | float] = {
        "songs": len(drawn),
        "times real time, one core": total / seconds,
        "beats a minute": " ".join(f"{value:9.1f}" for value in bpm),
        "styles": len({song["style"] for song in drawn}),
        "keys": len({(song["key"]["tonic"], song["key"]["mode"]) for song in drawn}),
        "metres": len({song["grid"]["metre"]["name"] for song in drawn}),
        **rows_of("rendered", found),
    }
    if arguments.compare:
        rows.update(rows_of("real", figures(read_tracks(arguments.compare))))
    report("Rendered songs: least, quartiles, most", rows, arguments.json)


if __name__ == "__main__":
    main()
