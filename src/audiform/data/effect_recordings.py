"""Recordings of an effect: what went in and what came out, with the positions of the knobs.

Any layout of effects will do (:data:`audiform.data.layouts.LAYOUTS`): SignalTrain's folders,
``input`` and ``target`` side by side with the settings in the targets' names, two folders.
Ranges of knobs come from ``effect_info.ini``, from the caller, or from the settings recorded.

Targets are moved to where their inputs are (:mod:`audiform.data.effect_alignment`). A delay of a
few samples stays: it belongs to the effect's filter, and what is learned then lies where the
recording lay. A delay that drifts, a tape's, is undone where a track of pulses went through the
machine beside the sound (``take1_target_audio.wav``, ``take1_target_pulses.wav``).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from audiform.data import effect_alignment
from audiform.data.decoded import DecodedAudio, DecodedCache, OpenFiles
from audiform.data.delay_track import delay_track, undo_delay
from audiform.data.effect_silence import refuse_silent_targets
from audiform.data.findings import Level
from audiform.data.layouts import LAYOUTS, Reading, read_layout
from audiform.data.layouts.signaltrain import EffectInfo, find_info, read_info
from audiform.data.pulse_tracks import part_pulses
from audiform.data.track import INPUT, TARGET, Track
from audiform.errors import ConfigError, DataError
from audiform.io.write import OutputFormat, open_writer
from audiform.knob import Knob

#: Layouts whose tracks are an input and a target.
EFFECT_LAYOUTS = ("nam", "signaltrain", "in-out-folders", "in-out-files")

#: A target that lies no further from its input is left where it is.
KEPT_LAG_SAMPLES = 32

#: Delays of one set that differ by no more are one delay, seen through different filters.
LIKE_LAGS_SAMPLES = 8

#: So much of a take is looked at for its delay, and a delay counts that is so certain.
ALIGNED_SECONDS, CERTAIN = 60.0, 0.5

#: Of a shorter take nothing is known.
SHORTEST_ALIGNED = 1024

#: Samples that are read at once where all are gone through.
BLOCK_SAMPLES = 2**16

#: A knob whose end is so many times its beginning is logarithmic unless it is said to be linear.
LOG_RATIO = 20.0


@dataclass(frozen=True)
class ScoredPart:
    """The part of a recording that counts: of every ``period_samples`` those from start to stop."""

    period_samples: int
    start_samples: int
    stop_samples: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_samples < self.stop_samples <= self.period_samples:
            raise ConfigError(
                f"of every {self.period_samples} samples those from {self.start_samples} to "
                f"{self.stop_samples} were to count; choose 0 <= start < stop <= period"
            )

    @classmethod
    def parse(cls, text: str) -> ScoredPart:
        """Read ``PERIOD:START:STOP``; raises :class:`ConfigError`."""
        parts = text.split(":")
        if len(parts) != 3 or not all(part.strip().isdigit() for part in parts):
            raise ConfigError(
                f"a part to score is PERIOD:START:STOP in samples, got {text!r}; such as "
                "22050:11025:22050"
            )
        return cls(*(int(part) for part in parts))

    def spans(self, start: int, stop: int) -> list[tuple[int, int]]:
        """Return the stretches that count between two samples of the recording."""
        first = start // self.period_samples
        last = -(-stop // self.period_samples)
        found = []
        for number in range(first, last):
            begin = number * self.period_samples
            span = (
                max(start, begin + self.start_samples),
                min(stop, begin + self.stop_samples),
            )
            if span[0] < span[1]:
                found.append(span)
        return found


@dataclass(frozen=True)
class Take:
    """One channel of an input and of its target, at one setting.

    Sample n of the input belongs to sample n + ``lag_samples`` of the target, which counts
    ``polarity`` times. ``spans`` are the stretches (start, stop) of the input that are to be
    learned or scored; what lies before them may be heard. ``source`` is equal for takes of one
    input.
    """

    name: str
    settings: Mapping[str, float]
    split: str
    dry: DecodedAudio
    wet: DecodedAudio
    dry_channel: int
    wet_channel: int
    lag_samples: int
    polarity: int
    spans: tuple[tuple[int, int], ...]
    source: str

    @property
    def num_samples(self) -> int:
        """Samples in all spans."""
        return sum(stop - start for start, stop in self.spans)


@dataclass(frozen=True)
class Alignment:
    """What was found of delay and polarity, and what was done about it, in samples.

    ``lag_samples`` is how much later targets come than inputs, in the middle of the set;
    ``moved_samples`` by how much they were moved back. ``inverted``: the effect turns the
    waveform over, which is learned. ``turned`` are takes that were turned over because they
    differ from the others. ``drift_samples`` is how far a delay moved that pulses showed.
    """

    lag_samples: int
    moved_samples: int
    inverted: bool
    turned: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    drift_samples: float = 0.0

    def sentence(self) -> str:
        """Say it."""
        parts = [f"targets come {self.lag_samples} samples after their inputs"]
        if self.moved_samples:
            parts.append(f"{self.moved_samples} of them are taken out")
        elif self.lag_samples:
            parts.append("which the effect learns")
        if self.drift_samples:
            parts.append(f"a drift of {self.drift_samples:.1f} samples was undone by the pulses")
        if self.inverted:
            parts.append("the effect turns the waveform over")
        if self.turned:
            parts.append(f"turned over to be like the others: {', '.join(self.turned)}")
        if self.unclear:
            parts.append(f"delay not to be found, left as it is: {', '.join(self.unclear[:5])}")
        return "; ".join(parts)


@dataclass(frozen=True)
class Recordings:
    """All takes of a set, its knobs and its rate."""

    takes: tuple[Take, ...]
    knobs: tuple[Knob, ...]
    sample_rate: int
    layout: str
    alignment: Alignment
    fixed: Mapping[str, float]

    def of(self, split: str) -> tuple[Take, ...]:
        """Return the takes of "train", "valid" or "test"."""
        return tuple(take for take in self.takes if take.split == split)

    @property
    def fingerprint(self) -> str:
        """What differs where other takes, settings, lengths or stretches were read."""
        digest = hashlib.sha256()
        for take in self.takes:
            lengths = (take.dry.num_samples, take.wet.num_samples)
            placed = (take.split, take.lag_samples, take.polarity, take.spans)
            digest.update(
                repr((take.name, sorted(take.settings.items()), lengths, placed)).encode()
            )
        return digest.hexdigest()[:16]


def recorded_knobs(root: Path) -> tuple[str, ...]:
    """Return the names of the knobs that recordings have, as they are to be called."""
    _, tracks, _ = _tracks(root)
    return tuple(_identifier(name) for name in tracks[0].knobs)


def read_recordings(
    root: Path,
    *,
    cache_folder: Path,
    knobs: Sequence[Knob] = (),
    scored: ScoredPart | None = None,
    valid_share: float = 0.15,
    sample_rate: int | None = None,
    align: bool = True,
    on_progress: Callable[[int, int], None] | None = None,
) -> Recordings:
    """Read all recordings of ``root``; compressed or resampled ones are decoded to the cache.

    ``knobs`` replace what is known of those of their names. Of the sets without a part for
    validation the last ``valid_share`` of each take is that part. ``sample_rate`` (Hz) is that
    of the first recording by default. Raises :class:`DataError` for what cannot be used.
    """
    layout, tracks, pulses = _tracks(root)
    info = _info(root)
    settings, known, fixed = _knobs(tracks, info, knobs)
    rate = sample_rate or tracks[0].sample_rate
    refs = [ref for track in (*tracks, *pulses.values()) for _, ref in track.files()]
    decoded = DecodedCache(sample_rate=rate, folder=cache_folder).prepare(
        refs, on_progress=on_progress
    )
    refuse_silent_targets(tracks, decoded, root)
    takes, drifts = [], []
    for track, own in zip(tracks, settings, strict=True):
        dry, wet = (decoded[track.references(side)[0]] for side in (INPUT, TARGET))
        if align and track.name in pulses:
            beside = pulses[track.name]
            shown = [decoded[beside.references(side)[0]] for side in (INPUT, TARGET)]
            wet, drift = _undrifted(dry, wet, shown, rate, cache_folder)
            drifts.append(drift)
        takes += _channels(track, own, dry, wet, root)
    alignment = Alignment(0, 0, False)
    if align:
        takes, alignment = _aligned(takes, rate)
        alignment = replace(alignment, drift_samples=max(drifts, default=0.0))
    takes = [_whole_span(take) for take in takes]
    takes = _with_validation(takes, valid_share)
    if scored is not None:
        takes = [replace(take, spans=_scored(take.spans, scored)) for take in takes]
    takes = [take for take in takes if take.spans]
    if not any(take.split == "train" for take in takes):
        raise DataError("has nothing to train on; check its folders and --score-only", path=root)
    return Recordings(tuple(takes), known, rate, layout, alignment, fixed)


class TakeReader:
    """Reads takes from any position; silence lies before and after them. Picklable."""

    def __init__(self) -> None:
        self._files = OpenFiles()

    def dry(self, take: Take, start: int, stop: int) -> Float[Tensor, "1 time"]:
        """Return the input from one sample to another."""
        return self._read(take.dry, take.dry_channel, start, stop)

    def wet(self, take: Take, start: int, stop: int) -> Float[Tensor, "1 time"]:
        """Return the target from one sample of the input to another."""
        lag = take.lag_samples
        wet = self._read(take.wet, take.wet_channel, start + lag, stop + lag)
        return -wet if take.polarity < 0 else wet

    def _read(self, audio: DecodedAudio, channel: int, start: int, stop: int) -> Tensor:
        before = max(0, -start)
        samples = self._files.read(
            audio, start_samples=start + before, num_samples=max(0, stop - start - before)
        )
        padded = np.pad(samples[channel], (before, 0))[: stop - start]
        return torch.from_numpy(padded)[None]


# Reading the folder ------------------------------------------------------------------------------


def _tracks(root: Path) -> tuple[str, list[Track], dict[str, Track]]:
    """Return the layout, the tracks, and by their names those with the pulses beside them."""
    layout, reading = read_layout(root)
    if layout not in EFFECT_LAYOUTS:
        trees = "; ".join(LAYOUTS[name].tree for name in EFFECT_LAYOUTS)
        raise DataError(
            f"looks like {LAYOUTS[layout].tree}, which are no recordings of an effect; arrange "
            f"them as one of: {trees}",
            path=root,
        )
    _raise_errors(reading)
    tracks, pulses = part_pulses(reading.tracks)
    if not tracks:
        raise DataError("holds no pair of input and target", path=root)
    return layout, sorted(tracks, key=lambda track: track.name), pulses


def _undrifted(
    dry: DecodedAudio,
    wet: DecodedAudio,
    pulses: Sequence[DecodedAudio],
    sample_rate: int,
    cache_folder: Path,
) -> tuple[DecodedAudio, float]:
    """Return the target without its delay, which pulses show, and how far that drifted."""
    files = OpenFiles()
    dry_sound, wet_sound, dry_pulses, wet_pulses = (
        torch.from_numpy(files.read(audio, start_samples=0, num_samples=audio.num_samples))
        for audio in (dry, wet, *pulses)
    )
    lag = effect_alignment.estimate_alignment(
        dry=dry_sound, wet=wet_sound, sample_rate=sample_rate
    ).lag_samples
    track = delay_track(
        dry_pulses=dry_pulses.mean(dim=0),
        wet_pulses=wet_pulses.mean(dim=0),
        sample_rate=sample_rate,
        lag_samples=lag,
    )
    undone = undo_delay(wet_sound, track)
    name = hashlib.sha256(repr((wet, *pulses)).encode()).hexdigest()[:32]
    path = cache_folder / f"undrifted-{name}.wav"
    with open_writer(
        path,
        format=OutputFormat("wav", is_float=True),
        sample_rate=sample_rate,
        num_channels=len(undone),
    ) as writer:
        writer.write(undone.float().numpy())
        writer.commit()
    return DecodedAudio(path, len(undone), 0, undone.shape[-1]), track.drift_samples


def _info(root: Path) -> EffectInfo:
    reading = Reading()
    info = read_info(find_info(root) if root.is_dir() else None, reading)
    _raise_errors(reading)
    return info


def _raise_errors(reading: Reading) -> None:
    errors = [finding for finding in reading.findings if finding.level is Level.error]
    if errors:
        more = f" (and {len(errors) - 1} more: audiform data check)" if len(errors) > 1 else ""
        raise DataError(f"{errors[0]}{more}")


def _knobs(
    tracks: Sequence[Track], info: EffectInfo, given: Sequence[Knob]
) -> tuple[list[dict[str, float]], tuple[Knob, ...], dict[str, float]]:
    """Return each track's settings, the knobs, and those that were never moved."""
    names = list(tracks[0].knobs)
    for track in tracks:
        if list(track.knobs) != names:
            raise DataError(
                f"track {track.name!r} has the knobs {', '.join(track.knobs) or 'none'}, and "
                f"{tracks[0].name!r} has {', '.join(names) or 'none'}; name all targets alike"
            )
    by_name = {knob.name: knob for knob in given}
    ranges = dict(zip(info.knob_names, info.knob_ranges, strict=False))
    called = {name: _identifier(name) for name in names}
    unknown = sorted(set(by_name) - set(called.values()))
    if unknown:
        raise ConfigError(
            f"--knob {unknown[0]} was given, the recordings have "
            f"{', '.join(called.values()) or 'no knobs'}; name it as their files do"
        )
    knobs, fixed = [], {}
    for name in names:
        values = [track.knobs[name] for track in tracks]
        own = called[name]
        low, high = ranges.get(name, (min(values), max(values)))
        if own not in by_name and not low < high:
            fixed[own] = low
            continue
        knob = by_name.get(own) or Knob(
            name=own,
            minimum=low,
            maximum=high,
            default=float(np.median(values)),
            scale=usual_scale(low, high),
        )
        for track in tracks:
            try:
                knob.checked(track.knobs[name])
            except ConfigError as error:
                raise DataError(f"track {track.name!r}: {error}") from error
        knobs.append(knob)
    kept = {knob.name for knob in knobs}
    settings = [
        {called[name]: value for name, value in track.knobs.items() if called[name] in kept}
        for track in tracks
    ]
    return settings, tuple(knobs), fixed


