from __future__ import annotations

import numpy as np
import pytest
import soundfile

from audiform.errors import ConfigError, DataError
from audiform.evaluation import evaluate_estimates
from audiform.evaluation.pairs import find_pairs
from tests.evaluation.songs import RATE, noise, write_estimates, write_song


@pytest.fixture
def folders(tmp_path):
    references = write_song(tmp_path / "references" / "song", stems=("drums", "vocals"))
    write_estimates(references, tmp_path / "estimates" / "song")
    return tmp_path / "estimates", tmp_path / "references"


def test_songs_in_folders_stems_of_one_song_and_two_files_are_matched(folders):
    estimates, references = folders
    ways = (
        (estimates, references),
        (estimates / "song", references / "song"),
        (estimates / "song" / "drums.wav", references / "song" / "drums.wav"),
    )
    found = [evaluate_estimates(*way, metrics=("mdx",)).songs[0] for way in ways]
    assert list(found[0].stems) == list(found[1].stems) == ["drums", "vocals"]
    for song in found:
        assert song.stems["drums"]["mdx_sdr_db"]["estimate"] == pytest.approx(
            found[0].stems["drums"]["mdx_sdr_db"]["estimate"]
        )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda e, r: (e / "song" / "vocals.wav").unlink(), ["vocals", "--stems"]),
        (lambda e, r: (r / "song" / "vocals.wav").unlink(), ["vocals.wav", "no reference"]),
        (lambda e, r: (e / "song").rename(e / "other"), []),
        (lambda e, r: write_song(r / "second"), ["second", "missing"]),
        (lambda e, r: write_song(e / "second"), ["second", "missing"]),
        (
            lambda e, r: soundfile.write(e / "song" / "drums.wav", noise(3.5, 0), 2 * RATE),
            ["drums.wav", "16000 Hz", "8000 Hz", "resample"],
        ),
        (
            lambda e, r: soundfile.write(e / "song" / "drums.wav", noise(3.5, 0)[:, :1], RATE),
            ["drums.wav", "1 channels", "2"],
        ),
        (
            lambda e, r: soundfile.write(e / "song" / "drums.wav", noise(3.0, 0), RATE),
            ["drums.wav", "24000 samples", "28000", "--fit-length"],
        ),
        (
            lambda e, r: soundfile.write(e / "song" / "drums.flac", noise(3.5, 0), RATE),
            ["drums.wav", "twice", "drums.flac"],
        ),
    ],
)
def test_what_does_not_fit_is_told_before_anything_is_scored(folders, change, told):
    change(*folders)
    if not told:  # one song in each folder belongs together, whatever the folders are called
        assert len(find_pairs(*folders)) == 1
        return
    with pytest.raises(DataError) as error:
        find_pairs(*folders)
    for words in told:
        assert words in str(error.value)


def test_all_that_does_not_fit_is_told_at_once(folders):
    estimates, _ = folders
    for stem in ("drums", "vocals"):
        soundfile.write(estimates / "song" / f"{stem}.wav", noise(1, 0), 2 * RATE)
    with pytest.raises(DataError) as error:
        find_pairs(*folders)
    assert str(error.value).count("16000 Hz") == 2


def test_only_the_stems_that_are_named_need_an_estimate(folders):
    estimates, _ = folders
    (estimates / "song" / "drums.wav").unlink()
    found = evaluate_estimates(*folders, metrics=("mdx",), stems=("vocals",))
    assert list(found.songs[0].stems) == ["vocals"]
    # the mixture is still that of all references
    assert found.songs[0].stems["vocals"]["mdx_sdr_db"]["mixture"] < 3


def test_an_estimate_of_another_length_is_cut_or_padded_when_asked(folders):
    estimates, references = folders
    truth, _ = soundfile.read(references / "song" / "drums.wav")
    soundfile.write(estimates / "song" / "drums.wav", truth[:-RATE], RATE, "FLOAT")
    vocals, _ = soundfile.read(references / "song" / "vocals.wav")
    longer = np.concatenate([vocals, np.ones((99, 2))])
    soundfile.write(estimates / "song" / "vocals.wav", longer, RATE, "FLOAT")
    (song,) = evaluate_estimates(*folders, metrics=("mdx",), fit_length=True).songs
    lost = np.square(truth[-RATE:]).sum() / np.square(truth).sum()
    assert song.seconds == 3.5
    assert song.stems["drums"]["mdx_sdr_db"]["estimate"] == pytest.approx(
        -10 * np.log10(lost), abs=0.01
    )
    assert song.stems["vocals"]["mdx_sdr_db"]["estimate"] > 60


def test_what_is_not_there_is_told(folders, tmp_path):
    estimates, references = folders
    with pytest.raises(DataError, match="--references"):
        find_pairs(estimates, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="two files"):
        find_pairs(estimates, references / "song" / "drums.wav")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no audio"):
        find_pairs(tmp_path / "empty", references)
