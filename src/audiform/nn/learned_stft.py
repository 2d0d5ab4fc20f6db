"""A short-time Fourier transform whose bases are trained, and the way back.

Frame i of a signal starts at sample ``hop_length * i - n_fft`` (as Hawley, Colburn and
Mimilakis, "SignalTrain", arXiv:1905.11928, pad their signals). Analysis is one matrix product
for the real and the imaginary parts of the ``n_fft // 2 + 1`` bins that are used; published code
convolves all ``n_fft`` and drops the upper half.
"""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

#: What is trained, and what the way back is made of; see :class:`LearnedSTFT`.
Transforms = Literal["free", "dual", "fixed"]


def cosines_and_sines(n_fft: int, num_bins: int) -> Float[Tensor, "2 bin n_fft"]:
    """Return real and imaginary parts of the first rows of the orthonormal DFT matrix."""
    # Whole numbers modulo n_fft keep the angles exact however large the product is.
    turns = torch.outer(torch.arange(num_bins), torch.arange(n_fft)) % n_fft
    angle = turns.double() * (2 * torch.pi / n_fft)
    return (torch.stack([angle.cos(), -angle.sin()]) / n_fft**0.5).float()


def least_squares_window(
    window: Float[Tensor, " n_fft"], hop_length: int
) -> Float[Tensor, " n_fft"]:
    """Return the synthesis window that undoes ``window`` by overlap-add.

    D. Griffin and J. Lim, "Signal estimation from modified short-time Fourier transform", 1984,
    equation 6: the window over the sum of its shifted squares.
    """
    n_fft = len(window)
    shifts = (n_fft - 1) // hop_length
    padded = F.pad(window.double().square(), (shifts * hop_length, shifts * hop_length))
    total = sum(padded[k * hop_length :][:n_fft] for k in range(2 * shifts + 1))
    return (window.double() / total).float()


def _weighted_dual(bases: Tensor, times: Tensor) -> tuple[Tensor, Tensor]:
    """Return D W (W^T D W)^-1, and its second factor."""
    weighted = times * bases
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(bases.T @ weighted))
    return weighted @ inverse, inverse


class _WeightedDual(torch.autograd.Function):
    """D W (W^T D W)^-1 with its derivative in three products.

    A solver for any matrix and the derivatives that follow from it take longer on a CPU.
    """

    @staticmethod
    def forward(ctx: Any, bases: Tensor, times: Tensor) -> Tensor:
        dual, inverse = _weighted_dual(bases, times)
        ctx.save_for_backward(bases, times, inverse, dual)
        return dual

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_dual: Tensor) -> tuple[Tensor, None]:
        bases, times, inverse, dual = ctx.saved_tensors
        pulled = of_dual @ inverse
        mixed = dual.T @ pulled
        return times * (pulled - bases @ (mixed + mixed.T)), None


