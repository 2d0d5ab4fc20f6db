import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from audiform import __version__
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
