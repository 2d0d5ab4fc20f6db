"""Whether the delay of an effect's output moves to and fro, as a tape's does.

Chorus and phaser move delays, too, but the dry sound in them stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import torch
from torch import Tensor

from audiform.data.check.loudest import loudest
from audiform.data.check.pair_rate import EXPLAINS_MORE
from audiform.data.effect_alignment import (
    DULL_PHASE_FLOOR,
    PieceLag,
    aligned,
    piece_lags,
    residual_share,
)

#: An uneven machine is followed over so much sound, by pieces of such lengths that may be off by
#: so much (seconds), of which so many stand out by more than this.
WANDER_SECONDS, WANDER_PIECE_SECONDS = 20.0, ((1.0, 0.25), (0.3, 0.004), (0.1, 0.004))
CLEAR_SHORT, WANDER_PIECES = 5.0, 8

#: Its delay moves by more samples than this; and of what a gain leaves of a piece at the usual
#: delay no more than this share is left at the piece's own.
WANDERS_SAMPLES, FOLLOWED = 2.0, 0.7

#: The delay between pieces is a line between the medians of so many.
MEDIAN_PIECES = 5

#: A machine so uneven that its output as a whole is like its input at no delay: more than this
#: share of its pieces stand out so far, within so many seconds of their median. Of recordings that
#: have nothing in common one in 170 is there by chance.
AGREE_SHARE, AGREE_CLEAR, AGREE_SECONDS, AGREE_PIECES = 0.5, 6.0, 0.0015, 4

#: Periods that the movement is of the highest frequencies at which pieces are compared: one, and
#: some for sound that has nothing so low.
PERIODS = (1.0, 3.0)

#: The slope of the low-pass behind which pieces are compared is that of such a Butterworth filter.
LOW_PASS_ORDER = 8


def wander_samples(dry: Tensor, wet: Tensor, rate: int, lag_samples: int) -> float:
    """Return by how much the delay moves, 0 where it does not as a tape's.

    Pieces at their own delays fit much better, or a filter makes much more of the output of the
    input once the movement is undone. Both are asked below the frequencies so many of whose
    periods (``PERIODS``) are the movement: above them, the delay moves too far within a piece.
    """
    x, y = (part.double() for part in aligned(dry, wet, lag_samples))
    count = min(len(x), round(WANDER_SECONDS * rate))
    start = loudest(x, count)
    x, y = x[start : start + count].diff(), y[start : start + count].diff()
    for length, pieces in _followed(x, y, rate):
        lags = np.array([piece.lag_samples for piece in pieces])
        low, high = np.percentile(lags, [10, 90])
        moves = float(high - low)
        if moves < WANDERS_SAMPLES:
            continue
        for periods in PERIODS:
            dull_x, dull_y = (_low_passed(part, periods / moves) for part in (x, y))
            if _fit_at_their_own(dull_x, dull_y, rate, pieces, length):
                return moves
            if _fits_once_undone(dull_x, dull_y, rate, pieces):
                return moves
    return 0.0


def lag_of_pieces(dry: Tensor, wet: Tensor, rate: int) -> int | None:
    """Return the delay that most pieces are near to, each by itself; None where they are not."""
    x, y = dry.double().diff(), wet.double().diff()
    pieces = piece_lags(dry=x, wet=y, sample_rate=rate, lag_samples=0, floor=DULL_PHASE_FLOOR)
    lags = np.array([piece.lag_samples for piece in pieces if piece.clarity > AGREE_CLEAR])
    if len(lags) < AGREE_PIECES:
        return None
    middle = float(np.median(lags))
    num_near = int((np.abs(lags - middle) < AGREE_SECONDS * rate).sum())
    return round(middle) if num_near > AGREE_SHARE * len(pieces) else None


def _followed(x: Tensor, y: Tensor, rate: int) -> Iterator[tuple[int, list[PieceLag]]]:
    """Yield lengths of pieces in samples, and those whose delay is clear."""
    for (length, search), is_equalised in product(WANDER_PIECE_SECONDS, (True, False)):
        pieces = [
            piece
            for piece in piece_lags(
                dry=x,
                wet=y,
                sample_rate=rate,
                lag_samples=0,
                piece_seconds=length,
                search_seconds=search,
                is_equalised=is_equalised,
                floor=DULL_PHASE_FLOOR,
            )
            if piece.clarity > CLEAR_SHORT
        ]
        if len(pieces) >= WANDER_PIECES:
            yield round(length * rate), pieces


def _low_passed(audio: Tensor, corner: float) -> Tensor:
    """Return ``audio`` without what is above ``corner`` (cycles per sample), delayed by nothing."""
    spectrum = torch.fft.rfft(audio)
    place = torch.linspace(0.0, 0.5, len(spectrum), dtype=torch.float64)
    return torch.fft.irfft(spectrum / (1.0 + (place / corner) ** LOW_PASS_ORDER), len(audio))


def _fit_at_their_own(
    x: Tensor, y: Tensor, rate: int, pieces: Sequence[PieceLag], length: int
) -> bool:
    middle = float(np.median([piece.lag_samples for piece in pieces]))
    shares = [_unlike(x, y, rate, piece, middle, length) for piece in pieces]
    own, usual = np.mean(shares, axis=0)
    return bool(own < FOLLOWED * usual)


def _unlike(
    x: Tensor, y: Tensor, rate: int, piece: PieceLag, usual: float, length: int
) -> tuple[float, float]:
    """Return what a gain leaves of a piece at its own delay, and at the usual one."""
    start = round(piece.seconds * rate) - length // 2
    found = []
    for lag in (round(piece.lag_samples), round(usual)):
        first, second = aligned(x[start : start + length], y[start : start + length], lag)
        power = float(first.square().sum() * second.square().sum())
        found.append(1.0 - float((first * second).sum()) ** 2 / max(power, 1e-300))
    return found[0], found[1]


def _fits_once_undone(x: Tensor, y: Tensor, rate: int, pieces: Sequence[PieceLag]) -> bool:
    """Whether a filter makes much more of ``y`` of ``x`` once it is read where its pieces lie."""
    lags = np.array([piece.lag_samples for piece in pieces])
    padded = np.pad(lags, MEDIAN_PIECES // 2, mode="edge")
    smooth = np.median(np.lib.stride_tricks.sliding_window_view(padded, MEDIAN_PIECES), axis=1)
    place = np.arange(len(y))
    moved = place + np.interp(place, [piece.seconds * rate for piece in pieces], smooth)
    undone = torch.from_numpy(np.interp(moved, place, y.numpy()))
    return residual_share(x, undone) < EXPLAINS_MORE * residual_share(x, y)
