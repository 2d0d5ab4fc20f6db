"""BSSEval version 4: how much of an estimate is target, spatial distortion, interference, artifact.

An estimate is projected on its true source and on all true sources, each delayed by up to 512
samples (that is, matched by filters, one set for the whole track); energies of the parts are
then compared in windows of a second. E. Vincent, R. Gribonval and C. Févotte, "Performance
measurement in blind audio source separation", 2006 (the decomposition, image-based form);
F.-R. Stöter, A. Liutkus and N. Ito, "The 2018 Signal Separation Evaluation Campaign", 2018
(version 4: filters of the whole track). The figures are those of the campaign's program,
museval 0.4.1, in each of its windows; the tests compare them.

Done differently, for time and memory: correlations are gathered block by block; the equations
are solved once for all estimates, by Cholesky; energies of filtered windows are read off their
spectra (Parseval), without going back to the time domain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import torch
from jaxtyping import Bool, Complex128, Float, Float64
from torch import Tensor

from audiform.errors import AudioError
from audiform.metrics.block_toeplitz import DelayGram
from audiform.metrics.correlation import LagCorrelation, fast_fft_size, spectra_by_frequency
from audiform.metrics.shapes import require_equal_shapes

#: Length of the distortion filters, in samples.
FILTER_SAMPLES = 512

#: Condition number from which on the filters, and with them ISR, SIR and SAR, hang on rounding:
#: bands in which the references are all but empty, as decoded lossy files have them. The
#: campaign's program then gives other figures for another order of the sources.
ILL_CONDITIONED = 1e12

#: Windows that are transformed at once: with more the spectra leave the cache.
FRAMES_AT_ONCE = 1


@dataclass(frozen=True)
class BssScores:
    """The four ratios in dB by source and window; NaN in windows where a source is silent."""

    sdr: Float64[Tensor, "sources frames"]
    isr: Float64[Tensor, "sources frames"]
    sir: Float64[Tensor, "sources frames"]
    sar: Float64[Tensor, "sources frames"]

    @staticmethod
    def joined(parts: Sequence[BssScores]) -> BssScores:
        """Return windows that follow each other as one."""
        return BssScores(
            *(torch.cat([getattr(p, f.name) for p in parts], dim=1) for f in fields(BssScores))
        )


class BssEval:
    """Scores estimates of the same sources against the references, in two passes.

    Give all blocks to :meth:`correlate`, then call :meth:`solve`, then give windows to
    :meth:`score`. Several sets of estimates may be scored side by side: ``estimate_sources``
    has the number of sources in each, or 1 for a set that is the same for all sources, such
    as the mixture. References are (sources, channels, time), estimates a list of such.

    A source whose reference is silent throughout is left out and gets NaN; an estimate that is
    silent throughout gets NaN and does not count as silent for the others. Of one source alone
    SIR is NaN.
    """

    def __init__(
        self,
        *,
        num_sources: int,
        audio_channels: int,
        estimate_sources: Sequence[int],
        window_samples: int,
        filter_samples: int = FILTER_SAMPLES,
    ) -> None:
        self._sources = num_sources
        self._channels = audio_channels
        self._filter_samples = filter_samples
        self._n_fft = fast_fft_size(window_samples + filter_samples - 1)
        rows = num_sources * audio_channels
        self._correlation = LagCorrelation(
            num_leading=rows,
            num_following=rows + audio_channels * sum(estimate_sources),
            num_lags=filter_samples,
        )
        self._heard = [torch.zeros(number, dtype=torch.bool) for number in estimate_sources]
        self._sounding = torch.arange(num_sources)
        self._filters: list[_Filters] = []
        self.condition = math.nan

    def correlate(
        self,
        reference: Float[Tensor, "sources channels time"],
        estimates: Sequence[Float[Tensor, "_ channels time"]],
    ) -> None:
        """First pass: take in the next block of the references and of all estimates."""
        rows = reference.flatten(0, 1).contiguous()  # files give time first
        self._correlation.update(
            rows, torch.cat([rows, *(estimate.flatten(0, 1) for estimate in estimates)])
        )
        for heard, estimate in zip(self._heard, estimates, strict=True):
            heard |= estimate.flatten(1).any(dim=1)

    def solve(self) -> None:
        """Between the passes: find the filters that match the references to each estimate.

        ``condition`` then says how well the equations determine them: from
        :data:`ILL_CONDITIONED` on, ISR, SIR and SAR hang on rounding.
        """
        lags = self._correlation.lags()
        del self._correlation
        num_rows = self._sources * self._channels
        energy = lags[:, :num_rows, 0].diagonal().reshape(self._sources, self._channels).sum(1)
        self._sounding = (energy > 0).nonzero()[:, 0]
        if len(self._sounding) == 0:
            return
        rows = torch.arange(num_rows).reshape(self._sources, -1)[self._sounding].flatten()
        leading = lags[rows]
        targets = leading[:, num_rows:].split([self._channels * len(h) for h in self._heard], dim=1)
        targets = tuple(
            target[:, rows] if len(heard) == self._sources else target
            for heard, target in zip(self._heard, targets, strict=True)
        )
        whole = DelayGram(leading[:, rows])
        self.condition = whole.condition()
        everything = [self._responses(self._solve(whole, target)) for target in targets]
        del whole
        self._filters = [
            _Filters(everything=responses, own=self._own_responses(leading[:, rows], target))
            for responses, target in zip(everything, targets, strict=True)
        ]

    def _own_responses(
        self, lags: Float64[Tensor, "rows rows lags"], target: Float64[Tensor, "rows columns lags"]
    ) -> Complex128[Tensor, "frequency_and_source channels channels"]:
        """Match each source alone to its estimate."""
        found = []
        for source in range(len(self._sounding)):
            here = slice(source * self._channels, (source + 1) * self._channels)
            columns = here if target.shape[1] > self._channels else slice(self._channels)
            found.append(self._solve(DelayGram(lags[here, here]), target[here, columns]))
        return self._responses(torch.cat(found)).unflatten(1, (len(found), -1)).flatten(0, 1)

    def _solve(
        self, gram: DelayGram, target: Float64[Tensor, "rows columns lags"]
    ) -> Float64[Tensor, "columns rows lags"]:
        columns = target.shape[1]
        right = target.transpose(1, 2).reshape(-1, columns)
        return gram.solve(right).T.reshape(columns, -1, self._filter_samples)

    def _responses(
        self, filters: Float64[Tensor, "columns rows lags"]
    ) -> Complex128[Tensor, "frequency columns rows"]:
        return torch.fft.rfft(filters, n=self._n_fft).permute(2, 0, 1).contiguous()

    def score(
        self,
        reference: Float[Tensor, "sources channels frames window"],
        estimates: Sequence[Float[Tensor, "_ channels frames window"]],
    ) -> list[BssScores]:
        """Second pass: return the ratios of each set of estimates in some windows."""
        parts = [
            self._score(truth, guesses)
            for truth, *guesses in zip(
                *(signals.split(FRAMES_AT_ONCE, dim=2) for signals in (reference, *estimates)),
                strict=True,
            )
        ]
        return [BssScores.joined(of_one) for of_one in zip(*parts, strict=True)]

    def _score(
        self,
        reference: Float[Tensor, "sources channels frames window"],
        estimates: Sequence[Float[Tensor, "_ channels frames window"]],
    ) -> list[BssScores]:
        truth = reference[self._sounding]
        sounds = ~_has_silent_source(truth)
        if len(self._sounding) == 0 or not sounds.any():
            nothing = torch.full((self._sources, len(sounds)), math.nan, dtype=torch.float64)
            return [BssScores(nothing, nothing, nothing, nothing)] * len(estimates)
        every = bool(sounds.all())
        truth = (truth if every else truth[:, :, sounds]).contiguous().double()
        spectra = self._spectra(truth)
        scores = []
        for index, (estimate, heard) in enumerate(zip(estimates, self._heard, strict=True)):
            ratios = torch.full((4, self._sources, len(sounds)), math.nan, dtype=torch.float64)
            ratios[:, self._sounding[:, None], sounds.nonzero().T] = self._ratios(
                truth,
                spectra,
                estimate if every else estimate[:, :, sounds],
                self._filters[index],
                heard,
            )
            ratios[:, :, _has_silent_source(estimate[heard])] = math.nan
            scores.append(BssScores(*ratios))
        return scores

    def _ratios(
        self,
        truth: Float64[Tensor, "sounding channels frames window"],
        spectra: Complex128[Tensor, "frequency sounding channels frames"],
        estimate: Float[Tensor, "_ channels frames window"],
        filters: _Filters,
        heard: Bool[Tensor, " _"],
    ) -> Float64[Tensor, "4 sounding frames"]:
        if len(estimate) == self._sources:
            estimate, heard = estimate[self._sounding], heard[self._sounding]
        estimate = estimate.contiguous().double()
        windows = (len(spectra), -1, self._channels, truth.shape[2])
        projected = torch.bmm(filters.everything, spectra.flatten(1, 2)).reshape(windows)
        matched = torch.bmm(filters.own, spectra.flatten(0, 1)).reshape(windows)
        energy, energy_of_window = self._energy, _energy_of_window
        target = energy_of_window(truth)
        ratios = torch.stack(
            [
                _ratio_db(target, energy_of_window(truth - estimate)),
                _ratio_db(target, energy(matched - spectra)),
                _ratio_db(energy(matched), energy(projected - matched)),
                _ratio_db(energy(projected), energy(self._spectra(estimate) - projected)).expand_as(
                    target
                ),
            ]
        )
        if len(truth) == 1:  # nothing can interfere
            ratios[2] = math.nan
        return ratios.masked_fill(~heard[:, None], math.nan)

    def _spectra(
        self, windows: Float64[Tensor, "some channels frames window"]
    ) -> Complex128[Tensor, "frequency some channels frames"]:
        return spectra_by_frequency(windows, self._n_fft)

    def _energy(
        self, spectra: Complex128[Tensor, "frequency some channels frames"]
    ) -> Float64[Tensor, "some frames"]:
        """Return the energy of the signals with these (one-sided, even) spectra."""
        parts = torch.view_as_real(spectra).flatten(1)
        ends = parts[0].square() + parts[-1].square()
        # the diagonal of a product of matrices is quicker than a sum over the first dimension
        both_sides = 2 * (parts.t() @ parts).diagonal() - ends
        return both_sides.reshape(*spectra.shape[1:], 2).sum(dim=(1, 3)) / self._n_fft


def bss_eval(
    *,
    estimate: Float[Tensor, "sources channels time"],
    reference: Float[Tensor, "sources channels time"],
    window_samples: int,
    hop_samples: int | None = None,
    filter_samples: int = FILTER_SAMPLES,
) -> BssScores:
    """Score whole signals in windows of ``window_samples``, every ``hop_samples`` (one window).

    Samples that do not fill the last window are left out, but a signal that is shorter than one
    window is one. Raises :class:`AudioError` where the shapes differ, and, as the campaign's
    program does, for a source that is silent throughout.
    """
    require_equal_shapes(estimate, reference)
    for name, signals in (("reference", reference), ("estimate", estimate)):
        silent = _has_silent_source(signals[:, :, None])
        if bool(silent):
            raise AudioError(
                f"BSSEval needs sources that sound: a source of the {name} is silent throughout; "
                "leave it out of both"
            )
    window_samples = min(window_samples, reference.shape[-1])
    scorer = BssEval(
        num_sources=len(reference),
        audio_channels=reference.shape[1],
        estimate_sources=[len(estimate)],
        window_samples=window_samples,
        filter_samples=filter_samples,
    )
    for truth, guess in zip(reference.split(1 << 16, -1), estimate.split(1 << 16, -1), strict=True):
        scorer.correlate(truth, [guess])
    scorer.solve()
    hop = hop_samples or window_samples
    frames = [signals.unfold(-1, window_samples, hop) for signals in (reference, estimate)]
    return scorer.score(frames[0], [frames[1]])[0]


class _Filters(NamedTuple):
    """Spectra of the filters: from all sources to each, and from each source to its estimate."""

    everything: Complex128[Tensor, "frequency columns rows"]
    own: Complex128[Tensor, "frequency_and_source channels channels"]


def _has_silent_source(
    signals: Float[Tensor, "some channels frames window"],
) -> Bool[Tensor, " frames"]:
    """Whether, in each window, a source is silent: its channels sum to 0 in every sample."""
    return (signals.sum(dim=1) == 0).all(dim=-1).any(dim=0)


def _energy_of_window(
    signals: Float64[Tensor, "sources channels frames window"],
) -> Float64[Tensor, "sources frames"]:
    return torch.linalg.vector_norm(signals, dim=3).square().sum(dim=1)


def _ratio_db(
    above: Float64[Tensor, "sources frames"], below: Float64[Tensor, "_ frames"]
) -> Float64[Tensor, "sources frames"]:
    return 10 * torch.log10(above / below)
