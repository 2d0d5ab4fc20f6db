"""Small datasets in every layout, of sounds that are easy to tell apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np
import soundfile

RATE = 22050
STEMS = ("drums", "bass", "other", "vocals")


def sound(name: str, seconds: float = 2.0, *, rate: int = RATE, channels: int = 2) -> np.ndarray:
    """A sound (time, channels) that depends on ``name``: noise under a moving level."""
    rng = np.random.default_rng([ord(letter) for letter in name])
    time = np.arange(round(seconds * rate)) / rate
    tones = sum(
        np.sin(2 * np.pi * rng.uniform(80, 3000) * time + rng.uniform(0, 6)) for _ in range(4)
    )
    level = 0.6 + 0.4 * np.sin(2 * np.pi * rng.uniform(0.4, 2) * time + rng.uniform(0, 6))
    noise = rng.normal(size=(len(time), channels))
    pan = rng.uniform(0.6, 1.0, size=channels)
    return (0.03 * level[:, None] * (tones[:, None] * pan + 0.3 * noise)).astype(np.float32)


def write(path: Path, audio: np.ndarray, *, rate: int = RATE, subtype: str = "PCM_16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with_subtype = subtype if path.suffix != ".ogg" else None
    soundfile.write(path, audio, rate, subtype=with_subtype)
    return path


def song_stems(name: str, stems: Sequence[str] = STEMS, **kwargs: float) -> dict[str, np.ndarray]:
    return {stem: sound(f"{name}/{stem}", **kwargs) for stem in stems}  # type: ignore[arg-type]


def write_song(
    folder: Path,
    stems: Mapping[str, np.ndarray],
    *,
    rate: int = RATE,
    suffix: str = ".wav",
    mixture: bool = True,
    subtype: str = "PCM_16",
) -> Path:
    for stem, audio in stems.items():
        write(folder / f"{stem}{suffix}", audio, rate=rate, subtype=subtype)
    if mixture:
        total = np.sum(list(stems.values()), axis=0)
        write(folder / f"mixture{suffix}", total, rate=rate, subtype=subtype)
    return folder


def write_musdb(root: Path, songs: Mapping[str, Sequence[str]] | None = None) -> Path:
    songs = songs or {"train": ("Ann - One", "Ann - Two", "Bob - Three"), "test": ("Cy - Four",)}
    for split, names in songs.items():
        for name in names:
            write_song(root / split / name, song_stems(name))
    return root


def write_pair(
    folder: Path, *, dry_name: str = "input.wav", wet_name: str = "output.wav", seconds: float = 2.0
) -> Path:
    dry = sound(f"{folder.name}/{wet_name}", seconds, channels=1)
    write(folder / dry_name, dry)
    write(folder / wet_name, np.tanh(4 * dry) / 4)
    return folder


def write_stream_file(
    path: Path, streams: Sequence[np.ndarray], *, rate: int = 44100, codec: str = "aac"
) -> Path:
    """Write arrays (time, 2) as the audio streams of one file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4", options={"movie_timescale": str(rate)}) as container:
        outputs = [container.add_stream(codec, rate=rate, layout="stereo") for _ in streams]
        for output in outputs:
            output.bit_rate = 256_000
        for output, audio in zip(outputs, streams, strict=True):
            for start in range(0, len(audio), 1024):
                piece = np.ascontiguousarray(audio[start : start + 1024].T, dtype=np.float32)
                frame = av.AudioFrame.from_ndarray(piece, format="fltp", layout="stereo")
                frame.rate, frame.pts = rate, start
                container.mux(output.encode(frame))
            container.mux(output.encode(None))
    return path
