from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from audiform.errors import AudioError
from audiform.metrics.block_toeplitz import DelayGram
from audiform.metrics.bss_eval import BssEval, BssScores, bss_eval
from audiform.metrics.correlation import LagCorrelation, fast_fft_size
from tests.metrics.bss_material import GOLDEN, RATIOS, Case, cases, museval_metrics, museval_scores

CASES = cases()

#: dB. Both programs work in float64; what is left is rounding in ill-conditioned equations.
TOLERANCE_DB = 1e-3


def ours(case: Case) -> BssScores:
    return bss_eval(
        estimate=torch.from_numpy(case.estimate).float(),
        reference=torch.from_numpy(case.reference).float(),
        window_samples=case.window,
        hop_samples=case.hop,
    )


def assert_same(found: BssScores, expected: dict[str, np.ndarray]) -> None:
    for ratio in RATIOS:
        np.testing.assert_allclose(
            getattr(found, ratio).numpy(),
            expected[ratio],
            rtol=0,
            atol=TOLERANCE_DB,
            equal_nan=True,
        )


@pytest.mark.parametrize("name", CASES)
def test_gives_the_campaigns_figures(name):
    frozen = json.loads(GOLDEN.read_text())
    assert set(frozen) == set(CASES)
    assert_same(ours(CASES[name]), {ratio: np.array(frozen[name][ratio]) for ratio in RATIOS})


def test_the_frozen_figures_are_what_museval_says():
    try:
        museval_metrics()
    except ImportError:
        pytest.skip("museval is not installed (pip install museval)")
    frozen = json.loads(GOLDEN.read_text())["overlapping_windows"]
    found = museval_scores(CASES["overlapping_windows"])
    for ratio, figures in zip(RATIOS, found, strict=True):
        np.testing.assert_allclose(figures, frozen[ratio], rtol=0, atol=1e-5)


def test_windows_with_a_silent_source_have_no_score():
    scores = ours(CASES["stereo_with_silent_windows"])
    # 0: opposite channels; 3: a reference is silent; 4: an estimate is; 2 has one sample
    assert scores.sdr.isnan().any(0).tolist() == [True, False, False, True, True, False]
    assert torch.equal(scores.sdr.isnan(), scores.sar.isnan())


@pytest.mark.parametrize("silent_source", [[1], [0, 1]])
def test_silence_throughout_leaves_a_source_out_and_not_the_others(silent_source):
    case = CASES["overlapping_windows"]
    reference, estimate = (
        torch.from_numpy(part).float()[:, :, :16000] for part in (case.reference, case.estimate)
    )
    reference[silent_source] = 0
    scorer = BssEval(num_sources=2, audio_channels=2, estimate_sources=[2], window_samples=8000)
    scorer.correlate(reference, [estimate])
    scorer.solve()
    windows = [part.unflatten(-1, (2, 8000)) for part in (reference, estimate)]
    (found,) = scorer.score(windows[0], [windows[1]])
    assert found.sdr.isnan().all(dim=1).tolist() == [0 in silent_source, True]
    assert found.sir.isnan().all()  # nothing is left that could interfere
    if silent_source == [1]:
        alone = bss_eval(estimate=estimate[:1], reference=reference[:1], window_samples=8000)
        torch.testing.assert_close(found.sar[:1], alone.sar, atol=1e-9, rtol=0)


def test_windows_that_are_all_silent_have_no_figure():
    case = CASES["overlapping_windows"]
    reference = torch.from_numpy(case.reference).float()[:, :, :16000]
    scorer = BssEval(num_sources=2, audio_channels=2, estimate_sources=[2], window_samples=8000)
    scorer.correlate(reference, [reference])
    scorer.solve()
    silence = torch.zeros(2, 2, 3, 8000)
    (found,) = scorer.score(silence, [silence])
    assert found.sdr.shape == (2, 3)
    assert found.sdr.isnan().all()


def brute_force(case: Case, taps: int) -> np.ndarray:
    """Projections by least squares on matrices of delayed signals, in one window."""
    delayed = np.stack([_delays(rows, taps) for rows in case.reference])
    ratios = []
    for source, estimate in enumerate(case.estimate):
        image = _padded(case.reference[source], taps)
        goal = _padded(estimate, taps)
        everything = np.concatenate(list(delayed))
        projected = _projection(everything, goal)
        matched = _projection(delayed[source], goal)
        parts = [
            (image, goal - image),
            (image, matched - image),
            (matched, projected - matched),
            (projected, goal - projected),
        ]
        ratios.append([10 * np.log10((a**2).sum() / (b**2).sum()) for a, b in parts])
    return np.array(ratios).T


def _padded(rows: np.ndarray, taps: int) -> np.ndarray:
    return np.pad(rows, ((0, 0), (0, taps - 1)))


def _delays(rows: np.ndarray, taps: int) -> np.ndarray:
    return np.stack([np.roll(_padded(rows, taps), k, axis=1) for k in range(taps)]).reshape(
        -1, rows.shape[1] + taps - 1
    )


