"""Stems that are not what their name says, found by listening: with a trained separator.

Each stem alone goes through the model. The share of its energy that comes out under its own name
says whether the name is right; the largest share under another one, whether something else is in
it. Published models were trained on what such a selection left: of 3,500 songs 800 (Rouard,
Massa, Defossez, "Hybrid Transformers for Music Source Separation", 2023).

Alone, without the rest of the song, a kick is hardly told from a bass by its lows: of a stem of
either name, what comes out as drums and as bass together is divided as it is after pre-emphasis.
(Of voices the plain shares count: with pre-emphasis, sibilants pass for drums.) What a model calls
``other`` is everything else, and its errors are of all kinds: stems of that name are measured,
never judged.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from heapq import heappush, heappushpop
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from audiform.audio import Audio
from audiform.data.track import AudioRef, Track
from audiform.inference.separator import Separator
from audiform.io.read import AudioReader

#: The name of everything that has no name.
CATCH_ALL = "other"

#: Sources whose low ends cannot be told apart in isolation.
LOWS = frozenset({"drums", "bass"})

#: y[n] = x[n] - 0.97 x[n-1]: about +6 dB per octave from 200 Hz on.
PRE_EMPHASIS = 0.97

#: Length of the pieces of a stem that are listened to.
PIECE_SECONDS = 12.0

#: Pieces below this RMS are silence.
SILENT_RMS = 1e-3

Verdict = Literal["right", "mislabelled", "leaks", "silent", "not judged"]


@dataclass(frozen=True)
class CurationRule:
    """When a stem is left out.

    It is ``mislabelled`` where less than ``min_own_share`` of its energy comes out under its own
    name and more under another one; it ``leaks`` where more than ``max_leak_share`` does.
    """

    min_own_share: float = 0.5
    max_leak_share: float = 0.15

    def __str__(self) -> str:
        return (
            f"mislabelled: less than {self.min_own_share:g} of a stem's energy comes out under its "
            f"own name, more under another; the whole track is left out\nleaks: more than "
            f"{self.max_leak_share:g} comes out under another name; the stem is left out"
        )


@dataclass(frozen=True)
class StemJudgement:
    """What came of one stem: the ``shares`` of its energy per source, by which it is judged.

    ``suspect`` is the other source with the largest share, ``leak_share`` that share.
    """

    track: str
    stem: str
    verdict: Verdict
    own_share: float
    suspect: str
    leak_share: float
    shares: dict[str, float]


@dataclass(frozen=True)
class Curation:
    """All stems' judgements by a model and a rule."""

    model: str
    rule: CurationRule
    stems: tuple[StemJudgement, ...]

    def left_out(self) -> list[tuple[str, str | None]]:
        """Return what the rule leaves out: whole tracks (None), or stems of them."""
        tracks = {stem.track for stem in self.stems if stem.verdict == "mislabelled"}
        stems = [
            (stem.track, stem.stem)
            for stem in self.stems
            if stem.verdict == "leaks" and stem.track not in tracks
        ]
        return [*((track, None) for track in sorted(tracks)), *stems]

    def to_json(self) -> str:
        """Return everything as JSON."""
        record = {**asdict(self), "left_out": [list(pair) for pair in self.left_out()]}
        return json.dumps(record, indent=2, ensure_ascii=False)


def curate(
    model: str | Path | nn.Module,
    tracks: Sequence[Track],
    *,
    rule: CurationRule | None = None,
    num_pieces: int = 2,
    on_progress: Callable[[int, int], None] | None = None,
) -> Curation:
    """Listen to every stem of ``tracks`` with ``model``.

    The ``num_pieces`` loudest pieces of each stem are taken. Stems that the model has no source
    for are not judged: rename them first (:func:`~audiform.data.track.map_stems`).
    ``on_progress`` is told stems done and stems in all. Raises :class:`AudioError` for files
    that cannot be read.
    """
    rule = rule or CurationRule()
    separator = Separator(model)
    total = sum(len(track.stems) for track in tracks)
    judged: list[StemJudgement] = []
    for track in tracks:
        for stem, refs in track.stems.items():
            pieces = [piece for ref in refs for piece in loudest_pieces(ref, num_pieces)]
            judged.append(_judge(separator, track.name, stem, pieces, rule))
            if on_progress is not None:
                on_progress(len(judged), total)
    return Curation(model=separator.name, rule=rule, stems=tuple(judged))


def loudest_pieces(ref: AudioRef, count: int) -> list[Audio]:
    """Return the ``count`` loudest pieces of a file, in their order; silence is none."""
    best: list[tuple[float, int, np.ndarray]] = []
    with AudioReader(ref.path, stream=ref.stream) as reader:
        rate = reader.info.sample_rate
        sized = AudioReader(ref.path, stream=ref.stream, block_samples=round(PIECE_SECONDS * rate))
    with sized:
        for index, block in enumerate(sized):
            energy = float(np.square(block, dtype=np.float64).sum())
            if energy <= block.size * SILENT_RMS**2:
                continue
            entry = (energy, -index, block)
            if len(best) < count:
                heappush(best, entry)
            else:
                heappushpop(best, entry)
    ordered = sorted(best, key=lambda entry: -entry[1])
    return [Audio(torch.from_numpy(block), rate) for _, _, block in ordered]


def _judge(
    separator: Separator, track: str, stem: str, pieces: list[Audio], rule: CurationRule
) -> StemJudgement:
    sources = separator.sources
    plain, emphasised = np.zeros(len(sources)), np.zeros(len(sources))
    for piece in pieces:
        estimates = separator.separate(_as_stereo(piece))
        parts = [estimates[source].samples for source in sources]
        plain += [_energy(part) for part in parts]
        emphasised += [_energy(part[:, 1:] - PRE_EMPHASIS * part[:, :-1]) for part in parts]
    shares = dict(zip(sources, (plain / max(plain.sum(), 1e-12)).tolist(), strict=True))
    if stem in LOWS and set(sources) >= LOWS:
        shares = _divide_lows(shares, dict(zip(sources, emphasised.tolist(), strict=True)))
    own = shares.get(stem, 0.0)
    suspect = max((source for source in sources if source != stem), key=lambda name: shares[name])
    leak = shares[suspect]
    verdict: Verdict = "right"
    if not pieces:
        verdict = "silent"
    elif stem not in sources or stem == CATCH_ALL:
        verdict = "not judged"
    elif own < rule.min_own_share and leak > own:
        verdict = "mislabelled"
    elif leak > rule.max_leak_share:
        verdict = "leaks"
    return StemJudgement(
        track=track,
        stem=stem,
        verdict=verdict,
        own_share=round(own, 4),
        suspect=suspect,
        leak_share=round(leak, 4),
        shares={source: round(share, 4) for source, share in shares.items()},
    )


def _divide_lows(shares: dict[str, float], emphasised: dict[str, float]) -> dict[str, float]:
    """Divide what drums and bass have together as their emphasised energies are."""
    together = sum(shares[source] for source in LOWS)
    weight = max(1e-12, sum(emphasised[source] for source in LOWS))
    return {
        source: together * emphasised[source] / weight if source in LOWS else share
        for source, share in shares.items()
    }


def _as_stereo(audio: Audio) -> Audio:
    """Return at most the first two channels, which is what models take."""
    return audio if audio.num_channels <= 2 else Audio(audio.samples[:2], audio.sample_rate)


def _energy(samples: Tensor) -> float:
    return float(samples.double().square().sum())
