"""How close a learned effect is to the effect: samples, spectra and gain.

Signals are (..., channels, time); channels and time are summed over, leading axes stay. Plain
figures mislead alone: a wrong level costs more ESR than a wrong attack, so put the floors
(:mod:`audiform.metrics.effects_floors`) next to them.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from audiform.errors import AudioError
from audiform.metrics.shapes import require_equal_shapes

#: y[n] = x[n] - 0.85 x[n - 1]: A. Wright et al., "Real-time guitar amplifier emulation" (2020).
PRE_EMPHASIS = 0.85

#: n_fft, hop and window of the three resolutions: auraloss' defaults, those of
#: R. Yamamoto et al., "Parallel WaveGAN" (arXiv:1910.11480).
RESOLUTIONS = ((1024, 120, 600), (2048, 240, 1200), (512, 50, 240))

#: Powers of the spectrum below this count as this, as in auraloss.
POWER_FLOOR = 1e-8

#: Frames of a gain curve, and the level below which the dry sound says nothing of the gain.
GAIN_FRAME_SECONDS = 0.01
ACTIVE_DB = -60.0


def esr(
    *,
    estimate: Float[Tensor, "*leading channels time"],
    reference: Float[Tensor, "*leading channels time"],
) -> Float[Tensor, "*leading"]:
    """Return the error-to-signal ratio: energy of the error over that of the reference.

    0 is perfect, 1 is what silence scores. Infinite, or NaN for silence against silence, where
    the reference has no energy. Raises :class:`AudioError` where the shapes differ.

    >>> round(esr(estimate=torch.full((1, 9), 0.9), reference=torch.ones(1, 9)).item(), 6)
    0.01
    """
    require_equal_shapes(estimate, reference)
    error = (estimate.double() - reference.double()).square().sum(dim=(-2, -1))
    return (error / reference.double().square().sum(dim=(-2, -1))).float()


def pre_emphasised_esr(
    *,
    estimate: Float[Tensor, "*leading channels time"],
    reference: Float[Tensor, "*leading channels time"],
) -> Float[Tensor, "*leading"]:
    """Return :func:`esr` after y[n] = x[n] - 0.85 x[n - 1], which weighs treble as ears do."""
    require_equal_shapes(estimate, reference)
    return esr(estimate=pre_emphasised(estimate), reference=pre_emphasised(reference))


def pre_emphasised(audio: Float[Tensor, "*leading time"]) -> Float[Tensor, "*leading time"]:
    """Return y[n] = x[n] - 0.85 x[n - 1], silence before."""
    before = torch.nn.functional.pad(audio, (1, 0))[..., :-1]
    return audio - PRE_EMPHASIS * before


def mae(
    *,
    estimate: Float[Tensor, "*leading channels time"],
    reference: Float[Tensor, "*leading channels time"],
) -> Float[Tensor, "*leading"]:
    """Return the mean absolute error. Raises :class:`AudioError` where the shapes differ."""
    require_equal_shapes(estimate, reference)
    return (estimate - reference).abs().mean(dim=(-2, -1))


def log_cosh(
    *,
    estimate: Float[Tensor, "*leading channels time"],
    reference: Float[Tensor, "*leading channels time"],
) -> Float[Tensor, "*leading"]:
    """Return the mean of ln cosh of the error: half its square where small, its size where large.

    Written so that large errors do not overflow. Raises :class:`AudioError` where the shapes
    differ.
    """
    require_equal_shapes(estimate, reference)
    size = (estimate.double() - reference.double()).abs()
    # ln cosh x = x + ln(1 + e^-2x) - ln 2, without what cancels for small x
    small = size.square() / 2 - size.pow(4) / 12
    large = size + torch.log1p(torch.exp(-2 * size)) - torch.log(torch.tensor(2.0).double())
    return torch.where(size < 1e-2, small, large).mean(dim=(-2, -1)).float()


def mr_stft(
    *,
    estimate: Float[Tensor, "*leading channels time"],
    reference: Float[Tensor, "*leading channels time"],
) -> Float[Tensor, "*leading"]:
    """Return the multi-resolution STFT distance with auraloss' defaults.

    Mean over :data:`RESOLUTIONS` of spectral convergence, ``||A - B|| / ||B||`` of magnitudes,
    plus the mean absolute difference of their natural logarithms. An item of several channels
    counts as auraloss counts a batch of one. Raises :class:`AudioError` where the shapes differ
    or the signals are shorter than half the longest window.
    """
    require_equal_shapes(estimate, reference)
    longest = max(n_fft for n_fft, _, _ in RESOLUTIONS)
    if reference.shape[-1] <= longest // 2:
        raise AudioError(
            f"a spectrum of {longest} samples needs more than {longest // 2} samples of sound, "
            f"found {reference.shape[-1]}; score a longer piece"
        )
    terms = []
    for n_fft, hop_length, win_length in RESOLUTIONS:
        ours = _magnitudes(estimate, n_fft, hop_length, win_length)
        theirs = _magnitudes(reference, n_fft, hop_length, win_length)
        inside = (-3, -2, -1)
        convergence = (ours - theirs).square().sum(inside).sqrt() / theirs.square().sum(
            inside
        ).sqrt()
        terms.append(convergence + (ours.log() - theirs.log()).abs().mean(inside))
    return torch.stack(terms).mean(dim=0)


def _magnitudes(audio: Tensor, n_fft: int, hop_length: int, win_length: int) -> Tensor:
    spectrum = torch.stft(
        audio.reshape(-1, audio.shape[-1]),
        n_fft,
        hop_length,
        win_length,
        torch.hann_window(win_length, dtype=audio.dtype, device=audio.device),
        return_complex=True,
    )
    power = (spectrum.real.square() + spectrum.imag.square()).clamp(min=POWER_FLOOR)
    return power.sqrt().reshape(*audio.shape[:-1], *power.shape[-2:])


def gain_curve_error(
    *,
    estimate: Float[Tensor, "channels time"],
    reference: Float[Tensor, "channels time"],
    dry: Float[Tensor, "channels time"],
    sample_rate: int,
) -> float:
    """Return in dB how far the estimate's gain is from the reference's, RMS over time.

    The gain of a frame of 10 ms is the RMS of wet over that of dry; frames whose dry RMS is
    below -60 dB do not count. It is what a compressor is, and what waveform figures miss
    (arXiv:2606.18573). Raises :class:`AudioError` where shapes differ or nothing is loud enough.
    """
    require_equal_shapes(estimate, reference)
    require_equal_shapes(dry, reference)
    level_db = _frame_levels_db(dry, sample_rate)
    active = level_db > ACTIVE_DB
    if not active.any():
        raise AudioError(
            f"no 10 ms of the dry sound are above {ACTIVE_DB:g} dB, so it shows no gain; "
            "score a louder piece"
        )
    ours = _frame_levels_db(estimate, sample_rate) - level_db
    theirs = _frame_levels_db(reference, sample_rate) - level_db
    return (ours - theirs)[active].square().mean().sqrt().item()


def _frame_levels_db(audio: Tensor, sample_rate: int) -> Tensor:
    """Return the RMS of each whole frame in dB, over all channels, at least -200."""
    size = max(1, round(GAIN_FRAME_SECONDS * sample_rate))
    power = audio.double().square().mean(dim=0)
    whole = power[: len(power) // size * size].reshape(-1, size).mean(dim=-1)
    return 10.0 * torch.log10(whole.clamp(min=1e-20))
