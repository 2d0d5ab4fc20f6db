"""Stems rendered from single sounds: drums, bass, other instruments and voices.

No openly licensed corpus of songs is wide enough to learn from alone; a sequencer that plays
hits, notes and phrases at random makes up for some of it. Every function takes the library, a
generator and a length, and returns float32 (time, 2) at 44.1 kHz with a peak of at most 1.
The music is no good; the timbres, envelopes and overlaps are what a separator learns from.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from audiform.data.samples import SAMPLE_RATE, Sample, SampleLibrary

#: Scale degrees in semitones: major, natural minor, minor pentatonic, dorian.
SCALES = ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10), (0, 3, 5, 7, 10), (0, 2, 3, 5, 7, 9, 10))

#: Sixteen steps to a bar: kick, snare. Rock, four on the floor, half-time, funk, breakbeat, pop.
GROOVES = (
    ("x.......x.x.....", "....x.......x..."),
    ("x...x...x...x...", "....x.......x..."),
    ("x.....x.........", "........x......."),
    ("x..x..x...x..x..", "....x..x.x..x..."),
    ("x.x.......xx....", "....x..x.x..x..x"),
    ("x.....x.x.......", "....x.......x..."),
    ("x.........x.....", "....x.......x.x."),
    ("x..x....x..x....", "......x.......x."),
)
#: Steps of hi-hat or ride: eighths, sixteenths, quarters, off-beats, galloping.
TICKS = (
    "x.x.x.x.x.x.x.x.",
    "xxxxxxxxxxxxxxxx",
    "x...x...x...x...",
    "..x...x...x...x.",
    "x.xxx.xxx.xxx.xx",
)


@dataclass(frozen=True)
class Tempo:
    """The grid that a stem is sequenced on; ``swing`` delays every second sixteenth."""

    bpm: float
    swing: float

    def onset_seconds(self, step: int) -> float:
        """Return when the sixteenth number ``step`` sounds."""
        sixteenth = 15.0 / self.bpm
        return sixteenth * (step + (self.swing if step % 2 else 0.0))


def draw_tempo(rng: np.random.Generator) -> Tempo:
    """Draw 70 to 180 beats a minute; a third of them swing."""
    swing = rng.uniform(0.05, 0.33) if rng.random() < 0.33 else 0.0
    return Tempo(bpm=float(rng.uniform(70.0, 180.0)), swing=float(swing))


# Sound processing ---------------------------------------------------------------------------


def change_speed(audio: np.ndarray, ratio: float) -> np.ndarray:
    """Play ``audio`` ``ratio`` times as fast, so that its pitch follows; linear interpolation."""
    if abs(ratio - 1.0) < 1e-4:
        return audio
    positions = np.arange(0.0, len(audio) - 1, ratio)
    before = positions.astype(np.int64)
    share = (positions - before).astype(np.float32)[:, None]
    return audio[before] * (1.0 - share) + audio[before + 1] * share


def pan(audio: np.ndarray, position: float) -> np.ndarray:
    """Place ``audio`` between left (-1) and right (1), balance law, louder side unchanged."""
    gains = np.array([min(1.0, 1.0 - position), min(1.0, 1.0 + position)], dtype=np.float32)
    return audio * gains


def fade_ends(audio: np.ndarray, *, fade_in_samples: int, fade_out_samples: int) -> np.ndarray:
    """Return a copy with linear fades at both ends."""
    faded = audio.copy()
    start, end = min(fade_in_samples, len(audio)), min(fade_out_samples, len(audio))
    if start:
        faded[:start] *= np.linspace(0.0, 1.0, start, dtype=np.float32)[:, None]
    if end:
        faded[-end:] *= np.linspace(1.0, 0.0, end, dtype=np.float32)[:, None]
    return faded


def add_at(track: np.ndarray, audio: np.ndarray, onset_samples: int) -> None:
    """Add ``audio`` to ``track`` in place, as far as it fits."""
    if onset_samples < 0:
        audio, onset_samples = audio[-onset_samples:], 0
    end = min(len(track), onset_samples + len(audio))
    if end > onset_samples:
        track[onset_samples:end] += audio[: end - onset_samples]


def convolve(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolve each channel with its response (FFT); the length of ``audio`` is kept."""
    size = 1 << int(np.ceil(np.log2(len(audio) + len(response))))
    spectrum = np.fft.rfft(audio, size, axis=0) * np.fft.rfft(response, size, axis=0)
    return np.fft.irfft(spectrum, size, axis=0)[: len(audio)].astype(np.float32)


