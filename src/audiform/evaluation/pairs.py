"""Estimates and references in two folders: which belong together, and whether they can."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audiform.data.track import MIXTURE, AudioRef, Track
from audiform.errors import ConfigError, DataError
from audiform.io import AudioInfo, AudioReader, probe
from audiform.io.paths import AUDIO_EXTENSIONS

#: Problems that are told at once.
MAX_PROBLEMS = 8


@dataclass(frozen=True)
class Pair:
    """One song's true stems, and the estimates of them, as tracks with equal stems."""

    references: Track
    estimates: Track
    sample_rate: int
    audio_channels: int

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the stems."""
        return self.estimates.sources


def find_pairs(
    estimates: Path, references: Path, *, stems: Sequence[str] = (), fit_length: bool = False
) -> list[Pair]:
    """Match files by name: ``SONG/STEM.wav`` in both folders, or stems of one song, or two files.

    ``stems`` names those to score, all where it is empty. Every song and stem of the references
    must have its estimate and the other way round (a file called mixture is not a stem), with
    its sample rate, channels and length; ``fit_length`` lets an estimate have another length.
    Raises :class:`DataError` that names all that does not fit, before anything is scored.
    """
    for path, option in ((estimates, "--estimates"), (references, "--references")):
        if not path.exists():
            raise DataError(f"no such file or folder; check {option}", path=path)
    if estimates.is_file() != references.is_file():
        raise ConfigError(
            f"{estimates} and {references} are a file and a folder; give two files or two folders"
        )
    if references.is_file():
        name = references.stem
        wholes = {name: {name: references}}
        guesses = {name: {name: estimates}}
    else:
        wholes, guesses = _songs(references), _songs(estimates)
        if stems:
            guesses = {song: _only(found, stems) for song, found in guesses.items()}
    problems = list(_unmatched(guesses, wholes, estimates, references, stems))
    if not problems:
        for song, found in guesses.items():
            problems += _unlike(found, wholes[song], fit_length=fit_length)
    if problems:
        more = len(problems) - MAX_PROBLEMS
        shown = problems[:MAX_PROBLEMS] + ([f"and {more} more"] if more > 0 else [])
        raise DataError("estimates and references do not fit:\n  " + "\n  ".join(shown))
    return [_pair(song, found, wholes[song]) for song, found in guesses.items()]


def _songs(folder: Path) -> dict[str, dict[str, Path]]:
    """Return song -> stem -> file; a folder that holds audio itself is one song."""
    own = _stems(folder)
    if own:
        return {folder.resolve().name: own}
    below = {place.name: _stems(place) for place in sorted(folder.iterdir()) if place.is_dir()}
    songs = {song: stems for song, stems in below.items() if stems}
    if not songs:
        raise DataError("no audio found; expected SONG/STEM.wav, or STEM.wav", path=folder)
    return songs


def _stems(folder: Path) -> dict[str, Path]:
    stems: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() not in AUDIO_EXTENSIONS or path.name.startswith("."):
            continue
        if path.stem in stems:
            raise DataError(
                f"the stem {path.stem!r} is there twice, also as {path.name}; remove one",
                path=stems[path.stem],
            )
        stems[path.stem] = path
    return stems


def _only(found: dict[str, Path], stems: Sequence[str]) -> dict[str, Path]:
    return {stem: path for stem, path in found.items() if stem in stems}


def _unmatched(
    guesses: dict[str, dict[str, Path]],
    wholes: dict[str, dict[str, Path]],
    estimates: Path,
    references: Path,
    stems: Sequence[str],
) -> Iterator[str]:
    if len(guesses) == len(wholes) == 1 and set(guesses) != set(wholes):
        guesses[next(iter(wholes))] = guesses.pop(next(iter(guesses)))  # one song, two folder names
    for song in sorted(set(wholes) - set(guesses)):
        yield f"{estimates / song}: missing, the references have it; separate it, or move it away"
    for song in sorted(set(guesses) - set(wholes)):
        yield f"{references / song}: missing, the estimates have it; add it, or move it away"
    for song in sorted(set(guesses) & set(wholes)):
        wanted = set(stems) or set(wholes[song]) - {MIXTURE}
        given = set(guesses[song]) - {MIXTURE}
        for stem in sorted(wanted - given):
            yield f"{song}: no estimate of {stem}; add {stem}.wav, or name what to score (--stems)"
        for stem in sorted(given - set(wholes[song])):
            yield f"{guesses[song][stem]}: has no reference; add one, or name others (--stems)"


def _unlike(
    guesses: dict[str, Path], wholes: dict[str, Path], *, fit_length: bool
) -> Iterator[str]:
    """Yield what differs from the first reference, which all files of a song must be like."""
    first = next(path for stem, path in wholes.items() if stem in guesses)
    like = probe(first)
    length = num_samples(like)
    files = [path for stem, path in guesses.items() if stem != MIXTURE]
    files += [path for stem, path in wholes.items() if stem in guesses or stem == MIXTURE]
    for path in files:
        info = probe(path)
        if info.sample_rate != like.sample_rate:
            yield (
                f"{path}: has {info.sample_rate} Hz, {first} has {like.sample_rate} Hz; "
                "resample one of them (audiform does not, as that changes the score)"
            )
        elif info.num_channels != like.num_channels:
            yield (
                f"{path}: has {info.num_channels} channels, {first} has {like.num_channels}; "
                "mix down or double one of them"
            )
        elif not fit_length and (found := num_samples(info)) != length:
            yield (
                f"{path}: has {found} samples, {first} has {length}; trim or pad it, or let it "
                "end early or late (--fit-length); stems of several songs belong in SONG/STEM.wav"
            )


def num_samples(info: AudioInfo) -> int:
    """Return a file's length, by decoding it where its header does not say."""
    if info.num_samples is not None:
        return info.num_samples
    with AudioReader(info.path) as reader:
        return sum(block.shape[1] for block in reader)


def _pair(song: str, guesses: dict[str, Path], wholes: dict[str, Path]) -> Pair:
    sources = [stem for stem in wholes if stem in guesses and stem != MIXTURE]
    mixture = wholes.get(MIXTURE)
    # Without a file for it, the mixture is the sum of all references, also of those not scored.
    everything = {stem: (AudioRef(path),) for stem, path in wholes.items() if stem != MIXTURE}
    info = probe(wholes[sources[0]])
    return Pair(
        references=Track(song, everything, mixture=AudioRef(mixture) if mixture else None),
        estimates=Track(song, {source: (AudioRef(guesses[source]),) for source in sources}),
        sample_rate=info.sample_rate,
        audio_channels=info.num_channels,
    )
