"""Tracks of pulses that went through a machine beside the sound, and show its delay."""

from __future__ import annotations

import re
from collections.abc import Sequence

from audiform.data.track import Track

_PULSES = re.compile(r"_?pulses?$", re.IGNORECASE)
_SOUND = re.compile(r"_?(?:audio|sound|music)$", re.IGNORECASE)


def part_pulses(tracks: Sequence[Track]) -> tuple[list[Track], dict[str, Track]]:
    """Return the tracks of sound, and by their names those of the pulses beside them.

    ``take1_audio`` and ``take1_pulses`` belong together, as do ``take1`` and ``take1_pulses``.
    """
    shown = {_PULSES.sub("", t.name): t for t in tracks if _PULSES.search(t.name)}
    sounds = [track for track in tracks if not _PULSES.search(track.name)]
    bare = {track.name: _SOUND.sub("", track.name) for track in sounds}
    return sounds, {name: shown[own] for name, own in bare.items() if own in shown}
