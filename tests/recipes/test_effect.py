"""Learning an effect from a folder of recordings, end to end on small ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
import torch

from audiform.checkpoints.file import build_model, read_checkpoint
from audiform.data import effect_alignment
from audiform.data.effect_recordings import ScoredPart, TakeReader, read_recordings
from audiform.errors import Cancelled, ConfigError, DataError
from audiform.recipes import RECIPES
from audiform.recipes.effect import effect_run, look_ahead
from audiform.recipes.settings import with_settings
from audiform.training.effect_start import Material
from tests.make_golden import CURVES
from tests.recipes.runs import TOLERANCE, losses, train_tiny, write_overdrive

RATE = 8000


def sound(seconds: float, seed: int = 0) -> np.ndarray:
    """Return noise that comes and goes."""
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE)
    swell = 1 + np.sin(2 * np.pi * 3 * np.arange(count) / RATE)
    return (0.2 * rng.standard_normal(count) * swell).astype(np.float32)


def write(path, samples: np.ndarray, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT")


def device(dry: np.ndarray, *, gain: float = 0.5, delay: int = 0) -> np.ndarray:
    """Return a gain, a smoothing over two samples, a soft limit; late by ``delay``."""
    wet = np.tanh(gain * (dry + 0.5 * np.concatenate([[0], dry[:-1]])))
    return np.concatenate([np.zeros(delay), wet])[: len(wet)]


@pytest.fixture
def pedal(tmp_path):
    """Return one input and three targets, gains of 0, 50 and 100."""
    folder = tmp_path / "pedal"
    dry = sound(3.0)
    write(folder / "input.wav", dry)
    for gain in (0, 50, 100):
        write(folder / f"target__gain{gain:03}.wav", device(dry, gain=0.5 + gain / 100))
    return folder


def read(folder, tmp_path, **options):
    return read_recordings(folder, cache_folder=tmp_path / "cache", **options)


# Reading ------------------------------------------------------------------------------------------


def test_knobs_and_ranges_come_from_names(pedal, tmp_path) -> None:
    recordings = read(pedal, tmp_path)
    (knob,) = recordings.knobs
    assert (knob.name, knob.minimum, knob.maximum, knob.default) == ("gain", 0.0, 100.0, 50.0)
    assert recordings.sample_rate == RATE
    assert len(recordings.of("train")) == len(recordings.of("valid")) == 3
    ((start, stop),) = recordings.of("valid")[0].spans
    assert stop == 3 * RATE
    assert stop - start == pytest.approx(0.15 * stop, abs=1)


def test_signaltrains_folders_and_ranges_are_read_as_data(tmp_path) -> None:
    folder = tmp_path / "comp"
    for split, numbers in {"Train": (1, 2), "Val": (3,)}.items():
        for number in numbers:
            dry = sound(1.0, number)
            write(folder / split / f"input_{number}_.wav", dry)
            write(folder / split / f"target_{number}_C__-{number}0__{number}.wav", 0.5 * dry)
    info = folder / "effect_info.ini"
    info.write_text(
        "[effect]\nname = 'C'\nknob_names = ['Threshold (dB)', 'ratio']\n"
        "knob_ranges = [[-40, 0], [1, 5]]\n"
    )
    recordings = read(folder, tmp_path)
    assert [knob.name for knob in recordings.knobs] == ["threshold_db", "ratio"]
    assert recordings.knobs[0].minimum == -40
    assert [take.split for take in recordings.takes] == ["train", "train", "valid"]
    assert recordings.takes[0].settings == {"threshold_db": -10.0, "ratio": 1.0}

    info.write_text(f"[effect]\nknob_ranges = __import__('pathlib').Path('{tmp_path}/x').touch()\n")
    with pytest.raises(DataError, match=r"effect_info\.ini"):
        read(folder, tmp_path)
    assert not (tmp_path / "x").exists()


def test_pairs_in_subfolders_with_two_named_knobs(tmp_path) -> None:
    for number, tone in enumerate((1, 5)):
        dry = sound(1.0, number)
        write(tmp_path / "set" / f"take{number}" / "input.wav", dry)
        name = f"target__drive=0.5__tone={tone}.wav"
        write(tmp_path / "set" / f"take{number}" / name, 0.3 * dry)
    recordings = read(tmp_path / "set", tmp_path)
    assert [knob.name for knob in recordings.knobs] == ["tone"]
    assert recordings.fixed == {"drive": 0.5}


def test_given_ranges_replace_those_of_the_recordings(pedal, tmp_path) -> None:
    knob = read(pedal, tmp_path).knobs[0]
    wider = knob.model_copy(update={"maximum": 200.0, "unit": "%"})
    assert read(pedal, tmp_path, knobs=(wider,)).knobs == (wider,)
    narrow = knob.model_copy(update={"maximum": 60.0})
    with pytest.raises(DataError, match="gain = 100"):
        read(pedal, tmp_path, knobs=(narrow,))
    other = knob.model_copy(update={"name": "tone"})
    with pytest.raises(ConfigError, match="gain"):
        read(pedal, tmp_path, knobs=(other,))


@pytest.mark.parametrize(("delay", "moved"), [(5, 0), (700, 700)])
def test_a_long_delay_is_taken_out_and_a_short_one_stays(tmp_path, delay, moved) -> None:
    dry = sound(4.0)
    write(tmp_path / "set" / "input.wav", dry)
    write(tmp_path / "set" / "target.wav", -device(dry, delay=delay))
    recordings = read(tmp_path / "set", tmp_path)
    found = recordings.alignment
    assert (found.lag_samples, found.moved_samples, found.inverted) == (delay, moved, True)
    take = recordings.takes[0]
    wet = TakeReader().wet(take, 0, 1000)[0].numpy()
    expected = -device(dry, delay=delay - moved)[:1000]
    assert np.abs(wet - expected).max() < 1e-6


def test_a_take_that_differs_in_polarity_is_turned(tmp_path) -> None:
    for number in range(3):
        dry = sound(3.0, number)
        write(tmp_path / "set" / f"take{number}_input.wav", dry)
        sign = -1 if number == 1 else 1
        write(tmp_path / "set" / f"take{number}_target.wav", sign * device(dry))
    alignment = read(tmp_path / "set", tmp_path).alignment
    assert alignment.turned == ("take1",)
    assert not alignment.inverted
    assert "take1" in alignment.sentence()


def test_a_drifting_delay_is_undone_by_its_pulses(tmp_path) -> None:
    rate, count = 44100, 3 * 44100
    rng = np.random.default_rng(0)
    dry = np.convolve(rng.standard_normal(count), np.hanning(40), "same") / 20
    pulses = np.zeros(count)
    pulses[1000::2000] = 1.0
    late = np.arange(count) - 700 - 6 * np.sin(2 * np.pi * np.arange(count) / count)

    def tape(signal: np.ndarray) -> np.ndarray:
        return np.interp(late, np.arange(count), np.convolve(signal, np.hanning(9), "same"), left=0)

    for kind, signal in (("audio", dry), ("pulses", pulses)):
        write(tmp_path / "tape" / f"take1_input_{kind}.wav", signal, rate)
        write(tmp_path / "tape" / f"take1_target_{kind}.wav", tape(signal), rate)
    recordings = read(tmp_path / "tape", tmp_path)
    assert {take.name for take in recordings.takes} == {"take1_audio"}
    assert recordings.alignment.drift_samples == pytest.approx(12, abs=1)
    assert "drift" in recordings.alignment.sentence()
    take = recordings.of("train")[0]
    wet = TakeReader().wet(take, 5000, 100_000)[0].numpy()
    expected = np.convolve(dry, np.hanning(9), "same")[5000:100_000]
    assert np.square(wet - expected).sum() < 1e-3 * np.square(expected).sum()


def test_only_the_scored_part_counts(pedal, tmp_path) -> None:
    recordings = read(pedal, tmp_path, scored=ScoredPart(8000, 4000, 8000))
    train, valid = recordings.of("train")[0], recordings.of("valid")[0]
    assert train.spans == ((4000, 8000), (12000, 16000), (20000, 20400))
    assert valid.spans == ((20400, 24000),)
    for text in ("1:2", "10:5:5", "10:0:11", "a:b:c"):
        with pytest.raises(ConfigError):
            ScoredPart.parse(text)


def test_the_look_ahead_is_what_targets_call_for() -> None:
    dry = torch.from_numpy(sound(2.0))[None]
    for early in (0, 1, 3):
        wet = torch.nn.functional.pad(0.5 * dry[:, early:], (0, early))
        found = look_ahead(Material([dry], [wet], [torch.zeros(0)]))
        assert found == {0: 0, 1: 1, 3: 4}[early]


@pytest.mark.parametrize("wrong", ["nothing", "songs", "silent", "short"])
def test_what_cannot_be_learned_from_is_told(tmp_path, wrong) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    if wrong == "songs":
        for stem in ("drums", "bass", "other", "vocals"):
            write(folder / "song" / f"{stem}.wav", sound(1.0))
    elif wrong != "nothing":
        dry = sound(0.05 if wrong == "short" else 2.0)
        write(folder / "input.wav", dry)
        write(folder / "target.wav", 0 * dry if wrong == "silent" else dry)
    with pytest.raises(DataError):
        RECIPES["effect-tiny"](folder, tmp_path / "run")


def test_silent_targets_are_named_before_anything_is_aligned(tmp_path, monkeypatch) -> None:
    def aligned(**_: object) -> None:
        raise AssertionError("aligned although a target is silent")

    monkeypatch.setattr(effect_alignment, "estimate_alignment", aligned)
    folder = tmp_path / "set"
    folder.mkdir()
    write(folder / "input.wav", sound(0.5))
    for gain in (0.0, 1.0, 2.0):
        write(folder / f"target__gain={gain:g}.wav", gain * sound(0.5))
    with pytest.raises(DataError, match=r"1 are silent .*target__gain=0\.wav.*take them away"):
        RECIPES["effect-tiny"](folder, tmp_path / "run")


# Training -----------------------------------------------------------------------------------------


def test_its_golden_curve_holds(tmp_path) -> None:
    train_tiny("effect-tiny", write_overdrive(tmp_path / "data"), tmp_path / "run")
    wanted = json.loads((CURVES / "effect-tiny.json").read_text())
    assert losses(tmp_path / "run") == pytest.approx(wanted, rel=TOLERANCE)


def test_it_learns_better_than_a_filter_does(pedal, tmp_path) -> None:
    settings = {
        "training.max_steps": 60,
        "training.batch_size": 4,
        "training.steps_per_epoch": 20,
        "training.learning_rate": 5e-3,
        "network.filter_taps": 8,
        "network.filter_shapes": 1,
    }
    path = RECIPES["effect-tiny"](pedal, tmp_path / "run", settings=settings)
    header = read_checkpoint(path).header
    mean = header.scores["mean"]
    assert set(mean) == {"model", "bypass", "best gain", "FIR-256", "nearest setting"}
    assert mean["model"]["esr"] < mean["FIR-256"]["esr"] < mean["best gain"]["esr"]
    assert len(header.scores["takes"]) == 3
    assert header.training["data"]["alignment"]["lag_samples"] == 0
    assert header.training["data"]["settings"] == 3


def test_the_first_fit_is_as_good_as_the_filter(pedal, tmp_path) -> None:
    settings = {
        "training.max_steps": 3,
        "training.learning_rate": 0.5,  # ruinous: the start is kept
        "training.max_gradient_norm": None,
        "network.num_followers": 1,
        "network.filter_taps": 8,
    }
    path = RECIPES["effect-tiny"](pedal, tmp_path / "run", settings=settings)
    header = read_checkpoint(path).header
    assert header.training["weights"] == "start"
    mean = header.scores["mean"]
    assert mean["model"]["esr"] < 1.2 * mean["FIR-256"]["esr"]


def test_a_good_start_is_trained_gently() -> None:
    run = effect_run()
    assert run.rate_factor(0.3) == run.rate_factor(0.1) == 1.0
    assert run.rate_factor(0.001) == pytest.approx(0.1)


def test_a_resumed_run_equals_an_uninterrupted_one(pedal, tmp_path) -> None:
    constant = {"training.schedule": {"kind": "constant"}}
    whole = RECIPES["effect-tiny"](pedal, tmp_path / "whole", settings=constant)

    def stop(now) -> None:
        if now.step == 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        RECIPES["effect-tiny"](
            pedal,
            tmp_path / "parts",
            settings={**constant, "training.save_every_steps": 1},
            on_progress=stop,
        )
    parts = RECIPES["effect-tiny"](pedal, tmp_path / "parts", resume=True, settings=constant)
    ours, theirs = read_checkpoint(parts).state, read_checkpoint(whole).state
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    lines = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").open()]
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    with pytest.raises(ConfigError, match="--resume"):
        RECIPES["effect-tiny"](pedal, tmp_path / "whole")


def test_every_other_network_learns_too(pedal, tmp_path) -> None:
    settings = {
        "network.chunk_samples": 2048,
        "network.shrink_factor": 2,
        "network.n_fft": 256,
        "network.hop_length": 96,
        "network.look_back_seconds": None,
    }
    recipe = effect_run("signaltrain")
    kept = {k: v for k, v in settings.items() if k.removeprefix("network.") in recipe.network}
    run = with_settings(recipe, {**kept, "training.max_steps": 2, "training.batch_size": 2})
    path = RECIPES["effect-signaltrain"](pedal, tmp_path / "run", settings={
        **kept, "training.max_steps": 2, "training.batch_size": 2, "training.max_seconds": None,
    })  # fmt: skip
    assert build_model(read_checkpoint(path)).config.chunk_samples == run.network["chunk_samples"]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="gain-tcn"):
        effect_run("demucs")
    with pytest.raises(ConfigError, match="no_such"):
        with_settings(effect_run(), {"network.no_such": 1})
    with pytest.raises(ConfigError, match="PERIOD"):
        with_settings(effect_run(), {"data.score_only": "5"})
