from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from audiform.cli.main import app
from audiform.data.layouts import read_tracks
from audiform.data.track import AudioRef
from audiform.evaluation.curation import (
    PIECE_SECONDS,
    Curation,
    CurationRule,
    StemJudgement,
    _divide_lows,
    curate,
    loudest_pieces,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "everything_is_free"


def read(stem):
    return soundfile.read(EXAMPLE / f"{stem}.flac", dtype="float32", always_2d=True)[0]


def level(audio):
    return audio / np.sqrt(np.mean(np.square(audio))) * 0.08


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A song as it is, one with two names exchanged, one whose vocals have drums in them."""
    root = tmp_path_factory.mktemp("songs")
    for place in ("as it is", "exchanged", "leaking"):
        (root / place).mkdir()
    for stem in ("drums", "vocals", "other"):
        shutil.copy(EXAMPLE / f"{stem}.flac", root / "as it is")
    shutil.copy(EXAMPLE / "drums.flac", root / "exchanged" / "vocals.flac")
    shutil.copy(EXAMPLE / "vocals.flac", root / "exchanged" / "drums.flac")
    both = level(read("vocals")) + 0.5 * level(read("drums"))
    soundfile.write(root / "leaking" / "vocals.flac", both / np.abs(both).max(), 44100)
    return root


def test_the_embedded_model_finds_wrong_names_and_leaks(dataset, tmp_path):
    out = tmp_path / "exclude.txt"
    command = ["data", "curate", str(dataset), "--pieces", "1", "-o", str(out), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)
    verdicts = {(stem["track"], stem["stem"]): stem["verdict"] for stem in record["stems"]}
    assert verdicts == {
        ("as it is", "drums"): "right",
        ("as it is", "vocals"): "right",
        ("as it is", "other"): "not judged",
        ("exchanged", "drums"): "mislabelled",
        ("exchanged", "vocals"): "mislabelled",
        ("leaking", "vocals"): "leaks",
    }
    suspects = {(stem["track"], stem["stem"]): stem["suspect"] for stem in record["stems"]}
    assert suspects["exchanged", "drums"] == "vocals"
    assert suspects["leaking", "vocals"] == "drums"
    assert record["left_out"] == [["exchanged", None], ["leaking", "vocals"]]
    # What is written is honoured, and says by which rule.
    kept = read_tracks(dataset, exclusions=out)
    assert [track.name for track in kept] == ["as it is"]
    assert "less than 0.5" in out.read_text()
    assert not list(tmp_path.glob("*.part"))


def test_silence_and_unknown_stems_are_not_judged(tmp_path):
    (tmp_path / "song").mkdir()
    soundfile.write(tmp_path / "song" / "drums.wav", np.zeros((44100, 2)), 44100)
    soundfile.write(tmp_path / "song" / "kazoo.wav", level(read("vocals"))[:44100], 44100)
    done = []
    found = curate("default", read_tracks(tmp_path), on_progress=lambda *at: done.append(at))
    assert {stem.stem: stem.verdict for stem in found.stems} == {
        "drums": "silent",
        "kazoo": "not judged",
    }
    assert done == [(1, 2), (2, 2)]
    assert found.left_out() == []


def judgement(track, stem, verdict):
    return StemJudgement(track, stem, verdict, 0.0, "x", 0.0, {})


def test_a_wrong_name_takes_the_track_and_a_leak_the_stem():
    stems = (
        judgement("b", "drums", "mislabelled"),
        judgement("b", "vocals", "leaks"),
        judgement("a", "bass", "leaks"),
        judgement("a", "vocals", "right"),
    )
    found = Curation("model", CurationRule(), stems)
    assert found.left_out() == [("b", None), ("a", "bass")]
    assert json.loads(found.to_json())["left_out"] == [["b", None], ["a", "bass"]]


def test_lows_of_drums_and_bass_are_divided_by_what_is_above_them():
    plain = {"drums": 0.1, "bass": 0.8, "vocals": 0.1}
    weighted = {"drums": 3.0, "bass": 1.0, "vocals": 50.0}
    divided = _divide_lows(plain, weighted)
    assert divided == pytest.approx({"drums": 0.675, "bass": 0.225, "vocals": 0.1})


def test_the_loudest_pieces_are_taken_in_their_order(tmp_path):
    rate = 1000
    levels = (0.1, 0.5, 0.0, 0.3, 0.2)
    audio = np.concatenate([np.full(round(PIECE_SECONDS * rate), level) for level in levels])
    soundfile.write(tmp_path / "x.wav", audio, rate)
    pieces = loudest_pieces(AudioRef(tmp_path / "x.wav"), 3)
    assert [round(float(piece.samples.max()), 2) for piece in pieces] == [0.5, 0.3, 0.2]
    assert loudest_pieces(AudioRef(tmp_path / "x.wav"), 9)[-1].num_samples == 12000
    assert len(loudest_pieces(AudioRef(tmp_path / "x.wav"), 9)) == 4
