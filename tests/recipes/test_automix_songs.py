from __future__ import annotations

import json

import pytest
import soundfile
from typer.testing import CliRunner

from audiform.cli.main import app
from tests.augment.synthetic_songs import RATE, synthetic_song


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("songs")
    for number, (bpm, key) in enumerate([(118.0, 0), (124.0, 1), (180.0, 2)]):
        song = synthetic_song(bpm=bpm, key=key, style="rock", seconds=24.0, seed=number)
        for source, audio in song.stems.items():
            folder = root / f"song{number}"
            folder.mkdir(exist_ok=True)
            soundfile.write(folder / f"{source}.flac", audio[0].numpy() * 0.5, RATE)
    return root


def automix(dataset, out, *options: str):
    arguments = ["data", "automix", str(dataset), "-o", str(out), "--seconds", "8", *options]
    return CliRunner().invoke(app, arguments)


def test_mixes_are_rendered_with_their_plans(dataset, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("AUDIFORM_DECODED_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "mixes"
    result = automix(dataset, out, "--count", "2", "--seed", "1", "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert len(report["mixes"]) == 2
    assert any("% of tempo" in reason for reason in report["refusals"])
    for folder in sorted(out.glob("mix_*")):
        plan = json.loads((folder / "plan.json").read_text())
        assert len({stem["track"] for stem in plan["stems"]}) == 2
        for stem in plan["stems"]:
            audio, rate = soundfile.read(folder / f"{stem['source']}.flac")
            assert (audio.shape, rate) == ((8 * 44100, 2), 44100)
            assert audio.any()
    assert not list(out.rglob("*.part"))

    first = (out / "mix_00000" / "drums.flac").read_bytes()
    again = automix(dataset, tmp_path / "again", "--count", "1", "--seed", "1")
    assert again.exit_code == 0
    assert (tmp_path / "again" / "mix_00000" / "drums.flac").read_bytes() == first

    kept = automix(dataset, out, "--count", "2", "--seed", "1")
    assert kept.exit_code == 0
    other = automix(dataset, out, "--count", "2", "--seed", "2")
    assert other.exit_code != 0
    assert "another seed" in " ".join(other.output.split())
