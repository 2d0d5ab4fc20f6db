from __future__ import annotations

import numpy as np
import pytest
import soundfile

from audiform.data.layouts import read_tracks
from audiform.data.pool import SOURCES, prepare_songs
from audiform.data.remix import RemixConfig, RemixPool
from audiform.errors import DataError
from tests.data.sounds import write_songs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pool")
    songs = read_tracks(write_songs(tmp_path_factory.mktemp("songs")))
    prepare_songs(folder, songs)
    return folder


def loudest_hz(audio: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(audio * np.hanning(len(audio))))
    return float(np.argmax(spectrum) * 44100 / len(audio))


def test_what_is_played_faster_is_higher(tmp_path):
    song = tmp_path / "songs" / "tone"
    song.mkdir(parents=True)
    for source in SOURCES:
        tone = 0.3 * np.sin(2 * np.pi * 440.0 * np.arange(4 * 44100) / 44100)
        soundfile.write(song / f"{source}.wav", np.stack([tone, tone], axis=1), 44100)
    prepare_songs(tmp_path, read_tracks(tmp_path / "songs"))
    for aligned, absent in ((1.0, 0.0), (0.0, 0.0)):
        config = RemixConfig(
            seconds=1.0,
            aligned_share=aligned,
            absent_share=dict.fromkeys(SOURCES, absent),
            speed_share=0.5,
        )
        stems = RemixPool(tmp_path, config).draw(np.random.default_rng(0), 12).stems
        assert (np.abs(stems[..., -500:]).max(axis=-1) > 0.01).all()  # as long as asked for
        tones = np.array([[loudest_hz(stem[0]) for stem in item] for item in stems])
        semitones = 12 * np.log2(tones / 440.0)
        assert np.abs(semitones).max() < 4.05
        assert 0.25 < np.mean(np.abs(semitones) < 0.03) < 0.75
        together = np.ptp(semitones, axis=1) < 0.05
        assert together.all() if aligned else not together.all()


def test_equal_generators_draw_equal_examples(folder):
    pool = RemixPool(folder, RemixConfig(seconds=0.5))
    first = pool.draw(np.random.default_rng(5), 4)
    second = pool.draw(np.random.default_rng(5), 4)
    assert first.stems.shape == (4, 4, 2, 22050)
    assert np.array_equal(first.stems, second.stems)
    assert not np.array_equal(first.stems, pool.draw(np.random.default_rng(6), 4).stems)


def test_the_other_stem_of_a_song_without_bass_is_not_used(folder):
    pool = RemixPool(folder, RemixConfig())
    assert not any("no_bass" in str(stem.path) for stem in pool._songs["other"])
    assert any("no_bass" in str(stem.path) for stem in pool._songs["vocals"])
    assert {song[0].path.parts[-2] for song in pool._whole} == {"one", "two"}


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
    with pytest.raises(DataError, match="no drums in the songs"):
        RemixPool(tmp_path, RemixConfig())


def test_rendered_songs_are_drawn_from_as_often_as_said(folder, tmp_path):
    quiet = write_songs(tmp_path / "rendered", seconds=2.0, level=0.01)
    counts = {}
    for share in (0.0, 0.4, 1.0):
        config = RemixConfig(seconds=0.1, aligned_share=1.0, rendered_share=share)
        pool = RemixPool(folder, config, rendered=quiet)
        stems = pool.draw(np.random.default_rng(0), 60).stems
        counts[share] = int((np.abs(stems[:, 0]).max(axis=(1, 2)) < 0.03).sum())
    assert counts[0.0] == 0
    assert 12 < counts[0.4] < 36
    assert counts[1.0] == 60
    config = RemixConfig(
        seconds=0.1,
        aligned_share=0.0,
        song_share=dict.fromkeys(SOURCES, 0.0),
        absent_share={**dict.fromkeys(SOURCES, 0.0)},
        level_deviation_db=0.0,
    )
    stems = RemixPool(folder, config, rendered=quiet).draw(np.random.default_rng(0), 4).stems
    assert (np.abs(stems).max(axis=(2, 3)) > 0.05).all()


def test_an_example_says_where_its_narrowest_stem_ends(tmp_path):
    songs = read_tracks(write_songs(tmp_path / "songs", narrow="vocals"))
    prepare_songs(tmp_path, songs)
    config = RemixConfig(seconds=0.1, aligned_share=0.5, most_semitones=12.0)
    found = RemixPool(tmp_path, config).draw(np.random.default_rng(1), 60).band_hz
    cut = found[np.isfinite(found)]
    # it ends at 6 kHz, is cut a little below, and up to an octave higher or lower where it is
    # played faster or slower; an example without vocals has no end
    usual = np.isclose(cut, 0.94 * 6000.0, rtol=0.04)
    assert 0.1 < usual.mean() < 0.6
    assert cut.min() > 2700.0
    assert 9000.0 < cut.max() < 11800.0
    assert np.isinf(found).any()
