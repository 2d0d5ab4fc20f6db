from __future__ import annotations

import json

import pytest
import torch

from audiform.checkpoints.file import build_model, read_checkpoint
from audiform.errors import ConfigError, DataError
from audiform.evaluation import evaluate
from audiform.models.band_split import bins_of, rows_of
from audiform.recipes import RECIPES
from audiform.recipes.band_split import TINY, BandSplitRun, energies_of, masked_error
from audiform.recipes.settings import with_settings
from audiform.training.losses import relative_error_of_energies
from tests.data.sounds import write_songs
from tests.make_golden import CURVES
from tests.recipes.runs import TOLERANCE, losses, write_default_data


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_songs(folder / "songs")
    write_songs(folder / "rendered", level=0.05)
    return folder


def test_tiny_trains_writes_a_checkpoint_and_is_scored(data, tmp_path):
    seen = []
    path = RECIPES["default-tiny"](data, tmp_path, on_progress=lambda now: seen.append(now.step))
    assert seen == [1, 2, 3, 4]
    checkpoint = read_checkpoint(path)
    assert checkpoint.header.architecture == "band-split"
    assert checkpoint.header.training["steps"] == 4
    model = build_model(checkpoint)
    with torch.inference_mode():
        assert model(torch.zeros(1, 2, 1000)).shape == (1, 4, 2, 1000)
    scores = evaluate(
        path,
        data / "songs",
        metrics=("mdx", "silence"),
        only=("one", "no_bass"),
        duration_seconds=2.0,
    )
    assert [song.name for song in scores.songs] == ["no_bass", "one"]
    assert set(scores.songs[0].stems["bass"]) == {"silent_level_db"}
    assert scores.songs[1].stems["bass"]["mdx_sdr_db"]["ideal_mask"] > 10


def test_a_run_is_repeatable_and_not_overwritten(data, tmp_path):
    first = RECIPES["default-tiny"](data, tmp_path / "a")
    second = RECIPES["default-tiny"](data, tmp_path / "b")
    for name, weight in read_checkpoint(first).state.items():
        assert torch.equal(weight, read_checkpoint(second).state[name]), name
    with pytest.raises(ConfigError, match="--resume"):
        RECIPES["default-tiny"](data, tmp_path / "a")


def test_resume_goes_on(data, tmp_path):
    RECIPES["default-tiny"](data, tmp_path, settings={"training.max_steps": 2})
    path = RECIPES["default-tiny"](data, tmp_path, resume=True)
    assert read_checkpoint(path).header.training["steps"] == 4


def test_a_run_with_a_quantiser_packs_its_checkpoint(tmp_path):
    folder = write_songs(tmp_path / "songs_only")
    changed = {"training.quantiser": {"min_size_mb": 0.001}, "training.max_steps": 1}
    path = RECIPES["default-tiny"](folder, tmp_path / "run", settings=changed)
    checkpoint = read_checkpoint(path)
    assert checkpoint.header.quantisation is not None
    assert checkpoint.header.quantisation.weights
    assert checkpoint.header.training["recipe"]["training"]["quantiser"]["group_size"] == 8
    with torch.inference_mode():
        assert build_model(checkpoint)(torch.zeros(1, 2, 1000)).shape == (1, 4, 2, 1000)


def test_songs_alone_will_do(tmp_path):
    folder = write_songs(tmp_path / "songs_only")
    path = RECIPES["default-tiny"](folder, tmp_path / "run", settings={"training.max_steps": 1})
    assert path.is_file()


def test_rendered_songs_alone_will_do(tmp_path):
    write_songs(tmp_path / "data" / "rendered")
    path = RECIPES["default-tiny"](
        tmp_path / "data", tmp_path / "run", settings={"training.max_steps": 1}
    )
    assert path.is_file()
    assert not (tmp_path / "run" / "pool" / "songs").exists()


def test_rendered_songs_change_what_is_seen(data, tmp_path):
    first = {"training.max_steps": 2}
    RECIPES["default-tiny"](data, tmp_path / "with", settings=first)
    RECIPES["default-tiny"](data / "songs", tmp_path / "without", settings=first)
    assert losses(tmp_path / "with") != losses(tmp_path / "without")


def test_its_golden_curve_holds(tmp_path):
    write_default_data(tmp_path / "data")
    RECIPES["default-tiny"](tmp_path / "data", tmp_path / "run")
    golden = json.loads((CURVES / "default-tiny.json").read_text())
    assert losses(tmp_path / "run") == pytest.approx(golden, rel=TOLERANCE)


def test_held_out_songs_stay_out_and_validate(data, tmp_path):
    path = RECIPES["default-tiny"](
        data,
        tmp_path,
        settings={"held_out": ("two",), "validation_seconds": 1.0, "training.max_steps": 1},
    )
    assert {path.name for path in (tmp_path / "pool" / "songs").iterdir()} == {"one", "no_bass"}
    assert "sdr_vocals" in read_checkpoint(path).header.scores["validation"]


@pytest.mark.parametrize("fine_bins", [None, 192])
def test_energies_tell_what_spectra_do(fine_bins):
    config = TINY.network.model_copy(update={"fine_bins": fine_bins})
    noise = torch.Generator().manual_seed(0)
    stems = torch.randn(2, 4, 2, 257, 9, dtype=torch.complex64, generator=noise)
    stems[0, 1] = 0.0
    rows = torch.randn(2, 4, 2, config.num_rows, 9, generator=noise).softmax(dim=1)
    energies = energies_of(stems, config)
    left = bins_of(rows, config) * stems.sum(dim=1)[:, None] - stems
    by_row = rows_of((left.real.square() + left.imag.square()).sum(dim=(2, 4))[..., None], config)
    mixture = stems.sum(dim=1)
    power = rows_of(mixture.real.square() + mixture.imag.square(), config).sum(dim=(1, 3))
    equal_bands = torch.cat([torch.full((w,), 1 / w / 13) for w in config.band_widths])
    wanted = relative_error_of_energies(by_row[..., 0], power, equal_bands)
    # float32: the errors are differences of sums of some hundred squares
    torch.testing.assert_close(masked_error(rows, energies, config), wanted, rtol=1e-5, atol=1e-6)


def test_no_data_is_an_error(tmp_path):
    with pytest.raises(DataError):
        RECIPES["default-tiny"](tmp_path / "absent", tmp_path / "run")


def test_settings_are_checked():
    changed = with_settings(TINY, {"training.max_steps": 9, "network.num_blocks": 2})
    assert (changed.training.max_steps, changed.network.num_blocks) == (9, 2)
    with pytest.raises(ConfigError, match="no setting"):
        with_settings(TINY, {"training.no_such": 1})
    with pytest.raises(ConfigError, match="does not take"):
        with_settings(TINY, {"training.batch_size": -1})


def test_the_recipe_survives_json():
    recipe = BandSplitRun()
    assert BandSplitRun.model_validate_json(recipe.model_dump_json()) == recipe
