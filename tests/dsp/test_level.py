import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audiform.dsp.level import DEVIATION_FLOOR, MonoDeviation, NoStatistic


@given(st.lists(st.integers(0, 50), min_size=1, max_size=8), st.floats(-3, 3))
def test_blocks_equal_the_whole(lengths: list[int], offset: float) -> None:
    total = sum(lengths)
    signal = torch.randn(2, total, generator=torch.Generator().manual_seed(total)) + offset
    statistic = MonoDeviation()
    for block in signal.split(lengths, dim=-1):
        statistic = statistic.update(block)
    found = statistic.normalisation()
    if total >= 2:
        mono = signal.double().mean(dim=0)
        assert found.offset == pytest.approx(mono.mean().item(), abs=1e-9)
        assert found.scale == pytest.approx(mono.std().item() + DEVIATION_FLOOR, rel=1e-9)


def test_a_large_offset_does_not_eat_the_deviation() -> None:
    signal = 1000 + torch.randn(2, 10_000, dtype=torch.float64).float()
    statistic = MonoDeviation()
    for block in signal.split(100, dim=-1):
        statistic = statistic.update(block)
    expected = signal.double().mean(dim=0).std().item()
    assert statistic.normalisation().scale == pytest.approx(expected, rel=1e-6)


def test_less_than_two_samples_and_silence_can_be_divided_by() -> None:
    assert MonoDeviation().normalisation().scale == 1.0
    assert MonoDeviation().update(torch.ones(2, 1)).normalisation().scale == 1.0
    assert MonoDeviation().update(torch.zeros(2, 9)).normalisation().scale == DEVIATION_FLOOR


def test_no_statistic_is_the_identity() -> None:
    found = NoStatistic().update(torch.randn(2, 5)).normalisation()
    assert (found.offset, found.scale) == (0.0, 1.0)
