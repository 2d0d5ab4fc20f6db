"""Effect metrics against auraloss, scipy, closed forms and the standards' own figures."""

from __future__ import annotations

import math

import auraloss
import numpy as np
import pytest
import torch
from scipy import signal

from audiform.errors import AudioError
from audiform.knob import Knob
from audiform.metrics.effects import (
    esr,
    gain_curve_error,
    log_cosh,
    mae,
    mr_stft,
    pre_emphasised_esr,
)
from audiform.metrics.effects_floors import (
    best_gain,
    esr_of_floors,
    fitted_fir,
    nearest_setting,
)
from audiform.metrics.effects_loudness import (
    integrated_loudness,
    k_weighting,
    loudness_error,
)
from audiform.metrics.effects_noise import (
    a_weighting,
    aliasing_by_tone_db,
    aliasing_db,
    level_by_position_db,
    periodic_share,
    residual_noise,
)

RATE = 48000


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tone(hz: float, seconds: float, level_db: float, rate: int = RATE) -> torch.Tensor:
    time = torch.arange(round(seconds * rate), dtype=torch.float64) / rate
    return 10 ** (level_db / 20) * torch.sin(2 * math.pi * hz * time)


# Samples and spectra --------------------------------------------------------------------------


def test_esr_and_its_siblings_agree_with_auraloss() -> None:
    estimate, reference = noise(3, 1, 5000), noise(3, 1, 5000, seed=1)
    for item in range(3):
        pair = estimate[item : item + 1], reference[item : item + 1]
        ours = {"estimate": estimate[item], "reference": reference[item]}
        assert esr(**ours).item() == pytest.approx(auraloss.time.ESRLoss()(*pair).item(), 1e-5)
        their = auraloss.time.LogCoshLoss()(*pair).item()
        assert log_cosh(**ours).item() == pytest.approx(their, 1e-4)  # theirs is float32
        assert mae(**ours).item() == pytest.approx((pair[0] - pair[1]).abs().mean().item(), 1e-5)


@pytest.mark.parametrize("shape", [(1, 6000), (2, 3001)])
def test_mr_stft_is_auraloss_s(shape) -> None:
    reference = noise(*shape)
    for estimate in (reference + 0.1 * noise(*shape, seed=1), 0.5 * reference, 0 * reference):
        their = auraloss.freq.MultiResolutionSTFTLoss()(estimate[None], reference[None]).item()
        assert mr_stft(estimate=estimate, reference=reference).item() == pytest.approx(their, 1e-4)
    assert mr_stft(estimate=reference, reference=reference).item() == 0.0


def test_a_batch_is_scored_item_by_item() -> None:
    estimate, reference = noise(3, 2, 4000), noise(3, 2, 4000, seed=1)
    for metric in (esr, pre_emphasised_esr, mae, log_cosh, mr_stft):
        together = metric(estimate=estimate, reference=reference)
        apart = [metric(estimate=a, reference=b) for a, b in zip(estimate, reference, strict=True)]
        assert together.shape == (3,)
        assert torch.allclose(together, torch.stack(apart), rtol=1e-5)


def test_pre_emphasis_is_scipy_s_filter() -> None:
    estimate, reference = noise(1, 5000), noise(1, 5000, seed=1)
    filtered = [
        torch.from_numpy(signal.lfilter([1.0, -0.85], [1.0], audio.double().numpy()))
        for audio in (estimate, reference)
    ]
    expected = esr(estimate=filtered[0], reference=filtered[1]).item()
    assert pre_emphasised_esr(estimate=estimate, reference=reference).item() == pytest.approx(
        expected, 1e-5
    )


@pytest.mark.parametrize("error", [1e-6, 9.9e-3, 1.01e-2, 1.0, 1e4])
def test_log_cosh_neither_cancels_nor_overflows(error) -> None:
    expected = math.log(math.cosh(error)) if 1e-3 < error < 100 else None
    if expected is None:
        expected = error**2 / 2 if error < 1 else error - math.log(2)
    reference = torch.zeros(1, 8, dtype=torch.float64)
    assert log_cosh(estimate=reference + error, reference=reference).item() == pytest.approx(
        expected, 1e-6
    )


def test_too_short_sounds_are_refused() -> None:
    with pytest.raises(AudioError, match="longer"):
        mr_stft(estimate=noise(1, 1000), reference=noise(1, 1000))


