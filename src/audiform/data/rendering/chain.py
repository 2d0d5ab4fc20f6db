"""What a studio does to a track: compression, saturation, equaliser, echo, room.

Settings are drawn by one function for each kind of track and applied by another. Compressors
follow their curve at a thirty-second of the sample rate: no gain moves faster than a millisecond.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from audiform.data.rendering.rhythm import Grid
from audiform.data.rendering.samples import SAMPLE_RATE, SampleLibrary
from audiform.data.rendering.sound import amplitude, change_speed, fade_ends, rms
from audiform.dsp.biquad import Biquad, bell, high_shelf, low_shelf
from audiform.dsp.dynamic_range import smoothed_gain_db, smoothing, static_gain_db
from audiform.dsp.fast_length import fast_length
from audiform.effects import EFFECTS

#: Samples that have one gain of a compressor, before gains are joined by straight lines.
GAIN_SAMPLES = 32

#: Longest response of a room that is used.
LONGEST_ROOM_SECONDS = 3.0

#: So much of a response is faded out: many recordings of rooms stop before the room does.
ROOM_END_SHARE = 0.4
MS_PER_SAMPLE = 1000.0 / SAMPLE_RATE

#: Length of an equaliser's response, in which even a high-pass at 20 Hz has faded.
EQUALISER_TAPS = 8192

#: Echoes are no later than this (the effect's own limit).
LONGEST_ECHO_MS = 500.0


@dataclass(frozen=True)
class Compression:
    """A compressor whose threshold is ``over_db`` above the track's own level (RMS)."""

    over_db: float
    ratio: float
    attack_ms: float
    release_ms: float


@dataclass(frozen=True)
class Band:
    """A bell, or a shelf at either end: ``low``, ``bell``, ``high``."""

    kind: str
    hz: float
    gain_db: float


@dataclass(frozen=True)
class Chain:
    """What is done to a track, in this order; None where it is left out.

    ``drive_db`` is how far above full scale the peak is brought before a tanh; ``speaker_hz``
    a cabinet's upper end. ``room`` names a response and ``room_db`` its level against the track.
    """

    compression: Compression | None
    drive_db: float | None
    asymmetry: float
    high_pass_hz: float
    bands: tuple[Band, ...]
    speaker_hz: float | None
    tremolo_hz: float | None
    echo_ms: float | None
    echo_ratio: float
    room: str | None
    room_db: float


@dataclass(frozen=True)
class Habits:
    """What is usual for a kind of track; shares are probabilities.

    ``low_db``, ``bell_db`` and ``high_db`` are the gains of the equaliser's shelves and bells.
    """

    high_pass_hz: tuple[float, float]
    compressed: float = 0.6
    driven: float = 0.1
    drive_db: tuple[float, float] = (-6.0, 8.0)
    low_db: tuple[float, float] = (-4.0, 4.0)
    bell_db: tuple[float, float] = (-4.0, 4.0)
    high_db: tuple[float, float] = (-4.0, 4.0)
    echoed: float = 0.0
    in_room: float = 0.5
    room_db: tuple[float, float] = (-26.0, -8.0)
    tremolo: float = 0.0


#: Kind of track -> what is usual.
HABITS = {
    "drums": Habits((20.0, 35.0), compressed=0.7, driven=0.25, high_db=(-6.0, 2.0), in_room=0.6),
    "bass": Habits((25.0, 40.0), compressed=0.8, driven=0.35, drive_db=(-6.0, 16.0), in_room=0.03),
    "part": Habits((60.0, 160.0), compressed=0.4, driven=0.1, echoed=0.2, in_room=0.65,
                   room_db=(-24.0, -4.0), tremolo=0.06),
    "guitar": Habits((70.0, 120.0), compressed=0.2, driven=1.0, drive_db=(8.0, 38.0), echoed=0.12,
                     in_room=0.4),
    # who sings loud over a band, close to a bright microphone, has less below and more above
    # than who speaks
    "voice": Habits((70.0, 140.0), compressed=0.95, driven=0.3, drive_db=(-10.0, 6.0),
                    low_db=(-9.0, 0.0), high_db=(0.0, 10.0), echoed=0.35, in_room=0.8,
                    room_db=(-24.0, -6.0)),
    "voices behind": Habits((120.0, 250.0), compressed=0.95, driven=0.2, low_db=(-9.0, 0.0),
                            high_db=(0.0, 10.0), echoed=0.4, in_room=0.95,
                            room_db=(-14.0, -1.0)),
}  # fmt: skip


