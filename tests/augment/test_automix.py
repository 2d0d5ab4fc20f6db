"""Automix against songs whose beats and key are known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from audiform.augment.automix import (
    AutomixConfig,
    Fit,
    MixPlan,
    PlannedStem,
    Refusal,
    apply_plan,
    best_semitones,
    fit_tempo,
    fit_tracks,
    plan_mix,
)
from audiform.augment.beats import Beats, fit_grid, track_beats
from audiform.augment.track_analysis import TrackAnalysis, analyse_track
from audiform.dsp.chroma import chroma
from audiform.errors import DataError
from tests.augment.synthetic_songs import RATE, SyntheticSong, synthetic_song

SOURCES = ("drums", "bass", "other")
#: Tempo, key, style.
SONGS = {
    "rock": (120.0, 0, "rock"),
    "house": (128.7, 2, "house"),
    "funk": (111.3, -1, "funk"),
    "swing": (130.0, 1, "swing"),
    "half": (118.0, -2, "half"),
    "break": (105.0, 3, "break"),
    "slow": (88.0, 0, "rock"),
    "tritone": (124.0, 6, "house"),
}


@pytest.fixture(scope="module")
def songs() -> dict[str, SyntheticSong]:
    return {
        name: synthetic_song(
            bpm=bpm, key=key, style=style, seed=seed, first_seconds=0.4 + 0.13 * seed, seconds=50.0
        )
        for seed, (name, (bpm, key, style)) in enumerate(SONGS.items())
    }


@pytest.fixture(scope="module")
def analyses(songs) -> dict[str, TrackAnalysis]:
    return {name: analyse_track(name, song.stems, sample_rate=RATE) for name, song in songs.items()}


def true_beats(stem: PlannedStem, songs: dict[str, SyntheticSong], seconds: float) -> np.ndarray:
    """Return where the song's true beats come in the mix."""
    times = (songs[stem.track].beats_seconds - stem.start_seconds) / stem.rate
    return times[(times > 0) & (times < seconds)]


@pytest.mark.parametrize("name", SONGS)
def test_beats_are_found_to_a_few_milliseconds(name, songs, analyses) -> None:
    song, beats = songs[name], np.array(analyses[name].beats.times_seconds)
    inside = beats[(beats > song.beats_seconds[0]) & (beats < song.beats_seconds[-1])]
    nearest = np.abs(inside[:, None] - song.beats_seconds).min(axis=1)
    assert len(inside) > 20
    assert np.quantile(nearest, 0.9) < 0.012
    octave = np.log2(analyses[name].beats.tempo_bpm / song.bpm)
    assert abs(octave - round(octave)) < 0.01


@pytest.mark.parametrize("seed", range(12))
def test_all_beats_of_a_mix_are_aligned_and_its_key_is_one(seed, songs, analyses) -> None:
    plan = plan_mix(list(analyses.values()), SOURCES, torch.Generator().manual_seed(seed))
    assert [stem.source for stem in plan.stems] == list(SOURCES)
    drums, *others = (true_beats(stem, songs, plan.seconds) for stem in plan.stems)
    for times in others:
        sparse, dense = sorted((drums, times), key=len)
        assert np.abs(sparse[:, None] - dense).min(axis=1).max() < 0.010
    keys = {(SONGS[stem.track][1] + stem.semitones) % 12 for stem in plan.stems[1:]}
    assert len(keys) == 1
    for stem in plan.stems:
        assert abs(stem.rate - 1) <= 0.15
        assert abs(stem.semitones) <= 3


def test_the_rendered_mix_is_aligned(songs, analyses) -> None:
    """The drums of the other song, through the same change, strike when those of the first do."""
    fit = fit_tracks(analyses["house"], analyses["rock"])
    assert isinstance(fit, Fit)
    grids = [
        fit_grid(analyses[name].beats, start_seconds=4.9, duration_seconds=30.0)
        for name in ("rock", "house")
    ]
    rate = grids[1].period_seconds / grids[0].period_seconds
    stems = (
        PlannedStem("drums", "rock", grids[0].first_seconds - 0.1, 1.0, 0),
        PlannedStem("drums", "house", grids[1].first_seconds - 0.1 * rate, rate, 0),
    )

    def read(track: str, source: str, start: float, duration: float) -> torch.Tensor:
        first = round(start * RATE)
        return songs[track].stems[source][:, first : first + round(duration * RATE)]

    mixed = apply_plan(MixPlan(30.0, 120.0, stems, ()), read, sample_rate=RATE)
    assert mixed.shape == (2, 1, 30 * RATE)
    for drums in mixed:
        beats = np.array(track_beats(drums, sample_rate=RATE).times_seconds)
        distance = (beats - 0.1 + 0.25) % 0.5 - 0.25
        assert np.quantile(np.abs(distance), 0.9) < 0.02


