"""Copies that are set right, and what is said of what cannot be."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import scipy.signal
import soundfile
from typer.testing import CliRunner

from audiform.cli.main import app
from audiform.data.effect_alignment import estimate_alignment
from audiform.data.effect_repair import repair_pairs
from audiform.data.layouts import read_tracks
from audiform.data.track import INPUT, TARGET
from audiform.errors import DataError
from audiform.io.read import read
from tests.data.test_check_effects import amplifier, compressor, late, stretched, without
from tests.data.test_effect_alignment import RATE, dry_sound


def repaired(tmp_path, wet, *, dry=None, name="target__gain050.wav"):
    """Write a pair, repair it, return what was said and the copies."""
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    soundfile.write(source / "input.wav", dry_sound("noise") if dry is None else dry, RATE)
    soundfile.write(source / name, wet, RATE)
    before = {path: digest(path) for path in source.iterdir()}
    (repair,) = repair_pairs(source, out)
    assert {path: digest(path) for path in source.iterdir()} == before
    if not repair.is_written:
        return repair, None, None
    (track,) = read_tracks(out)
    assert track.knobs == {"gain": 50.0}
    dry, wet = (read(track.references(source)[0].path).samples for source in (INPUT, TARGET))
    assert dry.shape == wet.shape
    assert not list(out.rglob("*.part"))
    return repair, dry, wet


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_late_and_short_target(tmp_path):
    wet = late(compressor(dry_sound("noise").numpy()), 1500)[:-700]
    repair, dry, wet = repaired(tmp_path, wet)
    assert any("1500 samples cut from the start of the target" in line for line in repair.done)
    assert not repair.unmended
    assert dry.shape[-1] == len(dry_sound("noise")) - 2200
    assert estimate_alignment(dry=dry, wet=wet, sample_rate=RATE).lag_samples == 0


def test_an_early_target(tmp_path):
    repair, dry, wet = repaired(tmp_path, late(compressor(dry_sound("noise").numpy()), -90))
    assert any("90 samples cut from the start of the input" in line for line in repair.done)
    assert estimate_alignment(dry=dry, wet=wet, sample_rate=RATE).lag_samples == 0


def test_a_wrong_rate(tmp_path):
    wet = compressor(dry_sound("noise").numpy())
    repair, _, mended = repaired(tmp_path, scipy.signal.resample_poly(wet, 160, 147))
    assert any("resampled from 24000 Hz" in line for line in repair.done)
    length = mended.shape[-1]
    error = mended[0, 100 : length - 100] - wet[100 : length - 100]
    assert float(error.square().mean()) < 1e-2 * float(np.square(wet).mean())


def test_two_clocks(tmp_path):
    wet = compressor(dry_sound("noise").numpy())
    repair, dry, mended = repaired(tmp_path, stretched(late(wet, 50), -150))
    assert any("ppm" in line for line in repair.done)
    start, end = (
        estimate_alignment(dry=dry[:, part], wet=mended[:, part], sample_rate=RATE).lag_samples
        for part in (slice(0, 2 * RATE), slice(-2 * RATE, None))
    )
    assert abs(start) <= 2  # of 16 that the clocks were apart by then
    assert abs(end) <= 2


def test_what_cannot_be_mended_is_said(tmp_path):
    wet = without(amplifier(dry_sound("noise").numpy()), 2 * RATE, 3000)
    repair, _, _ = repaired(tmp_path, wet)
    assert any("target drops out at 2.0" in line for line in repair.unmended)


def test_a_foreign_target_is_left_out(tmp_path):
    repair, dry, _ = repaired(tmp_path, amplifier(dry_sound("plucks").numpy()))
    assert dry is None
    assert "nothing in common" in repair.unmended[0]


def test_a_folder_that_is_there_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("kept")
    soundfile.write(tmp_path / "input.wav", dry_sound("noise"), RATE)
    soundfile.write(tmp_path / "output.wav", dry_sound("noise"), RATE)
    with pytest.raises(DataError, match="not empty"):
        repair_pairs(tmp_path, tmp_path / "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "kept"


def test_the_command(tmp_path):
    dry = dry_sound("noise").numpy()
    soundfile.write(tmp_path / "a_input.wav", dry, RATE)
    soundfile.write(tmp_path / "a_target.wav", late(compressor(dry), 400), RATE)
    out = tmp_path / "out"
    command = ["data", "repair", str(tmp_path), "-o", str(out), "--json"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    (record,) = json.loads(result.stdout)
    assert record["is_written"]
    assert "400 samples" in record["done"][0]
    result = CliRunner().invoke(app, ["data", "check", str(out), "-j", "1"])
    assert result.exit_code == 0, result.output
