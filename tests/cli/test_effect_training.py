"""``audiform effect train``, ``apply`` and ``info``, as a user runs them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

import audiform
from audiform.audio import Audio
from audiform.cli.main import app
from audiform.io.read import read

RATE = 8000
SMALL = (
    "network.hidden_channels=4",
    "network.dilations=[1,8]",
    "network.look_back_seconds=0.05",
    "data.segment_seconds=0.05",
    "training.batch_size=2",
    "training.steps_per_epoch=5",
)


def run(*arguments: object):
    return CliRunner().invoke(app, ["effect", *map(str, arguments)])


def train(*arguments: object):
    sets = [part for setting in SMALL for part in ("--set", setting)]
    return run("train", *arguments, *sets)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pedal")
    dry = 0.2 * np.random.default_rng(0).standard_normal(3 * RATE)
    soundfile.write(folder / "input.wav", dry, RATE)
    for gain in (0, 100):
        wet = np.tanh((0.5 + gain / 100) * dry)
        soundfile.write(folder / f"target__gain{gain:03}.wav", wet, RATE)
    return folder


@pytest.fixture(scope="module")
def trained(recordings, tmp_path_factory):
    out = tmp_path_factory.mktemp("trained") / "pedal.safetensors"
    result = train(recordings, "-o", out, "--set", "training.max_steps=6", "--knob", "gain:0:100:%")
    assert result.exit_code == 0, result.output
    assert "knob gain: 0 to 100 %" in result.stderr
    assert "0 samples after" in result.stderr
    assert "FIR-256" in result.stdout
    assert str(out) in result.stdout
    return out


def test_info_says_what_it_is(trained) -> None:
    plain = run("info", trained)
    assert plain.exit_code == 0, plain.output
    for word in ("gain-tcn", "8000 Hz", "knob gain: 0 to 100 %", "2 settings", "FIR-256"):
        assert word in plain.stdout
    about = json.loads(run("info", trained, "--json").stdout)
    assert about["knobs"][0]["default"] == 50.0
    assert about["scores"]["mean"]["model"]["esr"] > 0


def test_evaluate_scores_what_training_held_out(trained, recordings, tmp_path) -> None:
    page, lines = tmp_path / "page.html", tmp_path / "scores.jsonl"
    result = run("evaluate", trained, recordings, "--report", page, "-o", lines)
    assert result.exit_code == 0, result.output
    for word in ("FIR-256", "ESR at settings seen in training", "noise in silence"):
        assert word in result.stdout
    assert "Transfer curves" in page.read_text(encoding="utf-8")
    whole, *takes = (json.loads(line) for line in lines.read_text().splitlines())
    assert whole["data"]["is_trained_on"]
    assert len(takes) == 2
    known = json.loads(run("info", trained, "--json").stdout)["scores"]["mean"]
    assert whole["mean"]["model"]["esr"] == pytest.approx(known["model"]["esr"], rel=1e-4)
    as_json = json.loads(run("evaluate", trained, recordings, "--json").stdout)
    assert as_json["mean"] == whole["mean"]


def test_apply_is_what_the_api_gives(trained, tmp_path) -> None:
    dry = tmp_path / "dry.flac"
    noise = 0.2 * np.random.default_rng(1).standard_normal((70_000, 2))
    soundfile.write(dry, noise, 16000)
    out = tmp_path / "wet.wav"
    result = run("apply", trained, dry, "-o", out, "--knob", "gain=30", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["knobs"] == {"gain": 30.0}
    expected = audiform.Effect(trained).apply(read(dry), gain=30.0)
    wet = read(out)
    assert (wet.sample_rate, wet.samples.shape) == (16000, (2, 70_000))
    assert (wet.samples - expected.samples).abs().max() < 1e-5


def test_apply_moves_knobs_and_takes_several_files(trained, tmp_path) -> None:
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.ones(9000), RATE)
    ride = tmp_path / "ride.csv"
    ride.write_text("seconds,gain\n0,0\n1,100\n")
    out = tmp_path / "out"
    result = run(
        "apply", trained, tmp_path / "a.wav", tmp_path / "b.wav", "-o", out, "--automate", ride
    )
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in out.iterdir()) == ["a.wav", "b.wav"]
    from audiform.inference.effect_automation import Automation

    dry = read(tmp_path / "a.wav")
    expected = audiform.Effect(trained).apply(
        Audio(dry.samples, RATE), automation=Automation.read(ride)
    )
    assert (read(out / "a.wav").samples - expected.samples).abs().max() < 1e-5


def test_training_goes_on_with_resume(recordings, tmp_path) -> None:
    out = tmp_path / "x.safetensors"
    first = train(recordings, "-o", out, "--set", "training.max_steps=2", "--seed", "3", "--json")
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["steps"] == 2
    again = train(recordings, "-o", out, "--set", "training.max_steps=3", "--seed", "3")
    assert again.exit_code == 2
    more = train(
        recordings, "-o", out, "--set", "training.max_steps=3", "--seed", "3", "--resume", "--json"
    )
    assert json.loads(more.stdout)["steps"] == 3
    other = train(recordings, "-o", out, "--set", "training.max_steps=4", "--seed", "4", "--resume")
    assert other.exit_code == 2
    assert "seed" in other.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["train", "DIR", "-o", "x.pt"], 2, ".safetensors"),
        (["train", "DIR", "-o", "OUT", "--model", "demucs"], 2, "gain-tcn"),
        (["train", "DIR", "-o", "OUT", "--knob", "gain:5"], 2, "NAME:MIN:MAX"),
        (["train", "DIR", "-o", "OUT", "--knob", "tone:0:1"], 2, "gain"),
        (["train", "DIR", "-o", "OUT", "--knob", "gain:0:50"], 1, "gain = 100"),
        (["train", "DIR", "-o", "OUT", "--score-only", "5"], 2, "PERIOD"),
        (["apply", "FILE", "DIR/input.wav", "-o", "OUT.wav", "--knob", "tone=1"], 2, "gain"),
        (["apply", "FILE", "DIR/input.wav", "-o", "OUT.wav", "--knob", "gain=101"], 2, "0 to 100"),
        (["apply", "FILE", "DIR/input.wav", "-o", "OUT.wav", "--automate", "no.csv"], 2, "no.csv"),
        (["apply", "FILE", "DIR/input.wav", "-o", "DIR/input.wav"], 2, "input and output"),
        (["apply", "absent.safetensors", "DIR/input.wav", "-o", "OUT.wav"], 1, "absent"),
        (["info", "absent.safetensors"], 1, "absent"),
    ],
)
def test_what_cannot_be_done_is_said(recordings, trained, tmp_path, arguments, code, says) -> None:
    places = {"DIR": str(recordings), "FILE": str(trained), "OUT": str(tmp_path / "o.safetensors")}
    places["OUT.wav"] = str(tmp_path / "o.wav")
    places["DIR/input.wav"] = str(recordings / "input.wav")
    result = run(*(places.get(argument, argument) for argument in arguments))
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert not list(tmp_path.glob("o.*"))
