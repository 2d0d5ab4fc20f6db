"""What is done to single sounds: speed, fades, places in a track and between the speakers.

Sounds are float32 (1 or 2 channels, time) at 44.1 kHz, tracks have two channels.
"""

from __future__ import annotations

import math

import numpy as np
import soxr

from audiform.data.rendering.samples import SAMPLE_RATE

#: Ratios nearer to 1 than this (a fiftieth of a semitone) are left as they are.
SAME_SPEED = 1e-3


def silence(seconds: float) -> np.ndarray:
    """Return an empty track."""
    return np.zeros((2, round(seconds * SAMPLE_RATE)), dtype=np.float32)


def change_speed(audio: np.ndarray, ratio: float) -> np.ndarray:
    """Play ``audio`` ``ratio`` times as fast, so that its pitch follows."""
    if abs(ratio - 1.0) < SAME_SPEED or audio.shape[-1] == 0:
        return audio
    faster = soxr.resample(audio.T, SAMPLE_RATE * ratio, SAMPLE_RATE, quality="MQ")
    return np.ascontiguousarray(faster.T)


def fade_ends(audio: np.ndarray, *, in_ms: float, out_ms: float) -> np.ndarray:
    """Return a copy that begins and ends with halves of a raised cosine."""
    faded = np.array(audio, dtype=np.float32)
    length = audio.shape[-1]
    start = min(length, round(in_ms * SAMPLE_RATE / 1000.0))
    end = min(length, round(out_ms * SAMPLE_RATE / 1000.0))
    if start:
        faded[..., :start] *= _rise(start)
    if end:
        faded[..., length - end :] *= _rise(end)[::-1]
    return faded


def _rise(length: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(np.pi * np.arange(length) / length)).astype(np.float32)


def add_at(track: np.ndarray, audio: np.ndarray, onset_samples: int) -> None:
    """Add ``audio`` to ``track`` in place, as far as it fits; one channel goes to both."""
    if onset_samples < 0:
        audio, onset_samples = audio[:, -onset_samples:], 0
    end = min(track.shape[-1], onset_samples + audio.shape[-1])
    if end > onset_samples:
        track[:, onset_samples:end] += audio[:, : end - onset_samples]


def pan(audio: np.ndarray, position: float) -> np.ndarray:
    """Place ``audio`` between left (-1) and right (1) at equal power, the middle unchanged."""
    angle = (position + 1.0) * math.pi / 4.0
    gains = math.sqrt(2.0) * np.array([[math.cos(angle)], [math.sin(angle)]], dtype=np.float32)
    return audio * gains


def widen(audio: np.ndarray, delay_ms: float) -> np.ndarray:
    """Let the right side come later, as one of two microphones would hear it."""
    late = round(delay_ms * SAMPLE_RATE / 1000.0)
    both = np.broadcast_to(audio, (2, audio.shape[-1])).copy()
    both[1, late:] = both[1, : both.shape[-1] - late].copy()
    both[1, :late] = 0.0
    return both


def to_peak(audio: np.ndarray, peak: float) -> np.ndarray:
    """Scale so that the largest sample is ``peak``; silence stays silence."""
    found = float(np.abs(audio).max()) if audio.size else 0.0
    return audio * np.float32(peak / found) if found > 1e-6 else audio


def rms(audio: np.ndarray) -> float:
    """Return the root of the mean square over all channels."""
    return float(np.sqrt(np.mean(np.square(audio)))) if audio.size else 0.0


def amplitude(level_db: float) -> np.float32:
    """Return the factor that is a gain in dB."""
    return np.float32(10.0 ** (level_db / 20.0))


def midi_to_hz(note: float) -> float:
    """Return the frequency of a MIDI note number.

    >>> midi_to_hz(57.0)
    220.0
    """
    return float(440.0 * 2.0 ** ((note - 69.0) / 12.0))
