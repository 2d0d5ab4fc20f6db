"""Learning to undo something from a folder of sounds, end to end on small ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

from audiform.audio import Audio
from audiform.checkpoints.file import read_checkpoint
from audiform.cli.main import app
from audiform.data.decoded import DecodedAudio
from audiform.data.folder_sounds import FolderSounds
from audiform.data.hits import FolderNotes, HitExamples, attack
from audiform.errors import ConfigError, DataError
from audiform.inference.effect import Effect
from audiform.metrics.effects_inverse import matched_onsets
from audiform.recipes import INVERSE_RECIPES, RECIPES
from tests.make_golden import CURVES
from tests.recipes.runs import RATE, TINY_INVERSE, TOLERANCE, losses, train_tiny, write_notes


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    """Return a folder of five plucked tones that begin after 50 ms, of one folder."""
    return write_notes(tmp_path_factory.mktemp("sounds"))


def notes(folder) -> tuple[DecodedAudio, ...]:
    paths = sorted(folder.glob("*.wav"))
    return tuple(DecodedAudio(path, 1, 0, soundfile.info(path).frames) for path in paths)


@pytest.mark.parametrize("name", TINY_INVERSE)
def test_its_golden_curve_holds_and_its_checkpoint_plays(name, sounds, tmp_path) -> None:
    path = train_tiny(name, sounds, tmp_path / "run")
    wanted = json.loads((CURVES / f"{name}.json").read_text())
    # losses in dB cross zero
    assert losses(tmp_path / "run") == pytest.approx(wanted, rel=TOLERANCE, abs=TOLERANCE)
    training = read_checkpoint(path).header.training
    assert (training["name"], training["steps"]) == (name, 4)
    assert len(training["data"]["train"]) == 4
    assert training["data"]["valid"] == ["note0.wav"]
    effect = Effect(path)
    sound = 0.3 * torch.randn(2, 30000, generator=torch.Generator().manual_seed(0))
    none, full = (effect.apply(Audio(sound, RATE), strength=s).samples for s in (0.0, 1.0))
    assert torch.equal(none, sound)
    assert full.shape == sound.shape and torch.isfinite(full).all()


@pytest.mark.parametrize("name", TINY_INVERSE)
def test_every_recipe_says_what_it_does_and_has_a_tiny_form(name) -> None:
    assert RECIPES[name].__doc__.startswith("Train ")
    assert RECIPES[name.removesuffix("-tiny")].__doc__.startswith("Train ")
    assert len(INVERSE_RECIPES) == 2 * len(TINY_INVERSE)


def test_one_sound_is_too_few(sounds, tmp_path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "note.wav").write_bytes((sounds / "note0.wav").read_bytes())
    with pytest.raises(DataError, match="one sound alone"):
        RECIPES["inverse-denoise-tiny"](tmp_path / "one", tmp_path / "run")
    with pytest.raises(ConfigError, match="fresh weights"):
        RECIPES["inverse-denoise-tiny"](sounds, tmp_path / "run", start="x")


def test_sounds_of_a_folder_fill_what_is_asked_for(sounds) -> None:
    source = FolderSounds(notes(sounds), peak_db=(-6.0, -6.0))
    drawn = [
        source(np.random.default_rng(seed), samples=100_000, sample_rate=RATE) for seed in (0, 0, 1)
    ]
    assert drawn[0].shape == (1, 100_000)
    assert drawn[0].abs().max() == pytest.approx(10 ** (-6 / 20), rel=1e-5)
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    assert drawn[0][0, 60_000:].abs().max() > 0.01  # one sound lasts 37,485 samples
    with pytest.raises(DataError, match="no recordings"):
        FolderSounds(())(np.random.default_rng(0), samples=10, sample_rate=RATE)


def test_a_note_begins_with_its_attack(sounds) -> None:
    audio, _ = soundfile.read(sounds / "note2.wav", dtype="float32")
    assert attack(audio) == pytest.approx(2205, abs=44)  # a millisecond
    note = FolderNotes(notes(sounds))(np.random.default_rng(0), 4000, RATE)
    assert np.abs(note[:60]).max() > 0.05
    assert np.abs(note).max() == pytest.approx(1.0)
    assert attack(np.zeros(100)) == 0


def test_hits_are_where_labels_say(sounds) -> None:
    examples = HitExamples(
        FolderNotes(notes(sounds)), samples=2 * RATE, sample_rate=RATE, n_fft=512, hop_length=128
    )
    batch = examples(3)
    assert batch["dry"].shape == (1, 1, 2 * RATE)
    onsets = examples.onsets(np.random.default_rng((0, 3)))
    peaks = (batch["hits"][0] > 0.6).nonzero()[:, 0] * 128 + 256
    inside = [onset for onset in onsets.tolist() if 256 < onset < 2 * RATE - 512]
    for onset in inside:
        assert (peaks - onset).abs().min() <= 64
    assert torch.equal(examples(3)["dry"], batch["dry"])


def test_onsets_are_matched_once_each() -> None:
    assert matched_onsets([10.0, 12.0, 50.0], [11.5, 48.0, 90.0], within=3.0) == [0.5, 2.0]
    assert matched_onsets([], [1.0], within=3.0) == []


def test_a_click_track_moves_hits_from_the_command_line(sounds, tmp_path) -> None:
    model = RECIPES["inverse-align-tiny"](sounds, tmp_path / "run")
    click = np.zeros(RATE, np.float32)
    click[[4410, 26460]] = 0.9
    soundfile.write(tmp_path / "click.wav", click, RATE)
    soundfile.write(tmp_path / "in.wav", 0.1 * np.random.default_rng(0).standard_normal(9000), 8000)
    done = CliRunner().invoke(
        app,
        ["effect", "apply", str(model), str(tmp_path / "in.wav"), "-o", str(tmp_path / "out.wav"),
         "--clicks", str(tmp_path / "click.wav"), "--knob", "strength=0.5", "--json"],
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["knobs"]["strength"] == 0.5
    assert soundfile.info(tmp_path / "out.wav").frames == 9000


@pytest.mark.parametrize("name", ["inverse-denoise-tiny", "effect-tiny"])
def test_a_run_that_begins_fresh_goes_on_from_nothing(name, tmp_path) -> None:
    with pytest.raises(ConfigError, match="begins with fresh weights; leave --from out"):
        RECIPES[name](tmp_path, tmp_path / "run", start="default")
    assert not (tmp_path / "run").exists()
