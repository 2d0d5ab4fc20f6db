from __future__ import annotations

import numpy as np
import pytest

from audiform.data.tracks import SOURCES, find_songs
from audiform.errors import DataError
from tests.data.sounds import RATE, write_songs


def test_finds_songs_by_name_and_says_what_they_lack(tmp_path):
    songs = find_songs(write_songs(tmp_path))
    assert [song.name for song in songs] == ["no_bass", "one", "two"]
    assert songs[0].missing == ("bass",)
    assert songs[1].missing == ()


def test_reads_a_piece_at_another_rate(tmp_path):
    song = find_songs(write_songs(tmp_path))[1]
    audio = song.read("bass", sample_rate=22050, start_seconds=1.0, duration_seconds=0.5)
    assert audio.shape == (2, 11025)
    assert audio.dtype == np.float32


def test_a_missing_stem_is_silence_among_all_and_an_error_alone(tmp_path):
    song = find_songs(write_songs(tmp_path))[0]
    stems = song.read_all(SOURCES, sample_rate=RATE)
    assert stems.shape == (4, 2, 4 * RATE)
    assert not stems[1].any()
    assert stems[0].any()
    with pytest.raises(DataError, match="no stem 'bass'"):
        song.read("bass", sample_rate=RATE)


def test_a_folder_without_songs_is_an_error(tmp_path):
    with pytest.raises(DataError, match="no song found"):
        find_songs(tmp_path)
    with pytest.raises(DataError, match="check --data"):
        find_songs(tmp_path / "absent")
