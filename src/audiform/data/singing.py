"""Singing made from speech: a voice is taken apart, given a melody, and put together again.

There is little openly licensed singing, and much openly licensed speech. The WORLD vocoder
(M. Morise, F. Yokomori, K. Ozawa, "WORLD: a vocoder-based high-quality speech synthesis
system for real-time applications", 2016) splits speech into pitch, spectral envelope and
aperiodicity; here the pitch becomes a melody with vibrato and glides, and voiced stretches are
held longer, as singers do. Needs the package ``pyworld``, which no other part of the package
needs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from audiform.data.render import SCALES, limit_peak, midi_to_hz, process_voice
from audiform.data.samples import SAMPLE_RATE, Sample, SampleLibrary

#: Step of the vocoder's frames.
FRAME_MS = 5.0


@dataclass(frozen=True)
class VoiceAnalysis:
    """Speech taken apart: pitch in Hz (0 = unvoiced), envelope and aperiodicity per frame."""

    pitch_hz: np.ndarray
    envelope: np.ndarray
    aperiodicity: np.ndarray


def analyse_voice(audio: np.ndarray) -> VoiceAnalysis:
    """Take a mono voice at 44.1 kHz apart."""
    import pyworld

    audio = np.ascontiguousarray(audio, dtype=np.float64)
    pitch, times = pyworld.dio(audio, SAMPLE_RATE, frame_period=FRAME_MS)
    pitch = pyworld.stonemask(audio, pitch, times, SAMPLE_RATE)
    envelope = pyworld.cheaptrick(audio, pitch, times, SAMPLE_RATE)
    aperiodicity = pyworld.d4c(audio, pitch, times, SAMPLE_RATE)
    return VoiceAnalysis(pitch, envelope.astype(np.float32), aperiodicity.astype(np.float32))


def draw_melody(rng: np.random.Generator, *, frames: int, centre_midi: float) -> np.ndarray:
    """Return a pitch in Hz per frame: notes of a scale around a centre, glides and vibrato."""
    scale = SCALES[int(rng.integers(len(SCALES)))]
    frame_seconds = FRAME_MS / 1000.0
    degree, notes, filled = int(rng.integers(-3, 4)), np.zeros(frames), 0
    while filled < frames:
        length = int(rng.lognormal(np.log(0.4), 0.6) / frame_seconds) + 10
        octave, place = divmod(degree, len(scale))
        notes[filled : filled + length] = round(centre_midi) + 12 * octave + scale[place]
        filled += length
        degree = int(np.clip(degree + rng.integers(-2, 3), -5, 6))
    glide = max(1, int(rng.uniform(0.02, 0.1) / frame_seconds))
    kernel = np.hanning(glide + 2)[1:-1]
    padded = np.pad(notes, (glide // 2, glide - 1 - glide // 2), mode="edge")
    notes = np.convolve(padded, kernel / kernel.sum(), mode="valid")
    time = np.arange(frames) * frame_seconds
    vibrato = rng.uniform(0.0, 0.5) * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * time)
    drift = np.convolve(rng.normal(0.0, 0.6, frames), np.ones(20) / 20, mode="same")
    return np.array([midi_to_hz(note) for note in notes + vibrato + 0.3 * drift])


def sing(
    analysis: VoiceAnalysis, rng: np.random.Generator, *, seconds: float, formant_ratio: float
) -> np.ndarray:
    """Return mono singing of about this length from a random place of the analysed voice.

    ``formant_ratio`` above 1 makes the vocal tract shorter: another singer.
    """
    import pyworld

    frames = int(seconds * 1000.0 / FRAME_MS)
    voiced = analysis.pitch_hz > 0
    # Voiced frames are held longer than unvoiced ones.
    hold = float(rng.uniform(1.2, 3.0))
    costs = np.cumsum(np.where(voiced, hold, 1.0))
    start = float(rng.uniform(0.0, max(0.0, costs[-1] - frames)))
    source = np.searchsorted(costs, start + np.arange(min(frames, int(costs[-1]) - 1)))
    source = np.minimum(source, len(costs) - 1)
    spoken = analysis.pitch_hz[voiced]
    usual = float(np.median(spoken)) if spoken.size else 150.0
    centre = 69.0 + 12.0 * np.log2(usual * formant_ratio / 440.0) + rng.uniform(0.0, 9.0)
    melody = draw_melody(rng, frames=len(source), centre_midi=centre)
    pitch = np.where(voiced[source], melody, 0.0)
    envelope = analysis.envelope[source].astype(np.float64)
    bins = np.arange(envelope.shape[1])
    warped = np.clip((bins / formant_ratio).astype(int), 0, envelope.shape[1] - 1)
    envelope = np.ascontiguousarray(envelope[:, warped])
    aperiodicity = analysis.aperiodicity[source].astype(np.float64)
    aperiodicity = np.clip(aperiodicity * rng.uniform(0.6, 1.0), 1e-6, 1.0 - 1e-6)
    audio = pyworld.synthesize(pitch, envelope, aperiodicity, SAMPLE_RATE, FRAME_MS)
    return audio.astype(np.float32)


class SungVoices:
    """Renders singing from a library's voices; each voice is analysed once, when first drawn."""

    def __init__(self, library: SampleLibrary, *, analysed_seconds: float = 25.0) -> None:
        self._samples = [s for s in library.of_class("voices") if s.seconds > 4.0]
        self._analysed_seconds = analysed_seconds
        self._analyses: dict[str, VoiceAnalysis] = {}

    def __call__(
        self, library: SampleLibrary, rng: np.random.Generator, seconds: float
    ) -> np.ndarray:
        """Render a treated vocal stem, (time, 2)."""
        sample = self._samples[int(rng.integers(len(self._samples)))]
        analysis = self._analysis(library, sample)
        ratio = float(np.clip(2.0 ** rng.normal(0.0, 0.12), 0.8, 1.25))
        track = np.zeros((int(seconds * SAMPLE_RATE), 2), dtype=np.float32)
        position = 0
        while position < len(track):
            phrase = sing(analysis, rng, seconds=float(rng.uniform(3.0, 9.0)), formant_ratio=ratio)
            phrase = phrase[: len(track) - position]
            track[position : position + len(phrase)] += phrase[:, None]
            position += len(phrase) + int(rng.uniform(0.0, 1.0) * SAMPLE_RATE)
        return process_voice(limit_peak(track), library, rng)

    def _analysis(self, library: SampleLibrary, sample: Sample) -> VoiceAnalysis:
        key = str(sample.path)
        if key not in self._analyses:
            length = int(self._analysed_seconds * SAMPLE_RATE)
            self._analyses[key] = analyse_voice(library.decode(sample)[:length, 0])
        return self._analyses[key]
