"""Every writer: what is written and read again has its length, its samples, its tags."""

from __future__ import annotations

import numpy as np
import pytest

from audiform.io import (
    WRITERS,
    AudioReader,
    OutputFormat,
    encoded_size_estimate,
    open_writer,
    probe,
    resampled_length,
)

PCM = [
    OutputFormat("wav"),
    OutputFormat("wav", bit_depth=24),
    OutputFormat("wav", is_float=True),
    OutputFormat("flac"),
    OutputFormat("flac", bit_depth=24),
]
LOSSY = [OutputFormat(name) for name in ("ogg", "mp3", "m4a", "opus")]
ALL = PCM + LOSSY

#: Largest error of the lossy codecs on a soft sine at their default rates.
LOSSY_TOLERANCE = {"ogg": 0.03, "mp3": 0.02, "m4a": 0.05, "opus": 0.03}


def label(format: OutputFormat) -> str:
    return format.name + ("_float" if format.is_float else f"_{format.bits}" if format.bits else "")


def sine(num_samples: int, num_channels: int, sample_rate: int = 44100) -> np.ndarray:
    time = np.arange(num_samples) / sample_rate
    phases = np.arange(num_channels)[:, None]
    return (0.3 * np.sin(2 * np.pi * 330 * time + phases)).astype(np.float32)


def write(path, samples, format, sample_rate=44100, *, block=5000, **options):
    with open_writer(
        path, format=format, sample_rate=sample_rate, num_channels=len(samples), **options
    ) as writer:
        for start in range(0, samples.shape[1], block):
            writer.write(samples[:, start : start + block])
        writer.commit()
    return writer


def read(path) -> np.ndarray:
    with AudioReader(path) as reader:
        return np.concatenate(list(reader), axis=1)


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [8000, 44100, 96000])
@pytest.mark.parametrize("num_samples", [1, 7, 1152, 10007])
@pytest.mark.parametrize("format", PCM, ids=label)
def test_pcm_keeps_length_and_samples(tmp_path, format, num_samples, sample_rate, num_channels):
    path = tmp_path / f"song{format.extension}"
    samples = sine(num_samples, num_channels)
    writer = write(path, samples, format, sample_rate)
    again = read(path)
    assert again.shape == samples.shape
    assert again.dtype == np.float32
    tolerance = 0.0 if format.is_float else 0.5 / 2 ** (format.bits - 1)  # rounded to nearest
    assert np.abs(again - samples).max() <= tolerance
    assert writer.note is None
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.parametrize("num_channels", [1, 2])
@pytest.mark.parametrize("sample_rate", [8000, 44100, 48000, 192000])
@pytest.mark.parametrize("num_samples", [500, 1024, 10007])
@pytest.mark.parametrize("format", LOSSY, ids=label)
def test_lossy_keeps_length(tmp_path, format, num_samples, sample_rate, num_channels):
    path = tmp_path / f"song{format.extension}"
    writer = write(path, sine(num_samples, num_channels), format, sample_rate)
    expected = resampled_length(
        num_samples, from_rate_hz=sample_rate, to_rate_hz=writer.sample_rate
    )
    assert read(path).shape == (num_channels, expected)
    assert probe(path).num_samples == expected
    assert (writer.note is None) == (writer.sample_rate == sample_rate)


@pytest.mark.parametrize("format", LOSSY, ids=label)
def test_lossy_is_aligned_and_close(tmp_path, format):
    path = tmp_path / f"song{format.extension}"
    samples = sine(30011, 2, sample_rate=48000)
    write(path, samples, format, 48000)
    inner = slice(2000, -2000)
    error = np.abs(read(path) - samples)[:, inner].max()
    assert error < LOSSY_TOLERANCE[format.name]


@pytest.mark.parametrize("name", WRITERS)
def test_size_estimate_is_an_upper_bound(tmp_path, name):
    rng = np.random.default_rng(0)
    samples = rng.uniform(-1, 1, (2, 100_000)).astype(np.float32)
    format = OutputFormat(name)
    path = write(tmp_path / "song", samples, format).path
    size = path.stat().st_size
    estimate = encoded_size_estimate(format, 44100, 2, samples.shape[1])
    assert size <= estimate < 8 * size + 100_000
