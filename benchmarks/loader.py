"""How fast segments are read, against how fast a tiny network eats them.

``python benchmarks/loader.py [--json FILE]``: 4 stems of 4 s at 44.1 kHz, stereo, from WAV, FLAC,
Ogg Vorbis and, once decoded, MP3; one process, and a DataLoader with 2 workers.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
import torch
from measure import commit
from torch.utils.data import DataLoader

from audiform.data.layouts import read_tracks
from audiform.data.segments import SegmentDataset
from audiform.io.write import OutputFormat, open_writer
from audiform.models.demucs import Demucs, DemucsConfig

EXAMPLE = Path(__file__).parents[1] / "examples" / "everything_is_free"
STEMS = ("drums", "bass", "other", "vocals")
SECONDS, SEGMENT_SECONDS, BATCH_SIZE = 60.0, 4.0, 4
FORMATS = {
    "wav": OutputFormat("wav", bit_depth=16),
    "flac": OutputFormat("flac", bit_depth=16),
    "ogg": OutputFormat("ogg"),
    "mp3": OutputFormat("mp3"),
}


def write_songs(folder: Path, format: OutputFormat) -> None:
    """Write a song of the example, over and over, a little different each time."""
    for stem in STEMS:
        audio, rate = soundfile.read(EXAMPLE / f"{stem}.flac", dtype="float32", always_2d=True)
        generator = np.random.default_rng(0)
        path = folder / "song" / f"{stem}{format.extension}"
        with open_writer(path, format=format, sample_rate=rate, num_channels=2) as writer:
            for _ in range(round(SECONDS * rate / len(audio))):
                writer.write((audio * generator.uniform(0.5, 0.9)).T.astype(np.float32))
            writer.commit()


def segments_per_second(dataset: SegmentDataset, num_workers: int) -> float:
    """Read all segments in a drawn order, three times; the first batch is not counted."""
    order = torch.randperm(len(dataset), generator=torch.Generator().manual_seed(0)).tolist()
    loader = DataLoader(
        dataset, batch_size=BATCH_SIZE, sampler=3 * order, num_workers=num_workers, drop_last=True
    )
    batches = iter(loader)
    next(batches)
    started, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch)
    return count / (time.perf_counter() - started)


def eaten_per_second(steps: int = 3) -> float:
    """Return how many segments a tiny network trains on per second: forward, loss, backward."""
    network = Demucs(DemucsConfig(hidden_channels=8, depth=4, resample=False))
    mixture = torch.randn(BATCH_SIZE, 2, round(SEGMENT_SECONDS * 44100))
    started = time.perf_counter()
    for step in range(steps + 1):
        if step == 1:
            started = time.perf_counter()
        network(mixture).abs().mean().backward()
    return steps * BATCH_SIZE / (time.perf_counter() - started)


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the figures here")
    arguments = parser.parse_args()
    eaten = eaten_per_second()
    print(f"{'a tiny network eats':<24}{eaten:>10.1f} segments/s")
    figures: dict[str, object] = {"commit": commit(), "eaten_per_second": eaten}
    for name, format in FORMATS.items():
        with tempfile.TemporaryDirectory() as folder:
            write_songs(Path(folder) / "data", format)
            started = time.perf_counter()
            dataset = SegmentDataset(
                read_tracks(Path(folder) / "data"),
                STEMS,
                sample_rate=44100,
                audio_channels=2,
                segment_seconds=SEGMENT_SECONDS,
                cache_folder=Path(folder) / "cache",
            )
            prepared = time.perf_counter() - started
            rates = {workers: segments_per_second(dataset, workers) for workers in (0, 2)}
        figures[name] = {"prepared_seconds": prepared, **rates}
        print(
            f"{name:<8}prepared in {prepared:5.1f} s, segments/s: {rates[0]:8.1f} in one process, "
            f"{rates[2]:8.1f} with 2 workers ({rates[2] / eaten:.1f} x what is eaten)"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
