"""A compressor with four knobs: what the published SignalTrain was shown on.

S. H. Hawley, B. Colburn and S. I. Mimilakis, "SignalTrain: Profiling Audio Compressors with
Deep Neural Networks", arXiv:1905.11928, with the ranges of its "comp_4c" (``KNOBS``) and
"comp_4c_large" (``LARGE_KNOBS``, where the times are logarithmic here).
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from audiform.dsp.dynamic_range import smoothed_gain_db, smoothing, static_gain_db
from audiform.knob import Knob

KNOBS = (
    Knob(name="threshold_db", unit="dB", minimum=-30.0, maximum=0.0, default=-20.0),
    Knob(name="ratio", unit=":1", minimum=1.0, maximum=5.0, default=3.0),
    Knob(name="attack_ms", unit="ms", minimum=1.0, maximum=40.0, default=5.0),
    Knob(name="release_ms", unit="ms", minimum=1.0, maximum=40.0, default=20.0),
)

#: Times so long that a network which sees a fifth of a second cannot know where the gain is.
LARGE_KNOBS = (
    Knob(name="threshold_db", unit="dB", minimum=-50.0, maximum=0.0, default=-25.0),
    Knob(name="ratio", unit=":1", minimum=1.5, maximum=10.0, default=4.0),
    Knob(name="attack_ms", unit="ms", minimum=1.0, maximum=1e3, default=10.0, scale="log"),
    Knob(name="release_ms", unit="ms", minimum=1.0, maximum=1e3, default=300.0, scale="log"),
)


def compressor(
    audio: Float[Tensor, "*leading time"],
    state: Float[Tensor, "*leading"] | None,
    *,
    sample_rate: int,
    threshold_db: float,
    ratio: float,
    attack_ms: float,
    release_ms: float,
) -> tuple[Float[Tensor, "*leading time"], Float[Tensor, "*leading"]]:
    """Turn down what is above the threshold; the state is the gain in dB of the last sample.

    That of the very first sample is 0 dB. Attack and release are 10-90 % times.
    """
    wanted_db = static_gain_db(audio.double(), threshold_db=threshold_db, ratio=ratio)
    if state is None:
        wanted_db[..., :1] = 0.0
        state = wanted_db.new_zeros(wanted_db.shape[:-1])
    gain_db = smoothed_gain_db(
        wanted_db,
        state,
        attack=smoothing(attack_ms, sample_rate),
        release=smoothing(release_ms, sample_rate),
    )
    wet = audio * 10.0 ** (gain_db / 20.0)
    return wet.to(audio.dtype), gain_db[..., -1] if gain_db.shape[-1] else state
