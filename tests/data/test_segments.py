from __future__ import annotations

import multiprocessing
import os
import pickle
import time

import numpy as np
import pytest
import soundfile
import soxr

from audiform.data.decoded import CACHE_VARIABLE, DecodedCache
from audiform.data.layouts import read_tracks
from audiform.data.segments import SegmentDataset
from audiform.data.track import AudioRef, Track
from audiform.errors import DataError
from tests.data.datasets import (
    RATE,
    STEMS,
    song_stems,
    sound,
    write,
    write_pair,
    write_song,
    write_stream_file,
)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def dataset(root, sources=STEMS, **kwargs):
    settings = {"sample_rate": RATE, "audio_channels": 2, "segment_seconds": 0.5, **kwargs}
    return SegmentDataset(read_tracks(root), sources, **settings)


def whole(path):
    return soundfile.read(path, dtype="float32", always_2d=True)[0].T


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg"])
def test_segments_are_the_files_cut_up(tmp_path, suffix):
    place = write_song(tmp_path / "data" / "one", song_stems("one"), suffix=suffix)
    segments = dataset(tmp_path / "data", stride_seconds=0.3)
    starts = [0, 6615, 13230, 19845, 26460, 33075]  # every 0.3 s; the last ends with the track
    assert len(segments) == len(starts)
    for index, start in reversed(list(enumerate(starts))):
        assert segments.locate(index) == (0, min(start, 2 * RATE - 11025))
        for source, crop in zip(STEMS, segments.read(index), strict=True):
            start = segments.locate(index).start_samples
            expected = whole(place / f"{source}{suffix}")[:, start : start + 11025]
            np.testing.assert_array_equal(crop, expected)
    assert segments.cache.size_bytes() == 0


def test_an_offset_moves_a_segment_and_it_stays_inside(tmp_path):
    write_song(tmp_path / "one", song_stems("one"))
    segments = dataset(tmp_path)
    drums = whole(tmp_path / "one" / "drums.wav")
    crop = segments.read(1, offset_samples=-100, length_samples=999)[0]
    np.testing.assert_array_equal(crop, drums[:, 11025 - 100 :][:, :999])
    np.testing.assert_array_equal(segments.read(3, offset_samples=9999)[0], drums[:, -11025:])
    np.testing.assert_array_equal(segments.read(0, offset_samples=-9)[0], drums[:, :11025])


def test_a_short_track_is_followed_by_silence(tmp_path):
    write_song(tmp_path / "one", song_stems("one", seconds=0.2))
    write_song(tmp_path / "two", song_stems("two"))
    segments = dataset(tmp_path)
    assert [segments.locate(index).track_index for index in range(len(segments))] == [0] + [1] * 4
    assert segments.read(0)[:, :, 4410:].max() == 0
    assert segments.read(0)[:, :, :4410].any(axis=(1, 2)).all()


def test_the_mixture_is_its_file_or_the_sum(tmp_path):
    stems = song_stems("one")
    write_song(tmp_path / "with" / "one", stems)
    write_song(tmp_path / "without" / "one", stems, mixture=False)
    for name in ("with", "without"):
        segments = dataset(tmp_path / name, ("mixture", *STEMS))
        crop = segments.read(1)
        np.testing.assert_allclose(crop[0], crop[1:].sum(axis=0), atol=3 / 2**15)


def test_channels_are_brought_to_the_models(tmp_path):
    parts = {"drums": sound("d", channels=1), "bass": sound("b")}
    write_song(tmp_path / "one", parts, mixture=False)
    drums = whole(tmp_path / "one" / "drums.wav")[:, :11025]
    bass = whole(tmp_path / "one" / "bass.wav")[:, :11025]
    stereo = dataset(tmp_path, ("drums", "bass")).read(0)
    np.testing.assert_array_equal(stereo[0], np.repeat(drums, 2, axis=0))
    mono = dataset(tmp_path, ("drums", "bass"), audio_channels=1).read(0)
    np.testing.assert_allclose(mono[1], bass.mean(axis=0, keepdims=True), atol=1e-7)
    write(tmp_path / "one" / "other.wav", sound("o", channels=4))
    with pytest.raises(DataError, match=r"other\.wav: has 4 channels, 2 were asked for"):
        dataset(tmp_path, ("other",))


def test_another_rate_is_resampled_once_into_the_cache(tmp_path):
    audio = sound("one/drums")
    write(tmp_path / "data" / "one" / "drums.wav", audio, subtype="FLOAT")
    segments = dataset(tmp_path / "data", ("drums",), sample_rate=16000)
    expected = soxr.resample(audio, RATE, 16000, quality="VHQ").T
    np.testing.assert_allclose(segments.read(1)[0], expected[:, 8000:16000], atol=1e-6)
    (entry,) = (tmp_path / "cache").glob("*")
    assert segments.cache.size_bytes() == entry.stat().st_size > 32000 * 2 * 4
    written = entry.stat().st_mtime_ns
    dataset(tmp_path / "data", ("drums",), sample_rate=16000)
    assert entry.stat().st_mtime_ns == written  # not decoded again
    time.sleep(0.01)
    write(tmp_path / "data" / "one" / "drums.wav", audio / 2, subtype="FLOAT")
    changed = dataset(tmp_path / "data", ("drums",), sample_rate=16000)
    np.testing.assert_allclose(changed.read(1)[0], expected[:, 8000:16000] / 2, atol=1e-6)


