import pytest
import torch
from pydantic import ValidationError

from audiform.errors import ConfigError
from audiform.knob import (
    Knob,
    complete_settings,
    settings_from_network,
    settings_to_network,
)

THRESHOLD = Knob(name="threshold_db", unit="dB", minimum=-30.0, maximum=0.0, default=-20.0)
ATTACK = Knob(name="attack_ms", unit="ms", minimum=1.0, maximum=100.0, default=10.0, scale="log")
KNOBS = (THRESHOLD, ATTACK)


@pytest.mark.parametrize("knob", KNOBS)
def test_the_range_is_the_network_s(knob) -> None:
    assert knob.to_network(knob.minimum) == pytest.approx(-0.5)
    assert knob.to_network(knob.maximum) == pytest.approx(0.5)
    assert knob.from_network(-0.5) == pytest.approx(knob.minimum)
    assert knob.from_network(0.5) == pytest.approx(knob.maximum)


@pytest.mark.parametrize("knob", KNOBS)
def test_there_and_back_for_numbers_and_tensors(knob) -> None:
    values = torch.linspace(knob.minimum, knob.maximum, 11, dtype=torch.float64)
    positions = knob.to_network(values)
    assert torch.allclose(knob.from_network(positions), values)
    for value, position in zip(values.tolist(), positions.tolist(), strict=True):
        assert knob.to_network(value) == pytest.approx(position)
        assert knob.from_network(position) == pytest.approx(value)


def test_the_middle_of_a_logarithmic_knob_is_the_geometric_mean() -> None:
    assert ATTACK.from_network(0.0) == pytest.approx(10.0)
    assert THRESHOLD.from_network(0.0) == pytest.approx(-15.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"minimum": 1.0, "maximum": 1.0, "default": 1.0},
        {"minimum": 0.0, "maximum": 1.0, "default": 2.0},
        {"minimum": 0.0, "maximum": 1.0, "default": 0.5, "scale": "log"},
        {"minimum": 0.0, "maximum": float("inf"), "default": 0.5},
        {"minimum": 0.0, "maximum": 1.0, "default": 0.5, "name": "not a name"},
    ],
)
def test_ranges_that_make_no_sense_are_refused(wrong) -> None:
    with pytest.raises(ValidationError):
        Knob(**{"name": "mix", **wrong})


def test_settings_are_completed_in_the_order_of_the_knobs() -> None:
    found = complete_settings(KNOBS, {"attack_ms": 5.0})
    assert list(found.items()) == [("threshold_db", -20.0), ("attack_ms", 5.0)]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"atack_ms": 5.0}, "atack_ms"),
        ({"attack_ms": 200.0}, "1 to 100 ms"),
        ({"attack_ms": float("nan")}, "nan"),
    ],
)
def test_settings_that_are_none_are_refused(given, says) -> None:
    with pytest.raises(ConfigError, match=says):
        complete_settings(KNOBS, given)


def test_settings_survive_the_way_through_the_network_s_range() -> None:
    settings = {"threshold_db": -12.5, "attack_ms": 3.0}
    positions = settings_to_network(KNOBS, settings)
    assert positions.dtype == torch.float32
    assert settings_from_network(KNOBS, positions) == pytest.approx(settings, rel=1e-5)
    with pytest.raises(ConfigError, match="1 positions"):
        settings_from_network(KNOBS, positions[:1])


def test_a_knob_survives_json() -> None:
    assert Knob.model_validate_json(ATTACK.model_dump_json()) == ATTACK