def _projection(basis: np.ndarray, goal: np.ndarray) -> np.ndarray:
    return (basis.T @ np.linalg.lstsq(basis.T, goal.T, rcond=None)[0]).T


def test_equals_projections_on_matrices_of_delayed_signals():
    case = Case(
        CASES["overlapping_windows"].reference[:, :, :900],
        CASES["overlapping_windows"].estimate[:, :, :900],
    )
    scores = bss_eval(
        estimate=torch.from_numpy(case.estimate).float(),
        reference=torch.from_numpy(case.reference).float(),
        window_samples=900,
        filter_samples=16,
    )
    found = torch.cat([scores.sdr, scores.isr, scores.sir, scores.sar], dim=1).T
    np.testing.assert_allclose(found.numpy(), brute_force(case, 16), atol=1e-5)


def test_sets_of_estimates_side_by_side_score_as_they_do_alone():
    case = CASES["overlapping_windows"]
    reference, estimate = (
        torch.from_numpy(part).float() for part in (case.reference, case.estimate)
    )
    mixture = reference.sum(0, keepdim=True)
    scorer = BssEval(num_sources=2, audio_channels=2, estimate_sources=[2, 1], window_samples=8000)
    for block in range(0, reference.shape[-1], 3000):
        here = (..., slice(block, block + 3000))
        scorer.correlate(reference[here], [estimate[here], mixture[here]])
    scorer.solve()
    found = scorer.score(
        reference[:, :, None, :8000], [estimate[:, :, None, :8000], mixture[:, :, None, :8000]]
    )
    for scores, alone in zip(found, (estimate, mixture.repeat(2, 1, 1)), strict=True):
        expected = bss_eval(estimate=alone, reference=reference, window_samples=8000)
        for ratio in RATIOS:
            torch.testing.assert_close(
                getattr(scores, ratio)[:, 0], getattr(expected, ratio)[:, 0], atol=1e-6, rtol=0
            )


def test_condition_tells_full_spectra_from_empty_bands():
    random = np.random.RandomState(0).standard_normal((2, 1, 20000))
    spectrum = np.fft.rfft(random)
    spectrum[..., 5000:] = 0
    for signals, low, high in ((random, 1, 1e3), (np.fft.irfft(spectrum), 1e12, np.inf)):
        scorer = BssEval(
            num_sources=2, audio_channels=1, estimate_sources=[2], window_samples=20000
        )
        block = torch.from_numpy(signals).float()
        scorer.correlate(block, [block])
        scorer.solve()
        assert low < scorer.condition < high


def test_refuses_a_source_that_is_silent_throughout():
    sound = torch.ones(2, 1, 100)
    silent = sound.clone()
    silent[1] = 0
    for names in (
        {"estimate": silent, "reference": sound},
        {"estimate": sound, "reference": silent},
    ):
        with pytest.raises(AudioError, match="silent throughout"):
            bss_eval(**names, window_samples=100, filter_samples=4)


@pytest.mark.parametrize("block", [17, 250, 4000])
def test_correlation_of_blocks_is_that_of_the_whole(block):
    generator = torch.Generator().manual_seed(0)
    leading, following = (torch.randn(n, 4000, generator=generator) for n in (2, 3))
    correlation = LagCorrelation(num_leading=2, num_following=3, num_lags=20)
    for x, y in zip(leading.split(block, 1), following.split(block, 1), strict=True):
        correlation.update(x, y)
    found = correlation.lags()
    x, y = leading.double(), following.double()
    for lag in (0, 1, 19):
        expected = x[:, : 4000 - lag] @ y[:, lag:].T
        torch.testing.assert_close(found[..., lag], expected, atol=1e-9, rtol=0)


def test_gram_solves_its_equations_and_mends_a_singular_one():
    generator = torch.Generator().manual_seed(0)
    signals = torch.randn(2, 500, dtype=torch.float64, generator=generator)
    for rows, ridged in ((signals, False), (signals[[0, 0]], True)):
        delayed = torch.stack(
            [torch.roll(torch.nn.functional.pad(rows, (0, 7)), k, 1) for k in range(8)], 1
        )
        matrix = delayed.flatten(0, 1) @ delayed.flatten(0, 1).T
        correlations = torch.stack(
            [
                torch.stack([matrix[8 * i + torch.arange(8), 8 * j] for j in range(2)])
                for i in range(2)
            ]
        )
        gram = DelayGram(correlations)
        assert (gram.ridge > 0) == ridged
        right = matrix @ torch.randn(16, 3, dtype=torch.float64, generator=generator)
        torch.testing.assert_close(matrix @ gram.solve(right), right, atol=1e-6, rtol=1e-9)


def test_fft_sizes_are_even_and_smooth():
    for at_least in range(1, 3000, 7):
        size = fast_fft_size(at_least)
        assert size >= at_least
        assert size % 2 == 0
        for factor in (2, 3, 5):
            while size % factor == 0:
                size //= factor
        assert size == 1
