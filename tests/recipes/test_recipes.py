"""What every recipe promises. A new one needs a golden curve: ``python -m tests.make_golden``."""

from __future__ import annotations

import json

import pytest
import torch

from audiform.checkpoints.file import build_model, read_checkpoint
from audiform.errors import ConfigError, DataError
from audiform.models import MODELS
from audiform.recipes import RECIPES, SEPARATION_RUNS
from audiform.recipes.separation import SeparationRun
from audiform.recipes.settings import with_settings
from audiform.training.examples import BatchPlan
from tests.make_golden import CURVES
from tests.recipes.runs import (
    FIRST_STAGE,
    TINY,
    TINY_EFFECTS,
    TINY_INVERSE,
    TINY_PRETRAINING,
    TINY_VOCAL_REMOVAL,
    TOLERANCE,
    losses,
    train_tiny,
    write_songs,
)


@pytest.fixture(scope="module")
def songs(tmp_path_factory):
    return write_songs(tmp_path_factory.mktemp("songs"))


@pytest.mark.parametrize("name", SEPARATION_RUNS)
def test_it_builds_and_its_parts_fit_together(name) -> None:
    recipe = SEPARATION_RUNS[name]()
    with torch.device("meta"):
        network = MODELS[recipe.architecture].network(recipe.network)
    spec = network.spec
    samples = round(recipe.data.segment_seconds * spec.sample_rate)
    assert samples <= network.input_samples(spec.segment_samples)
    assert samples == spec.segment_samples or not spec.fixed_segment
    BatchPlan(batch_size=recipe.training.batch_size, draw_size=recipe.data.group_size)
    for step in recipe.augmentations:
        assert getattr(step, "group_size", recipe.data.group_size) == recipe.data.group_size
    assert SeparationRun.model_validate_json(recipe.model_dump_json()) == recipe
    assert RECIPES[name].__doc__.startswith(("Train ", "Fine-tune "))


@pytest.mark.parametrize("name", [name for name in SEPARATION_RUNS if name not in TINY])
def test_it_has_a_tiny_form(name) -> None:
    tiny = {SEPARATION_RUNS[other]().architecture for other in TINY}
    assert f"{name}-tiny" in TINY or (name.startswith("htdemucs-ft-") and "htdemucs" in tiny)


@pytest.mark.parametrize("name", TINY)
def test_its_golden_curve_holds(name, songs, tmp_path) -> None:
    path = train_tiny(name, songs, tmp_path / "run")
    assert losses(tmp_path / "run") == pytest.approx(
        json.loads((CURVES / f"{name}.json").read_text()), rel=TOLERANCE
    )
    checkpoint = read_checkpoint(path)
    training = checkpoint.header.training
    assert (training["name"], training["steps"]) == (name, 4)
    assert training["data"]["valid"] == ["three"]
    assert set(training["data"]["train"]) == {"one", "two", "no_bass"}
    assert {"loss", "sdr", "sdr_vocals"} <= set(checkpoint.header.scores["validation"])
    with torch.inference_mode():
        stems = build_model(checkpoint)(torch.zeros(1, 2, 1000))
    assert stems.shape == (1, 4, 2, 1000)


def test_every_golden_curve_is_of_a_recipe() -> None:
    tiny = {*TINY, *TINY_VOCAL_REMOVAL, *TINY_PRETRAINING, *TINY_EFFECTS, *TINY_INVERSE}
    assert {path.stem for path in CURVES.iterdir()} == {*tiny, "default-tiny"}


def test_a_resumed_run_of_adapters_equals_an_uninterrupted_one(songs, tmp_path) -> None:
    name = "htdemucs-lora-tiny"
    # one rate throughout: that of a run of two steps would fall faster
    held_out = {"data.held_out": ("three",), "training.schedule": {"kind": "constant"}}
    first = {**held_out, "training.max_steps": 2}
    whole = train_tiny(name, songs, tmp_path / "whole", **held_out)
    start = str(tmp_path / f"whole-{FIRST_STAGE[name]}" / "model.safetensors")
    RECIPES[name](songs, tmp_path / "parts", start=start, settings=first)
    parts = RECIPES[name](songs, tmp_path / "parts", start=start, resume=True, settings=held_out)
    ours, theirs = read_checkpoint(parts).state, read_checkpoint(whole).state
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_songs_that_do_not_fit_are_told() -> None:
    recipe = SEPARATION_RUNS["htdemucs-tiny"]()
    with pytest.raises(ConfigError, match="network"):
        with_settings(recipe, {"network.no_such": 1})
    with pytest.raises(ConfigError, match="does not take"):
        with_settings(recipe, {"network.depth": 0})
    with pytest.raises(ConfigError, match=r"has no setting 'augmentations\.9\.share'"):
        with_settings(recipe, {"augmentations.9.share": 1})
    changed = with_settings(recipe, {"augmentations.0.share": 0.5, "network.depth": 2})
    assert changed.augmentations[0].share == 0.5
    assert changed.network.depth == 2


def test_unknown_songs_cannot_be_held_out(songs, tmp_path) -> None:
    with pytest.raises(DataError, match="no such song"):
        RECIPES["htdemucs-tiny"](songs, tmp_path, settings={"data.held_out": ("four",)})
