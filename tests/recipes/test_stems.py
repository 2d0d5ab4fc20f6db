from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import soundfile
import torch

from audiform.augment.chain import AugmentChain
from audiform.augment.remix import RemixConfig
from audiform.augment.shift import ShiftConfig
from audiform.data.narrow import cut_above
from audiform.errors import DataError
from audiform.metrics.separation import sdr
from audiform.recipes.excerpts import SongValidator
from audiform.recipes.stems import (
    BALANCED_RMS,
    SeparationData,
    SharedExamples,
    StemExamples,
    data_fingerprint,
    find_tracks,
)
from tests.models_for_tests import SHARES, ShareModel
from tests.recipes.runs import RATE, SONG_SECONDS, STEMS, write_song, write_songs

PLAIN = SeparationData(segment_seconds=1.0, stride_seconds=0.5, group_size=2)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs"))


def examples(songs, data=PLAIN, *, steps=(), seed=0, held_out=()):
    data = data.model_copy(update={"held_out": held_out or ("three",)})
    tracks = find_tracks(songs, data, STEMS).train
    chain = AugmentChain(steps, STEMS, RATE)
    return StemExamples(tracks, data, chain, audio_channels=2, seed=seed)


def test_a_draw_is_a_function_of_the_seed_and_its_number(songs) -> None:
    steps = (ShiftConfig(seconds=0.1), RemixConfig(group_size=2))
    data = PLAIN.model_copy(update={"unrelated_share": 0.5})
    one = examples(songs, data, steps=steps)
    for draw in range(4):
        one(draw)
    again = pickle.loads(pickle.dumps(examples(songs, data, steps=steps)))
    assert torch.equal(one(3)["stems"], again(3)["stems"])
    assert one(3)["stems"].shape == (2, 4, 2, RATE)
    assert not torch.equal(one(3)["stems"], one(4)["stems"])
    assert not torch.equal(one(3)["stems"], examples(songs, data, steps=steps, seed=1)(3)["stems"])


def test_an_epoch_shows_every_crop_once_in_an_order_of_its_own(songs) -> None:
    found = examples(songs)
    per_song = 1 + round((SONG_SECONDS - 1.0) / 0.5)
    assert len(found.aligned) == 2 * per_song == 2 * found.draws_per_epoch
    epochs = [
        [index for draw in range(found.draws_per_epoch) for index in found._indices(first + draw)]
        for first in (0, found.draws_per_epoch)
    ]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(2 * per_song))
    assert epochs[0] != epochs[1]


def test_tracks_come_at_a_deviation_of_one(songs) -> None:
    data = PLAIN.model_copy(update={"segment_seconds": SONG_SECONDS, "group_size": 1})
    stems = examples(songs, data)(0)["stems"]
    assert stems.sum(dim=1).mean(dim=1).std().item() == pytest.approx(1.0, abs=1e-3)
    plain = examples(songs, data.model_copy(update={"normalise": False}))(0)["stems"]
    assert plain.sum(dim=1).mean(dim=1).std().item() < 0.6


def test_a_song_that_lacks_a_stem_gives_the_others_but_not_the_rest(songs) -> None:
    found = examples(songs, PLAIN.model_copy(update={"unrelated_share": 1.0}))
    names = [{track.name for track in dataset.tracks} for dataset in found.apart]
    whole = {"one", "two"}
    assert dict(zip(STEMS, names, strict=True)) == {
        "drums": whole | {"no_bass"},
        "bass": whole,
        "other": whole,
        "vocals": whole | {"no_bass"},
    }
    assert found.aligned is None


def test_balanced_stems_are_equally_loud_and_not_silent(songs) -> None:
    data = PLAIN.model_copy(
        update={"unrelated_share": 1.0, "balance_db": 0.0, "trials": 20, "segment_seconds": 0.4}
    )
    found = examples(songs, data)
    for draw in range(10):
        rms = found(draw)["stems"].square().mean(dim=(2, 3)).sqrt()
        torch.testing.assert_close(rms, torch.full((2, 4), BALANCED_RMS), atol=1e-4, rtol=0)


