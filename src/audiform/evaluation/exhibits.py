"""What a report shows of a song besides its figures: spectrograms and a few seconds of sound."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from audiform.evaluation.png import encode_png
from audiform.evaluation.song_audio import SongAudio
from audiform.io import OutputFormat, open_writer
from audiform.metrics.bleed import MelBands

#: Transform of the pictures, their size in bands and columns, and what is black.
PICTURE_N_FFT = 2048
PICTURE_BANDS = 72
PICTURE_COLUMNS = 360
PICTURE_RANGE_DB = 70.0

#: Sound in a page, in kbit/s.
EXCERPT_KBPS = 128


@dataclass(frozen=True)
class Exhibits:
    """Pictures (PNG) and sounds (MP3) by what they are of: ``mixture``, ``reference/drums`` ..."""

    pictures: dict[str, bytes]
    sounds: dict[str, bytes]
    excerpt_start_seconds: float


def exhibit(audio: SongAudio, *, excerpt_seconds: float) -> Exhibits:
    """Draw a song, and cut out its loudest ``excerpt_seconds`` (no sound if that is 0)."""
    references = audio.references
    sources = references.sources
    names = ["mixture", *(f"{kind}/{s}" for kind in ("reference", "estimate") for s in sources)]
    pictures = _Pictures(len(names), references.num_samples, references.sample_rate)
    seconds = []
    for start, count in references.spans():
        signals = _signals(audio, start, count)
        pictures.add(signals, start)
        energies = signals[0].square().mean(0).split(references.sample_rate)
        seconds += [float(part.sum()) for part in energies]
    length = round(excerpt_seconds * references.sample_rate)
    first = _loudest(seconds, round(excerpt_seconds)) * references.sample_rate
    first = max(0, min(first, references.num_samples - length))
    sounds = {}
    if length:
        excerpt = _signals(audio, first, min(length, references.num_samples - first))
        sounds = {
            name: encode_sound(signal.numpy(), references.sample_rate)
            for name, signal in zip(names, excerpt, strict=True)
        }
    return Exhibits(
        pictures=dict(zip(names, pictures.encode(), strict=True)),
        sounds=sounds,
        excerpt_start_seconds=first / references.sample_rate,
    )


def encode_sound(samples: np.ndarray, sample_rate: int) -> bytes:
    """Return (channels, time) as an MP3."""
    with tempfile.TemporaryDirectory(prefix="audiform-") as folder:
        path = Path(folder) / "excerpt.mp3"
        with open_writer(
            path,
            format=OutputFormat("mp3", bitrate_kbps=EXCERPT_KBPS),
            sample_rate=sample_rate,
            num_channels=len(samples),
        ) as writer:
            writer.write(samples)
            writer.commit()
        return path.read_bytes()


def _signals(audio: SongAudio, start: int, count: int) -> Tensor:
    """Return mixture, references and estimates, (signals, channels, count)."""
    truth = audio.references.read(start, count)
    return torch.from_numpy(np.concatenate([truth, audio.read_estimates(start, count)]))


def _loudest(seconds: list[float], length: int) -> int:
    """Return the second from which on ``length`` seconds have the most energy."""
    sums = np.convolve(seconds, np.ones(max(1, min(length, len(seconds)))), mode="valid")
    return int(sums.argmax())


class _Pictures:
    """Mel spectrograms of a whole song, squeezed into a few hundred columns."""

    def __init__(self, num_signals: int, num_samples: int, sample_rate: int) -> None:
        self._bands = MelBands.spread(
            sample_rate=sample_rate, n_fft=PICTURE_N_FFT, num_bands=PICTURE_BANDS
        )
        frames = max(1, num_samples // PICTURE_N_FFT)
        self._columns = min(PICTURE_COLUMNS, frames)
        self._per_column = num_samples / self._columns
        self._power = torch.zeros(PICTURE_BANDS, num_signals, self._columns)
        self._window = torch.hann_window(PICTURE_N_FFT)

    def add(self, signals: Tensor, start: int) -> None:
        mono = signals.mean(dim=1)
        if mono.shape[1] < PICTURE_N_FFT:
            mono = torch.nn.functional.pad(mono, (0, PICTURE_N_FFT - mono.shape[1]))
        frames = mono.unfold(-1, PICTURE_N_FFT, PICTURE_N_FFT) * self._window
        power = torch.fft.rfft(frames).abs().square().permute(2, 0, 1)
        bands = self._bands(power.flatten(1)).unflatten(1, power.shape[1:])
        middles = start + PICTURE_N_FFT * (torch.arange(frames.shape[1]) + 0.5)
        columns = (middles / self._per_column).long().clamp(max=self._columns - 1)
        self._power.index_add_(2, columns, bands)

    def encode(self) -> list[bytes]:
        levels = 10 * self._power.clamp(min=1e-12).log10()
        top = levels.max()
        shades = ((levels - top) / PICTURE_RANGE_DB + 1).clamp(0, 1) * 255
        upright = shades.flip(0).round().to(torch.uint8).permute(1, 0, 2)
        return [encode_png(picture.numpy()) for picture in upright]
