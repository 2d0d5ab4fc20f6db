"""Runs in processes of their own: killed, stopped by signals, and several that train together."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.training import run, sharded
from tests.training.states import assert_equal_states, leaves, log, losses

ROOT = Path(__file__).parents[2]


def start(folder, *options, module="tests.training.run", **environment):
    return subprocess.Popen(
        [sys.executable, "-m", module, str(folder), *map(str, options)],
        cwd=ROOT,
        env={**os.environ, "ACCELERATE_USE_CPU": "true", **environment},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(*processes, code=0):
    for process in processes:
        _, errors = process.communicate(timeout=600)
        assert process.returncode == code, errors


def lines(folder):
    path = folder / "log.jsonl"
    return len(path.read_text().splitlines()) if path.exists() else 0


def wait_for_lines(process, folder, count):
    """Wait until the log has grown to that, whatever time it takes."""
    while lines(folder) < count and process.poll() is None:
        time.sleep(0.05)


def start_pair(folder, *options, module="tests.training.run"):
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = str(found.getsockname()[1])
    return [
        start(
            folder, *options, module=module, RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2",
            LOCAL_WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=port,
        )
        for rank in range(2)
    ]  # fmt: skip


def assert_equal_curves(first, second):
    assert losses(first) == pytest.approx(losses(second), rel=1e-4)


def test_two_processes_take_the_steps_of_one(tmp_path, monkeypatch):
    pair = start_pair(tmp_path / "two", "--steps", 3)
    monkeypatch.setattr(sys, "argv", ["run", str(tmp_path / "one"), "--steps", "3"])
    run.main()
    finish(*pair)
    assert len(losses(tmp_path / "one")) == 3
    assert_equal_curves(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_weights_that_are_shared_out_train_and_are_restored_like_whole_ones(tmp_path):
    """What FSDP does, on CPUs; the state of either can be resumed by the other."""
    finish(*start_pair(tmp_path, module="tests.training.sharded"))
    saved = torch.load(tmp_path / "sharded.pt", weights_only=True)
    whole = sharded.new_run(sharded=False)
    sharded.step(*whole, number=0, items=slice(0, 2))
    assert_near(saved["first"], sharded.state(*whole))
    whole = sharded.new_run(sharded=False)
    sharded.restore(saved["first"], *whole)
    sharded.step(*whole, number=1, items=slice(0, 2))
    assert_near(saved["second"], sharded.state(*whole))


def assert_near(first, second):
    expected = leaves(second)
    for path, value in leaves(first).items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, expected[path], atol=1e-6, rtol=1e-4, msg=path)
        else:
            assert value == expected[path]


@pytest.mark.slow
@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_have_the_curve_of_one(tmp_path, accumulate):
    """20 steps of a tiny HT Demucs: float rounding in another order, and nothing else."""
    finish(start(tmp_path / "one"))
    finish(*start_pair(tmp_path / "two", "--accumulate", accumulate))
    assert len(losses(tmp_path / "one")) == 20
    assert_equal_curves(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_a_pair_resumes_what_one_began(tmp_path):
    finish(start(tmp_path / "one"))
    finish(start(tmp_path / "parts", "--stop", 11), code=130)
    finish(*start_pair(tmp_path / "parts", "--resume"))
    assert_equal_curves(tmp_path / "one", tmp_path / "parts")


@pytest.mark.slow
def test_killed_at_random_steps_and_resumed_it_is_bit_for_bit_the_same(tmp_path):
    """With dropout, layers left out, hashed attention, averages, accumulation, validation."""
    options = ("--unsteady", "--accumulate", 2)
    finish(start(tmp_path / "whole", *options))
    folder = tmp_path / "parts"
    chance = random.Random(1)
    for target in sorted(chance.sample(range(2, 20), 3)):
        process = start(folder, *options, "--resume")
        wait_for_lines(process, folder, target)
        time.sleep(chance.random() / 4)  # anywhere within a step
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert process.returncode == -signal.SIGKILL
    finish(start(folder, *options, "--resume"))
    assert_equal_states(tmp_path / "whole", folder)
    assert log(tmp_path / "whole") == log(folder)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path, number):
    process = start(tmp_path, "--steps", 10_000)
    wait_for_lines(process, tmp_path, 2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130, errors
    assert "--resume" in errors
    assert (tmp_path / "state.pt").exists()
    assert not list(tmp_path.glob("*.part"))
