"""Time stretching: another tempo at the same pitch.

A phase vocoder whose bins turn with the spectral peak that they belong to, J. Laroche and
M. Dolson, "Improved phase vocoder time-scale modification of audio" (1999). Differs from it in

- the phase advance of a peak: it is read from a second frame, one output hop before the first,
  so that no frequency is estimated and no phase unwrapped (M. Puckette, "Phase-locked vocoder",
  1995);
- turning all channels alike, by an angle from all of them, so that the stereo image stays;
- attacks: time runs at its old speed around them, and the bins that an attack fills start with
  their own phase (A. Röbel, "A new approach to transient processing in the phase vocoder",
  2003). An attack comes out at its place on the new time line, as sharp as it was.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Complex, Float, Int
from torch import Tensor

from audiform.dsp.onset_strength import onset_strength, pick_onsets
from audiform.dsp.spectral_envelope import moved_envelope_gain
from audiform.errors import AudioError

#: Window at 44.1 kHz, in samples; other rates take the power of two that lasts about as long.
WINDOW_SAMPLES = 4096
OVERLAP = 4

#: Sum over the overlapping frames of a periodic Hann window, squared.
WINDOW_GAIN = 1.5

#: Rise in level, summed over the bands of the onset strength, that makes an attack.
ATTACK_THRESHOLD = 6.0

#: Rise of a bin's power that makes it part of the attack (6 dB).
ATTACK_RISE = 4.0

#: Ratios of tempo beyond which the result is no music any more.
RATE_RANGE = (0.25, 4.0)


def time_stretch(
    audio: Float[Tensor, "*leading channels time"],
    *,
    rate: float,
    sample_rate: int,
    envelope_ratio: float = 1.0,
) -> Float[Tensor, "*leading channels new_time"]:
    """Play ``audio`` ``rate`` times as fast, without a change of pitch.

    The result has ``round(time / rate)`` samples. ``envelope_ratio`` moves the spectral envelope
    down by that ratio, in advance of a resampling that moves all frequencies up by it.
    Raises :class:`AudioError` for a rate outside of 0.25 .. 4.
    """
    if not RATE_RANGE[0] <= rate <= RATE_RANGE[1]:
        raise AudioError(
            f"a tempo ratio of {rate} was asked for; the range is "
            f"{RATE_RANGE[0]} to {RATE_RANGE[1]}"
        )
    if (rate == 1.0 and envelope_ratio == 1.0) or audio.shape[-1] == 0:
        return audio[..., : round(audio.shape[-1] / rate)]
    flat = audio.reshape(-1, *audio.shape[-2:])
    stretched = [_stretch(item, rate, sample_rate, envelope_ratio) for item in flat]
    return torch.stack(stretched).reshape(*audio.shape[:-1], -1)


def _stretch(
    audio: Float[Tensor, "channels time"], rate: float, sample_rate: int, envelope_ratio: float
) -> Float[Tensor, "channels new_time"]:
    n_fft = _window_length(sample_rate)
    hop = n_fft // OVERLAP
    new_length = round(audio.shape[-1] / rate)
    attacks = find_attacks(audio, sample_rate=sample_rate)
    places = _frame_places(attacks, rate, num_frames=new_length // hop + 2, n_fft=n_fft)
    window = torch.hann_window(n_fft, dtype=audio.dtype, device=audio.device)
    before = n_fft + hop
    beyond = max(0, int(places[-1]) - audio.shape[-1]) + n_fft
    windows = F.pad(audio, (before, beyond)).unfold(-1, n_fft, 1)
    starts = places + before - n_fft // 2
    spectra = torch.fft.rfft(windows[:, starts] * window)
    earlier = torch.fft.rfft(windows[:, starts - hop] * window)
    power = (spectra.real.square() + spectra.imag.square()).sum(dim=0)
    turns = _turns(spectra, earlier, power, _attack_bins(power, places, attacks, n_fft))
    if envelope_ratio != 1.0:
        turns = turns * moved_envelope_gain(power, ratio=envelope_ratio, sample_rate=sample_rate)
    frames = torch.fft.irfft(spectra * turns, n=n_fft) * (window / WINDOW_GAIN)
    return _overlap_add(frames, hop)[:, n_fft // 2 : n_fft // 2 + new_length]


def find_attacks(
    audio: Float[Tensor, "channels time"], *, sample_rate: int
) -> Int[Tensor, " attacks"]:
    """Return the samples at which something is struck, to about 5 ms."""
    n_fft = _window_length(sample_rate) // 4
    hop = n_fft // 4
    strength = onset_strength(audio, sample_rate=sample_rate, n_fft=n_fft, hop_length=hop)
    gap = max(1, n_fft // hop)
    rise = strength.sum(dim=-1)
    return pick_onsets(rise, min_gap_frames=gap, threshold=ATTACK_THRESHOLD) * hop


def _window_length(sample_rate: int) -> int:
    length = WINDOW_SAMPLES
    while length < WINDOW_SAMPLES * sample_rate / 44100 / 1.5:
        length *= 2
    while length > WINDOW_SAMPLES * sample_rate / 44100 * 1.5:
        length //= 2
    return length


def _frame_places(
    attacks: Int[Tensor, " attacks"], rate: float, *, num_frames: int, n_fft: int
) -> Int[Tensor, " frames"]:
    """Return the input sample on which each output frame is centred.

    On average ``rate`` output hops apart; one output hop apart around an attack.
    """
    outputs = (torch.arange(num_frames, dtype=torch.float64) * (n_fft // OVERLAP)).contiguous()
    if len(attacks) == 0:
        return (outputs * rate).round().long()
    inputs = attacks.double()
    gaps = inputs.diff()
    wide = torch.full((1,), float(n_fft), dtype=torch.float64)
    nearest = torch.minimum(torch.cat([wide, gaps]), torch.cat([gaps, wide]))
    reach = (0.3 * nearest / max(1.0, rate)).clamp(max=3 * n_fft / 8)
    knots_out = torch.stack([inputs / rate - reach, inputs / rate + reach], dim=1).flatten()
    knots_in = torch.stack([inputs - reach, inputs + reach], dim=1).flatten()
    right = torch.searchsorted(knots_out, outputs).clamp(1, len(knots_out) - 1)
    left = right - 1
    slope = (knots_in[right] - knots_in[left]) / (knots_out[right] - knots_out[left])
    between = knots_in[left] + (outputs - knots_out[left]) * slope
    before = knots_in[0] + (outputs - knots_out[0]) * rate
    after = knots_in[-1] + (outputs - knots_out[-1]) * rate
    places = torch.where(outputs < knots_out[0], before, between)
    places = torch.where(outputs > knots_out[-1], after, places)
    return places.round().long().clamp(min=-n_fft // 2)


def _attack_bins(
    power: Float[Tensor, "frames bins"],
    places: Int[Tensor, " frames"],
    attacks: Int[Tensor, " attacks"],
    n_fft: int,
) -> dict[int, Bool[Tensor, " bins"]]:
    """Return which bins start anew, by the frame at which they do."""
    last = len(places) - 1
    first = torch.searchsorted(places, attacks - 3 * n_fft // 8).clamp(1, last)
    before = torch.searchsorted(places, attacks - n_fft // 2).clamp(1, last) - 1
    after = torch.searchsorted(places, attacks + n_fft // 8).clamp(max=last)
    fresh = power[after] > ATTACK_RISE * power[before]
    return dict(zip(first.tolist(), fresh, strict=True))


def _turns(
    spectra: Complex[Tensor, "channels frames bins"],
    earlier: Complex[Tensor, "channels frames bins"],
    power: Float[Tensor, "frames bins"],
    attack_bins: dict[int, Bool[Tensor, " bins"]],
) -> Complex[Tensor, "frames bins"]:
    """Return the unit number by which each bin is turned."""
    advance = (spectra[:, :-1] * earlier[:, 1:].conj()).sum(dim=0)
    peaks = _nearest_peaks(power)
    steps = torch.gather(advance, 1, peaks[1:])
    steps = steps / steps.abs().clamp(min=1e-20)
    turn = torch.ones_like(advance[0])
    turns = [turn]
    for frame, (peak, step) in enumerate(zip(peaks[1:], steps, strict=True), start=1):
        turn = torch.index_select(turn, 0, peak) * step
        if frame in attack_bins:
            turn = torch.where(attack_bins[frame], 1.0, turn)
        turns.append(turn)
    return torch.stack(turns)


def _nearest_peaks(power: Float[Tensor, "frames bins"]) -> Int[Tensor, "frames bins"]:
    """Return the bin of the peak (largest of five) that is nearest to each bin."""
    num_bins = power.shape[-1]
    peaks = power == F.max_pool1d(power[:, None], 5, 1, 2)[:, 0]
    bins = torch.arange(num_bins, device=power.device).expand_as(power)
    lower = torch.where(peaks, bins, -num_bins).cummax(dim=-1).values
    upper = torch.where(peaks, bins, 2 * num_bins).flip(-1).cummin(dim=-1).values.flip(-1)
    return torch.where(bins - lower <= upper - bins, lower, upper)


def _overlap_add(
    frames: Float[Tensor, "channels frames window"], hop: int
) -> Float[Tensor, "channels time"]:
    parts = frames.unflatten(-1, (OVERLAP, hop))
    num_frames = frames.shape[1]
    out = frames.new_zeros(frames.shape[0], num_frames + OVERLAP - 1, hop)
    for part in range(OVERLAP):
        out[:, part : part + num_frames] += parts[:, :, part]
    return out.flatten(1)
