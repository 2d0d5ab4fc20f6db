"""Whether stems add up to their mixture, and if not: which stem, by what gain or delay.

Two passes. The first, over everything, fits one gain per stem by least squares (the Gram matrix
is enough for that) and notes how the difference lies in time. Only where that leaves something
open, a second pass keeps the loudest blocks and looks for delays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

#: Longest delay that is looked for, as a share of a block.
MAX_LAG_SHARE = 0.5

#: Bins below this share of the strongest one's power count less: there is nothing but noise.
WHITENING_FLOOR = 1e-5

#: Blocks that the search for delays keeps in memory.
KEPT_BLOCKS = 8


@dataclass(frozen=True, eq=False)
class MixFit:
    """How the mixture relates to its stems; levels in dB against the mixture.

    ``difference_db`` is mixture minus sum, ``fitted_db`` what is left after the best ``gains``
    (per stem, NaN of a stem that is silent); ``parts_db`` is what the stems put into the mixture
    at these gains. ``block_difference_db`` is the difference over
    time, per block, -inf where the mixture is silent. ``correlations`` are those of each stem
    with each.
    """

    difference_db: float
    fitted_db: float
    gains: np.ndarray
    parts_db: np.ndarray
    block_difference_db: np.ndarray
    block_energy: np.ndarray
    correlations: np.ndarray


class MixAccumulator:
    """Collects a :class:`MixFit` from blocks of the mixture and its stems, all (channels, time)."""

    def __init__(self, num_stems: int) -> None:
        self._gram = np.zeros((num_stems, num_stems))
        self._cross = np.zeros(num_stems)
        self._mixture = 0.0
        self._differences: list[float] = []
        self._energies: list[float] = []

    def push(self, mixture: np.ndarray, stems: np.ndarray) -> None:
        """Take in a block of the mixture (channels, time) and the stems (stems, channels, time)."""
        flat = stems.reshape(len(stems), -1).astype(np.float64)
        whole = mixture.reshape(-1).astype(np.float64)
        self._gram += flat @ flat.T
        self._cross += flat @ whole
        energy = float(whole @ whole)
        self._mixture += energy
        difference = whole - flat.sum(axis=0)
        self._differences.append(float(difference @ difference))
        self._energies.append(energy)

    def finish(self) -> MixFit:
        """Return the fit."""
        gains = np.full(len(self._cross), np.nan)
        energies = np.diag(self._gram)
        sounding = energies > 1e-9 * max(self._mixture, float(energies.max(initial=0.0)))
        fitted = self._mixture
        if sounding.any() and self._mixture > 0:
            gram = self._gram[np.ix_(sounding, sounding)]
            cross = self._cross[sounding]
            best = np.linalg.lstsq(gram, cross, rcond=1e-9)[0]
            gains[sounding] = best
            fitted = self._mixture - 2 * float(best @ cross) + float(best @ gram @ best)
        norm = np.sqrt(np.outer(energies, energies))
        with np.errstate(divide="ignore", invalid="ignore"):
            correlations = np.where(norm > 0, self._gram / norm, 0.0)
            over_time = decibels(np.array(self._differences), np.array(self._energies))
        return MixFit(
            difference_db=float(decibels(sum(self._differences), self._mixture)),
            fitted_db=float(decibels(max(0.0, fitted), self._mixture)),
            gains=gains,
            parts_db=decibels(np.square(gains) * energies, self._mixture),
            block_difference_db=over_time,
            block_energy=np.array(self._energies),
            correlations=correlations,
        )


@dataclass(frozen=True)
class Misplaced:
    """A stem (by number; None: all of them) that lies ``lag_samples`` off, at ``gain``.

    Positive: the stem's audio comes so much earlier than in the mixture. ``difference_db`` is
    what is left once it is moved.
    """

    stem: int | None
    lag_samples: int
    gain: float
    difference_db: float


def find_misplaced(blocks: Sequence[tuple[np.ndarray, np.ndarray]]) -> Misplaced | None:
    """Return the one delay and gain that explain the mixture best, of one stem or of all.

    ``blocks`` are pairs of mixture (time) and stems (stems, time), of one length.
    """
    if not blocks:
        return None
    num_stems = len(blocks[0][1])
    candidates = []
    for stem in (None, *range(num_stems)):
        pairs = [
            (mixture, stems.sum(axis=0))
            if stem is None
            else (mixture - stems.sum(axis=0) + stems[stem], stems[stem])
            for mixture, stems in blocks
        ]
        lag = lag_between(((part, rest) for rest, part in pairs))
        gain, left = _gain_and_rest(pairs, lag)
        whole = sum(float(mixture @ mixture) for mixture, _ in blocks)
        candidates.append(Misplaced(stem, lag, gain, float(decibels(left, whole))))
    return min(candidates, key=lambda found: (found.difference_db, found.stem is not None))


def lag_between(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> int:
    """Return by how many samples the second of each pair comes later than the first.

    Cross-correlation with partly whitened spectra, so that a low tone does not smear the peak.
    """
    correlation = whitened_correlation(pairs)
    if correlation is None:
        return 0
    limit = round(len(correlation) / 2 * MAX_LAG_SHARE)
    return _peak_lag(correlation, limit)


def _peak_lag(correlation: np.ndarray, limit: int) -> int:
    positive, negative = correlation[: limit + 1], correlation[-limit:]
    joined = np.abs(np.concatenate((negative, positive)))
    return int(np.argmax(joined)) - limit


def whitened_correlation(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
) -> np.ndarray | None:
    """Return the summed cross-correlation of pairs of equal length, lag 0 first, wrapped."""
    cross: np.ndarray | None = None
    first_power: np.ndarray | float = 0.0
    second_power: np.ndarray | float = 0.0
    size = 0
    for first, second in pairs:
        size = size or 2 * len(first)
        a, b = np.fft.rfft(first, size), np.fft.rfft(second, size)
        cross = np.conj(a) * b + (0 if cross is None else cross)
        first_power = first_power + np.square(np.abs(a))
        second_power = second_power + np.square(np.abs(b))
    if cross is None:
        return None
    weight = np.sqrt(first_power * second_power)
    floor = WHITENING_FLOOR * float(np.max(weight)) + 1e-20
    return np.fft.irfft(cross / (weight + floor), size)


def _gain_and_rest(pairs: Sequence[tuple[np.ndarray, np.ndarray]], lag: int) -> tuple[float, float]:
    """Return the best gain of the second, moved by ``-lag``, and the energy that is left.

    The ends of a block, into which nothing moves, count as they would on average.
    """
    product = energy = rest = 0.0
    share = 1.0
    for whole, part in pairs:
        length = len(whole) - abs(lag)
        share = length / len(whole)
        a = whole[lag:] if lag >= 0 else whole[:lag]
        b = part[:length] if lag >= 0 else part[-length:]
        product += float(a @ b)
        energy += float(b @ b)
        rest += float(a @ a)
    gain = product / energy if energy > 0 else 0.0
    return gain, max(0.0, rest - gain * product) / max(share, 1e-3)


def decibels(energy: np.ndarray | float, against: np.ndarray | float) -> np.ndarray:
    """Return the ratio of energies in dB; -inf where the reference is silent, -200 at least."""
    energy, against = np.asarray(energy, float), np.asarray(against, float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = 10.0 * np.log10(np.maximum(energy / against, 1e-20))
    return np.where(against > 0, ratio, -np.inf)
