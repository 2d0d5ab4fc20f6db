"""Which tracks train, which validate, which test: the same for ever, whatever is added.

A track's place depends on a hash of its artist (of its own name where none is known), so that
one artist is never on both sides, and a new song does not move the others. What a dataset says
itself (train/, test/) is respected.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Mapping, Sequence

from audiform.data.track import Track
from audiform.errors import DataError

#: Shares of the tracks whose dataset says nothing.
DEFAULT_SHARES: Mapping[str, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}

#: Of a dataset that names its training tracks but none to validate with, this part validates.
VALID_SHARE_OF_TRAIN = 0.14  # as 14 of the 100 training songs of MUSDB18


def split_of(track: Track, *, shares: Mapping[str, float] = DEFAULT_SHARES, salt: str = "") -> str:
    """Return the split of a track that its dataset assigns to none; ``salt`` draws anew.

    >>> split_of(Track("A - B", {}, artist="A")) == split_of(Track("A - C", {}, artist="a "))
    True
    """
    identity = unicodedata.normalize("NFKC", track.artist or track.name).casefold().strip()
    digest = hashlib.sha256(f"{salt}\0{identity}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64 * sum(shares.values())
    for name, share in shares.items():
        if position < share:
            return name
        position -= share
    return next(reversed(list(shares)))


def split_tracks(
    tracks: Sequence[Track],
    *,
    shares: Mapping[str, float] = DEFAULT_SHARES,
    salt: str = "",
) -> dict[str, list[Track]]:
    """Return the tracks by split: train, valid, test (the keys of ``shares``).

    Tracks that the dataset assigns keep their place. Where it names training tracks and no
    validation tracks, a part of the training tracks validates, chosen in the same way. Raises
    :class:`DataError` for shares that are negative or all zero.
    """
    if min(shares.values(), default=0.0) < 0 or sum(shares.values()) <= 0:
        raise DataError(f"shares must be positive somewhere and negative nowhere, got {shares}")
    named = {track.split for track in tracks}
    result: dict[str, list[Track]] = {name: [] for name in shares}
    inner = {"train": 1.0 - VALID_SHARE_OF_TRAIN, "valid": VALID_SHARE_OF_TRAIN}
    for track in tracks:
        name = track.split or split_of(track, shares=shares, salt=salt)
        if track.split == "train" and "valid" not in named and shares.get("valid"):
            name = split_of(track, shares=inner, salt=salt)
        result.setdefault(name, []).append(track)
    return result
