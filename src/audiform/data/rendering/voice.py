"""Voices taken apart into pitch, spectral envelope and breath, and put together again.

The WORLD vocoder (M. Morise, F. Yokomori, K. Ozawa, "WORLD: a vocoder-based high-quality speech
synthesis system for real-time applications", 2016), in the package ``pyworld``. Taking apart
costs several times what putting together does, so that pieces are kept in a cache folder, in the
coded form that the vocoder has for it.

A voice that was recorded in a narrow band gets its treble here: the envelope goes on falling
from where the recording ends, and is filled with noise, as breath and sibilants are. A network
that learned from such voices as they are would learn that treble is never voice.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from dataclasses import dataclass, fields
from pathlib import Path
from types import ModuleType

import numpy as np
import platformdirs

from audiform.data.rendering.samples import SAMPLE_RATE, Sample, SampleLibrary
from audiform.errors import ConfigError

#: Step of the vocoder's frames, and frames in a second.
FRAME_MS = 5.0
FRAMES_PER_SECOND = 200

#: Numbers that a frame's envelope is coded in.
ENVELOPE_SIZE = 60

#: Voices are taken apart in pieces of this length.
PIECE_SECONDS = 20.0

#: Environment variable that names another cache folder.
CACHE_VARIABLE = "AUDIFORM_VOICE_CACHE"

#: Raised when what is kept changes.
CACHE_VERSION = 1

#: A recording that ends above this frequency lacks nothing that matters.
FULL_BAND_HZ = 15000.0

#: The band's last part fades before its end; from this share of it on, treble is made.
USED_BAND_SHARE = 0.88

#: How the made treble falls: of vowels (as the sixth power of frequency), and of consonants.
FALL_VOICED = 6.0
FALL_UNVOICED = 2.0

#: Pitches that are looked for.
LOWEST_HZ, HIGHEST_HZ = 71.0, 800.0


@dataclass(frozen=True)
class Voice:
    """A piece of a voice, frame by frame.

    ``pitch_hz`` is 0 where there is none. ``envelope`` and ``breath`` are as the vocoder codes
    them, ``level_db`` is the energy of a frame. ``band_hz`` is where the recording ends.
    """

    pitch_hz: np.ndarray
    envelope: np.ndarray
    breath: np.ndarray
    level_db: np.ndarray
    band_hz: np.ndarray

    @property
    def voiced(self) -> np.ndarray:
        """Whether a frame has a pitch."""
        return self.pitch_hz > 0


def vocoder() -> ModuleType:
    """Return ``pyworld``; raises :class:`ConfigError` where it cannot be used."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the way in which it finds its version
            import pyworld
    except ImportError as error:
        raise ConfigError(
            f"singing is made with the package pyworld, which cannot be used ({error}); "
            "pip install 'audiform[train]'"
        ) from error
    return pyworld


def take_apart(audio: np.ndarray, *, band_hz: float = SAMPLE_RATE / 2) -> Voice:
    """Take a voice (time) at 44.1 kHz apart."""
    world = vocoder()
    audio = np.ascontiguousarray(audio, dtype=np.float64)
    pitch, times = world.dio(
        audio, SAMPLE_RATE, f0_floor=LOWEST_HZ, f0_ceil=HIGHEST_HZ, frame_period=FRAME_MS
    )
    pitch = world.stonemask(audio, pitch, times, SAMPLE_RATE)
    envelope = world.cheaptrick(audio, pitch, times, SAMPLE_RATE)
    breath = world.d4c(audio, pitch, times, SAMPLE_RATE)
    level_db = 10.0 * np.log10(envelope.sum(axis=1) + 1e-12)
    return Voice(
        pitch_hz=pitch.astype(np.float32),
        envelope=world.code_spectral_envelope(envelope, SAMPLE_RATE, ENVELOPE_SIZE).astype("f4"),
        breath=world.code_aperiodicity(breath, SAMPLE_RATE).astype(np.float32),
        level_db=level_db.astype(np.float32),
        band_hz=np.array([band_hz], dtype=np.float32),
    )