def draw_chain(kind: str, library: SampleLibrary, rng: np.random.Generator, grid: Grid) -> Chain:
    """Draw what is done to a kind of track, a key of ``HABITS``."""
    habits = HABITS[kind]
    rooms = library.of_class("rir")
    centres = np.exp(rng.uniform(np.log(250.0), np.log(5000.0), 2))
    bands = (
        Band("low", float(rng.uniform(80.0, 300.0)), float(rng.uniform(*habits.low_db))),
        *(Band("bell", float(hz), float(rng.uniform(*habits.bell_db))) for hz in centres),
        Band("high", float(rng.uniform(3000.0, 10000.0)), float(rng.uniform(*habits.high_db))),
    )
    beats = float(rng.choice([0.25, 0.5, 0.75, 1.0]))
    echo_ms = min(LONGEST_ECHO_MS, 60000.0 / grid.bpm * beats)
    chosen = None
    if rooms and rng.random() < habits.in_room:
        chosen = rooms[int(rng.integers(len(rooms)))].path.relative_to(library.folder).as_posix()
    return Chain(
        compression=_draw_compression(rng) if rng.random() < habits.compressed else None,
        drive_db=float(rng.uniform(*habits.drive_db)) if rng.random() < habits.driven else None,
        asymmetry=float(rng.uniform(0.0, 0.4)),
        high_pass_hz=float(rng.uniform(*habits.high_pass_hz)),
        bands=bands,
        speaker_hz=float(rng.uniform(3000.0, 6500.0)) if kind == "guitar" else None,
        tremolo_hz=float(rng.uniform(2.0, 8.0)) if rng.random() < habits.tremolo else None,
        echo_ms=echo_ms if rng.random() < habits.echoed else None,
        echo_ratio=float(rng.uniform(0.1, 0.4)),
        room=chosen,
        room_db=float(rng.uniform(*habits.room_db)),
    )


def _draw_compression(rng: np.random.Generator) -> Compression:
    return Compression(
        over_db=float(rng.uniform(-6.0, 8.0)),
        ratio=float(np.exp(rng.uniform(np.log(1.5), np.log(10.0)))),
        attack_ms=float(np.exp(rng.uniform(np.log(1.0), np.log(40.0)))),
        release_ms=float(np.exp(rng.uniform(np.log(40.0), np.log(400.0)))),
    )


def apply_chain(audio: np.ndarray, chain: Chain, library: SampleLibrary) -> np.ndarray:
    """Return a track (2, time) treated; as long as before, silence stays silence."""
    if not audio.any():
        return audio
    if chain.compression is not None:
        audio = audio * compression_gain(audio, chain.compression)
    if chain.drive_db is not None:
        audio = _driven(audio, chain.drive_db, chain.asymmetry)
    audio = _filtered(audio, chain, library)
    if chain.tremolo_hz is not None:
        audio = _effect("tremolo", audio, rate_hz=chain.tremolo_hz, depth=0.5)
    if chain.echo_ms is not None:
        audio = _effect("echo", audio, delay_ms=chain.echo_ms, ratio=chain.echo_ratio)
    return audio


def compression_gain(audio: np.ndarray, settings: Compression) -> np.ndarray:
    """Return the gain of each sample, one for both channels; the level is that where it sounds."""
    peaks = block_peaks(audio)
    sounding = peaks[peaks > 0.01 * peaks.max()]
    threshold_db = 20.0 * math.log10(sounding.mean() / 2.0 + 1e-9) + settings.over_db
    rate = SAMPLE_RATE // GAIN_SAMPLES
    wanted = static_gain_db(
        torch.from_numpy(peaks)[None], threshold_db=threshold_db, ratio=settings.ratio
    )
    followed = smoothed_gain_db(
        wanted,
        wanted.new_zeros(1),
        attack=smoothing(settings.attack_ms, rate),
        release=smoothing(settings.release_ms, rate),
    )
    return joined_gains(10.0 ** (followed[0].numpy() / 20.0), audio.shape[-1])


def block_peaks(audio: np.ndarray) -> np.ndarray:
    """Return the largest magnitude of each ``GAIN_SAMPLES`` samples, over both channels."""
    largest = np.maximum(np.abs(audio[0]), np.abs(audio[-1]))
    padded = np.pad(largest, (0, -len(largest) % GAIN_SAMPLES))
    return padded.reshape(-1, GAIN_SAMPLES).max(axis=1).astype(np.float64)


def joined_gains(gains: np.ndarray, length: int) -> np.ndarray:
    """Return a gain for each sample from one for each block, along straight lines."""
    ends = np.append(gains, gains[-1]).astype(np.float32)
    share = np.arange(GAIN_SAMPLES, dtype=np.float32) / GAIN_SAMPLES
    lines = ends[:-1, None] * (1.0 - share) + ends[1:, None] * share
    return lines.reshape(-1)[:length]


