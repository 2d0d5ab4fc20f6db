"""Runs of frame networks: removal of vocals, pretraining on music, and what begins with that."""

from __future__ import annotations

import json
import logging
import shutil

import numpy as np
import pytest
import soundfile
import torch

from audiform import Separator
from audiform.checkpoints import list_models
from audiform.checkpoints.catalog import PRETRAINED
from audiform.checkpoints.file import build_model, read_checkpoint, read_header
from audiform.checkpoints.model_package import embedded_path
from audiform.data.track import AudioRef
from audiform.errors import ConfigError, DataError
from audiform.models import MODELS
from audiform.recipes import PRETRAINING_RUNS, RECIPES, SEPARATION_RUNS, VOCAL_REMOVAL_RUNS
from audiform.recipes.frame_run import FrameRun
from audiform.recipes.music import Music, MusicData, PretrainingExamples, find_music
from audiform.recipes.pretraining import pretraining_task
from audiform.recipes.settings import with_settings
from audiform.recipes.start import StartConfig, frame_network
from audiform.recipes.vocals import VocalExamples, VocalsData, find_songs
from audiform.training.examples import BatchPlan
from audiform.training.frame_pretraining import FramePretrainingConfig
from audiform.training.next_segment import NextSegmentConfig
from tests.make_golden import CURVES
from tests.recipes.runs import (
    RATE,
    TINY_PRETRAINING,
    TINY_VOCAL_REMOVAL,
    losses,
    train_tiny,
    write_songs,
)

#: Rounding differs between CPUs, and Adam makes a whole step of a gradient near zero.
TOLERANCE = 2e-3

FRAME_RUNS = {**VOCAL_REMOVAL_RUNS, **PRETRAINING_RUNS}
NETWORK = VOCAL_REMOVAL_RUNS["frame-transformer-tiny"]().network
SOURCES = ("instrumental", "vocals")


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs"))


@pytest.fixture(scope="module")
def pretrained(songs, tmp_path_factory):
    """A run of the small form, which fits ``frame-primer-small-tiny``, and its checkpoint."""
    folder = tmp_path_factory.mktemp("pretrained")
    return train_tiny("frame-primer-pretrain-small-tiny", songs, folder)


@pytest.mark.parametrize("name", FRAME_RUNS)
def test_it_builds_and_its_parts_fit_together(name) -> None:
    recipe = FRAME_RUNS[name]()
    with torch.device("meta"):
        network = MODELS[recipe.architecture].network(recipe.network)
    used = network.input_samples(network.spec.segment_samples) // recipe.network.hop_length
    assert recipe.data.segment_frames <= used or name in PRETRAINING_RUNS
    training = recipe.training
    BatchPlan(batch_size=training.batch_size, draw_size=1, accumulate=training.accumulate)
    assert type(recipe).model_validate_json(recipe.model_dump_json()) == recipe
    assert RECIPES[name].__doc__.startswith(("Train ", "Pretrain "))
    assert name.endswith("-tiny") or f"{name}-tiny" in FRAME_RUNS


@pytest.mark.parametrize("name", TINY_VOCAL_REMOVAL)
def test_the_golden_curve_of_a_removal_holds(name, songs, tmp_path) -> None:
    path = train_tiny(name, songs, tmp_path / "run")
    assert losses(tmp_path / "run") == pytest.approx(
        json.loads((CURVES / f"{name}.json").read_text()), rel=TOLERANCE
    )
    header = read_checkpoint(path).header
    assert header.sources == SOURCES
    assert not header.is_pretrained
    assert header.training["data"]["valid"] == ["three"]
    assert {"loss", "sdr_instrumental", "sdr_vocals"} <= set(header.scores["validation"])


