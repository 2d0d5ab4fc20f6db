"""Another pitch and another tempo, each by itself."""

from __future__ import annotations

from fractions import Fraction

from jaxtyping import Float
from torch import Tensor

from audiform.dsp.resample import resample
from audiform.dsp.time_stretch import time_stretch

#: Denominator of the ratio that stands for an interval; the error is below 0.2 cents.
LARGEST_DENOMINATOR = 120


def pitch_ratio(semitones: float) -> Fraction:
    """Return a ratio of small numbers that is the interval to within 0.2 cents."""
    return Fraction(2.0 ** (semitones / 12.0)).limit_denominator(LARGEST_DENOMINATOR)


def change_pitch(
    audio: Float[Tensor, "*leading channels time"],
    *,
    semitones: float,
    rate: float,
    sample_rate: int,
    keep_formants: bool = False,
) -> Float[Tensor, "*leading channels new_time"]:
    """Move ``audio`` up by ``semitones`` and play it ``rate`` times as fast.

    The result has ``time / rate`` samples to within two. ``keep_formants`` leaves the spectral
    envelope where it is, as a singer does who sings higher; without it, all frequencies move.
    """
    ratio = pitch_ratio(semitones)
    stretched = time_stretch(
        audio,
        rate=rate / float(ratio),
        sample_rate=sample_rate,
        envelope_ratio=float(ratio) if keep_formants else 1.0,
    )
    return resample(stretched, from_rate_hz=ratio.numerator, to_rate_hz=ratio.denominator)