def usual_scale(minimum: float, maximum: float) -> Literal["linear", "log"]:
    """Return how a knob of this range is taken to go: a wide one, such as a time's, by ratios."""
    return "log" if minimum > 0 and maximum / minimum >= LOG_RATIO else "linear"


def _identifier(name: str) -> str:
    """Return a name that Python could call a knob by.

    >>> _identifier("Peak reduction")
    'peak_reduction'
    """
    text = re.sub(r"\W+", "_", name.strip()).strip("_").lower() or "knob"
    return f"knob_{text}" if text[0].isdigit() else text


def _channels(
    track: Track, settings: dict[str, float], dry: DecodedAudio, wet: DecodedAudio, root: Path
) -> list[Take]:
    counts = {dry.num_channels, wet.num_channels}
    if len(counts) > 1 and 1 not in counts:
        raise DataError(
            f"{track.name!r} has an input of {dry.num_channels} channels and a target of "
            f"{wet.num_channels}; give both the same",
            path=root,
        )
    count = max(counts)
    return [
        Take(
            name=track.name if count == 1 else f"{track.name} (channel {channel + 1})",
            settings=settings,
            split=track.split or "train",
            dry=dry,
            wet=wet,
            dry_channel=min(channel, dry.num_channels - 1),
            wet_channel=min(channel, wet.num_channels - 1),
            lag_samples=0,
            polarity=1,
            spans=(),
            source=f"{track.references(INPUT)[0]}/{channel}",
        )
        for channel in range(count)
    ]