@pytest.mark.parametrize("name", TINY_PRETRAINING)
def test_the_golden_curve_of_a_pretraining_holds(name, songs, tmp_path) -> None:
    path = train_tiny(name, songs, tmp_path / "run")
    assert losses(tmp_path / "run") == pytest.approx(
        json.loads((CURVES / f"{name}.json").read_text()), rel=TOLERANCE
    )
    checkpoint = read_checkpoint(path)
    build_model(checkpoint)  # the network alone, without the heads of its tasks
    assert checkpoint.header.is_pretrained
    scores = checkpoint.header.scores["validation"]
    assert {"loss", "masked", "next_accuracy"} <= set(scores)
    weight = PRETRAINING_RUNS[name]().tasks.mask_weight
    assert scores["loss"] == pytest.approx(weight * scores["frames"] + scores["next_segment"])


def test_pretraining_resumes_where_it_stopped(songs, tmp_path) -> None:
    """With a codebook, which is found again."""
    name = "frame-primer-pretrain-tiny"
    settings = {
        "data.held_out": ("three",),
        "codebook": {"size": 8, "pieces": 3, "iterations": 2},
        "training.schedule": {"kind": "constant"},
    }
    first = {**settings, "training.max_steps": 2}
    RECIPES[name](songs, tmp_path / "parts", settings=first)
    RECIPES[name](songs, tmp_path / "parts", settings=settings, resume=True)
    RECIPES[name](songs, tmp_path / "whole", settings=settings)
    assert len(losses(tmp_path / "whole")) == 4
    assert losses(tmp_path / "parts") == losses(tmp_path / "whole")


def test_validation_pieces_are_always_the_same(songs, tmp_path) -> None:
    recipe = with_settings(
        PRETRAINING_RUNS["frame-primer-pretrain-tiny"](), {"data.held_out": ("three",)}
    )
    begun = frame_network(recipe.architecture, recipe.network, None, seed=1).network
    task = pretraining_task(
        recipe, begun, find_music(songs, recipe.data), cache_folder=tmp_path / "cache"
    )
    task.network.eval()
    with torch.no_grad():
        first, second = (task.validator(task.network).scores for _ in range(2))
    assert first == second
    assert task.validator.examples.draws_per_epoch == 4
    trained = {str(track.name) for track in task.examples.music.songs.tracks}
    assert trained == {"one", "two", "no_bass"}


def test_a_fine_tuning_has_the_backbone_and_says_what_is_fresh(pretrained, caplog) -> None:
    recipe = SEPARATION_RUNS["frame-primer-small-tiny"]()
    with caplog.at_level(logging.WARNING):
        begun = frame_network(
            "frame-primer", recipe.network, StartConfig(checkpoint=str(pretrained)), seed=5
        )
    assert begun.fresh == ("head.1.to_masks.weight", "head.1.to_masks.bias")
    assert "head.1.to_masks.weight and head.1.to_masks.bias, which are fresh" in caplog.text
    ours, theirs = begun.network.state_dict(), read_checkpoint(pretrained).state
    assert set(ours) == set(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours if key not in begun.fresh)
    assert begun.network.config.sources == recipe.network.sources
    scratch = frame_network("frame-primer", begun.network.config, None, seed=5).network
    for key in begun.fresh:
        assert torch.equal(ours[key], scratch.state_dict()[key])


def test_a_network_of_one_mask_keeps_the_mask_of_its_pretraining(pretrained, caplog) -> None:
    recipe = VOCAL_REMOVAL_RUNS["frame-primer-tiny"]()
    start = StartConfig(checkpoint=str(pretrained))
    begun = frame_network("frame-primer", recipe.network, start, seed=5)
    assert begun.fresh == ()
    assert not caplog.records
    ours, theirs = begun.network.state_dict(), read_checkpoint(pretrained).state
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_fine_tuning_trains_from_it_and_separates(pretrained, songs, tmp_path) -> None:
    settings = {"data.held_out": ("three",), "training.max_steps": 1}
    path = RECIPES["frame-primer-small-tiny"](
        songs, tmp_path / "run", start=str(pretrained), settings=settings
    )
    header = read_checkpoint(path).header
    assert header.training["base"]
    assert header.training["fresh"] == ["head.1.to_masks.weight", "head.1.to_masks.bias"]
    assert Separator(path).sources == ("drums", "bass", "other", "vocals")
    # once it separates, other stems mean other masks, though there are as many
    other = ("drums", "bass", "guitar", "vocals")
    network = build_model(read_checkpoint(path)).config.model_copy(update={"sources": other})
    start = StartConfig(checkpoint=str(path))
    assert len(frame_network("frame-primer", network, start, seed=0).fresh) == 2


