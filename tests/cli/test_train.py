"""What ``audiform train`` hands to a recipe, and says about how it ended."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from audiform import recipes
from audiform.cli.main import app
from audiform.errors import Cancelled, ConfigError, TrainingError
from audiform.training.loop import Progress


def command(*words):
    return CliRunner().invoke(app, ["train", *map(str, words)])


@pytest.fixture
def recipe(monkeypatch):
    """A recipe that notes what it is given, and raises what it is told to."""

    def noted(data, output, **options):
        """Train nothing at all.

        Second paragraph.
        """
        noted.given = {"data": data, "output": output, **options}
        options["on_progress"](Progress(3, 0, 0.5, 0.25, 1e-3, 7.0, 3661.0))
        if noted.error is not None:
            raise noted.error
        return output / "model.safetensors"

    noted.error = None
    monkeypatch.setitem(recipes.RECIPES, "noted", noted)
    return noted


def test_list_says_what_each_recipe_is(recipe):
    result = command("list")
    assert result.exit_code == 0
    described = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert described["noted"] == "Train nothing at all."
    assert set(described) == set(recipes.RECIPES)


def test_options_reach_the_recipe(recipe, tmp_path):
    result = command(
        "noted", "--data", tmp_path, "-o", tmp_path / "run", "--resume", "--from", "htdemucs",
        "--set", "training.batch_size=4", "--set", "best=sdr", "--set", 'sources=["a"]',
    )  # fmt: skip
    assert result.exit_code == 0
    assert result.stdout.strip() == str(tmp_path / "run" / "model.safetensors")
    given = recipe.given
    assert (given["data"], given["output"]) == (tmp_path, tmp_path / "run")
    assert (given["resume"], given["start"]) == (True, "htdemucs")
    assert given["settings"] == {"training.batch_size": 4, "best": "sdr", "sources": ["a"]}
    assert "epoch 0 step 3 loss 0.25 rate 1.0e-03 7 segments/s 1:01:01 left" in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Cancelled("stopped after step 3; --resume goes on"), 130),
        (ConfigError("no such setting"), 2),
        (TrainingError("step 4 is not finite"), 1),
    ],
)
def test_how_it_ended_is_said_and_returned(recipe, tmp_path, error, code):
    recipe.error = error
    result = command("noted", "--data", tmp_path)
    assert result.exit_code == code
    assert str(error) in result.stderr
    assert result.stdout == ""


def test_one_process_speaks_for_all(recipe, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    recipe.error = Cancelled("stopped")
    result = command("noted", "--data", tmp_path)
    assert (result.exit_code, result.output) == (130, "")


def test_what_is_missing_is_said():
    assert "there is no recipe 'nothing'" in command("nothing").stderr
    assert "--data" in command("default").stderr
