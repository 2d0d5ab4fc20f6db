"""A pool of prepared stems: decoded, rendered and pitch-shifted once, read by crops after.

Decoding and rendering cost more than training on the result, so they are done beforehand, into
16-bit arrays that are mapped into memory::

    songs/<song>/<semitones>/<source>.npy      real stems, aligned with each other
    rendered/<kind>/<number>.npy               rendered stems; a kind is a source, or a
                                               special case of one (vocals_lowband)

Every item depends on its seed alone, so a pool can be extended while it is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr

from audiform.data.render import (
    low_pass,
    render_bass,
    render_drums,
    render_other,
    render_vocals,
)
from audiform.data.samples import SAMPLE_RATE, SampleLibrary
from audiform.data.segments import SegmentDataset
from audiform.data.track import Track

#: Stems of an example, in their order.
SOURCES = ("drums", "bass", "other", "vocals")

#: Full scale of a signed 16-bit sample.
FULL_SCALE = 32767.0

#: Voices of 16 kHz recordings: nothing above this cutoff.
LOWBAND_CUTOFF_HZ = 7000.0

Renderer = Callable[[SampleLibrary, np.random.Generator, float], np.ndarray]


def render_lowband_vocals(
    library: SampleLibrary, rng: np.random.Generator, seconds: float
) -> np.ndarray:
    """Render voices of 16 kHz recordings; a mixture with them is to be low-passed as a whole."""
    samples = [sample for sample in library.of_class("voices_16k") if sample.seconds > 4.0]
    audio = render_vocals(library, rng, seconds, samples=samples)
    return low_pass(audio, cutoff_hz=LOWBAND_CUTOFF_HZ, db_per_octave=96.0)


class PoolKind(NamedTuple):
    """What is rendered under a name; ``stream`` keeps the kinds' random numbers apart."""

    renderer: Renderer
    stream: int


#: Kinds of rendered stems. Singing from speech (:mod:`audiform.data.singing`) has state of its
#: own and is added by who wants it.
POOL_KINDS: dict[str, PoolKind] = {
    "bass": PoolKind(render_bass, 0),
    "drums": PoolKind(render_drums, 1),
    "other": PoolKind(render_other, 2),
    "vocals": PoolKind(render_vocals, 3),
    "vocals_lowband": PoolKind(render_lowband_vocals, 4),
}

#: Stream of singing made from speech, kind ``vocals_sung``.
SUNG_STREAM = 99


def write_stem(path: Path, audio: np.ndarray) -> None:
    """Write float (time, 2) as 16-bit integers, aside and renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".npy.part")
    with part.open("wb") as file:
        np.save(file, np.round(np.clip(audio, -1.0, 1.0) * FULL_SCALE).astype(np.int16))
    part.replace(path)


def prepare_songs(folder: Path, songs: Iterable[Track], semitones: Iterable[float]) -> None:
    """Write the songs' stems at each pitch (and speed: they are resampled) into the pool."""
    shifts = tuple(semitones)
    for song in songs:
        for source in (name for name in song.sources if name in SOURCES):
            paths = [folder / "songs" / song.name / f"{s:+g}" / f"{source}.npy" for s in shifts]
            if all(path.is_file() for path in paths):
                continue
            audio = _whole_stem(song, source, cache_folder=folder / "decoded")
            for path, shift in zip(paths, shifts, strict=True):
                # Faster by 2^(n/12) = fewer samples: as if recorded at a higher rate.
                ratio = 2.0 ** (shift / 12.0)
                moved = audio
                if shift:
                    moved = soxr.resample(audio, SAMPLE_RATE * ratio, SAMPLE_RATE, quality="MQ")
                write_stem(path, moved)


def _whole_stem(song: Track, source: str, *, cache_folder: Path) -> np.ndarray:
    """Return a stem (time, 2)."""
    dataset = SegmentDataset(
        [song],
        [source],
        sample_rate=SAMPLE_RATE,
        audio_channels=2,
        segment_seconds=1.0,
        cache_folder=cache_folder,
    )
    length = dataset.track_length_samples(0)
    return dataset.read_track(0, start_samples=0, length_samples=length)[0].T


def render_pool(
    folder: Path,
    library: SampleLibrary,
    *,
    counts: Mapping[str, int],
    seconds: float,
    seed: int,
    kinds: Mapping[str, PoolKind] = POOL_KINDS,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Render ``counts[kind]`` stems of each kind; those that exist already are kept."""
    rounds = max(counts.values(), default=0)
    for number in range(rounds):
        for kind, count in sorted(counts.items()):
            path = folder / "rendered" / kind / f"{number:05d}.npy"
            if number >= count or path.is_file():
                continue
            rng = np.random.default_rng([seed, kinds[kind].stream, number])
            write_stem(path, kinds[kind].renderer(library, rng, seconds))
        if on_progress is not None:
            on_progress(number + 1, rounds)
