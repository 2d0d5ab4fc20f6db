import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from typer.testing import CliRunner

import audiform
from audiform.checkpoints.catalog import SHIPPED_EFFECTS
from audiform.checkpoints.model_package import embedded_path
from audiform.cli.main import app
from audiform.effects import EFFECTS
from audiform.errors import ConfigError

NOTICE = Path(__file__).parents[2] / "NOTICE"

runner = CliRunner()


@pytest.fixture
def dry(tmp_path):
    path = tmp_path / "dry.wav"
    sound = 0.3 * np.random.default_rng(0).standard_normal((150_000, 2))
    soundfile.write(path, sound, 22050, subtype="FLOAT")
    return path


def test_list_names_effects_and_knobs() -> None:
    plain = runner.invoke(app, ["effect", "list"])
    assert plain.exit_code == 0
    for name, effect in EFFECTS.items():
        assert name in plain.output
        assert all(knob.name in plain.output for knob in effect.knobs)
    records = json.loads(runner.invoke(app, ["effect", "list", "--json"]).output)
    assert [record["name"] for record in records] == [*SHIPPED_EFFECTS, *EFFECTS]
    for record in records[: len(SHIPPED_EFFECTS)]:
        assert record["name"] in plain.output
        assert 0 < record["esr"] < 0.1
        assert record["licence"]["weights"].startswith("MIT")
        assert record["licence"]["data"] != "unknown"


@pytest.mark.parametrize("name", SHIPPED_EFFECTS)
def test_an_effect_of_the_package_is_applied_by_its_name(name, tmp_path) -> None:
    path = embedded_path(name)
    assert path.stat().st_size < 2e6
    assert path.name in NOTICE.read_text()
    time = np.arange(8000) / 44100
    # loud and soft in turn, so that what takes its time shows
    tone = np.where(time % 0.06 < 0.03, 0.6, 0.06) * np.sin(2 * np.pi * 220 * time)
    soundfile.write(tmp_path / "tone.wav", tone, 44100, subtype="FLOAT")
    out = tmp_path / "wet.wav"
    result = runner.invoke(
        app, ["effect", "apply", name, str(tmp_path / "tone.wav"), "-o", str(out)]
    )
    assert result.exit_code == 0, result.output
    wet, rate = soundfile.read(out)
    assert (rate, len(wet)) == (44100, len(tone))
    assert np.isfinite(wet).all()
    assert wet[2000:].std() > 0.01
    fit = np.dot(wet, tone) / np.dot(tone, tone)
    assert np.sum((wet - fit * tone)[2000:] ** 2) > 0.005 * np.sum(wet[2000:] ** 2)  # no mere gain
    effect = audiform.Effect(name)
    assert json.loads(runner.invoke(app, ["effect", "info", name, "--json"]).output) == effect.info
    dry = audiform.Audio(torch.from_numpy(tone).float()[None], 44100)
    for knob in effect.knobs:
        low, high = (
            effect.apply(dry, **{knob.name: end}).samples for end in (knob.minimum, knob.maximum)
        )
        assert (low - high)[:, 2000:].abs().max() > 0.02


def test_an_effect_of_the_package_takes_no_song_apart() -> None:
    with pytest.raises(ConfigError, match="takes nothing apart"):
        audiform.Separator("diode-clipper")