# Where targets lie -------------------------------------------------------------------------------


def _aligned(takes: list[Take], sample_rate: int) -> tuple[list[Take], Alignment]:
    """Move targets by their delay where it is long; turn over those that differ in polarity."""
    reader = TakeReader()
    fits = [_fit(take, reader, sample_rate) for take in takes]
    clear = [fit for fit in fits if _is_clear(fit)]
    if not clear:
        return takes, Alignment(0, 0, False, unclear=tuple(take.name for take in takes))
    lag = int(np.median([fit.lag_samples for fit in clear]))
    inverted = sum(fit.polarity for fit in clear) < 0
    usual = -1 if inverted else 1
    moved, turned, unclear = [], [], []
    for take, fit in zip(takes, fits, strict=True):
        own = fit.lag_samples if _is_clear(fit) else lag
        own = lag if abs(own - lag) <= LIKE_LAGS_SAMPLES else own
        differs = _is_clear(fit) and fit.polarity != usual
        if differs:
            turned.append(take.name)
        if not _is_clear(fit):
            unclear.append(take.name)
        # the set's own short delay stays; so a take that differs is moved to the others
        kept = lag if abs(lag) <= KEPT_LAG_SAMPLES else 0
        moved.append(replace(take, lag_samples=own - kept, polarity=-1 if differs else 1))
    compensated = 0 if abs(lag) <= KEPT_LAG_SAMPLES else lag
    return moved, Alignment(lag, compensated, inverted, tuple(turned), tuple(unclear))