def _driven(audio: np.ndarray, drive_db: float, asymmetry: float) -> np.ndarray:
    """Distort at twice the sample rate; the level (RMS) is kept."""
    level = rms(audio)
    peak = float(np.abs(audio).max())
    slow = change_speed(audio / np.float32(peak), 0.5)
    wet = np.tanh(slow * amplitude(drive_db) + np.float32(asymmetry))
    wet = change_speed(wet - np.float32(math.tanh(asymmetry)), 2.0)[:, : audio.shape[-1]]
    wet = np.pad(wet, ((0, 0), (0, audio.shape[-1] - wet.shape[-1])))
    return wet * np.float32(level / (rms(wet) + 1e-9))


def _effect(name: str, audio: np.ndarray, **knobs: float) -> np.ndarray:
    """Apply a reference effect of the package."""
    wet = EFFECTS[name].apply(torch.from_numpy(np.ascontiguousarray(audio)), SAMPLE_RATE, **knobs)
    return np.asarray(wet.numpy(), dtype=np.float32)


def _filtered(audio: np.ndarray, chain: Chain, library: SampleLibrary) -> np.ndarray:
    """Apply all that is linear as one response: equaliser, and what the room sends back of it."""
    response = _equaliser(chain)[None]
    if chain.room is not None:
        path = library.folder / chain.room
        sample = next(sample for sample in library.of_class("rir") if sample.path == path)
        room = library.decode(sample)[:, : round(LONGEST_ROOM_SECONDS * SAMPLE_RATE)]
        room = fade_ends(room, in_ms=0.0, out_ms=ROOM_END_SHARE * room.shape[-1] * MS_PER_SAMPLE)
        loudness = math.sqrt(float(np.sum(np.square(room))) / len(room)) + 1e-9
        heard = room * np.float32(amplitude(chain.room_db) / loudness)
        heard[:, 0] += 1.0
        response = convolved(np.pad(heard, ((0, 0), (0, EQUALISER_TAPS))), response)
    return convolved(audio, response)


def convolved(audio: np.ndarray, response: np.ndarray) -> np.ndarray:
    """Convolve (channels, time) with a response of as many channels or of one, block by block.

    As long as ``audio``; blocks of silence cost nothing.
    """
    length, taps = audio.shape[-1], response.shape[-1]
    size = fast_length(max(4 * taps, 2**16)) if length > 3 * taps else fast_length(length + taps)
    step = size - taps + 1
    count = -(-length // step)
    padded = np.pad(audio, ((0, 0), (0, count * step - length)))
    blocks = torch.from_numpy(padded).unflatten(-1, (count, step))
    sounding = [index for index in range(count) if blocks[:, index].any()]
    spectra = torch.fft.rfft(blocks[:, sounding], n=size)
    wanted = torch.fft.rfft(torch.from_numpy(np.ascontiguousarray(response)), n=size)
    parts = torch.fft.irfft(spectra * wanted[:, None], n=size).numpy()
    total = np.zeros((len(audio), count * step + size), dtype=np.float32)
    for place, index in enumerate(sounding):
        total[:, index * step : index * step + size] += parts[:, place]
    return total[:, :length]


def _equaliser(chain: Chain) -> np.ndarray:
    """Return the impulse response of the equaliser; the high-pass is of second order."""
    angles = torch.linspace(0.0, math.pi, EQUALISER_TAPS // 2 + 1, dtype=torch.float64)
    frequencies = angles * (SAMPLE_RATE / 2.0 / math.pi)
    place = frequencies / chain.high_pass_hz
    response = -(place**2) / (1.0 - place**2 + 1j * math.sqrt(2.0) * place)
    for band in chain.bands:
        response = response * band_filter(band).response(angles)
    if chain.speaker_hz is not None:
        pole = 1j * frequencies / chain.speaker_hz
        response = response / (pole**2 + 1.8478 * pole + 1.0) / (pole**2 + 0.7654 * pole + 1.0)
    return np.asarray(torch.fft.irfft(response, n=EQUALISER_TAPS).numpy(), dtype=np.float32)


def band_filter(band: Band) -> Biquad:
    """Return the filter of second order that a band is."""
    hz, gain_db = torch.tensor([band.hz, band.gain_db], dtype=torch.float64)
    if band.kind == "bell":
        return bell(
            centre_hz=hz,
            gain_db=gain_db,
            quality=torch.tensor(0.9, dtype=torch.float64),
            sample_rate=SAMPLE_RATE,
        )
    shelf = low_shelf if band.kind == "low" else high_shelf
    return shelf(corner_hz=hz, gain_db=gain_db, sample_rate=SAMPLE_RATE)
