"""Trained transforms: what they start as, and what keeps them a pair."""

import pytest
import torch

from audiform.nn.learned_stft import LearnedSTFT

N_FFT, HOP = 32, 12


def transforms(kind: str, *, all_bins: bool = False) -> LearnedSTFT:
    return LearnedSTFT(n_fft=N_FFT, hop_length=HOP, transforms=kind, all_bins=all_bins)


def noise(samples: int) -> torch.Tensor:
    return torch.randn(2, samples, generator=torch.Generator().manual_seed(0))


def moved(stft: LearnedSTFT) -> LearnedSTFT:
    """Give ``stft`` weights such as training leaves behind: nothing of the DFT holds."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in stft.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    return stft


def rebuilding_error(stft: LearnedSTFT, audio: torch.Tensor) -> float:
    frames = -(-audio.shape[-1] // HOP) + -(-N_FFT // HOP)
    found = stft.synthesise(*stft.analyse(audio, num_frames=frames))
    assert found.shape[-1] > audio.shape[-1] - HOP
    return (found - audio[:, : found.shape[-1]]).abs().max().item()


@pytest.mark.parametrize("all_bins", [False, True])
def test_it_starts_as_a_windowed_fourier_transform(all_bins) -> None:
    audio = noise(100)
    real, imaginary = transforms("free", all_bins=all_bins).analyse(audio, num_frames=11)
    padded = torch.nn.functional.pad(audio, (N_FFT, N_FFT))
    window = torch.hamming_window(N_FFT, periodic=False)
    for frame in range(11):
        piece = padded[:, HOP * frame :][:, :N_FFT]
        piece = torch.nn.functional.pad(piece, (0, N_FFT - piece.shape[1])) * window
        expected = torch.fft.rfft(piece, norm="ortho")
        found = torch.complex(real, imaginary)[..., frame]
        torch.testing.assert_close(found, expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("kind", ["free", "dual", "fixed"])
def test_untrained_it_rebuilds_every_signal(kind) -> None:
    assert rebuilding_error(transforms(kind), noise(300)) < 1e-5


def test_trained_only_the_dual_still_does() -> None:
    errors = {
        kind: rebuilding_error(moved(transforms(kind)), noise(300)) for kind in ("free", "dual")
    }
    assert errors["dual"] < 1e-4  # the matrix is less well conditioned than that of a DFT
    assert errors["free"] > 0.1


def test_half_of_the_bins_computes_and_learns_what_all_of_them_do() -> None:
    audio, steps = noise(100), 3
    both = [transforms("free", all_bins=all_bins) for all_bins in (True, False)]
    results = []
    for stft in both:
        optimizer = torch.optim.Adam(stft.parameters(), lr=1e-3, eps=1e-30)
        for _ in range(steps):
            real, imaginary = stft.analyse(audio, num_frames=11)
            loss = (stft.synthesise(real, imaginary.tanh()) - 0.5).square().sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        results.append(loss.item())
    assert results[0] == pytest.approx(results[1], rel=1e-4)


def test_the_kept_dual_follows_the_weights() -> None:
    stft, audio = transforms("dual"), noise(100)
    with torch.no_grad():
        rebuilding_error(stft, audio)
        assert rebuilding_error(moved(stft), audio) < 1e-4


def test_in_inference_mode_it_can_be_made_and_used() -> None:
    with torch.inference_mode():
        assert rebuilding_error(transforms("dual"), noise(100)) < 1e-5