def test_streams_of_one_file_are_told_apart_and_stay_aligned(tmp_path):
    names = ("mixture", *STEMS)
    sounds = [sound(name, rate=44100) for name in names]
    sounds[0] = np.sum(sounds[1:], axis=0)
    write_stream_file(tmp_path / "train" / "Ann - One.stem.mp4", sounds)
    segments = dataset(tmp_path, names, sample_rate=44100)
    assert segments.tracks[0].artist == "Ann"
    assert segments.track_length_samples(0) == len(sounds[0])
    crop = segments.read(1)
    for number, expected in enumerate(sounds):
        error = crop[number] - expected[22050:44100].T
        assert np.square(error).sum() < 0.05 * np.square(expected[22050:44100]).sum(), number
    assert len(list((tmp_path / "cache").glob("*.wav"))) == 5


def test_an_mp3_is_decoded_into_the_cache(tmp_path):
    audio = sound("one/drums", rate=44100)
    soundfile.write(tmp_path / "drums.mp3", audio, 44100)
    track = Track("one", {"drums": (AudioRef(tmp_path / "drums.mp3"),)})
    segments = SegmentDataset(
        [track], ("drums",), sample_rate=44100, audio_channels=2, segment_seconds=0.5
    )
    assert segments.track_length_samples(0) == len(audio)
    assert segments.cache.size_bytes() > audio.nbytes
    with pytest.raises(DataError, match="no stem 'bass'"):
        SegmentDataset([track], ("bass",), sample_rate=44100, audio_channels=2, segment_seconds=1.0)


def test_a_missing_stem_is_an_error_unless_silence_is_asked_for(tmp_path):
    write_song(tmp_path / "one", song_stems("one", ("drums", "vocals")))
    with pytest.raises(DataError, match="track 'one' has no stem 'bass', it has drums, vocals"):
        dataset(tmp_path)
    segments = dataset(tmp_path, missing="silence")
    assert list(segments.read(0).any(axis=(1, 2))) == [True, False, False, True]
    with pytest.raises(DataError, match="has none of piano"):
        dataset(tmp_path, ("piano",), missing="silence")


def test_an_effects_recording_is_as_long_as_its_shorter_side(tmp_path):
    write_pair(tmp_path)
    output = whole(tmp_path / "output.wav")
    write(tmp_path / "output.wav", output[:, :30000].T)
    segments = dataset(tmp_path, ("input", "target"), audio_channels=1)
    assert segments.track_length_samples(0) == 30000


def test_pieces_of_a_file_count_from_both_ends(tmp_path):
    path = write(tmp_path / "x.wav", sound("x", channels=1))
    ref = AudioRef(path, start_samples=-10000, stop_samples=-2000)
    segments = SegmentDataset(
        [Track("x", {"x": (ref,)})], ("x",), sample_rate=RATE, audio_channels=1, segment_seconds=0.1
    )
    assert segments.track_length_samples(0) == 8000
    np.testing.assert_array_equal(segments.read(0)[0], whole(path)[:, -10000:][:, :2205])


def test_damage_under_a_segment_is_named(tmp_path):
    audio = sound("one/drums")
    audio[30000] = np.nan
    write(tmp_path / "one" / "drums.wav", audio, subtype="FLOAT")
    segments = dataset(tmp_path, ("drums",))
    segments.read(0)
    with pytest.raises(DataError, match=r"drums\.wav: is damaged at sample 22050 \(NaN"):
        segments.read(2)


def _read_in_worker(segments, indices, queue):
    queue.put([segments.read(index) for index in indices])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_read_the_same(tmp_path, method):
    write_song(tmp_path / "one", song_stems("one", seconds=4.0), suffix=".flac")
    segments = dataset(tmp_path)
    expected = [segments.read(index) for index in range(len(segments))]
    context = multiprocessing.get_context(method)
    queues = [context.Queue() for _ in range(2)]
    orders = [range(len(segments)), range(len(segments) - 1, -1, -1)]
    workers = [
        context.Process(target=_read_in_worker, args=(segments, order, queue))
        for order, queue in zip(orders, queues, strict=True)
    ]
    for worker in workers:
        worker.start()
    again = [segments.read(index) for index in range(len(segments))]  # at the same time
    for order, queue in zip(orders, queues, strict=True):
        for index, crop in zip(order, queue.get(timeout=60), strict=True):
            np.testing.assert_array_equal(crop, expected[index])
    for worker in workers:
        worker.join()
    np.testing.assert_array_equal(again, expected)


def test_a_pickled_dataset_has_no_open_files(tmp_path):
    write_song(tmp_path / "one", song_stems("one"))
    segments = dataset(tmp_path)
    expected = segments.read(0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(segments)).read(0), expected)


def test_two_processes_that_decode_one_file_leave_one_entry(tmp_path):
    path = write(tmp_path / "x.wav", sound("x"))
    cache = DecodedCache(sample_rate=16000)
    if (child := os.fork()) == 0:
        cache.locate(AudioRef(path))
        os._exit(0)
    entry = cache.locate(AudioRef(path))
    assert os.waitpid(child, 0)[1] == 0
    assert list((tmp_path / "cache").iterdir()) == [entry]
    assert soundfile.info(entry).frames == 32000
