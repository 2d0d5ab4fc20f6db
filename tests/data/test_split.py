from __future__ import annotations

from collections import Counter

import pytest

from audiform.data.split import split_of, split_tracks
from audiform.data.track import Track
from audiform.errors import DataError


def songs(count, artists=None, split=None):
    return [
        Track(f"song {n}", {}, artist=f"artist {n % artists}" if artists else None, split=split)
        for n in range(count)
    ]


def test_shares_are_met_and_every_track_is_in_one_split():
    splits = split_tracks(songs(3000))
    counts = {name: len(tracks) for name, tracks in splits.items()}
    assert sum(counts.values()) == 3000
    assert counts["train"] == pytest.approx(2400, abs=100)
    assert counts["valid"] == pytest.approx(300, abs=60)


def test_a_new_song_does_not_move_the_others():
    few, many = split_tracks(songs(50)), split_tracks(songs(500))
    for name in few:
        assert {track.name for track in few[name]} <= {track.name for track in many[name]}


def test_an_artist_is_on_one_side():
    sides = Counter()
    for name, tracks in split_tracks(songs(600, artists=60)).items():
        sides.update({track.artist: 1 for track in tracks})
        assert name in ("train", "valid", "test")
    assert set(sides.values()) == {1}
    assert len(sides) == 60


def test_spelling_of_an_artist_does_not_matter():
    tracks = [Track("a", {}, artist="Ann É"), Track("b", {}, artist=" ann E\u0301")]
    assert split_of(tracks[0]) == split_of(tracks[1])


def test_what_the_dataset_says_is_kept():
    tracks = songs(100, split="train") + songs(20, split="test")
    splits = split_tracks(tracks)
    assert len(splits["test"]) == 20
    assert 4 <= len(splits["valid"]) <= 30  # 14 % of the training tracks
    assert {track.split for track in splits["valid"]} == {"train"}
    with_valid = split_tracks([*tracks, *songs(5, split="valid")])
    assert [len(with_valid[name]) for name in ("train", "valid", "test")] == [100, 5, 20]


def test_a_salt_draws_anew():
    tracks = songs(200)
    first, second = ({t.name for t in split_tracks(tracks, salt=s)["test"]} for s in ("", "2"))
    assert first != second


def test_the_assignment_is_frozen():
    names = [split_of(track)[:2] for track in songs(12)]
    assert "".join(names) == "vatrtrtrvatrtrtrtrtrtrte"


@pytest.mark.parametrize("shares", [{"train": 0.0}, {"train": 1.0, "test": -0.1}, {}])
def test_shares_that_make_no_sense_are_refused(shares):
    with pytest.raises(DataError, match="shares must be positive"):
        split_tracks(songs(2), shares=shares)