def test_render_gives_what_the_function_gives(dry) -> None:
    out = dry.with_name("wet.wav")
    arguments = ["effect", "render", "compressor", str(dry), "-o", str(out), "--json"]
    result = runner.invoke(app, [*arguments, "--knob", "threshold_db=-25", "--knob", "ratio=5"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["knobs"]["ratio"] == 5.0
    sound, rate = soundfile.read(dry, dtype="float32")
    wet, wet_rate = soundfile.read(out, dtype="float32")
    expected = EFFECTS["compressor"].apply(
        torch.from_numpy(sound.T.copy()), rate, threshold_db=-25.0, ratio=5.0
    )
    assert wet_rate == rate
    assert soundfile.info(out).subtype == "FLOAT"
    assert np.abs(wet.T - expected.numpy()).max() < 1e-6


def test_samples_beyond_full_scale_are_told_of(dry) -> None:
    out = dry.with_name("wet.flac")
    arguments = ["effect", "render", "echo", str(dry), "-o", str(out), "--knob", "ratio=1"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0
    assert "beyond full scale" in result.stderr
    assert soundfile.info(out).subtype == "PCM_24"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["flanger", "DRY", "-o", "OUT.wav"], 2, "choose from compressor"),
        (["echo", "DRY", "-o", "OUT.wav", "--knob", "ratio"], 2, "NAME=VALUE"),
        (["echo", "DRY", "-o", "OUT.wav", "--knob", "ratio=2"], 2, "0 to 1"),
        (["echo", "DRY", "-o", "OUT.wav", "--knob", "depth=1"], 2, "no knob depth"),
        (["echo", "DRY", "-o", "OUT.wav", "--knob", "ratio=0", "--knob", "ratio=1"], 2, "twice"),
        (["echo", "DRY", "-o", "OUT.xyz"], 2, "format"),
        (["echo", "DRY", "-o", "DRY"], 2, "input and output"),
        (["echo", "absent.wav", "-o", "OUT.wav"], 1, "absent.wav"),
    ],
)
def test_what_cannot_be_done_is_said_and_leaves_nothing(dry, arguments, code, says) -> None:
    places = {"DRY": str(dry), "OUT.wav": str(dry.with_name("out.wav"))}
    places["OUT.xyz"] = str(dry.with_name("out.xyz"))
    before = dry.read_bytes()
    result = runner.invoke(app, ["effect", "render", *(places.get(a, a) for a in arguments)])
    assert result.exit_code == code, result.output
    assert says in result.stderr
    assert [path.name for path in dry.parent.iterdir()] == ["dry.wav"]
    assert dry.read_bytes() == before


def test_export_and_import_of_a_learned_effect(tmp_path) -> None:
    from audiform.models.nam_wavenet import NamWaveNetConfig
    from tests.checkpoints.effect_files import write_effect

    file, amp = tmp_path / "amp.safetensors", tmp_path / "amp.nam"
    write_effect("nam-wavenet", NamWaveNetConfig.published("nano"), file)
    arguments = ["effect", "export", str(file), "--to", "nam", "-o", str(amp)]
    result = runner.invoke(app, [*arguments, "--input-dbu", "11.5"])
    assert result.exit_code == 0, result.output
    assert json.loads(amp.read_text())["metadata"]["input_level_dbu"] == 11.5
    again = tmp_path / "again.safetensors"
    result = runner.invoke(app, ["models", "import", str(amp), "-o", str(again)])
    assert result.exit_code == 0, result.output
    assert json.loads(runner.invoke(app, ["models", "info", str(again), "--json"]).stdout)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--to", "nam", "-o", "FILE"], "exists"),
        (["--to", "nam", "-o", "OUT", "--block", "64"], "blocks of any length"),
        (["--to", "nam", "-o", "OUT", "--knob", "gain=1"], "has none"),
        (["--to", "onnx", "-o", "OUT", "--knob", "gain=1"], "keeps its knobs"),
        (["--to", "torch", "-o", "OUT", "--input-dbu", "1"], "levels in dBu"),
        (["--to", "rtneural", "-o", "OUT"], "nam-wavenet"),
    ],
)
def test_exports_that_make_no_sense_are_refused(arguments, says, tmp_path) -> None:
    from audiform.models.nam_wavenet import NamWaveNetConfig
    from tests.checkpoints.effect_files import write_effect

    file = tmp_path / "amp.safetensors"
    write_effect("nam-wavenet", NamWaveNetConfig.published("nano"), file)
    places = {"FILE": str(file), "OUT": str(tmp_path / "out")}
    words = [places.get(word, word) for word in arguments]
    result = runner.invoke(app, ["effect", "export", str(file), *words])
    assert result.exit_code == 2
    assert says in result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["amp.safetensors"]
