"""A dataset of automixes, rendered before fine-tuning (see :mod:`audiform.augment.automix`)."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.augment.automix import AutomixConfig, MixPlan, apply_plan, plan_mix
from audiform.augment.track_analysis import TrackAnalysis, analyse_track
from audiform.data.decoded import DecodedCache, OpenFiles
from audiform.data.track import Track
from audiform.errors import DataError
from audiform.io.write import OutputFormat, open_writer

#: Analyses and plans beside the mixes; no layout takes them for songs.
ANALYSIS_FILE = "analysis.json"
PLAN_FILE = "plan.json"

#: Peak of the loudest stem or of the mixture, where they would clip.
PEAK = 0.99

#: Keeps the mixes of neighbouring seeds apart.
SEED_FACTOR = 1_000_003


@dataclass(frozen=True)
class AutomixReport:
    """What was rendered, and how often each song was refused for which reason."""

    folders: tuple[Path, ...]
    refusals: dict[str, int]


class StemReader:
    """Stems of tracks as (2, time) at one rate; a mono file becomes stereo."""

    def __init__(self, tracks: Sequence[Track], *, sample_rate: int) -> None:
        self.tracks = {track.name: track for track in tracks}
        self.sample_rate = sample_rate
        refs = [ref for track in tracks for _, ref in track.files()]
        self._audio = DecodedCache(sample_rate=sample_rate).prepare(refs)
        self._files = OpenFiles()

    def __call__(
        self, track: str, source: str, start_seconds: float, duration_seconds: float
    ) -> Float[Tensor, "2 time"]:
        """Return a piece; what lies beyond the end is silence."""
        start, length = (
            round(seconds * self.sample_rate) for seconds in (start_seconds, duration_seconds)
        )
        total = np.zeros((2, length), np.float32)
        for ref in self.tracks[track].references(source):
            piece = self._files.read(self._audio[ref], start_samples=start, num_samples=length)
            total += piece[:2]
        return torch.from_numpy(total)

    def whole(self, track: str, source: str) -> Float[Tensor, "2 time"]:
        """Return all of a stem."""
        refs = self.tracks[track].references(source)
        samples = max(self._audio[ref].num_samples for ref in refs)
        return self(track, source, 0.0, samples / self.sample_rate)


def render_automix(
    tracks: Sequence[Track],
    output: Path,
    *,
    sources: Sequence[str],
    count: int,
    seed: int,
    sample_rate: int = 44100,
    config: AutomixConfig | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> AutomixReport:
    """Write ``count`` mixes as ``output/mix_00000/<source>.flac`` with their plan.

    Mixes that are there already are kept. Raises :class:`DataError` where the tracks allow no
    mix, or where ``output`` holds mixes of another seed or configuration.
    """
    config = config or AutomixConfig()
    output.mkdir(parents=True, exist_ok=True)
    reader = StemReader(tracks, sample_rate=sample_rate)
    analyses = _analyses(tracks, reader, sources, output / ANALYSIS_FILE)
    refusals: Counter[str] = Counter()
    folders = []
    for number in range(count):
        generator = torch.Generator().manual_seed(seed * SEED_FACTOR + number)
        plan = plan_mix(analyses, sources, generator, config)
        refusals.update(f"{refusal.track}: {refusal.reason}" for refusal in plan.refused)
        folders.append(_render(plan, reader, output / f"mix_{number:05}"))
        if on_progress is not None:
            on_progress(number + 1, count)
    return AutomixReport(tuple(folders), dict(refusals.most_common()))


def _analyses(
    tracks: Sequence[Track], reader: StemReader, sources: Sequence[str], path: Path
) -> list[TrackAnalysis]:
    """Return the analyses of all tracks, those that ``path`` holds from there."""
    known: dict[str, TrackAnalysis] = {}
    if path.is_file():
        for values in json.loads(path.read_text(encoding="utf-8")):
            analysis = TrackAnalysis.from_dict(values)
            known[analysis.name] = analysis
    analyses = []
    for track in tracks:
        wanted = tuple(source for source in sources if source in track.stems)
        if track.name not in known or known[track.name].sources != wanted:
            stems = {source: reader.whole(track.name, source) for source in wanted}
            known[track.name] = analyse_track(track.name, stems, sample_rate=reader.sample_rate)
        analyses.append(known[track.name])
    _write_json(path, [analysis.to_dict() for analysis in analyses])
    return analyses


def _render(plan: MixPlan, reader: StemReader, folder: Path) -> Path:
    """Write the stems of a mix under the folder's final name when all are there."""
    values = json.loads(json.dumps(asdict(plan)))
    if folder.is_dir():
        if json.loads((folder / PLAN_FILE).read_text(encoding="utf-8")) != values:
            raise DataError(
                "holds a mix of other songs, another seed or other settings; choose another folder",
                path=folder,
            )
        return folder
    stems = apply_plan(plan, reader, sample_rate=reader.sample_rate)
    peak = max(stems.abs().max().item(), stems.sum(dim=0).abs().max().item())
    stems = stems * min(1.0, PEAK / max(peak, 1e-9))
    part = folder.with_name(folder.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    for stem, audio in zip(plan.stems, stems, strict=True):
        with open_writer(
            part / f"{stem.source}.flac",
            format=OutputFormat("flac", bit_depth=24),
            sample_rate=reader.sample_rate,
            num_channels=2,
        ) as writer:
            writer.write(audio.numpy())
            writer.commit()
    _write_json(part / PLAN_FILE, values)
    part.rename(folder)
    return folder


def _write_json(path: Path, values: object) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
    part.replace(path)
