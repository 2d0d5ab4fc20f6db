from __future__ import annotations

import pytest
import torch

from audiform.metrics.bleed import (
    DYNAMIC_RANGE_DB,
    HOP_LENGTH,
    MIN_AMPLITUDE,
    N_FFT,
    NUM_BANDS,
    BleedSums,
    MelBands,
    MelLevels,
    floored,
)

RATE = 44100


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mel_matrix() -> torch.Tensor:
    """Triangles written down one by one, after Slaney's scale and area."""

    def to_hz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = (
        15
        + 27 * torch.log(torch.tensor(RATE / 2 / 1000)).item() / torch.log(torch.tensor(6.4)).item()
    )
    corners = [to_hz(top * k / (NUM_BANDS + 1)) for k in range(NUM_BANDS + 2)]
    matrix = torch.zeros(NUM_BANDS, N_FFT // 2 + 1)
    bins = torch.arange(N_FFT // 2 + 1) * RATE / N_FFT
    for band in range(NUM_BANDS):
        left, middle, right = corners[band : band + 3]
        rising = (bins - left) / (middle - left)
        falling = (right - bins) / (right - middle)
        matrix[band] = rising.minimum(falling).clamp(min=0) * 2 / (right - left)
    return matrix


def brute_force_levels(signal: torch.Tensor) -> torch.Tensor:
    """Levels of (channels, time) in one go: (bands, channels x frames)."""
    spectrum = torch.stft(
        signal,
        N_FFT,
        HOP_LENGTH,
        window=torch.hann_window(N_FFT),
        center=True,
        pad_mode="constant",
        return_complex=True,
    ).abs()
    mel = (mel_matrix() @ spectrum).clamp(min=MIN_AMPLITUDE)
    levels = 20 * mel.log10()
    return levels.maximum(levels.max() - DYNAMIC_RANGE_DB).transpose(0, 1).flatten(1)


def in_blocks(signal: torch.Tensor, block: int) -> torch.Tensor:
    levels = MelLevels(num_rows=len(signal), bands=MelBands.spread(sample_rate=RATE))
    parts = signal.split(block, dim=1)
    return torch.cat([levels.update(part, last=part is parts[-1]) for part in parts], dim=2)


@pytest.mark.parametrize("block", [1000, 7777, 20000])
def test_equals_the_definition_written_out(block):
    reference, leak = noise(2, 20000), noise(2, 20000, seed=1)
    reference[:, 9000:] *= 1e-6  # falls below the floor
    estimate = 0.7 * reference + 0.1 * leak
    expected = [brute_force_levels(signal) for signal in (estimate, reference)]
    found = []
    for signal in (estimate, reference):
        levels = in_blocks(signal, block).flatten(1)[:, None]
        found.append(floored(levels, levels.amax(dim=(0, 2))))
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours[:, 0], theirs, atol=5e-3, rtol=0)
    sums = BleedSums.none(1)
    sums.add(estimate_db=found[0], reference_db=found[1])
    difference = expected[0] - expected[1]
    excess, lack = difference[difference > 0], -difference[difference < 0]
    assert len(excess) > 1000
    assert len(lack) > 1000
    assert sums.bleedless().item() == pytest.approx(100 / (1 + excess.mean().item()), rel=1e-3)
    assert sums.fullness().item() == pytest.approx(100 / (1 + lack.mean().item()), rel=1e-3)


def test_bands_cover_all_bins_but_the_ends():
    weights = mel_matrix()
    found = MelBands.spread(sample_rate=RATE)(torch.eye(N_FFT // 2 + 1))
    torch.testing.assert_close(found, weights, atol=1e-5, rtol=1e-4)