def shape_spectrum(audio: np.ndarray, gain_db: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Filter with zero phase: ``gain_db`` maps frequencies in Hz to gains in dB."""
    size = 1 << int(np.ceil(np.log2(len(audio) + 4096)))
    frequencies = np.fft.rfftfreq(size, 1.0 / SAMPLE_RATE)
    gains = 10.0 ** (gain_db(frequencies) / 20.0)
    spectrum = np.fft.rfft(audio, size, axis=0) * gains[:, None]
    return np.fft.irfft(spectrum, size, axis=0)[: len(audio)].astype(np.float32)


def low_pass(audio: np.ndarray, *, cutoff_hz: float, db_per_octave: float = 24.0) -> np.ndarray:
    """Attenuate above ``cutoff_hz``, zero phase."""
    return shape_spectrum(
        audio, lambda hz: -db_per_octave * np.log2(np.maximum(hz / cutoff_hz, 1.0))
    )


def high_pass(audio: np.ndarray, *, cutoff_hz: float, db_per_octave: float = 24.0) -> np.ndarray:
    """Attenuate below ``cutoff_hz``, zero phase."""
    return shape_spectrum(
        audio,
        lambda hz: -db_per_octave * np.log2(np.maximum(cutoff_hz / np.maximum(hz, 1.0), 1.0)),
    )


def drive(audio: np.ndarray, gain_db: float) -> np.ndarray:
    """Distort by a tanh after bringing the peak to ``gain_db`` above full scale."""
    peak = float(np.abs(audio).max()) + 1e-9
    return np.tanh(audio * np.float32(10.0 ** (gain_db / 20.0) / peak))


def compress(audio: np.ndarray, *, amount: float, window_seconds: float = 0.05) -> np.ndarray:
    """Even out the level: gain = envelope ** -amount, envelope = RMS over a sliding window."""
    window = max(1, int(window_seconds * SAMPLE_RATE))
    power = np.cumsum(np.pad(np.mean(np.square(audio), axis=1, dtype=np.float64), (window, 0)))
    envelope = np.sqrt(np.maximum(power[window:] - power[:-window], 0.0) / window)
    envelope = np.maximum(envelope, 0.03 * envelope.max() + 1e-9)
    return audio * (envelope**-amount).astype(np.float32)[:, None]


def limit_peak(audio: np.ndarray, peak: float = 0.9) -> np.ndarray:
    """Scale so that the peak is ``peak``; silence stays silence."""
    found = float(np.abs(audio).max()) if audio.size else 0.0
    return audio * np.float32(peak / found) if found > 1e-6 else audio


def add_room(
    audio: np.ndarray, library: SampleLibrary, rng: np.random.Generator, *, wet_db: float
) -> np.ndarray:
    """Add a room response of the library, ``wet_db`` against the dry sound."""
    responses = library.of_class("rir")
    if not responses:
        return audio
    response = library.decode(responses[rng.integers(len(responses))])
    wet = convolve(audio, response)
    dry_level = float(np.sqrt(np.mean(np.square(audio)))) + 1e-9
    wet_level = float(np.sqrt(np.mean(np.square(wet)))) + 1e-9
    return audio + wet * np.float32(dry_level / wet_level * 10.0 ** (wet_db / 20.0))


def random_tilt(audio: np.ndarray, rng: np.random.Generator, *, range_db: float) -> np.ndarray:
    """Equalise by a smooth random curve within +-``range_db``."""
    knots = rng.uniform(-range_db, range_db, 7)
    places = np.log2(np.array([40.0, 110.0, 300.0, 800.0, 2200.0, 6000.0, 16000.0]))
    return shape_spectrum(audio, lambda hz: np.interp(np.log2(np.maximum(hz, 20.0)), places, knots))


# Synthetic tones ----------------------------------------------------------------------------


def synthesise_note(
    rng: np.random.Generator, *, f0_hz: float, seconds: float, wave: int, brightness: float
) -> np.ndarray:
    """Return a synthesiser's note: harmonics of a saw, square, triangle or sine, decaying.

    ``wave`` 0 to 3 picks the series; ``brightness`` in (0, 1] how many harmonics are heard.
    """
    time = np.arange(int(seconds * SAMPLE_RATE), dtype=np.float32) / SAMPLE_RATE
    count = max(1, int(min(40, brightness * 40, 14000.0 / f0_hz)))
    numbers = np.arange(1, count + 1)
    if wave == 0:
        weights = 1.0 / numbers
    elif wave == 1:
        weights = np.where(numbers % 2 == 1, 1.0 / numbers, 0.0)
    elif wave == 2:
        weights = np.where(numbers % 2 == 1, 1.0 / numbers**2, 0.0)
    else:
        weights = np.where(numbers == 1, 1.0, 0.0)
    closing = rng.uniform(0.0, 4.0) * rng.integers(0, 2)
    audio = np.zeros_like(time)
    for number, weight in zip(numbers, weights, strict=True):
        if weight:
            phase = np.float32(2 * np.pi * f0_hz * number) * time
            audio += (
                np.float32(weight)
                * np.sin(phase)
                * np.exp(np.float32(-closing * (number - 1) / 6.0) * time)
            )
    return np.repeat(audio[:, None], 2, axis=1)


class Instrument:
    """Something that plays notes: recorded ones of one folder, or a synthesiser."""

    def __init__(
        self,
        library: SampleLibrary,
        rng: np.random.Generator,
        *,
        classes: tuple[str, ...],
        synthetic_share: float,
    ) -> None:
        self._library = library
        self._rng = rng
        folders = library.instruments(*classes)
        names = sorted(folders)
        if not names or rng.random() < synthetic_share:
            self.name = "synthesiser"
            self._samples: list[Sample] = []
            self._wave = int(rng.integers(0, 4))
            self._brightness = float(rng.uniform(0.1, 1.0))
        else:
            self.name = names[int(rng.integers(len(names)))]
            self._samples = folders[self.name]
        self._pitched = [sample for sample in self._samples if sample.f0_hz > 20.0]

    @property
    def pitched(self) -> bool:
        """Whether it plays the pitches asked for (else whatever its sounds are)."""
        return not self._samples or len(self._pitched) >= 4

    def note(self, f0_hz: float, seconds: float) -> np.ndarray:
        """Return a note of about this pitch, at most this long, with short fades."""
        rng = self._rng
        if not self._samples:
            audio = synthesise_note(
                rng, f0_hz=f0_hz, seconds=seconds, wave=self._wave, brightness=self._brightness
            )
        elif self.pitched:
            distances = [abs(np.log2(s.f0_hz / f0_hz)) for s in self._pitched]
            nearest = np.argsort(distances)[:3]
            sample = self._pitched[int(nearest[rng.integers(len(nearest))])]
            ratio = f0_hz / sample.f0_hz
            while ratio > 2.1:
                ratio /= 2.0
            while ratio < 0.47:
                ratio *= 2.0
            needed = int((seconds + 0.1) * SAMPLE_RATE * ratio) + 2
            audio = change_speed(self._library.decode(sample)[:needed], ratio)
        else:
            sample = self._samples[int(rng.integers(len(self._samples)))]
            audio = change_speed(self._library.decode(sample), float(2.0 ** rng.uniform(-0.5, 0.5)))
        audio = audio[: int(seconds * SAMPLE_RATE)]
        return fade_ends(audio, fade_in_samples=60, fade_out_samples=int(0.03 * SAMPLE_RATE))


def midi_to_hz(note: float) -> float:
    """Return the frequency of a MIDI note number."""
    return float(440.0 * 2.0 ** ((note - 69.0) / 12.0))


# Stems --------------------------------------------------------------------------------------


def render_drums(library: SampleLibrary, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Play one kit in a random groove, with fills, human timing, room and compression."""
    track = np.zeros((int(seconds * SAMPLE_RATE), 2), dtype=np.float32)
    kits = library.instruments("drums")
    loops = kits.pop("drums/loops", [])
    tempo = draw_tempo(rng)
    if loops and rng.random() < 0.06:
        loop = library.decode(loops[int(rng.integers(len(loops)))])
        loop = change_speed(loop, float(2.0 ** rng.uniform(-0.3, 0.3)))
        for onset in range(0, len(track), len(loop)):
            add_at(track, loop, onset)
    else:
        _sequence_drums(track, library, kits, tempo, rng)
    if rng.random() < 0.5:
        track = add_room(track, library, rng, wet_db=float(rng.uniform(-26.0, -6.0)))
    if rng.random() < 0.4:
        track = compress(track, amount=float(rng.uniform(0.2, 0.6)), window_seconds=0.02)
    if rng.random() < 0.25:
        track = drive(track, float(rng.uniform(0.0, 12.0)))
    return limit_peak(random_tilt(track, rng, range_db=4.0))


def _sequence_drums(
    track: np.ndarray,
    library: SampleLibrary,
    kits: dict[str, list[Sample]],
    tempo: Tempo,
    rng: np.random.Generator,
) -> None:
    """Add a sequence of one kit's hits to ``track`` in place."""
    full = [name for name, hits in kits.items() if {"kick", "snare"} <= {hit.kind for hit in hits}]
    # Large acoustic kits are worth more than many small machines.
    weights = np.array([len(kits[name]) ** 0.7 for name in full])
    kit = kits[full[int(rng.choice(len(full), p=weights / weights.sum()))]]
    percussion = [hit for hits in kits.values() for hit in hits if hit.kind == "perc"]
    by_kind: dict[str, list[Sample]] = {}
    for hit in kit:
        by_kind.setdefault(hit.kind, []).append(hit)
    pitch = {kind: float(2.0 ** rng.normal(0.0, 0.12)) for kind in by_kind}
    places = {kind: float(rng.uniform(-0.5, 0.5)) for kind in ("tom", "ride", "hat", "crash")}
    gains = {kind: float(10.0 ** (rng.normal(0.0, 3.0) / 20.0)) for kind in by_kind}
    jitter = float(rng.uniform(0.0, 0.009))
    pieces: dict[tuple[str, str], np.ndarray] = {}
    choices = {
        kind: [hits[int(i)] for i in rng.permutation(len(hits))[:6]]
        for kind, hits in by_kind.items()
    }

    def play(kind: str, onset: float, velocity: float) -> None:
        if kind not in choices:
            return
        hit = choices[kind][int(rng.integers(len(choices[kind])))]
        key = (kind, str(hit.path))
        if key not in pieces:
            sound = limit_peak(change_speed(library.decode(hit), pitch[kind]), 0.8)
            pieces[key] = pan(sound, places.get(kind, 0.0)) * np.float32(gains[kind])
        start = int((onset + rng.normal(0.0, jitter)) * SAMPLE_RATE)
        add_at(track, pieces[key] * np.float32(velocity), start)

    ticker = "ride" if "ride" in choices and rng.random() < 0.25 else "hat"
    backbeat = "snare"
    if rng.random() < 0.12:
        backbeat = "clap" if "clap" in choices else "rim" if "rim" in choices else "snare"
    seconds = len(track) / SAMPLE_RATE
    steps = int(seconds / (15.0 / tempo.bpm)) + 1
    kick, snare = GROOVES[int(rng.integers(len(GROOVES)))]
    ticks = TICKS[int(rng.integers(len(TICKS)))]
    busy = float(rng.uniform(0.0, 0.08))
    open_share = float(rng.uniform(0.0, 0.15))
    tick_gain = float(rng.uniform(0.15, 0.5))
    crash_share = float(rng.uniform(0.0, 0.8))
    extra = None
    if percussion and rng.random() < 0.3:
        sound = library.decode(percussion[int(rng.integers(len(percussion)))])
        extra = pan(limit_peak(sound, 0.4), float(rng.uniform(-0.8, 0.8)))
    extra_steps = rng.random(16) < 0.3
    for step in range(steps):
        place = step % 16
        onset = tempo.onset_seconds(step)
        accent = 1.0 if place % 4 == 0 else 0.75
        fill = step % 64 >= 56 and rng.random() < 0.5
        if fill:
            play("tom" if rng.random() < 0.6 else "snare", onset, float(rng.uniform(0.4, 1.0)))
        if kick[place] == "x" or rng.random() < busy:
            play("kick", onset, float(rng.uniform(0.7, 1.0)))
        if snare[place] == "x":
            play(backbeat, onset, float(rng.uniform(0.7, 1.0)))
        elif rng.random() < busy:
            play("snare", onset, float(rng.uniform(0.1, 0.4)))
        if ticks[place] == "x":
            kind = ticker
            if ticker == "hat" and rng.random() < open_share:
                kind = "hat_open"
            play(kind, onset, accent * tick_gain * float(rng.uniform(0.7, 1.2)))
        if step % 64 == 0 and rng.random() < crash_share:
            play("crash", onset, float(rng.uniform(0.3, 0.8)))
        if extra is not None and extra_steps[place]:
            add_at(track, extra * np.float32(rng.uniform(0.3, 1.0)), int(onset * SAMPLE_RATE))


def render_bass(library: SampleLibrary, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Play a bass line: one instrument, roots and scale steps, drive and equalisation at times."""
    track = np.zeros((int(seconds * SAMPLE_RATE), 2), dtype=np.float32)
    instrument = Instrument(library, rng, classes=("bass",), synthetic_share=0.2)
    tempo = draw_tempo(rng)
    scale = SCALES[int(rng.integers(len(SCALES)))]
    root = int(rng.integers(28, 41))
    density = float(rng.uniform(0.2, 0.9))
    legato = float(rng.uniform(0.5, 1.0))
    bar_roots = [int(scale[int(rng.integers(len(scale)))]) for _ in range(4)]
    onsets = [
        step
        for step in range(int(seconds / (15.0 / tempo.bpm)))
        if step % 8 == 0 or (step % 2 == 0 and rng.random() < density) or rng.random() < 0.06
    ]
    for step, following in zip(onsets, [*onsets[1:], onsets[-1] + 4], strict=True):
        if rng.random() < 0.06:
            continue
        degree = bar_roots[(step // 16) % 4]
        if rng.random() < 0.3:
            degree += int(rng.choice([0, 7, 12, scale[int(rng.integers(len(scale)))]]))
        onset = tempo.onset_seconds(step)
        length = (tempo.onset_seconds(following) - onset) * legato + 0.05
        note = instrument.note(midi_to_hz(root + degree), min(length, 3.0))
        gain = np.float32(rng.uniform(0.6, 1.0))
        add_at(track, note * gain, int((onset + rng.normal(0.0, 0.004)) * SAMPLE_RATE))
    if rng.random() < 0.3:
        track = drive(track, float(rng.uniform(0.0, 20.0)))
    if rng.random() < 0.3:
        track = low_pass(track, cutoff_hz=float(rng.uniform(300.0, 3000.0)), db_per_octave=12.0)
    if rng.random() < 0.5:
        track = compress(track, amount=float(rng.uniform(0.2, 0.7)))
    return limit_peak(random_tilt(track, rng, range_db=4.0))


def render_other(library: SampleLibrary, rng: np.random.Generator, seconds: float) -> np.ndarray:
    """Layer one to three parts: chords, arpeggios, riffs or melodies of guitar, keys, others."""
    track = np.zeros((int(seconds * SAMPLE_RATE), 2), dtype=np.float32)
    tempo = draw_tempo(rng)
    scale = SCALES[int(rng.integers(len(SCALES)))]
    root = int(rng.integers(45, 57))
    for _ in range(int(rng.choice([1, 2, 3], p=[0.35, 0.4, 0.25]))):
        part = _render_part(library, rng, tempo, scale, root, len(track))
        track += limit_peak(part, 0.5) * np.float32(10.0 ** (rng.uniform(-10.0, 0.0) / 20.0))
    return limit_peak(random_tilt(track, rng, range_db=4.0))


def _render_part(
    library: SampleLibrary,
    rng: np.random.Generator,
    tempo: Tempo,
    scale: tuple[int, ...],
    root: int,
    length: int,
) -> np.ndarray:
    """Return one instrument's part of ``length`` samples."""
    guitar = rng.random() < 0.45
    classes = ("guitar",) if guitar else (("keys",) if rng.random() < 0.45 else ("other",))
    instrument = Instrument(library, rng, classes=classes, synthetic_share=0.0 if guitar else 0.2)
    distorted = guitar and "distorted" not in instrument.name and rng.random() < 0.5
    role = str(rng.choice(["chords", "arpeggio", "riff", "melody", "pad"]))
    wide = rng.random() < 0.4
    takes = 2 if wide and guitar and rng.random() < 0.7 else 1
    part = np.zeros((length, 2), dtype=np.float32)
    rhythm = rng.random(16) < rng.uniform(0.2, 0.6)
    rhythm[0] = True
    bar_roots = [int(scale[int(rng.integers(len(scale)))]) for _ in range(4)]
    power_chords = distorted and rng.random() < 0.6
    for take in range(takes):
        dry = np.zeros((length, 2), dtype=np.float32)
        _sequence_part(
            dry, instrument, rng, tempo, scale, root, role, rhythm, bar_roots, power_chords
        )
        if distorted:
            dry = drive(dry, float(rng.uniform(6.0, 36.0)))
            dry = low_pass(dry, cutoff_hz=float(rng.uniform(3000.0, 7000.0)))
            dry = high_pass(dry, cutoff_hz=float(rng.uniform(60.0, 150.0)), db_per_octave=12.0)
        if takes == 2:
            dry = pan(dry, (0.9 if take else -0.9) * float(rng.uniform(0.6, 1.1)))
        elif wide:
            delay = int(rng.uniform(0.008, 0.03) * SAMPLE_RATE)
            dry = np.stack([dry[:, 0], np.roll(dry[:, 1], delay)], axis=1)
        else:
            dry = pan(dry, float(rng.uniform(-0.7, 0.7)))
        part += dry
    if rng.random() < 0.6:
        part = add_room(part, library, rng, wet_db=float(rng.uniform(-20.0, -2.0)))
    return part


def _sequence_part(
    dry: np.ndarray,
    instrument: Instrument,
    rng: np.random.Generator,
    tempo: Tempo,
    scale: tuple[int, ...],
    root: int,
    role: str,
    rhythm: np.ndarray,
    bar_roots: list[int],
    power_chords: bool,
) -> None:
    """Add the notes of a part to ``dry`` in place."""
    sixteenth = 15.0 / tempo.bpm
    steps = int(len(dry) / SAMPLE_RATE / sixteenth)
    if role == "pad":
        onsets = [step for step in range(steps) if step % 16 == 0]
    elif role == "arpeggio":
        stride = int(rng.choice([1, 2, 2, 4]))
        onsets = [step for step in range(steps) if step % stride == 0]
    else:
        onsets = [step for step in range(steps) if rhythm[step % 16] or rng.random() < 0.04]
    octave = 12 * int(rng.integers(0, 2 if role in ("melody", "arpeggio") else 1))
    position = int(rng.integers(len(scale)))
    lasting = float(rng.uniform(0.6, 2.0))
    for index, step in enumerate(onsets):
        if rng.random() < 0.05:
            continue
        following = onsets[index + 1] if index + 1 < len(onsets) else step + 8
        onset = tempo.onset_seconds(step)
        length = min(4.0, max(0.08, (following - step) * sixteenth * lasting))
        degree = bar_roots[(step // 16) % 4]
        if power_chords:
            notes = [root - 12 + degree, root - 5 + degree, root + degree]
        elif role in ("chords", "pad"):
            place = scale.index(degree)
            chord = [scale[(place + k) % len(scale)] for k in (0, 2, 4)]
            notes = [root + c + 12 * int(rng.integers(0, 2)) for c in chord]
        elif role == "arpeggio":
            place = scale.index(degree) + (0, 2, 4, 2)[index % 4]
            notes = [root + octave + scale[place % len(scale)] + 12 * (place // len(scale))]
        else:
            position = int(np.clip(position + rng.integers(-2, 3), 0, 2 * len(scale) - 1))
            notes = [root + octave + scale[position % len(scale)] + 12 * (position // len(scale))]
        if not instrument.pitched:
            notes = notes[:1]
            length = max(length, 1.0)
        velocity = np.float32(rng.uniform(0.5, 1.0))
        for number, note in enumerate(notes):
            strum = 0.012 * number if role == "chords" else 0.0
            start = int((onset + strum + rng.normal(0.0, 0.005)) * SAMPLE_RATE)
            add_at(dry, instrument.note(midi_to_hz(note), length) * velocity, start)


def render_vocals(
    library: SampleLibrary,
    rng: np.random.Generator,
    seconds: float,
    *,
    samples: list[Sample] | None = None,
) -> np.ndarray:
    """String phrases of one voice together: gaps, pitch, doubling, compression, echo, room.

    ``samples`` are the voices to draw from, by default class ``voices``, singing three times in
    five.
    """
    length = int(seconds * SAMPLE_RATE)
    track = np.zeros((length, 2), dtype=np.float32)
    if samples is None:
        samples = library.of_class("voices")
        singing = [sample for sample in samples if "/sing_" in sample.path.as_posix()]
        spoken = [sample for sample in samples if "/sing_" not in sample.path.as_posix()]
        samples = singing if singing and (not spoken or rng.random() < 0.6) else spoken
    sample = samples[int(rng.integers(len(samples)))]
    voice = library.decode(sample)
    ratio = float(2.0 ** (rng.normal(0.0, 2.5) / 12.0))
    ratio = float(np.clip(ratio, 0.7, 1.42))
    position = 0
    while position < length:
        phrase_length = int(rng.uniform(2.0, 9.0) * SAMPLE_RATE * ratio)
        start = int(rng.integers(max(1, len(voice) - phrase_length)))
        phrase = change_speed(voice[start : start + phrase_length], ratio)
        phrase = fade_ends(phrase, fade_in_samples=400, fade_out_samples=1500)
        add_at(track, phrase, position)
        position += len(phrase) + int(max(0.0, rng.normal(0.3, 0.6)) * SAMPLE_RATE)
    return process_voice(track, library, rng)


def process_voice(
    track: np.ndarray, library: SampleLibrary, rng: np.random.Generator
) -> np.ndarray:
    """Treat a dry voice as a mixing engineer might."""
    track = high_pass(track, cutoff_hz=float(rng.uniform(60.0, 140.0)), db_per_octave=12.0)
    if rng.random() < 0.7:
        track = compress(track, amount=float(rng.uniform(0.2, 0.7)))
    track = random_tilt(limit_peak(track, 0.5), rng, range_db=4.0)
    dry = track
    if rng.random() < 0.3:
        for side in (-1.0, 1.0):
            shift = float(2.0 ** (rng.normal(0.0, 0.12) / 12.0))
            double = np.roll(change_speed(dry, shift), int(rng.uniform(0.008, 0.035) * SAMPLE_RATE))
            double = np.pad(double, ((0, max(0, len(dry) - len(double))), (0, 0)))[: len(dry)]
            gain = np.float32(10.0 ** (rng.uniform(-12.0, -2.0) / 20.0))
            track = track + gain * pan(double, side * float(rng.uniform(0.4, 1.0)))
    if rng.random() < 0.2:
        delay = int(rng.uniform(0.12, 0.5) * SAMPLE_RATE)
        for repeat in range(1, 4):
            gain = np.float32(10.0 ** (-rng.uniform(6.0, 10.0) * repeat / 20.0))
            echo = np.zeros_like(track)
            add_at(echo, dry * gain, delay * repeat)
            track = track + pan(echo, float(rng.uniform(-0.6, 0.6)))
    if rng.random() < 0.7:
        track = add_room(track, library, rng, wet_db=float(rng.uniform(-24.0, -4.0)))
    if rng.random() < 0.15:
        track = drive(track, float(rng.uniform(-6.0, 12.0)))
    if rng.random() < 0.15:
        track = pan(track, float(rng.uniform(-0.4, 0.4)))
    return limit_peak(track)
