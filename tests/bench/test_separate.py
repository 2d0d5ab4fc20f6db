"""The comparison with another program, without running it."""

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audiform.bench import separate
from audiform.bench.process import FinishedProcess, run_process
from audiform.errors import ConfigError


def write_stem(path: Path, value: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full((100, 2), value), 44100, subtype="FLOAT")


def test_medians_peaks_and_distances_of_runs_in_turn(tmp_path, monkeypatch) -> None:
    theirs, ours = iter([9.0, 20.0, 10.0]), iter([99.0, 5.0, 4.0, 30.0])  # ours: a first untimed
    order = []

    def run(command) -> FinishedProcess:
        is_ours = "audiform" in command
        order.append(is_ours)
        out = Path(command[command.index("-o") + 1])
        write_stem(out / "model" / "song" / "drums.wav", 0.51 if is_ours else 0.5)
        seconds = next(ours if is_ours else theirs)
        return FinishedProcess(
            seconds=seconds, processor_seconds=2 * seconds, peak_mb=100 + seconds
        )

    monkeypatch.setattr(separate, "run_process", run)
    monkeypatch.setattr(separate, "check_peer", lambda _: None)
    song = tmp_path / "song.wav"
    write_stem(song, 0.1)
    found = separate.compare_with_demucs(
        songs=[song], model="model", repo=tmp_path, folder=tmp_path, repeats=3
    )
    assert order == [True, False, True, False, True, False, True]
    assert (found.our_seconds, found.their_seconds, found.speed_ratio) == (5.0, 10.0, 2.0)
    assert (found.our_processor_seconds, found.their_processor_seconds) == (10.0, 20.0)
    assert (found.our_peak_mb, found.their_peak_mb) == (130.0, 120.0)
    assert found.error_norm == pytest.approx(0.02, rel=1e-4)
    assert found.largest_difference == pytest.approx(0.02, rel=1e-4)


def test_the_peer_once_for_each_song(tmp_path, monkeypatch) -> None:
    commands = []

    def run(command) -> FinishedProcess:
        commands.append(command)
        out = Path(command[command.index("-o") + 1])
        write_stem(out / "model" / "a" / "drums.wav", 0.5)
        return FinishedProcess(seconds=2.0, processor_seconds=3.0, peak_mb=1.0)

    monkeypatch.setattr(separate, "run_process", run)
    monkeypatch.setattr(separate, "check_peer", lambda _: None)
    songs = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for song in songs:
        write_stem(song, 0.1)
    found = separate.compare_with_demucs(
        songs=songs, model="model", repo=tmp_path, folder=tmp_path, repeats=1,
        peer_calls_per_song=True,
    )  # fmt: skip
    assert [sum(str(song) in command for song in songs) for command in commands] == [2, 1, 1, 2]
    assert (found.their_seconds, found.our_seconds) == (4.0, 2.0)
    assert (found.their_processor_seconds, found.our_processor_seconds) == (6.0, 3.0)


@pytest.mark.skipif(sys.platform == "win32", reason="the stand-in is a shell script")
def test_a_peer_that_is_absent(tmp_path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be run .* --python"):
        separate.check_peer(str(tmp_path / "python"))
    without = tmp_path / "without"
    without.write_text("#!/bin/sh\nexit 1\n")
    without.chmod(0o755)
    with pytest.raises(ConfigError, match="no package demucs"):
        separate.check_peer(str(without))


def test_a_program_that_fails_has_the_last_word() -> None:
    command = [sys.executable, "-c", "print('no such song'); raise SystemExit(3)"]
    with pytest.raises(ConfigError, match=r"ended with 3; .*\nno such song"):
        run_process(command)
