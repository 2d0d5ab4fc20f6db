from __future__ import annotations

import json
import math

import numpy as np
import pytest
import soundfile
import torch

from audiform.errors import ConfigError, DataError
from audiform.evaluation import MEASURES, evaluate, evaluate_estimates
from audiform.evaluation.figures import FIGURES
from audiform.metrics.bss_eval import bss_eval
from audiform.metrics.separation import sdr, si_sdr
from tests.evaluation.songs import RATE, STEMS, write_estimates, write_song
from tests.models_for_tests import ShareModel


@pytest.fixture
def folders(tmp_path):
    references, estimates = tmp_path / "references", tmp_path / "estimates"
    for seed, song in enumerate(("one", "two")):
        write_song(references / song, seed=10 * seed)
        write_estimates(references / song, estimates / song, leak=0.1 * (seed + 1))
    return estimates, references


def stack(folder) -> torch.Tensor:
    return torch.stack(
        [torch.from_numpy(soundfile.read(folder / f"{s}.wav", dtype="float32")[0].T) for s in STEMS]
    )


def test_figures_are_those_of_the_metrics(folders):
    estimates, references = folders
    found = evaluate_estimates(estimates, references)
    assert [song.name for song in found.songs] == ["one", "two"]
    estimate, reference = stack(estimates / "two"), stack(references / "two")
    windows = bss_eval(estimate=estimate, reference=reference, window_samples=RATE)
    for index, stem in enumerate(STEMS):
        figures = found.songs[1].stems[stem]
        pairs = {"estimate": estimate[index], "mixture": reference.sum(0)}
        for of, audio in pairs.items():
            for key, metric in (("mdx_sdr_db", sdr), ("si_sdr_db", si_sdr)):
                expected = metric(estimate=audio, reference=reference[index]).item()
                assert figures[key][of] == pytest.approx(expected, abs=1e-3)
        for ratio in ("sdr", "isr", "sir", "sar"):
            row = getattr(windows, ratio)[index]
            key = f"bsseval_{ratio}_db"
            assert figures[key]["estimate"] == pytest.approx(np.nanmedian(row), abs=1e-3)
            mean = figures[f"bsseval_{ratio}_mean_db"]["estimate"]
            assert mean == pytest.approx(np.nanmean(row), abs=1e-3)
            assert found.songs[1].windows[stem][key][1] is None  # vocals are silent there
            assert len(found.songs[1].windows[stem][key]) == 3  # half a second is left out
        assert set(figures) >= set(FIGURES) - {"silent_level_db"}
        assert figures["mdx_sdr_db"]["ideal_mask"] > figures["mdx_sdr_db"]["mixture"]


def test_medians_and_means_over_songs(folders):
    found = evaluate_estimates(*folders, metrics=("mdx",))
    values = [song.stems["bass"]["mdx_sdr_db"]["estimate"] for song in found.songs]
    assert values[0] > values[1] + 3
    for statistic in (found.medians(), found.means()):  # of two songs, the same
        assert statistic["bass"]["mdx_sdr_db"]["estimate"] == pytest.approx(
            np.mean(values), abs=1e-3
        )
    table = found.table()
    assert "museval" in table
    assert "MDX SDR" in table
    assert "BSSEval" not in table.split("\n\n")[1]


def test_level_in_silence_is_that_of_what_leaked(folders):
    found = evaluate_estimates(*folders, metrics=("silence",))
    figures = found.songs[0].stems
    # a tenth of the amplitude of all others, which are all there is in that second
    assert figures["vocals"]["silent_level_db"]["estimate"] == pytest.approx(-20, abs=0.01)
    assert figures["vocals"]["silent_level_db"]["mixture"] == pytest.approx(0, abs=0.01)
    assert figures["drums"] == {}


def test_bleed_is_heard_and_so_is_what_is_missing(tmp_path):
    write_song(tmp_path / "r" / "song", stems=("drums", "bass"))
    clean, _ = soundfile.read(tmp_path / "r" / "song" / "drums.wav")
    other, _ = soundfile.read(tmp_path / "r" / "song" / "bass.wav")
    scores = {}
    for name, audio in (("clean", clean), ("bled", clean + other), ("thin", 0.5 * clean)):
        folder = tmp_path / name / "song"
        folder.mkdir(parents=True)
        soundfile.write(folder / "drums.wav", audio, RATE, "FLOAT")
        found = evaluate_estimates(
            tmp_path / name, tmp_path / "r", metrics=("bleed",), stems=("drums",)
        )
        scores[name] = found.songs[0].stems["drums"]
    assert scores["clean"]["bleedless"]["estimate"] == 100
    assert scores["clean"]["fullness"]["estimate"] == 100
    assert scores["bled"]["bleedless"]["estimate"] < 30
    assert scores["thin"]["bleedless"]["estimate"] == 100
    # 6.02 dB less everywhere
    assert scores["thin"]["fullness"]["estimate"] == pytest.approx(100 / 7.0206, abs=0.01)


def test_a_model_is_scored_and_told_by_its_checkpoint(tmp_path):
    write_song(tmp_path / "data" / "a song")
    write_song(tmp_path / "data" / "no vocals", stems=STEMS[:3])
    model = ShareModel(sample_rate=RATE)
    found = evaluate(model, tmp_path / "data")
    song = found.songs[0]
    assert song.seconds == 3.5
    truth = stack(tmp_path / "data" / "a song")
    expected = sdr(estimate=0.2 * truth.sum(0), reference=truth[1]).item()
    assert song.stems["bass"]["mdx_sdr_db"]["estimate"] == pytest.approx(expected, abs=1e-3)
    absent = found.songs[1].stems["vocals"]
    assert set(absent) == {"silent_level_db"}
    assert absent["silent_level_db"]["estimate"] == pytest.approx(20 * np.log10(0.4), abs=0.01)
    assert "bsseval_sdr_db" in found.songs[1].stems["bass"]  # the others are scored without it