def put_together(
    voice: Voice, frames: np.ndarray, pitch_hz: np.ndarray, *, tract: float = 1.0
) -> np.ndarray:
    """Return (time), one step of ``FRAME_MS`` for each of ``frames`` (places in the voice).

    ``pitch_hz`` is 0 where there is none. ``tract`` above 1 is a shorter vocal tract: all of the
    envelope lies higher, and another one sings.
    """
    world = vocoder()
    size = world.get_cheaptrick_fft_size(SAMPLE_RATE)
    code = np.ascontiguousarray(voice.envelope[frames], dtype=np.float64)
    envelope = world.decode_spectral_envelope(code, SAMPLE_RATE, size)
    breath = world.decode_aperiodicity(
        np.ascontiguousarray(voice.breath[frames], dtype=np.float64), SAMPLE_RATE, size
    )
    band_hz = float(voice.band_hz[0])
    if band_hz < FULL_BAND_HZ:
        _make_treble(envelope, breath, voice.voiced[frames], band_hz)
    if tract != 1.0:
        bins = np.arange(envelope.shape[1])
        envelope = envelope[:, np.minimum(np.round(bins / tract).astype(int), len(bins) - 1)]
    pitch = np.ascontiguousarray(np.where(voice.voiced[frames], pitch_hz, 0.0), dtype=np.float64)
    audio = world.synthesize(
        pitch, np.ascontiguousarray(envelope), np.clip(breath, 1e-6, 1.0), SAMPLE_RATE, FRAME_MS
    )
    return np.asarray(audio, dtype=np.float32)


def _make_treble(
    envelope: np.ndarray, breath: np.ndarray, voiced: np.ndarray, band_hz: float
) -> None:
    """Let the envelope (power) go on above ``band_hz`` in place, filled with noise."""
    hz = np.linspace(0.0, SAMPLE_RATE / 2, envelope.shape[1])
    end = USED_BAND_SHARE * band_hz
    last = (hz > 0.7 * end) & (hz <= end)
    above = hz > end
    level = envelope[:, last].mean(axis=1)
    fall = np.where(voiced, FALL_VOICED, FALL_UNVOICED)
    envelope[:, above] = level[:, None] * (end / hz[above]) ** fall[:, None]
    breath[:, above] = 0.98


class Voices:
    """Pieces of a library's voices, taken apart once and kept in ``folder``."""

    def __init__(self, library: SampleLibrary, folder: Path | None = None) -> None:
        self._library = library
        self._folder = folder or default_cache_folder()

    def piece(self, sample: Sample, number: int) -> Voice:
        """Return piece ``number`` (of ``PIECE_SECONDS``) of a sample."""
        path = self._folder / f"{self._key(sample, number)}.npz"
        if path.is_file():
            with np.load(path, allow_pickle=False) as kept:
                return Voice(**{field.name: kept[field.name] for field in fields(Voice)})
        length = round(PIECE_SECONDS * SAMPLE_RATE)
        audio = self._library.decode(sample)[:, number * length : (number + 1) * length]
        voice = take_apart(audio.mean(axis=0), band_hz=sample.band_hz)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}.{os.getpid()}.part")
        with part.open("wb") as file:
            np.savez(file, **{field.name: getattr(voice, field.name) for field in fields(Voice)})
        part.replace(path)
        return voice

    def num_pieces(self, sample: Sample) -> int:
        """Return how many pieces there are, the last one of at least half the length."""
        return max(1, round(sample.seconds / PIECE_SECONDS))

    @staticmethod
    def _key(sample: Sample, number: int) -> str:
        about = sample.path.stat()
        text = f"{CACHE_VERSION}\0{sample.path.resolve()}\0{about.st_size}\0{about.st_mtime_ns}"
        return hashlib.sha256(f"{text}\0{sample.band_hz}\0{number}".encode()).hexdigest()[:32]


def default_cache_folder() -> Path:
    """Return the folder where voices are kept that were taken apart."""
    if folder := os.environ.get(CACHE_VARIABLE):
        return Path(folder).expanduser()
    return Path(platformdirs.user_cache_dir("audiform")) / "voices"