def test_gain_curve_error_is_in_db_and_only_where_there_is_sound() -> None:
    dry = torch.cat([noise(1, RATE), torch.zeros(1, RATE)], dim=-1)
    gain_db = torch.full((1, 2 * RATE), -6.0)
    gain_db[:, : RATE // 2] = -3.0
    reference = dry * 10 ** (gain_db / 20)
    off = dry * 10 ** ((gain_db + 1.5) / 20)
    off[:, RATE:] = 0.5  # where the dry sound is silent
    found = gain_curve_error(estimate=off, reference=reference, dry=dry, sample_rate=RATE)
    assert found == pytest.approx(1.5, abs=1e-4)
    half = dry * 10 ** (-6.0 / 20)  # 3 dB off in half of the frames
    found = gain_curve_error(estimate=half, reference=reference, dry=dry, sample_rate=RATE)
    assert found == pytest.approx(3.0 / math.sqrt(2), abs=1e-4)
    with pytest.raises(AudioError, match="louder"):
        gain_curve_error(estimate=off, reference=off, dry=0 * dry, sample_rate=RATE)


# Loudness -------------------------------------------------------------------------------------


def test_the_filters_at_48_khz_are_those_of_the_standard() -> None:
    """ITU-R BS.1770-4, tables 1 and 2."""
    shelf, high_pass = k_weighting(48000)
    assert shelf.numerator.tolist() == pytest.approx(
        [1.53512485958697, -2.69169618940638, 1.19839281085285], abs=1e-9
    )
    assert shelf.denominator.tolist()[1:] == pytest.approx(
        [-1.69065929318241, 0.73248077421585], abs=1e-9
    )
    assert high_pass.numerator.tolist() == pytest.approx([1.0, -2.0, 1.0], abs=1e-12)
    assert high_pass.denominator.tolist()[1:] == pytest.approx(
        [-1.99004745483398, 0.99007225036621], abs=1e-9
    )


@pytest.mark.parametrize(
    "parts",
    [
        [(-23.0, 20.0)],
        [(-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0)],
        [(-72.0, 10.0), (-36.0, 10.0), (-23.0, 60.0), (-36.0, 10.0), (-72.0, 10.0)],
        [(-26.0, 20.0), (-20.0, 20.1), (-26.0, 20.0)],
    ],
)
def test_signals_of_ebu_tech_3341_read_minus_23(parts) -> None:
    """Its signals 1, 3, 4 and 5: stereo sines of 1 kHz; -23 LUFS, within 0.1."""
    one = torch.cat([tone(1000.0, seconds, level) for level, seconds in parts]).float()
    found = integrated_loudness(one.expand(2, -1), RATE)
    assert found == pytest.approx(-23.0, abs=0.1)


def test_five_channels_of_ebu_tech_3341_read_minus_23() -> None:
    """Its signal 6: -28 dB left and right, -24 centre, -30 surround."""
    levels = (-28.0, -28.0, -24.0, -30.0, -30.0)
    five = torch.stack([tone(1000.0, 20.0, level) for level in levels])
    assert integrated_loudness(five, RATE) == pytest.approx(-23.0, abs=0.1)


@pytest.mark.parametrize("rate", [22050, 44100, 48000, 96000])
def test_a_full_scale_sine_in_one_channel_reads_minus_3_01(rate) -> None:
    """BS.1770-4, annex 1: 997 Hz, 0 dB; within 0.1, the bilinear transform bends low rates."""
    found = integrated_loudness(tone(997.0, 2.0, 0.0, rate)[None], rate)
    assert found == pytest.approx(-3.01, abs=0.04)


def test_loudness_of_silence_and_of_too_little() -> None:
    silence = torch.zeros(1, RATE)
    assert integrated_loudness(silence, RATE) == -math.inf
    assert loudness_error(estimate=silence, reference=silence, sample_rate=RATE) == 0.0
    sound = noise(1, RATE)
    found = loudness_error(estimate=2 * sound, reference=sound, sample_rate=RATE)
    assert found == pytest.approx(20 * math.log10(2), abs=1e-4)
    with pytest.raises(AudioError, match=r"0\.4 s"):
        integrated_loudness(noise(1, 100), RATE)


# Noise ----------------------------------------------------------------------------------------


def test_a_weighting_has_the_figures_of_its_standard() -> None:
    """IEC 61672-1, table 3 (exact frequencies, two digits there)."""
    table = {31.62: -39.4, 100.0: -19.1, 1000.0: 0.0, 3162.3: 1.2, 10000.0: -2.5, 19953.0: -9.3}
    found = 20 * torch.log10(a_weighting(torch.tensor(list(table), dtype=torch.float64)))
    assert found.tolist() == pytest.approx(list(table.values()), abs=0.06)


def test_levels_of_an_error() -> None:
    reference = noise(1, RATE)
    error = tone(100.0, 1.0, -40.0)[None]
    found = residual_noise(estimate=reference + error, reference=reference, sample_rate=RATE)
    assert found.level_db == pytest.approx(-43.01, abs=0.02)
    assert found.a_weighted_db == pytest.approx(-43.01 - 19.1, abs=0.1)
    assert found.treble_db < -100.0
    high = tone(12000.0, 1.0, -40.0)[None]
    found = residual_noise(estimate=reference + high, reference=reference, sample_rate=RATE)
    assert found.treble_db == pytest.approx(-43.01, abs=0.02)
    none = residual_noise(estimate=reference, reference=reference, sample_rate=RATE)
    assert none.level_db == none.treble_db == -200.0


def test_what_repeats_with_the_blocks_is_found() -> None:
    comb = noise(1, 512).repeat(1, 50)
    assert periodic_share(comb, period_samples=512).item() == pytest.approx(1.0)
    hiss = noise(1, 512 * 50)
    assert periodic_share(hiss, period_samples=512).item() == pytest.approx(1 / 50, rel=0.2)
    hiss[:, :] *= torch.where(torch.arange(512 * 50) % 512 < 256, 1.0, 0.1)
    level_db = level_by_position_db(hiss, period_samples=512)
    assert (level_db[:256].mean() - level_db[256:].mean()).item() == pytest.approx(20.0, abs=0.5)
    with pytest.raises(AudioError, match="periods"):
        periodic_share(hiss, period_samples=512 * 40)


def test_aliasing_of_a_cube_is_its_third_harmonic_folded_back() -> None:
    """sin^3 = (3 sin x - sin 3x) / 4: at 10 kHz the last folds to 18 kHz, 9.54 dB lower."""
    found = aliasing_by_tone_db(lambda dry: dry.double() ** 3, sample_rate=RATE)
    assert found[10_000.0] == pytest.approx(20 * math.log10(1 / 3), abs=1e-3)
    assert found[5623.0] < -120.0  # rounding of the tone to float32
    assert aliasing_db(lambda dry: dry, sample_rate=RATE, tone_hz=1000.0) < -120.0
    with pytest.raises(AudioError, match="24000 Hz"):
        aliasing_db(lambda dry: dry, sample_rate=RATE, tone_hz=30000.0)


# Floors ---------------------------------------------------------------------------------------


def test_a_fitted_filter_is_numpy_s_least_squares() -> None:
    dry = noise(2, 900)
    wet = dry.clone().tanh() + 0.3 * torch.roll(dry, 3, dims=-1)
    columns = [
        np.concatenate([signal.lfilter([0.0] * k + [1.0], [1.0], row) for row in dry.numpy()])
        for k in range(20)
    ]
    expected, *_ = np.linalg.lstsq(
        np.stack(columns, axis=1).astype(np.float64), wet.numpy().reshape(-1), rcond=None
    )
    found = fitted_fir(dry=dry, wet=wet, num_taps=20)
    assert np.abs(found.numpy() - expected).max() < 1e-6  # the ridge


def test_a_linear_device_is_no_more_than_its_filter() -> None:
    dry = noise(1, 20000)
    taps = torch.randn(100, generator=torch.Generator().manual_seed(5))
    wet = torch.from_numpy(signal.lfilter(taps.numpy(), [1.0], dry.numpy())).float()
    scores = esr_of_floors(dry=dry, wet=wet)
    assert scores["fir"] < 1e-6 < scores["gain"] < scores["bypass"]
    assert esr_of_floors(dry=dry, wet=-0.25 * dry)["gain"] < 1e-10
    assert best_gain(dry=dry, wet=-0.25 * dry) == pytest.approx(-0.25)
    assert best_gain(dry=0 * dry, wet=dry) == 0.0


def test_nearest_setting_weighs_knobs_by_their_ranges() -> None:
    knobs = (
        Knob(name="level_db", minimum=-60.0, maximum=0.0, default=0.0),
        Knob(name="mix", minimum=0.0, maximum=1.0, default=0.5),
    )
    wanted = {"level_db": -30.0, "mix": 0.5}
    others = [{"level_db": -30.0, "mix": 0.9}, {"level_db": -20.0, "mix": 0.5}]
    assert nearest_setting(wanted, others, knobs) == 1