def test_the_mixture_is_that_of_the_dataset(tmp_path):
    song = write_song(tmp_path / "data" / "song")
    mixture = 0.5 * stack(song).sum(0)
    soundfile.write(song / "mixture.wav", mixture.T.numpy(), RATE, "FLOAT")
    found = evaluate(ShareModel(sample_rate=RATE), tmp_path / "data", metrics=("mdx",))
    expected = sdr(estimate=0.1 * mixture, reference=stack(song)[0]).item()
    assert found.songs[0].stems["drums"]["mdx_sdr_db"]["estimate"] == pytest.approx(
        expected, abs=1e-3
    )


def test_a_piece_is_the_piece(folders):
    estimates, references = folders
    found = evaluate_estimates(
        estimates, references, metrics=("mdx",), start_seconds=1.0, duration_seconds=1.25
    )
    piece = slice(RATE, RATE + 10000)
    expected = sdr(
        estimate=stack(estimates / "one")[0, :, piece],
        reference=stack(references / "one")[0, :, piece],
    ).item()
    assert found.songs[0].seconds == 1.25
    assert found.songs[0].stems["drums"]["mdx_sdr_db"]["estimate"] == pytest.approx(
        expected, abs=1e-3
    )
    with pytest.raises(DataError, match="beyond"):
        evaluate_estimates(estimates, references, metrics=("mdx",), start_seconds=99)


def test_a_run_that_was_cut_off_goes_on_and_ends_with_the_same_file(folders, tmp_path):
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "cut.jsonl"
    evaluate_estimates(*folders, metrics=("mdx", "sisdr"), out=whole)
    lines = whole.read_text().splitlines()
    assert [json.loads(line).get("name") for line in lines] == [None, "one", "two"]
    cut.write_text("\n".join([lines[0], lines[1], lines[2][:30]]))
    seen = []
    found = evaluate_estimates(
        *folders,
        metrics=("mdx", "sisdr"),
        out=cut,
        resume=True,
        on_song=lambda audio, song: seen.append(song.name),
    )
    assert seen == ["two"]
    assert cut.read_bytes() == whole.read_bytes()
    assert [song.name for song in found.songs] == ["one", "two"]


def test_scores_of_another_kind_are_not_gone_on_with(folders, tmp_path):
    out = tmp_path / "scores.jsonl"
    evaluate_estimates(*folders, metrics=("mdx",), out=out)
    before = out.read_bytes()
    with pytest.raises(ConfigError, match="--resume"):
        evaluate_estimates(*folders, metrics=("mdx",), out=out)
    with pytest.raises(ConfigError, match="metrics"):
        evaluate_estimates(*folders, metrics=("sisdr",), out=out, resume=True)
    foreign = tmp_path / "foreign.jsonl"
    foreign.write_text("something else\n")
    with pytest.raises(DataError, match="another name"):
        evaluate_estimates(*folders, metrics=("mdx",), out=foreign, resume=True)
    assert out.read_bytes() == before
    assert foreign.read_text() == "something else\n"


def test_results_do_not_depend_on_how_a_song_is_cut_into_blocks(folders, monkeypatch):
    whole = evaluate_estimates(*folders, only=("one",))
    monkeypatch.setattr("audiform.evaluation.song_audio.BLOCK_SECONDS", 1)
    cut = evaluate_estimates(*folders, only=("one",))
    for stem in STEMS:
        for figure, of in whole.songs[0].stems[stem].items():
            # the ideal mask is computed within a block
            assert cut.songs[0].stems[stem][figure]["estimate"] == pytest.approx(
                of["estimate"], abs=2e-3
            )


def test_empty_bands_are_remarked_on(tmp_path):
    for kind in ("r", "e"):
        (tmp_path / kind / "song").mkdir(parents=True)
    for seed, stem in enumerate(("drums", "bass")):
        spectrum = np.fft.rfft(np.random.RandomState(seed).standard_normal((2, 16000)))
        spectrum[:, 4000:] = 0
        audio = 0.1 * np.fft.irfft(spectrum).T
        soundfile.write(tmp_path / "r" / "song" / f"{stem}.wav", audio, RATE, "FLOAT")
        soundfile.write(tmp_path / "e" / "song" / f"{stem}.wav", 0.9 * audio, RATE, "FLOAT")
    (song,) = evaluate_estimates(tmp_path / "e", tmp_path / "r", metrics=("bsseval",)).songs
    assert math.isfinite(song.stems["bass"]["bsseval_sir_db"]["estimate"])
    assert song.stems["bass"]["bsseval_sdr_db"]["estimate"] == pytest.approx(20, abs=0.01)
    assert "rounding" in song.remarks[0]


def test_unknown_names_are_refused(folders):
    with pytest.raises(ConfigError, match=next(iter(MEASURES))):
        evaluate_estimates(*folders, metrics=("pesq",))
    with pytest.raises(ConfigError, match="no metric"):
        evaluate_estimates(*folders, metrics=())
    with pytest.raises(DataError, match="three"):
        evaluate_estimates(*folders, only=("three",))
    with pytest.raises(DataError, match="no song"):
        evaluate(ShareModel(sample_rate=RATE), folders[1], only=("three",))
    with pytest.raises(DataError, match="split"):
        evaluate(ShareModel(sample_rate=RATE), folders[1], split="test")
