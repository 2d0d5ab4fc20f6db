"""What a song is scored with: a new measure is a class and one line in ``MEASURES``.

A measure sees all blocks of a song once, or twice if it needs to know the whole before it can
judge a part, and then says its figures.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean, median
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from audiform.evaluation.song_audio import Block
from audiform.metrics.bleed import MIN_AMPLITUDE, BleedSums, MelBands, MelLevels, floored
from audiform.metrics.bss_eval import ILL_CONDITIONED, BssEval, BssScores
from audiform.metrics.separation import ErrorSums, sdr

#: A window whose level is below this is silent, in dB relative to full scale (root mean square).
SILENT_BELOW_DB = -70.0

#: Level of a cell of a mel spectrogram in which nothing is, in dB.
SILENT_CELL_DB = 20 * math.log10(MIN_AMPLITUDE)

#: Share of the mixture's energy that stands for nothing at all.
LEVEL_FLOOR = 1e-12

#: Length of the windows that figures over time are given for.
WINDOW_SECONDS = 1.0


@dataclass(frozen=True)
class SongShape:
    """What a measure is told of a song before the first block."""

    num_sources: int
    audio_channels: int
    sample_rate: int
    num_samples: int

    @property
    def window_samples(self) -> int:
        """Length of a window."""
        return round(WINDOW_SECONDS * self.sample_rate)


@dataclass
class Figures:
    """A measure's result: ``values[figure][name of the estimates]`` is a number per source.

    ``windows[figure]`` are the estimates' own figures over time, per source. None stands for
    "not defined". ``remarks`` are sentences that a reader of the figures must know.
    """

    values: dict[str, dict[str, list[float | None]]] = field(default_factory=dict)
    windows: dict[str, list[list[float | None]]] = field(default_factory=dict)
    remarks: list[str] = field(default_factory=list)


@runtime_checkable
class Measure(Protocol):
    """Scores one song."""

    def __init__(self, shape: SongShape) -> None: ...

    def first(self, block: Block) -> None:
        """Take in a block in the first pass."""
        ...

    def second(self, block: Block) -> None:
        """Take in a block in the second pass."""
        ...

    def figures(self) -> Figures:
        """Say the result."""
        ...


class _WholeSong:
    """Ratios of energies of the whole song; a stem that is silent throughout has none."""

    def __init__(self, shape: SongShape) -> None:
        self._shape = shape
        self._sums: dict[str, ErrorSums] = {}

    def first(self, block: Block) -> None:
        """Add up energies."""
        for name, estimate in block.estimates.items():
            sums = ErrorSums.of(
                estimate=estimate.expand_as(block.reference), reference=block.reference
            )
            self._sums[name] = self._sums[name] + sums if name in self._sums else sums

    def second(self, block: Block) -> None:
        """Nothing is left to do."""

    def _values(self, ratio: str) -> dict[str, list[float | None]]:
        return {
            name: finite(getattr(sums, ratio)().where(sums.signal > 0, math.nan).tolist())
            for name, sums in self._sums.items()
        }


class Mdx(_WholeSong):
    """SDR of the Music Demixing Challenge: signal over error of the whole song."""

    def __init__(self, shape: SongShape) -> None:
        super().__init__(shape)
        self._windows: list[list[float | None]] = [[] for _ in range(shape.num_sources)]

    def first(self, block: Block) -> None:
        """Add up energies, of the song and of each window."""
        super().first(block)
        pieces = zip(
            block.reference.split(self._shape.window_samples, dim=-1),
            block.estimates["estimate"].split(self._shape.window_samples, dim=-1),
            strict=True,
        )
        for reference, estimate in pieces:
            found = sdr(estimate=estimate, reference=reference)
            sounds = reference.flatten(1).any(dim=1)
            for windows, value in zip(
                self._windows, finite(found.where(sounds, math.nan).tolist()), strict=True
            ):
                windows.append(value)

    def figures(self) -> Figures:
        """Say the result."""
        return Figures(
            values={"mdx_sdr_db": self._values("sdr_db")}, windows={"mdx_sdr_db": self._windows}
        )


class SiSdr(_WholeSong):
    """Scale-invariant SDR of the whole song."""

    def figures(self) -> Figures:
        """Say the result."""
        return Figures(values={"si_sdr_db": self._values("si_sdr_db")})


class BssEvalMeasure:
    """BSSEval version 4, in windows of a second."""

    def __init__(self, shape: SongShape) -> None:
        self._window = min(shape.window_samples, shape.num_samples)
        self._shape = shape
        self._scorer: BssEval | None = None
        self._solved = False
        self._parts: dict[str, list[BssScores]] = {}

    def first(self, block: Block) -> None:
        """Gather correlations."""
        if self._scorer is None:
            self._scorer = BssEval(
                num_sources=self._shape.num_sources,
                audio_channels=self._shape.audio_channels,
                estimate_sources=[len(estimate) for estimate in block.estimates.values()],
                window_samples=self._window,
            )
        self._scorer.correlate(block.reference, list(block.estimates.values()))

    def second(self, block: Block) -> None:
        """Score the whole windows of a block."""
        assert self._scorer is not None
        if not self._solved:
            self._scorer.solve()
            self._solved = True
        count = block.reference.shape[-1] // self._window
        if count == 0:
            return

        def windows(audio: Tensor) -> Tensor:
            return audio[..., : count * self._window].unflatten(-1, (count, self._window))

        estimates = [windows(estimate) for estimate in block.estimates.values()]
        found = self._scorer.score(windows(block.reference), estimates)
        for name, scores in zip(block.estimates, found, strict=True):
            self._parts.setdefault(name, []).append(scores)

    def figures(self) -> Figures:
        """Say the medians and means over windows, and all windows."""
        assert self._scorer is not None
        figures = Figures()
        scores = {name: BssScores.joined(parts) for name, parts in self._parts.items()}
        if self._scorer.condition > ILL_CONDITIONED:
            figures.remarks.append(
                "BSSEval ISR, SIR and SAR mean little here, museval's too: they hang on rounding "
                f"(condition {self._scorer.condition:.0e}), as the references have bands that are "
                "all but empty, like decoded lossy files; references written as 16 bits have none"
            )
        for ratio in ("sdr", "isr", "sir", "sar"):
            by_name = {
                name: [finite(row) for row in getattr(found, ratio).tolist()]
                for name, found in scores.items()
            }
            figures.windows[f"bsseval_{ratio}_db"] = by_name["estimate"]
            for suffix, statistic in (("db", median), ("mean_db", fmean)):
                figures.values[f"bsseval_{ratio}_{suffix}"] = {
                    name: [over_defined(row, statistic) for row in rows]
                    for name, rows in by_name.items()
                }
        return figures


class Bleed:
    """Bleedless and fullness."""

    def __init__(self, shape: SongShape) -> None:
        self._shape = shape
        self._bands = MelBands.spread(sample_rate=shape.sample_rate)
        self._loudest: dict[str, Tensor] = {}
        self._sums: dict[str, BleedSums] = {}
        self._levels: dict[str, MelLevels] = {}
        self._second = False

    def first(self, block: Block) -> None:
        """Find the loudest cell of each signal."""
        for name, levels in self._by_source(block).items():
            if levels.shape[2]:
                loudest = levels.amax(dim=(0, 2))
                self._loudest[name] = loudest.maximum(self._loudest.get(name, loudest))

    def second(self, block: Block) -> None:
        """Compare cell by cell."""
        if not self._second:
            self._second = True
            self._levels = {}
        levels = {
            name: floored(found, self._loudest[name])
            for name, found in self._by_source(block).items()
        }
        reference = levels.pop("reference")
        for name, estimate in levels.items():
            sums = self._sums.setdefault(name, BleedSums.none(self._shape.num_sources))
            sums.add(estimate_db=estimate.expand_as(reference), reference_db=reference)

    def figures(self) -> Figures:
        """Say both; neither is defined for a stem that is silent throughout."""
        sounding = (self._loudest["reference"] > SILENT_CELL_DB).tolist()
        return Figures(
            values={
                figure: {
                    name: [
                        value if sounds else None
                        for value, sounds in zip(
                            getattr(sums, figure)().tolist(), sounding, strict=True
                        )
                    ]
                    for name, sums in self._sums.items()
                }
                for figure in ("bleedless", "fullness")
            }
        )

    def _by_source(self, block: Block) -> dict[str, Tensor]:
        """Return levels (bands, sources, channels and frames) of all signals."""
        result = {}
        for name, audio in {"reference": block.reference, **block.estimates}.items():
            rows = audio.flatten(0, 1)
            if name not in self._levels:
                self._levels[name] = MelLevels(num_rows=len(rows), bands=self._bands)
            levels = self._levels[name].update(rows, last=block.is_last)
            result[name] = levels.unflatten(1, (len(audio), -1)).flatten(2)
        return result


class SilentLevel:
    """How loud the estimate is where the true stem is silent."""

    def __init__(self, shape: SongShape) -> None:
        self._shape = shape
        self._leaked: dict[str, Tensor] = {}
        self._mixture = torch.zeros(shape.num_sources, dtype=torch.float64)

    def first(self, block: Block) -> None:
        """Add up energies over the windows in which a stem is silent and the song is not."""
        window = self._shape.window_samples
        threshold = 10 ** (SILENT_BELOW_DB / 10)
        for start in range(0, block.reference.shape[-1], window):
            here = (..., slice(start, start + window))
            mixture = block.mixture[here].double()
            silent = block.reference[here].double().square().mean(dim=(1, 2)) < threshold
            counts = silent & (mixture.square().mean() >= threshold)
            self._mixture += counts * mixture.square().sum()
            for name, estimate in block.estimates.items():
                leaked = counts * estimate[here].double().square().sum(dim=(1, 2))
                self._leaked[name] = self._leaked.get(name, torch.zeros(())) + leaked

    def second(self, block: Block) -> None:
        """Nothing is left to do."""

    def figures(self) -> Figures:
        """Say the levels, for stems that are silent somewhere."""
        levels = {
            name: (10 * torch.log10(leaked / self._mixture + LEVEL_FLOOR)).tolist()
            for name, leaked in self._leaked.items()
        }
        return Figures(
            values={"silent_level_db": {name: finite(row) for name, row in levels.items()}}
        )


#: Measures by the name that the command line takes, in the order of tables.
MEASURES: dict[str, type[Measure]] = {
    "bsseval": BssEvalMeasure,
    "mdx": Mdx,
    "sisdr": SiSdr,
    "bleed": Bleed,
    "silence": SilentLevel,
}


def finite(values: Sequence[float]) -> list[float | None]:
    """Replace what is not a finite number by None."""
    return [value if math.isfinite(value) else None for value in values]


def over_defined(
    values: Sequence[float | None], statistic: Callable[[list[float]], float]
) -> float | None:
    """Return a statistic of the values that are defined, None if none is."""
    defined = [value for value in values if value is not None]
    return statistic(defined) if defined else None
