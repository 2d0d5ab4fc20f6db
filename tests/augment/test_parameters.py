"""What is drawn has the statistics that the configuration names; what is applied is that."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from audiform.augment.absent import Absent, AbsentConfig, apply_absent, draw_absent
from audiform.augment.band_limit import BandLimit, apply_band_limit
from audiform.augment.channel_swap import ChannelSwap, apply_channel_swap
from audiform.augment.equalise import Equalise, EqualiseConfig, apply_equalise, draw_equalise
from audiform.augment.gain import GainConfig, draw_gain
from audiform.augment.gain_db import GainDbConfig, draw_gain_db
from audiform.augment.layout import StemLayout
from audiform.augment.limit import Limit, apply_limit
from audiform.augment.peak_level import PeakLevelConfig, apply_peak_level, draw_peak_level
from audiform.augment.polarity import PolarityConfig, apply_polarity, draw_polarity
from audiform.augment.remix import RemixConfig, apply_remix, draw_remix
from audiform.augment.repitch import Repitch, RepitchConfig, apply_repitch, draw_repitch
from audiform.augment.reverb import Reverb, ReverbConfig, apply_reverb, draw_reverb
from audiform.augment.saturate import Saturate, apply_saturate
from audiform.augment.shift import ShiftConfig, apply_shift, draw_shift
from audiform.dsp.spectral_peak import SpectralPeak
from audiform.dsp.stft import StftSpec
from audiform.errors import ConfigError

RATE = 8000
MANY = StemLayout(
    batch_size=2000,
    sources=("drums", "bass", "other", "vocals"),
    audio_channels=2,
    samples=20_000,
    sample_rate=RATE,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(*shape: int) -> torch.Tensor:
    return 0.2 * torch.randn(*shape, generator=generator(5))


def test_gain_is_even_between_its_limits() -> None:
    factor = draw_gain(GainConfig(), MANY, generator()).factor
    assert factor.min() >= 0.25
    assert factor.max() <= 1.25
    assert factor.mean().item() == pytest.approx(0.75, abs=0.02)
    assert factor.std().item() == pytest.approx(1 / math.sqrt(12), abs=0.01)


def test_gain_in_decibels_is_normal() -> None:
    config = GainDbConfig(mean_db=-2.0, deviation_db=4.0)
    gain_db = 20 * draw_gain_db(config, MANY, generator()).factor.log10()
    assert gain_db.mean().item() == pytest.approx(-2.0, abs=0.2)
    assert gain_db.std().item() == pytest.approx(4.0, abs=0.2)


def test_shares_are_those_of_the_configuration() -> None:
    turned = draw_polarity(PolarityConfig(share=0.3), MANY, generator()).turned
    assert turned.float().mean().item() == pytest.approx(0.3, abs=0.02)
    drawn = draw_equalise(EqualiseConfig(share=0.4, max_gain_db=6.0), MANY, generator())
    used = drawn.gain_db.abs().amax(dim=-1) > 0
    assert used.float().mean().item() == pytest.approx(0.4, abs=0.02)
    assert drawn.gain_db.abs().max() <= 6.0
    assert drawn.gain_db[used].std().item() == pytest.approx(6 / math.sqrt(3), abs=0.1)


def test_an_example_never_loses_all_its_sources() -> None:
    silent = draw_absent(AbsentConfig(share=0.7), MANY, generator()).silent
    assert not silent.all(dim=1).any()
    expected = 0.7 - 0.7**4  # where all four are drawn, all four stay
    assert silent.float().mean().item() == pytest.approx(expected, abs=0.02)


def test_an_absent_source_is_silent_and_the_others_are_as_they_were() -> None:
    stems = noise(2, 3, 2, 50)
    silent = torch.tensor([[True, False, False], [False, False, True]])
    changed = apply_absent(stems, Absent(silent))
    assert not changed[0, 0].any()
    assert not changed[1, 2].any()
    assert torch.equal(changed[~silent], stems[~silent])


def test_shift_cuts_where_it_says() -> None:
    stems = torch.arange(20_000.0).expand(3, 4, 2, -1)
    layout = StemLayout(3, MANY.sources, 2, 20_000, RATE)
    drawn = draw_shift(ShiftConfig(seconds=1.0), layout, generator())
    shifted = apply_shift(stems, drawn)
    assert shifted.shape[-1] == 12_000
    assert torch.equal(shifted[..., 0, 0].long(), drawn.offset)
    assert torch.equal(shifted.diff(dim=-1), torch.ones_like(shifted[..., 1:]))


def test_shifts_are_even_and_apart_unless_together() -> None:
    offset = draw_shift(ShiftConfig(), MANY, generator()).offset.double()
    assert offset.min() >= 0
    assert offset.max() <= RATE
    assert offset.mean().item() == pytest.approx(RATE / 2, rel=0.03)
    assert (offset[:, 0] != offset[:, 1]).double().mean() > 0.99
    alike = draw_shift(ShiftConfig(together=True), MANY, generator()).offset
    assert torch.equal(alike, alike[:, :1].expand(-1, 4))
    assert len(alike[:, 0].unique()) > 1000


def test_a_shift_longer_than_the_stems_is_refused() -> None:
    with pytest.raises(ConfigError, match="longer segments"):
        draw_shift(ShiftConfig(seconds=3.0), MANY, generator())


def test_swap_and_polarity() -> None:
    stems = noise(2, 2, 2, 30)
    swapped = torch.tensor([[True, False], [False, True]])
    changed = apply_channel_swap(stems, ChannelSwap(swapped))
    assert torch.equal(changed[0, 0], stems[0, 0].flip(0))
    assert torch.equal(changed[0, 1], stems[0, 1])
    drawn = draw_polarity(
        PolarityConfig(share=1.0), StemLayout(2, ("a", "b"), 2, 30, RATE), generator()
    )
    assert torch.equal(apply_polarity(stems, drawn), -stems)


def test_remix_takes_each_source_once_from_its_group() -> None:
    stems = torch.arange(32.0).reshape(8, 4, 1, 1)
    layout = StemLayout(8, MANY.sources, 1, 1, RATE)
    drawn = draw_remix(RemixConfig(group_size=4), layout, generator(3))
    mixed = apply_remix(stems, drawn)
    assert torch.equal(mixed[..., 0, 0].sort(dim=0).values, stems[..., 0, 0])
    assert (drawn.example[:4] < 4).all()
    assert (drawn.example[4:] >= 4).all()
    assert (drawn.example[:, 0] != drawn.example[:, 1]).any()


def test_each_permutation_of_a_group_is_as_likely() -> None:
    layout = StemLayout(3000, ("a",), 1, 1, RATE)
    drawn = draw_remix(RemixConfig(group_size=3), layout, generator()).example.reshape(-1, 3) % 3
    kinds, counts = drawn.unique(dim=0, return_counts=True)
    assert len(kinds) == 6
    assert counts.min() > 120  # 1000 / 6 = 167, deviation 12


def test_remix_of_an_incomplete_group_is_refused() -> None:
    with pytest.raises(ConfigError, match="batch of 6"):
        draw_remix(RemixConfig(group_size=4), StemLayout(6, ("a",), 1, 1, RATE), generator())


def test_repitch_draws_what_demucs_draws() -> None:
    drawn = draw_repitch(RepitchConfig(share=1.0), MANY, generator())
    semitones, counts = drawn.semitones[:, 0].unique(return_counts=True)
    assert semitones.tolist() == [-2, -1, 0, 1, 2]
    assert counts.min() > 330
    percent = 100 * (drawn.rate[:, 0] - 1)
    assert percent.abs().max() <= 12.001
    assert percent.std().item() == pytest.approx(5.0, abs=0.3)
    assert torch.equal(drawn.rate, drawn.rate[:, :1].expand(-1, 4))
    assert drawn.keep_formants.tolist() == [False, False, False, True]
    rare = draw_repitch(RepitchConfig(share=0.2), MANY, generator())
    assert (rare.rate[:, 0] != 1).float().mean().item() == pytest.approx(0.2, abs=0.03)


def test_repitch_of_each_source_by_itself() -> None:
    drawn = draw_repitch(RepitchConfig(share=1.0, together=False), MANY, generator())
    assert (drawn.rate[:, 0] != drawn.rate[:, 1]).float().mean() > 0.9


def test_repitch_moves_a_tone_and_leaves_its_neighbour() -> None:
    time = torch.arange(24_000) / RATE
    tone = torch.sin(2 * math.pi * 500.0 * time).expand(1, 2, 1, -1)
    drawn = Repitch(
        semitones=torch.tensor([[2, 0]]),
        rate=torch.tensor([[1.1, 1.0]]),
        keep_formants=torch.tensor([False, False]),
        samples=20_000,
        sample_rate=RATE,
    )
    changed = apply_repitch(tone, drawn)[0, :, 0].double().numpy()
    assert np.array_equal(changed[1], tone[0, 1, 0, :20_000].double().numpy())
    spectrum = np.abs(np.fft.rfft(changed[0][2000:18_000] * np.hanning(16_000)))
    assert spectrum.argmax() / 2 == pytest.approx(500.0 * 2 ** (2 / 12), abs=0.5)


def test_the_equaliser_turns_each_tone_by_the_response_of_its_filters() -> None:
    time = torch.arange(16_000) / RATE
    tones = torch.stack([torch.sin(2 * math.pi * hz * time) for hz in (20.0, 900.0, 3900.0)])
    drawn = Equalise(
        gain_db=torch.tensor([6.0, -4.0, 3.0]).expand(1, 3, 3),
        low_hz=torch.full((1, 3), 150.0),
        bell_hz=torch.full((1, 3), 900.0),
        bell_quality=torch.full((1, 3), 2.0),
        high_hz=torch.full((1, 3), 2500.0),
        sample_rate=RATE,
    )
    changed = apply_equalise(tones[None, :, None], drawn)[0, :, 0, 4000:12_000]
    gain_db = 10 * (changed.square().mean(-1) / tones[:, 4000:12_000].square().mean(-1)).log10()
    # Far below and above the corners, and at the centre, a filter has its whole gain.
    torch.testing.assert_close(gain_db, torch.tensor([6.0, -4.0, 3.0]), atol=0.3, rtol=0)


def test_a_limited_example_has_nothing_above_the_cutoff_in_any_stem() -> None:
    stems = noise(2, 3, 2, 16_000)
    cut = apply_band_limit(stems, BandLimit(torch.tensor([2000.0, torch.inf]), RATE))
    window = torch.hann_window(16_000)
    power = torch.fft.rfft(cut * window).abs().square()  # bins of half a hertz
    whole = torch.fft.rfft(stems * window).abs().square()
    assert (power[0, ..., 4100:].sum(-1) < 1e-7 * whole[0, ..., 4100:].sum(-1)).all()
    kept = power[0, ..., :3700].sum(-1) / whole[0, ..., :3700].sum(-1)
    torch.testing.assert_close(kept, torch.ones_like(kept), atol=1e-3, rtol=0)
    assert torch.equal(cut[1], stems[1])


def test_reverb_is_the_convolution_and_leaves_the_stem_in_place() -> None:
    stems = noise(1, 2, 1, 600)
    rooms = torch.rand(2, 1, 50, generator=generator(1))
    drawn = Reverb(torch.tensor([[1, -1]]), torch.full((1, 2), 0.5), rooms)
    changed = apply_reverb(stems, drawn)
    response = (rooms[1, 0] * 0.5 / rooms[1, 0].square().sum().sqrt()).numpy()
    expected = np.convolve(stems[0, 0, 0].numpy(), response)[:600]
    np.testing.assert_allclose((changed - stems)[0, 0, 0].numpy(), expected, atol=1e-5)
    assert torch.equal(changed[0, 1], stems[0, 1])


def test_reverb_without_rooms_is_refused() -> None:
    with pytest.raises(ConfigError, match="impulse responses"):
        draw_reverb(ReverbConfig(), MANY, generator())


def test_saturation_keeps_the_peak_and_lifts_the_rest() -> None:
    stems = noise(1, 2, 2, 4000)
    changed = apply_saturate(stems, Saturate(torch.tensor([[2.0, 0.0]])))
    assert changed[0, 0].abs().max().item() == pytest.approx(stems[0, 0].abs().max().item())
    assert changed[0, 0].square().mean() > 1.3 * stems[0, 0].square().mean()
    assert torch.equal(changed[0, 0].sign(), stems[0, 0].sign())
    assert torch.equal(changed[0, 1], stems[0, 1])


def test_the_limiter_holds_the_mixture_down_and_keeps_the_balance() -> None:
    stems = noise(2, 3, 2, 20_001)
    stems[0, 1, :, 7000:7005] *= 8.0
    ceiling = torch.tensor([0.5, 1.0])
    changed = apply_limit(stems, Limit(ceiling))
    peak = stems[0].sum(0).abs().max()
    assert changed[0].sum(0).abs().max() <= 0.5 * peak * (1 + 1e-5)
    assert torch.equal(changed[1], stems[1])
    ratio = changed[0] / stems[0]
    torch.testing.assert_close(ratio, ratio[:1, :1].expand_as(ratio), atol=1e-4, rtol=1e-4)
    assert (ratio > 0.999).float().mean() > 0.8  # far from the peak nothing happens


def test_a_mixture_gets_the_peak_that_was_drawn_for_it() -> None:
    """Measured as the engine measures a whole song; silence stays silence."""
    config = PeakLevelConfig(n_fft=512, hop_length=256)
    stems = noise(3, 4, 2, 4096)
    stems[2] = 0.0
    drawn = draw_peak_level(config, replace(MANY, batch_size=3), generator())
    changed = apply_peak_level(stems, drawn)
    for mixture, peak in zip(changed[:2].sum(dim=1), drawn.peak, strict=False):
        found = SpectralPeak(StftSpec(512, 256)).update(mixture).normalisation().scale
        assert found == pytest.approx(peak.item(), rel=1e-4)
        assert 0.25 <= peak <= 1.0
    assert not changed[2].any()
    ratio = changed[0] / stems[0]
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))
    many = draw_peak_level(config, MANY, generator()).peak.log()
    assert many.mean().item() == pytest.approx(math.log(0.25) / 2, abs=0.03)