def test_what_cannot_be_begun_with_is_told(pretrained) -> None:
    primer = SEPARATION_RUNS["frame-primer-small-tiny"]().network
    with pytest.raises(ConfigError, match="same architecture"):
        frame_network("frame-transformer", NETWORK, StartConfig(checkpoint=str(pretrained)), seed=0)
    start = StartConfig(checkpoint=str(pretrained), begin_as={"drums": "vocals"})
    with pytest.raises(ConfigError, match="begin fresh"):
        frame_network("frame-primer", primer, start, seed=0)


def test_a_pretrained_network_takes_nothing_apart(pretrained) -> None:
    with pytest.raises(ConfigError, match=r"pretrained.*--from"):
        Separator(pretrained)


def test_the_released_weights_are_for_the_small_recipe() -> None:
    """No run is begun: that would take the network at its full size through songs."""
    path = embedded_path(PRETRAINED)
    assert path.stat().st_size <= 4e6
    header = read_header(path)
    assert header.is_pretrained
    assert "songs/ev_lithium" in header.training["data"]["valid"]
    recipe = SEPARATION_RUNS["frame-primer-small"]()
    begun = frame_network(
        "frame-primer", recipe.network, StartConfig(checkpoint=PRETRAINED), seed=0
    )
    assert len(begun.fresh) == 2
    assert begun.network.config == recipe.network
    with pytest.raises(ConfigError, match=f"--from {PRETRAINED}"):
        Separator(PRETRAINED)
    entry = next(entry for entry in list_models() if entry.name == PRETRAINED)
    assert entry.summary.startswith("pretrained")


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("frame-transformer-tiny", {"network.rest_source": False}),
        ("frame-primer-pretrain-tiny", {"network.rest_source": False}),
    ],
)
def test_networks_that_do_not_fit_are_told(name, settings) -> None:
    with pytest.raises(ConfigError, match="network"):
        with_settings(FRAME_RUNS[name](), settings)


def test_all_frame_runs_say_what_begins_them() -> None:
    assert set(FrameRun.model_fields) == {"architecture", "network", "training", "start"}


# music


def music(tracks, **changes) -> Music:
    data = MusicData(segment_frames=40, shortest_seconds=1.0).model_copy(update=changes)
    return Music(tracks, data, network=NETWORK)


