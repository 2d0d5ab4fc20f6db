from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from audiform.cli.main import app
from tests.evaluation.songs import write_estimates, write_song

runner = CliRunner()


@pytest.fixture
def folders(tmp_path):
    song = write_song(tmp_path / "references" / "song", seconds=1.5)
    write_estimates(song, tmp_path / "estimates" / "song")
    return [
        "--estimates",
        str(tmp_path / "estimates"),
        "--references",
        str(tmp_path / "references"),
    ]


def test_estimates_are_scored_into_a_file_a_table_and_a_page(folders, tmp_path):
    out, page = tmp_path / "scores.jsonl", tmp_path / "page.html"
    command = ["evaluate", *folders, "--metrics", "mdx,bsseval", "--date", "2026-01-02"]
    result = runner.invoke(app, [*command, "-o", str(out), "--report", str(page), "--excerpt", "0"])
    assert result.exit_code == 0, result.output
    assert "BSSEval SIR" in result.stdout
    header, song = (json.loads(line) for line in out.read_text().splitlines())
    assert header["audiform_scores"] == 1
    assert header["metrics"] == ["mdx", "bsseval"]
    assert song["stems"]["bass"]["mdx_sdr_db"]["estimate"] > 10
    assert "2026-01-02" in page.read_text()
    assert "<audio" not in page.read_text()
    again = runner.invoke(app, [*command, "-o", str(out)])
    assert again.exit_code == 2
    assert "--resume" in again.output
    assert runner.invoke(app, [*command, "-o", str(out), "--resume"]).exit_code == 0


def test_json_holds_songs_and_sums(folders):
    result = runner.invoke(app, ["evaluate", *folders, "--metrics", "sisdr", "--json"])
    found = json.loads(result.stdout)
    value = found["songs"][0]["stems"]["drums"]["si_sdr_db"]["estimate"]
    assert found["median"]["drums"]["si_sdr_db"]["estimate"] == value
    assert found["mean"]["drums"]["si_sdr_db"]["estimate"] == value


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["evaluate"], 2, "--estimates"),
        (["evaluate", "default"], 2, "--data"),
        (["evaluate", "default", "--data", "nowhere"], 1, "nowhere"),
        (["evaluate", "default", "--data", ".", "--stems", "drums"], 2, "--stems"),
        (["evaluate", "--estimates", "nowhere", "--references", "nowhere"], 1, "nowhere"),
        (["evaluate", "--estimates", ".", "--references", ".", "--split", "test"], 2, "--split"),
        (["evaluate", "--estimates", ".", "--references", ".", "--resume"], 2, "-o"),
    ],
)
def test_wrong_commands_say_what_to_do(arguments, code, told):
    result = runner.invoke(app, arguments)
    assert result.exit_code == code, result.output
    assert told in result.output
