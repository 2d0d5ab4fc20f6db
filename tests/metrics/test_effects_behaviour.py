"""Static curves, times, what inverse effects leave: against effects that are known exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from audiform.data.inverse_tasks import TimeAlign, perform
from audiform.effects import EFFECTS
from audiform.errors import AudioError
from audiform.metrics.effects_dynamics import (
    static_curve_db,
    static_curve_error_db,
    step_times,
)
from audiform.metrics.effects_inverse import damage_left, onset_errors_ms

RATE = 44100


def compressor(**settings: float):
    return lambda dry: EFFECTS["compressor"].apply(dry, RATE, **settings)


def test_the_static_curve_is_the_compressor_s() -> None:
    levels = (-50.0, -30.0, -24.0, -12.0, 0.0)
    process = compressor(threshold_db=-24.0, ratio=4.0)
    found = static_curve_db(process, sample_rate=RATE, levels_db=levels)
    assert found.tolist() == pytest.approx([0.0, 0.0, 0.0, -9.0, -18.0], abs=1e-3)
    error = static_curve_error_db(
        estimate=lambda dry: 0.5 * process(dry), reference=process, sample_rate=RATE
    )
    assert error == pytest.approx(20 * math.log10(2), abs=1e-3)


@pytest.mark.parametrize(("attack_ms", "release_ms"), [(1.0, 40.0), (40.0, 5.0)])
def test_times_are_the_compressor_s(attack_ms, release_ms) -> None:
    process = compressor(threshold_db=-24.0, attack_ms=attack_ms, release_ms=release_ms)
    found = step_times(process, sample_rate=RATE)
    assert found.attack_ms == pytest.approx(attack_ms, abs=0.05)
    assert found.release_ms == pytest.approx(release_ms, abs=0.05)


def test_what_does_not_compress_has_no_times() -> None:
    found = step_times(lambda dry: 0.3 * dry, sample_rate=RATE)
    assert math.isnan(found.attack_ms) and math.isnan(found.release_ms)


def test_what_is_left_of_a_damage_is_found_at_any_level() -> None:
    generator = torch.Generator().manual_seed(0)
    clean, damage, other = torch.randn(3, 2, 20000, generator=generator)
    for left in (0.0, 0.3, 1.0):
        found = damage_left(estimate=-0.7 * (clean + left * damage), clean=clean, damage=damage)
        assert found == pytest.approx(left, abs=1e-6)
    noisy = damage_left(estimate=clean + 0.3 * damage + other, clean=clean, damage=damage)
    assert noisy == pytest.approx(0.3, abs=0.03)
    with pytest.raises(AudioError, match="told apart"):
        damage_left(estimate=clean, clean=clean, damage=0 * damage)


@pytest.mark.parametrize("seed", range(4))
def test_where_notes_were_put_is_found_within_2_ms(seed) -> None:
    """Notes of the alignment task, played off the grid, against the same on it."""
    task = TimeAlign(num_notes=2, max_shift_seconds=0.1)
    drawn = task.draw(np.random.default_rng(seed), samples=RATE, sample_rate=RATE)
    played, aligned = (
        perform(drawn.notes, onsets, samples=RATE, fade_samples=88)
        for onsets in (drawn.played, drawn.grid)
    )
    found = onset_errors_ms(
        estimate=played, reference=aligned, onsets=drawn.grid[1:], sample_rate=RATE
    )
    true_ms = [
        1000 * (at - line) / RATE for at, line in zip(drawn.played[1:], drawn.grid[1:], strict=True)
    ]
    assert found == pytest.approx(true_ms, abs=2.0)
    with pytest.raises(AudioError, match="onset"):
        onset_errors_ms(estimate=played, reference=aligned, onsets=[RATE], sample_rate=RATE)