def test_pieces_do_not_come_from_short_or_silent_tracks(songs, tmp_path) -> None:
    folder = tmp_path / "music"
    shutil.copytree(songs / "one", folder / "one")
    time = np.arange(RATE) / RATE
    soundfile.write(folder / "short.wav", 0.1 * np.sin(900 * time[: RATE // 4]), RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE * 2), RATE)
    found = find_music(folder, MusicData(held_out=("short.wav",)))
    assert {track.name for track in found.train} == {"one", "silent.wav"}
    tracks = music([*found.train, *found.valid], trials=20)
    assert tracks.num_tracks == 2
    rng = np.random.default_rng(0)
    drawn = {tracks.draw(rng, num_frames=20)[0] for _ in range(20)}
    assert [tracks.songs.tracks[index].name for index in drawn] == ["one"]
    with pytest.raises(DataError, match=r"none of 1 tracks is 1 s long"):
        music(found.valid)


def test_foreign_halves_come_from_other_tracks(songs) -> None:
    """Each track has one frequency of its own, and the second half is always exchanged."""
    tracks = []
    for number in range(3):
        path = songs.parent / f"tone_{number}.wav"
        tone = 0.3 * np.sin(2 * np.pi * (2000 + 4000 * number) * np.arange(2 * RATE) / RATE)
        soundfile.write(path, tone, RATE)
        tracks.append(AudioRef(path))
    folder = songs.parent / "tones"
    folder.mkdir()
    for ref in tracks:
        ref.path.rename(folder / ref.path.name)
    found = find_music(folder, MusicData(held_out=("tone_0.wav",)))
    tasks = FramePretrainingConfig(
        next_segment=NextSegmentConfig(replace_rate=1.0, separator_frames=2)
    )

    def halves(examples: PretrainingExamples) -> set[tuple[int, int]]:
        drawn = [examples(draw)["targets"][0, 0] for draw in range(12)]
        return {
            (int(piece[:, 5].argmax()) // 20, int(piece[:, 30].argmax()) // 20) for piece in drawn
        }

    first, second, third = ((2000 + 4000 * n) * 512 // RATE // 20 for n in range(3))
    everything = music([*found.valid, *found.train])
    pairs = halves(PretrainingExamples(everything, tasks, seed=0))
    assert len(pairs) > 3
    assert all(own != other for own, other in pairs)
    held_out = music(found.valid)
    judged = PretrainingExamples(held_out, tasks, seed=0, foreign=music(found.train))
    assert halves(judged) == {(first, second), (first, third)}
    with pytest.raises(DataError, match="come from other tracks"):
        PretrainingExamples(held_out, tasks, seed=0)


# songs and voices


def test_songs_are_divided_into_what_sings_and_what_does_not(songs, tmp_path) -> None:
    folder = tmp_path / "songs"
    shutil.copytree(songs, folder)
    (folder / "two" / "vocals.wav").unlink()
    for stem in ("drums", "bass", "other"):
        (folder / "three" / f"{stem}.wav").unlink()
    found = find_songs(folder, VocalsData(held_out=("no_bass",)), SOURCES)
    assert [track.name for track in found.train] == ["one", "two"]
    assert [track.name for track in found.voices] == ["one", "three"]
    assert [track.name for track in found.valid] == ["no_bass"]
    assert len(found.train[0].stems["instrumental"]) == 3
    with pytest.raises(DataError, match="both are needed"):
        find_songs(folder, VocalsData(held_out=("one", "three", "no_bass")), SOURCES)


def test_items_are_instrumentals_that_others_sing_over(songs, tmp_path) -> None:
    data = VocalsData(segment_frames=40, stride_seconds=0.5, held_out=("three",))
    recipe = VOCAL_REMOVAL_RUNS["frame-transformer-tiny"]()
    found = find_songs(songs, data, SOURCES)
    never = recipe.random_vocals.model_copy(
        update={"vocals_share": 0.0, "pair_share": 0.0, "identity_share": 0.0}
    )

    def examples(config, **changes) -> VocalExamples:
        cut = data.model_copy(update=changes)
        return VocalExamples(
            found, cut, config, network=NETWORK, seed=0, cache_folder=tmp_path / "cache"
        )

    alone = examples(never, pair_share=0.0)
    for draw in range(6):
        item = alone(draw)
        assert item["mixture"].shape == (1, 2, 256, 40)
        assert torch.equal(item["mixture"], item["instrumental"])
        assert item["mixture"].max() <= 1.0
        again = alone(draw)
        assert torch.equal(item["mixture"], again["mixture"])
    always = never.model_copy(update={"vocals_share": 1.0})
    for config, share in ((always, 0.0), (never, 1.0)):
        sung = examples(config, pair_share=share)
        changed = [
            (item["mixture"] - item["instrumental"]).abs().max() > 1e-3
            for item in map(sung, range(8))
        ]
        assert sum(changed) >= 4  # a voice pauses now and then
    epoch = [alone(draw)["instrumental"].sum() for draw in range(alone.draws_per_epoch)]
    assert len({round(float(value), 4) for value in epoch}) == alone.draws_per_epoch
