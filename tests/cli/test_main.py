import json
import subprocess
import sys

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from audiform import __version__
from audiform.checkpoints import write_checkpoint
from audiform.cli.main import app

runner = CliRunner()


def test_help_names_the_commands_and_needs_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['audiform', '--help']\n"
        "from audiform.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'numpy', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "separate" in done.stdout
    assert done.stdout.rstrip().endswith("[]")


def test_version() -> None:
    assert __version__ in runner.invoke(app, ["--version"]).output


def test_models_list_and_info() -> None:
    result = runner.invoke(app, ["models", "list", "--json"])
    names = [entry["name"] for entry in json.loads(result.output)]
    assert {"default", "htdemucs", "htdemucs_ft", "mdx_extra_q"} <= set(names)
    result = runner.invoke(app, ["models", "info", "htdemucs"])
    assert result.exit_code == 0
    assert "MIT" in result.output
    assert runner.invoke(app, ["models", "info", "nonsense"]).exit_code == 1


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_doctor_finds_nothing_wrong_here(flags) -> None:
    result = runner.invoke(app, ["doctor", *flags])
    assert result.exit_code == 0, result.output
    if flags:
        assert json.loads(result.output)["problems"] == []


def test_train_and_evaluate_go_together(tmp_path) -> None:
    generator = np.random.default_rng(0)
    for song in ("one", "two"):
        (tmp_path / "songs" / song).mkdir(parents=True)
        for stem in ("drums", "bass", "other", "vocals"):
            noise = 0.1 * generator.standard_normal((88200, 2))
            soundfile.write(tmp_path / "songs" / song / f"{stem}.wav", noise, 44100)
    folder = str(tmp_path / "songs")
    out = str(tmp_path / "run")
    result = runner.invoke(
        app, ["train", "default-tiny", "--data", folder, "-o", out, "--set", "training.max_steps=2"]
    )
    assert result.exit_code == 0, result.output
    checkpoint = result.stdout.split()[-1]
    again = runner.invoke(app, ["train", "default-tiny", "--data", folder, "-o", out])
    assert again.exit_code == 2
    assert "--resume" in again.output
    command = ["evaluate", checkpoint, "--data", folder, "--only", "one", "--metrics", "mdx"]
    result = runner.invoke(app, command)
    assert result.exit_code == 0, result.output
    assert "vocals" in result.stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "no-such-recipe", "--data", "."],
        ["train", "default"],
        ["train", "default-tiny", "--data", ".", "--set", "nonsense"],
        ["train", "default-tiny", "--data", ".", "--set", "training.nonsense=1"],
    ],
)
def test_wrong_training_commands(arguments) -> None:
    assert runner.invoke(app, arguments).exit_code == 2


def test_recipes_are_listed() -> None:
    assert "default" in runner.invoke(app, ["train", "list"]).output.split()


def test_models_are_imported_exported_and_verified(tmp_path) -> None:
    from tests.models_for_tests import TINY_HTDEMUCS, tiny_htdemucs

    network = tiny_htdemucs()
    ours = write_checkpoint(
        tmp_path / "tiny.safetensors",
        architecture="htdemucs",
        config=TINY_HTDEMUCS,
        state=network.state_dict(),
        sources=TINY_HTDEMUCS.sources,
        sample_rate=44100,
    )
    for format in ("demucs-th", "demucs-hf"):
        out = tmp_path / format
        result = runner.invoke(app, ["models", "export", str(ours), "--to", format, "-o", str(out)])
        assert result.exit_code == 0, result.output
    (package,) = (tmp_path / "demucs-th").glob("*.th")
    again = str(tmp_path / "again.safetensors")
    assert runner.invoke(app, ["models", "import", str(package), "-o", again]).exit_code == 0
    assert runner.invoke(app, ["models", "import", str(package), "-o", again]).exit_code == 2
    result = runner.invoke(app, ["models", "verify", again])
    assert result.exit_code == 0
    assert "whole" in result.output
    assert runner.invoke(app, ["models", "list", "--repo", str(tmp_path / "demucs-hf")]).output
