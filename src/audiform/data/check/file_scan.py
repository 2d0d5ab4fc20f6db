"""One pass over one file, block by block: all numbers that its findings need."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field, replace

import numpy as np

from audiform.data.check.flat_tops import FlatTops
from audiform.data.check.runs import runs_of
from audiform.data.track import AudioRef
from audiform.io.probe import AudioInfo
from audiform.io.tags import Tags

#: Length and distance of the frames whose spectra are looked at; the rest is skipped for speed.
FFT_SAMPLES = 4096
FFT_STEP = 16384

#: Bands by whose levels over time a recording is recognised, edges in Hz.
FINGERPRINT_EDGES_HZ = (0.0, 250.0, 1000.0, 4000.0, 1e9)

#: Shortest and longest run of zeros that is a drop-out rather than a pause, in seconds.
DROPOUT_SECONDS = (0.0015, 0.5)

#: A drop-out starts and ends in the middle of the sound: above this share of the peak.
DROPOUT_EDGE = 0.1

#: So many drop-outs are remembered.
MAX_DROPOUTS = 20

#: A file ends quietly where its last moment, in seconds, is below this share of its RMS.
END_SECONDS, ENDS_QUIETLY = 0.05, 0.03

#: A bin counts as filled when it is above this level against the strongest one, in dB.
BANDWIDTH_FLOOR_DB = -90.0

#: What the reader says -> the name of the fault, first match wins.
_CAUSES = (
    (r"no such file", "missing file"),
    (r"is empty \(0 bytes\)", "empty file"),
    (r"contains no audio|holds no audio", "zero length"),
    (r"contains \S*(nan|inf)", "NaN or infinity"),
    (r"cut short|is damaged|missing or damaged|incomplete|promises", "damaged"),
)


def cause_of(message: str) -> str:
    """Return the short name of what an :class:`AudioError` says; ``undecodable`` by default."""
    for pattern, cause in _CAUSES:
        if re.search(pattern, message):
            return cause
    return "undecodable"


@dataclass(frozen=True, eq=False)
class FileScan:
    """What one file is like. Levels are per channel, linear; ``spectrum`` is mean power per bin.

    ``problem`` is the reader's message where the file cannot be read to its end; the rest then
    describes what came before. ``side_share`` and ``mid_share`` are the energies of half the
    difference and half the sum of two channels, against the total. ``clipped_share`` counts
    samples that were cut off. ``end_rms`` is the level of the last moment. ``bands`` are levels of
    bands in dB over time, a row per frame.
    """

    source: str
    ref: AudioRef
    info: AudioInfo | None
    problem: str | None
    num_samples: int = 0
    peak: np.ndarray = field(default_factory=lambda: np.zeros(1))
    mean: np.ndarray = field(default_factory=lambda: np.zeros(1))
    rms: np.ndarray = field(default_factory=lambda: np.zeros(1))
    side_share: float = 0.5
    mid_share: float = 0.5
    clipped_share: float = 0.0
    dropouts_seconds: tuple[float, ...] = ()
    end_rms: float = 0.0
    digest: str = ""
    spectrum: np.ndarray = field(default_factory=lambda: np.zeros(FFT_SAMPLES // 2 + 1))
    bands: np.ndarray = field(default_factory=lambda: np.zeros((0, 4)))

    @property
    def is_silent(self) -> bool:
        """Whether every sample is zero."""
        return float(self.peak.max()) == 0.0

    @property
    def is_lossless(self) -> bool:
        """Whether the codec keeps every sample."""
        return self.info is not None and self.info.bit_depth is not None

    @property
    def sample_rate(self) -> int:
        """Rate in Hz, 0 where the file could not be opened."""
        return self.info.sample_rate if self.info else 0

    @property
    def ends_quietly(self) -> bool:
        """Whether the sound has faded away when the file ends."""
        return self.end_rms <= ENDS_QUIETLY * float(self.rms.max())

    @property
    def bandwidth_hz(self) -> float:
        """Highest frequency with energy in it."""
        power = self.spectrum[1:]
        if not power.any():
            return 0.0
        filled = np.flatnonzero(power > power.max() * 10.0 ** (BANDWIDTH_FLOOR_DB / 10.0))
        return float(filled[-1] + 1) * self.sample_rate / FFT_SAMPLES

    @property
    def median_hz(self) -> float:
        """Frequency that halves the energy."""
        energy = np.cumsum(self.spectrum)
        if energy[-1] <= 0:
            return 0.0
        return float(np.searchsorted(energy, energy[-1] / 2)) * self.sample_rate / FFT_SAMPLES


class FileScanner:
    """Collects a :class:`FileScan` from blocks (channels, time)."""

    def __init__(self, source: str, ref: AudioRef, info: AudioInfo) -> None:
        self.source, self.ref, self.info = source, ref, replace(info, tags=Tags())
        channels = info.num_channels
        self._count = 0
        self._peak = np.zeros(channels)
        self._sum = np.zeros(channels)
        self._energy = np.zeros(channels)
        self._side = self._mid = 0.0
        # One step of the quantiser; of lossy and float files, that of 24 bits.
        bits = info.bit_depth if info.bit_depth and not info.is_float else 24
        self._tops = FlatTops(2.0 ** (1 - bits))
        self._tail = np.zeros(0, np.float32)
        self._tail_samples = max(1, round(END_SECONDS * info.sample_rate))
        self._zeros_from: int | None = None
        self._before_zeros = 0.0
        self._last = 0.0
        self._dropouts: list[tuple[float, float]] = []
        self._digest = hashlib.blake2b(digest_size=16)
        self._window = np.hanning(FFT_SAMPLES).astype(np.float32)
        self._spectrum = np.zeros(FFT_SAMPLES // 2 + 1)
        self._frames = 0
        self._bands: list[np.ndarray] = []
        frequencies = np.fft.rfftfreq(FFT_SAMPLES, 1.0 / info.sample_rate)
        self._edges = np.searchsorted(frequencies, FINGERPRINT_EDGES_HZ[:-1])

    def push(self, block: np.ndarray) -> None:
        """Take in the next block."""
        magnitude = np.abs(block)
        self._digest.update(np.ascontiguousarray(block.T).tobytes())
        self._peak = np.maximum(self._peak, magnitude.max(axis=1))
        self._sum += block.sum(axis=1, dtype=np.float64)
        self._energy += np.square(block, dtype=np.float64).sum(axis=1)
        if len(block) == 2:
            self._mid += float(np.square(block[0] + block[1], dtype=np.float64).sum()) / 2
            self._side += float(np.square(block[0] - block[1], dtype=np.float64).sum()) / 2
        self._tail = np.concatenate((self._tail, magnitude.max(axis=0)))[-self._tail_samples :]
        self._tops.push(magnitude)
        self._find_dropouts(magnitude.max(axis=0))
        self._add_spectra(block)
        self._count += block.shape[1]

    def finish(self, problem: str | None = None) -> FileScan:
        """Return what was found, of a whole file or of one that ended with ``problem``."""
        count = max(1, self._count)
        total = max(1e-30, float(self._energy.sum()))
        peak = float(self._peak.max())
        return FileScan(
            source=self.source,
            ref=self.ref,
            info=self.info,
            problem=problem,
            num_samples=self._count,
            peak=self._peak,
            mean=self._sum / count,
            rms=np.sqrt(self._energy / count),
            side_share=self._side / total,
            mid_share=self._mid / total,
            clipped_share=self._tops.num_samples / (count * len(self._peak)),
            dropouts_seconds=tuple(at for at, edge in self._dropouts if edge > DROPOUT_EDGE * peak),
            end_rms=float(np.sqrt(np.mean(np.square(self._tail)))) if self._tail.size else 0.0,
            digest=self._digest.hexdigest(),
            spectrum=self._spectrum / max(1, self._frames),
            bands=np.array(self._bands).reshape(-1, len(FINGERPRINT_EDGES_HZ) - 1),
        )

    def _find_dropouts(self, magnitude: np.ndarray) -> None:
        """Note short runs of zeros with the level of the sound at their nearer edge."""
        rate = self.info.sample_rate
        silences = runs_of(magnitude == 0.0)
        for start, end in silences:
            if start == 0 and self._zeros_from is not None:
                begin, before = self._zeros_from, self._before_zeros
            else:
                begin = self._count + start
                before = float(magnitude[start - 1]) if start else self._last
            if end == len(magnitude):
                self._zeros_from, self._before_zeros = begin, before
                self._last = 0.0
                return
            self._add_dropout(begin, self._count + end, before, magnitude, rate)
        if self._zeros_from is not None and not (silences and silences[0][0] == 0):
            self._add_dropout(self._zeros_from, self._count, self._before_zeros, magnitude, rate)
        self._zeros_from = None
        self._last = float(magnitude[-1])

    def _add_dropout(
        self, begin: int, end: int, before: float, magnitude: np.ndarray, rate: int
    ) -> None:
        after = float(magnitude[end - self._count])
        shortest, longest = DROPOUT_SECONDS
        if shortest * rate <= end - begin <= longest * rate and begin > 0:
            self._dropouts.append((begin / rate, min(before, after)))
            self._dropouts = sorted(self._dropouts, key=lambda item: -item[1])[:MAX_DROPOUTS]

    def _add_spectra(self, block: np.ndarray) -> None:
        for start in range(0, block.shape[1] - FFT_SAMPLES + 1, FFT_STEP):
            frame = block[:, start : start + FFT_SAMPLES] * self._window
            power = np.square(np.abs(np.fft.rfft(frame))).sum(axis=0)
            self._spectrum += power
            self._frames += 1
            self._bands.append(10.0 * np.log10(np.add.reduceat(power, self._edges) + 1e-9))
