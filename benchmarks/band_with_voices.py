"""A band without a singer, and with each of some solo voices: songs to score a separator on.

python benchmarks/band_with_voices.py OUT --band DIR --voices FILE...

DIR holds drums, bassguitar and other instruments of one recording, a file each; what is neither
drums nor bass is "other". A voice is repeated until the band ends, and is as loud as the band
(root mean square of where the voice sounds). OUT is a folder of songs in stems for
``audiform evaluate MODEL --data OUT``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import audiform.io
from audiform.dsp.resample import resample
from audiform.io import OutputFormat, open_writer

SAMPLE_RATE = 44100

#: The stem of a file of the band; all others are "other".
STEMS = {"drums": "drums", "bassguitar": "bass", "bass": "bass"}

#: Pause between two rounds of a voice.
PAUSE_SECONDS = 0.5

#: A sample this far below the loudest is no part of what sounds.
SOUNDING_DB = 40.0


def read(path: Path) -> Tensor:
    """Return a file as (2, time) at 44.1 kHz."""
    audio = audiform.io.read(path)
    rates = {"from_rate_hz": audio.sample_rate, "to_rate_hz": SAMPLE_RATE}
    samples = resample(audio.samples, **rates)
    return samples.expand(2, -1) if samples.shape[0] == 1 else samples


def level(samples: Tensor) -> float:
    """Return the root mean square of the samples that sound."""
    loud = samples.abs() > samples.abs().max() * 10.0 ** (-SOUNDING_DB / 20.0)
    return samples[loud].square().mean().sqrt().item()


def band_stems(folder: Path) -> dict[str, Tensor]:
    """Return drums, bass and other, equally long."""
    parts = {path.stem: read(path) for path in sorted(folder.iterdir())}
    length = max(part.shape[1] for part in parts.values())
    stems = {name: torch.zeros(2, length) for name in ("drums", "bass", "other")}
    for name, part in parts.items():
        stems[STEMS.get(name, "other")][:, : part.shape[1]] += part
    return stems


def repeated(voice: Tensor, length: int) -> Tensor:
    """Return ``voice`` again and again, with a pause between."""
    once = torch.nn.functional.pad(voice, (0, round(PAUSE_SECONDS * SAMPLE_RATE)))
    return once.repeat(1, -(-length // once.shape[1]))[:, :length]


def main() -> None:
    """Write the songs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--band", type=Path, required=True)
    parser.add_argument("--voices", type=Path, nargs="+", default=[])
    arguments = parser.parse_args()
    stems = band_stems(arguments.band)
    band = torch.stack(list(stems.values())).sum(0)
    songs = {"band": stems}
    for path in arguments.voices:
        voice = read(path)
        voice = voice * (level(band) / level(voice))
        songs[f"band-{path.stem}"] = {**stems, "vocals": repeated(voice, band.shape[1])}
    for name, parts in songs.items():
        peak = torch.stack(list(parts.values())).sum(0).abs().max()
        for stem, samples in parts.items():
            folder = arguments.out / name
            folder.mkdir(parents=True, exist_ok=True)
            with open_writer(
                folder / f"{stem}.wav",
                format=OutputFormat("wav"),
                sample_rate=SAMPLE_RATE,
                num_channels=2,
            ) as writer:
                writer.write((0.9 * samples / peak).numpy())
                writer.commit()


if __name__ == "__main__":
    main()
