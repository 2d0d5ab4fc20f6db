import math

import pytest

from audiform.nn.position import sinusoids_1d, sinusoids_2d


def test_one_dimension_by_its_formula() -> None:
    found = sinusoids_1d(6, 8, max_period=100.0)
    for position in range(6):
        for index in range(4):
            phase = position / 100.0 ** (index / 3)
            assert found[position, index].item() == pytest.approx(math.cos(phase), abs=1e-6)
            assert found[position, 4 + index].item() == pytest.approx(math.sin(phase), abs=1e-6)


def test_two_dimensions_by_their_formula() -> None:
    found = sinusoids_2d(3, 5, 8, max_period=100.0)
    assert found.shape == (3, 5, 8)
    for height in range(3):
        for length in range(5):
            for index in range(2):
                rate = math.exp(-2 * index * math.log(100.0) / 4)
                expected = [math.sin(length * rate), math.cos(length * rate)]
                assert found[height, length, 2 * index : 2 * index + 2].tolist() == pytest.approx(
                    expected, abs=1e-6
                )
                expected = [math.sin(height * rate), math.cos(height * rate)]
                assert found[height, length, 4 + 2 * index : 6 + 2 * index].tolist() == (
                    pytest.approx(expected, abs=1e-6)
                )
