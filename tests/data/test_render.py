from __future__ import annotations

import numpy as np
import pytest

from audiform.data import render
from audiform.data.pool import POOL_KINDS, render_pool
from audiform.data.samples import SampleLibrary
from audiform.errors import DataError
from tests.data.sounds import write_library


@pytest.fixture(scope="module")
def library(tmp_path_factory) -> SampleLibrary:
    return SampleLibrary(write_library(tmp_path_factory.mktemp("library")))


def test_share_alike_sounds_are_left_out(library):
    assert all("BY-SA" not in sample.licence for sample in library.samples)
    assert len(library.of_class("voices")) == 2


def test_an_index_is_needed(tmp_path):
    with pytest.raises(DataError, match=r"index\.csv"):
        SampleLibrary(tmp_path)


def test_an_index_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "index.csv").write_text("path,class\na.wav,drums\n")
    with pytest.raises(DataError, match="cannot be read"):
        SampleLibrary(tmp_path)


@pytest.mark.parametrize("kind", sorted(POOL_KINDS))
def test_stems_sound_are_finite_and_depend_on_the_generator_alone(library, kind):
    renderer = POOL_KINDS[kind].renderer
    for seed in range(3):
        audio = renderer(library, np.random.default_rng(seed), 3.0)
        assert audio.shape == (3 * 44100, 2)
        assert np.isfinite(audio).all()
        assert 0.01 < np.abs(audio).max() <= 1.0
    again = renderer(library, np.random.default_rng(2), 3.0)
    assert np.array_equal(audio, again)


def test_low_and_high_pass_keep_their_side():
    time = np.arange(44100) / 44100
    low, high = np.sin(2 * np.pi * 100 * time), np.sin(2 * np.pi * 8000 * time)
    both = np.stack([low + high] * 2, axis=1).astype(np.float32)
    middle = slice(10000, 34000)
    kept_low = render.low_pass(both, cutoff_hz=1000.0)[middle, 0]
    kept_high = render.high_pass(both, cutoff_hz=1000.0)[middle, 0]
    # 24 dB per octave over three octaves leave 1/4000 of the other tone
    assert np.abs(kept_low - low[middle]).max() < 0.01
    assert np.abs(kept_high - high[middle]).max() < 0.01


def test_convolution_equals_the_direct_sum():
    rng = np.random.default_rng(0)
    audio, response = rng.normal(size=(300, 2)), rng.normal(size=(40, 2))
    direct = np.stack([np.convolve(audio[:, c], response[:, c])[:300] for c in (0, 1)], axis=1)
    assert np.allclose(render.convolve(audio, response), direct, atol=1e-5)


def test_speed_moves_pitch_and_length():
    time = np.arange(44100) / 44100
    tone = np.sin(2 * np.pi * 441 * time)[:, None].repeat(2, axis=1).astype(np.float32)
    faster = render.change_speed(tone, 2.0)
    assert len(faster) == pytest.approx(22050, abs=1)
    peak = np.argmax(np.abs(np.fft.rfft(faster[:22000, 0]))) * 44100 / 22000
    assert peak == pytest.approx(882, abs=2)


def test_a_pool_is_extended_and_what_exists_is_kept(library, tmp_path):
    render_pool(tmp_path, library, counts={"bass": 1}, seconds=2.0, seed=1)
    first = tmp_path / "rendered" / "bass" / "00000.npy"
    written = first.stat().st_mtime_ns
    done = []
    render_pool(
        tmp_path,
        library,
        counts={"bass": 2, "drums": 1},
        seconds=2.0,
        seed=1,
        on_progress=lambda *numbers: done.append(numbers),
    )
    assert first.stat().st_mtime_ns == written
    assert len(list((tmp_path / "rendered" / "bass").glob("*.npy"))) == 2
    assert done == [(1, 2), (2, 2)]