class LearnedSTFT(nn.Module):
    """Analysis and synthesis with weights that start as a windowed DFT.

    ``transforms``: "free" trains both, as published, and nothing keeps the pair from drifting
    apart. "dual" trains the analysis and computes the synthesis from it, such that the pair
    reconstructs every signal whatever the weights are: with W the analysis matrix without its
    window and D = diag(1, 2, ..., 2, 1), the synthesis is D W (W^T D W)^-1. "fixed" trains
    neither.

    ``all_bins`` ("free" only) keeps weights for all ``n_fft`` rows, as published: the upper
    ones of the analysis are never used, those of the synthesis act on the mirrored spectrum.
    Without it each synthesis weight counts twice for itself and its mirror image; from the
    same start, gradients and Adam's steps are the same.
    """

    analysis: Tensor
    window: Tensor
    synthesis_window: Tensor
    times: Tensor

    def __init__(
        self, *, n_fft: int, hop_length: int, transforms: Transforms, all_bins: bool
    ) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop_length = hop_length
        self.num_bins = n_fft // 2 + 1
        self.transforms = transforms
        self.all_bins = all_bins
        window = torch.hamming_window(n_fft, periodic=False)
        back = least_squares_window(window, hop_length)
        basis = cosines_and_sines(n_fft, n_fft if all_bins else self.num_bins)
        twice = torch.full((self.num_bins,), 2.0)
        twice[0] = twice[-1] = 1.0
        self.register_buffer("times", twice.repeat(2)[:, None], persistent=False)
        self._dual: tuple[tuple[int, int], Tensor] | None = None
        if transforms == "free":
            self.analysis = nn.Parameter(basis * window)
            self.synthesis = nn.Parameter(basis * back)
            return
        self.register_buffer("window", window, persistent=False)
        self.register_buffer("synthesis_window", back, persistent=False)
        if transforms == "dual":
            self.analysis = nn.Parameter(basis)
        else:
            self.register_buffer("analysis", basis, persistent=False)

    def analyse(
        self, audio: Float[Tensor, "batch time"], *, num_frames: int
    ) -> tuple[Float[Tensor, "batch bin frame"], Float[Tensor, "batch bin frame"]]:
        """Return real and imaginary parts of the first ``num_frames`` frames.

        Frames that reach beyond the end of ``audio`` see zeros there.
        """
        # The first frame lies before the signal, and the last ones may lie behind it.
        inside = min(num_frames, -(-(audio.shape[-1] + self.n_fft) // self.hop_length))
        reach = self.n_fft + (inside - 2) * self.hop_length
        before = self.n_fft - self.hop_length
        padded = F.pad(audio, (before, max(0, reach - audio.shape[-1] - before)))
        frames = padded[:, :reach].unfold(-1, self.n_fft, self.hop_length)
        both = F.linear(frames.contiguous(), self._analysis_matrix())
        both = F.pad(both.transpose(1, 2), (1, num_frames - inside))
        real, imaginary = both.chunk(2, dim=1)
        return real, imaginary

    def synthesise(
        self,
        real: Float[Tensor, "batch bin frame"],
        imaginary: Float[Tensor, "batch bin frame"],
    ) -> Float[Tensor, "batch time"]:
        """Add up the frames; the first and the last ``n_fft`` samples are cropped.

        What is left begins where the second of the frames that touch it begins to be whole:
        ``(frames - 1) * hop_length - n_fft`` samples, from the first frame's start + ``n_fft``.
        """
        num_frames = real.shape[-1]
        both = torch.cat([real, imaginary], dim=1).transpose(1, 2).contiguous()
        pieces = (both @ self._synthesis_matrix()).transpose(1, 2)
        total = self.n_fft + (num_frames - 1) * self.hop_length
        added = F.fold(pieces, (1, total), (1, self.n_fft), stride=(1, self.hop_length))
        return added[:, 0, 0, self.n_fft : total - self.n_fft]

    @torch.no_grad()
    def freed(self) -> LearnedSTFT:
        """Return transforms of the "free" kind that compute the same: two plain weights."""
        made = LearnedSTFT(
            n_fft=self.n_fft, hop_length=self.hop_length, transforms="free", all_bins=False
        )
        shape = (2, self.num_bins, self.n_fft)
        made.analysis.copy_(self._analysis_matrix().reshape(shape))
        made.synthesis.copy_((self._synthesis_matrix() / self.times).reshape(shape))
        return made

    def _analysis_matrix(self) -> Float[Tensor, "row n_fft"]:
        matrix = self.analysis[:, : self.num_bins].flatten(0, 1)
        return matrix if self.transforms == "free" else matrix * self.window

    def _synthesis_matrix(self) -> Float[Tensor, "row n_fft"]:
        if self.transforms == "dual":
            return self._dual_of_analysis()
        if self.transforms == "fixed":
            return self.times * self.analysis.flatten(0, 1) * self.synthesis_window
        if self.all_bins:
            return self._folded()
        return self.times * self.synthesis.flatten(0, 1)

    def _folded(self) -> Float[Tensor, "row n_fft"]:
        """Return the synthesis of the used bins with that of their mirror images added.

        The mirrored spectrum is the conjugate: its imaginary parts count with the other sign.
        """
        signs = self.synthesis.new_tensor([1.0, -1.0])[:, None, None]
        mirrored = self.synthesis[:, self.num_bins :].flip(1) * signs
        return (self.synthesis[:, : self.num_bins] + F.pad(mirrored, (0, 0, 1, 1))).flatten(0, 1)

    def _dual_of_analysis(self) -> Float[Tensor, "row n_fft"]:
        """Return D W (W^T D W)^-1 with its window; kept between calls that do not train."""
        # A tensor made in inference mode has no version by which a change could be seen.
        keep = not torch.is_grad_enabled() and not self.analysis.is_inference()
        version = (self.analysis.data_ptr(), self.analysis._version) if keep else (0, 0)
        if keep and self._dual is not None and self._dual[0] == version:
            return self._dual[1]
        bases = self.analysis.flatten(0, 1)
        if torch.is_grad_enabled():
            solved: Tensor = _WeightedDual.apply(bases, self.times)
        else:
            solved = _weighted_dual(bases, self.times)[0]
        dual = solved * self.synthesis_window
        self._dual = (version, dual) if keep else None
        return dual
