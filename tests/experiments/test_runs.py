"""Every kind of arm is trained for a moment on songs made here."""

from __future__ import annotations

import json

import pytest
import torch
from experiments.examples import Crops, PretrainingCrops, draw_place
from experiments.pretraining import Pretraining
from experiments.report import as_table, report
from experiments.runs import Runs
from experiments.scores import Unheard
from experiments.settings import Settings
from experiments.songs import read_songs
from experiments.table import EXPERIMENTS

from audiform.errors import ConfigError, DataError
from experiments import __main__ as command
from tests.recipes.runs import write_songs


class Short(Settings):
    """Runs of two steps on songs of four seconds."""

    steps: int = 2
    pretraining_steps: int = 2
    batch_size: int = 1
    crop_frames: int = 32
    validate_every: int = 2
    known_seconds: float = 2.0
    held_out_seconds: float = 3.0


SETTINGS = Short(held_out="three")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    folder = write_songs(tmp_path_factory.mktemp("songs"))
    return read_songs(folder, SETTINGS, cache_folder=folder.with_name("decoded"))


def test_the_song_that_is_held_out_is_not_trained_on(songs, tmp_path) -> None:
    assert [song.name for song in songs.train] == ["no_bass", "one", "two"]
    assert songs.held_out.name == "three"
    with pytest.raises(DataError, match="'four' is to be held out"):
        read_songs(
            write_songs(tmp_path),
            SETTINGS.model_copy(update={"held_out": "four"}),
            cache_folder=tmp_path / "decoded",
        )


def test_what_is_scored_is_not_drawn(songs) -> None:
    song, generator = songs.train[1], torch.Generator().manual_seed(0)
    heard = torch.zeros(song.num_frames)
    for _ in range(300):
        _, place = draw_place([song], SETTINGS.crop_frames, generator)
        assert place.stop - place.start == SETTINGS.crop_frames
        heard[place] += 1
    assert not heard[song.unheard].any()
    assert heard[: song.unheard.start].all() and heard[song.unheard.stop :].all()


def test_a_song_that_is_too_short_is_named(songs) -> None:
    with pytest.raises(DataError, match="'one' has no 999 frames"):
        draw_place(songs.train[1:2], 999, torch.Generator())


def test_crops_are_a_function_of_seed_and_draw(songs) -> None:
    crops = Crops(songs.train, SETTINGS, seed=1)
    first = crops(3)
    assert first["mixture"].shape == (1, 2, 128, 32)
    assert first["mixture"].min() >= 0 and first["mixture"].max() <= 1
    assert torch.equal(first["mixture"], Crops(songs.train, SETTINGS, seed=1)(3)["mixture"])
    assert not torch.equal(first["mixture"], crops(4)["mixture"])
    other = Crops(songs.train, SETTINGS, seed=2)(3)
    assert not torch.equal(first["mixture"], other["mixture"])


def test_remixed_crops_keep_their_instrumental(songs) -> None:
    plain, remixed = (
        Crops(songs.train, SETTINGS.model_copy(update={"remix_share": share}), seed=0)(0)
        for share in (0.0, 1.0)
    )
    assert torch.equal(plain["instrumental"], remixed["instrumental"])
    assert not torch.equal(plain["mixture"], remixed["mixture"])


def test_both_kinds_of_targets_are_drawn_alike(songs) -> None:
    draws = [Pretraining(t).examples(songs.train, SETTINGS, seed=0)(0)
             for t in ("magnitudes", "codes")]  # fmt: skip
    assert isinstance(Pretraining("codes").examples(songs.train, SETTINGS, seed=0),
                      PretrainingCrops)  # fmt: skip
    for name, value in draws[0].items():
        assert torch.equal(value, draws[1][name])


@pytest.mark.parametrize("arm", ["transformer-halving", "primer-stack-weights"])
def test_a_run_is_trained_once_and_kept(arm, songs, tmp_path) -> None:
    said: list[str] = []
    runs = Runs(songs, SETTINGS, folder=tmp_path, on_run=said.append)
    first = runs.result(arm, 0)
    assert [point["step"] for point in first.curve] == [2]
    assert runs.result(arm, 0) == first
    assert said == [f"{arm}, seed 0"]
    assert not any((tmp_path / "unfinished").iterdir())
    found = runs.unheard(runs.network(arm, 0)).scores
    assert found["loss"] == pytest.approx(first.final("loss"), rel=1e-4)
    other = SETTINGS.model_copy(update={"steps": 3})
    with pytest.raises(ConfigError, match="other settings"):
        Runs(songs, other, folder=tmp_path).result(arm, 0)


def test_a_run_that_was_cut_short_goes_on(songs, tmp_path, monkeypatch) -> None:
    arm, settings = "primer-stack-weights", SETTINGS.model_copy(update={"validate_every": 1})
    whole = Runs(songs, settings, folder=tmp_path / "whole").result(arm, 0)
    assert [point["step"] for point in whole.curve] == [1, 2]
    scored = Unheard.__call__
    calls: list[int] = []

    def break_off(self, network):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return scored(self, network)

    monkeypatch.setattr(Unheard, "__call__", break_off)
    with pytest.raises(KeyboardInterrupt):
        Runs(songs, settings, folder=tmp_path / "cut").result(arm, 0)
    assert not (tmp_path / "cut" / f"{arm}-0.json").exists()
    monkeypatch.undo()
    assert Runs(songs, settings, folder=tmp_path / "cut").result(arm, 0).curve == whole.curve


def test_arms_that_differ_in_labels_alone_share_their_pretraining(songs, tmp_path) -> None:
    said: list[str] = []
    runs = Runs(songs, SETTINGS, folder=tmp_path, on_run=said.append)
    every = runs.result("primer-codes", 0)
    one = runs.result("primer-codes-one-song", 0)
    assert said == ["primer-codes, seed 0", "pretraining-codes, seed 0",
                    "primer-codes-one-song, seed 0"]  # fmt: skip
    assert every.pretraining == one.pretraining
    assert {"loss", "frames", "next_segment", "next_accuracy"} <= set(every.pretraining[-1])
    assert every.curve != one.curve


def test_the_padding_experiment_runs_one_network_in_all_ways(songs, tmp_path) -> None:
    runs = Runs(songs, SETTINGS, folder=tmp_path / "work")
    found = report("padding", runs, [0], tmp_path)
    network = runs.network("transformer", 0)
    scores = {
        way: runs.unheard.in_crops(network, kept_frames=kept, context_frames=context)
        for way, (kept, context) in EXPERIMENTS["padding"].ways.items()
    }
    assert len({of_way["loss"] for of_way in scores.values()}) == 4
    for way, of_way in scores.items():
        assert found["arms"][way]["final"][0] == pytest.approx(of_way, rel=1e-4)
    assert len(found["arms"]["64 of 128"]["loss_by_distance"][0]) == 4


def test_the_command_writes_figures_and_a_picture(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(command, "Settings", Short)
    data = write_songs(tmp_path / "songs")
    arguments = ["channels", "--data", str(data), "--held-out", "three", "--seeds", "1"]
    folders = ["--work", str(tmp_path / "work"), "--results", str(tmp_path / "results")]
    command.main([*arguments, "--steps", "1", *folders])
    found = json.loads((tmp_path / "results" / "frame-channels.json").read_text())
    assert set(found["arms"]) == {"kept", "doubled"}
    assert found["settings"]["steps"] == 1 and found["seeds"] == [0]
    assert (tmp_path / "results" / "frame-channels.svg").read_text().startswith("<svg")
    assert as_table(found) in capsys.readouterr().out