def test_silent_crops_of_songs_are_drawn_anew(tmp_path) -> None:
    songs = write_songs(tmp_path)
    for path in songs.glob("*/*.wav"):  # the second half of everything falls silent
        audio, rate = soundfile.read(path)
        audio[len(audio) // 2 :] = 0.0
        soundfile.write(path, audio, rate, "PCM_16")

    def silent(trials: int) -> int:
        found = examples(songs, PLAIN.model_copy(update={"trials": trials}))
        draws = [found(draw)["stems"].sum(dim=1) for draw in range(found.draws_per_epoch)]
        return sum(int(not item.any()) for batch in draws for item in batch)

    assert silent(0) > 2
    assert silent(30) == 0


def test_songs_are_held_out_and_nothing_is_left_is_told(songs, tmp_path) -> None:
    found = find_tracks(songs, PLAIN.model_copy(update={"held_out": ("two",)}), STEMS)
    assert [track.name for track in found.valid] == ["two"]
    assert {track.name for track in found.train} == {"one", "three", "no_bass"}
    with pytest.raises(DataError, match="none of them is left"):
        everything = ("one", "two", "three", "no_bass")
        find_tracks(songs, PLAIN.model_copy(update={"held_out": everything}), STEMS)
    with pytest.raises(DataError, match="no song has all of"):
        examples(songs, held_out=("one", "two", "three"))


def test_the_fingerprint_sees_names_and_sizes(songs, tmp_path) -> None:
    copy = write_songs(tmp_path / "a")
    tracks = find_tracks(copy, PLAIN.model_copy(update={"held_out": ("three",)}), STEMS).train
    known = data_fingerprint(tracks)
    assert data_fingerprint(tracks[::-1]) == known
    assert data_fingerprint(tracks[1:]) != known
    soundfile.write(copy / "one" / "bass.wav", np.zeros((100, 2)), RATE)
    assert data_fingerprint(tracks) != known


def test_validation_scores_what_the_user_would_get(songs) -> None:
    data = PLAIN.model_copy(update={"held_out": ("three",), "validation_seconds": 2.0})
    valid = find_tracks(songs, data, STEMS).valid
    network = ShareModel(segment_samples=10000)
    network.register_parameter("unused", torch.nn.Parameter(torch.zeros(1)))
    scores = SongValidator(valid, data, spec=network.spec)(network).scores
    first = round(RATE * (SONG_SECONDS - 2.0) / 2)
    stems = torch.stack(
        [
            torch.from_numpy(soundfile.read(songs / "three" / f"{stem}.wav")[0].T).float()
            for stem in STEMS
        ]
    )[..., first : first + 2 * RATE]
    mixture = stems.sum(dim=0)
    expected = [
        sdr(estimate=share * mixture, reference=stem).item()
        for share, stem in zip(SHARES, stems, strict=True)
    ]
    assert [scores[f"sdr_{stem}"] for stem in STEMS] == pytest.approx(expected, abs=1e-2)
    assert scores["sdr"] == pytest.approx(sum(expected) / 4, abs=1e-2)
    error = (torch.tensor(SHARES)[:, None, None] * mixture - stems).abs().mean()
    assert scores["loss"] == pytest.approx((error / mixture.mean(dim=0).std()).item(), rel=1e-3)


def test_rendered_songs_are_drawn_from_as_often_as_said(songs, tmp_path):
    data = PLAIN.model_copy(update={"held_out": ("three",), "rendered_share": 0.4})
    with pytest.raises(DataError, match="side by side"):
        find_tracks(songs, data, STEMS)
    (tmp_path / "songs").symlink_to(songs)
    write_song(tmp_path / "rendered" / "song-1", 5)
    found = find_tracks(tmp_path, data, STEMS)
    assert [track.name for track in found.rendered] == ["song-1"]
    assert "song-1" not in {track.name for track in (*found.train, *found.valid)}

    class Draws:
        seed, draw_size, draws_per_epoch = 3, 2, 30

        def __init__(self, name: str) -> None:
            self.name = name

        def __call__(self, draw: int) -> str:
            return self.name

    shared = SharedExamples(Draws("songs"), Draws("rendered"), rendered_share=0.4)
    drawn = [shared(draw) for draw in range(200)]
    assert 60 < drawn.count("rendered") < 100
    assert drawn == [shared(draw) for draw in range(200)]
    assert shared.draws_per_epoch == 50


def treble(audio: torch.Tensor, *, above_hz: float) -> float:
    """Return the share of the energy that lies above a frequency."""
    power = torch.fft.rfft(audio).abs().square()
    return float(power[..., int(above_hz * audio.shape[-1] / RATE) :].sum() / power.sum())


@pytest.mark.parametrize("remixed", [False, True])
def test_a_mixture_ends_where_its_narrowest_stem_does(tmp_path, remixed) -> None:
    noise = torch.randn(4, 2, round(SONG_SECONDS * RATE), generator=torch.Generator())
    for name, cutoff_hz in (("narrow", 3800.0), ("wide", None), ("other", None)):
        (tmp_path / name).mkdir()
        for stem, audio in zip(STEMS, 0.1 * noise, strict=True):
            if cutoff_hz is not None and stem == "vocals":
                audio = cut_above(audio, cutoff_hz=cutoff_hz, sample_rate=RATE)
            soundfile.write(tmp_path / name / f"{stem}.wav", audio.T.numpy(), RATE)
    data = PLAIN.model_copy(update={"group_size": 4, "normalise": False})
    steps = (RemixConfig(group_size=4),) if remixed else ()
    found = examples(tmp_path, data, steps=steps, held_out=("other",))
    assert found.ends_hz["narrow"]["vocals"] == pytest.approx(0.94 * 3800.0, rel=0.04)
    assert set(found.ends_hz["wide"].values()) == {math.inf}
    shares = [
        {stem: treble(audio, above_hz=3800.0) for stem, audio in zip(STEMS, item, strict=True)}
        for draw in range(found.draws_per_epoch)
        for item in found(draw)["stems"]
    ]
    ends = [{name: share < 1e-3 for name, share in item.items()} for item in shares]
    assert all(len(set(item.values())) == 1 for item in ends)  # all stems of an item, or none
    assert any(item["drums"] for item in ends)
    if not remixed:
        assert not all(item["drums"] for item in ends)
        wide = StemExamples(
            found.aligned.tracks,
            data,
            found.chain,
            audio_channels=2,
            seed=0,
            full_band=True,
        )
        assert any(
            treble(item[0], above_hz=3800.0) > 1e-3 > treble(item[3], above_hz=3800.0)
            for draw in range(wide.draws_per_epoch)
            for item in wide(draw)["stems"]
        )