def test_equal_generators_plan_equally(analyses) -> None:
    plans = [
        plan_mix(list(analyses.values()), SOURCES, torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert plans[0] == plans[1]
    assert plans[0].stems != plans[2].stems


def test_too_much_tempo_is_refused_with_the_figures(analyses) -> None:
    refusal = fit_tracks(analyses["slow"], analyses["rock"])
    assert isinstance(refusal, Refusal)
    assert refusal.track == "slow"
    assert "+36" in refusal.reason
    assert "15 %" in refusal.reason


def test_another_key_is_refused_with_the_figures(analyses) -> None:
    refusal = fit_tracks(analyses["tritone"], analyses["rock"])
    assert isinstance(refusal, Refusal)
    assert "+6 semitones" in refusal.reason
    wider = AutomixConfig(max_semitones=6)
    assert isinstance(fit_tracks(analyses["tritone"], analyses["rock"], wider), Fit)


def test_a_song_without_drums_is_refused(songs, analyses) -> None:
    quiet = {**songs["house"].stems, "drums": torch.zeros_like(songs["house"].stems["drums"])}
    silent = analyse_track("silent", quiet, sample_rate=RATE)
    assert silent.beats == Beats((), ())
    refusal = fit_tracks(silent, analyses["rock"])
    assert isinstance(refusal, Refusal)
    assert "no beat" in refusal.reason


def test_an_uneven_beat_is_refused() -> None:
    rng = np.random.default_rng(0)
    times = np.cumsum(0.5 + 0.15 * rng.standard_normal(120))
    track = TrackAnalysis(
        "uneven", 70.0, SOURCES, Beats(tuple(times), (1.0,) * 120), (1 / 12,) * 12
    )
    with pytest.raises(DataError, match="no even beat"):
        plan_mix([track, track], SOURCES, torch.Generator().manual_seed(0))


def test_no_drift_where_the_tempo_is_between_two_frames() -> None:
    """A grid over 30 s is exact to a millisecond, though a beat is only heard to three."""
    rng = np.random.default_rng(1)
    times = 0.3 + 0.46875 * np.arange(100) + 0.003 * rng.standard_normal(100)
    grid = fit_grid(Beats(tuple(times), (1.0,) * 100), start_seconds=10.0, duration_seconds=30.0)
    last = grid.first_seconds + 60 * grid.period_seconds
    assert abs((last - 0.3) / 0.46875 - round((last - 0.3) / 0.46875)) * 0.46875 < 0.002


@pytest.mark.parametrize("shift", range(-5, 7))
def test_the_best_shift_is_the_one_that_was_made(shift) -> None:
    pitches = np.random.default_rng(2).dirichlet(np.ones(12))
    moved = np.roll(pitches, shift).tolist()
    assert best_semitones(pitches.tolist(), moved) == (shift, 0.0)


@pytest.mark.parametrize(
    ("bpm", "onto_bpm", "rate", "count"),
    [(120, 132, 1.1, 1.0), (60, 132, 1.1, 0.5), (120, 66, 1.1, 2.0), (100, 95, 0.95, 1.0)],
)
def test_tempo_is_fitted_in_the_nearest_octave(bpm, onto_bpm, rate, count) -> None:
    found = fit_tempo(60.0 / bpm, 60.0 / onto_bpm)
    assert found == (pytest.approx(rate), count)


def test_an_analysis_survives_json(analyses) -> None:
    for analysis in analyses.values():
        assert TrackAnalysis.from_dict(json.loads(json.dumps(analysis.to_dict()))) == analysis
    with pytest.raises(DataError, match="analyse it anew"):
        TrackAnalysis.from_dict({"name": "x"})


def test_chroma_of_a_triad_is_on_its_three_notes() -> None:
    time = torch.arange(2 * RATE) / RATE
    audio = sum(torch.sin(2 * torch.pi * hz * time) for hz in (261.63, 329.63, 392.0))
    found = chroma(audio[None], sample_rate=RATE)
    assert found.sum().item() == pytest.approx(1.0)
    assert found[[0, 4, 7]].sum() > 0.95
    assert not chroma(torch.zeros(2, RATE), sample_rate=RATE).any()