def _is_clear(fit: effect_alignment.Alignment) -> bool:
    return fit.confidence > CERTAIN and fit.polarity != 0


def _fit(take: Take, reader: TakeReader, sample_rate: int) -> effect_alignment.Alignment:
    most = round(ALIGNED_SECONDS * sample_rate)
    if min(take.dry.num_samples, take.wet.num_samples) < SHORTEST_ALIGNED:
        return effect_alignment.Alignment(0, 0.0, 0, 0.0, 0.0, 0.0)
    return effect_alignment.estimate_alignment(
        dry=reader.dry(take, 0, min(most, take.dry.num_samples)),
        wet=reader.wet(take, 0, min(most, take.wet.num_samples)),
        sample_rate=sample_rate,
    )


# What is trained on and what is scored -----------------------------------------------------------


def _whole_span(take: Take) -> Take:
    """Return the take with all of it that both input and target have."""
    start = max(0, -take.lag_samples)
    stop = min(take.dry.num_samples, take.wet.num_samples - take.lag_samples)
    if stop <= start:
        raise DataError(
            f"take {take.name!r} has a target that lies {take.lag_samples} samples from its "
            "input, which is more than both have in common; cut them to the same start"
        )
    return replace(take, spans=((start, stop),))


def _with_validation(takes: list[Take], share: float) -> list[Take]:
    """Give the last ``share`` of each take to the validation, unless the set has such takes."""
    if share == 0 or any(take.split == "valid" for take in takes):
        return takes
    cut = []
    for take in takes:
        if take.split != "train":
            cut.append(take)
            continue
        ((start, stop),) = take.spans
        middle = stop - round(share * (stop - start))
        cut.append(replace(take, spans=((start, middle),)))
        cut.append(replace(take, spans=((middle, stop),), split="valid"))
    return cut


def _scored(spans: Sequence[tuple[int, int]], scored: ScoredPart) -> tuple[tuple[int, int], ...]:
    return tuple(span for start, stop in spans for span in scored.spans(start, stop))


# Examples ----------------------------------------------------------------------------------------
