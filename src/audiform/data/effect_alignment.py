"""How a recorded effect's output lies against its input: delay, polarity, gain.

The delay of a device is not where its cross-correlation peaks: a low-pass at 10 Hz peaks 33 ms
late although it answers at once, and a model that is aligned to that peak would have to look into
the future. So a delay is found in three steps:

1. Candidates: peaks of the impulse response by deconvolution, of the phase-transform
   correlation (C. H. Knapp and G. C. Carter, "The generalized correlation method for estimation
   of time delay", 1976), of how levels rise over time, and of the rectified input (an octave
   fuzz is not correlated with its input at all).
2. The candidate after which input and output are most coherent.
3. Around it, the phase that is left when the minimum phase that belongs to the response's
   magnitude is taken away (A. V. Oppenheim and R. W. Schafer, "Discrete-Time Signal Processing",
   ch. 12): filters and echoes are minimum-phase, so what is left is the delay alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Complex128, Float, Float64
from torch import Tensor

from audiform.dsp.fast_length import fast_length
from audiform.errors import AudioError

#: So much of a recording is looked at for its delay: the loudest piece of it.
EXCERPT_SECONDS = 12.0

#: Delays up to this are looked for, and up to half of the recording.
MAX_LAG_SECONDS = 5.0

#: Ends are faded over this: two cut at the same moment would click together, at no delay.
FADE_SECONDS = 0.02

#: Bins whose input is below this share of the strongest (power) hold its noise alone.
WHITENING_FLOOR = 1e-7

#: The same of the cross-power, whose phase is noise below; and where treble is missing.
PHASE_FLOOR = math.sqrt(WHITENING_FLOOR)
DULL_PHASE_FLOOR = 0.03

#: Share of the surrounding power that is added to a bin's own before dividing by it.
LOCAL_FLOOR = 0.3

#: The first peak of this share of the highest is where the sound arrives; echoes may be as high.
FIRST_PEAK = 0.3

#: A peak stands out where it is so many times above the root mean square of all.
CLEAR_PEAK = 6.0

#: Windows of the coherence: long enough for a delay of its tenth, short enough to have many.
COHERENCE_SAMPLES = 16384

#: Correlations are looked at between samples, so many times finer.
UPSAMPLING = 8

#: A delay of less than this (seconds) is none where having none explains the phase to this share
#: as well, or leaves no more than this share of what a curve leaves: bent waves look a little late.
SMALL_LAG_SECONDS, AS_WELL, STATIC_SHARE = 0.0005, 0.9, 0.5

#: Bins of equal counts in which one signal is told from the other's value, of so many samples.
STATIC_BINS, STATIC_SAMPLES = 128, 200_000

#: The response begins at once where before the delay it is denser than before time 0 by this
#: factor, and no less dense than this share of what follows the delay.
BEGINS_AT_ONCE, BEGINS_SHARE = 4.0, 0.05

#: The plain phase is believed where the other explains it no better than by this factor.
MINIMUM_PHASE_GAIN = 1.01

#: So much more has to be shared with the rectified input than with the input.
RECTIFIED_GAIN = 3.0

#: Information (bits per bin) that this many times exceeds that of a wrong delay is certain.
CERTAIN_RATIO = 4.0

#: Lengths of the pieces whose own delays are followed, and how far they may be off, in seconds.
PIECE_SECONDS, PIECE_SEARCH_SECONDS = 1.0, 0.25


@dataclass(frozen=True)
class Alignment:
    """How a wet recording lies against its dry one.

    ``lag_samples`` is by how much the wet comes later (negative: earlier), a whole number to cut;
    ``remainder_samples`` is what the true delay is more than that, within half a sample.
    ``polarity`` is 1 or -1, and 0 where the wet is only related to the dry's magnitude. ``gain``
    (>= 0) brings the aligned dry closest to the wet. ``confidence`` is 0 for unrelated
    recordings, 1 where there is no doubt. ``bandwidth_hz`` is the width of what both share: a
    delay cannot be told to much better than a tenth of its period.
    """

    lag_samples: int
    remainder_samples: float
    polarity: int
    gain: float
    confidence: float
    bandwidth_hz: float


@dataclass(frozen=True)
class PieceLag:
    """The delay of one piece of a recording against the whole's, and how far its peak stands out.

    ``seconds`` is the middle of the piece in the dry recording.
    """

    seconds: float
    lag_samples: float
    clarity: float


@dataclass(frozen=True)
class _Spectra:
    """Averaged spectra of two signals: powers and cross-power, and how many frames count."""

    dry: Float64[Tensor, " bins"]
    wet: Float64[Tensor, " bins"]
    cross: Complex128[Tensor, " bins"]
    frames: float

    @property
    def coherence(self) -> Float64[Tensor, " bins"]:
        """Squared coherence in 0 .. 1, less what chance gives."""
        raw = self.cross.abs().square() / (self.dry * self.wet).clamp(min=1e-300)
        chance = 1.0 / self.frames
        return ((_smoothed(raw, 3) - chance) / (1.0 - chance)).clamp(0.0, 0.99999)


def estimate_alignment(
    *,
    dry: Float[Tensor, "*leading time"],
    wet: Float[Tensor, "*leading_wet wet_time"],
    sample_rate: int,
    max_lag_seconds: float = MAX_LAG_SECONDS,
) -> Alignment:
    """Return how ``wet`` lies against ``dry``; leading dimensions (channels) are averaged.

    Lengths may differ; both start at the same moment but for the delay that is looked for.
    Silence, or a constant, has a confidence of 0. Raises :class:`AudioError` for fewer than 1024
    samples.
    """
    x, y = _mono(dry), _mono(wet)
    if min(len(x), len(y)) < 1024:
        raise AudioError(
            f"an alignment needs at least 1024 samples, got {len(x)} dry and {len(y)} wet; "
            "record more"
        )
    x, y = _excerpts(x, y, sample_rate)
    if _is_constant(x) or _is_constant(y):
        return Alignment(0, 0.0, 0, 0.0, 0.0, 0.0)
    fade = max(1, round(FADE_SECONDS * sample_rate))
    x, y = faded(x - x.mean(), fade), faded(y - y.mean(), fade)
    max_lag = max(64, min(round(max_lag_seconds * sample_rate), min(len(x), len(y)) // 2))
    lag, feature, score = _best_candidate(x, y, max_lag, sample_rate)
    source = _FEATURES[feature](x)
    remainder, peak, bandwidth = 0.0, 1.0, 0.0
    for _ in range(4):
        found = _excess_delay(_spectra(*aligned(source, y, lag)), sample_rate)
        if found is None:
            break
        remainder, peak, bandwidth = found
        step = round(remainder)
        if step == 0 or abs(lag + step) > max_lag:
            break
        lag, remainder = lag + step, remainder - step
    if feature == "signal" and lag != 0 and _has_no_delay(x, y, lag, sample_rate):
        lag, remainder = 0, 0.0
    cut_x, cut_y = aligned(x, y, lag)
    energy = float(cut_x.square().sum())
    gain = abs(float((cut_x * cut_y).sum())) / energy if energy else 0.0
    nothing = _chance_score(source, y, lag, max_lag)
    certainty = math.log(max(score, 1e-9) / max(nothing, 1e-9)) / math.log(CERTAIN_RATIO)
    return Alignment(
        lag_samples=lag,
        remainder_samples=max(-0.5, min(0.5, remainder)),
        polarity=(1 if peak >= 0 else -1) if feature == "signal" else 0,
        gain=gain,
        confidence=max(0.0, min(1.0, certainty)),
        bandwidth_hz=bandwidth,
    )


def aligned(dry: Tensor, wet: Tensor, lag_samples: int) -> tuple[Tensor, Tensor]:
    """Return both (..., time) without the delay, cut to what they have in common."""
    if lag_samples >= 0:
        wet = wet[..., lag_samples:]
    else:
        dry = dry[..., -lag_samples:]
    length = min(dry.shape[-1], wet.shape[-1])
    return dry[..., :length], wet[..., :length]


def piece_lags(
    *,
    dry: Float[Tensor, "*leading time"],
    wet: Float[Tensor, "*leading_wet wet_time"],
    sample_rate: int,
    lag_samples: int,
    piece_seconds: float = PIECE_SECONDS,
    search_seconds: float = PIECE_SEARCH_SECONDS,
    is_equalised: bool = False,
    floor: float = PHASE_FLOOR,
) -> list[PieceLag]:
    """Return the delays of pieces that overlap by half, all pieces that sound in both.

    Each is that of the phase-transform correlation alone, in samples from ``lag_samples`` on:
    good for comparing pieces with each other. What a filter delays differs with what is played;
    ``is_equalised`` takes away the phase of the whole recording's response first, which is right
    where the delay moves little.
    """
    x, y = aligned(_mono(dry), _mono(wet), lag_samples)
    length, search = round(piece_seconds * sample_rate), round(search_seconds * sample_rate)
    fade = max(1, round(FADE_SECONDS * sample_rate))
    if is_equalised:
        x = _with_phase_of(_spectra(x, y), x)
    quiet = 1e-8 * float(x.square().mean()), 1e-8 * float(y.square().mean())
    lags = []
    for start in range(0, len(x) - length + 1, length // 2):
        piece = x[start : start + length], y[start : start + length]
        if any(
            float(part.square().mean()) <= level for part, level in zip(piece, quiet, strict=True)
        ):
            continue
        first, second = (faded(part - part.mean(), fade) for part in piece)
        found, clarity, _ = correlation_peak(phase_correlation(first, second, search, floor=floor))
        lags.append(PieceLag((start + length / 2) / sample_rate, found, clarity))
    return lags


def residual_share(dry: Float[Tensor, " time"], wet: Float[Tensor, " time"]) -> float:
    """Return the share of the energy of ``wet`` that no filter makes of ``dry``, both aligned."""
    x, y = dry.double(), wet.double()
    if _is_constant(x) or _is_constant(y):
        return 1.0
    spectra = _spectra(x - x.mean(), y - y.mean())
    explained = spectra.cross.abs().square() / spectra.dry.clamp(min=1e-300)
    return max(0.0, 1.0 - float(explained.sum() / spectra.wet.sum()))


def static_residual_share(given: np.ndarray, wanted: np.ndarray) -> float:
    """Return the share of the variance of ``wanted`` that the value of ``given`` leaves open."""
    order = np.argsort(given, kind="stable")
    count = len(order) // STATIC_BINS * STATIC_BINS
    sorted_wanted = wanted[order[:count]].astype(np.float64).reshape(STATIC_BINS, -1)
    # Within a bin a straight line, as one that is wide would leave its slope.
    sorted_given = given[order[:count]].astype(np.float64).reshape(STATIC_BINS, -1)
    a = sorted_given - sorted_given.mean(axis=1, keepdims=True)
    b = sorted_wanted - sorted_wanted.mean(axis=1, keepdims=True)
    aa, ab, bb = (a * a).sum(axis=1), (a * b).sum(axis=1), (b * b).sum(axis=1)
    left = bb - np.divide(ab * ab, aa, out=np.zeros_like(aa), where=aa > 1e-20)
    total = float(np.var(wanted)) * count
    return float(left.sum()) / total if total > 0 else 0.0


def _static_residual(x: Tensor, y: Tensor, lag: int) -> float:
    first, second = (part.numpy() for part in aligned(x, y, lag))
    step = max(1, len(first) // STATIC_SAMPLES)
    return static_residual_share(first[::step], second[::step])


# Candidates -----------------------------------------------------------------------------------


def _best_candidate(x: Tensor, y: Tensor, max_lag: int, rate: int) -> tuple[int, str, float]:
    """Return the delay after which input and output share most, by which feature, and how much."""
    best = (0, "signal", 0.0)
    for feature, lags in _candidates(x, y, max_lag, rate):
        source = _FEATURES[feature](x)
        for lag in dict.fromkeys(lags):
            score = _information(_spectra(*aligned(source, y, lag)))
            # Later candidates have to be better, the rectified signal much better.
            if score > best[2] * (1.1 if feature == best[1] else RECTIFIED_GAIN):
                best = lag, feature, score
    return best


def _candidates(x: Tensor, y: Tensor, max_lag: int, rate: int) -> Iterator[tuple[str, list[int]]]:
    response = _impulse_response(x, y, max_lag, rate)
    magnitude = response.abs()
    above = FIRST_PEAK * float(magnitude.max())
    clear = CLEAR_PEAK * float(magnitude.square().mean().sqrt())
    first = int(torch.nonzero(magnitude >= min(float(magnitude.max()), max(above, clear)))[0])
    phase = phase_correlation(x, y, max_lag)
    lags = [first - max_lag, int(magnitude.argmax()) - max_lag, round(correlation_peak(phase)[0])]
    yield "signal", [*lags, _level_lag(x, y, max_lag, rate)]
    rectified = _FEATURES["magnitude"](x)
    yield "magnitude", [round(correlation_peak(phase_correlation(rectified, y, max_lag))[0])]


def _has_no_delay(x: Tensor, y: Tensor, lag: int, rate: int) -> bool:
    """Whether a delay found is none: too small to be told, or the middle of a room's response."""
    if abs(lag) <= SMALL_LAG_SECONDS * rate:
        correlation = _excess_correlation(_spectra(*aligned(x, y, 0)))
        if correlation is None:
            return False
        magnitude = correlation.values.abs()
        without, with_it = (_static_residual(x, y, at) for at in (0, lag))
        is_static = without < STATIC_SHARE * with_it
        return is_static or float(magnitude[0]) > AS_WELL * float(magnitude.max())
    if lag < 0 or lag >= min(len(x), len(y)) // 4:
        return False
    energy = _impulse_response(x, y, 2 * lag, rate).square()
    before, early, after = (
        float(energy[2 * lag + start : 2 * lag + start + lag // 2].mean())
        for start in (-lag // 2 - lag // 8, 0, lag)
    )
    return early > max(BEGINS_AT_ONCE * before, BEGINS_SHARE * after)


_FEATURES = {
    "signal": lambda x: x,
    "magnitude": lambda x: x.abs() - x.abs().mean(),
}


def _impulse_response(x: Tensor, y: Tensor, max_lag: int, rate: int) -> Float64[Tensor, " lags"]:
    """Return the response from -max_lag to max_lag samples, by regularised deconvolution."""
    n_fft = fast_length(max(len(x), len(y)) + max_lag)
    spectrum = torch.fft.rfft(x, n_fft)
    power = spectrum.abs().square()
    around = _smoothed(power, round(20.0 * n_fft / rate))
    weight = power + LOCAL_FLOOR * around + WHITENING_FLOOR * around.max()
    return _unwrapped(spectrum.conj() * torch.fft.rfft(y, n_fft) / weight, n_fft, max_lag)


def phase_correlation(
    x: Float64[Tensor, " time"],
    y: Float64[Tensor, " wet_time"],
    max_lag: int,
    *,
    floor: float = PHASE_FLOOR,
) -> Float64[Tensor, " lags"]:
    """Return the correlation of phases alone, from -max_lag to max_lag samples.

    Bins count less where their cross-power is not far above ``floor`` of the strongest one's.
    """
    n_fft = fast_length(max(len(x), len(y)) + max_lag)
    cross = torch.fft.rfft(x, n_fft).conj() * torch.fft.rfft(y, n_fft)
    magnitude = cross.abs()
    least = floor * float(magnitude.max()) + 1e-300
    return _unwrapped(cross / (magnitude + least), n_fft, max_lag)


def _unwrapped(cross: Tensor, n_fft: int, max_lag: int) -> Float64[Tensor, " lags"]:
    lags = torch.fft.irfft(cross, n_fft)
    return torch.cat([lags[-max_lag:], lags[: max_lag + 1]])


def correlation_peak(correlation: Float64[Tensor, " lags"]) -> tuple[float, float, int]:
    """Return lag (between samples by a parabola), height above the rest, and sign of the peak."""
    magnitude = correlation.abs()
    index = int(magnitude.argmax())
    rest = float(magnitude.square().mean().sqrt()) + 1e-300
    offset = 0.0
    if 0 < index < len(magnitude) - 1:
        before, top, after = magnitude[index - 1 : index + 2].tolist()
        bend = before - 2 * top + after
        offset = 0.5 * (before - after) / bend if bend < 0 else 0.0
    sign = 1 if float(correlation[index]) >= 0 else -1
    return index + offset - len(correlation) // 2, float(magnitude[index]) / rest, sign


def _level_lag(x: Tensor, y: Tensor, max_lag: int, rate: int) -> int:
    """Return the delay by which rises in level fit best: whatever happens to the waveform."""
    hop = max(1, round(0.0015 * rate))
    rises = [_rises(signal, hop) for signal in (x, y)]
    frames = max(1, max_lag // hop)
    n_fft = fast_length(max(map(len, rises)) + frames)
    cross = torch.fft.rfft(rises[0], n_fft).conj() * torch.fft.rfft(rises[1], n_fft)
    lags = _unwrapped(cross, n_fft, frames)
    return (int(lags.argmax()) - frames) * hop


def _rises(signal: Tensor, hop: int) -> Float64[Tensor, " frames"]:
    frames = signal[: len(signal) // hop * hop].reshape(-1, hop).square().mean(dim=1)
    level = (frames + 1e-5 * frames.mean()).log()
    return F.pad(level.diff(), (1, 0)).clamp(min=0.0)


# Coherence and phase --------------------------------------------------------------------------


def _spectra(x: Tensor, y: Tensor) -> _Spectra:
    """Return averaged spectra, of windows that overlap by half."""
    length = max(256, min(COHERENCE_SAMPLES, 1 << int(math.log2(max(256, len(x) // 8)))))
    x, y = (F.pad(signal, (0, max(0, length - len(signal)))) for signal in (x, y))
    window = torch.hann_window(length, dtype=torch.float64)
    bins = length // 2 + 1
    dry, wet = torch.zeros(bins).double(), torch.zeros(bins).double()
    cross = torch.zeros(bins, dtype=torch.complex128)
    frames = x.unfold(0, length, length // 2), y.unfold(0, length, length // 2)
    count = len(frames[0])
    for some in range(0, count, 64):
        first, second = (torch.fft.rfft(part[some : some + 64] * window) for part in frames)
        dry += first.abs().square().sum(dim=0)
        wet += second.abs().square().sum(dim=0)
        cross += (first.conj() * second).sum(dim=0)
    # Overlapping Hann windows are nearly independent (P. D. Welch, 1967).
    return _Spectra(dry, wet, cross, max(1.01, 0.9 * count))


def _information(spectra: _Spectra) -> float:
    """Return how much output and input share, in bits per bin and frame."""
    return float(-(1.0 - spectra.coherence).log2().mean())


def _chance_score(x: Tensor, y: Tensor, lag: int, max_lag: int) -> float:
    """Return the information that delays share which are wrong."""
    away = max(COHERENCE_SAMPLES, max_lag // 3)
    scores = []
    for other in (lag - away, lag + away, lag + 2 * away):
        first, second = aligned(x, y, other)
        if len(first) > len(x) // 4:
            scores.append(_information(_spectra(first, second)))
    return max(scores, default=0.0) + 0.01


@dataclass(frozen=True)
class _ExcessCorrelation:
    """Correlation of the phases that are left over delays, from 0 on and around, of peak <= 1.

    ``weight`` is what bins count.
    """

    values: Float64[Tensor, " lags"]
    weight: Float64[Tensor, " bins"]

    @property
    def peak(self) -> tuple[float, float]:
        """Where it is highest, in samples, and how high, with its sign."""
        index = int(self.values.abs().argmax())
        lag = index if index < len(self.values) // 2 else index - len(self.values)
        return lag / UPSAMPLING, float(self.values[index])


def _excess_delay(spectra: _Spectra, rate: int) -> tuple[float, float, float] | None:
    """Return the delay that is left in samples, its (signed) peak of at most 1, the bandwidth.

    None where nothing is shared.
    """
    found = _excess_correlation(spectra)
    if found is None:
        return None
    weight = found.weight
    bins = torch.arange(len(weight), dtype=torch.float64)
    spread = float((weight * bins.square()).sum() / weight.sum()) ** 0.5
    return (*found.peak, spread * rate / (2 * (len(weight) - 1)))


def _excess_correlation(spectra: _Spectra) -> _ExcessCorrelation | None:
    """Return the correlation of what minimum phase leaves; None where nothing is shared."""
    coherence = spectra.coherence
    valid = coherence > max(0.1, 4.0 / spectra.frames)
    if int(valid.sum()) < 8:
        return None
    weight = torch.where(valid, (coherence / (1.0 - coherence)).clamp(max=100.0), 0.0)
    phase = spectra.cross / spectra.cross.abs().clamp(min=1e-300)
    minimum = _minimum_phase(_continued_log_magnitude(spectra, valid))
    plain = _ExcessCorrelation(_correlated(phase, weight), weight)
    without = _ExcessCorrelation(_correlated(phase * torch.exp(-1j * minimum), weight), weight)
    # What has no memory has no phase, whatever its magnitude looks like: the plainer wins a tie.
    return without if abs(without.peak[1]) > MINIMUM_PHASE_GAIN * abs(plain.peak[1]) else plain


def _correlated(phase: Tensor, weight: Tensor) -> Float64[Tensor, " lags"]:
    """Return the correlation of weighted phases, ``UPSAMPLING`` values a sample."""
    n_fft = 2 * (len(phase) - 1) * UPSAMPLING
    padded = F.pad(weight * phase, (0, n_fft // 2 + 1 - len(phase)))
    return torch.fft.irfft(padded, n_fft) * (n_fft / 2 / weight.sum())


def _continued_log_magnitude(spectra: _Spectra, valid: Tensor) -> Float64[Tensor, " bins"]:
    """Return the response's log magnitude; where nothing is shared, continued from where it is.

    Above the last valid bin it goes on to fall as over the octave below.
    """
    magnitude = _smoothed(spectra.cross.abs(), 2) / _smoothed(spectra.dry, 2).clamp(min=1e-300)
    level = magnitude.clamp(min=1e-30).log()
    known = torch.nonzero(valid)[:, 0]
    bins = torch.arange(len(level))
    upper = torch.searchsorted(known, bins).clamp(max=len(known) - 1)
    lower = (upper - 1).clamp(min=0)
    left, right = known[lower], known[upper]
    share = ((bins - left) / (right - left).clamp(min=1)).clamp(0.0, 1.0)
    level = level[left] + share * (level[right] - level[left])
    top = int(known[-1])
    octave = known[known >= max(2, top // 2)]
    if len(octave) > 8 and top < len(level) - 1:
        place = octave.double().log()
        slope = ((place - place.mean()) * (level[octave] - level[octave].mean())).sum()
        slope = (slope / (place - place.mean()).square().sum()).clamp(-6.0, 0.0)
        end = level[octave].mean() + slope * (math.log(top) - place.mean())
        level[top + 1 :] = end + slope * (bins[top + 1 :].double().log() - math.log(top))
    return level


def _minimum_phase(level: Float64[Tensor, " bins"]) -> Float64[Tensor, " bins"]:
    """Return the phase of the minimum-phase system with this log magnitude."""
    n_fft = 2 * (len(level) - 1)
    cepstrum = torch.fft.irfft(level.to(torch.complex128), n_fft)
    cepstrum[1 : n_fft // 2] *= 2.0
    cepstrum[n_fft // 2 + 1 :] = 0.0
    return torch.fft.rfft(cepstrum).imag


def _with_phase_of(spectra: _Spectra, x: Tensor) -> Float64[Tensor, " time"]:
    """Return ``x`` with the phase of the response, and only as loud as what is shared."""
    spectrum = torch.fft.rfft(x)
    response = spectra.coherence * spectra.cross / spectra.cross.abs().clamp(min=1e-300)
    place = torch.linspace(0, len(response) - 1, len(spectrum), dtype=torch.float64)
    left = place.floor().long().clamp(max=len(response) - 2)
    share = place - left
    between = response[left] * (1.0 - share) + response[left + 1] * share
    return torch.fft.irfft(spectrum * between, len(x))


# Small parts ----------------------------------------------------------------------------------


def _mono(audio: Tensor) -> Float64[Tensor, " time"]:
    return audio.detach().reshape(-1, audio.shape[-1]).double().mean(dim=0)


def _is_constant(audio: Float64[Tensor, " time"]) -> bool:
    """Whether nothing but rounding is left where the mean is taken away."""
    energy = float(audio.square().sum())
    return float((audio - audio.mean()).square().sum()) <= 1e-12 * energy


def _excerpts(x: Tensor, y: Tensor, rate: int) -> tuple[Tensor, Tensor]:
    """Return the same piece of both, where they are loudest together."""
    length = round(EXCERPT_SECONDS * rate)
    common = min(len(x), len(y))
    if max(len(x), len(y)) <= length:
        return x, y
    if common <= length:
        return x[:length], y[:length]
    hop = length // 8
    energy = x[:common].square() / x.square().mean().clamp(min=1e-300)
    energy = energy + y[:common].square() / y.square().mean().clamp(min=1e-300)
    total = F.pad(energy.cumsum(dim=0), (1, 0))
    starts = torch.arange(0, common - length + 1, hop)
    start = int(starts[(total[starts + length] - total[starts]).argmax()])
    return x[start : start + length], y[start : start + length]


def faded(signal: Float[Tensor, " time"], fade: int) -> Float[Tensor, " time"]:
    """Return ``signal`` with ``fade`` samples at both ends faded."""
    fade = min(fade, len(signal) // 4)
    ramp = 0.5 - 0.5 * torch.cos(torch.arange(fade, dtype=torch.float64) * (math.pi / fade))
    result = signal.clone()
    result[:fade] *= ramp
    result[-fade:] *= ramp.flip(0)
    return result


def _smoothed(values: Float64[Tensor, " bins"], width: int) -> Float64[Tensor, " bins"]:
    """Return the mean over ``width`` bins to both sides."""
    width = max(1, width)
    total = F.pad(values.cumsum(dim=0), (1, 0))
    bins = torch.arange(len(values))
    low, high = (bins - width).clamp(min=0), (bins + width + 1).clamp(max=len(values))
    return (total[high] - total[low]) / (high - low)
