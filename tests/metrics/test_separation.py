from __future__ import annotations

import sys
import types

import pytest
import torch

from audiform.dsp.stft import StftSpec
from audiform.errors import AudioError
from audiform.metrics.floors import ideal_ratio_mask
from audiform.metrics.separation import sdr, si_sdr
from audiform.metrics.shapes import require_equal_shapes


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("error_db", [-40.0, -10.0, 0.0, 6.0])
def test_sdr_of_a_known_error(error_db):
    signal, error = noise(2, 9000), noise(2, 9000, seed=1)
    error *= 10 ** (error_db / 20) * signal.norm() / error.norm()
    score = sdr(estimate=signal + error, reference=signal).item()
    assert score == pytest.approx(-error_db, abs=1e-3)


def test_sdr_sums_over_channels_before_the_ratio():
    signal = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    estimate = torch.tensor([[3.0, 0.0], [0.0, 0.0]])
    # signal energy 9 + 1, error energy 1
    assert sdr(estimate=estimate, reference=signal).item() == pytest.approx(10.0, abs=1e-4)


def test_sdr_of_silence_is_zero_when_nothing_came_out():
    silence = torch.zeros(2, 100)
    assert sdr(estimate=silence, reference=silence).item() == pytest.approx(0.0)
    assert sdr(estimate=silence + 1.0, reference=silence).item() < -80


def test_leading_axes_are_scored_apart():
    signal, estimate = noise(3, 4, 2, 500), noise(3, 4, 2, 500, seed=2)
    together = sdr(estimate=estimate, reference=signal)
    assert together.shape == (3, 4)
    apart = sdr(estimate=estimate[2, 1], reference=signal[2, 1])
    assert together[2, 1].item() == pytest.approx(apart.item(), abs=1e-5)


@pytest.mark.parametrize("scale", [0.01, 1.0, -3.0])
def test_si_sdr_ignores_the_scale(scale):
    signal, error = noise(1, 8000), noise(1, 8000, seed=3)
    # an error at right angles to the signal, a tenth of its length: exactly 20 dB
    error -= (error * signal).sum() / signal.square().sum() * signal
    error *= 0.1 * signal.norm() / error.norm()
    score = si_sdr(estimate=scale * (signal + error), reference=signal).item()
    assert score == pytest.approx(20.0, abs=1e-3)


def test_agrees_with_museval_without_a_filter(monkeypatch):
    # museval's package imports readers of MUSDB that want ffmpeg; its metrics need neither
    for reader in ("musdb", "stempeg"):
        monkeypatch.setitem(sys.modules, reader, types.ModuleType(reader))
    museval_metrics = pytest.importorskip("museval.metrics")
    reference, estimate = noise(1, 4410), noise(1, 4410, seed=4)
    estimate = reference + 0.3 * estimate
    # BSSEval images with a distortion filter of one tap and one source leave SDR and nothing else
    scores = museval_metrics.bss_eval(
        reference.numpy()[:, :, None],
        estimate.numpy()[:, :, None],
        window=float("inf"),
        hop=float("inf"),
        compute_permutation=False,
        filters_len=1,
        framewise_filters=False,
        bsseval_sources_version=False,
    )
    ours = sdr(estimate=estimate, reference=reference).item()
    # in BSSEval the images' SDR counts the whole difference from the reference, as ours
    assert ours == pytest.approx(float(scores[0].squeeze()), abs=1e-2)


def test_refuses_different_shapes():
    # behind the annotations, which refuse them first while the tests run
    with pytest.raises(AudioError, match="one shape"):
        require_equal_shapes(torch.zeros(2, 10), torch.zeros(2, 11))


def test_ideal_mask_is_exact_for_sources_in_bands_of_their_own():
    time = torch.arange(20000) / 44100
    low, high = torch.sin(2 * torch.pi * 300 * time), torch.sin(2 * torch.pi * 9000 * time)
    stems = torch.stack([low, high])[:, None].repeat(1, 2, 1)
    estimate = ideal_ratio_mask(stems, StftSpec(n_fft=2048, hop_length=512))
    # what is left is the window's leakage between two tones far apart
    assert sdr(estimate=estimate, reference=stems).min() > 35


def test_ideal_masks_sum_to_the_mixture():
    stems = noise(3, 2, 10000)
    estimate = ideal_ratio_mask(stems, StftSpec(n_fft=1024, hop_length=256))
    torch.testing.assert_close(estimate.sum(0), stems.sum(0), atol=1e-5, rtol=0)
