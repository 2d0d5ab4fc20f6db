from __future__ import annotations

import numpy as np
import pytest

from audiform.data.layouts import read_tracks
from audiform.data.pool import SOURCES, prepare_songs
from audiform.data.remix import RemixConfig, RemixPool
from audiform.errors import DataError
from tests.data.sounds import write_songs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    songs = read_tracks(write_songs(tmp_path_factory.mktemp("songs")))
    prepare_songs(folder, songs, (0.0, 2.0))
    return folder


def test_a_shift_up_is_shorter(folder):
    plain = np.load(folder / "songs" / "one" / "+0" / "bass.npy")
    higher = np.load(folder / "songs" / "one" / "+2" / "bass.npy")
    assert len(plain) / len(higher) == pytest.approx(2 ** (2 / 12), rel=1e-3)


def test_equal_generators_draw_equal_examples(folder):
    pool = RemixPool(folder, RemixConfig(seconds=0.5))
    first = pool.draw(np.random.default_rng(5), 4)
    second = pool.draw(np.random.default_rng(5), 4)
    assert first.stems.shape == (4, 4, 2, 22050)
    assert np.array_equal(first.stems, second.stems)
    assert not np.array_equal(first.stems, pool.draw(np.random.default_rng(6), 4).stems)


def test_the_other_stem_of_a_song_without_bass_is_not_used(folder):
    pool = RemixPool(folder, RemixConfig())
    assert not any("no_bass" in str(path) for path in pool._songs["other"])
    assert any("no_bass" in str(path) for path in pool._songs["vocals"])
    assert {place.parent.name for place in pool._whole} == {"one", "two"}


def test_absent_stems_are_silent_and_never_all(folder):
    config = RemixConfig(seconds=0.2, aligned_share=0.0, absent_share=dict.fromkeys(SOURCES, 1.0))
    stems = RemixPool(folder, config).draw(np.random.default_rng(0), 3).stems
    sounding = np.abs(stems).max(axis=(2, 3)) > 0
    assert sounding.sum(axis=1).tolist() == [1, 1, 1]


def test_remixed_stems_are_brought_to_their_level(folder):
    config = RemixConfig(
        seconds=0.5,
        aligned_share=0.0,
        absent_share=dict.fromkeys(SOURCES, 0.0),
        level_db=dict.fromkeys(SOURCES, 0.0),
        level_deviation_db=0.0,
    )
    stems = RemixPool(folder, config).draw(np.random.default_rng(0), 2).stems
    assert np.sqrt(np.mean(stems**2, axis=(2, 3))) == pytest.approx(0.1, rel=1e-3)


def test_an_empty_pool_is_an_error(tmp_path):
    with pytest.raises(DataError, match="render it first"):
        RemixPool(tmp_path, RemixConfig())
