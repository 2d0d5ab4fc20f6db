"""Targets of recordings in which nothing sounds: refused before anything long is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from audiform.data.decoded import DecodedAudio, OpenFiles
from audiform.data.track import TARGET, AudioRef, Track
from audiform.errors import DataError

#: Samples that are read at once until one is not zero.
BLOCK_SAMPLES = 2**16

#: So many silent targets are named.
NAMED = 5


def refuse_silent_targets(
    tracks: Sequence[Track], decoded: Mapping[AudioRef, DecodedAudio], root: Path
) -> None:
    """Raise :class:`DataError` that names the targets in which every sample is zero."""
    files = OpenFiles()
    targets = dict.fromkeys(track.references(TARGET)[0] for track in tracks)
    silent = [ref.path for ref in targets if _is_silent(decoded[ref], files)]
    if not silent:
        return
    names = ", ".join(str(path) for path in silent[:NAMED])
    more = f" and {len(silent) - NAMED} more" if len(silent) > NAMED else ""
    raise DataError(
        f"of {len(targets)} targets {len(silent)} are silent from beginning to end, of which "
        f"nothing can be learned: {names}{more}; record them again, or take them away",
        path=root,
    )


def _is_silent(audio: DecodedAudio, files: OpenFiles) -> bool:
    return not any(
        files.read(
            audio, start_samples=start, num_samples=min(BLOCK_SAMPLES, audio.num_samples - start)
        ).any()
        for start in range(0, audio.num_samples, BLOCK_SAMPLES)
    )
