"""How far true beats are apart in automixes of synthetic songs, and what the tempo tracker misses.

python -m benchmarks.automix [--mixes 60]
"""

from __future__ import annotations

import argparse

import numpy as np
import torch
from tests.augment.synthetic_songs import RATE, STYLES, synthetic_song

from audiform.augment.automix import plan_mix
from audiform.augment.beats import fit_grid, track_beats
from audiform.augment.track_analysis import analyse_track

#: Tempo, key, style.
SONGS = [
    (120, 0, "rock"), (128.7, 2, "house"), (111.3, -1, "funk"), (130, 1, "swing"),
    (118, -2, "half"), (105, 3, "break"), (174, 5, "rock"), (88, 0, "rock"),
    (124, 6, "house"), (122.4, 4, "funk"),
]  # fmt: skip
TEMPI_BPM = (70, 88, 97.3, 120, 128.7, 140, 174)


def mixes(count: int) -> None:
    """Print the worst distance of a true beat from the drums' within 30 s, and wrong keys."""
    songs = {
        str(number): synthetic_song(
            bpm=bpm,
            key=key,
            style=style,
            seconds=60,
            seed=number,
            first_seconds=0.4 + 0.13 * number,
        )
        for number, (bpm, key, style) in enumerate(SONGS)
    }
    analyses = [analyse_track(n, song.stems, sample_rate=RATE) for n, song in songs.items()]
    worst, wrong_keys, refusals = [], 0, set()
    for seed in range(count):
        generator = torch.Generator().manual_seed(seed)
        plan = plan_mix(analyses, ("drums", "bass", "other"), generator)
        beats = []
        for stem in plan.stems:
            times = (songs[stem.track].beats_seconds - stem.start_seconds) / stem.rate
            beats.append(times[(times > 0) & (times < plan.seconds)])
        for times in beats[1:]:
            sparse, dense = sorted((beats[0], times), key=len)
            worst.append(1000 * np.abs(sparse[:, None] - dense).min(axis=1).max())
        keys = {(songs[stem.track].key + stem.semitones) % 12 for stem in plan.stems[1:]}
        wrong_keys += len(keys) > 1
        refusals |= {f"{refusal.track}: {refusal.reason}" for refusal in plan.refused}
    print(f"{count} mixes: worst beat {max(worst):.1f} ms, median {np.median(worst):.1f} ms")
    print(f"wrong keys: {wrong_keys}; different refusals: {len(refusals)}")


def tempi() -> None:
    """Print the patterns and tempi of which the beats are taken for something else."""
    missed = 0
    for style in STYLES:
        for bpm in TEMPI_BPM:
            song = synthetic_song(bpm=bpm, style=style, seed=int(bpm))
            beats = track_beats(song.stems["drums"], sample_rate=RATE)
            grid = fit_grid(beats, start_seconds=5.0, duration_seconds=30.0)
            if grid is None:
                missed += 1
                print(f"  {style} at {bpm}: no grid")
                continue
            times = np.arange(grid.first_seconds, 35.0, grid.period_seconds)
            error = np.abs(times[:, None] - song.beats_seconds).min(axis=1).max()
            if error > 0.01:
                missed += 1
                tempo = 60 / grid.period_seconds
                print(f"  {style} at {bpm}: {tempo:.1f}, {1000 * error:.0f} ms from a beat")
    print(f"beats missed: {missed} of {len(STYLES) * len(TEMPI_BPM)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mixes", type=int, default=60)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    mixes(arguments.mixes)
    tempi()


if __name__ == "__main__":
    main()
