"""``Track``: what every dataset layout is read into."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from audiform.errors import DataError
from audiform.io.probe import AudioInfo, probe

#: Name of the whole, next to the names of the stems.
MIXTURE = "mixture"

#: Names of the two stems of a recorded effect: what went in, what came out.
INPUT, TARGET = "input", "target"


@dataclass(frozen=True)
class AudioRef:
    """Where audio lies: a file, one of its audio streams (from 0), and a piece of it.

    ``start_samples`` and ``stop_samples`` count at the file's own rate; a negative number counts
    from the end, None is the end.
    """

    path: Path
    stream: int = 0
    start_samples: int = 0
    stop_samples: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.stream == 0 else f"{self.path} (stream {self.stream + 1})"


@dataclass(frozen=True)
class Track:
    """A recording in aligned parts.

    ``stems`` are audio by name; several files under one name are summed. ``mixture`` is the
    whole, None where it is the sum of the stems. ``artist`` and ``split`` (train, valid, test)
    are None where the dataset does not say. ``knobs`` are an effect's settings. ``is_sum`` is
    False where the stems do not add up to anything: an effect's input and target.
    """

    name: str
    stems: Mapping[str, tuple[AudioRef, ...]]
    mixture: AudioRef | None = None
    artist: str | None = None
    split: str | None = None
    knobs: Mapping[str, float] = field(default_factory=dict)
    is_sum: bool = True

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the stems."""
        return tuple(self.stems)

    def references(self, source: str) -> tuple[AudioRef, ...]:
        """Return the files that make up a stem, or the mixture; raises :class:`DataError`.

        The mixture of a track without a file for it is all files of all stems.
        """
        if source == MIXTURE and self.mixture is not None:
            return (self.mixture,)
        if source == MIXTURE and self.is_sum:
            return tuple(ref for refs in self.stems.values() for ref in refs)
        if source not in self.stems:
            raise DataError(
                f"track {self.name!r} has no stem {source!r}, it has {', '.join(self.stems)}; "
                "rename one with a mapping, or leave the track out"
            )
        return self.stems[source]

    def files(self) -> Iterator[tuple[str, AudioRef]]:
        """Yield every file with the name of what it is, the mixture first."""
        if self.mixture is not None:
            yield MIXTURE, self.mixture
        for source, refs in self.stems.items():
            for ref in refs:
                yield source, ref

    @cached_property
    def info(self) -> AudioInfo:
        """What the track's first file says of itself; raises :class:`AudioError`."""
        _, ref = next(self.files())
        return probe(ref.path, stream=ref.stream)

    @property
    def sample_rate(self) -> int:
        """Rate of the first file in Hz."""
        return self.info.sample_rate

    @property
    def num_samples(self) -> int | None:
        """Length of the first file, None where its header does not say exactly."""
        return self.info.num_samples


def map_stems(tracks: Iterable[Track], mapping: Mapping[str, str]) -> list[Track]:
    """Rename stems; those that get one name are summed, those mapped to "" are left out.

    A stem may also become the mixture. A track left without stems is dropped. Raises
    :class:`DataError` for a name that no track has.
    """
    tracks = list(tracks)
    known = {name for track in tracks for name, _ in track.files()}
    if unknown := sorted(set(mapping) - known):
        raise DataError(
            f"the mapping names the stem {unknown[0]!r}, the dataset has "
            f"{', '.join(sorted(known)) or 'none'}; map one of these"
        )
    mapped = [_map_track(track, mapping) for track in tracks]
    return [track for track in mapped if track.stems]


def _map_track(track: Track, mapping: Mapping[str, str]) -> Track:
    mixture: AudioRef | None = None
    stems: dict[str, tuple[AudioRef, ...]] = {}
    for source, ref in track.files():
        name = mapping.get(source, source)
        if name == MIXTURE:
            if mixture is not None:
                raise DataError(
                    f"track {track.name!r} has two mixtures, {mixture} and {ref}; "
                    "map one of them to nothing"
                )
            mixture = ref
        elif name:
            stems[name] = (*stems.get(name, ()), ref)
    return replace(track, stems=stems, mixture=mixture)
